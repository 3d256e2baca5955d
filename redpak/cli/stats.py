"""`redpak stats`: what sandboxes use."""

from __future__ import annotations

import sys
import time

from redpak.cli import output, running
from redpak.cli.grouped import used
from redpak.cli.options import Argument, Arguments, Option
from redpak.cli.sizes import shown, span_s
from redpak.errors import RedpakError
from redpak.state import sandboxes, usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from redpak.state.sandboxes import Sandbox
    from redpak.state.usage import Usage

SUMMARY = (
    "Show what running sandboxes use: by their control groups, else summed up from /proc (marked ~: memory that\n"
    "processes share counts for each of them, and what ended processes used is missing). On a terminal it goes on\n"
    "until it is interrupted."
)
ARGUMENTS = (Argument(name="ID", help=running.TARGET.help + "; all where none is named", kind="many"),)
OPTIONS = (
    Option(name="no-stream", help="once"),
    Option(name="interval", metavar="TIME", kind="value", help="between two looks: 1s"),
    Option(name="no-headers", help="no line of headings"),
    Option(name="json", help="print JSON; with each look a line of its own, unless --no-stream"),
)
EXAMPLES = (("redpak stats", "all, once a second"), ("redpak stats --no-stream --json web", "one, once"))
HEADS = ("ID", "NAME", "CPU%", "CPU", "MEMORY", "LIMIT", "PIDS", "READ", "WRITTEN", "PRESSURE")
SHORT_S = 0.2  # how long one look takes, for the percentage


class Look:
    """One look at a sandbox, after an earlier one."""

    def __init__(self, one: Sandbox, before: Look | None) -> None:
        self.one = one
        self.at = time.monotonic()
        self.usage: Usage = used(one)
        self.percent: float | None = None
        if before is not None and self.at > before.at:
            spent = max(0.0, self.usage.cpu_s - before.usage.cpu_s)
            self.percent = 100 * spent / (self.at - before.at)


def main(args: Arguments) -> int:
    """Print it."""
    interval_s = max(0.1, span_s(args.value("interval"), "interval")) if args.value("interval") else 1.0
    found, faults = running.find_each(args.words("ID"))
    looks = look(found if args.words("ID") else sandboxes.everything(), {})
    if args.flag("no-stream") or not (sys.stdout.isatty() or args.flag("json")):
        time.sleep(SHORT_S)
        looks = again(args, looks)
        if args.flag("json"):
            output.json([document(one) for one in looks.values()])
        else:
            output.lines(lines(args, looks))
        running.blame(faults)
        return 0
    running.blame(faults)
    from json import dumps

    while True:
        time.sleep(interval_s)
        looks = again(args, looks)
        if args.flag("json"):
            output.write(dumps([document(one) for one in looks.values()]) + "\n")
        else:
            output.write("\x1b[H\x1b[2J")
            output.lines(lines(args, looks))
        if args.words("ID") and not looks:
            return 0


def again(args: Arguments, before: dict[str, Look]) -> dict[str, Look]:
    """Look once more at what was asked for; what has ended since is left out."""
    now = sandboxes.everything()
    return look([one for one in now if not args.words("ID") or one.id in before], before)


def look(found: Sequence[Sandbox], before: dict[str, Look]) -> dict[str, Look]:
    """Look at sandboxes."""
    looks: dict[str, Look] = {}
    for one in found:
        try:
            looks[one.id] = Look(one, before.get(one.id))
        except (RedpakError, OSError):  # it ends just now
            continue
    return looks


def lines(args: Arguments, looks: dict[str, Look]) -> list[str]:
    """Return the table."""
    heads = () if args.flag("no-headers") else HEADS
    return output.table([row(one) for one in looks.values()], indent=0, heads=heads)


def row(look: Look) -> tuple[str, ...]:
    """Return a line for people."""
    has = look.usage
    about = "~" if has.source == "proc" else ""
    waits = max((value for key, value in has.pressure.items() if key.endswith("some.avg10")), default=None)
    return (
        look.one.id,
        look.one.name or "-",
        "-" if look.percent is None else f"{look.percent:.1f}",
        f"{about}{has.cpu_s:.1f}s",
        f"{about}{shown(has.memory_bytes)}",
        "-" if has.memory_limit_bytes is None else shown(has.memory_limit_bytes),
        str(has.pids) if has.pids_limit is None else f"{has.pids}/{has.pids_limit}",
        f"{about}{shown(has.read_bytes)}",
        f"{about}{shown(has.write_bytes)}",
        "-" if waits is None else f"{waits:.1f}%",
    )


def document(look: Look) -> dict[str, Any]:
    """Return the JSON document of one look."""
    has = look.usage
    shown_ = dict(zip(has.__fields__, has.values(), strict=True))
    percent = None if look.percent is None else round(look.percent, 2)
    return {
        "id": look.one.id, "name": look.one.name, "cpu_percent": percent, **shown_, "host_pressure": usage.pressure(),
    }  # fmt: skip
