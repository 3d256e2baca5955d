"""What the commands for running sandboxes share: their options, their JSON, their control groups."""

from __future__ import annotations

from redpak.cli import grouped, output
from redpak.cli.options import Argument, Option
from redpak.errors import NotFound, RedpakError, Refused
from redpak.state import logfile, proc, sandboxes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any, TypeVar

    T = TypeVar("T")

    from redpak.cli.options import Arguments
    from redpak.state.proc import Pid
    from redpak.state.records import Entry
    from redpak.state.sandboxes import Sandbox

TARGET = Argument(name="ID", help="an id of 'redpak ps' or its beginning, a name, or the path of a node")
TARGETS = Argument(name="ID", help=TARGET.help, kind="some")
JSON = Option(name="json", help="print JSON")
DONE = Option(name="json", help="print JSON: a list of those to which it was done")


def document(one: Sandbox) -> dict[str, Any]:
    """Return the JSON document of a sandbox; its keys are the same whatever it is."""
    return {
        "id": one.id,
        "name": one.name,
        "node": one.node,
        "command": list(one.command),
        "status": "paused" if is_paused(one) else one.status,
        "detached": one.detached,
        "engine": one.engine,
        "user": one.uid,
        "pid": _pid(one.main),
        "init_pid": _pid(one.init),
        "launcher_pid": _pid(one.launcher),
        "supervisor_pid": _pid(one.supervisor),
        "started": logfile.stamp(one.started),
        "ended": logfile.stamp(one.ended) if one.ended else None,
        "code": one.code,
        "oom": one.oom,
        "reason": one.reason,
    }


def acted(one: Sandbox | Entry, done: str, **more: object) -> dict[str, Any]:
    """Return what a command with --json says of a sandbox that it did something to. `done`: what, in one word."""
    return {"id": one.id, "name": one.name, "node": one.node, "done": done, **more}


def _pid(one: Pid | None) -> int | None:
    return one.pid if one is not None and proc.alive(one) else None


def is_paused(one: Sandbox) -> bool:
    """Tell whether a sandbox is frozen."""
    try:
        group = grouped.of(one)
        return group is not None and group.frozen()
    except (RedpakError, OSError):  # it ends just now
        return False


def find(target: str, *, ended: bool = False) -> Sandbox:
    """Return the sandbox that a word means (`sandboxes.find`); says so where it means a container of redpak-oci."""
    try:
        return sandboxes.find(target, ended=ended)
    except NotFound:
        from redpak.cli import containers

        if name := containers.meant(target):
            hint = f"Drive it by that: redpak-oci state {name}; redpak-oci --help"
            raise NotFound(f"'{target}' is a container of redpak-oci, no sandbox", hint=hint) from None
        raise


def main_of(one: Sandbox) -> Pid:
    """Return the program of a sandbox. Raises Refused where it does not run (yet, or any more)."""
    if one.main is None or not proc.alive(one.main):
        raise Refused(f"the program of {one.called} does not run", hint="Run 'redpak ps'.")
    return one.main


def for_each(args: Arguments, act: Callable[[Sandbox], dict[str, Any]]) -> int:
    """Do something to each that runs, whatever becomes of the others; raise what failed at the end, all at once.

    `act` returns what it did, as `acted` makes it: printed with --json.
    """
    found, faults = find_each(args.words("ID"))
    done: list[dict[str, Any]] = []
    faults += tried(found, lambda one: done.append(act(one)))
    if args.flag("json"):
        output.json(done)
    blame(faults)
    return 0


def tried(targets: Iterable[T], act: Callable[[T], None]) -> list[RedpakError]:
    """Do something to each target, whatever becomes of the others; return what failed."""
    faults: list[RedpakError] = []
    for target in targets:
        try:
            act(target)
        except RedpakError as error:
            faults.append(error)
    return faults


def blame(faults: Sequence[RedpakError]) -> None:
    """Raise what failed, if anything did: one error, with the code of all where they have the same."""
    if not faults:
        return
    if len(faults) == 1:
        raise faults[0]
    worst = type(faults[0]) if len({type(one) for one in faults}) == 1 else RedpakError
    raise worst("; ".join(one.message for one in faults), hint=faults[0].hint)


def find_each(targets: Sequence[str], *, ended: bool = False) -> tuple[list[Sandbox], list[RedpakError]]:
    """Return the sandboxes that words mean, each once, and what is wrong with the words that mean none."""
    found: dict[str, Sandbox] = {}

    def look(target: str) -> None:
        one = find(target, ended=ended)
        found.setdefault(one.id, one)

    faults = tried(targets, look)
    return list(found.values()), faults
