"""DNF's options and arguments as data, and the parser for them: options may stand anywhere on the line.

Built on argparse, as dnf's own is, because its habits are part of the interface: names may be shortened, and what
is wrong is said in its words. No launch imports this module.
"""

from __future__ import annotations

import argparse
import re
from typing import Any, Literal, NoReturn

from redpak.record import Record

OptionKind = Literal["flag", "off", "value", "number", "list", "commas", "many", "append", "const", "pairs"]

SPLITTER = re.compile(r"\s*[,\s]\s*")


class Option(Record):
    """An option with all its names."""

    flags: tuple[str, ...]  # with dashes: ("-y", "--assumeyes")
    dest: str  # the name under which Parsed has it
    # flag: True when given; off: False when given; list: split at commas and blanks, all occurrences together;
    # commas: split at commas alone; many: all words up to the next option;
    # append: all occurrences; const: `const` when given; pairs: "key,value", all together in a dict
    kind: OptionKind = "flag"
    const: str = ""
    metavar: str = ""
    help: str = ""
    choices: tuple[str, ...] = ()
    exclusive: str = ""  # options with the same word here exclude each other


class Argument(Record):
    """Words of a command that are no options."""

    dest: str
    count: Literal["", "?", "*", "+"] | int = "*"  # '' is exactly one, as a plain value
    metavar: str = ""
    help: str = ""
    choices: tuple[str, ...] = ()


class Parsed:
    """What was typed. A name that no option or argument of the command has is a KeyError."""

    def __init__(self, values: dict[str, Any], words: tuple[str, ...]) -> None:
        self._values = values
        self.words = words  # the command line as it was typed

    def but(self, *, words: tuple[str, ...], **changed: Any) -> Parsed:
        """Return a copy with some values, and the words that are shown, changed."""
        return Parsed({**self._values, **changed}, words)

    @property
    def command(self) -> str:
        """The command as typed, '' when there is none."""
        return self._values.get("command") or ""

    def given(self, name: str) -> bool:
        """Tell whether the user said anything about it."""
        return self._values[name] not in (None, [], {})

    def flag(self, name: str) -> bool:
        """Return the truth of a flag, False when it was not given."""
        return bool(self._values[name])

    def value(self, name: str, default: str = "") -> str:
        """Return a value, or the one word of an argument."""
        found = self._values[name]
        return default if found is None else str(found)

    def number(self, name: str, default: int = 0) -> int:
        """Return the value of an option of kind number."""
        found = self._values[name]
        return default if found is None else int(found)

    def values(self, name: str) -> tuple[str, ...]:
        """Return all values of an option or argument, in order."""
        found = self._values[name]
        if found is None:
            return ()
        return (found,) if isinstance(found, str) else tuple(found)

    def pairs(self, name: str) -> dict[str, str]:
        """Return the values of an option of kind pairs."""
        return dict(self._values[name] or {})


