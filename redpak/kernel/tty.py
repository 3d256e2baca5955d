"""Terminals: a pair made in a given devpts, the controlling terminal, and descriptors sent over a Unix socket."""

from __future__ import annotations

import ctypes
import os
import struct

from redpak.kernel.libc import ioctl

TIOCSCTTY, TIOCGWINSZ, TIOCSWINSZ = 0x540E, 0x5413, 0x5414
TIOCGPTN, TIOCSPTLCK, TIOCGPTPEER = 0x80045430, 0x40045431, 0x5441
SOL_SOCKET, SCM_RIGHTS, MSG_CMSG_CLOEXEC = 1, 1, 0x40000000


def open_pair(ptmx: str = "/dev/ptmx", *, directory: int = -1) -> tuple[int, int, int]:
    """Return (master, slave, number) of a new terminal; neither becomes our controlling terminal.

    `ptmx` decides in which devpts (a container's own: "/dev/pts/ptmx"), beneath `directory` if one is open. The slave
    is opened through the master, so no path can lead it elsewhere (CVE-2025-52565). Raises OSError: ENOSPC when the
    devpts is full, EACCES, ENOTTY for what is no ptmx, EINVAL before Linux 4.13. Source: TIOCGPTPEER(2const).
    """
    how = os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC
    master = os.open(ptmx, how, dir_fd=directory if directory >= 0 else None)
    try:
        ioctl(master, TIOCSPTLCK, struct.pack("i", 0), ptmx)
        number = ctypes.c_uint()
        ioctl(master, TIOCGPTN, ctypes.byref(number), ptmx)
        slave = ioctl(master, TIOCGPTPEER, how, ptmx)
    except BaseException:
        os.close(master)
        raise
    return master, slave, number.value


def control(fd: int) -> None:
    """Make it our session's controlling terminal. Raises OSError EPERM for no leader. Source: TIOCSCTTY(2const)."""
    ioctl(fd, TIOCSCTTY, 0)


def set_size(fd: int, rows: int, columns: int) -> None:
    """Set a terminal's size; its foreground process group gets SIGWINCH. Source: TIOCSWINSZ(2const)."""
    ioctl(fd, TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def size(fd: int) -> tuple[int, int]:
    """Return (rows, columns) of a terminal. Raises OSError ENOTTY. Source: TIOCGWINSZ(2const)."""
    room = ctypes.create_string_buffer(8)
    ioctl(fd, TIOCGWINSZ, ctypes.byref(room))
    rows, columns, _, _ = struct.unpack("HHHH", room)
    return rows, columns


def send_fds(sock: int, data: bytes, fds: tuple[int, ...]) -> None:
    """Send `data` (at least one byte) and descriptors over a connected Unix socket, given by its descriptor.

    Raises OSError: EPIPE, EBADF, ETOOMANYREFS. Needs no right. Source: unix(7), SCM_RIGHTS.
    """
    import _socket  # what `socket` is made of; that costs ten times as much to import

    whole = _socket.socket(fileno=sock)
    try:
        control = [(SOL_SOCKET, SCM_RIGHTS, struct.pack(f"{len(fds)}i", *fds))] if fds else []
        whole.sendmsg([data], control, _socket.MSG_NOSIGNAL)
    finally:
        whole.detach()


def receive_fds(sock: int, size_bytes: int = 4096, most: int = 16) -> tuple[bytes, list[int]]:
    """Receive data and at most `most` descriptors, which are close-on-exec; b"" when the other end is closed.

    Raises OSError. Source: unix(7), SCM_RIGHTS; recvmsg(2), MSG_CMSG_CLOEXEC.
    """
    import _socket

    whole = _socket.socket(fileno=sock)
    try:
        data, control, _, _ = whole.recvmsg(size_bytes, _socket.CMSG_SPACE(4 * most), MSG_CMSG_CLOEXEC)
    finally:
        whole.detach()
    fds: list[int] = []
    for level, kind, words in control:
        if (level, kind) == (SOL_SOCKET, SCM_RIGHTS):
            fds += struct.unpack(f"{len(words) // 4}i", words[: len(words) // 4 * 4])
    return data, fds
