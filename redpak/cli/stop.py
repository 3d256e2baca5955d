"""`redpak stop`: end sandboxes."""

from __future__ import annotations

import time

from redpak import log
from redpak.cli import grouped, output, running
from redpak.cli.options import Arguments, Option
from redpak.cli.sizes import span_s
from redpak.errors import RedpakError
from redpak.state import ending, journal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.state.sandboxes import Sandbox

SUMMARY = (
    "Ask sandboxes to end: SIGTERM for their programs, and SIGKILL for all of what still runs after a while.\n"
    "Several are asked at the same time. What has ended already is no error."
)
ARGUMENTS = (running.TARGETS,)
OPTIONS = (
    Option(name="time", short="t", metavar="TIME", kind="value", help="how long to wait before killing: 10s"),
    Option(
        name="signal", short="s", metavar="SIGNAL", kind="value", help="what to ask with, instead of TERM"
    ),
    running.DONE,
)
EXAMPLES = (
    ("redpak stop web", "give it ten seconds"),
    ("redpak stop --time 1m db", "give it a minute"),
    ("redpak stop -t 0 3f9", "kill it, with all that it started"),
)
PATIENCE_S = 10.0
KILLED_S = 10.0  # how long what was killed may take to be gone


def main(args: Arguments) -> int:
    """Stop them."""
    patience_s = span_s(args.value("time"), "time") if args.value("time") else PATIENCE_S
    what = ending.number(args.value("signal") or "TERM")
    found, faults = running.find_each(args.words("ID"), ended=True)
    done: dict[str, str] = {}
    for one in found:
        if not one.lives:
            log.info(f"{one.called} has ended already")
            done[one.id] = "nothing"
    living = [one for one in found if one.lives]
    asked = [one for one in living if ask(one, what, patience_s)]
    end = time.monotonic() + patience_s
    late = [one for one in asked if not ending.wait(one, end - time.monotonic())]
    for one in late:
        log.info(f"{one.called} did not end within {patience_s:g} s: killing it")
    done.update({one.id: "stopped" for one in asked if one not in late})
    late += [one for one in living if one not in asked]

    def see(one: Sandbox) -> None:
        gone(one)
        done[one.id] = "killed"

    faults += running.tried(late, kill)
    faults += running.tried(late, see)
    if args.flag("json"):
        output.json([running.acted(one, done[one.id]) for one in found if one.id in done])
    running.blame(faults)
    return 0


def ask(one: Sandbox, what: int, patience_s: float) -> bool:
    """Ask a program to end; tell whether it is worth waiting for."""
    journal.note("stop", one.id, name=one.name, signal=what, timeout=patience_s)
    if patience_s <= 0:
        return False
    try:
        thaw(one)
        ending.send(one, what)
    except RedpakError:
        return False  # it has no program (yet, or any more): only killing is left
    return True


def thaw(one: Sandbox) -> None:
    """Let what is paused run, so that it can hear."""
    group = grouped.of(one)
    if group is not None and group.frozen():
        group.thaw()


def kill(one: Sandbox) -> None:
    """Kill a sandbox, by its control group where it has one: nothing in it can get away."""
    group = grouped.of(one)
    if group is not None and group.pids(recursive=True):
        group.kill(9)
        if group.frozen():
            group.thaw()
    ending.kill(one)


def gone(one: Sandbox) -> None:
    """Wait until a sandbox that was killed is gone. Raises RedpakError when it hangs."""
    if not ending.wait(one, KILLED_S):
        raise RedpakError(
            f"{one.called} was killed and is still there: it hangs in the kernel",
            hint=f"Look at it: redpak top {one.id}",
        )
