"""A new file tree out of the old one and what an overlay collected: unchanged files stay the same inode.

Files of the old tree are linked, those of the upper layer are moved, whiteouts leave out. The old tree is only read.
Nothing here may run while the overlay is mounted.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from typing import TYPE_CHECKING

from redpak.packages import overlay

if TYPE_CHECKING:
    from collections.abc import Callable

    Keep = Callable[[str], bool]  # asked for an empty directory: is it wanted?

SET_ID = stat.S_ISUID | stat.S_ISGID
CAPABILITIES = "security.capability"
CANNOT_LINK = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EACCES)


def flatten(old: str, upper: str, new: str, keep: Keep, inner: str = "") -> None:
    """Make the directory `new` of the directory `old` ('' = none) with `upper` ('' = none) over it.

    `inner` is what the view calls it ('/usr'). An empty directory of the upper layer that the old tree does not have
    stays only if `keep` wants it. Files of `upper` are moved out of it. Raises OSError.
    """
    source = upper or old
    os.mkdir(new, 0o700)
    above = {entry.name: entry for entry in os.scandir(upper)} if upper else {}
    below = {}
    if old and not (upper and overlay.is_opaque(upper)):
        below = {entry.name: entry for entry in os.scandir(old)}
    for name in sorted(above.keys() | below.keys()):
        over, under = above.get(name), below.get(name)
        at, called = f"{new}/{name}", f"{inner}/{name}"
        if over is None:
            assert under is not None
            if under.is_dir(follow_symlinks=False):
                flatten(under.path, "", at, keep, called)
            else:
                link(under.path, at)
        elif overlay.is_whiteout(over.stat(follow_symlinks=False)):
            continue
        elif over.is_dir(follow_symlinks=False):
            lower = under.path if under is not None and under.is_dir(follow_symlinks=False) else ""
            if lower:
                flatten(lower, over.path, at, keep, called)
            else:
                lift(over.path, at, keep, called)
        else:
            settle(over.path)
            os.rename(over.path, at)
    like(source, new)


def lift(upper: str, new: str, keep: Keep, inner: str) -> None:
    """Move a directory that only the upper layer has, with all that is in it. See flatten."""
    if clean(upper, keep, inner) or keep(inner):
        os.rename(upper, new)


def clean(upper: str, keep: Keep, inner: str) -> bool:
    """Remove whiteouts, overlayfs's marks and unwanted empty directories; tell whether anything is left."""
    left = False
    for entry in list(os.scandir(upper)):
        at = entry.stat(follow_symlinks=False)
        if overlay.is_whiteout(at):
            os.unlink(entry.path)
        elif stat.S_ISDIR(at.st_mode):
            if clean(entry.path, keep, f"{inner}/{entry.name}") or keep(f"{inner}/{entry.name}"):
                left = True
            else:
                os.rmdir(entry.path)
        else:
            settle(entry.path)
            left = True
    at = os.stat(upper)
    overlay.wipe_marks(upper)
    os.utime(upper, ns=(at.st_atime_ns, at.st_mtime_ns))
    return left


def settle(path: str) -> None:
    """Make a file of the upper layer one that can stay: without overlayfs's marks, and with nobody's rights.

    A sandbox runs no set-user-id program and gives no file capabilities; outside of it, whoever can reach the node
    could run them with the rights of who installed them. What a package wants is in the database. Raises OSError.
    """
    overlay.wipe_marks(path)
    at = os.lstat(path)
    if not stat.S_ISREG(at.st_mode):
        return
    if at.st_mode & SET_ID:
        os.chmod(path, stat.S_IMODE(at.st_mode) & ~SET_ID)
    try:
        os.removexattr(path, CAPABILITIES, follow_symlinks=False)
    except OSError as error:
        if error.errno not in (errno.ENODATA, errno.EOPNOTSUPP):
            raise


def link(source: str, to: str) -> None:
    """Make a hard link; a copy where the kernel forbids one. Raises OSError."""
    try:
        os.link(source, to, follow_symlinks=False)
    except OSError as error:
        if error.errno not in CANNOT_LINK:
            raise
        copy(source, to)


def copy(source: str, to: str) -> None:
    """Copy a file, symbolic link or device with owner, mode, times and extended attributes. Raises OSError."""
    at = os.lstat(source)
    if stat.S_ISREG(at.st_mode):
        shutil.copyfile(source, to, follow_symlinks=False)
    elif stat.S_ISLNK(at.st_mode):
        os.symlink(os.readlink(source), to)
    else:
        os.mknod(to, at.st_mode, at.st_rdev)
    like(source, to)


def like(source: str, to: str) -> None:
    """Give a file or directory the owner, mode, extended attributes and times of another. Raises OSError."""
    at = os.lstat(source)
    link_ = stat.S_ISLNK(at.st_mode)
    mine = os.lstat(to)
    if (mine.st_uid, mine.st_gid) != (at.st_uid, at.st_gid):
        try:
            os.chown(to, at.st_uid, at.st_gid, follow_symlinks=False)
        except OSError:
            pass  # not ours to give: it stays ours
    if not link_:
        for name in os.listxattr(source, follow_symlinks=False):
            if not name.startswith(overlay.MARKS):
                try:
                    os.setxattr(
                        to, name, os.getxattr(source, name, follow_symlinks=False), follow_symlinks=False
                    )
                except OSError:
                    continue  # another file system, or a label that only the kernel gives
        os.chmod(to, stat.S_IMODE(at.st_mode))
    os.utime(to, ns=(at.st_atime_ns, at.st_mtime_ns), follow_symlinks=False)
