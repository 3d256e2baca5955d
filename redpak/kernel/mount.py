"""mount(2) and what belongs to it: mounts of this process's own mount namespace, and changing its root.

Not the newer calls (newmount.py), and not mounts at places that somebody else can rename (tree.py). All need
CAP_SYS_ADMIN over the mount namespace (EPERM).
"""

from __future__ import annotations

import ctypes
import errno
import os

from redpak.kernel.libc import LIBC, check, syscall

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_SYNCHRONOUS, MS_REMOUNT = 1, 2, 4, 8, 16, 32
MS_DIRSYNC, MS_NOSYMFOLLOW, MS_NOATIME, MS_NODIRATIME = 128, 256, 1024, 2048
MS_BIND, MS_MOVE, MS_REC, MS_SILENT = 1 << 12, 1 << 13, 1 << 14, 1 << 15
MS_UNBINDABLE, MS_PRIVATE, MS_SLAVE, MS_SHARED = 1 << 17, 1 << 18, 1 << 19, 1 << 20
MS_RELATIME, MS_STRICTATIME, MS_LAZYTIME = 1 << 21, 1 << 24, 1 << 25
PROPAGATION = MS_UNBINDABLE | MS_PRIVATE | MS_SLAVE | MS_SHARED
MNT_FORCE, MNT_DETACH, UMOUNT_NOFOLLOW = 1, 2, 8

LIBC.mount.argtypes = (ctypes.c_char_p,) * 3 + (ctypes.c_ulong, ctypes.c_char_p)
_bytes = os.fsencode


def mount(source: str, target: str, fstype: str = "", flags: int = 0, data: str = "") -> None:
    """Call mount(2): new mount, bind, move, remount or change of propagation, as `flags` (MS_*) say.

    Raises OSError: EPERM, also where an outer user namespace locks a flag; EINVAL for a bad option or combination,
    ENODEV for an unknown file system, ENOENT, ENOTDIR, EBUSY, ELOOP. Source: mount(2).
    """
    given = _bytes(data) if data else None
    check(LIBC.mount(_bytes(source), _bytes(target), fstype.encode(), flags, given), target)


def umount(at: str, flags: int = 0) -> None:
    """Take the topmost mount at `at` away. Raises OSError: EINVAL when it is none, EBUSY. Source: umount2(2)."""
    check(LIBC.umount2(_bytes(at), flags), at)


def detach(at: str) -> None:
    """Take the mount at `at` and all beneath it from sight now, and away when nobody uses it. As umount."""
    umount(at, MNT_DETACH)


def propagate(at: str, kind: int) -> None:
    """Set how mounts spread between `at` and its copies: MS_PRIVATE, _SLAVE, _SHARED or _UNBINDABLE (| MS_REC).

    Raises OSError EINVAL when `at` is no mount point. Source: mount_namespaces(7).
    """
    mount("none", at, "", kind)


def keep_private() -> None:
    """Let no mount of this namespace be seen in another one, nor theirs in ours. Raises OSError EPERM."""
    propagate("/", MS_REC | MS_PRIVATE)


def tmpfs(at: str, *, mode: int = 0o755) -> None:
    """Mount a memory file system at a directory, without set-uid programs and devices. Source: tmpfs(5)."""
    mount("tmpfs", at, "tmpfs", MS_NOSUID | MS_NODEV, f"mode={mode:o}")


def bind(source: str, at: str, *, recursive: bool = False) -> None:
    """Show the file or directory `source` at `at`, which must be of the same kind.

    Raises OSError: ENOTDIR when the kinds differ, EINVAL in a user namespace for a directory with locked mounts
    beneath it (then `recursive`). Source: mount(2), MS_BIND.
    """
    mount(source, at, "", MS_BIND | (MS_REC if recursive else 0))


def overlay(at: str, options: str) -> None:
    """Mount an overlay; `options` as in the kernel's documentation: at most 4095 bytes, relative paths allowed.

    Raises OSError: ELOOP when a layer lies in another one, EINVAL when the upper directory's file system cannot be
    one (overlayfs, NFS) or an option is not known, EPERM in a user namespace before Linux 5.11.
    Source: Documentation/filesystems/overlayfs.rst.
    """
    mount("overlay", at, "overlay", MS_NOSUID | MS_NODEV, options)


def pivot_root(new: str, old: str) -> None:
    """Make the mount at `new` the root of the mount namespace, and put the old root at `old`.

    Raises OSError: EINVAL when `new` is no mount point, its parent or the old root is shared, or the root is the
    initial ramfs; EBUSY when `new` is the root already. Source: pivot_root(2).
    """
    syscall("pivot_root", _bytes(new), _bytes(old), path=new)


def change_root(new: int) -> None:
    """Make the mount whose root directory is open as `new` our root, and let go of the old one entirely.

    Afterwards / and the working directory are the new root, and no path leads to the old one: it goes out of the
    namespace with all its mounts, unseen by any other. Raises OSError as pivot_root. Source: pivot_root(2), NOTES.
    """
    old = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fchdir(new)
        pivot_root(".", ".")
        os.fchdir(old)
        propagate(".", MS_REC | MS_SLAVE)  # or the detaching would reach the peers of the old root
        detach(".")
        while True:  # what went may have lain over the old root: a path leads to the topmost mount
            try:
                detach(".")
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                break  # it is out of the namespace
    finally:
        os.close(old)
    os.chdir("/")


def move_root(new: int) -> None:
    """Move the mount whose root directory is open as `new` over /, and change into it: for an initial ramfs only.

    The old root stays beneath it, so this holds nobody with CAP_SYS_CHROOT or CAP_SYS_ADMIN. Raises OSError EINVAL
    when `new` is no mount point or its parent is shared. Source: mount(2), MS_MOVE; chroot(2).
    """
    os.fchdir(new)
    mount(".", "/", "", MS_MOVE)
    os.chroot(".")
    os.chdir("/")


def sync_filesystem(fd: int) -> None:
    """Write the file system that holds `fd` out to its disk. Raises OSError EIO, ENOSPC, EDQUOT. Source: syncfs(2)."""
    check(LIBC.syncfs(fd))
