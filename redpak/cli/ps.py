"""`redpak ps`: what runs."""

from __future__ import annotations

import os
import time

from redpak.cli import containers, grouped, output, running
from redpak.cli.options import Arguments, Option
from redpak.cli.sizes import age
from redpak.state import sandboxes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.state.sandboxes import Sandbox

SUMMARY = (
    "List what redpak runs for you: programs started detached, and those in the foreground.\n"
    "With --all also what ended. Containers of redpak-oci in its usual place are shown as well; they are driven by it."
)
ARGUMENTS = ()
OPTIONS = (
    Option(name="all", short="a", help="what ended as well, as long as its record is kept"),
    Option(name="ids", help="print ids only, without those of redpak-oci; -q does so, too"),
    Option(name="no-headers", help="no line of headings"),
    running.JSON,
)
EXAMPLES = (
    ("redpak ps", "what runs"),
    ("redpak ps --all", "what ended as well, and why"),
    ("redpak stop $(redpak ps --ids)", "stop everything"),
)
HEADS = ("ID", "NAME", "NODE", "STATUS", "PID", "COMMAND")
WIDEST_COMMAND = 60


def main(args: Arguments) -> int:
    """Print it."""
    found = sandboxes.everything(ended=args.flag("all"))
    grouped.tidy()
    if args.flag("ids") or args.flag("quiet"):
        ids = [one.id for one in found]
        output.json(ids) if args.flag("json") else output.lines(ids)
        return 0
    others = containers.documents(ended=args.flag("all"))
    if args.flag("json"):
        output.json([*(running.document(one) for one in found), *others])
    else:
        heads = () if args.flag("no-headers") else HEADS
        rows = [row(one) for one in found]
        rows += [
            (
                one["id"][: containers.SHOWN_ID],
                one["name"] if one["name"] != one["id"] else "-",
                _short(one["node"]),
                one["status"],
                str(one["pid"] or "-"),
                "(redpak-oci)",
            )
            for one in others
        ]
        output.lines(output.table(rows, indent=0, heads=heads))
    return 0


def row(one: Sandbox) -> tuple[str, ...]:
    """Return a line for people."""
    import shlex

    words = shlex.join(one.command)
    if len(words) > WIDEST_COMMAND:
        words = words[: WIDEST_COMMAND - 1] + "…"
    pid = str(one.main.pid) if one.main is not None and one.lives else "-"
    return (one.id, one.name or "-", _short(one.node), _status(one), pid, words)


def _status(one: Sandbox) -> str:
    now = time.time()
    if one.lives:
        word = "paused" if running.is_paused(one) else one.status
        return f"{word} {age(now - one.started)}"
    words = {"exited": f"exited ({one.code})", "failed": f"failed ({one.code})"}.get(one.status, one.status)
    return f"{words}{' oom' if one.oom else ''}{f' {age(now - one.ended)} ago' if one.ended else ''}"


def _short(path: str) -> str:
    home = os.environ.get("HOME", "")
    return f"~{path[len(home) :]}" if len(home) > 1 and path.startswith(f"{home}/") else path
