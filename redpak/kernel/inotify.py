"""inotify(7): hear of changes of directories and files. Not for network file systems: others' changes are not told."""

from __future__ import annotations

import os
import struct

from redpak.kernel.libc import LIBC, check

IN_MODIFY, IN_MOVED_FROM, IN_MOVED_TO, IN_CREATE, IN_DELETE, IN_MOVE_SELF = (
    0x2,
    0x40,
    0x80,
    0x100,
    0x200,
    0x800,
)
IN_Q_OVERFLOW = 0x4000  # events were lost: look at everything again
_HEAD = struct.Struct("iIII")


def init() -> int:
    """Return a new inotify descriptor, close-on-exec; reading it waits.

    Raises OSError EMFILE where the user has too many (fs.inotify.max_user_instances). Source: inotify_init1(2).
    """
    return check(LIBC.inotify_init1(os.O_CLOEXEC))


def add_watch(fd: int, path: str, mask: int) -> int:
    """Watch the inode that `path` leads to; return the watch's number.

    Raises OSError: ENOENT when nothing is there, EACCES when it may not be read, ENOSPC when the user has too many
    (fs.inotify.max_user_watches). Source: inotify_add_watch(2).
    """
    return check(LIBC.inotify_add_watch(fd, os.fsencode(path), mask), path)


def events(fd: int) -> list[tuple[int, int, str]]:
    """Wait for something to happen and return (watch, mask, name of what changed in a directory, else '')."""
    data = os.read(fd, 1 << 16)
    found: list[tuple[int, int, str]] = []
    at = 0
    while at < len(data):
        watch, mask, _cookie, size = _HEAD.unpack_from(data, at)
        at += _HEAD.size
        found.append((watch, mask, os.fsdecode(data[at : at + size].rstrip(b"\0"))))
        at += size
    return found
