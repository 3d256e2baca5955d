"""The program `redconf`: make nodes and show what their configuration says, with the commands of red-pak 2.5."""

from __future__ import annotations

import sys

from redpak.cli.compat.getopt import Switch, parse
from redpak.cli.compat.report import ERROR, WARNING, guarded, listen, loudness, say
from redpak.errors import Usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

USAGE = """\
Usage: redconf [-v[vv...|N]] [-y|--yaml] [-l N|--log-yaml N] [-h|--help] COMMAND ...

  create [options] [redpath [redroot]]    make a node from templates
  config [-r PATH] [PATH]                 show the configurations of a node and its ancestors
  mergeconfig [-r PATH] [-e] [PATH]       show what a node and its ancestors say together; -e expands it
  tree [-r PATH] [PATH]                   show the nodes beneath a node

'redconf create --help' tells its options. PATH is the working directory where it is left out.
REDPAK_PROFILE chooses the rules: sealed (default) or upstream-2.5 (those of red-pak 2.5).
"""
SWITCHES = (
    Switch(key="verbose", longs=("verbose",), shorts="v", takes="optional"),
    Switch(key="yaml", longs=("yaml",), shorts="y"),
    Switch(key="log-yaml", longs=("log-yaml",), shorts="l", takes="value"),
    Switch(key="help", longs=("help",), shorts="h"),
)
SHOW_SWITCHES = (
    Switch(key="redpath", longs=("redpath", "rpath", "rp"), shorts="r", takes="value"),
    Switch(key="expand", longs=("expand",), shorts="e"),
)


def entry() -> NoReturn:
    """Run the command line of this process and exit with its code."""
    sys.exit(main(sys.argv[1:]))


def main(argv: list[str]) -> int:
    """Run `redconf argv…` and return its exit code."""
    before = ""
    try:
        given, words = parse(argv, SWITCHES, permute=False)
        asked = dict(given)
        listen(loudness(asked["verbose"]) if "verbose" in asked else WARNING)
    except Usage as error:
        return _misused(error.message)
    if "help" in asked:
        sys.stdout.write(USAGE)
        return 0
    if not words:
        return _misused("no command")
    if words[0] not in ("create", "config", "mergeconfig", "tree"):
        return _misused(f"unknown command {words[0]}")
    if words[0] == "create":
        before = "creation of node failed: "
    return guarded(lambda: command(words[0], words[1:], yaml="yaml" in asked), before=before)


def command(name: str, words: list[str], *, yaml: bool) -> int:
    """Run one command. Raises RedpakError."""
    if name == "create":
        from redpak.cli.compat import redconf_create

        return redconf_create.run(words)
    from redpak.cli.compat import redconf_show

    given, rest = parse(words, SHOW_SWITCHES, permute=True)
    asked = dict(given)
    if len(rest) > 1:
        raise Usage(f"unexpected argument '{rest[1]}'", hint="Run 'redconf --help'.")
    path = rest[0] if rest else asked.get("redpath") or "."
    if name == "config":
        sys.stdout.write(redconf_show.config(path, yaml=yaml))
    elif name == "mergeconfig":
        sys.stdout.write(redconf_show.mergeconfig(path, expand="expand" in asked))
    else:
        sys.stdout.write(redconf_show.tree(path))
    return 0


def _misused(message: str) -> int:
    say(ERROR, message)
    sys.stderr.write(USAGE)
    return Usage.code
