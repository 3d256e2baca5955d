"""Options and arguments as data: parsing and help read the same table.

Not argparse: importing it takes longer than bubblewrap needs to start a sandbox, and every launch would pay.

A command is a module of `redpak/cli` with

    SUMMARY    what it does: a sentence, more sentences if needed
    ARGUMENTS  tuple of Argument, in order
    OPTIONS    tuple of Option; -h -v -q --color are added by themselves
    EXAMPLES   tuple of (command line, what it shows)
    CODES      optional: exit codes that mean something else here, as OWN_CODES
    LAUNCHES   optional: True where the exit code is that of the program in the sandbox
    main(args: Arguments) -> int

or, for a noun with verbs (`redpak node create`), with SUMMARY and VERBS, a tuple of Verb.
"""

from __future__ import annotations

from redpak.errors import Usage
from redpak.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import ModuleType
    from typing import Literal

    OptionKind = Literal["flag", "value", "repeat"]
    ArgumentKind = Literal["one", "optional", "some", "many", "command"]


class Option(Record):
    """An option: `--name`, and `-short` when it has one."""

    name: str  # without dashes: "no-frozen"
    short: str = ""  # one letter
    metavar: str = ""  # "FILE"; only where it takes a value
    help: str
    kind: OptionKind = "flag"  # "value": the last one counts; "repeat": all count, in order
    choices: tuple[str, ...] = ()  # the values that are allowed; () allows all


class Argument(Record):
    """A word that is not an option.

    "one" must be there, "optional" may, "many" takes all that remain (options may stand between them), "some"
    as well, but at least one;
    "command" is the last one: its first word ends the options, with or without `--`.
    """

    name: str  # upper case: "PATH"
    help: str
    kind: ArgumentKind = "one"


class Verb(Record):
    """A command with all that parsing and help need. `name` is the full one: "run", "node create"."""

    name: str  # '' when the program itself is the command
    summary: str
    arguments: tuple[Argument, ...] = ()
    options: tuple[Option, ...] = ()
    examples: tuple[tuple[str, str], ...] = ()
    codes: tuple[tuple[str, str], ...] = ()  # exit codes that mean something else here
    launches: bool = False  # the exit code is that of the program in the sandbox
    program: str = "redpak"
    main: Callable[[Arguments], int]
    # Takes the words as they are, for a verb that has a grammar of its own; `main` is then not called.
    raw: Callable[[Sequence[str], int], int] | None = None

    @property
    def called(self) -> str:
        """What the user typed: 'redpak node create'."""
        return f"{self.program} {self.name}".rstrip()


class Arguments:
    """What the user typed, taken apart. Names are those of the tables; an unknown name is a KeyError."""

    def __init__(self, verb: Verb) -> None:
        self.verb = verb
        self._options: dict[str, list[str]] = {option.name: [] for option in (*verb.options, *GLOBAL)}
        self._words: dict[str, list[str]] = {argument.name: [] for argument in verb.arguments}

    def flag(self, name: str) -> bool:
        """Tell whether an option was given."""
        return bool(self._options[name])

    def count(self, name: str) -> int:
        """Return how often an option was given."""
        return len(self._options[name])

    def value(self, name: str, default: str = "") -> str:
        """Return the value of an option, the last one when it was given more than once."""
        given = self._options[name]
        return given[-1] if given else default

    def values(self, name: str) -> tuple[str, ...]:
        """Return all values of an option, in order."""
        return tuple(self._options[name])

    def word(self, name: str) -> str:
        """Return an argument, '' when an optional one is not there."""
        given = self._words[name]
        return given[0] if given else ""

    def words(self, name: str) -> tuple[str, ...]:
        """Return all words of an argument of kind "many" or "command"."""
        return tuple(self._words[name])

    def add_option(self, name: str, value: str) -> None:
        """Note one occurrence of an option (for the parser)."""
        self._options[name].append(value)

    def add_word(self, name: str, value: str) -> None:
        """Note one argument (for the parser)."""
        self._words[name].append(value)


NEVER_EMPTY = frozenset(
    {"N", "SIGNAL", "SIZE", "TIME"}
)  # metavars: an empty variable of a script is no default

