"""Mounts of this process's own mount namespace: overlays, binds, memory.

Not for what a sandbox shows: bubblewrap mounts that.
"""

from __future__ import annotations

import ctypes
import os

from redpak.kernel.libc import LIBC, check

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_REMOUNT = 32
MS_BIND = 4096
MS_REC = 16384
MS_PRIVATE = 1 << 18
MNT_DETACH = 2


def _mount(source: str, target: str, kind: str, flags: int, data: str) -> None:
    check(
        LIBC.mount(
            ctypes.c_char_p(os.fsencode(source)),
            ctypes.c_char_p(os.fsencode(target)),
            ctypes.c_char_p(kind.encode()),
            ctypes.c_ulong(flags),
            ctypes.c_char_p(os.fsencode(data)),
        ),
        target,
    )


def keep_private() -> None:
    """Let no mount of this namespace be seen in another one, nor theirs in ours.

    Raises OSError EPERM without CAP_SYS_ADMIN over the namespace. Source: mount_namespaces(7), MS_PRIVATE.
    """
    _mount("none", "/", "", MS_REC | MS_PRIVATE, "")


def tmpfs(at: str, *, mode: int = 0o755) -> None:
    """Mount a memory file system at a directory, without set-uid programs and devices.

    Raises OSError: EPERM without CAP_SYS_ADMIN. Source: tmpfs(5).
    """
    _mount("tmpfs", at, "tmpfs", MS_NOSUID | MS_NODEV, f"mode={mode:o}")


def bind(source: str, at: str, *, recursive: bool = False) -> None:
    """Show the file or directory `source` at `at`, which must be of the same kind.

    Raises OSError: EPERM without CAP_SYS_ADMIN, ENOTDIR when the kinds differ, EINVAL in a user namespace for a
    directory with locked mounts beneath it (then `recursive`). Source: mount(2), MS_BIND.
    """
    _mount(source, at, "", MS_BIND | (MS_REC if recursive else 0), "")


def overlay(at: str, options: str) -> None:
    """Mount an overlay; `options` as in the kernel's documentation: at most 4095 bytes, relative paths allowed.

    Raises OSError: ELOOP when a layer lies in another one, EINVAL when the upper directory's file system cannot be
    one (overlayfs, NFS) or an option is not known, EPERM without CAP_SYS_ADMIN (in a user namespace: before
    Linux 5.11). Source: Documentation/filesystems/overlayfs.rst.
    """
    _mount("overlay", at, "overlay", MS_NOSUID | MS_NODEV, options)


def detach(at: str) -> None:
    """Take the mount at `at` away, and everything beneath it, now from sight and for good when nobody uses it.

    Raises OSError: EINVAL when it is no mount point. Source: umount2(2), MNT_DETACH.
    """
    check(LIBC.umount2(ctypes.c_char_p(os.fsencode(at)), ctypes.c_int(MNT_DETACH)), at)


def sync_filesystem(fd: int) -> None:
    """Write the file system that holds `fd` out to its disk, and wait for it.

    Raises OSError: EIO, ENOSPC, EDQUOT when something could not be written. Source: syncfs(2).
    """
    check(LIBC.syncfs(ctypes.c_int(fd)))
