"""The program `redpak`. The only place that turns errors into text and exit codes."""

from __future__ import annotations

import os
import sys

from redpak import log
from redpak.cli import options, output, table
from redpak.errors import BadConfig, RedpakError, Usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import ModuleType
    from typing import NoReturn

# What the extra 'packages' brings: a launch needs none of it.
EXTRA = frozenset(
    {"createrepo_c", "cryptography", "cyclonedx", "pysequoia", "rpm_rs", "solv", "spdx_tools", "zstandard"}
)

# Words of other container programs, and what to write here.
FOREIGN = {
    "attach": "To read along: redpak logs -f ID; for a shell: redpak enter ID",
    "container": "Leave the word out: redpak ps, redpak exec …",
    "create": "Make a node: redpak node create PATH; start something in it: redpak run -d PATH -- CMD",
    "prune": "Remove the records of what ended: redpak rm --ended",
    "restart": "Run 'redpak stop ID', then 'redpak run -d …'; nothing that ended is started again.",
    "shell": "Run 'redpak enter ID'.",
    "start": "Run 'redpak run -d PATH -- CMD'; nothing that ended is started again.",
    "unpause": "Run 'redpak resume ID'.",
}

ABOUT = "redpak: white-box containers composed from what is already there"


def entry() -> NoReturn:
    """Run the command line of this process and exit with its code."""
    sys.exit(main(sys.argv[1:]))


def main(argv: Sequence[str]) -> int:
    """Run `redpak argv…` and return its exit code."""
    broke = 1
    for word in argv:
        command = table.find(word)
        if command:
            broke = command.broke
            break
    return guard(lambda: _dispatch(list(argv)), broke=broke)


def guard(act: Callable[[], int], *, broke: int = 1) -> int:
    """Return what `act` returns, or report why it failed and return the code for that.

    `broke` is the code for failures of redpak itself: 125 where the program's own codes come through.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # the caller closed it
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 - lives as long as the process
    try:
        code = act()
        return code if _flushed() else broke
    except BrokenPipeError:  # the reader went away (redpak plan … | head)
        output.mute()
        return 128 + 13
    except KeyboardInterrupt:
        return 128 + 2
    except RedpakError as error:
        _report(error)
        return broke if error.code == 1 else error.code
    except Exception as error:  # noqa: BLE001 - the last door: whatever it is, one line and a code
        if isinstance(error, ModuleNotFoundError) and (error.name or "").split(".")[0] in EXTRA:
            log.error(f"what installs packages is not here: there is no Python module '{error.name}'")
            _hint("Install redpak with its extra: pip install 'redpak[packages]'.")
            _traceback()
            return broke
        log.error(_unexpected(error))
        if not _traceback():
            _hint("Set REDPAK_DEBUG=1 for the traceback, and report it.")
        return broke


def _flushed() -> bool:
    """Write out what is still in the buffer of standard output; raises BrokenPipeError."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        output.mute()
        log.error(f"cannot write to standard output: {(error.strerror or str(error)).lower()}")
        return False
    return True


def _report(error: RedpakError) -> None:
    if isinstance(error, BadConfig):
        for fault in error.faults:  # as compilers write them, so that editors can jump there
            sys.stderr.write(log.printable(str(fault)).replace("\n", "\\n") + "\n")
    log.error(error.message)
    if error.hint:
        _hint(error.hint)
    _traceback()


def _hint(text: str) -> None:
    sys.stderr.write(f"hint: {log.printable(text)}\n")


def _unexpected(error: Exception) -> str:
    if isinstance(error, OSError):
        thing = f" '{error.filename}'" if error.filename else ""
        return f"unexpected failure{thing}: {(error.strerror or str(error)).lower()}"
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    where = f" at {trace.tb_frame.f_globals.get('__name__')}:{trace.tb_lineno}" if trace else ""
    told = " ".join(str(error).split())
    return f"unexpected {type(error).__name__}{where}" + (f": {told}" if told else "")


def _traceback() -> bool:
    """Print the traceback of the error in flight where somebody asked for it."""
    if not os.environ.get("REDPAK_DEBUG") and log.level < log.DEBUG:
        return False
    import traceback

    sys.stderr.write(log.printable(traceback.format_exc()))
    return True


def _dispatch(argv: list[str]) -> int:
    loud = 0
    while argv and argv[0].startswith("-"):
        word = argv.pop(0)
        match word:
            case "-h" | "--help":
                output.write(overview())
                return 0
            case "-V" | "--version":
                return _version(argv)
            case "-v" | "--verbose":
                loud += 1
            case "-vv":
                loud += 2
            case "-q" | "--quiet":
                loud = -1
            case "--color":
                _colour(argv.pop(0) if argv else "")
            case _ if word.startswith("--color="):
                _colour(word[8:])
            case _:
                names = ("--help", "--version", "--verbose", "--quiet", "--color")
                hint = options.nearest(word, names) or "Run 'redpak --help'."
                raise Usage(f"unknown option '{word}'", hint=hint)
    if not argv:
        sys.stderr.write(overview())
        return Usage.code
    return run_command(argv[0], argv[1:], loud=loud)


