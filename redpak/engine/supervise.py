"""Start bwrap and stand in for the program until it ends: what the helper (launch.c) does, in Python.

Used where the helper is not built, or cannot be told (a NUL byte, too many words). Both behave alike: the host tests
start everything both ways.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import termios

from redpak.engine.spec import FIRST_FD, Blob, LaunchSpec, Opened
from redpak.errors import LaunchFailed
from redpak.kernel import files, landlock, process, trace
from redpak.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

TOLD = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGTSTP,
    signal.SIGCONT,
    signal.SIGWINCH,
)
CAUGHT = frozenset((*TOLD, signal.SIGCHLD, signal.SIGTTOU))
LAST_SIGNAL = 64
RETRY_S = 0.01
TRIES = 500  # 5 s: the start hangs
PTRACE_EVENT_STOP = 128


class Ended(Record):
    """How it went: the program's code (None when it was never started), and bwrap's."""

    code: int | None
    bwrap: int = 0


def memory(content: bytes) -> int:
    """Return a descriptor of a memory file that holds `content`, at its start."""
    fd = os.memfd_create("data", os.MFD_CLOEXEC)
    view = memoryview(content)
    while view:
        view = view[os.write(fd, view) :]
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def _high(fd: int, above: int) -> int:
    """Move a descriptor to a number of at least `above`, close-on-exec."""
    moved = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, above)
    os.close(fd)
    return moved


def _prepare(spec: LaunchSpec, joined: dict[int, int], *, nohup: bool) -> dict[int, int]:
    """Open everything that bwrap reads: {its number: our descriptor}. Raises OSError."""
    above = FIRST_FD + len(spec.descriptors) + 2
    placed: dict[int, int] = {}
    for number, one in spec.numbered():
        if isinstance(one, Blob):
            fd = memory(os.fsencode(one.content.literal or ""))
        elif one.how == "read" and one.path == spec.seccomp_path and spec.seccomp:
            fd = memory(spec.seccomp)
        else:
            fd = _open(one)
        placed[number] = _high(fd, above)
    words = [os.fsencode(word) for word in _words(spec)]
    if nohup:
        words.insert(0, b"--new-session")
    placed[above - 2] = _high(memory(b"".join(word + b"\0" for word in words)), above)
    for number, fd in joined.items():
        placed[number] = _high(fd, above)
    return placed


def _words(spec: LaunchSpec) -> list[str]:
    return [word if isinstance(word, str) else str(word.content) for word in spec.args]


def _open(one: Opened) -> int:
    return files.open_plain(one.path, os.O_PATH if one.how == "path" else os.O_RDONLY)


def lease(path: str) -> int:
    """Hold a shared lock on a directory, before anything in it is opened. Raises LaunchFailed."""
    try:
        fd = files.open_plain(path, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        why = "it is being removed" if isinstance(error, BlockingIOError) else (error.strerror or "").lower()
        raise LaunchFailed(f"cannot hold '{path}': {why}", hint="Start again.") from error
    return fd


def _child(
    spec: LaunchSpec, placed: dict[int, int], argv: list[str], parent: int, doors: Sequence[int]
) -> None:
    """Become bwrap. Between fork and exec: nothing but system calls; returns only by an exception."""
    if os.getppid() != parent:
        os._exit(125)
    process.die_with_parent(signal.SIGKILL)
    if os.getppid() != parent:  # it died before the call
        os._exit(125)
    for fd in doors:
        os.write(fd, b"0")
    if os.geteuid() != 0:
        process.clear_ambient()
    for number in range(1, LAST_SIGNAL + 1):
        try:
            signal.signal(number, signal.SIG_DFL)
        except (OSError, ValueError):
            continue  # KILL, STOP, and those that the C library keeps for itself
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    if spec.scope:
        landlock.scope()
    files.close_on_exec()
    for number, fd in placed.items():
        os.dup2(fd, number, inheritable=True)
    for fd in spec.keep:
        os.set_inheritable(fd, True)  # noqa: FBT003
    os.execve(argv[0], argv, {})


class Terminal:
    """The state of our terminal, to be put back; nothing where we are in its background: it is another's then."""

    def __init__(self) -> None:
        self.fd = -1
        self.modes: list[Any] = []
        for fd in (0, 1, 2):
            try:
                self.modes = termios.tcgetattr(fd)
            except termios.error:
                continue  # no terminal
            try:
                self.fd = fd if os.tcgetpgrp(fd) == os.getpgrp() else -1
            except OSError:
                pass  # not our controlling terminal
            return

    def restore(self) -> None:
        """Put modes and foreground group back, unless another living group has the terminal. SIGTTOU is blocked."""
        if self.fd < 0:
            return
        try:
            now = os.tcgetpgrp(self.fd)
            if now != os.getpgrp() and _group_lives(now):
                return
            os.tcsetpgrp(self.fd, os.getpgrp())
            termios.tcsetattr(self.fd, termios.TCSADRAIN, self.modes)
        except (OSError, termios.error):
            pass  # the terminal is gone


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except OSError as error:
        return error.errno != errno.ESRCH
    return True


def _exit_code(fd: int) -> int | None:
    """Return the program's code from what bwrap said on its status descriptor (JSON), None where it never ran."""
    try:
        said = os.read(fd, 4096)
    except BlockingIOError:
        return None
    digits = said.partition(b'"exit-code":')[2].strip().partition(b"\n")[0].strip(b" }")
    return int(digits) if digits.isdigit() else None


