"""Open paths without being led astray, and close what a program must not inherit."""

from __future__ import annotations

import ctypes
import os

from redpak.kernel.libc import syscall

AT_FDCWD = -100
RESOLVE_NO_XDEV = 0x01
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10

CLOSE_RANGE_UNSHARE = 1 << 1
CLOSE_RANGE_CLOEXEC = 1 << 2

LAST_FD = (1 << 32) - 1


class _OpenHow(ctypes.Structure):
    """struct open_how of linux/openat2.h."""

    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def openat2(path: str, flags: int, resolve: int, *, directory: int = AT_FDCWD, mode: int = 0) -> int:
    """Open `path` under the rules of `resolve`; the descriptor is close-on-exec.

    Raises OSError: ELOOP when a symlink lies on the way and the rules forbid it, EXDEV when the path leaves
    `directory`, EAGAIN when a rename raced with RESOLVE_BENEATH, ENOSYS before Linux 5.6, else as open(2).
    Needs no right. Source: openat2(2); Linux 5.6.
    """
    how = _OpenHow(flags | os.O_CLOEXEC, mode, resolve)
    given = os.fsencode(path)
    return syscall("openat2", directory, given, ctypes.byref(how), ctypes.sizeof(how), path=path)


def open_plain(path: str, flags: int) -> int:
    """Open an absolute path of which no component may be a symlink (ELOOP). See openat2."""
    return openat2(path, flags, RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS)


def close_range(first: int, last: int = LAST_FD, flags: int = 0) -> None:
    """Close every descriptor from `first` to `last`, or mark them close-on-exec (CLOSE_RANGE_CLOEXEC).

    Raises OSError: EINVAL when last < first or a flag is unknown, ENOSYS before Linux 5.9. Needs no right.
    Source: close_range(2); Linux 5.9, CLOEXEC 5.11.
    """
    syscall("close_range", first, last, flags)


def close_on_exec(keep: tuple[int, ...] = ()) -> None:
    """Mark every descriptor above 2 close-on-exec, except those in `keep`. Raises OSError as close_range."""
    first = 3
    for fd in sorted(set(keep)):
        if fd > first:
            close_range(first, fd - 1, CLOSE_RANGE_CLOEXEC)
        first = max(first, fd + 1)
    close_range(first, LAST_FD, CLOSE_RANGE_CLOEXEC)
