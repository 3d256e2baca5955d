"""What a file on disk says besides its content: stamp, mode, owner, capabilities; and what of it a package wants."""

from __future__ import annotations

import os
import struct

from redpak.kernel import caps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from redpak.packages.header import FileEntry
    from redpak.packages.model import Layer

CAPABILITY = "security.capability"  # capabilities(7)
SUB_IDS = {"user": "/etc/subuid", "group": "/etc/subgid"}  # subuid(5)


def text_of_mode(mode: int) -> str:
    """Return a mode as chmod(1) takes it."""
    return f"{mode & 0o7777:04o}"


class Owners:
    """Whom files have to belong to: users and groups by the names that the layers know.

    In a directory of an ordinary user everything may belong to them, since they cannot give files away; with a range
    of sub-ids it may also belong to the id in it. There the database alone knows the owner.
    """

    def __init__(self, layers: Sequence[Layer]) -> None:
        self.ids = {"user": {"root": 0}, "group": {"root": 0}}
        for layer in reversed(layers):
            if layer.state:
                self.ids["user"].update(names(os.path.join(layer.state, "etc/passwd")))
                self.ids["group"].update(names(os.path.join(layer.state, "etc/group")))
        own = layers[0].tree or layers[0].state
        try:
            at = os.stat(own)
            self.uid, self.gid = at.st_uid, at.st_gid
        except OSError:
            self.uid = self.gid = 0
        self.ranges = {kind: sub_ids(file, self.uid) for kind, file in SUB_IDS.items()} if self.uid else {}

    def wrong(self, entry: FileEntry, at: os.stat_result, *, user: bool, group: bool) -> Iterator[str]:
        """Yield in what a file's owner and group are not what its package says."""
        if user and not self.fits("user", entry.user, at.st_uid, self.uid):
            yield f"belongs to user {at.st_uid} instead of '{entry.user}'"
        if group and not self.fits("group", entry.group, at.st_gid, self.gid):
            yield f"belongs to group {at.st_gid} instead of '{entry.group}'"

    def fits(self, kind: str, name: str, number: int, own: int) -> bool:
        """Tell whether an owner is the one that is meant. Names that nobody knows are anybody's."""
        wanted = self.ids[kind].get(name)
        if self.uid == 0:
            return wanted is None or number == wanted
        if number == own:
            return True
        return any(
            start <= number < start + count and wanted in (None, number - start + 1)
            for start, count in self.ranges.get(kind, ())
        )


def names(path: str) -> dict[str, int]:
    """Return names and numbers of passwd(5) or group(5); {} when there is no such file."""
    found = {}
    try:
        with open(path, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                parts = line.split(":")
                if len(parts) > 2 and parts[2].isdigit():
                    found[parts[0]] = int(parts[2])
    except OSError:
        pass
    return found


def sub_ids(path: str, uid: int) -> tuple[tuple[int, int], ...]:
    """Return the ranges of sub-ids of a user: first one and count."""
    import pwd

    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = ""
    found = []
    try:
        with open(path, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                parts = line.strip().split(":")
                if (
                    len(parts) == 3
                    and parts[0] in (name, str(uid))
                    and parts[1].isdigit()
                    and parts[2].isdigit()
                ):
                    found.append((int(parts[1]), int(parts[2])))
    except OSError:
        pass
    return tuple(found)


def capabilities_of(path: str, wanted: str) -> str:
    """Return in what a file's capabilities are not as a package says, '' when they are, or are absent."""
    try:
        found = decoded(os.getxattr(path, CAPABILITY, follow_symlinks=False))
    except OSError:
        return ""
    if found == parsed(wanted):
        return ""
    return (
        f"has other capabilities than '{wanted}'"
        if wanted
        else "has capabilities that its package does not give"
    )


def decoded(data: bytes) -> tuple[int, int, bool]:
    """Return permitted, inheritable and whether they are effective. Source: linux/capability.h, vfs_cap_data."""
    if len(data) < 12:
        return -1, -1, False
    magic, permitted, inheritable = struct.unpack_from("<III", data)
    if len(data) >= 20:
        high_permitted, high_inheritable = struct.unpack_from("<II", data, 12)
        permitted |= high_permitted << 32
        inheritable |= high_inheritable << 32
    return permitted, inheritable, bool(magic & 1)


def parsed(text: str) -> tuple[int, int, bool]:
    """Return the same of a text: 'cap_net_raw,cap_net_admin=ep', clauses apart by spaces. Source: cap_from_text(3)."""
    permitted = inheritable = effective = 0
    for clause in text.split():
        at = next((at for at, sign in enumerate(clause) if sign in "=+-"), len(clause))
        given, sign, flags = clause[:at], clause[at : at + 1], clause[at + 1 :]
        mask = 0
        for name in given.split(",") if given and given != "all" else caps.NAMES:
            mask |= caps.bit(name.upper())
        if sign == "=":
            permitted, inheritable, effective = permitted & ~mask, inheritable & ~mask, effective & ~mask
        if sign == "-":
            permitted &= ~mask if "p" in flags else -1
            inheritable &= ~mask if "i" in flags else -1
            effective &= ~mask if "e" in flags else -1
        else:
            permitted |= mask if "p" in flags else 0
            inheritable |= mask if "i" in flags else 0
            effective |= mask if "e" in flags else 0
    return permitted, inheritable, effective != 0
