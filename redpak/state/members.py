"""The processes of a sandbox, found from outside: from the process that launched it down."""

from __future__ import annotations

from redpak.record import Record
from redpak.state import proc
from redpak.state.proc import Pid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.state.records import Entry

DEPTH = 4  # between the launcher and the first process inside: bubblewrap, or nothing


class Inside(Record):
    """The two processes that matter: `init` is the first one inside, `main` the program (both may be the same)."""

    init: Pid
    main: Pid | None  # None while it does not run yet
    own_pids: bool  # init is process 1 of a pid namespace: with it everything ends


def find(launcher: int, *, reaper: bool | None) -> Inside | None:
    """Return what a launcher has started, None while it is not there.

    `reaper`: init only stands above the program; None: it does where it has a pid namespace of its own (bubblewrap).
    """
    here, depth = proc.namespace(launcher, "mnt"), _depth(launcher)
    level = [launcher]
    for _ in range(DEPTH):
        level = [child for pid in level for child in proc.children(pid)]
        for pid in level:
            if proc.hidden(pid):
                return _hidden(pid, depth)
            # The links tell only those who might trace it, which an ordinary user may not while it sets things up.
            there = proc.namespace(pid, "mnt")
            own = _depth(pid) > depth
            if own or (there and here and there != here and not (reaper and _stands_above(pid, depth))):
                return _inside(pid, own=own, reaper=reaper)
    return None


def _hidden(init: int, depth: int) -> Inside | None:
    """Return what can be seen of a sandbox whose first process /proc hides (hidepid): its program stands for both."""
    if len(proc.numbers(init)) <= depth:
        return None
    main = proc.known(next(iter(proc.seen_children(init)), 0))
    return Inside(init=main, main=main, own_pids=True) if main is not None else None


def _stands_above(pid: int, depth: int) -> bool:
    """Tell whether a process has only gone where a prepared tree is kept, to start the first one from there."""
    return any(_depth(child) > depth for child in proc.children(pid))


def _depth(pid: int) -> int:
    """Return in how many pid namespaces a process has a number, 0 where it is gone. Everybody may ask that."""
    return len(proc.status(pid).get("NSpid", "").split())


def _inside(pid: int, *, own: bool, reaper: bool | None) -> Inside | None:
    init = proc.known(pid)
    if init is None:
        return None
    if not (own if reaper is None else reaper):
        return Inside(init=init, main=init, own_pids=own)
    below = proc.children(pid)
    return Inside(init=init, main=proc.known(below[0]) if below else None, own_pids=own)


def always_reaped(engine: str) -> bool | None:
    """Return what `find` is to be told of an engine in Python: the native one always has an init of its own."""
    return True if engine == "native" else None


def runs(inside: Inside, starter: str) -> bool:
    """Tell whether the program runs: its process no longer executes the file that made the sandbox (bubblewrap)."""
    return inside.main is not None and proc.program(inside.main.pid) not in ("", starter)


def of(init: Pid) -> tuple[int, ...]:
    """Return every process of a sandbox: what descends from its first one, and what shares its mount namespace.

    The first alone is enough where the sandbox has a pid namespace of its own: it gets all orphans. Where it has none,
    orphans go to the host's init and only the namespace shows where they belong.
    """
    if not proc.alive(init):
        return ()
    found = dict.fromkeys(proc.tree([init.pid]))
    if proc.status(init.pid).get("NSpid", "").split()[-1:] != ["1"]:
        mine = proc.namespace(init.pid, "mnt")
        found.update(
            dict.fromkeys(pid for pid in proc.every() if mine and proc.namespace(pid, "mnt") == mine)
        )
    return tuple(found)


def of_entry(entry: Entry) -> tuple[int, ...]:
    """Return what lives of a record: its launcher with its children, the sandbox, and what is in its control group.

    The last is all that tells of orphans where the host's processes are shared and the others are dead.
    """
    found: dict[int, None] = {}
    for one in (entry.launcher, entry.init, entry.main):
        if one is not None and proc.alive(one):
            found.update(dict.fromkeys(proc.tree([one.pid])))
    for at in set((entry.cgroup or {}).get("paths", {}).values()):
        try:
            found.update(dict.fromkeys(map(int, proc.read(f"{at}/cgroup.procs").split())))
        except OSError:
            continue  # ENODEV: it is being removed
    return tuple(pid for pid in found if (at := proc.stat(pid)) is not None and at.state not in "ZX")
