"""`redpak explain`: why something is as it is inside a node's sandbox."""

from __future__ import annotations

import os
import stat

from redpak.cli import output
from redpak.cli.options import Argument, Arguments, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.plan.answer import Explanation, Located
    from redpak.plan.model import Plan

SUMMARY = (
    "Tell what a thing in a node's sandbox is, which file and line asked for it, who else asked and lost, and who\n"
    "seals it. Nothing is made, changed or run."
)
ARGUMENTS = (
    Argument(name="PATH", help="the node"),
    Argument(
        name="THING",
        help="a path inside the sandbox, a variable ($NAME or NAME), a namespace (net), a capability (CAP_CHOWN),"
        " a limit (memory.max, nofile) or a setting (hostname); 'variable:NAME', 'namespace:user' and so on"
        " where a name may mean several",
        kind="some",
    ),
)
OPTIONS = (
    Option(name="json", help="print the answers as a JSON list"),
    Option(name="admin", short="a", help="read the admin configuration files as well"),
)
EXAMPLES = (
    ("redpak explain /nodes/app /etc/passwd", "which mount shows this file, and who asked for it"),
    ("redpak explain /nodes/app '$PATH'", "the variable, element by element"),
    ("redpak explain /nodes/app net", "whether the network is the host's, and who decided"),
)


def main(args: Arguments) -> int:
    """Print the answers."""
    from redpak.config.settings import CAPABILITIES, RLIMITS
    from redpak.node.plan import CGROUP_FILES, plan_of
    from redpak.plan import answer
    from redpak.plan.explain import explain

    things = args.words("THING")
    made = plan_of(args.word("PATH"), admin=args.flag("admin"))
    known = {"capability": CAPABILITIES, "limit": (*RLIMITS, *CGROUP_FILES.values())}
    told: list[Explanation] = []
    for thing in things:
        first = explain(made, thing, known=known)
        kind, _, name = first.thing.partition(" ")
        told.append(explain(made, f"path:{name}", look(made, name)) if kind == "path" else first)
    if args.flag("json"):
        output.json([answer.document(one) for one in told])
    else:
        for one in told:
            output.lines(answer.lines(one))
    return 0


def look(plan: Plan, path: str) -> Located:
    """Return where a path inside the sandbox leads, looking at the host's own symlinks and files."""
    from redpak.engine.locate import locate
    from redpak.plan.answer import Located

    found = locate(plan, path)
    return Located(real=found.real, host=found.host, what=what(found.host) if found.host else "")


def what(host: str) -> str:
    """Say what is at a path of the host."""
    try:
        mode = os.lstat(host).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return "not there"
    except OSError as error:
        return f"out of sight ({(error.strerror or str(error)).lower()})"
    kinds = {
        stat.S_IFDIR: "a directory",
        stat.S_IFREG: "a file",
        stat.S_IFLNK: "a symlink",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
        stat.S_IFIFO: "a pipe",
        stat.S_IFSOCK: "a socket",
    }
    return kinds.get(stat.S_IFMT(mode), "there")
