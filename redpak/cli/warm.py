"""`redpak warm`: prepare a node's tree of mounts, so that later starts only join it."""

from __future__ import annotations

import os

from redpak import log
from redpak.cli import output
from redpak.cli.options import Argument, Arguments, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.engine.keepers import Keeper

SUMMARY = (
    "Prepare a node's tree of mounts: later starts of the node, frozen launchers too, join a private copy of it and\n"
    "begin in a third of the time. A small process keeps the tree until an input of the node's plan changes, or\n"
    "'redpak cool' ends it. Without PATH, list what is kept."
)
ARGUMENTS = (Argument(name="PATH", help="the node", kind="optional"),)
OPTIONS = (
    Option(name="admin", short="a", help="as 'redpak run --admin'"),
    Option(name="force", short="f", help="as 'redpak run --force'"),
    Option(name="strict", help="as 'redpak run --strict'"),
    Option(name="bwrap", metavar="FILE", kind="value", help="the bubblewrap to use"),
    Option(name="json", help="print JSON"),
)
EXAMPLES = (
    ("redpak warm /nodes/app", "prepare the tree; 'redpak run /nodes/app' and launchers use it from now on"),
    ("redpak warm", "list the trees that are kept"),
)


def main(args: Arguments) -> int:
    """Start a keeper, or list those that live."""
    from redpak.engine import bwrap, host, keepers

    path = args.word("PATH")
    if not path:
        kept = keepers.everything()
        if args.flag("json"):
            output.json([document(one) for one in kept])
        else:
            output.lines([f"{one.node}  {_kept(one)}" for one in kept])
        return 0

    from redpak.node.plan import plan_of

    plan = plan_of(
        path,
        admin=args.flag("admin"),
        command=(),
        strict=args.flag("strict"),
        may_write=True,
        digests=False,
    )
    spec = bwrap.lower(
        plan, host.look(args.value("bwrap")), force=args.flag("force"), strict=args.flag("strict")
    )
    for warning in (*plan.warnings, *spec.notes):
        log.warn(warning)
    keeper, new = keepers.start(spec, os.path.realpath(path))
    if args.flag("json"):
        output.json({**document(keeper), "new": new, "done": "prepared" if new else "nothing"})
    else:
        state = "prepared" if new else "was prepared before"
        log.info(f"'{keeper.node}' {state}: {_kept(keeper)}")
    return 0


def _kept(keeper: Keeper) -> str:
    return f"{keeper.mounts} mount{'' if keeper.mounts == 1 else 's'}, kept by process {keeper.pid.pid}"


def document(keeper: Keeper) -> dict[str, object]:
    """Return the JSON document of a tree that is kept."""
    return {"node": keeper.node, "mounts": keeper.mounts, "pid": keeper.pid.pid, "socket": keeper.socket}
