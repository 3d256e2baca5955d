"""Fork straight into new namespaces and a cgroup, with a descriptor of the child: clone3(2), or clone(2) without it."""

from __future__ import annotations

import ctypes
import errno
import os
import struct

from redpak.kernel.libc import number, syscall

CLONE_PIDFD, CLONE_PARENT, CLONE_CLEAR_SIGHAND, CLONE_INTO_CGROUP = 1 << 12, 1 << 15, 1 << 32, 1 << 33
_CSIGNAL, SIGCHLD = 0xFF, 17

_BEFORE = ctypes.pythonapi.PyOS_BeforeFork
_PARENT = ctypes.pythonapi.PyOS_AfterFork_Parent
_CHILD = ctypes.pythonapi.PyOS_AfterFork_Child
_BEFORE.restype = _PARENT.restype = _CHILD.restype = None
# PyDLL keeps the interpreter's lock during the call, as os.fork does: the child must find itself holding it.
_call = ctypes.PyDLL(None, use_errno=True).syscall
_call.restype = ctypes.c_long
_call.argtypes = (ctypes.c_long,) + (ctypes.c_void_p,) * 6


def clone(
    flags: int = 0, *, exit_signal: int = SIGCHLD, cgroup: int = -1, set_tid: tuple[int, ...] = (),
    clear_signals: bool = False,
) -> tuple[int, int]:  # fmt: skip
    """Fork into the new namespaces of `flags` (CLONE_NEW*); returns (pid, pidfd), in the child (0, -1).

    CLONE_PARENT in `flags` makes the child a sibling: our parent reaps it and gets its signal. `cgroup`: a directory
    of cgroup2 in which the child begins. `set_tid`: its pids, from the innermost pid namespace out. `clear_signals`:
    handled signals are back at their defaults. The pidfd is close-on-exec.

    Only from a process with one thread, as os.fork. Raises OSError: EPERM without CAP_SYS_ADMIN for new namespaces
    (unless CLONE_NEWUSER is among them), EACCES, EBUSY or EOPNOTSUPP for a cgroup that takes no process, EEXIST for
    a pid in use, EAGAIN, ENOSPC as unshare; ENOSYS where only clone3 could do it (`cgroup`, `set_tid`,
    `clear_signals`, CLONE_NEWTIME) and the kernel has none.
    Source: clone(2); Linux 5.3, set_tid 5.5, clear_signals 5.5, cgroup 5.7; CLONE_PIDFD 5.2.
    """
    pidfd = ctypes.c_int(-1)
    if flags & CLONE_PARENT:
        exit_signal = 0  # it inherits our own; clone3 takes no other
    flags |= CLONE_PIDFD
    tids = (ctypes.c_int32 * len(set_tid))(*set_tid) if set_tid else None
    wide = flags | (CLONE_INTO_CGROUP if cgroup >= 0 else 0) | (CLONE_CLEAR_SIGHAND if clear_signals else 0)
    where = ctypes.addressof(tids) if tids else 0
    values = (wide, ctypes.addressof(pidfd), 0, 0, exit_signal, 0, 0, 0, where, len(set_tid), max(cgroup, 0))
    given = struct.pack("=11Q", *values)  # struct clone_args
    attempts: list[tuple[object, ...]] = [(number("clone3"), given, len(given), None)]
    if wide == flags and not set_tid and not flags & _CSIGNAL:
        attempts.append((number("clone"), flags | exit_signal, None, ctypes.byref(pidfd)))
    pid = code = -1
    _BEFORE()
    for attempt in attempts:
        pid = _call(*attempt, None, None, None)
        if pid == 0:
            _CHILD()
            return 0, -1
        code = ctypes.get_errno() if pid < 0 else 0
        if code != errno.ENOSYS:
            break
    _PARENT()
    if code:
        raise OSError(code, os.strerror(code))
    return pid, pidfd.value


def getfd(pidfd: int, fd: int) -> int:
    """Return our own copy, close-on-exec, of descriptor `fd` of the process behind `pidfd`.

    Raises OSError: EPERM where we could not trace it, EBADF, ESRCH when it has ended, ENOSYS before Linux 5.6.
    Source: pidfd_getfd(2); Linux 5.6.
    """
    return syscall("pidfd_getfd", pidfd, fd, 0)
