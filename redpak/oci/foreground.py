"""Stay with a program that runs: hand on signals and the terminal, reap what is left to us, return its exit code."""

from __future__ import annotations

import os

from redpak.errors import RedpakError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import select
    import signal as _signal
    from collections.abc import Callable

    from redpak.engine.native.start import Running
else:
    import _signal  # what `signal` is made of: that one imports enum, which takes longer than all the rest

CHUNK = 65536
# Those that the kernel sends us for what we do ourselves, and those that nobody can hand on.
_OURS = ("SIGCHLD", "SIGKILL", "SIGSTOP", "SIGPIPE", "SIGURG", "SIGWINCH", "SIGTTIN", "SIGTTOU")
_FAULTS = ("SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGTRAP", "SIGABRT", "SIGSYS")


class Attached:
    """One running program that this process stays with; `master` is its terminal's, -1 without one."""

    def __init__(self, running: Running, master: int) -> None:
        self.running = running
        self.master = master
        self.signals = _signal
        self.saved: list[object] | None = None
        self.status: int | None = None
        self.to_master = b""
        self.watched: dict[int, Callable[[], bool]] = {}
        self.wake, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        _signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        for number in sorted(_signal.valid_signals()):
            _signal.signal(number, _noted) if self._handed_on(number) else None
        _signal.signal(_signal.SIGCHLD, _noted)
        if master >= 0:
            _signal.signal(_signal.SIGWINCH, _noted)
            os.set_blocking(master, False)

    def _handed_on(self, number: int) -> bool:
        names = (*_OURS, *_FAULTS)
        return all(number != getattr(self.signals, name) for name in names) and number not in (32, 33)

    def watch(self, fd: int, heard: Callable[[], bool]) -> None:
        """Call `heard` whenever there is something to read, until it says that it is done with the descriptor."""
        self.watched[fd] = heard

    def wait(self) -> int:
        """Return the program's exit code, 128 + n when signal n ended it."""
        import select

        try:
            self._raw()
            poll = select.poll()
            poll.register(self.wake, select.POLLIN)
            if self.master >= 0:
                poll.register(self.master, select.POLLIN)
                poll.register(0, select.POLLIN)
            for fd in self.watched:
                poll.register(fd, select.POLLIN)
            self._reap()
            while self.status is None:
                for fd, kinds in poll.poll():
                    if fd == self.wake:
                        self._signals()
                    elif fd in self.watched:
                        if self.watched[fd]():
                            poll.unregister(fd)
                    elif fd == 0:
                        self._input(poll)
                    elif kinds & select.POLLOUT:
                        self._feed(poll)
                    elif not self._output():
                        poll.unregister(self.master)
            while self.master >= 0 and self._output():
                pass  # what the program wrote last
        finally:
            self._cooked()
        code = os.waitstatus_to_exitcode(self.status)
        return code if code >= 0 else 128 - code

    def _reap(self) -> None:
        """Take the end of the program, and of the orphans that are ours as their sub-reaper."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                if self.status is None:
                    raise RedpakError(
                        "somebody else has waited for the program: its exit code is lost"
                    ) from None
                return
            if pid == 0:
                return
            if pid == self.running.pid:
                self.status = status

    def _signals(self) -> None:
        try:
            numbers = os.read(self.wake, 512)
        except BlockingIOError:
            return
        for number in numbers:
            if number == self.signals.SIGCHLD:
                self._reap()
            elif number == self.signals.SIGWINCH:
                resize(self.master)
            elif self.status is None:
                try:
                    self.signals.pidfd_send_signal(self.running.pidfd, number)
                except OSError:
                    pass  # it ended just now, or takes no signal from us

    def _input(self, poll: select.poll) -> None:
        try:
            data = os.read(0, CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            poll.unregister(0)
            self.to_master += b"\x04" if self.saved is None else b""  # the end of a pipe is ^D to a terminal
        self.to_master += data
        self._feed(poll)

    def _feed(self, poll: select.poll) -> None:
        """Write what the terminal takes; while it takes no more, read no more."""
        import select

        try:
            while self.to_master:
                self.to_master = self.to_master[os.write(self.master, self.to_master) :]
        except BlockingIOError:
            poll.modify(self.master, select.POLLIN | select.POLLOUT)
            return
        except OSError:
            self.to_master = b""
        try:
            poll.modify(self.master, select.POLLIN)
        except FileNotFoundError:
            pass  # the terminal was closed

    def _output(self) -> bool:
        """Copy a piece to standard output; tell whether there may be more."""
        try:
            data = os.read(self.master, CHUNK)
        except BlockingIOError:
            return self.status is None
        except OSError:  # EIO: the last program closed the terminal
            return False
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(1, view) :]
            except BlockingIOError:
                import select

                waiting = select.poll()
                waiting.register(1, select.POLLOUT)
                waiting.poll()
            except OSError:
                return bool(data)  # nobody reads it: the program goes on
        return bool(data)

    def _raw(self) -> None:
        """Have our own terminal pass every key through."""
        if self.master < 0 or not os.isatty(0):
            return
        import termios

        saved = termios.tcgetattr(0)
        self.saved = list(saved)
        raw = [*saved[:6], list(saved[6])]
        raw[0] &= ~(
            termios.IGNBRK | termios.BRKINT | termios.PARMRK | termios.ISTRIP
            | termios.INLCR | termios.IGNCR | termios.ICRNL | termios.IXON
        )  # fmt: skip
        raw[1] &= ~termios.OPOST
        raw[2] = raw[2] & ~(termios.CSIZE | termios.PARENB) | termios.CS8
        raw[3] &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
        raw[6][termios.VMIN], raw[6][termios.VTIME] = 1, 0
        termios.tcsetattr(0, termios.TCSANOW, raw)

    def _cooked(self) -> None:
        if self.saved is not None:
            import termios

            termios.tcsetattr(0, termios.TCSADRAIN, self.saved)  # type: ignore[arg-type]


def resize(master: int) -> None:
    """Give a program's terminal the size of ours."""
    if master < 0 or not os.isatty(0):
        return
    import fcntl
    import termios

    try:
        fcntl.ioctl(master, termios.TIOCSWINSZ, fcntl.ioctl(0, termios.TIOCGWINSZ, bytes(8)))
    except OSError:
        pass


def _noted(_number: int, _frame: object) -> None:
    """Do nothing: the number went into the pipe."""
