"""`redpak plan-diff`: what differs between two launches."""

from __future__ import annotations

import os

from redpak.cli import output
from redpak.cli.options import Argument, Arguments, Option
from redpak.errors import doing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.plan.model import Plan

SUMMARY = (
    "Compare two launches, item by item. Each side is a node, or a file that 'redpak plan --json' made. Exits with 0\n"
    "where both do the same, with 1 where they differ."
)
ARGUMENTS = (
    Argument(name="A", help="a node or a plan file: before"),
    Argument(name="B", help="a node or a plan file: after"),
)
OPTIONS = (
    Option(name="json", help="print the differences as a JSON list"),
    Option(name="all", help="compare who asked, the input files and who lost as well"),
    Option(name="admin", short="a", help="read the admin configuration files of nodes as well"),
)
EXAMPLES = (
    ("redpak plan /nodes/app --json >before.json", "keep what a launch does today"),
    ("redpak plan-diff before.json /nodes/app", "what has changed since"),
)
CODES = (
    ("0", "both do the same"),
    ("1", "they differ"),
    ("2", "failed, or the configuration or the command line is wrong"),
)


def main(args: Arguments) -> int:
    """Print the differences."""
    from redpak.plan import diff

    before = side(args.word("A"), admin=args.flag("admin"))
    after = side(args.word("B"), admin=args.flag("admin"))
    changes = diff.diff(before, after, everything=args.flag("all"))
    if args.flag("json"):
        output.json(diff.document(changes))
    else:
        output.lines(diff.lines(changes))
    return 1 if changes else 0


def side(path: str, *, admin: bool) -> Plan:
    """Return the plan of a node, or the one in a file."""
    if os.path.exists(path) and not os.path.isdir(path):  # a pipe, as of <(redpak plan …), counts
        from redpak.plan import wire

        with doing("read the plan"), open(path, "rb") as file:
            return wire.read(file.read(), file=path)
    from redpak.node.plan import plan_of

    return plan_of(path, admin=admin)
