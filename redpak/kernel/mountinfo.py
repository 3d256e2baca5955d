"""What is mounted: /proc/self/mountinfo read line by line, and the kernel's newer answers about single mounts."""

from __future__ import annotations

import ctypes
import os
import struct

from redpak.kernel.libc import syscall

LSMT_ROOT = (1 << 64) - 1  # the root of the caller's mount namespace
STATMOUNT_MNT_BASIC, STATMOUNT_MNT_POINT, STATMOUNT_FS_TYPE = 0x02, 0x10, 0x20


class Mount:
    """One line of mountinfo; `options` are the mount's own, `super_options` those of its file system."""

    __slots__ = (
        "device",
        "fstype",
        "id",
        "options",
        "parent",
        "point",
        "root",
        "source",
        "super_options",
        "tags",
    )

    def __init__(self, line: str) -> None:
        left, _, right = line.partition(" - ")
        one, parent, self.device, root, point, options, *self.tags = left.split(
            " "
        )  # tags: "shared:2", "master:1", …
        self.id, self.parent, self.options = int(one), int(parent), options.split(",")
        self.root, self.point = unescape(root), unescape(point)
        self.fstype, source, self.super_options = (right.rstrip("\n").split(" ") + ["", ""])[:3]
        self.source = unescape(source)


def unescape(text: str) -> str:
    """Turn the kernel's \\ooo back into the bytes that they stand for (space, tab, newline, backslash)."""
    if "\\" not in text:
        return text
    first, *rest = text.split("\\")
    return os.fsdecode(
        os.fsencode(first) + b"".join(bytes([int(one[:3], 8)]) + os.fsencode(one[3:]) for one in rest)
    )


def mounts(pid: str = "self") -> list[Mount]:
    """Return the mounts that process `pid` sees. Raises OSError ENOENT. Source: proc_pid_mountinfo(5)."""
    with open(f"/proc/{pid}/mountinfo", encoding="utf-8", errors="surrogateescape", newline="\n") as file:
        return [Mount(line) for line in file]


def mount_id(fd: int) -> int:
    """Return the id, as mountinfo has it, of the mount that an open descriptor is on.

    Raises OSError ENOENT without /proc. Source: proc_pid_fdinfo(5), mnt_id; Linux 3.15.
    """
    with open(f"/proc/self/fdinfo/{fd}", encoding="ascii") as file:
        return next(int(line[7:]) for line in file if line.startswith("mnt_id:"))


def beneath(top: int, known: list[Mount]) -> list[Mount]:
    """Return the mount with id `top` and all that hang on it, parents first."""
    found = [one for one in known if one.id == top]
    for parent in found:  # which grows
        found += [one for one in known if one.parent == parent.id and one.id != parent.id]
    return found


def listmount(under: int = LSMT_ROOT) -> list[int]:
    """Return the unique ids of the mounts beneath the one with unique id `under`.

    Raises OSError: ENOSYS before Linux 6.8, ENOENT for an unknown id. Needs no right. Source: listmount(2); Linux 6.8.
    """
    room = (ctypes.c_uint64 * 512)()
    found: list[int] = []
    while True:
        asked = struct.pack("=IIQQ", 24, 0, under, found[-1] if found else 0)
        count = syscall("listmount", asked, ctypes.byref(room), len(room), 0)
        found += room[:count]
        if count < len(room):
            return found


def statmount(unique_id: int) -> tuple[int, int, str, str]:
    """Return (id as in mountinfo, MOUNT_ATTR_*, mount point, file system) of the mount with that unique id.

    Raises OSError: ENOSYS before Linux 6.8, ENOENT for an unknown id, EPERM for one outside our root without
    CAP_SYS_ADMIN. Source: statmount(2), struct statmount; Linux 6.8.
    """
    wanted = STATMOUNT_MNT_BASIC | STATMOUNT_MNT_POINT | STATMOUNT_FS_TYPE
    room = ctypes.create_string_buffer(512 + 2 * 4096)
    syscall("statmount", struct.pack("=IIQQ", 24, 0, unique_id, wanted), ctypes.byref(room), len(room), 0)
    short, attributes = struct.unpack_from("=I4xQ", room, 56)
    texts = [struct.unpack_from("=I", room, offset)[0] for offset in (108, 36)]
    point, fstype = (os.fsdecode(room.raw[512 + at :].split(b"\0", 1)[0]) for at in texts)
    return short, attributes, point, fstype
