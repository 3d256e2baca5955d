"""`redpak top`: the processes of a sandbox."""

from __future__ import annotations

import shlex
import time

from redpak.cli import output, running
from redpak.cli.options import Arguments, Option
from redpak.cli.sizes import age, shown
from redpak.state import usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from redpak.state.usage import Process

SUMMARY = "List the processes of a sandbox, with their numbers inside and outside."
ARGUMENTS = (running.TARGET,)
OPTIONS = (Option(name="no-headers", help="no line of headings"), running.JSON)
EXAMPLES = (("redpak top web", "its processes"), ("redpak top --json /nodes/app", "as JSON"))
HEADS = ("PID", "INSIDE", "USER", "STATE", "CPU", "MEMORY", "AGE", "COMMAND")


def main(args: Arguments) -> int:
    """Print them."""
    one = running.find(args.word("ID"))
    found = usage.processes(one)
    if args.flag("json"):
        output.json([document(process) for process in found])
    else:
        heads = () if args.flag("no-headers") else HEADS
        lines = output.table([row(process) for process in found], indent=0, heads=heads)
        wide = output.columns()
        output.lines([line[:wide] if wide else line for line in lines])
    return 0


def row(one: Process) -> tuple[str, ...]:
    """Return a line for people."""
    inside = str(one.inner_pid) if one.inner_pid else "-"
    spent = f"{one.cpu_s:.1f}s"
    numbers = (str(one.pid), inside, str(one.uid), one.state, spent, shown(one.memory_bytes))
    return (*numbers, age(time.time() - one.started), shlex.join(one.command))


def document(one: Process) -> dict[str, Any]:
    """Return the JSON document of a process."""
    shown_ = dict(zip(one.__fields__, one.values(), strict=True))
    return {**shown_, "inner_pid": one.inner_pid or None, "command": list(one.command)}
