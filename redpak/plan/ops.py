"""What a plan can ask for in the sandbox's file tree. One class a kind; every one says who asked for it."""

from __future__ import annotations

from redpak.origin import Origin
from redpak.record import Record
from redpak.text import Text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    Kind = Literal["any", "file"]
    Missing = Literal["refuse", "create", "skip"]
    Op = "Bind | Dir | Tmpfs | Proc | Dev | Mqueue | Lock | Symlink | File | InheritFd"


class Bind(Record):
    """Show host path `src` at `dst`, with everything mounted below it."""

    dst: str
    src: Text
    readonly: bool = True
    kind: Kind = "any"  # "file": the source must not be a directory
    missing: Missing = "refuse"  # "create": make the directory (0775 & ~umask), "skip": leave the mount out
    beneath: str = (
        ""  # the node directory that the source was asked for in; no symlink in it is ever followed
    )
    mode: str = ""  # the export mode that was written: Public, Restricted, …
    because: Origin


class Dir(Record):
    """An empty directory of this sandbox alone."""

    dst: str
    because: Origin


class Tmpfs(Record):
    """A memory file system of this sandbox alone."""

    dst: str
    because: Origin


class Proc(Record):
    """A procfs of the sandbox's own pid namespace."""

    dst: str
    because: Origin


class Dev(Record):
    """A minimal /dev: null, zero, full, random, urandom, tty, pts, shm."""

    dst: str
    because: Origin


class Mqueue(Record):
    """A POSIX message queue file system (mq_overview(7))."""

    dst: str
    because: Origin


class Lock(Record):
    """Hold a read lock on `dst`, a file that the sandbox shows, while the sandbox lives."""

    dst: str
    because: Origin


class Symlink(Record):
    """A symbolic link at `dst` that says `target`."""

    dst: str
    target: str
    because: Origin


class File(Record):
    """A new file whose content is `content`, private to this sandbox."""

    dst: str
    content: Text
    because: Origin


class InheritFd(Record):
    """A new file filled from descriptor `fd`, which the caller left open."""

    dst: str
    fd: int
    because: Origin
