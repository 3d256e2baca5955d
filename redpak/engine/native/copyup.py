"""Begin a memory file system with what lay beneath it (the mount option 'tmpcopyup' of runc and crun)."""

from __future__ import annotations

import os
import stat

CHUNK = 1 << 20


def copy_up(lower: int, upper: int) -> None:
    """Copy what is in the directory open as `lower` into the one open as `upper`: files, directories, symlinks.

    Modes and owners go along; other kinds of files (devices, sockets) are left out. Raises OSError: ENOSPC, EPERM for
    an owner that is not mapped here.
    """
    at = os.fstat(lower)
    target = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=upper)
    try:
        os.fchmod(target, stat.S_IMODE(at.st_mode))
        os.fchown(target, at.st_uid, at.st_gid)
        _copy(lower, target)
    finally:
        os.close(target)


def _copy(lower: int, upper: int) -> None:
    for name in os.listdir(lower):
        at = os.stat(name, dir_fd=lower, follow_symlinks=False)
        if stat.S_ISLNK(at.st_mode):
            os.symlink(os.readlink(name, dir_fd=lower), name, dir_fd=upper)
            os.chown(name, at.st_uid, at.st_gid, dir_fd=upper, follow_symlinks=False)
        elif stat.S_ISDIR(at.st_mode):
            os.mkdir(name, 0o700, dir_fd=upper)
            how = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            below, above = os.open(name, how, dir_fd=lower), os.open(name, how, dir_fd=upper)
            try:
                _copy(below, above)
                os.fchown(above, at.st_uid, at.st_gid)
                os.fchmod(above, stat.S_IMODE(at.st_mode))
            finally:
                os.close(below)
                os.close(above)
        elif stat.S_ISREG(at.st_mode):
            how = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            source = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=lower)
            into = os.open(name, how, 0o600, dir_fd=upper)
            try:
                while os.sendfile(into, source, None, CHUNK):
                    pass
                os.fchown(into, at.st_uid, at.st_gid)
                os.fchmod(into, stat.S_IMODE(at.st_mode))
            finally:
                os.close(source)
                os.close(into)
