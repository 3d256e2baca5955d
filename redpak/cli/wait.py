"""`redpak wait`: wait until sandboxes have ended, and return their code."""

from __future__ import annotations

import time

from redpak.cli import output, running
from redpak.cli.options import Arguments, Option
from redpak.cli.sizes import span_s
from redpak.errors import LaunchFailed
from redpak.state import ending, sandboxes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.state.sandboxes import Sandbox

SUMMARY = (
    "Wait until sandboxes have ended and return the code of the program; of several, the first that is not 0, and\n"
    "each is printed. What has ended already is waited for, too, as long as its record is kept."
)
ARGUMENTS = (running.TARGETS,)
OPTIONS = (
    Option(
        name="time", short="t", metavar="TIME", kind="value", help="how long at most; then the code is 125"
    ),
    running.JSON,
)
EXAMPLES = (("redpak wait web; echo $?", "its code"), ("redpak wait --json a b", "both codes, as JSON"))
LAUNCHES = True
CODES = (("125", "nobody knows the code, or it runs on after --time"),)


def main(args: Arguments) -> int:
    """Wait for them."""
    limit_s = span_s(args.value("time"), "time") if args.value("time") else None
    found, faults = running.find_each(args.words("ID"), ended=True)
    end = None if limit_s is None else time.monotonic() + limit_s
    codes: dict[str, int | None] = {}

    def wait(one: Sandbox) -> None:
        try:
            left = None if end is None else end - time.monotonic()
            codes[one.id] = ending.code(one, left) if one.lives else one.code
        except TimeoutError:
            raise LaunchFailed(f"{one.called} still runs after {limit_s:g} s", hint="Wait longer.") from None
        if codes[one.id] is None:
            now = sandboxes.find(one.id, ended=True) if one.entry is not None else one
            why = now.reason or "only who started it in the foreground knows"
            raise LaunchFailed(f"nobody knows with which code {one.called} ended: {why}")

    faults += running.tried(found, wait)
    if args.flag("json"):
        output.json([{"id": id_, "code": code} for id_, code in codes.items()])
    elif len(args.words("ID")) > 1:
        rows = [(id_, "?" if code is None else str(code)) for id_, code in codes.items()]
        output.lines(output.table(rows, indent=0))
    running.blame(faults)
    return next((code for code in codes.values() if code), 0)
