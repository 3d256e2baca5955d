"""`redpak cool`: end what 'redpak warm' prepared."""

from __future__ import annotations

import os

from redpak.cli import output, warm
from redpak.cli.options import Argument, Arguments, Option
from redpak.errors import NotFound, Usage

SUMMARY = (
    "End what 'redpak warm' prepared for a node: later starts make their mounts themselves again.\n"
    "Programs that run go on; they have a copy of the tree."
)
ARGUMENTS = (Argument(name="PATH", help="the node", kind="optional"),)
OPTIONS = (
    Option(name="all", help="all trees that are kept"),
    Option(name="json", help="print JSON: a list of those that were dropped"),
)
EXAMPLES = (
    ("redpak cool /nodes/app", "drop the prepared tree of one node"),
    ("redpak cool --all", "drop them all"),
)


def main(args: Arguments) -> int:
    """End keepers."""
    from redpak.engine import keepers

    path, every = args.word("PATH"), args.flag("all")
    if bool(path) == every:
        raise Usage("name a node, or say '--all'", hint="Run 'redpak warm' to see what is kept.")
    keepers.sweep()
    where = os.path.realpath(path) if path else ""
    kept = [one for one in keepers.everything() if every or one.node == where]
    if path and not kept:
        raise NotFound(f"nothing is prepared for '{path}'", hint="Run 'redpak warm' to see what is kept.")
    for one in kept:
        keepers.end(one)
    if args.flag("json"):
        output.json([{**warm.document(one), "done": "dropped"} for one in kept])
    return 0
