"""Every command of `redpak`: one line each. Modules are imported when their command is used, not before."""

from __future__ import annotations

from redpak.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    Group = Literal["Use", "Running", "Understand", "Nodes", "About"]


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
        name="ps", module="redpak.cli.ps", group="Running",
        help="list what runs",
    ),
    Command(
        name="exec", module="redpak.cli.exec", group="Running", broke=125,
        help="run one more program in a running sandbox",
    ),
    Command(
        name="enter", module="redpak.cli.enter", group="Running", broke=125,
        help="get a shell in a running sandbox",
    ),
    Command(
        name="stop", module="redpak.cli.stop", group="Running",
        help="ask sandboxes to end, and kill those that do not",
    ),
    Command(
        name="kill", module="redpak.cli.kill", group="Running",
        help="send a signal to sandboxes",
    ),
    Command(
        name="pause", module="redpak.cli.pause", group="Running",
        help="freeze sandboxes",
    ),
    Command(
        name="resume", module="redpak.cli.resume", group="Running",
        help="let frozen sandboxes go on",
    ),
    Command(
        name="wait", module="redpak.cli.wait", group="Running", broke=125,
        help="wait until sandboxes have ended, and return their code",
    ),
    Command(
        name="rm", module="redpak.cli.rm", group="Running",
        help="remove the records and logs of what ended",
    ),
    Command(
        name="logs", module="redpak.cli.logs", group="Running",
        help="print what a detached program said",
    ),
    Command(
        name="events", module="redpak.cli.events", group="Running",
        help="follow what happens to sandboxes",
    ),
    Command(
        name="stats", module="redpak.cli.stats", group="Running",
        help="show what sandboxes use: processor, memory, processes, input and output",
    ),
    Command(
        name="top", module="redpak.cli.top", group="Running",
        help="list the processes of a sandbox",
    ),
    Command(
        name="inspect", module="redpak.cli.inspect", group="Running",
        help="tell all that is known of a sandbox: plan, record, processes, namespaces, mounts",
    ),
    Command(
        name="cp", module="redpak.cli.cp", group="Running",
        help="copy files into a running sandbox, or out of it",
    ),
    Command(
        name="diff", module="redpak.cli.diff", group="Running", broke=2,
        help="list what a running sandbox changed in the places that are its own",
    ),
    Command(
        name="warm", module="redpak.cli.warm", group="Use",
        help="prepare a node's mounts once, for faster starts",
    ),
    Command(
        name="cool", module="redpak.cli.cool", group="Use",
        help="drop what 'redpak warm' prepared",
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
        name="oci", module="redpak.cli.oci", group="Use",
        help="make OCI bundles of nodes, explain bundles",
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

GROUPS: tuple[Group, ...] = ("Use", "Running", "Understand", "Nodes", "About")


def find(name: str) -> Command | None:
    """Return the command of that name."""
    for command in COMMANDS:
        if command.name == name:
            return command
    return None