def _first_child(pid: int) -> int:
    """Return the first child of a process (proc_pid_children(5)), 0 for none, -1 where /proc does not tell."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            said = file.read(32).split()
    except OSError:
        return -1
    return int(said[0]) if said else 0


def _hand_on(numbers: set[int], spec: LaunchSpec, bwrap: int) -> bool:
    """Send signals to the program; False while it does not run yet.

    Where /proc hides what cannot be traced (hidepid, proc(5)), process 1 gets them, and hands them on.
    """
    above = _first_child(bwrap) if spec.pidns else bwrap
    below = _first_child(above) if above > 0 else 0
    pid = above if below < 0 else below
    if pid <= 0:
        return False
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        if _first_child(above) != below:
            return False
        for number in numbers:
            stop = pid == above and number == signal.SIGSTOP  # would stop process 1 alone
            signal.pidfd_send_signal(fd, signal.SIGTSTP if stop else number)
    except ProcessLookupError:
        pass  # it ended: bwrap will say how
    finally:
        os.close(fd)
    return True


def _stop_with_program() -> None:
    """Stop, so that the shell sees it and takes the terminal back; goes on at SIGCONT."""
    os.kill(os.getpid(), signal.SIGTSTP)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTSTP,))
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTSTP,))


def wait(pid: int, spec: LaunchSpec, *, session: bool, nohup: bool) -> int:
    """Wait for bwrap to end, handing signals on meanwhile; return its wait status.

    `session`: the program has one of its own. `nohup`: a hangup is not for it.
    """
    waiting: set[int] = set()
    tries = 0
    while True:
        info: signal.struct_siginfo | None
        if waiting:
            info = signal.sigtimedwait(CAUGHT, RETRY_S)
        else:
            info = signal.sigwaitinfo(CAUGHT)
        number = info.si_signo if info else 0
        # Several changes may share one SIGCHLD.
        while True:
            changed, code = os.waitpid(pid, os.WNOHANG)
            if not changed:
                break
            if not os.WIFSTOPPED(code):
                return code
            stop = os.WSTOPSIG(code)
            drop = code >> 16 == PTRACE_EVENT_STOP or stop in CAUGHT  # the program answers these
            trace.resume(pid, 0 if drop else stop)
        # What the terminal sends (si_code > 0) reaches the program by itself, unless it has a session of its own.
        if info and number in TOLD:
            told = not nohup if number == signal.SIGHUP else info.si_code <= 0 or session
            if told:
                waiting.add(signal.SIGSTOP if number == signal.SIGTSTP and session else number)
        if waiting and _hand_on(waiting, spec, pid):
            waiting.clear()
            tries = 0
        elif waiting:
            tries += 1
            if tries == TRIES:
                os.kill(pid, signal.SIGKILL)
        if number == signal.SIGTSTP:
            _stop_with_program()


def supervise(spec: LaunchSpec, joined: dict[int, int], doors: Sequence[int] = ()) -> Ended:
    """Carry out a settled LaunchSpec in this process's place and return how it ended.

    `joined` are open namespaces for bwrap: {number in the arguments: descriptor}; `doors` are descriptors through
    which bwrap enters its control groups (`cgroup.Group.doors`). The caller's session keyring is left for good.
    Raises LaunchFailed when something cannot be opened.
    """
    try:
        process.new_session_keyring()
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.EPERM):  # nobody can use keys here
            raise LaunchFailed(f"cannot leave the session keyring: {error.strerror}") from error
    # The program starts with no signal ignored: instead, what was started by nohup(1) gets a session of its own.
    nohup = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    session = spec.newsession or nohup
    leases = [lease(path) for path in spec.leases]
    try:
        placed = _prepare(spec, joined, nohup=nohup)
        reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        why = (error.strerror or "").lower()
        raise LaunchFailed(
            f"cannot open '{error.filename or spec.starter}' for the sandbox: {why}"
        ) from error
    above = FIRST_FD + len(spec.descriptors)
    placed[above + 1] = _high(writer, above + 2)
    # The order of the helper, which every starter reads: redpak-join knows the first option nowhere else.
    argv = [spec.starter, "--json-status-fd", str(above + 1), "--args", str(above), "--", *spec.program]
    terminal = Terminal()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # a caller that ignores it would have us see no child's end
    before = signal.pthread_sigmask(signal.SIG_BLOCK, CAUGHT)
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        try:
            _child(spec, placed, argv, parent, doors)
        except OSError as error:
            os.write(2, f"redpak: error: cannot start '{argv[0]}': {error.strerror}\n".encode())
        finally:
            os._exit(125)
    try:
        for fd in placed.values():
            os.close(fd)
        try:
            trace.seize(pid)  # lest a ^C that the program handles kills bwrap, and bwrap the program
        except OSError:
            pass  # forbidden here: then ^C ends the sandbox, as with bwrap alone
        ended = wait(pid, spec, session=session, nohup=nohup)
        code = _exit_code(reader)
    finally:
        os.close(reader)
        for fd in leases:
            os.close(fd)
        terminal.restore()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    bwrap = os.waitstatus_to_exitcode(ended)
    if code is None and (bwrap < 0 or bwrap > 128):  # a signal, before the program's exec
        code = 128 - bwrap if bwrap < 0 else bwrap
    return Ended(code=code, bwrap=bwrap)
