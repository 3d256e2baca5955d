"""Mount points: where bwrap may be sent to make one.

bwrap makes and finds mount points by path, in the tree that it has mounted so far, and follows symbolic links on the
way, even out of the sandbox (CVE-2026-87766). So a mount point lies in the sandbox's own memory file system, where
only bwrap makes names, or in a host directory that nobody but root can change; anything else is refused.
"""

from __future__ import annotations

import os
import stat

from redpak.engine.sources import beneath
from redpak.plan.ops import Bind, Dev, Dir, File, InheritFd, Mqueue, Proc, Symlink, Tmpfs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.plan.model import Op

DEV_LINKS = ("core", "fd", "ptmx", "stderr", "stdin", "stdout")  # symlinks that bwrap makes in its /dev
NAMES_OF_PROC = (
    "acpi",
    "bus",
    "driver",
    "fs",
    "irq",
    "scsi",
    "sys",
    "tty",
    "sysrq-trigger",
    "kcore",
    "keys",
    "kallsyms",
)


class Place:
    """What bwrap would find at a destination."""

    def __init__(
        self,
        reason: str = "",
        hint: str = "",
        *,
        own: bool = False,
        mode: int = 0,
        host: str = "",
        astray: bool = False,
    ) -> None:
        self.reason = reason  # why nothing can be mounted there; '' = it can
        self.hint = hint
        self.own = own  # in the sandbox's own memory: bwrap makes the mount point
        self.mode = mode  # st_mode of the mount point that exists already, 0 for none
        self.host = host  # host path of the mount point that exists already
        self.astray = astray  # refused only because somebody could put a link in bwrap's way


def place(op: Op, above: Op | None, shown: str, trees: tuple[str, ...]) -> Place:
    """Judge the destination of `op`, which lies directly in `above` (None: bwrap's root).

    `shown` is the canonical host path that the bind `above` shows; `trees` are the family's nodes.
    """
    match above:
        case None | Dir() | Tmpfs():
            return Place(own=True)
        case Symlink(dst=dst):
            hint = "Mount at the link's target."
            return Place(f"'{op.dst}' lies beneath the symbolic link '{dst}'", hint)
        case File(dst=dst) | InheritFd(dst=dst):
            return Place(f"'{op.dst}' lies beneath the file '{dst}'", "Choose another mount point.")
        case Dev(dst=dst):
            if op.dst[len(dst) :].strip("/").split("/")[0] in DEV_LINKS:
                return Place(
                    f"'{op.dst}' is a symbolic link in the sandbox's '{dst}'", "Choose another mount point."
                )
            return Place(own=True)
        case Mqueue(dst=dst):
            return Place(f"'{op.dst}' lies in the message queues at '{dst}'", "Choose another mount point.")
        case Proc(dst=dst):
            inner = op.dst[len(dst) :].strip("/")
            if inner.split("/")[0] not in NAMES_OF_PROC:
                return Place(f"'{op.dst}' lies in the procfs at '{dst}'", "Choose another mount point.")
            return _existing(op, "/proc", inner, ())
        case Bind(dst=dst):
            return _existing(op, shown, op.dst[len(dst.rstrip("/")) :].strip("/"), trees)
        case _:
            return Place(f"nothing can be mounted at '{op.dst}'")


def _existing(op: Op, base: str, inner: str, trees: tuple[str, ...]) -> Place:
    """Judge a destination in a host directory: it must be there, and nobody but root may change the way to it."""
    here = base
    tree = beneath(here, trees)
    if tree:
        hint = "Mount the parts of that directory one by one, in a directory of the sandbox's own."
        return Place(
            f"'{op.dst}' would lie in files of the node '{tree}', where a link could lead it astray",
            hint,
            astray=True,
        )
    parts = inner.split("/")
    mode = 0
    for index, part in enumerate(["", *parts]):
        here = f"{here.rstrip('/')}/{part}" if part else here
        try:
            at = os.lstat(here)
        except OSError as error:
            said = "is not there" if error.errno == 2 else (error.strerror or "").lower()
            return Place(
                f"'{op.dst}' needs '{here}' on the host, which {said}", "Make it, or mount elsewhere."
            )
        mode = at.st_mode
        last = index == len(parts)
        if stat.S_ISLNK(mode):
            return Place(
                f"'{op.dst}' leads through the symbolic link '{here}'", "Mount at the link's target."
            )
        if not stat.S_ISDIR(mode) and not last:
            return Place(f"'{op.dst}' lies beneath the file '{here}'", "Choose another mount point.")
        if not last and (at.st_uid != 0 or mode & (stat.S_IWGRP | stat.S_IWOTH)):
            hint = "Mount the parts of that directory one by one, in a directory of the sandbox's own."
            return Place(f"'{op.dst}' lies in '{here}', which others than root may change", hint, astray=True)
        if last and beneath(here, trees):
            return Place(f"'{op.dst}' would lie in files of the node '{beneath(here, trees)}'")
    return Place(mode=mode, host=here)
