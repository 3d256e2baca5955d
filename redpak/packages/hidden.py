"""What of the host's own files no package sees: what the host does not show to everybody either.

Root's transactions have the host's `etc` and `var` as their lowest layer, and scriptlets run as root: without this
they could copy password hashes and private keys into the node, where every program of it reads them.
"""

from __future__ import annotations

import os
import stat

from redpak.packages import overlay

DEPTH = {"etc": 40, "var": 3}  # how far down is looked; beneath it all is as it is
READABLE = stat.S_IROTH
ENTERABLE = stat.S_IROTH | stat.S_IXOTH


def mask(top: str, source: str, to: str) -> None:
    """Make at `to` a layer that hides what others may not read in `source`: no file, an empty directory.

    `top` is 'etc' or 'var'. Call it as root, with `to` in memory. Raises OSError.
    """
    os.mkdir(to)
    dress(source, to)
    _mask(source, to, DEPTH[top])


def _mask(source: str, to: str, depth: int) -> None:
    for entry in os.scandir(source):
        try:
            at = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            continue
        if stat.S_ISLNK(at.st_mode):
            continue
        over = f"{to}/{entry.name}"
        if not stat.S_ISDIR(at.st_mode):
            if not at.st_mode & READABLE:
                os.mknod(over, stat.S_IFCHR, 0)
        elif at.st_mode & ENTERABLE != ENTERABLE:
            os.mkdir(over)
            dress(entry.path, over)
            overlay.make_opaque(over)
        elif depth > 1:
            os.mkdir(over)
            try:
                _mask(entry.path, over, depth - 1)
            except FileNotFoundError:
                pass  # it went while we looked
            if os.listdir(over):
                dress(entry.path, over)
            else:
                os.rmdir(over)


def dress(source: str, to: str) -> None:
    """Give a directory mode and owner of the one that it covers."""
    at = os.stat(source, follow_symlinks=False)
    os.chown(to, at.st_uid, at.st_gid)
    os.chmod(to, stat.S_IMODE(at.st_mode))
