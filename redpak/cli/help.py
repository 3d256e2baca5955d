"""`redpak help`: the help of a command, for those who type it in this order."""

from __future__ import annotations

import sys

from redpak.cli.options import Argument, Arguments, Option

SUMMARY = "Show the help of a command, or of all commands."
ARGUMENTS = (
    Argument(name="COMMAND", help="the command, a noun's verb as a second word; or 'settings'", kind="many"),
)
OPTIONS: tuple[Option, ...] = ()
EXAMPLES = (
    ("redpak help run", "how to run a program in a node"),
    ("redpak help node create", "how to create a node"),
    ("redpak help settings", "every key of a configuration file, a line each"),
)


def main(args: Arguments) -> int:
    """Print it."""
    from redpak.cli import main as program

    words = args.words("COMMAND")
    if not words:
        sys.stdout.write(program.overview())
        return 0
    if words == ("settings",):
        from redpak.config.reference import text_help

        sys.stdout.write(text_help())
        return 0
    return program.run_command(words[0], [*words[1:], "--help"])