GLOBAL = (
    Option(name="help", short="h", help="show this help"),
    Option(name="verbose", short="v", help="say what is done; twice: all that is needed to replay it"),
    Option(name="quiet", short="q", help="say nothing but errors"),
    Option(
        name="color",
        metavar="WHEN",
        kind="value",
        choices=("auto", "always", "never"),
        help="colour messages: auto (default), always or never; NO_COLOR is obeyed",
    ),
)

OWN_CODES = (
    ("0", "done"),
    ("1", "failed"),
    ("2", "the configuration or the command line is wrong"),
    ("3", "refused: it cannot be done safely, or not as asked; nothing was started"),
    ("4", "there is no such node, file or thing"),
    ("5", "busy: somebody else holds the lock"),
)
LAUNCH_CODES = (
    ("125", "redpak broke before the program started"),
    ("126", "the program is there but cannot be executed"),
    ("127", "the program is not there"),
    ("128+n", "the program was ended by signal n"),
    ("else", "the program's own exit code"),
)


def verb_of(name: str, module: ModuleType) -> Verb:
    """Return the Verb of a module that is one command."""
    return Verb(
        name=name,
        summary=module.SUMMARY,
        arguments=module.ARGUMENTS,
        options=module.OPTIONS,
        examples=module.EXAMPLES,
        codes=getattr(module, "CODES", ()),
        launches=getattr(module, "LAUNCHES", False),
        main=module.main,
    )


def nearest(word: str, words: Sequence[str], before: str = "") -> str:
    """Return a hint 'Did you mean …?' when one of `words` looks like `word`, else ''. `before` stands before both."""
    import difflib

    close = difflib.get_close_matches(word.lower(), words, n=1, cutoff=0.6)
    return f"Did you mean '{before}{close[0]}'?" if close else ""


def parse(verb: Verb, words: Sequence[str]) -> Arguments:
    """Take the command line of a verb apart; raises Usage. With --help, missing arguments are no error."""
    args = Arguments(verb)
    by_long = {option.name: option for option in (*verb.options, *GLOBAL)}
    by_short = {option.short: option for option in (*verb.options, *GLOBAL) if option.short}
    plain: list[str] = []
    command: tuple[str, ...] = ()
    wanted = [argument for argument in verb.arguments if argument.kind != "command"]
    takes_command = len(wanted) < len(verb.arguments)
    at = 0

    def value_of(option: Option, shown: str, glued: str | None) -> str:
        nonlocal at
        if glued is not None:
            value = glued
        elif at < len(words):
            value = words[at]
            at += 1
        else:
            raise _usage(verb, f"option '{shown}' needs a value ({option.metavar})")
        if option.choices and value not in option.choices:
            allowed = ", ".join(option.choices)
            raise _usage(verb, f"option '{shown}' cannot be '{value}'", f"Choose one of {allowed}.")
        if not value and option.metavar in NEVER_EMPTY:
            raise _usage(verb, f"option '{shown}' cannot be empty")
        return value

    while at < len(words):
        word = words[at]
        at += 1
        if word == "--":
            plain += words[at:]
            if takes_command:
                command = tuple(plain[len(wanted) :])
                plain = plain[: len(wanted)]
            break
        if word.startswith("--"):
            name, equals, glued = word[2:].partition("=")
            option = by_long.get(name)
            if option is None:
                raise _usage(verb, f"unknown option '--{name}'", nearest(name, tuple(by_long), "--"))
            if option.kind == "flag":
                if equals:
                    raise _usage(verb, f"option '--{name}' takes no value")
                args.add_option(name, "")
            else:
                args.add_option(name, value_of(option, f"--{name}", glued if equals else None))
        elif word.startswith("-") and word != "-":
            letters = word[1:]
            while letters:
                letter, letters = letters[0], letters[1:]
                option = by_short.get(letter)
                if option is None:
                    raise _usage(verb, f"unknown option '-{letter}'", _dashed(verb, word))
                if option.kind == "flag":
                    args.add_option(option.name, "")
                else:
                    args.add_option(option.name, value_of(option, f"-{letter}", letters or None))
                    letters = ""
        elif takes_command and len(plain) == len(wanted):
            command = (word, *words[at:])
            break
        else:
            plain.append(word)
    _place(args, plain, command)
    return args


