"""The C library, its errors, and the numbers of the system calls that it has no function for.

Not for anything that `os` or `signal` already offer (memfd_create, pidfd_open, pidfd_send_signal, waitid, …).
"""

from __future__ import annotations

import ctypes
import os

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.syscall.restype = ctypes.c_long

_NUMBERS = {
    # name: (x86_64, aarch64); from the kernel's arch/x86/entry/syscalls/syscall_64.tbl and scripts/syscall.tbl
    "keyctl": (250, 219),
    "close_range": (436, 436),
    "openat2": (437, 437),
    "landlock_create_ruleset": (444, 444),
    "landlock_add_rule": (445, 445),
    "landlock_restrict_self": (446, 446),
}
_COLUMN = {"x86_64": 0, "amd64": 0, "aarch64": 1, "arm64": 1}


def number(name: str) -> int:
    """Return the number of a system call here. Raises OSError ENOSYS on a machine that the table does not know."""
    import errno

    column = _COLUMN.get(os.uname().machine)
    if column is None:
        raise OSError(errno.ENOSYS, f"the number of system call {name} is not known on {os.uname().machine}")
    return _NUMBERS[name][column]


def check(result: int, path: str | None = None) -> int:
    """Return `result`, or raise OSError with the C library's errno when it is negative."""
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), path)
    return result


def syscall(name: str, *arguments: object, path: str | None = None) -> int:
    """Call the kernel. Integers are passed as longs, everything else as ctypes passes it. Raises OSError."""
    given = [ctypes.c_long(one) if isinstance(one, int) else one for one in arguments]
    return check(int(LIBC.syscall(ctypes.c_long(number(name)), *given)), path)
