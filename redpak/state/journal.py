"""The journal of life events: one JSON line each in `<runtime directory>/events`, older ones in `events.1`.

{"time": 1790000000.5, "event": "start", "id": "3f9a0c12", "name": "web", …}: appended in one write(2), so that lines
of several writers never mix. Whoever follows it waits for inotify(7); nobody polls, no daemon runs.
"""

from __future__ import annotations

import os

from redpak.errors import RedpakError
from redpak.state import place

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

FILE = "events"
MOST_BYTES = 1 << 20  # of one file; there are two
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
    for line in data.splitlines():
        try:
            one = json.loads(line)
        except ValueError:
            continue  # cut off by a full disk
        if isinstance(one, dict) and "event" in one and "id" in one:
            found.append(one)
    return found


def follow(*, history: bool = False) -> Iterator[dict[str, Any]]:
    """Return events as they happen, without end; with `history`, those still known first.

    The watch is there before this function returns: nothing that happens afterwards is missed.
    """
    from redpak.kernel import inotify

    root = place.ready()
    watch = inotify.init()
    inotify.add_watch(watch, root, inotify.IN_CREATE | inotify.IN_MODIFY | inotify.IN_MOVED_TO)
    at = os.path.join(root, FILE)
    old = past() if history else []
    fd = os.open(at, os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    os.lseek(fd, 0, os.SEEK_END)
    return _follow(watch, fd, at, old)


def _follow(watch: int, fd: int, at: str, old: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
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
            inotify.events(watch)
    finally:
        os.close(fd)
        os.close(watch)
