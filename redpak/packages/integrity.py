"""From the signature of a package's header to its digests, and from those to the files on disk; and files of nobody.

Only the database and the disk are looked at, no package file. What rpm adds to a header when it installs it (times,
states of files) is not signed.
"""

from __future__ import annotations

import os
import stat

from redpak.errors import RedpakError
from redpak.packages import flatten, keys
from redpak.packages.diskfile import Owners, capabilities_of, text_of_mode
from redpak.packages.finding import Finding
from redpak.packages.header_tags import FILE_CONFIG, FILE_GHOST, FILE_MISSINGOK, STATE_MISSING, STATE_NORMAL
from redpak.packages.treewalk import on_disk, walk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from redpak.packages.finding import Grade
    from redpak.packages.header import FileEntry, Header
    from redpak.packages.keys import Keyring
    from redpak.packages.model import Layer

    Digest = Callable[[str, os.stat_result, str], str]  # of a file by algorithm, '' when it cannot be read

# What `rpm -V` compares (rpmvf.h); packages switch some of it off for files that are meant to change.
VERIFY_DIGEST, VERIFY_LINK, VERIFY_USER, VERIFY_GROUP, VERIFY_MODE, VERIFY_CAPS = 1, 4, 8, 16, 64, 256


class Ground:
    """Where the files of one layer lie: its own directories, and those above it, whose links packages go through."""

    def __init__(self, layer: Layer, above: Sequence[Layer] = ()) -> None:
        self.layer = layer
        self.layers = (layer, *reversed(above))
        self.folders: dict[str, str] = {"/": "/"}

    def inside(self, path: str) -> str:
        """Return a path as the layer's own: directories that are links, here or above, are followed."""
        folder, name = os.path.split(path.rstrip("/"))
        return f"{self.folder(folder or '/').rstrip('/')}/{name}"

    def folder(self, path: str) -> str:
        """Return a directory's real path in the system that the layers make."""
        found = self.folders.get(path)
        if found is None:
            self.folders[path] = path  # a link that leads to itself
            up, name = os.path.split(path)
            at = f"{self.folder(up).rstrip('/')}/{name}"
            target = next((link for layer in self.layers if (link := self._link(layer, at))), "")
            found = self.folder(os.path.normpath(os.path.join(os.path.dirname(at), target))) if target else at
            self.folders[path] = found
        return found

    def _link(self, layer: Layer, path: str) -> str:
        try:
            return os.readlink(on_disk(layer, path))
        except OSError:
            return ""

    def disk(self, path: str) -> str:
        """Return the file on disk for a path as a package writes it; '' where the layer has no files."""
        return on_disk(self.layer, self.inside(path))

    def elsewhere(self, path: str) -> str:
        """Return the file of a layer above for a path, '' when none has it."""
        inside = self.inside(path)
        for layer in self.layers[1:]:
            at = on_disk(layer, inside)
            if at and os.path.lexists(at):
                return at
        return ""


def audit(
    headers: Sequence[Header],
    ground: Ground,
    ring: Keyring,
    *,
    signed: bool,
    digest: Digest,
    files: bool = True,
) -> Iterator[Finding]:
    """Yield what is wrong with the packages of one layer. `signed`: packages have to be; `files`: look at the disk."""
    owners = Owners(ground.layers)
    for header in headers:
        try:
            found = [*signature(header, ground.layer, ring, signed=signed)]
            if files and not any(one.kind == "changed-header" for one in found):
                found += list(contents(header, ground, owners, digest))
        except RedpakError as error:
            found = [of_layer(ground.layer, "changed-header", error.message, package=header.where)]
        yield from found


def of_layer(
    layer: Layer, kind: str, text: str, *, package: str = "", file: str = "", hint: str = "",
    grade: Grade = "fault",
) -> Finding:  # fmt: skip
    """Return a finding about one layer."""
    return Finding(
        kind=kind,
        place=layer.path,
        name=layer.name,
        package=package,
        file=file,
        text=text,
        hint=hint,
        grade=grade,
    )


def signature(header: Header, layer: Layer, ring: Keyring, *, signed: bool) -> Iterator[Finding]:
    """Yield what is wrong with the digest and the signature of a header."""
    nevra = header.nevra
    said = header.sha256
    if said and said != header.digest:
        yield of_layer(
            layer, "changed-header", f"the header of {nevra} in the database is not the one that was built",
            package=nevra, hint="Reinstall it.",
        )  # fmt: skip
        return
    verdict = keys.judge_header(header, ring)
    if verdict.state == "expired":  # it was good when it was installed
        verdict = keys.judge_header(header, ring, now=float(verdict.created))
    if verdict:
        return
    kind = "missing-signature" if verdict.state == "unsigned" else "wrong-signature"
    grade: Grade = "fault" if signed or verdict.state == "bad" else "note"
    hint = (
        "Import the key, if you trust its owner."
        if verdict.state == "unknown"
        else "Reinstall a signed package."
    )
    yield of_layer(layer, kind, f"{nevra}: {verdict.why}", package=nevra, hint=hint, grade=grade)


