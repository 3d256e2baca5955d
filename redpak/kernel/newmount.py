"""The newer mount calls, one function each: mounts as descriptors, all close-on-exec. Fall-backs are in tree.py.

All need CAP_SYS_ADMIN over the mount namespace (EPERM) and answer ENOSYS on a kernel that is older than they are.
"""

from __future__ import annotations

import os
import struct

from redpak.kernel.libc import syscall

AT_EMPTY_PATH, AT_RECURSIVE = 0x1000, 0x8000
OPEN_TREE_CLONE = 1
MOVE_MOUNT_F_EMPTY_PATH, MOVE_MOUNT_T_EMPTY_PATH, MOVE_MOUNT_BENEATH = 0x04, 0x40, 0x200
FSOPEN_CLOEXEC = FSPICK_CLOEXEC = FSMOUNT_CLOEXEC = 1
FSPICK_EMPTY_PATH = 8
FSCONFIG_SET_FLAG, FSCONFIG_SET_STRING, FSCONFIG_SET_FD, FSCONFIG_CMD_CREATE, FSCONFIG_CMD_RECONFIGURE = (
    0,
    1,
    5,
    6,
    7,
)

MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC = 0x01, 0x02, 0x04, 0x08
MOUNT_ATTR__ATIME = 0x70  # a field: clear it to change it
MOUNT_ATTR_RELATIME, MOUNT_ATTR_NOATIME, MOUNT_ATTR_STRICTATIME = 0x00, 0x10, 0x20
MOUNT_ATTR_NODIRATIME, MOUNT_ATTR_IDMAP, MOUNT_ATTR_NOSYMFOLLOW = 0x80, 0x100000, 0x200000


def open_tree(source: int, path: str = "", *, clone: bool = True, recursive: bool = False) -> int:
    """Return a detached copy of the mount at `path` beneath `source`, or of `source` itself; not `clone`: the place.

    With `recursive` all mounts below are copied as well. Raises OSError: EINVAL for an unbindable mount or, not
    recursive, for one with locked mounts below. Source: open_tree(2); Linux 5.2.
    """
    flags = (
        os.O_CLOEXEC | AT_EMPTY_PATH | (OPEN_TREE_CLONE if clone else 0) | (AT_RECURSIVE if recursive else 0)
    )
    return syscall("open_tree", source, os.fsencode(path), flags, path=path or None)


def move_mount(tree: int, target: int, *, beneath: bool = False) -> None:
    """Attach the detached (or move the attached) mount `tree` to the place that is open as `target` (O_PATH).

    `beneath` (Linux 6.5): under the mount whose root `target` is. Raises OSError: EINVAL when one is a directory and
    the other is not, ELOOP, ENOENT for a removed target. Source: move_mount(2); Linux 5.2.
    """
    flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH | (MOVE_MOUNT_BENEATH if beneath else 0)
    syscall("move_mount", tree, b"", target, b"", flags)


def mount_setattr(
    mount: int,
    set_: int = 0,
    clear: int = 0,
    propagation: int = 0,
    *,
    userns: int = -1,
    recursive: bool = False,
) -> None:
    """Change the attributes (MOUNT_ATTR_*) and the propagation (MS_*) of the mount whose root is open as `mount`.

    `userns`: shift its owners as that user namespace maps ids (once, on a detached mount). `recursive`: of all mounts
    below too; all or none. Raises OSError: EPERM also for a locked attribute and for an idmap without CAP_SYS_ADMIN
    over the file system; EINVAL when `mount` is not the root of a mount or the file system cannot be idmapped; EBUSY
    when somebody writes there. Source: mount_setattr(2); Linux 5.12.
    """
    if userns >= 0:
        set_ |= MOUNT_ATTR_IDMAP
    given = struct.pack("=QQQQ", set_, clear, propagation, max(userns, 0))
    syscall("mount_setattr", mount, b"", AT_EMPTY_PATH | (AT_RECURSIVE if recursive else 0), given, 32)


def fsopen(fstype: str) -> int:
    """Return a context to configure a new file system. Raises OSError ENODEV. Source: fsopen(2); Linux 5.2."""
    return syscall("fsopen", fstype.encode(), FSOPEN_CLOEXEC, path=fstype)


def fspick(mount: int) -> int:
    """Return a context to reconfigure the file system (not the mount) of the mount whose root is open as `mount`.

    Raises OSError EINVAL when it is no root. Source: fspick(2); Linux 5.2.
    """
    return syscall("fspick", mount, b"", FSPICK_CLOEXEC | FSPICK_EMPTY_PATH)


def fsconfig(context: int, key: str, value: str | int | None = None) -> None:
    """Set an option of a context: a flag (None), a string of at most 255 bytes, or a file by its descriptor.

    Raises OSError with the kernel's own explanation: EINVAL for an unknown option or a bad value, ENOENT, EBUSY.
    Source: fsconfig(2); Linux 5.2; a descriptor as overlay layer 6.13.
    """
    kind = (
        FSCONFIG_SET_FLAG
        if value is None
        else FSCONFIG_SET_FD
        if isinstance(value, int)
        else FSCONFIG_SET_STRING
    )
    text = os.fsencode(value) if isinstance(value, str) else None
    try:
        syscall("fsconfig", context, kind, os.fsencode(key), text, value if isinstance(value, int) else 0)
    except OSError as error:
        raise _explained(context, error, key if value is None else f"{key}={value}") from None


def fscreate(context: int, *, reconfigure: bool = False) -> None:
    """Make the configured file system, or change the picked one. Raises OSError as fsconfig, and ENODEV."""
    command = FSCONFIG_CMD_RECONFIGURE if reconfigure else FSCONFIG_CMD_CREATE
    try:
        syscall("fsconfig", context, command, None, None, 0)
    except OSError as error:
        raise _explained(context, error, None) from None


def _explained(context: int, error: OSError, what: str | None) -> OSError:
    """Add what the kernel wrote into the context: lines 'e text' (errors), 'w text', 'i text'."""
    said = []
    while True:
        try:
            said.append(os.read(context, 4096).decode(errors="replace").strip()[2:])
        except OSError:  # ENODATA: that was all
            break
    why = f"{error.strerror}: {'; '.join(said)}" if said else error.strerror
    return OSError(error.errno, why, what)


def fsmount(context: int, attributes: int = 0) -> int:
    """Return a detached mount of the file system made in `context`, with those MOUNT_ATTR_*.

    Raises OSError: EPERM also where the file system must not be seen more fully than the mounts that there are (proc,
    sysfs in a user namespace), EBUSY. Source: fsmount(2); Linux 5.2.
    """
    return syscall("fsmount", context, FSMOUNT_CLOEXEC, attributes)
