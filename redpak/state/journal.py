"""The journal of life events: one JSON line each in `<runtime directory>/events`, older ones in `events.1`.

{"time": 1790000000.5, "event": "start", "id": "3f9a0c12", "name": "web", …}: appended in one write(2), so that lines
of several writers never mix. Whoever follows it waits for inotify(7); nobody polls, no daemon runs. The launch helper
(launch.h) writes lines without id for launches in the foreground: that is made of the process here (see `seen`).
"""

from __future__ import annotations

import os

from redpak.errors import RedpakError
from redpak.state import place, proc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

FILE = "events"
MOST_BYTES = 1 << 20  # of one file; there are two
CLOCK_S = 60  # by how much the clock may have been set since the host was started
FLAGS = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
KINDS = ("create", "start", "exit", "lost", "oom", "exec", "stop", "kill", "pause", "resume", "remove")


def note(event: str, id_: str, **more: Any) -> None:
    """Append an event. A full disk is no reason to fail what happened: then it is missing here."""
    import json
    import time

    line = json.dumps({"time": round(time.time(), 6), "event": event, "id": id_, **more}) + "\n"
    try:
        at = os.path.join(place.ready(), FILE)
        fd = os.open(at, FLAGS, 0o600)
        try:
            size = os.fstat(fd).st_size
            if size > MOST_BYTES:
                _rotate(at, fd)
                os.close(fd)
                fd = os.open(at, FLAGS, 0o600)
                size = os.fstat(fd).st_size
            cut = (
                size > 0 and os.pread(fd, 1, size - 1) != b"\n"
            )  # by a full disk: that line is lost, this one not
            os.write(fd, (f"\n{line}" if cut else line).encode())
        finally:
            os.close(fd)
    except (OSError, RedpakError):
        return


def _rotate(at: str, fd: int) -> None:
    """Put the file aside, unless somebody else just did."""
    import fcntl

    fcntl.flock(fd, fcntl.LOCK_EX)
    try:
        if os.fstat(fd).st_ino == os.stat(at).st_ino:
            os.rename(at, f"{at}.1")
    except FileNotFoundError:
        return  # just now


def past() -> list[dict[str, Any]]:
    """Return the events that are still known, oldest first."""
    root = place.existing()
    found: list[dict[str, Any]] = []
    for name in (f"{FILE}.1", FILE) if root else ():
        try:
            with open(os.path.join(root, name), "rb") as file:
                found += _events(file.read())
        except FileNotFoundError:
            continue
    return found


def _events(data: bytes) -> list[dict[str, Any]]:
    import json

    found = []
    boot = proc.boot()
    nodes: dict[str, str] = {}  # as it was written: canonical
    for line in data.splitlines():
        try:
            one = json.loads(line)
        except ValueError:
            continue  # cut off by a full disk
        if isinstance(one, dict) and "event" in one and ("id" in one or _name(one, boot, nodes)):
            found.append(one)
    return found


def _name(one: dict[str, Any], boot: str, nodes: dict[str, str]) -> bool:
    """Give what the launch helper wrote its id; False for a line that is none."""
    import time

    try:
        process = proc.Pid(pid=int(one.pop("pid")), start=int(one.pop("ticks")))
        begin = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
        id_ = proc.name(process, "earlier" if one["time"] < begin - CLOCK_S else boot)
    except (KeyError, TypeError, ValueError):
        return False
    node = one.get("node")
    if isinstance(node, str):  # as it was written, it may be by way of a link
        one["node"] = nodes[node] if node in nodes else nodes.setdefault(node, os.path.realpath(node))
    more = {key: one.pop(key) for key in tuple(one) if key not in ("time", "event")}
    one.update(id=id_, **more, pid=process.pid, ticks=process.start)
    return True


def follow(*, history: bool = False, wait: Callable[[int], None] | None = None) -> Iterator[dict[str, Any]]:
    """Return events as they happen, without end; with `history`, those still known first.

    The watch is there before this function returns: nothing that happens afterwards is missed. `wait` is called
    before each wait for it, with its descriptor, and returns when that can be read.
    """
    from redpak.kernel import inotify

    root = place.ready()
    watch = inotify.init()
    inotify.add_watch(watch, root, inotify.IN_CREATE | inotify.IN_MODIFY | inotify.IN_MOVED_TO)
    at = os.path.join(root, FILE)
    old = past() if history else []
    fd = os.open(at, os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    os.lseek(fd, 0, os.SEEK_END)
    return _follow(watch, fd, at, old, wait)


def _follow(
    watch: int, fd: int, at: str, old: list[dict[str, Any]], wait: Callable[[int], None] | None
) -> Iterator[dict[str, Any]]:
    from redpak.kernel import inotify

    rest = b""
    try:
        yield from old
        while True:
            try:
                moved = os.stat(at).st_ino != os.fstat(fd).st_ino
            except FileNotFoundError:
                moved = False  # between two names
            while data := os.read(
                fd, 1 << 16
            ):  # after that look: what came before the move is not passed over
                whole, newline, rest = (rest + data).rpartition(b"\n")
                yield from _events(whole + newline)
            if moved:
                try:
                    new = os.open(at, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
                except FileNotFoundError:
                    continue
                os.close(fd)
                fd, rest = new, b""
                continue
            if wait is not None:
                wait(watch)
            inotify.events(watch)
    finally:
        os.close(fd)
        os.close(watch)
