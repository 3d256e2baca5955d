"""`redpak exec`: one more program in a running sandbox, with the rights of its first one and no others."""

from __future__ import annotations

import os
import signal
import sys

from redpak.cli import grouped, launches, running, terminal
from redpak.cli.options import Argument, Arguments, Option
from redpak.errors import LaunchFailed, Refused, Usage
from redpak.state import journal, proc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

    from redpak.engine.native.box import Process
    from redpak.engine.native.start import Running
    from redpak.state.proc import Pid
    from redpak.state.sandboxes import Sandbox

SUMMARY = (
    "Run one more program in a running sandbox: in its namespaces, with the variables, directory, capabilities,\n"
    "filter of system calls, limits and control group of its first program. Its code comes through. Where standard\n"
    "input and output are a terminal, the program gets one of its own."
)
ARGUMENTS = (
    running.TARGET,
    Argument(name="CMD", help="the program and its arguments; it must be there", kind="command"),
)
OPTIONS = (
    Option(
        name="env", short="e", metavar="KEY=VALUE", kind="repeat", help="one more variable; KEY alone: ours"
    ),
    Option(name="workdir", short="w", metavar="DIR", kind="value", help="where to start it, in the sandbox"),
    Option(name="interactive", short="i", help="as it always is: standard input reaches the program"),
    Option(name="tty", short="t", help="give it a terminal in any case"),
    Option(name="no-tty", short="T", help="give it none: it reads and writes what we do"),
)
EXAMPLES = (
    ("redpak exec web -- ps ax", "its processes, as it sees them"),
    ("redpak exec web cat /etc/hosts >hosts", "a program in a pipe"),
    ("redpak exec -e LANG=C /nodes/app -- date", "in what runs of a node"),
)  # fmt: skip
LAUNCHES = True
PASSED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


def main(args: Arguments) -> int:
    """Run it."""
    command = args.words("CMD")
    if not command:
        raise Usage("there is no program to run", hint="Write it behind the sandbox, or use 'redpak enter'.")
    if args.flag("tty") and args.flag("no-tty"):
        raise Usage("options '--tty' and '--no-tty' contradict each other", hint="Leave one out.")
    wants = args.flag("tty") or (terminal.usable() and not args.flag("no-tty"))
    if wants and not terminal.usable():
        raise Usage("there is no terminal to give it", hint="Leave '--tty' out.")
    one = running.find(args.word("ID"))
    return run(one, command, environ=variables(args.values("env")), cwd=args.value("workdir"), wants=wants)


def variables(given: Sequence[str]) -> list[str]:
    """Return KEY=value for what was asked for; a KEY alone takes our value, if we have one."""
    found = []
    for word in given:
        key, equals, _ = word.partition("=")
        if not key:
            raise Usage(f"option '--env' cannot be '{word}'", hint="Write KEY=VALUE.")
        if equals:
            found.append(word)
        elif key in os.environ:
            found.append(f"{key}={os.environ[key]}")
    return found


def run(one: Sandbox, command: Sequence[str], *, environ: Sequence[str], cwd: str, wants: bool) -> int:
    """Run a program in a sandbox and return its exit code. `wants`: with a terminal of its own."""
    from redpak.engine.native.enter import enter

    if cwd and not cwd.startswith("/"):
        raise Usage(f"option '--workdir' cannot be '{cwd}'", hint="Write an absolute path of the sandbox.")
    running.main_of(one)
    if running.is_paused(one):
        raise Refused(f"{one.called} is paused", hint=f"Let it go on: redpak resume {one.called}")
    process = process_of(one, command, environ=environ, cwd=cwd, wants=wants)
    place = place_of(one)
    masters: list[int] = []
    sys.stdout.flush()
    sys.stderr.flush()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, PASSED)  # for the program, as soon as there is one
    try:
        started = enter(
            place.pid,
            process,
            cgroup=grouped.of(one),
            console=masters.append if wants else None,
            stdio=(0, 1, 2),
            started=place.start,
        )
    except BaseException as error:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if type(error) is LaunchFailed:
            hint = f"Nothing was put in; {one.called} runs on."
            raise LaunchFailed(error.message, hint=hint) from error
        raise
    try:
        hand_on(started)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        journal.note("exec", one.id, name=one.name, command=list(command), pid=started.pid)
        if masters:
            with terminal.Relay(masters[0]) as relay:
                relay.run(started.pidfd)
        return waited(started)
    finally:
        started.close()


def place_of(one: Sandbox) -> Pid:
    """Return the process whose namespaces are meant: the first one, else the program. Raises Refused.

    The first one is redpak's own where there is a pid namespace: the program may have moved on to others. It may
    stay outside of the program's user namespace, or be closed to us; then the program's are the right ones.
    """
    target = running.main_of(one)
    user = proc.namespace(target.pid, "user")
    if one.init is not None and proc.alive(one.init):
        first = one.init.pid
        if proc.namespace(first, "mnt") and proc.namespace(first, "user") == user:
            return one.init
    if not user or not proc.namespace(target.pid, "mnt"):
        raise Refused(
            f"you may not enter {one.called}: its namespaces are closed to you", hint="Ask as root."
        )
    return target


def process_of(
    one: Sandbox, command: Sequence[str], *, environ: Sequence[str], cwd: str, wants: bool
) -> Process:
    """Return the program with the rights of a sandbox's first one. Raises LaunchFailed where they are not known."""
    from redpak.engine import inside

    assert one.init is not None
    told = launches.told(one)
    launcher = one.launcher.pid if one.launcher is not None and proc.alive(one.launcher) else 0
    if told is None:
        raise LaunchFailed(f"cannot tell with which rights {one.called} was started: nothing is put in")
    mask = proc.status(launcher or one.init.pid).get("Umask", "0022")
    where, target = place_of(one), running.main_of(one)
    place = inside.Place(
        launcher=launcher,
        init=where.pid,
        main=target.pid,
        told=told,
        umask=int(mask, 8),
        native=one.engine == "native",
    )
    made = inside.process(place, command, environ=environ, cwd=cwd, terminal=wants)
    if wants:
        rows, columns = terminal.size()
        word = f"TERM={os.environ.get('TERM', 'dumb')}"
        given = (
            made.environ if any(each.startswith("TERM=") for each in made.environ) else (*made.environ, word)
        )
        made = made.but(rows=rows, columns=columns, environ=given)
    return made


def hand_on(started: Running) -> None:
    """Let the program hear the signals that we get from now on."""

    def tell(number: int, _frame: FrameType | None) -> None:
        try:
            signal.pidfd_send_signal(started.pidfd, number)
        except ProcessLookupError:
            pass  # it has just ended

    for number in PASSED:
        signal.signal(number, tell)


def waited(started: Running) -> int:
    """Wait for a program and return its code (128+n for signal n)."""
    code = os.waitstatus_to_exitcode(started.wait())
    for number in PASSED:
        signal.signal(number, signal.SIG_DFL)
    return 128 - code if code < 0 else code
