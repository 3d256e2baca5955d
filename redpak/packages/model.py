"""What the package rooms hand to each other: layers, repositories, transactions. Pure data."""

from __future__ import annotations

from redpak.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    LayerKind = Literal["core", "node"]
    Database = Literal["rpm", "dpkg", "manifest", "none"]
    Action = Literal["install", "upgrade", "downgrade", "reinstall", "remove"]
    Reason = Literal["user", "group", "dependency", "weak", "clean", "unknown"]

# Whose packages are installed when nobody says otherwise: a name that no repository may have.
SYSTEM = "@System"
COMMAND_LINE = "@commandline"  # packages given as files or URLs


class Layer(Record):
    """One member of the universe: a database of packages, and the files that it describes.

    A family is a tuple of layers, the core OS first, the node that changes last. Only that one is not locked.
    """

    name: str  # what messages call it: "core OS", or the node's alias
    kind: LayerKind
    path: str  # the node's directory, the core OS's root, or the manifest's file
    database: Database
    rpmdb: str = ""  # the directory that holds rpmdb.sqlite; '' where the database is no rpm database
    tree: str = ""  # the directory with usr, opt …: the current generation, or the root itself; '' = no files
    state: str = ""  # the directory with etc, var …: the node itself, or the root; '' = no files
    locked: bool = True


class Site(Record):
    """Where packages are changed: a node with its family, or a plain directory (dnf's --installroot)."""

    path: str  # absolute, canonical
    is_node: bool
    layers: tuple[Layer, ...]  # core OS first, this site last
    arch: str  # "x86_64": what `uname -m` says, or what the manifest of the core OS says
    gpgcheck: bool | None = None  # what the family demands; None: each repository's own word counts
    gpgcheck_because: str = ""  # file:line that demands it, for messages
    cachedir: str = ""  # absolute; '' = paths.cache()
    repositories: tuple[str, ...] = ()  # directories with .repo files, in the order in which they are read
    variables: tuple[tuple[str, str], ...] = ()  # ("releasever", "12"), ("basearch", "x86_64"), …; sorted

    @property
    def own(self) -> Layer:
        """The layer that may change."""
        return self.layers[-1]


class Named(Record):
    """What tells one package from all others."""

    name: str
    epoch: int
    version: str
    release: str
    arch: str

    @property
    def evr(self) -> str:
        """epoch:version-release, the epoch only when it is not 0."""
        shown = f"{self.version}-{self.release}"
        return f"{self.epoch}:{shown}" if self.epoch else shown

    @property
    def nevra(self) -> str:
        """name-epoch:version-release.arch, the epoch only when it is not 0."""
        return f"{self.name}-{self.evr}.{self.arch}"


class Item(Named):
    """One package that comes or goes."""

    action: Action
    repo: str  # id of its repository; SYSTEM for what is removed, COMMAND_LINE for files and URLs
    reason: Reason = "unknown"  # user: asked for; dependency, weak: pulled in; clean: removed as unused
    because: str = ""  # what made the solver choose it, for a person
    location: str = ""  # path or URL beneath the repository's base, or of the file itself; '' for removals
    base: str = ""  # a base URL of the package's own (xml:base), '' for its repository's
    checksum: str = ""  # "sha256:…" of the whole file, '' when unknown
    download_size: int = 0  # bytes
    install_size: int = 0  # bytes
    replaces: tuple[
        str, ...
    ] = ()  # installed packages that go in its favour (nevra), obsoleted ones included
    obsoletes: tuple[str, ...] = ()  # those of `replaces` that another name takes the place of


class Skipped(Record):
    """A package that was asked for, or would have been newer, and was left out."""

    nevra: str
    name: str
    evr: str
    arch: str
    repo: str
    size: int = 0  # bytes to download
    why: Literal["conflict", "broken"]


class Transaction(Record):
    """What is to be done, in the order in which it is done."""

    items: tuple[Item, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    problems: tuple[str, ...] = ()  # why something was skipped (--nobest, --skip-broken)

    def __bool__(self) -> bool:
        return bool(self.items)
