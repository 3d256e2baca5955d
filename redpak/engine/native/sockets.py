"""AF_UNIX sockets at paths of any length: an address holds 107 bytes (unix(7)), a path 4,095.

What does not fit is named by a descriptor, /proc/self/fd/N. A path that fits needs no /proc.
"""

from __future__ import annotations

import errno
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket

LONGEST = 107  # bytes of an address, without the NUL


def bind(end: socket, path: str) -> None:
    """Make the socket's file at `path`. Raises OSError: EADDRINUSE where something is there already."""
    if fits(path):
        end.bind(path)
        return
    folder, name = os.path.split(path)
    at = os.open(folder or ".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        short = f"/proc/self/fd/{at}/{name}"
        if not fits(short) or not os.path.exists(f"/proc/self/fd/{at}"):
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), path)
        end.bind(short)
    finally:
        os.close(at)


def connect(end: socket, path: str) -> None:
    """Connect to the socket whose file is at `path`. Raises OSError."""
    if fits(path):
        end.connect(path)
        return
    at = os.open(path, os.O_PATH | os.O_CLOEXEC)  # the file itself: its name alone may be too long
    try:
        if not os.path.exists(f"/proc/self/fd/{at}"):
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), path)
        end.connect(f"/proc/self/fd/{at}")
    finally:
        os.close(at)


def fits(path: str) -> bool:
    """Tell whether a path can be an address as it is."""
    return len(os.fsencode(path)) <= LONGEST
