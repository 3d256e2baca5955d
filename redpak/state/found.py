"""Sandboxes that nobody wrote a record of: launches in the foreground, found by their launch helper in /proc.

`redpak run` and frozen launchers leave no Python behind and keep no record, so that a start costs nothing (what they
tell the journal, `seen` has); what the helper was told stands in its command line (launch.c) and, for values that only
its user may see, in its environment.
"""

from __future__ import annotations

import os

from redpak.record import Record
from redpak.state import members, proc
from redpak.state.proc import Pid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.state.members import Inside

HELPER = "redpak-launch"
JOINER = "redpak-join"  # what the helper may start instead of bubblewrap; it understands words of its own
TWO = frozenset("fj")  # options with two values
NONE = frozenset("qsnt")  # options without one


class Told(Record):
    """What a launch helper was told."""

    bwrap: str
    words: tuple[str, ...]  # of bubblewrap, those that only the user may see included
    program: tuple[str, ...]
    reads: tuple[tuple[str, str], ...] = ()  # (option letter, path) in the order of their numbers, from 10 on
    rlimits: tuple[str, ...] = ()  # "7:1024:4096": number, soft, hard
    leases: tuple[str, ...] = ()
    node: str = ""  # as it was written
    scope: bool = False
    pidns: bool = False
    filter: bytes = b""  # of system calls, where no file has it
    explained: bool = False  # a launch of the user's; others are commands of a configuration


class Launch(Record):
    """One launch in the foreground."""

    id: str
    helper: Pid
    parent: int
    told: Told
    node: str  # canonical where it is there

    def inside(self) -> Inside | None:
        """Return its processes, None while they are not there."""
        return members.find(self.helper.pid, reaper=self.told.pidns)


def told(cmdline: list[str], environ: list[str]) -> Told | None:
    """Return what a helper's command line says, None where it is none (see launch.c)."""
    values = dict(word.partition("=")[::2] for word in environ)
    reads: list[tuple[str, str]] = []
    late: list[str] = []
    given: dict[str, list[str]] = {letter: [] for letter in "exlgkif"}
    flags = ""
    at = 1
    while at < len(cmdline) and cmdline[at] != "--":
        word = cmdline[at]
        if len(word) < 2 or word[0] != "-":
            return None
        letter = word[1]
        count = 0 if letter in NONE else 2 if letter in TWO else 1
        if at + count >= len(cmdline):
            return None
        value = cmdline[at + count]
        at += 1 + count
        if letter in NONE:
            flags += letter
        elif letter in "ord":
            reads.append((letter, value))
        elif letter in "av":
            late.append(value if letter == "a" else values.get(value, ""))
        elif letter in given:
            given[letter].append(value)
    rest = cmdline[at + 1 :]
    if len(rest) < 3 or not rest[1].isdigit() or len(rest) < 2 + int(rest[1]) + 1:
        return None
    count = int(rest[1])
    explain = given["x"]
    return Told(
        bwrap=rest[0],
        words=(*rest[2 : 2 + count], *late),
        program=tuple(rest[2 + count :]),
        reads=tuple(reads),
        rlimits=tuple(given["l"]),
        leases=tuple(given["g"]),
        node=_node(explain),
        scope="s" in flags,
        pidns="n" in flags,
        explained=bool(explain),
    )


def _node(explain: list[str]) -> str:
    """Return the node that the words of the explanation name: behind '--', or behind '--redpath' (redwrap)."""
    if "--redpath" in explain[:-1]:
        return explain[explain.index("--redpath") + 1]
    if "--" in explain[:-1]:
        return explain[len(explain) - 1 - explain[::-1].index("--") + 1]
    return ""


def look(pid: int) -> Launch | None:
    """Return the launch that a process stands for, None where it is no launch helper of ours."""
    path = proc.program(pid).removesuffix(" (deleted)")
    if os.path.basename(path) != HELPER or proc.owner(pid) != os.geteuid():
        return None
    at = proc.stat(pid)
    said = told(proc.words(pid, "cmdline"), proc.words(pid, "environ"))
    if at is None or said is None:
        return None
    one = Pid(pid=pid, start=at.start)
    node = said.node
    if node and not node.startswith("/"):
        try:
            node = os.path.join(os.readlink(f"/proc/{pid}/cwd"), node)
        except proc.GONE:
            return None
    return Launch(
        id=proc.name(one),
        helper=one,
        parent=at.parent,
        told=said,
        node=os.path.realpath(node) if node else "?",
    )


def every() -> list[Launch]:
    """Return all launches of this user, oldest first; commands of configurations left out."""
    found = (look(pid) for pid in proc.every())
    launches = [one for one in found if one is not None and one.told.explained]
    return sorted(launches, key=lambda one: (one.helper.start, one.helper.pid))