def run_command(name: str, words: Sequence[str], *, loud: int = 0) -> int:
    """Run one command of the table with the words after it."""
    command = table.find(name)
    if command is None:
        near = FOREIGN.get(name) or options.nearest(name, [known.name for known in table.COMMANDS])
        raise Usage(f"unknown command '{name}'", hint=near or "Run 'redpak --help'.")
    module = load(command)
    verbs: tuple[options.Verb, ...] = getattr(module, "VERBS", ())
    if not verbs:
        return run_verb(options.verb_of(name, module), words, loud=loud)
    if words and not words[0].startswith("-"):
        for size in (2, 1):  # a verb may be two words: redpak node repo add
            full = " ".join((name, *words[:size]))
            verb = next((verb for verb in verbs if verb.name == full), None)
            if verb is not None:
                return run_verb(verb, words[size:], loud=loud)
        if any(verb.name.startswith(f"{full} ") for verb in verbs):
            return _run_noun(full, module, words[1:])
    return _run_noun(name, module, words)


def _run_noun(name: str, module: ModuleType, words: Sequence[str]) -> int:
    """Answer a noun that is followed by no verb of it: print its verbs, or raise Usage."""
    helped = bool(words) and words[0] in ("-h", "--help")
    if words and not helped and words[0].startswith("-"):
        raise Usage(f"'redpak {name}' needs a verb before '{words[0]}'", hint=f"Run 'redpak {name} --help'.")
    if words and not helped:
        verbs = [
            verb.name.removeprefix(f"{name} ") for verb in module.VERBS if verb.name.startswith(f"{name} ")
        ]
        near = options.nearest(words[0], verbs)
        raise Usage(f"unknown command '{name} {words[0]}'", hint=near or f"Run 'redpak {name} --help'.")
    if helped:
        output.write(noun_help(name, module))
        return 0
    sys.stderr.write(noun_help(name, module))
    return Usage.code


def run_verb(verb: options.Verb, words: Sequence[str], *, loud: int = 0) -> int:
    """Parse the words of a verb and run it, or print its help."""
    if verb.raw:
        return verb.raw(words, loud)
    args = options.parse(verb, words)
    if args.flag("help"):
        output.write(options.help_text(verb))
        return 0
    loud += args.count("verbose")
    log.level = log.ERROR if args.flag("quiet") or loud < 0 else min(log.WARNING + loud, log.DEBUG)
    if args.value("color"):
        _colour(args.value("color"))
    return verb.main(args)


def load(command: table.Command) -> ModuleType:
    """Import the module of a command."""
    __import__(command.module)
    return sys.modules[command.module]


def noun_help(name: str, module: ModuleType) -> str:
    """Return the help of a noun: its verbs."""
    verbs: list[options.Verb] = [verb for verb in module.VERBS if verb.name.startswith(f"{name} ")]
    rows = [(verb.name.removeprefix(f"{name} "), verb.summary.split("\n")[0]) for verb in verbs]
    about = getattr(module, "NOUNS", {}).get(name, module.SUMMARY)
    lines = [f"Usage: redpak {name} VERB …", "", *options.folded(about, 0), "", "Verbs:"]
    lines += [*options.columns(rows), "", f"'redpak {name} VERB --help' tells more."]
    return "\n".join(lines) + "\n"


def overview() -> str:
    """Return what `redpak --help` prints."""
    lines = ["Usage: redpak COMMAND …", "", ABOUT]
    for group in table.GROUPS:
        rows = [(command.name, command.help) for command in table.COMMANDS if command.group == group]
        lines += ["", f"{group}:", *options.columns(rows)]
    extra = (("-V, --version", "print the version; with --json, as JSON"),)
    known = [(options.spelled(option), option.help) for option in options.GLOBAL]
    lines += ["", "Options:", *options.columns([*known, *extra])]
    lines += ["", "'redpak help COMMAND' tells more. Start with: redpak doctor; redpak node create PATH"]
    return "\n".join(lines) + "\n"


def _version(words: list[str]) -> int:
    from redpak import __version__

    if not words:
        sys.stdout.write(f"redpak {__version__}\n")
        return 0
    if words != ["--json"]:
        raise Usage(f"unexpected argument '{words[0]}'", hint="Run 'redpak --version --json'.")
    from redpak.plan.model import VERSION

    python = ".".join(str(number) for number in sys.version_info[:3])
    output.json({"redpak": __version__, "plan": VERSION, "python": python})
    return 0


def _colour(when: str) -> None:
    if when not in ("auto", "always", "never"):
        raise Usage(f"option '--color' cannot be '{when}'", hint="Choose one of auto, always, never.")
    log.colour = None if when == "auto" else when == "always"
