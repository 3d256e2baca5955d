"""Namespaces: join one, leave into a new one, ask about one, and map the ids of a user namespace."""

from __future__ import annotations

import os

from redpak.kernel.libc import LIBC, check, ioctl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    Ids = Sequence[tuple[int, int, int]]  # inside, outside, count

CLONE_NEWTIME, CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS = 0x80, 0x00020000, 0x02000000, 0x04000000
CLONE_NEWIPC, CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x08000000, 0x10000000, 0x20000000, 0x40000000
FLAGS = {
    "cgroup": CLONE_NEWCGROUP, "ipc": CLONE_NEWIPC, "mount": CLONE_NEWNS, "net": CLONE_NEWNET, "pid": CLONE_NEWPID,
    "time": CLONE_NEWTIME, "user": CLONE_NEWUSER, "uts": CLONE_NEWUTS,
}  # fmt: skip
FILES = {kind: "mnt" if kind == "mount" else kind for kind in FLAGS}  # the names in /proc/PID/ns
NS_GET_USERNS, NS_GET_PARENT, NS_GET_NSTYPE = 0xB701, 0xB702, 0xB703


def setns(fd: int, kind: str, path: str = "") -> None:
    """Join the namespace of `kind` ("net", …) that descriptor `fd` refers to; `path` is for the error only.

    Raises OSError: EINVAL when it is of another kind (or our own user namespace), EPERM without CAP_SYS_ADMIN over
    it. Source: setns(2); Linux 3.0, time 5.6.
    """
    check(LIBC.setns(fd, FLAGS[kind]), path or None)


def join(pidfd: int, flags: int) -> None:
    """Join the namespaces of all kinds in `flags` (CLONE_NEW*) of the process behind `pidfd`, all or none.

    Joining a pid namespace is for our later children. Raises OSError: ESRCH when it has ended, EINVAL when the user
    namespace is our own already, EPERM without CAP_SYS_ADMIN over each of them. Source: setns(2); Linux 5.8.
    """
    check(LIBC.setns(pidfd, flags))


def unshare(flags: int) -> None:
    """Move this process (for pid and time: its later children) into new namespaces.

    Raises OSError: EPERM without CAP_SYS_ADMIN, unless CLONE_NEWUSER is among them; ENOSPC when the limit of
    /proc/sys/user is reached; EINVAL when the kernel lacks the kind. Source: unshare(2).
    """
    check(LIBC.unshare(flags))


def unshare_as(uid: int, gid: int, flags: int) -> None:
    """Unshare `flags` inside a new user namespace in which our user and group are called `uid` and `gid`.

    Raises OSError: EPERM where user namespaces are forbidden, or as unshare. Source: user_namespaces(7).
    """
    user, group = os.geteuid(), os.getegid()
    unshare(flags | CLONE_NEWUSER)
    write_maps("self", [(uid, user, 1)], [(gid, group, 1)], deny_setgroups=True)


def unshare_as_myself(flags: int) -> None:
    """Unshare `flags` inside a new user namespace in which our user and group are what they were before."""
    unshare_as(os.geteuid(), os.getegid(), flags)


def write_maps(pid: int | str, uids: Ids, gids: Ids, *, deny_setgroups: bool = False) -> None:
    """Write the id maps of the user namespace of process `pid`: (inside, outside, count), once for good.

    An empty list leaves that map unwritten. Raises OSError: EPERM without CAP_SETUID and CAP_SETGID over the parent
    namespace (except for one id, our own, and then gids only with `deny_setgroups`), or when it is written already;
    EINVAL for overlapping ranges or more than 340 lines. Source: user_namespaces(7).
    """
    from redpak.kernel import procfs

    proc = procfs.root()
    try:
        if deny_setgroups:
            procfs.write(proc, f"{pid}/setgroups", b"deny")
        for name, ids in (("uid_map", uids), ("gid_map", gids)):
            if ids:
                lines = [f"{inside} {outside} {count}\n" for inside, outside, count in ids]
                procfs.write(proc, f"{pid}/{name}", "".join(lines).encode())
    finally:
        os.close(proc)


def set_offsets(offsets: Sequence[tuple[str, int, int]]) -> None:
    """Set the clocks ("monotonic", "boottime") of the time namespace that our children will be in.

    Each is (clock, seconds, nanoseconds) from the clock outside. Call it after unshare(CLONE_NEWTIME) and before the
    first child. Raises OSError: EACCES when a process is in it already, ERANGE, EPERM without CAP_SYS_TIME over it.
    Source: time_namespaces(7); Linux 5.6.
    """
    from redpak.kernel import procfs

    proc = procfs.root()
    try:
        lines = [f"{clock} {seconds} {nanoseconds}\n" for clock, seconds, nanoseconds in offsets]
        procfs.write(proc, "self/timens_offsets", "".join(lines).encode())
    finally:
        os.close(proc)


def userns_with(uids: Ids, gids: Ids) -> int:
    """Return a descriptor of a new user namespace with those maps, for an idmapped mount; no process stays in it.

    Raises OSError as unshare and write_maps. Source: mount_setattr(2), MOUNT_ATTR_IDMAP.
    """
    from redpak.kernel import clone

    gate_read, gate = os.pipe2(os.O_CLOEXEC)
    try:
        pid, pidfd = clone.clone(CLONE_NEWUSER)
        if pid == 0:  # only there to hold the namespace until it is open
            try:
                os.close(gate)
                os.read(gate_read, 1)
            finally:
                os._exit(0)
    except BaseException:
        os.close(gate)
        raise
    finally:
        os.close(gate_read)
    try:
        write_maps(pid, uids, gids)
        return os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(gate)
        os.close(pidfd)
        os.waitpid(pid, 0)


def set_domain(name: str) -> None:
    """Set our uts namespace's domain name. Raises OSError EPERM without CAP_SYS_ADMIN. Source: setdomainname(2)."""
    given = os.fsencode(name)
    check(LIBC.setdomainname(given, len(given)))


def kind_of(fd: int) -> str:
    """Return a namespace's kind ("net", …). Raises OSError ENOTTY. Source: NS_GET_NSTYPE(2const); Linux 4.11."""
    flag = ioctl(fd, NS_GET_NSTYPE) & 0xFFFFFFFF
    return next(kind for kind, value in FLAGS.items() if value == flag)


def owner_of(fd: int) -> int:
    """Return a namespace's user namespace. Raises OSError EPERM for one outside. Source: NS_GET_USERNS(2const)."""
    return ioctl(fd, NS_GET_USERNS)


def parent_of(fd: int) -> int:
    """Return a pid or user namespace's parent. Raises OSError as owner_of, EINVAL. Source: NS_GET_PARENT(2const)."""
    return ioctl(fd, NS_GET_PARENT)
