"""The user's terminal and a sandbox's: what is typed goes in, what comes out is shown, until the program ends."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import struct
import termios
import tty

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType

DRAIN_S = 0.2  # how long to read on what a program wrote last


def size() -> tuple[int, int]:
    """Return rows and columns of our terminal, zeros where there is none."""
    for fd in (0, 1, 2):
        try:
            rows, columns = struct.unpack("HHHH", fcntl.ioctl(fd, termios.TIOCGWINSZ, b"\0" * 8))[:2]
        except OSError:
            continue
        return rows, columns
    return 0, 0


def usable() -> bool:
    """Tell whether standard input and output are a terminal."""
    return os.isatty(0) and os.isatty(1)


class Relay:
    """Moves bytes between our terminal, in raw mode meanwhile, and the master of the sandbox's terminal."""

    def __init__(self, master: int) -> None:
        self.master = master
        self.modes = termios.tcgetattr(0)

    def __enter__(self) -> Relay:
        tty.setraw(0, termios.TCSADRAIN)  # what was typed ahead is for the program
        signal.signal(signal.SIGWINCH, self._resize)
        self._resize()
        return self

    def __exit__(self, *_error: object) -> None:
        signal.signal(signal.SIGWINCH, signal.SIG_DFL)
        termios.tcsetattr(0, termios.TCSADRAIN, self.modes)
        os.close(self.master)

    def _resize(self, _number: int = 0, _frame: FrameType | None = None) -> None:
        rows, columns = size()
        try:
            fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        except OSError:
            pass  # the program has ended

    def run(self, ended: int) -> None:
        """Go on until `ended` (a pidfd) is readable and all that was written is shown."""
        poll = select.poll()
        for fd in (0, self.master, ended):
            poll.register(fd, select.POLLIN)
        over = False
        while True:
            ready = dict(poll.poll(DRAIN_S * 1000 if over else None))
            if not ready:
                return
            if self.master in ready and not self._out():
                return
            if 0 in ready:
                self._in(poll)
            if ended in ready:
                poll.unregister(ended)
                poll.unregister(0) if not over else None
                over = True

    def _out(self) -> bool:
        try:
            data = os.read(self.master, 1 << 16)
        except OSError:  # EIO: nobody has the other end open any more
            return False
        _all(1, data)
        return bool(data)

    def _in(self, poll: select.poll) -> None:
        data = os.read(0, 1 << 12)
        if data:
            _all(self.master, data)
        else:
            poll.unregister(0)


def _all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
