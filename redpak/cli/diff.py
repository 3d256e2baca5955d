"""`redpak diff`: what a running sandbox changed."""

from __future__ import annotations

import os

from redpak.cli import output, running
from redpak.cli.launches import made_by
from redpak.cli.options import Arguments, Option
from redpak.state import changes, copying

SUMMARY = (
    "List what a running sandbox added (A), changed (C) and deleted (D) since its start, in the places that are its\n"
    "own: memory file systems. What it wrote to directories of the host (Restricted with\n"
    "'rw', Private, …) is not listed: others may write there, too. A sandbox without such places has no differences."
)
ARGUMENTS = (running.TARGET,)
OPTIONS = (
    Option(name="exit-code", help="end with 1 where there are differences"),
    running.JSON,
)
CODES = (("1", "with --exit-code: there are differences"), ("2", "failed, or the command line is wrong"))
EXAMPLES = (("redpak diff web", "what it left in /tmp and elsewhere"),)
LETTERS = {"added": "A", "changed": "C", "deleted": "D"}


def main(args: Arguments) -> int:
    """List it."""
    one = running.find(args.word("ID"))
    program = running.main_of(one)
    root = copying.root_of(program)
    try:
        found = changes.of(program, root, *made_by(one))
    finally:
        os.close(root)
    if args.flag("json"):
        places = [{"path": place.path, "type": place.fstype} for place in changes.places(program)]
        listed = [{"path": c.path, "change": c.kind, "size_bytes": c.size_bytes} for c in found]
        output.json({"places": places, "changes": listed})
    else:
        output.lines([f"{LETTERS[one.kind]} {one.path}" for one in found])
    return 1 if found and args.flag("exit-code") else 0
