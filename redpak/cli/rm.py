"""`redpak rm`: forget what ended."""

from __future__ import annotations

from redpak.cli import grouped, output, running
from redpak.cli.options import Argument, Arguments, Option
from redpak.errors import Refused, Usage
from redpak.state import gc, journal, records, sandboxes

SUMMARY = (
    "Remove the records and logs of sandboxes that ended. Old ones go by themselves: at a start, those that ended a\n"
    "week ago, that are not among the last hundred, or whose logs together take more than 64M."
)
ARGUMENTS = (Argument(name="ID", help=running.TARGET.help, kind="many"),)
OPTIONS = (
    Option(name="ended", help="all that ended"),
    Option(name="old", help="only those that are over their age, or too many"),
)
EXAMPLES = (("redpak rm 3f9a", "remove one record with its log"), ("redpak rm --ended", "remove all of them"))


def main(args: Arguments) -> int:
    """Remove them."""
    targets = args.words("ID")
    if not targets and not (args.flag("ended") or args.flag("old")):
        raise Usage("'ID' is missing", hint="Name a sandbox that ended, or add --ended.")
    if args.flag("ended"):
        targets = (*targets, *(one.id for one in sandboxes.everything(ended=True) if not one.lives))
    if args.flag("old"):
        grouped.tidy()  # first: a record is all that tells of a group
        output.lines([f"{gc.sweep()} records removed"])

    def act(target: str) -> None:
        one = sandboxes.find(target, ended=True)
        if one.lives:
            raise Refused(f"{one.called} runs", hint=f"End it first: redpak stop {one.called}")
        if one.entry is None:
            raise Refused(f"{one.called} ran in the foreground: it has left no record", hint="Leave it out.")
        grouped.forget(one.entry)
        records.remove(one.entry)
        journal.note("remove", one.id, name=one.name)

    return running.for_each(tuple(dict.fromkeys(targets)), act) if targets else 0