class CommandLineError(Exception):
    """The line is not what dnf would take.

    What is wrong with general options goes as 'Command line error: …' with code 1, the usage before it on standard
    output; what is wrong with a command's own words as argparse says it, with code 2: `program` is then not ''.
    """

    def __init__(self, message: str, usage: str, *, program: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.usage = usage
        self.program = program


class _Split(argparse.Action):
    """Split at commas and blanks; an empty first element stays, since it clears what a file says."""

    def __call__(self, parser: Any, space: Any, values: Any, option: Any = None) -> None:  # noqa: ARG002
        pieces = SPLITTER.split(values)
        kept = pieces[:1] + [piece for piece in pieces[1:] if piece]
        setattr(space, self.dest, [*(getattr(space, self.dest) or []), *kept])


class _Commas(argparse.Action):
    def __call__(self, parser: Any, space: Any, values: Any, option: Any = None) -> None:  # noqa: ARG002
        pieces = [piece for piece in re.split(r"\s*,\s*", values) if piece]
        setattr(space, self.dest, [*(getattr(space, self.dest) or []), *pieces])


class _Ordered(argparse.Action):
    """Keep which of several options each value was given to: --enablerepo a --disablerepo b."""

    def __call__(self, parser: Any, space: Any, values: Any, option: Any = None) -> None:  # noqa: ARG002
        pieces = [f"{option}={piece}" for piece in SPLITTER.split(values)]
        setattr(space, self.dest, [*(getattr(space, self.dest) or []), *pieces])


class _Pairs(argparse.Action):
    def __call__(self, parser: Any, space: Any, values: Any, option: Any = None) -> None:  # noqa: ARG002
        key, comma, value = values.partition(",")
        if not comma or not key or not value or "," in value:
            raise argparse.ArgumentError(self, f"bad format: {values}")
        setattr(space, self.dest, {**(getattr(space, self.dest) or {}), key: value})


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise CommandLineError(message, self.format_usage())


class _Places(argparse.ArgumentParser):
    """The parser for a command's own words."""

    arguments: tuple[Argument, ...] = ()

    def error(self, message: str) -> NoReturn:
        raise CommandLineError(message, usage_of(self.prog, self.arguments), program=self.prog)


GENERAL = (
    Option(flags=("-c", "--config"), dest="config", kind="value", metavar="[config file]",
           help="config file location"),
    Option(flags=("-q", "--quiet"), dest="quiet", help="quiet operation"),
    Option(flags=("-v", "--verbose"), dest="verbose", help="verbose operation"),
    Option(flags=("--version",), dest="version", help="show the version and exit"),
    Option(flags=("--installroot",), dest="installroot", kind="value", metavar="[path]",
           help="work on the system beneath this directory"),
    Option(flags=("-r", "--redpath", "--rpath", "--rp"), dest="redpath", kind="value", metavar="PATH",
           help="work on this node"),
    Option(flags=("--nodocs",), dest="nodocs", help="do not install documentation"),
    Option(flags=("--noplugins",), dest="noplugins", help="accepted: there are no plugins"),
    Option(flags=("--enableplugin",), dest="enableplugin", kind="list", metavar="[plugin]",
           help="accepted: there are no plugins"),
    Option(flags=("--disableplugin",), dest="disableplugin", kind="list", metavar="[plugin]",
           help="accepted: there are no plugins"),
    Option(flags=("--releasever",), dest="releasever", kind="value",
           help="the value of $releasever in config and repo files"),
    Option(flags=("--setopt",), dest="setopt", kind="append", metavar="KEY=VALUE",
           help="set an option of the configuration; REPO.KEY=VALUE sets one of repositories"),
    Option(flags=("--skip-broken",), dest="skip_broken", help="leave out packages that cannot be installed"),
    Option(flags=("-h", "--help", "--help-cmd"), dest="help", help="show this help"),
    Option(flags=("--allowerasing",), dest="allowerasing",
           help="installed packages may be erased to resolve dependencies"),
    Option(flags=("-b", "--best"), dest="best", exclusive="best",
           help="try the best available package versions in transactions"),
    Option(flags=("--nobest",), dest="best", kind="off", exclusive="best",
           help="do not limit the transaction to the best candidate"),
    Option(flags=("-C", "--cacheonly"), dest="cacheonly", help="run entirely from the cache"),
    Option(flags=("-R", "--randomwait"), dest="randomwait", kind="number", metavar="[minutes]",
           help="wait that long at most before starting"),
    Option(flags=("-d", "--debuglevel"), dest="debuglevel", kind="number", metavar="[debug level]",
           help="how much is said: 0 to 10, 2 by default"),
    Option(flags=("--debugsolver",), dest="debugsolver", help="write the solver's question into files"),
    Option(flags=("--showduplicates",), dest="showduplicates",
           help="show every version, in list and search commands"),
    Option(flags=("-e", "--errorlevel"), dest="errorlevel", kind="number", help="how much is said about errors"),
    Option(flags=("--obsoletes",), dest="obsoletes",
           help="let obsoletes count for upgrades, or show what packages obsolete"),
    Option(flags=("--rpmverbosity",), dest="rpmverbosity", kind="value", metavar="[debug level name]",
           help="how much rpm says"),
    Option(flags=("-y", "--assumeyes"), dest="assumeyes", help="answer yes to all questions"),
    Option(flags=("--assumeno",), dest="assumeno", help="answer no to all questions"),
    Option(flags=("--enablerepo",), dest="repos_ed", kind="list", metavar="[repo]",
           help="enable repositories for this command: an id, a list of ids, or a glob"),
    Option(flags=("--disablerepo",), dest="repos_ed", kind="list", metavar="[repo]", exclusive="repo",
           help="disable repositories for this command: an id, a list of ids, or a glob"),
    Option(flags=("--repo", "--repoid"), dest="repo", kind="list", metavar="[repo]", exclusive="repo",
           help="use these repositories only: an id or a glob"),
    Option(flags=("--enable",), dest="set_enabled", exclusive="set",
           help="accepted where config-manager would be"),
    Option(flags=("--disable",), dest="set_disabled", exclusive="set",
           help="accepted where config-manager would be"),
    Option(flags=("-x", "--exclude", "--excludepkgs"), dest="exclude", kind="list", metavar="[package]",
           help="exclude packages by name or glob"),
    Option(flags=("--disableexcludes", "--disableexcludepkgs"), dest="disableexcludes", kind="list",
           metavar="[repo]", help="do not obey excludes: of a repository, of 'main', or of 'all'"),
    Option(flags=("--repofrompath",), dest="repofrompath", kind="pairs", metavar="[repo,path]",
           help="label and path of an additional repository"),
    Option(flags=("--noautoremove",), dest="clean_requirements_on_remove", kind="off",
           help="do not remove dependencies that are no longer used"),
    Option(flags=("--nogpgcheck",), dest="gpgcheck", kind="off",
           help="do not check signatures of packages, where the family does not demand it"),
    Option(flags=("--color",), dest="color", kind="value", metavar="COLOR", help="auto, always or never"),
    Option(flags=("--refresh",), dest="refresh", help="ask repositories for newer metadata"),
    Option(flags=("-4",), dest="ip_resolve", kind="const", const="ipv4", help="resolve to IPv4 addresses only"),
    Option(flags=("-6",), dest="ip_resolve", kind="const", const="ipv6", help="resolve to IPv6 addresses only"),
    Option(flags=("--destdir", "--downloaddir"), dest="destdir", kind="value", metavar="DESTDIR",
           help="directory for downloaded packages"),
    Option(flags=("--downloadonly",), dest="downloadonly", help="only download packages"),
    Option(flags=("--comment",), dest="comment", kind="value", help="add a comment to the transaction"),
    Option(flags=("--bugfix",), dest="bugfix", help="in updates, those that fix bugs"),
    Option(flags=("--enhancement",), dest="enhancement", help="in updates, those that bring enhancements"),
    Option(flags=("--newpackage",), dest="newpackage", help="in updates, those that bring new packages"),
    Option(flags=("--security",), dest="security", help="in updates, those that fix security problems"),
    Option(flags=("--advisory", "--advisories"), dest="advisory", kind="list", metavar="ADVISORY",
           help="in updates, those of an advisory"),
    Option(flags=("--bz", "--bzs"), dest="bugzilla", kind="list", metavar="BUGZILLA",
           help="in updates, those that fix a bug of this number"),
    Option(flags=("--cve", "--cves"), dest="cves", kind="list", metavar="CVES",
           help="in updates, those that fix this CVE"),
    Option(flags=("--sec-severity", "--secseverity"), dest="severity", kind="list",
           choices=("Critical", "Important", "Moderate", "Low"), help="in updates, those of this severity"),
    Option(flags=("--forcearch",), dest="forcearch", kind="value", metavar="ARCH",
           help="take packages of another architecture"),
    # redpak's own
    Option(flags=("--test",), dest="test", help="download and check the transaction, change nothing"),
    Option(flags=("--json",), dest="json", help="print JSON"),
    Option(flags=("--break-descendants",), dest="break_descendants",
           help="change packages of a node even where nodes beneath it break"),
    Option(flags=("--forcenode",), dest="forcenode", help="accepted, no effect: packages of parents are never touched"),
    Option(flags=("--core-os",), dest="core_os", kind="value", metavar="ROOT|MANIFEST",
           help="another core OS than the node's: a directory, a manifest, or 'none'"),
)  # fmt: skip

ORDERED = ("repos_ed",)  # dests shared by several options whose order counts


def parse(
    words: list[str],
    program: str,
    options: tuple[Option, ...] = (),
    arguments: tuple[Argument, ...] | None = None,
) -> Parsed:
    """Take a command line apart. Raises CommandLineError.

    Without `arguments` only the general options are read and the first word that is none of them is the command:
    what the command itself takes is then not yet known. With them, every word must fit.
    """
    parser = _Parser(prog=program, add_help=False)
    _fill(parser, (*GENERAL, *options))
    parser.add_argument("command", nargs="?")
    space, rest = parser.parse_known_args(words)
    if arguments is not None:
        places = _Places(prog=program, add_help=False)
        places.arguments = arguments
        for argument in arguments:
            _place(places, argument)
        space = places.parse_args(rest, space)
    return Parsed(vars(space), tuple(words))


def _fill(parser: argparse.ArgumentParser, options: tuple[Option, ...]) -> None:
    groups: dict[str, Any] = {}
    for option in options:
        owner: Any = parser
        if option.exclusive:
            owner = groups.setdefault(option.exclusive, None) or parser.add_mutually_exclusive_group()
            groups[option.exclusive] = owner
        owner.add_argument(*option.flags, **_keywords(option))


def _keywords(option: Option) -> dict[str, Any]:
    """Return argparse's words for one option; every default is None, so that 'not given' can be told."""
    words: dict[str, Any] = {"dest": option.dest, "default": None}
    match option.kind:
        case "flag":
            return {**words, "action": "store_true"}
        case "off":
            return {**words, "action": "store_false"}
        case "const":
            return {**words, "action": "store_const", "const": option.const}
        case "number":
            words["type"] = int
        case "list":
            words["action"] = _Ordered if option.dest in ORDERED else _Split
        case "commas":
            words["action"] = _Commas
        case "many":
            words |= {"action": "extend", "nargs": "+"}
        case "append":
            words["action"] = "append"
        case "pairs":
            words["action"] = _Pairs
        case "value":
            pass
    if option.metavar:
        words["metavar"] = option.metavar
    if option.choices:
        words["choices"] = option.choices
    return words


def _place(parser: argparse.ArgumentParser, argument: Argument) -> None:
    words: dict[str, Any] = {"metavar": argument.metavar or argument.dest.upper()}
    if argument.count != "":
        words["nargs"] = argument.count
    if argument.choices:
        words["choices"] = argument.choices
    parser.add_argument(argument.dest, **words)


def usage_of(program: str, arguments: tuple[Argument, ...]) -> str:
    """Return the line that says how a command is called."""
    shown = {"": "{0}", "?": "[{0}]", "*": "[{0} ...]", "+": "{0} [{0} ...]"}
    words = []
    for argument in arguments:
        name = argument.metavar or argument.dest.upper()
        form = shown["" if isinstance(argument.count, int) else argument.count]
        times = argument.count if isinstance(argument.count, int) else 1
        words += [form.format(name)] * times
    return " ".join(["usage:", program, "[options]", *words]) + "\n"


def help_rows(options: tuple[Option, ...]) -> list[tuple[str, str]]:
    """Return what --help shows of options: names with their value, and what they do."""
    rows = []
    for option in options:
        takes = option.kind not in ("flag", "off", "const")
        value = f" {option.metavar or option.dest.upper()}" if takes else ""
        rows.append((", ".join(option.flags) + value, option.help))
    return rows
