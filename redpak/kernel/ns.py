"""Namespaces: join one, or leave into a new one."""

from __future__ import annotations

import ctypes
import os

from redpak.kernel.libc import LIBC, check

CLONE_NEWTIME = 0x00000080
CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

FLAGS = {
    "cgroup": CLONE_NEWCGROUP,
    "ipc": CLONE_NEWIPC,
    "mount": CLONE_NEWNS,
    "net": CLONE_NEWNET,
    "pid": CLONE_NEWPID,
    "time": CLONE_NEWTIME,
    "user": CLONE_NEWUSER,
    "uts": CLONE_NEWUTS,
}


def setns(fd: int, kind: str, path: str = "") -> None:
    """Join the namespace of `kind` ("net", …) that descriptor `fd` refers to; `path` is for the error only.

    Raises OSError: EINVAL when it is of another kind (or our own user namespace), EPERM without CAP_SYS_ADMIN over
    it. Source: setns(2); Linux 3.0, time 5.6.
    """
    check(LIBC.setns(ctypes.c_int(fd), ctypes.c_int(FLAGS[kind])), path or None)


def unshare(flags: int) -> None:
    """Move this process (for pid and time: its later children) into new namespaces.

    Raises OSError: EPERM without CAP_SYS_ADMIN, unless CLONE_NEWUSER is among them; ENOSPC when the limit of
    /proc/sys/user is reached; EINVAL when the kernel lacks the kind. Source: unshare(2).
    """
    check(LIBC.unshare(ctypes.c_int(flags)))


def unshare_as(uid: int, gid: int, flags: int) -> None:
    """Unshare `flags` inside a new user namespace in which our user and group are called `uid` and `gid`.

    Raises OSError: EPERM where user namespaces are forbidden, or as unshare. Source: user_namespaces(7).
    """
    user, group = os.geteuid(), os.getegid()
    unshare(flags | CLONE_NEWUSER)
    for name, line in (
        ("setgroups", "deny"),
        ("uid_map", f"{uid} {user} 1"),
        ("gid_map", f"{gid} {group} 1"),
    ):
        fd = os.open(f"/proc/self/{name}", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, line.encode())
        finally:
            os.close(fd)


def unshare_as_myself(flags: int) -> None:
    """Unshare `flags` inside a new user namespace in which our user and group are what they were before."""
    unshare_as(os.geteuid(), os.getegid(), flags)
