"""The program `redwrap-dnf`: dnf's command line for nodes (`--redpath`), and `manager`, which makes them."""

from __future__ import annotations

import os
import sys

from redpak.cli.compat.getopt import Switch, parse
from redpak.cli.compat.report import ERROR, WARNING, guarded, listen, loudness, say
from redpak.errors import Usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

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

All other commands are those of dnf: see redwrap-dnf --help.
"""


def entry() -> NoReturn:
    """Run the command line of this process and exit with its code."""
    sys.exit(main(sys.argv[1:]))


def main(argv: list[str]) -> int:
    """Run `redwrap-dnf argv…` and return its exit code."""
    from redpak.cli.dnf import table

    named = next((word for word in argv if word == "manager" or table.find(word)), "")
    own = ("--alias", "--create", "--template", "--no-system-node", "-a")  # an alias may be a command's name
    if named == "manager" or ("manager" in argv and any(word.startswith(own) for word in argv)):
        return guarded(lambda: manager(argv))
    plain = any(word.startswith("--installroot") for word in argv)
    asks = any(word in ("--help", "--help-cmd", "-h", "-?", "--version") for word in argv)
    if not named and not plain and not asks:
        say(ERROR, "No redmicrodnf command found!")
        sys.stderr.write(USAGE)
        return Usage.code
    return guarded(lambda: _dnf(argv))


def _dnf(argv: list[str]) -> int:
    from redpak.cli.dnf.main import main as dnf

    called = os.path.basename(sys.argv[0])
    program = called if called in ("dnf", "dnf4", "dnf-3", "yum") else "redwrap-dnf"
    return dnf(["-h" if word == "-?" else word for word in argv], program=program)


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
