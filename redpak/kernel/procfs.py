"""Files of /proc that are what they seem: of procfs, of the mount that we checked, over no symlink, under no mount.

Whoever can put a mount or a link on the way would else turn our write to a label, a map or a sysctl into another one
(CVE-2019-16884, CVE-2019-19921, CVE-2025-52881).
"""

from __future__ import annotations

import ctypes
import errno
import os

from redpak.kernel import files
from redpak.kernel.libc import LIBC, check

PROC_SUPER_MAGIC, PROC_ROOT_INO = 0x9FA0, 1
_SAFE = (
    files.RESOLVE_BENEATH | files.RESOLVE_NO_XDEV | files.RESOLVE_NO_SYMLINKS | files.RESOLVE_NO_MAGICLINKS
)


def filesystem(fd: int) -> int:
    """Return the magic number of the file system that an open descriptor is on. Source: fstatfs(2), f_type."""
    room = (ctypes.c_long * 32)()
    check(LIBC.fstatfs(fd, ctypes.byref(room)))
    return room[0] & 0xFFFFFFFF


def root(at: str = "/proc") -> int:
    """Open the root of the procfs that is mounted at `at`.

    Raises OSError: EXDEV when it is another file system or not the root of one, else as open(2). Source: proc(5).
    """
    fd = os.open(at, files.O_PLACE | os.O_NOFOLLOW)
    if filesystem(fd) != PROC_SUPER_MAGIC or os.fstat(fd).st_ino != PROC_ROOT_INO:
        os.close(fd)
        raise OSError(errno.EXDEV, "it is no procfs", at)
    return fd


def open_beneath(proc: int, path: str, flags: int) -> int:
    """Open `path` ("sys/kernel/hostname", "self/attr/exec") beneath an open procfs.

    "self" and "thread-self" may be its first word. Raises OSError: EXDEV when something is mounted on the way, ELOOP
    for a symlink, ENOSYS where the kernel has neither openat2 nor mount ids in statx (before Linux 5.6), else as
    open(2). Source: openat2(2), RESOLVE_NO_XDEV.
    """
    first, slash, rest = path.partition("/")
    if first in ("self", "thread-self"):
        own = os.readlink(first, dir_fd=proc)
        if not own.replace("/task/", "").isdigit():
            raise OSError(errno.EXDEV, "it is no procfs", f"/proc/{first}")
        path = own + slash + rest
    return files.openat2(path, flags, _SAFE, directory=proc)


def write(proc: int, path: str, data: bytes) -> None:
    """Write `data` in one write(2) to a file beneath an open procfs; the file must exist.

    Raises OSError as open_beneath, and what the kernel says to the value (EINVAL, EPERM, ERANGE, …).
    """
    try:
        fd = open_beneath(proc, path, os.O_WRONLY)
        try:
            if os.write(fd, data) != len(data):
                raise OSError(errno.EINVAL, "the kernel took a part of the value only")
        finally:
            os.close(fd)
    except OSError as error:
        raise OSError(error.errno, error.strerror, f"/proc/{path}") from None


def read(proc: int, path: str, size_bytes: int = 65536) -> bytes:
    """Return the content of a file beneath an open procfs. Raises OSError as open_beneath."""
    fd = open_beneath(proc, path, os.O_RDONLY)
    try:
        return os.read(fd, size_bytes)
    finally:
        os.close(fd)


def sysctl(proc: int, name: str, value: str) -> None:
    """Set a kernel parameter ("net.ipv4.ip_forward"; with slashes where a name has dots). Raises OSError as write."""
    write(proc, "sys/" + name.translate({ord("."): "/", ord("/"): "."}), value.encode())
