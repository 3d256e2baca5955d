"""The C library, its errors, and the numbers of the system calls that it has no function for.

Not for anything that `os` or `signal` already offer (memfd_create, pidfd_open, pidfd_send_signal, waitid, …).
"""

from __future__ import annotations

import ctypes
import os
import sys

LIBC = ctypes.CDLL(None, use_errno=True)

# Where a call has a fall-back that protects as well, or its caller then refuses, tests may take it away from whole
# programs: REDPAK_ENOSYS="clone3,open_tree". Calls that are themselves a protection (Landlock, keyrings) are not here.
DISPENSABLE = frozenset({
    "clone3", "close_range", "execveat", "fsconfig", "fsmount", "fsopen", "fspick", "listmount", "mount_setattr",
    "move_mount", "open_tree", "openat2", "pidfd_getfd", "seccomp", "statmount",
})  # fmt: skip

# name: (x86_64, aarch64); from the kernel's arch/x86/entry/syscalls/syscall_64.tbl and scripts/syscall.tbl
_OLD = {
    "bpf": (321, 280), "capget": (125, 90), "capset": (126, 91), "clone": (56, 220), "execveat": (322, 281),
    "ioprio_set": (251, 30), "keyctl": (250, 219), "pivot_root": (155, 41), "sched_setattr": (314, 274),
    "seccomp": (317, 277),
}  # fmt: skip
_NEW = {  # since 424 every machine has the same numbers
    "open_tree": 428, "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433,
    "clone3": 435, "close_range": 436, "openat2": 437, "pidfd_getfd": 438, "mount_setattr": 442,
    "landlock_create_ruleset": 444, "landlock_add_rule": 445, "landlock_restrict_self": 446,
    "statmount": 457, "listmount": 458,
}  # fmt: skip
_COLUMN = {"x86_64": 0, "amd64": 0, "aarch64": 1, "arm64": 1}


def _numbers() -> dict[str, int]:
    column = _COLUMN.get(os.uname().machine)
    if column is None or sys.maxsize < 1 << 32:
        return {}
    taken = DISPENSABLE.intersection(os.environ.get("REDPAK_ENOSYS", "").split(","))
    return {name: both[column] for name, both in _OLD.items()} | _NEW | dict.fromkeys(taken, -1)


NUMBERS = _numbers()  # a number of -1 makes the kernel itself answer ENOSYS

_call = LIBC.syscall
_call.restype = ctypes.c_long
# A void pointer takes integers of 64 bits, bytes, None and byref() alike, and is the quickest to convert.
_call.argtypes = (ctypes.c_long,) + (ctypes.c_void_p,) * 6
LIBC.ioctl.argtypes = (ctypes.c_int, ctypes.c_ulong, ctypes.c_void_p)


def number(name: str) -> int:
    """Return the number of a system call here. Raises OSError ENOSYS where the table does not know it."""
    try:
        return NUMBERS[name]
    except KeyError:
        import errno

        machine = os.uname().machine
        raise OSError(errno.ENOSYS, f"the number of system call {name} is not known on {machine}") from None


def check(result: int, path: str | None = None) -> int:
    """Return `result`, or raise OSError with the C library's errno when it is negative."""
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), path)
    return result


def syscall(
    name: str, a: object = 0, b: object = 0, c: object = 0, d: object = 0, e: object = 0, f: object = 0, *,
    path: str | None = None,
) -> int:  # fmt: skip
    """Call the kernel with integers, bytes (a pointer to them), None or ctypes.byref(). Raises OSError."""
    return check(_call(number(name), a, b, c, d, e, f), path)


def ioctl(fd: int, request: int, argument: object = 0, path: str | None = None) -> int:
    """Call ioctl(2) with an integer, bytes or ctypes.byref(). Raises OSError."""
    return check(LIBC.ioctl(fd, request, argument), path)


def exists(name: str) -> bool:
    """Tell whether the kernel knows a call, by calling it with descriptors and flags that no call takes."""
    import errno

    try:
        syscall(name, -1, -1, -1, -1, -1, -1)
    except OSError as error:
        return error.errno != errno.ENOSYS
    return True
