"""The seals held against other names of the same files: symbolic links and bind mounts of the host.

The merge compares sources as they are written. Here they are compared by where the kernel finds them: in which file
system, and where in it. A file system that shows another one's files (overlayfs, bindfs) and hard links to files
inside a directory cannot be told apart.
"""

from __future__ import annotations

import os
import stat

from redpak.config.mountpath import is_at_or_beneath, is_beneath
from redpak.config.sealed_exports import WRITABLE
from redpak.config.sealed_sources import binding_files
from redpak.errors import BadConfig, Fault
from redpak.record import Record
from redpak.text import text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.config.model import Merged, MergedExport
    from redpak.text import Text

MOUNTS = "/proc/self/mountinfo"  # proc_pid_mountinfo(5)
ESCAPES = (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\"))


class Mounted(Record):
    """One line of the host's mount table."""

    point: str
    device: str  # major:minor
    root: str  # the directory of the file system that is mounted


class Region(Record):
    """Files of one file system: a directory (or file) of it, and what lies beneath."""

    device: str
    path: str
    node: tuple[int, int] = (0, 0)  # (st_dev, st_ino) of a single file, else (0, 0)


def refuse_aliases(merged: Merged) -> None:
    """Raise BadConfig where a descendant would make writable, by whatever name, what its ancestors keep from it.

    That is what they show read-only, and the files that say so.
    """
    asked = [export for export in merged.exports if export.mode in WRITABLE and export.owner > 0]
    if not asked:
        return
    disk = Disk()
    faults = []
    for export in asked:
        mine = disk.regions(source_of(export))
        for bound in merged.sealed:
            if bound.owner < export.owner and overlap(mine, disk.regions(source_of(bound))):
                message = (
                    f"export '{export.mount}' would make writable what '{bound.mount}' ({bound.origin}) "
                    f"shows read-only: '{source_of(export)}' leads to files of '{source_of(bound)}'"
                )
                faults.append(fault(export, message))
        for file in open_files(export, merged, disk, mine):
            message = f"export '{export.mount}' would make '{file}' writable, which binds this node"
            faults.append(fault(export, message))
    if faults:
        raise BadConfig(faults)


def fault(export: MergedExport, message: str) -> Fault:
    """Return the fault of one export."""
    return Fault(origin=export.origin, message=message, hint="Use mode Restricted, or another source.")


def source_of(export: MergedExport) -> Text:
    """Return where an export comes from."""
    return export.path or text(export.mount)


def open_files(export: MergedExport, merged: Merged, disk: Disk, mine: list[Region]) -> list[str]:
    """Return the ancestors' configuration files that lie in `mine` and that no ancestor makes writable itself."""
    allowed = [
        disk.regions(source_of(other))
        for other in merged.exports
        if other.mode in WRITABLE and other.owner < export.owner
    ]
    found = []
    for node in merged.family.nodes[: export.owner]:
        for file in binding_files(node):
            theirs = disk.regions(text(file))
            if overlap(mine, theirs) and not any(overlap(one, theirs) for one in allowed):
                found.append(file)
                break  # one of a node says enough
    return found


def overlap(some: list[Region], others: list[Region]) -> bool:
    """Tell whether two lists of regions have files in common."""
    return any(
        one.device == other.device
        and (
            is_at_or_beneath(one.path, other.path)
            or is_at_or_beneath(other.path, one.path)
            or one.node == other.node != (0, 0)
        )
        for one in some
        for other in others
    )


class Disk:
    """What the kernel says about sources, each asked for once."""

    def __init__(self) -> None:
        self.table = mount_table()
        self.known: dict[str, list[Region]] = {}

    def regions(self, source: Text) -> list[Region]:
        """Return the files that a source shows: its own, and those of every file system mounted beneath.

        [] if it is absent. Of a source that is only known at start, these are all in the directory that it is sure
        to lie in.
        """
        path = source.literal
        if path is None:
            lead = source.parts[0]
            if not isinstance(lead, str):
                return []  # the output of a command: the merge allows it only where there is nothing to protect
            path = os.path.dirname(lead)
        if path not in self.known:
            self.known[path] = self.look(os.path.realpath(path))
        return self.known[path]

    def look(self, real: str) -> list[Region]:
        """Return the regions of a path without symbolic links."""
        try:
            fd = os.open(real, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return []
        try:
            at = os.fstat(fd)
            held = self.table.get(mount_of(fd))
        finally:
            os.close(fd)
        single = (0, 0) if stat.S_ISDIR(at.st_mode) else (at.st_dev, at.st_ino)
        found = [
            Region(device=one.device, path=one.root)
            for one in self.table.values()
            if is_beneath(one.point, real)
        ]
        if held is not None and is_at_or_beneath(real, held.point):
            place = f"{held.root.rstrip('/')}/{real[len(held.point.rstrip('/')) :].strip('/')}"
            found.append(Region(device=held.device, path=place.rstrip("/") or "/", node=single))
        return found


def mount_of(fd: int) -> int:
    """Return the number of the mount that a descriptor was found in, -1 when the kernel does not say."""
    try:
        with open(f"/proc/self/fdinfo/{fd}", encoding="ascii") as lines:
            for line in lines:
                if line.startswith("mnt_id:"):
                    return int(line[7:])
    except (OSError, ValueError):
        pass  # no /proc
    return -1


def mount_table() -> dict[int, Mounted]:
    """Return the mounts of this process by their numbers; {} where there is no /proc."""
    try:
        with open(MOUNTS, encoding="utf-8", errors="surrogateescape") as lines:
            rows = [line.split(" ") for line in lines]
    except OSError:
        return {}
    return {
        int(row[0]): Mounted(device=row[2], root=unescaped(row[3]), point=unescaped(row[4])) for row in rows
    }


def unescaped(word: str) -> str:
    """Return a path of the mount table as it is."""
    for code, character in ESCAPES:
        word = word.replace(code, character)
    return word
