"""Every command of `redpak`: one line each. Modules are imported when their command is used, not before."""

from __future__ import annotations

from redpak.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    Group = Literal["Use", "Understand", "Nodes", "About"]


class Command(Record):
    """One word after `redpak`."""

    name: str
    module: str
    help: str  # one line
    group: Group
    # Exit code when redpak itself breaks: 125 where the program's own codes come through, 2 where 1 is an answer.
    broke: int = 1


COMMANDS = (
    Command(
        name="run", module="redpak.cli.run", group="Use", broke=125,
        help="run a program in a node",
    ),
    Command(
        name="freeze", module="redpak.cli.freeze", group="Use",
        help="compile a node's launch to one readable shell script",
    ),
    Command(
        name="plan", module="redpak.cli.plan", group="Understand",
        help="show all that a launch will do, touching nothing",
    ),
    Command(
        name="explain", module="redpak.cli.explain", group="Understand",
        help="tell where a path, variable, namespace or limit of the sandbox comes from",
    ),
    Command(
        name="plan-diff", module="redpak.cli.plan_diff", group="Understand", broke=2,
        help="compare two nodes' launches, item by item",
    ),
    Command(
        name="prove", module="redpak.cli.prove", group="Understand",
        help="prove that a tree of nodes is coherent, or tell what a change would break",
    ),
    Command(
        name="verify", module="redpak.cli.verify", group="Understand",
        help="check a tree against a certificate, without the solver",
    ),
    Command(
        name="why", module="redpak.cli.why", group="Understand",
        help="tell why a package is installed and who would miss it",
    ),
    Command(
        name="who-provides", module="redpak.cli.who_provides", group="Understand",
        help="tell which package of which node or repository has a capability or a file",
    ),
    Command(
        name="node", module="redpak.cli.node", group="Nodes",
        help="create, list, show, move and delete nodes",
    ),
    Command(
        name="solve", module="redpak.cli.solve", group="Nodes", broke=2,
        help="replay a test case of the solver",
    ),
    Command(
        name="doctor", module="redpak.cli.doctor", group="About",
        help="tell what this host can and cannot do, and how to fix it",
    ),
    Command(
        name="schema", module="redpak.cli.schema", group="About",
        help="print the JSON Schema of configuration files",
    ),
    Command(
        name="help", module="redpak.cli.help", group="About",
        help="show the help of a command",
    ),
)  # fmt: skip

GROUPS: tuple[Group, ...] = ("Use", "Understand", "Nodes", "About")


def find(name: str) -> Command | None:
    """Return the command of that name."""
    for command in COMMANDS:
        if command.name == name:
            return command
    return None
