"""Everything of redpak's that runs, or ran, in one list: records and launches in the foreground alike."""

from __future__ import annotations

import os

from redpak.errors import NotFound, Refused, Usage
from redpak.record import Record
from redpak.state import found, members, proc, seen, truth

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Literal

    from redpak.state.found import Launch
    from redpak.state.proc import Pid
    from redpak.state.records import Entry
    from redpak.state.truth import Known

    Status = Literal["starting", "running", "adrift", "exited", "failed", "lost"]

LIVING = ("starting", "running", "adrift")


class Sandbox(Record):
    """One sandbox. `status`: 'adrift' runs without a supervisor, 'failed' never ran, 'lost' ended unseen."""

    id: str
    name: str = ""
    node: str
    command: tuple[str, ...]
    detached: bool
    engine: str
    status: Status
    code: int | None = None
    reason: str = ""
    oom: bool = False
    started: float  # seconds since 1970
    ended: float = 0.0
    uid: int
    supervisor: Pid | None = None
    launcher: Pid | None = None
    init: Pid | None = None
    main: Pid | None = None
    own_pids: bool = True
    entry: Entry | None = None
    launch: Launch | None = None

    @property
    def lives(self) -> bool:
        """Tell whether it runs, or is about to."""
        return self.status in LIVING

    @property
    def called(self) -> str:
        """Its name, else its id."""
        return self.name or self.id


def of_entry(known: Known) -> Sandbox:
    """Return the sandbox of a record."""
    entry = known.entry
    status: Status = "running"
    code, reason, ended, oom = None, "", 0.0, False
    init, main = entry.init, entry.main
    if entry.exit is not None:
        code, reason, ended, oom = entry.exit.code, entry.exit.reason, entry.exit.ended, entry.exit.oom
        status = "lost" if code is None else "failed" if entry.main is None and reason else "exited"
    elif known.supervised:
        status = "starting" if entry.stage == "starting" else "running"
    else:
        status = "adrift"
        reason = f"its supervisor is gone, {len(known.living)} of its processes run on"
    if entry.foreground and entry.launcher is not None and known.supervised:
        inside = members.find(entry.launcher.pid, reaper=members.always_reaped(entry.engine))
        init, main = (inside.init, inside.main) if inside is not None else (None, None)
        own = inside is not None and inside.own_pids
    else:
        own = init is not None and proc.status(init.pid).get("NSpid", "").split()[-1:] == ["1"]
    return Sandbox(
        id=entry.id,
        name=entry.name,
        node=entry.node,
        command=entry.command,
        detached=not entry.foreground,
        engine=entry.engine,
        status=status,
        code=code,
        reason=reason or entry.broken,
        oom=oom,
        started=entry.created,
        ended=ended,
        uid=entry.uid,
        supervisor=entry.supervisor,
        launcher=entry.launcher,
        init=init,
        main=main,
        own_pids=own,
        entry=entry,
    )


def of_launch(launch: Launch) -> Sandbox:
    """Return the sandbox of a launch in the foreground."""
    inside = launch.inside()
    return Sandbox(
        id=launch.id, node=launch.node, command=launch.told.program, detached=False,
        engine="native" if os.path.basename(launch.told.bwrap) == found.JOINER else "bwrap",
        status="running" if inside is not None and inside.main is not None else "starting",
        started=proc.since_epoch(launch.helper.start), uid=os.geteuid(), launcher=launch.helper,
        init=inside.init if inside else None, main=inside.main if inside else None,
        own_pids=inside.own_pids if inside else True, launch=launch,
    )  # fmt: skip


def of_past(start: dict[str, Any]) -> Sandbox:
    """Return the sandbox of a launch in the foreground that ended, from what the journal tells (`seen.named`)."""
    exit_ = start["exit"]
    code = exit_.get("code")
    return Sandbox(
        id=start["id"], node=str(start.get("node", "?")), command=(), detached=False, engine="",
        status="lost" if code is None else "exited", code=code, reason=str(exit_.get("reason", "")),
        started=float(start["time"]), ended=float(exit_["time"]), uid=os.geteuid(),
    )  # fmt: skip


def everything(*, ended: bool = False) -> list[Sandbox]:
    """Return what runs, oldest first; with `ended`, what is still known of the past as well."""
    launches = found.every()  # before the records: what is in both is then known to be
    kept = [of_entry(one) for one in truth.everything()]
    started = {one.supervisor.pid for one in kept if one.supervisor is not None and one.lives}
    free = [of_launch(one) for one in launches if one.parent not in started]
    both = [one for one in (*kept, *free) if ended or one.lives]
    return sorted(both, key=lambda one: (one.started, one.id))


def find(target: str, *, ended: bool = False) -> Sandbox:
    """Return the one sandbox that `target` means: an id or the beginning of one, a name, or the path of its node.

    A name means what lives, else (with `ended`) what ended last. Raises NotFound, and Usage where several fit.
    """
    if not target:
        raise Usage("an empty word names no sandbox", hint="Run 'redpak ps'.")
    every = everything(ended=True)
    fitting = [one for one in every if one.id == target]
    if not fitting:
        named = [one for one in every if one.name == target]
        fitting = [one for one in named if one.lives] or named[-1:]
    if not fitting and "/" in target:
        where = os.path.realpath(target)
        fitting = [one for one in every if one.node == where and one.lives]
    if not fitting and len(target) >= 1 and all(c in "0123456789abcdef" for c in target):
        fitting = [one for one in every if one.id.startswith(target)]
        if not fitting and ended:
            past = seen.named(target)
            fitting = [of_past(past)] if past is not None else []
    if len(fitting) > 1:
        raise Usage(f"'{target}' may be {_listed(fitting)}", hint="Write its id, or more of it.")
    if not fitting:
        raise NotFound(f"there is no sandbox '{target}'", hint=_near(target, every))
    one = fitting[0]
    if not one.lives and not ended:
        raise Refused(f"'{target}' does not run: {told(one)}", hint="Run 'redpak ps' for what runs.")
    return one


def _listed(some: Sequence[Sandbox]) -> str:
    words = [f"{one.id} ({one.name or os.path.basename(one.node)})" for one in some[:5]]
    return ", ".join(words[:-1]) + f" or {words[-1]}" + (" …" if len(some) > len(words) else "")


def _near(target: str, every: Sequence[Sandbox]) -> str:
    import difflib

    words = [word for one in every for word in (one.name, one.id) if word]
    if "/" not in target and os.path.isdir(target):
        return f"What runs of the node in this directory is './{target}'."
    close = difflib.get_close_matches(target, words, n=1, cutoff=0.6)
    return f"Did you mean '{close[0]}'?" if close else "Run 'redpak ps --all'."


def told(one: Sandbox) -> str:
    """Return how it is with a sandbox, in words: 'exited with 3', 'lost: its supervisor was killed'."""
    if one.status == "exited":
        return f"exited with {one.code}" + (" (out of memory)" if one.oom else "")
    if one.status == "failed":
        return f"never ran ({one.code})"
    return f"{one.status}: {one.reason}" if one.reason else one.status


def processes(one: Sandbox) -> tuple[int, ...]:
    """Return every process of a running sandbox, in our numbering."""
    if one.init is not None and proc.alive(one.init):
        return members.of(one.init)
    return members.of_entry(one.entry) if one.entry is not None else ()
