"""`redpak schema`: the JSON Schema of configuration files, for editors."""

from __future__ import annotations

from redpak.cli import output
from redpak.cli.options import Argument, Arguments, Option

SUMMARY = "Print the JSON Schema of configuration files."
ARGUMENTS: tuple[Argument, ...] = ()
OPTIONS: tuple[Option, ...] = ()
EXAMPLES = (
    (
        "redpak schema >redpak.schema.json",
        "for an editor: '# yaml-language-server: $schema=…' in a file",
    ),
)


def main(args: Arguments) -> int:  # noqa: ARG001 - every command is called alike
    """Print it."""
    from redpak.config import schema

    output.json(schema.schema())
    return 0
