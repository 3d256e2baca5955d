"""Open paths without being led astray, and close what a program must not inherit."""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct

from redpak.kernel.libc import LIBC, check, syscall

AT_FDCWD, AT_EMPTY_PATH = -100, 0x1000
RESOLVE_NO_XDEV, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS = 0x01, 0x02, 0x04
RESOLVE_BENEATH, RESOLVE_IN_ROOT = 0x08, 0x10
CLOSE_RANGE_CLOEXEC = 1 << 2
STATX_MNT_ID, STATX_MNT_ID_UNIQUE = 0x1000, 0x4000
O_PLACE = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
LAST_FD = (1 << 32) - 1


def openat2(path: str, flags: int, resolve: int, *, directory: int = AT_FDCWD, mode: int = 0) -> int:
    """Open `path` under the rules of `resolve`; the descriptor is close-on-exec.

    Raises OSError: ELOOP when a symlink lies on the way and the rules forbid it, EXDEV when the path leaves
    `directory`, EAGAIN when a rename raced with RESOLVE_BENEATH, else as open(2); ENOSYS before Linux 5.6, unless the
    rules forbid symlinks and `path` has no "..": then every step is made by hand. Needs no right.
    Source: openat2(2); Linux 5.6.
    """
    how = struct.pack("=QQQ", flags | os.O_CLOEXEC, mode, resolve)
    try:
        return syscall("openat2", directory, os.fsencode(path), how, 24, path=path)
    except OSError as error:
        if error.errno != errno.ENOSYS or not resolve & RESOLVE_NO_SYMLINKS or ".." in path.split("/"):
            raise
    if path.startswith("/") and resolve & RESOLVE_BENEATH:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), path)
    top = "/" if path.startswith("/") and not resolve & RESOLVE_IN_ROOT else "."
    at = os.open(top, O_PLACE, dir_fd=None if directory == AT_FDCWD else directory)
    mount = mount_of(at) if resolve & RESOLVE_NO_XDEV else 0
    words = [word for word in path.split("/") if word not in ("", ".")] or ["."]
    for left, name in enumerate(words, 1 - len(words)):
        try:
            how_here = flags | os.O_NOFOLLOW | os.O_CLOEXEC if left == 0 else O_PLACE | os.O_NOFOLLOW
            down = os.open(name, how_here, mode, dir_fd=at)
        except OSError as error:  # a link where a directory must be says ENOTDIR
            linked = error.errno == errno.ENOTDIR and stat.S_ISLNK(os.lstat(name, dir_fd=at).st_mode)
            code = errno.ELOOP if linked else error.errno or 0
            raise OSError(code, os.strerror(code), path) from None
        finally:
            os.close(at)
        at = down
        link = flags & os.O_PATH and stat.S_ISLNK(os.fstat(at).st_mode) and not flags & os.O_NOFOLLOW
        if link or (resolve & RESOLVE_NO_XDEV and mount_of(at) != mount):
            os.close(at)
            code = errno.ELOOP if link else errno.EXDEV
            raise OSError(code, os.strerror(code), path)
    return at


def mount_of(fd: int) -> int:
    """Return the id of the mount that a descriptor is on, from the kernel and no file.

    Raises OSError ENOSYS before Linux 5.8. Source: statx(2), STATX_MNT_ID.
    """
    room = (ctypes.c_uint64 * 32)()
    check(LIBC.statx(fd, b"", AT_EMPTY_PATH, STATX_MNT_ID, ctypes.byref(room)))
    if not room[0] & STATX_MNT_ID:  # stx_mask
        raise OSError(errno.ENOSYS, "this kernel has neither openat2 nor mount ids")
    return room[18]  # stx_mnt_id, at byte 144


def unique_mount(fd: int) -> int:
    """Return the number, never used again, of the mount that a descriptor is on; 0 before Linux 6.8.

    Source: statx(2), STATX_MNT_ID_UNIQUE.
    """
    room = (ctypes.c_uint64 * 32)()
    check(LIBC.statx(fd, b"", AT_EMPTY_PATH, STATX_MNT_ID_UNIQUE, ctypes.byref(room)))
    return room[18] if room[0] & STATX_MNT_ID_UNIQUE else 0


def open_plain(path: str, flags: int) -> int:
    """Open an absolute path of which no component may be a symlink (ELOOP). See openat2."""
    return openat2(path, flags, RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS)


def close_range(first: int, last: int = LAST_FD, flags: int = 0) -> None:
    """Close every descriptor from `first` to `last`, or mark them close-on-exec (CLOSE_RANGE_CLOEXEC).

    Raises OSError EINVAL when last < first or a flag is unknown. Where the call is missing, /proc or the limit say how
    many there may be. Needs no right. Source: close_range(2); Linux 5.9, CLOEXEC 5.11.
    """
    try:
        syscall("close_range", first, last, flags)
        return
    except OSError as error:
        older = error.errno == errno.ENOSYS or (error.errno == errno.EINVAL and flags == CLOSE_RANGE_CLOEXEC)
        if last < first or not older:
            raise
    try:
        there = [int(name) for name in os.listdir("/proc/self/fd")]
    except FileNotFoundError:  # a sandbox without /proc, whose filter does not let the call through
        there = list(range(os.sysconf("SC_OPEN_MAX")))
    for fd in there:
        if first <= fd <= last:
            try:
                os.set_inheritable(fd, False) if flags else os.close(fd)  # noqa: FBT003 - os has it so
            except OSError:
                pass  # it was what listed the directory


def close_on_exec(keep: tuple[int, ...] = ()) -> None:
    """Mark every descriptor above 2 close-on-exec, except those in `keep`. Raises OSError as close_range."""
    first = 3
    for fd in sorted(set(keep)):
        if fd > first:
            close_range(first, fd - 1, CLOSE_RANGE_CLOEXEC)
        first = max(first, fd + 1)
    close_range(first, LAST_FD, CLOSE_RANGE_CLOEXEC)
