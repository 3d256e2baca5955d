"""redpak(1), made from the same tables that parse the command line: roff for man, Markdown for the reference.

python -m redpak.cli.manpage [--markdown]
"""

from __future__ import annotations

import sys

from redpak import __version__
from redpak.cli import main, options, table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

DESCRIPTION = (
    "A node is a directory with a configuration. A launch shows the program in it what the node, its ancestors and "
    "the core OS export, and nothing else. All that a launch does is written down as a plan first, which can be "
    "printed, explained, compared and frozen."
)
ENVIRONMENT = (
    ("REDPAK_PROFILE", "the rules for merging: sealed or upstream-2.5"),
    ("REDPAK_DEBUG", "when set, errors come with a traceback"),
    ("NO_COLOR, CLICOLOR_FORCE", "never, or always, colour messages"),
    ("redpak_MAIN", "the file with the core OS's defaults"),
)


def verbs() -> Iterator[options.Verb]:
    """Return every verb of every command, in the order of the table."""
    for command in table.COMMANDS:
        module = main.load(command)
        yield from getattr(module, "VERBS", None) or (options.verb_of(command.name, module),)


def roff() -> str:
    """Return redpak(1) in the man macros (man(7))."""
    lines = [
        f'.TH REDPAK 1 "" "redpak {__version__}" "User Commands"',
        ".SH NAME",
        _escaped(main.ABOUT.replace(": ", " - ", 1)),
        ".SH SYNOPSIS",
        ".B redpak",
        _escaped("COMMAND ..."),
        ".SH DESCRIPTION",
        _escaped(DESCRIPTION),
        ".SH OPTIONS",
        *_tagged([(options.spelled(option), option.help) for option in options.GLOBAL]),
        ".SH COMMANDS",
    ]
    for verb in verbs():
        lines += [f".SS {_escaped(options.usage_line(verb))}", *map(_escaped, verb.summary.split("\n"))]
        lines += _tagged([(one.name, one.help) for one in verb.arguments])
        lines += _tagged([(options.spelled(one), one.help) for one in verb.options])
        for line, shows in verb.examples:
            lines += [".PP", _escaped(f"{shows}:"), ".EX", _escaped(f"    {line}"), ".EE"]
    lines += [".SH EXIT STATUS", *_tagged([*options.OWN_CODES, *options.LAUNCH_CODES])]
    lines += [".SH ENVIRONMENT", *_tagged(list(ENVIRONMENT))]
    return "\n".join(lines) + "\n"


def markdown() -> str:
    """Return the same as Markdown."""
    lines = ["# redpak(1)", "", main.ABOUT + ".", "", DESCRIPTION, "", "## Options", ""]
    lines += _listed([(options.spelled(option), option.help) for option in options.GLOBAL])
    for verb in verbs():
        lines += [
            "",
            f"## {verb.called}",
            "",
            "```",
            options.usage_line(verb),
            "```",
            "",
            *verb.summary.split("\n"),
        ]
        if verb.examples:
            lines += ["", "```sh"]
            for line, shows in verb.examples:
                lines += [f"# {shows}", line]
            lines.append("```")
        rows = [(one.name, one.help) for one in verb.arguments]
        rows += [(options.spelled(one), one.help) for one in verb.options]
        lines += ["", *_listed(rows)] if rows else []
    lines += ["", "## Exit codes", "", *_listed([*options.OWN_CODES, *options.LAUNCH_CODES])]
    lines += ["", "## Environment", "", *_listed(list(ENVIRONMENT))]
    return "\n".join(lines) + "\n"


def _listed(rows: list[tuple[str, str]]) -> list[str]:
    return [f"- `{left}`: {right}" for left, right in rows]


def _tagged(rows: list[tuple[str, str]]) -> list[str]:
    lines = []
    for left, right in rows:
        lines += [".TP", f"\\fB{_escaped(left)}\\fR", _escaped(right)]
    return lines


def _escaped(text: str) -> str:
    """Return text that roff prints as it is."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("…", "...")
    return f"\\&{text}" if text.startswith((".", "\\(aq")) else text


if __name__ == "__main__":
    sys.stdout.write(markdown() if "--markdown" in sys.argv[1:] else roff())