def _place(args: Arguments, plain: list[str], command: tuple[str, ...]) -> None:
    """Give the words that are not options to the arguments, in order."""
    left = list(plain)
    for argument in args.verb.arguments:
        match argument.kind:
            case "one" | "optional":
                if left:
                    args.add_word(argument.name, left.pop(0))
                elif argument.kind == "one" and not args.flag("help"):
                    raise _usage(args.verb, f"'{argument.name}' is missing: {argument.help}")
            case "many" | "some":
                if argument.kind == "some" and not left and not args.flag("help"):
                    raise _usage(args.verb, f"'{argument.name}' is missing: {argument.help}")
                for word in left:
                    args.add_word(argument.name, word)
                left = []
            case "command":
                for word in command:
                    args.add_word(argument.name, word)
    if left:
        raise _usage(args.verb, f"unexpected argument '{left[0]}'")


def _usage(verb: Verb, message: str, hint: str = "") -> Usage:
    return Usage(message, hint=hint or f"Run '{verb.called} --help'.")


def _dashed(verb: Verb, word: str) -> str:
    """Return the hint for a cluster of letters that may have been meant as a name."""
    if len(word) == 2:
        return ""
    return f"Run '{verb.called} --help'; a name that starts with '-' is written './{word}'."


def usage_line(verb: Verb) -> str:
    """Return 'redpak run PATH [options] [--] [CMD...]'."""
    shown = {"one": "{}", "optional": "[{}]", "some": "{}...", "many": "[{}...]", "command": "[--] [{}...]"}
    words = [shown[argument.kind].format(argument.name) for argument in verb.arguments]
    options = [] if not verb.options else ["[options]"]
    before = [word for word in words if not word.startswith("[--]")]
    after = words[len(before) :]
    return " ".join([verb.called, *before, *options, *after])


def spelled(option: Option) -> str:
    """Return '-o, --output FILE'."""
    short = f"-{option.short}, " if option.short else ""
    return f"{short}--{option.name}" + (f" {option.metavar}" if option.metavar else "")


def help_text(verb: Verb) -> str:
    """Return what `--help` prints: usage, examples first, then every option, then exit codes."""
    options = (*verb.options, *GLOBAL)
    own = dict(verb.codes)
    codes = [(code, own.get(code, means)) for code, means in OWN_CODES]
    if verb.launches:
        codes += [(code, own.get(code, means)) for code, means in LAUNCH_CODES]
    lines = [f"Usage: {usage_line(verb)}", "", *folded(verb.summary.replace("\n", " "), 0)]
    if verb.examples:
        lines += ["", "Examples:"]
        for line, shows in verb.examples:
            lines += [f"  {line}", f"      {shows}"]
    if verb.arguments:
        lines += ["", "Arguments:", *columns([(a.name, a.help) for a in verb.arguments])]
    lines += ["", "Options:", *columns([(spelled(option), option.help) for option in options])]
    lines += ["", "Exit codes:", *columns(codes)]
    return "\n".join(lines) + "\n"


def columns(rows: Sequence[tuple[str, str]], *, indent: int = 2) -> list[str]:
    """Return rows of two columns, the second one folded."""
    at = min(max((len(left) for left, _ in rows), default=0), 26) + indent + 2
    lines: list[str] = []
    for left, right in rows:
        text = folded(right, at)
        head = " " * indent + left
        if len(head) + 2 <= at:
            lines.append(head.ljust(at) + text[0].lstrip())
            lines += text[1:]
        else:
            lines += [head, *text]
    return lines


def folded(text: str, indent: int, width: int = 100) -> list[str]:
    """Return `text` as lines of at most `width` columns; a newline in it stays one."""
    lines: list[str] = []
    for paragraph in text.split("\n"):
        line = " " * indent
        for word in paragraph.split():
            if line.strip() and len(line) + 1 + len(word) > width:
                lines.append(line)
                line = " " * indent
            line += word if not line.strip() else f" {word}"
        lines.append(line if line.strip() else "")
    return lines
