"""`redpak-oci events ID`: statistics, once or again and again, and what happens to a container's memory, as JSON."""

from __future__ import annotations

import os

from redpak.errors import RedpakError, Usage
from redpak.oci import life, store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.cgroup.group import Group
    from redpak.oci.main import Call

_UNITS = (("ms", 0.001), ("us", 0.000001), ("ns", 0.000000001), ("s", 1.0), ("m", 60.0), ("h", 3600.0))


def events(call: Call) -> None:
    """Print one line a document: {"type": "stats" | "oom", "id": …, "data": …}."""
    interval_s = seconds(call.asked.text("interval", "5s"))
    container = store.load(call.root, call.words[0])
    status = life.status(container)
    if status == life.STOPPED:
        raise RedpakError(f"cannot read the events of container '{container.name}': container not running")
    if not container.data.get("cgroup"):
        raise RedpakError(
            f"container '{container.name}' has no control group that counts anything",
            hint="Create it with a cgroupsPath that may be written to.",
        )
    from redpak.cgroup import group as groups

    group = groups.load(container.data["cgroup"])
    if call.asked.flag("stats"):
        _print(container, "stats", group.stats())
        return
    _follow(container, group, interval_s)


def _follow(container: store.Container, group: Group, interval_s: float) -> None:
    """Print until the first process ends."""
    import select
    import time

    poll = select.poll()
    pidfd = os.pidfd_open(container.pid)
    poll.register(pidfd, select.POLLIN)
    memory, kinds = _watch(group)
    if memory >= 0:
        poll.register(memory, kinds)
    killed = group.oom_killed()
    following = time.monotonic() + interval_s
    while True:
        ready = dict(poll.poll(max(0.0, following - time.monotonic()) * 1000))
        if memory in ready:
            _settle(memory)
        if (now := group.oom_killed()) > killed:
            killed = now
            _print(container, "oom", None)
        if pidfd in ready:
            return
        if time.monotonic() >= following:
            following += interval_s
            _print(container, "stats", group.stats())


def _watch(group: Group) -> tuple[int, int]:
    """Return what to poll for news of the memory; (-1, 0) where the group has no memory controller."""
    try:
        return group.oom_watch()
    except (OSError, RedpakError):
        return -1, 0


def _settle(fd: int) -> None:
    """Take the news, so that poll(2) waits for the next: an eventfd is read, memory.events read again."""
    try:
        os.read(fd, 4096)
        os.lseek(fd, 0, os.SEEK_SET)
    except OSError:
        pass


def _print(container: store.Container, kind: str, data: object) -> None:
    from redpak import quickjson

    told = {"type": kind, "id": container.name}
    line = quickjson.dumps({**told, "data": data} if data is not None else told)
    os.write(1, line.encode() + b"\n")


def seconds(text: str) -> float:
    """Return the seconds of '5s', '250ms', '1m', '1m30s' or '5'; raises Usage."""
    rest, total = text, 0.0
    while rest:
        digits = len(rest) - len(rest.lstrip("0123456789."))
        number, rest = rest[:digits], rest[digits:]
        unit, factor = next((one for one in _UNITS if rest.startswith(one[0])), ("", 1.0))
        rest = rest[len(unit) :]
        try:
            if not unit and (rest or number != text):
                raise ValueError
            total += float(number) * factor
        except ValueError:
            raise Usage(f"'{text}' is no span of time", hint="Write it as 5s or 250ms.") from None
    if total <= 0:
        raise Usage("the interval has to be longer than nothing", hint="Write it as 5s or 250ms.")
    return total
