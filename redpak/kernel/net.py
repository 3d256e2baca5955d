"""The one thing that every new network namespace needs: its loopback interface up."""

from __future__ import annotations

import ctypes
import os
import struct

from redpak.kernel.libc import LIBC, check, ioctl

AF_INET, SOCK_DGRAM, SOCK_CLOEXEC = 2, 2, 0o2000000
SIOCGIFFLAGS, SIOCSIFFLAGS = 0x8913, 0x8914
IFF_UP = 1


def loopback_up() -> None:
    """Set `lo` of our network namespace up; it then has 127.0.0.1 and ::1.

    Raises OSError: EPERM without CAP_NET_ADMIN over the namespace, ENODEV. Source: netdevice(7), SIOCSIFFLAGS.
    """
    fd = check(LIBC.socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0))
    try:
        asked = ctypes.create_string_buffer(struct.pack("16sH22x", b"lo", 0))  # struct ifreq
        ioctl(fd, SIOCGIFFLAGS, ctypes.byref(asked), "lo")
        (flags,) = struct.unpack_from("H", asked, 16)
        struct.pack_into("H", asked, 16, flags | IFF_UP)
        ioctl(fd, SIOCSIFFLAGS, ctypes.byref(asked), "lo")
    finally:
        os.close(fd)
