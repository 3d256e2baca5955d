"""`redpak kill`: send a signal to sandboxes."""

from __future__ import annotations

import signal

from redpak.cli import running, stop
from redpak.cli.options import Arguments, Option
from redpak.state import ending, journal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from redpak.state.sandboxes import Sandbox

SUMMARY = (
    "Send a signal to the programs of sandboxes. SIGKILL, which it is by default, goes to everything in them."
)
ARGUMENTS = (running.TARGETS,)
OPTIONS = (
    Option(name="signal", short="s", metavar="SIGNAL", kind="value", help="which one: KILL (default), HUP, 10, …"),
    Option(name="all", short="a", help="to every process inside, not to the program alone"),
    running.DONE,
)  # fmt: skip
EXAMPLES = (
    ("redpak kill web", "kill it"),
    ("redpak kill -s HUP web", "have it read its configuration again, if it does that"),
)


def main(args: Arguments) -> int:
    """Send it."""
    what = ending.number(args.value("signal") or "KILL")

    def act(one: Sandbox) -> dict[str, Any]:
        journal.note("kill", one.id, name=one.name, signal=what)
        if what == signal.SIGKILL:
            stop.kill(one)
        elif args.flag("all"):
            ending.send_all(one, what)
        else:
            ending.send(one, what)
        return running.acted(one, "killed" if what == signal.SIGKILL else "signalled", signal=what)

    return running.for_each(args, act)
