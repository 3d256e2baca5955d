"""What the journal tells of launches in the foreground that keep no record: when they began, and how they ended.

Their launch helper tells both (launch.h). Where it was killed, whoever notices the end first writes that down, once: a
follower waits for it (pidfd_open(2)), so does `redpak wait`; what ended while nobody looked is noticed by the next who
reads the journal, and its code is not known then.
"""

from __future__ import annotations

import os
import select

from redpak.fs import locked
from redpak.state import journal, place, proc
from redpak.state.proc import Pid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

UNSEEN = "nobody saw it end"
UNTOLD = "only its parent is told with which code"
LOCK = "events.lock"  # held by who notes an end, so that it is noted once


def launches(events: Iterable[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return what is known of each launch that told when it began: its start, with the key 'exit' for its end."""
    found: dict[str, dict[str, Any]] = {}
    for one in events:
        if one["event"] == "start" and "ticks" in one:
            found.setdefault(one["id"], dict(one))
        elif one["event"] == "exit" and one["id"] in found:
            found[one["id"]].setdefault("exit", one)
    return found


def pid_of(start: dict[str, Any]) -> Pid | None:
    """Return the process of a launch, None where the line is of an earlier start of the host, or damaged."""
    try:
        one = Pid(pid=int(start["pid"]), start=int(start["ticks"]))
    except (KeyError, TypeError, ValueError):
        return None
    return one if proc.name(one) == start["id"] else None


def ended(id_: str, code: int | None, reason: str = "") -> None:
    """Note the end of a launch, unless it told of no start or somebody has noted its end already."""
    with locked(os.path.join(place.ready(), LOCK), "note an end", wait=True):
        one = launches(journal.past()).get(id_)
        if one is not None and "exit" not in one:
            _note(one, code, reason)


def _note(one: dict[str, Any], code: int | None, reason: str) -> None:
    more = {"reason": reason} if reason else {}
    journal.note("exit", one["id"], node=one.get("node", "?"), code=code, **more)


def settle() -> None:
    """Note the end of what ended while nobody looked."""
    if not any(unseen(one) for one in launches(journal.past()).values()):
        return
    with locked(os.path.join(place.ready(), LOCK), "note an end", wait=True):
        for one in launches(journal.past()).values():
            if unseen(one):
                _note(one, None, UNSEEN)


def unseen(one: dict[str, Any]) -> bool:
    """Tell whether a launch has ended and nobody has noted that."""
    return "exit" not in one and not proc.alive(pid_of(one))


def named(word: str) -> dict[str, Any] | None:
    """Return the launch that an id, or the beginning of one, means and that has ended; None for none, or several."""
    settle()
    over = [one for one in launches(journal.past()).values() if "exit" in one]
    fitting = [one for one in over if one["id"] == word] or [
        one for one in over if one["id"].startswith(word)
    ]
    return fitting[0] if len({one["id"] for one in fitting}) == 1 else None


def follow(*, history: bool = False, reader: int = -1) -> Iterator[dict[str, Any]]:
    """Return events as they happen, without end, and see to it that the ends of launches are among them.

    Raises BrokenPipeError when nobody reads any more what is written to the descriptor `reader`.
    """
    watched = Watched(reader)
    settle()
    for one in launches(journal.past()).values():
        watched.look(one)
    return _follow(journal.follow(history=history, wait=watched.wait), watched)


def _follow(events: Iterator[dict[str, Any]], watched: Watched) -> Iterator[dict[str, Any]]:
    try:
        for one in once(events):
            if one["event"] == "start" and "ticks" in one:
                watched.look(one)
            yield one
    finally:
        watched.close()


def once(events: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Leave out what a launch tells twice: its prepared tree was gone, so redpak began anew, as the same process."""
    told: set[str] = set()
    for one in events:
        if one["event"] == "start" and "ticks" in one:
            if one["id"] in told:
                continue
            told.add(one["id"])
        yield one


class Watched:
    """Launches whose end is waited for."""

    def __init__(self, reader: int) -> None:
        self.reader = reader
        self.ids: dict[int, str] = {}  # {pidfd: id}

    def look(self, start: dict[str, Any]) -> None:
        """Wait for the end of a launch, too."""
        one = pid_of(start)
        if one is None or "exit" in start or start["id"] in self.ids.values():
            return
        try:
            self.ids[proc.opened(one)] = start["id"]
        except ProcessLookupError:
            ended(start["id"], None, UNSEEN)

    def wait(self, other: int) -> None:
        """Return when `other` can be read; the ends that come before are noted. Raises BrokenPipeError."""
        from redpak.state.ending import of_pidfd

        while True:
            poll = select.poll()
            for fd in (other, *self.ids):
                poll.register(fd, select.POLLIN)
            if self.reader >= 0:
                poll.register(self.reader, 0)  # of a reader that goes away poll(2) tells unasked
            ready = [fd for fd, _what in poll.poll()]
            for fd in ready:
                if fd in self.ids:
                    code = of_pidfd(fd)
                    os.close(fd)
                    ended(self.ids.pop(fd), code, "" if code is not None else UNTOLD)
            if self.reader in ready:
                raise BrokenPipeError
            if other in ready:
                return

    def close(self) -> None:
        """Wait for none any more."""
        for fd in self.ids:
            os.close(fd)
        self.ids.clear()
