"""One command line of dnf, from its words to its exit code; errors are said as dnf says them."""

from __future__ import annotations

import sys

from redpak import log
from redpak.cli import output
from redpak.cli.dnf import options, table
from redpak.cli.dnf.config import ConfigError
from redpak.cli.dnf.options import Argument, CommandLineError, Parsed
from redpak.cli.dnf.session import Session, Silent
from redpak.errors import BadConfig, Busy, RedpakError, Usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

    from redpak.cli.dnf.options import Option

LOCKED = 200  # dnf's exit code when somebody else changes packages
PATH = Argument(dest="path", count="", metavar="PATH", help="the node's directory")


def main(words: Sequence[str], *, program: str = "redwrap-dnf", path_first: bool = False) -> int:
    """Run `program words…` and return its exit code.

    `path_first`: the first word is the command and the first argument of every command is the node's directory, as
    in `redpak node install PATH …`.
    """
    try:
        return _run(list(words), program, path_first=path_first)
    except CommandLineError as error:
        if error.program:
            _say(f"{error.usage}{error.program}: error: {error.message}")
            return 2
        output.write(error.usage)
        _say(f"Command line error: {error.message}")
        return 1
    except ConfigError as error:
        _say(f"Config error: {error.message}")
        return error.code
    except Silent as error:
        return error.code
    except Busy as error:
        _report(error)
        return error.code if path_first else LOCKED
    except RedpakError as error:
        _report(error)
        return error.code


def _say(text: str) -> None:
    sys.stdout.flush()
    sys.stderr.write(log.printable(text) + "\n")


def _report(error: RedpakError) -> None:
    """Say what failed in dnf's form; the hint of redpak's own errors in redpak's."""
    if isinstance(error, BadConfig):
        for fault in error.faults:
            _say(str(fault))
    _say(f"Error: {error.message}")
    if error.hint:
        _say(f"hint: {error.hint}")


def _run(words: list[str], program: str, *, path_first: bool) -> int:
    first = options.parse(words, program)
    if first.flag("version"):
        from redpak import __version__

        output.write(f"4.14.0\nredpak {__version__}\n")
        return 0
    if not first.command:
        output.write(overview(program))
        return 0
    command = table.find(first.command)
    if command is None:
        _unknown(first.command, program)
        return 1
    module = load(command)
    arguments = (PATH, *module.ARGUMENTS) if path_first else module.ARGUMENTS
    if first.flag("help"):
        output.write(help_of(command, module.OPTIONS, arguments, program))
        return 0
    args = options.parse(words, f"{program} {first.command}", module.OPTIONS, arguments)
    if command.module == "helping":
        module.run(Session(args, program=program), args)
        return 0
    if path_first:
        args = args.but(redpath=args.value("path"), words=tuple(words))
    _look_at_root(args, program)
    _look_at_setopts(args)
    _look_at_options(args)
    log.level = log.ERROR if args.flag("quiet") else log.WARNING + (2 if args.flag("verbose") else 0)
    session = Session(args, program=program)
    for note in session.conf.notes:
        session.warn(note)
    for key in session.conf.unknown:
        session.warn(f"Main config did not have a {key} attr. before setopt")
    code: int = module.run(session, args)
    return code


def _unknown(word: str, program: str) -> None:
    from redpak.cli.options import nearest

    _say(f"No such command: {word}. Please use {program} --help")
    _say("It could be a DNF plugin command, but loading of plugins is currently disabled.")
    near = nearest(word, [name for command in table.COMMANDS for name in command.names])
    if near:
        _say(f"hint: {near}")


def _look_at_root(args: Parsed, program: str) -> None:
    if not args.given("redpath") and not args.given("installroot"):
        raise Usage("no node: --redpath=PATH is missing", hint=f"Run '{program} --help'.")
    if args.given("redpath") and args.given("installroot"):
        raise Usage("options '--redpath' and '--installroot' exclude each other", hint="Choose one of them.")


def _look_at_setopts(args: Parsed) -> None:
    for text in args.values("setopt"):
        pieces = text.count("=")
        if pieces > 1:
            _say(f"Setopt argument has multiple values: {text}")
        elif not pieces:
            _say(f"Setopt argument has no value: {text}")


def _look_at_options(args: Parsed) -> None:
    if args.given("destdir") and not args.flag("downloadonly") and args.command != "download":
        _say(
            "--destdir or --downloaddir must be used with --downloadonly or download or system-upgrade command."
        )
        raise Silent
    if args.flag("set_enabled") or args.flag("set_disabled"):
        _say(
            "--enable, --set-enabled and --disable, --set-disabled must be used with config-manager command."
        )
        raise Silent


def load(command: table.Command) -> ModuleType:
    """Import the module of a command."""
    from importlib import import_module

    return import_module(f"redpak.cli.dnf.{command.module}")


def overview(program: str) -> str:
    """Return what --help prints without a command."""
    from redpak.cli.options import columns

    rows = [(command.names[0], command.summary) for command in table.COMMANDS]
    if program == "redwrap-dnf":
        rows.append(("manager", "make the directory a node (also: redpak node create)"))
    lines = [
        f"usage: {program} [options] COMMAND",
        "",
        "List of Main Commands:",
        "",
        *columns(sorted(rows), indent=0),
    ]
    lines += ["", "General options:", *columns(options.help_rows(options.GENERAL))]
    return "\n".join(lines) + "\n"


def help_of(
    command: table.Command, own: tuple[Option, ...], arguments: tuple[Argument, ...], program: str
) -> str:
    """Return what `COMMAND --help` prints."""
    from redpak.cli.options import columns

    called = f"{program} {command.names[0]}"
    lines = [options.usage_of(called, arguments).rstrip(), "", command.summary]
    if len(command.names) > 1:
        lines += ["", "aliases: " + ", ".join(command.names[1:])]
    lines += ["", "General options:", *columns(options.help_rows(options.GENERAL))]
    if own:
        title = command.names[0].capitalize()
        lines += ["", f"{title} command-specific options:", *columns(options.help_rows(own))]
    if arguments:
        lines += ["", *columns([(one.metavar or one.dest.upper(), one.help) for one in arguments])]
    return "\n".join(lines) + "\n"
