"""What a proof needs to know of a package: the edges and files of its header, small enough to be kept in a cache."""

from __future__ import annotations

from redpak.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from redpak.packages.header import Header

    Dep = tuple[str, int, str]  # name, sense (LESS, GREATER, EQUAL), [epoch:]version[-release]
    File = tuple[str, int, str, str, int, int]  # path, mode, digest, link target, flags, colour

LESS, GREATER, EQUAL = 2, 4, 8  # rpmds.h: RPMSENSE_*
SENSE = LESS | GREATER | EQUAL
MISSINGOK = 1 << 19  # a weak requirement in the clothes of a strong one
RPMLIB = 1 << 24  # a feature of rpm, not of a package

CONFIG, GHOST = 1, 64  # rpmfiles.h: RPMFILE_*

DECLARED = "redpak-shadows("  # Provides: redpak-shadows(/path) says that hiding an ancestor's file is meant


FIELDS = (
    "name", "epoch", "version", "release", "arch", "provides", "requires", "conflicts", "obsoletes", "files",
    "sha256",
)  # fmt: skip


class Facts:
    """One package. Plain attributes: a proof reads them by the hundred thousand."""

    __slots__ = FIELDS
    name: str
    epoch: int
    version: str
    release: str
    arch: str
    provides: tuple[Dep, ...]
    requires: tuple[Dep, ...]
    conflicts: tuple[Dep, ...]
    obsoletes: tuple[Dep, ...]
    files: tuple[File, ...]
    sha256: str  # of the header as it was signed

    def __init__(self, values: Sequence[object]) -> None:
        for name, value in zip(FIELDS, values, strict=True):
            setattr(self, name, value)

    def values(self) -> tuple[object, ...]:
        """Return what __init__ takes."""
        return tuple(getattr(self, name) for name in FIELDS)

    @property
    def evr(self) -> str:
        """epoch:version-release, the epoch only when it is not 0."""
        shown = f"{self.version}-{self.release}" if self.release else self.version
        return f"{self.epoch}:{shown}" if self.epoch else shown

    @property
    def nevra(self) -> str:
        """name-epoch:version-release.arch, the epoch only when it is not 0."""
        return f"{self.name}-{self.evr}.{self.arch}"

    def __repr__(self) -> str:
        return f"Facts({self.nevra})"


class Place(Record):
    """One database of the tree: the core OS, or a node. `parent` is an index among the places, -1 for none."""

    name: str  # what messages call it
    path: str
    parent: int
    packages: tuple[Facts, ...]
    key: str = ""  # changes when the packages change


def facts(header: Header) -> Facts:
    """Return what a proof needs of one header."""
    files = tuple(
        (f.path, f.mode, f.digest or "", f.link or "", f.flags, f.color or 0) for f in header.files()
    )
    return Facts((
        header.name, int(header.epoch or 0), header.version, header.release, header.arch or "noarch",
        strong(header.provides), strong(header.requires), strong(header.conflicts), strong(header.obsoletes),
        files, header.sha256 or "",
    ))  # fmt: skip


def strong(deps: Iterable[Dep]) -> tuple[Dep, ...]:
    """Return the dependencies that somebody has to meet, each once."""
    return tuple(
        dict.fromkeys(
            (name, flags & SENSE if evr else 0, evr if flags & SENSE else "")
            for name, flags, evr in deps
            if not flags & (MISSINGOK | RPMLIB) and not name.startswith("rpmlib(")
        )
    )


def spelled(dep: Dep) -> str:
    """Return 'name >= 1.2' as packagers write it."""
    name, flags, evr = dep
    if not flags:
        return name
    sign = ("<" if flags & LESS else "") + (">" if flags & GREATER else "") + ("=" if flags & EQUAL else "")
    return f"{name} {sign} {evr}"


def chain(places: Sequence[Place], at: int) -> list[int]:
    """Return the indexes from the core OS down to `at`."""
    found: list[int] = []
    while at >= 0:
        found.append(at)
        at = places[at].parent
    return found[::-1]
