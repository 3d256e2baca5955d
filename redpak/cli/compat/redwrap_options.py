"""The command line of redwrap, taken apart."""

from __future__ import annotations

from redpak.cli.compat.getopt import Switch, parse
from redpak.cli.compat.report import WARNING, loudness
from redpak.errors import Usage
from redpak.record import Record

USAGE = """\
Usage: redwrap --redpath=PATH [options] [--] PROGRAM [ARGUMENTS...]

Run a program in a node. The first word that is no option is the program; what follows belongs to it.

  -r, --redpath PATH       the node (also --rpath, --rp)
  -a, --admin[=FILE]       read the administrative configurations too (FILE has no effect)
  -b, --bwrap FILE         another bubblewrap program
      --dump               show bubblewrap's command line on standard error, then run
  -D, --dump-only          show bubblewrap's command line on standard output, run nothing
  -f, --force[=yes|no]     make missing source directories
  -s, --strict[=yes|no]    accept no missing source and no redefinition
  -u, --unsafe[=yes|no]    accepted, no effect
  -U, --user, --uid USER   run as this user, whatever the configuration says
  -G, --group, --gid GROUP run as this group
  -S, --smack LABEL        use this SMACK label
  -v, --verbose[=N]        say what is done; 0 to 8, 4 by default
  -?, --help               show this help

REDPAK_PROFILE chooses the rules: sealed (default) or upstream-2.5 (those of red-pak 2.5).

Exit codes: 2 wrong configuration or option, 3 refused, 4 no such node, 5 busy, 125 redwrap failed,
126 PROGRAM cannot be run, 127 it is not there, 128+n it was ended by signal n, else its own code.
"""

SWITCHES = (
    Switch(key="redpath", longs=("redpath", "rpath", "rp"), shorts="r", takes="value"),
    Switch(key="admin", longs=("admin",), shorts="a", takes="optional"),
    Switch(key="bwrap", longs=("bwrap",), shorts="b", takes="value"),
    Switch(key="dump", longs=("dump",)),
    Switch(key="dump-only", longs=("dump-only",), shorts="D"),
    Switch(key="force", longs=("force",), shorts="f", takes="optional"),
    Switch(key="strict", longs=("strict",), shorts="s", takes="optional"),
    Switch(key="unsafe", longs=("unsafe",), shorts="u", takes="optional"),
    Switch(key="set-user", longs=("user", "uid"), shorts="U", takes="value"),
    Switch(key="set-group", longs=("group", "gid"), shorts="G", takes="value"),
    Switch(key="smack", longs=("smack",), shorts="S", takes="value"),
    Switch(key="verbose", longs=("verbose",), shorts="v", takes="optional"),
    Switch(key="help", longs=("help",), shorts="?"),
)
OVERRIDES = ("set-user", "set-group", "smack")


class Request(Record):
    """What the user asked redwrap for."""

    redpath: str = ""
    admin: bool = False
    bwrap: str = ""  # '' = ours to find
    dump: bool = False
    dump_only: bool = False
    strict: bool = False
    force: bool = False  # asked for in so many words; under upstream-2.5 it is what not strict means
    overrides: dict[str, str]  # set-user, set-group, smack
    verbosity: int = WARNING
    help: bool = False
    command: tuple[str, ...] = ()


def request(argv: list[str]) -> Request:
    """Read redwrap's arguments. Raises Usage."""
    given, command = parse(argv, SWITCHES, permute=False)
    found: dict[str, str | int | bool] = {}
    overrides: dict[str, str] = {}
    for key, value in given:
        match key:
            case "redpath" | "bwrap":
                found[key] = value or ""
            case "admin" | "dump" | "help":
                found[key] = True
            case "dump-only":
                found["dump_only"] = True
            case "force":
                found["force"] = yes(key, value)
                found["strict"] = not found["force"]
            case "strict":
                found["strict"] = yes(key, value)
                found["force"] = False
            case "unsafe":
                yes(key, value)
            case "verbose":
                found["verbosity"] = loudness(value)
            case _:
                overrides[key] = value or ""
    return Request(overrides=overrides, command=tuple(command), **found)  # type: ignore[arg-type]


def yes(key: str, value: str | None) -> bool:
    """Return the truth of an option that takes yes or no, yes when it has no value. Raises Usage."""
    if value is None or value == "yes":
        return True
    if value == "no":
        return False
    raise Usage(f"option '--{key}' takes yes or no, not '{value}'")