def contents(header: Header, ground: Ground, owners: Owners, digest: Digest) -> Iterator[Finding]:
    """Yield what is wrong with the files of a package on disk."""
    algorithm, nevra, layer = header.digest_algorithm, header.nevra, ground.layer
    for entry in header.files():
        if entry.flags & FILE_GHOST or entry.state not in (STATE_NORMAL, STATE_MISSING):
            continue
        path = ground.disk(entry.path)
        if not path:
            continue
        try:
            at = os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            if not entry.flags & FILE_MISSINGOK and not provided_above(entry, ground, algorithm, digest):
                yield of_layer(
                    layer, "missing-file", f"'{entry.path}' of {nevra} is not there", package=nevra,
                    file=entry.path, hint="Reinstall the package.",
                )  # fmt: skip
            continue
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            yield of_layer(
                layer, "unreadable-file", f"'{entry.path}' of {nevra} cannot be looked at: {why}", package=nevra,
                file=entry.path, grade="note",
            )  # fmt: skip
            continue
        for kind, text, grade in different(entry, path, at, algorithm, owners, digest):
            yield of_layer(
                layer, kind, f"'{entry.path}' of {nevra} {text}", package=nevra, file=entry.path, grade=grade,
                hint="" if grade == "note" else "Reinstall the package, or roll back.",
            )  # fmt: skip


def provided_above(entry: FileEntry, ground: Ground, algorithm: str, digest: Digest) -> bool:
    """Tell whether a layer above has the same file: what is there already need not be unpacked again."""
    path = ground.elsewhere(entry.path)
    if not path:
        return False
    at = os.lstat(path)
    if stat.S_ISDIR(entry.mode):
        return os.path.isdir(path)
    if stat.S_ISLNK(entry.mode):
        return stat.S_ISLNK(at.st_mode) and os.readlink(path) == entry.link
    return stat.S_ISREG(at.st_mode) and digest(path, at, algorithm) == entry.digest


def different(
    entry: FileEntry, path: str, at: os.stat_result, algorithm: str, owners: Owners, digest: Digest
) -> Iterator[tuple[str, str, Grade]]:
    """Yield kind, text and grade for everything in which a file is not as its package says."""
    config = bool(entry.flags & FILE_CONFIG)
    grade: Grade = "note" if config else "fault"
    changed = "changed-config" if config else "changed-file"
    if stat.S_IFMT(at.st_mode) != stat.S_IFMT(entry.mode):
        if not (stat.S_ISDIR(entry.mode) and stat.S_ISLNK(at.st_mode) and os.path.isdir(path)):
            yield changed, f"is {kind_of(at.st_mode)} instead of {kind_of(entry.mode)}", grade
        return
    if stat.S_ISLNK(at.st_mode):
        target = os.readlink(path)
        if entry.verify & VERIFY_LINK and target != entry.link:
            yield changed, f"leads to '{target}' instead of '{entry.link}'", grade
    elif stat.S_ISREG(at.st_mode) and entry.digest and entry.verify & VERIFY_DIGEST:
        found = digest(path, at, algorithm) if algorithm else ""
        if not found:
            yield "unreadable-file", "cannot be read", "note"
        elif found != entry.digest:
            yield changed, "has another content", grade
    # set-user-id bits and capabilities of a node's files are in the database only (flatten.settle)
    modes = (entry.mode, entry.mode & ~flatten.SET_ID if stat.S_ISREG(entry.mode) else entry.mode)
    if entry.verify & VERIFY_MODE and not stat.S_ISLNK(at.st_mode) and at.st_mode not in modes:
        yield (
            "wrong-mode",
            f"has mode {text_of_mode(at.st_mode)} instead of {text_of_mode(entry.mode)}",
            "fault",
        )
    user, group = bool(entry.verify & VERIFY_USER), bool(entry.verify & VERIFY_GROUP)
    for wrong in owners.wrong(entry, at, user=user, group=group):
        yield "wrong-owner", wrong, "fault"
    if (
        entry.verify & VERIFY_CAPS
        and stat.S_ISREG(at.st_mode)
        and (wrong := capabilities_of(path, entry.caps))
    ):
        yield "wrong-capabilities", wrong, "fault"


def kind_of(mode: int) -> str:
    """Return what a file is, in words."""
    words = {stat.S_IFDIR: "a directory", stat.S_IFLNK: "a symbolic link", stat.S_IFREG: "a file"}
    return words.get(stat.S_IFMT(mode), "a special file")


def unowned(owned: frozenset[str], ground: Ground) -> Iterator[Finding]:
    """Yield the files of a layer's own directories that no package has. `owned`: as `Ground.inside` has them."""
    layer = ground.layer
    for path, at in walk(layer):
        if path not in owned and not stat.S_ISDIR(at.st_mode):
            yield of_layer(layer, "unowned-file", f"'{path}' belongs to no package", file=path, grade="note")
