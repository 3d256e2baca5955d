"""`redpak rm`: forget what ended."""

from __future__ import annotations

from redpak.cli import grouped, output, running
from redpak.cli.options import Argument, Arguments, Option
from redpak.errors import Refused, Usage
from redpak.state import gc, journal, records, sandboxes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from redpak.state.sandboxes import Sandbox

SUMMARY = (
    "Remove the records and logs of sandboxes that ended. Old ones go by themselves: at a start, those that ended a\n"
    "week ago, that are not among the last hundred, or whose logs together take more than 64M."
)
ARGUMENTS = (Argument(name="ID", help=running.TARGET.help, kind="many"),)
OPTIONS = (
    Option(name="ended", help="all that ended"),
    Option(name="old", help="only those that are over their age, or too many"),
    running.DONE,
)
EXAMPLES = (("redpak rm 3f9a", "remove one record with its log"), ("redpak rm --ended", "remove all of them"))


def main(args: Arguments) -> int:
    """Remove them."""
    targets, ended, old = args.words("ID"), args.flag("ended"), args.flag("old")
    if not (targets or ended or old):
        raise Usage("'ID' is missing", hint="Name a sandbox that ended, or add --ended.")
    found, faults = running.find_each(targets, ended=True)
    done: list[dict[str, Any]] = []
    if old:
        grouped.tidy()  # first: a record is all that tells of a group
        swept = gc.sweep()
        done += [running.acted(one, "removed") for one in swept]
        if not args.flag("json"):
            output.lines([f"{len(swept)} record{'' if len(swept) == 1 else 's'} removed"])
    if ended:
        found += [one for one in sandboxes.everything(ended=True) if not one.lives]

    def act(one: Sandbox) -> None:
        if one.lives:
            raise Refused(f"{one.called} runs", hint=f"End it first: redpak stop {one.called}")
        if one.entry is None:
            raise Refused(f"{one.called} ran in the foreground: it has left no record", hint="Leave it out.")
        grouped.forget(one.entry)
        records.remove(one.entry)
        journal.note("remove", one.id, name=one.name)
        done.append(running.acted(one, "removed"))

    gone = {one["id"] for one in done}
    faults += running.tried({one.id: one for one in found if one.id not in gone}.values(), act)
    if args.flag("json"):
        output.json(done)
    running.blame(faults)
    return 0
