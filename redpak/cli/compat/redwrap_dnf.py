"""The program `redwrap-dnf`: of red-pak's package commands, the one that makes nodes (`manager`)."""

from __future__ import annotations

import sys

from redpak.cli.compat.getopt import Switch, parse
from redpak.cli.compat.report import ERROR, WARNING, guarded, listen, loudness, say
from redpak.errors import Refused, Usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

COMMANDS = (
    "install", "download", "downgrade", "groupinfo", "grouplist", "reinstall", "remove", "repo", "repolist",
    "repoinfo", "repoquery", "upgrade", "advisory", "manager",
)  # fmt: skip
SWITCHES = (
    Switch(key="redpath", longs=("redpath", "rpath", "rp"), shorts="r", takes="value"),
    Switch(key="create", longs=("create",)),
    Switch(key="alias", longs=("alias",), shorts="a", takes="value"),
    Switch(key="update", longs=("update",)),
    Switch(key="no-system-node", longs=("no-system-node",)),
    Switch(key="template", longs=("template",), takes="value"),
    Switch(key="template-admin", longs=("template-admin",), takes="value"),
    Switch(key="verbose", longs=("verbose",), shorts="v", takes="optional"),
    Switch(key="assumeyes", longs=("assumeyes",), shorts="y"),
    Switch(key="help", longs=("help",), shorts="?h"),
)
USAGE = """\
Usage: redwrap-dnf --redpath PATH manager [options]

Make the directory PATH a node. Where the directory above is no node, a node 'system' is made there first.

  -r, --redpath PATH       the node (also --rpath, --rp)
      --create             no effect: making the node is what this command does
  -a, --alias ALIAS        alias of the node (default: last component of PATH)
      --update             write an existing node's configuration anew, keeping its headers
      --no-system-node     make no system node; the templates of the model full are used
      --template T         template of the normal configuration: a name, or a path
      --template-admin T   template of the administrative configuration
  -y, --assumeyes          no effect: nothing is asked
  -v, --verbose            say what is done
  -?, -h, --help           show this help
"""


def entry() -> NoReturn:
    """Run the command line of this process and exit with its code."""
    sys.exit(main(sys.argv[1:]))


def main(argv: list[str]) -> int:
    """Run `redwrap-dnf argv…` and return its exit code."""
    named = next((word for word in argv if word in COMMANDS), "")
    if not named:
        if any(word in ("--help", "-h", "-?") for word in argv):
            sys.stdout.write(USAGE)
            return 0
        say(ERROR, "No redmicrodnf command found!")
        sys.stderr.write(USAGE)
        return Usage.code
    if named != "manager":
        return guarded(lambda: _not_here(named))
    return guarded(lambda: manager(argv))


def _not_here(command: str) -> int:
    raise Refused(
        f"'{command}' is a package command, and package commands are not part of this version",
        hint="Unpack packages into the node's 'usr' by other means.",
    )


def manager(argv: list[str]) -> int:
    """Make a node. Raises RedpakError."""
    given, rest = parse(argv, SWITCHES, permute=True)
    asked = {key: value or "" for key, value in given}
    if "help" in asked:
        sys.stdout.write(USAGE)
        return 0
    if rest != ["manager"]:
        odd = next((word for word in rest if word != "manager"), "manager")
        raise Usage(f"unexpected argument '{odd}'", hint="Run 'redwrap-dnf --help'.")
    if not asked.get("redpath"):
        raise Usage("no node: --redpath=PATH is missing", hint="Run 'redwrap-dnf --help'.")
    listen(loudness(asked["verbose"] or None) if "verbose" in asked else WARNING)
    from redpak.node.create import create

    create(
        asked["redpath"],
        alias=asked.get("alias", ""),
        template_normal=asked.get("template", ""),
        template_admin=asked.get("template-admin", ""),
        system_node="no-system-node" not in asked,
        update="update" in asked,
    )
    sys.stdout.write(f'SUCCESS: rednode "{asked["redpath"]}" ready\n')
    return 0
