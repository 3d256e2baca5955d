"""ptrace(2), as far as a supervisor needs it: to keep signals from a child that would die of them."""

from __future__ import annotations

import ctypes

from redpak.kernel.libc import LIBC, check

PTRACE_CONT, PTRACE_SEIZE, PTRACE_O_EXITKILL = 7, 0x4206, 0x00100000


def _ptrace(request: int, pid: int, data: int) -> None:
    check(LIBC.ptrace(ctypes.c_long(request), pid, None, ctypes.c_void_p(data)))


def seize(pid: int) -> None:
    """Have the signals of our child `pid` reported to us before it gets them (waitpid then shows it stopped).

    It is killed when we die. Raises OSError: EPERM where ptrace is forbidden or somebody else traces it, ESRCH when it
    is gone. Source: ptrace(2), PTRACE_SEIZE; Linux 3.4, PTRACE_O_EXITKILL 3.8.
    """
    _ptrace(PTRACE_SEIZE, pid, PTRACE_O_EXITKILL)


def resume(pid: int, signal: int = 0) -> None:
    """Let a stopped tracee go on, with `signal` delivered (0: none).

    Raises OSError ESRCH when it is not stopped. Source: ptrace(2), PTRACE_CONT.
    """
    _ptrace(PTRACE_CONT, pid, signal)
