"""One package of the universe, installed or not: read-only, looked up when asked for."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from redpak.packages.model import SYSTEM

if TYPE_CHECKING:
    from redpak.packages.header import Header
    from redpak.packages.model import Layer, Reason
    from redpak.packages.universe import Universe


class Package:
    """A handle. Two are equal when they mean the same entry of the same universe."""

    __slots__ = ("__dict__", "id", "universe")

    def __init__(self, universe: Universe, number: int) -> None:
        self.universe = universe
        self.id = number

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Package) and self.id == other.id and self.universe is other.universe

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"Package({self.nevra} from {self.repo})"

    def __str__(self) -> str:
        return self.nevra

    def __lt__(self, other: Package) -> bool:
        """Sort as dnf does: by name, then version, then architecture."""
        if self.name != other.name:
            return self.name < other.name
        order = self.universe.pool.compare(self.id, other.id)
        return order < 0 if order else self.arch < other.arch

    # ---- identity ----

    @cached_property
    def _raw(self) -> Any:
        # It goes with the universe, which this handle keeps alive.
        return self.universe.pool.raw.id2solvable(self.id)

    @cached_property
    def name(self) -> str:
        """Its name."""
        return str(self._raw.name)

    @cached_property
    def arch(self) -> str:
        """Its architecture; 'src' for source packages."""
        return str(self._raw.arch)

    @cached_property
    def evr(self) -> str:
        """[epoch:]version-release."""
        return str(self._raw.evr)

    @cached_property
    def _parts(self) -> tuple[int, str, str]:
        epoch, colon, rest = self.evr.partition(":")
        if not colon or not epoch.isdigit():
            epoch, rest = "0", self.evr
        version, _, release = rest.rpartition("-")
        return (int(epoch), version, release) if version else (int(epoch), release, "")

    @property
    def epoch(self) -> int:
        """0 when it has none."""
        return self._parts[0]

    @property
    def version(self) -> str:
        """Its version."""
        return self._parts[1]

    @property
    def release(self) -> str:
        """Its release."""
        return self._parts[2]

    @cached_property
    def nevra(self) -> str:
        """name-[epoch:]version-release.arch, the epoch only when it is not 0."""
        return f"{self.name}-{self.evr}.{self.arch}"

    @cached_property
    def repo(self) -> str:
        """Id of its repository; '@System' when it is installed, '@commandline' when it is a given file."""
        return self.universe.pool.repo_of(self.id)

    @property
    def installed(self) -> bool:
        """Whether it is installed in one of the layers."""
        return self.repo == SYSTEM

    @cached_property
    def layer(self) -> Layer | None:
        """The layer that it is installed in."""
        return self.universe.layer_of(self.id)

    @property
    def where(self) -> str:
        """Where it lives, for messages: the layer's name, or the repository."""
        return self.layer.name if self.layer else self.repo

    @property
    def locked(self) -> bool:
        """Whether it is installed in a layer that does not change."""
        return self.layer is not None and self.layer.locked

    @property
    def reason(self) -> Reason:
        """Why it is installed; 'unknown' when nobody recorded it, or when it is not installed."""
        if self.layer is None or self.layer.locked:
            return "unknown"
        return self.universe.reasons.get(f"{self.name}.{self.arch}", "unknown")

    @cached_property
    def header(self) -> Header | None:
        """Its rpm header, when it is installed or given as a file."""
        return self.universe.header_of(self.id)

    # ---- description ----

    def _text(self, tag: str, key: str) -> str:
        if self.header is not None:
            return self.header.text(tag)
        return str(self._raw.lookup_str(getattr(self.universe.pool.solv, key)) or "")

    def _number(self, tag: str, key: str) -> int:
        if self.header is not None:
            return self.header.integer(tag)
        return int(self._raw.lookup_num(getattr(self.universe.pool.solv, key)) or 0)

    @property
    def summary(self) -> str:
        """One line that says what it is."""
        return self._text("summary", "SOLVABLE_SUMMARY")

    @property
    def description(self) -> str:
        """Some lines that say what it is."""
        return self._text("description", "SOLVABLE_DESCRIPTION")

    @property
    def url(self) -> str:
        """The home page of what it holds."""
        return self._text("url", "SOLVABLE_URL")

    @property
    def license(self) -> str:
        """The license of what it holds, as its packager wrote it."""
        return self._text("license", "SOLVABLE_LICENSE")

    @property
    def vendor(self) -> str:
        """Who distributes it."""
        return str(self._raw.vendor or "")

    @property
    def packager(self) -> str:
        """Who packaged it."""
        return self._text("packager", "SOLVABLE_PACKAGER")

    @property
    def group(self) -> str:
        """rpm's group."""
        return self._text("group", "SOLVABLE_GROUP")

    @property
    def buildhost(self) -> str:
        """Where it was built."""
        return self._text("buildhost", "SOLVABLE_BUILDHOST")

    @property
    def buildtime(self) -> int:
        """When it was built, in seconds since 1970."""
        return self._number("buildtime", "SOLVABLE_BUILDTIME")

    @property
    def installtime(self) -> int:
        """When it was installed, in seconds since 1970; 0 when it is not."""
        return self.header.installtime if self.header is not None and self.installed else 0

    @property
    def installsize(self) -> int:
        """Bytes on disk when it is installed."""
        if self.header is not None:
            return self.header.size
        return self._number("size", "SOLVABLE_INSTALLSIZE")

    @property
    def downloadsize(self) -> int:
        """Bytes of the package file; 0 when it is installed."""
        if self.installed:
            return 0
        return self.universe.local_size(self.id) or int(
            self._raw.lookup_num(self.universe.pool.solv.SOLVABLE_DOWNLOADSIZE) or 0
        )

    @property
    def sourcerpm(self) -> str:
        """File name of the source package that it was built from."""
        if self.header is not None:
            return self.header.sourcerpm
        return str(self._raw.lookup_sourcepkg() or "")

    @property
    def location(self) -> str:
        """Path beneath its repository's base URL, or the file's path or URL; '' when it is installed."""
        if self.installed:
            return ""
        return self.universe.local_path(self.id) or str((self._raw.lookup_location() or [""])[0] or "")

    @property
    def base_url(self) -> str:
        """A base URL of its own, other than its repository's."""
        return str(self._raw.lookup_str(self.universe.pool.solv.SOLVABLE_MEDIABASE) or "")

    @property
    def checksum(self) -> str:
        """'sha256:…' of the package file as its repository says; '' when unknown."""
        found = (
            None if self.installed else self._raw.lookup_checksum(self.universe.pool.solv.SOLVABLE_CHECKSUM)
        )
        return f"{found.typestr()}:{found.hex()}" if found is not None else ""

    # ---- dependencies and files ----

    def dependencies(self, kind: str) -> list[str]:
        """Return its dependencies of one kind ('requires', 'requires_pre', 'provides', …) as texts."""
        pool = self.universe.pool
        numbers = pool.prereqs(self.id) if kind == "requires_pre" else pool.deps(self.id, kind)
        return [pool.dep_str(number) for number in numbers]

    @property
    def provides(self) -> list[str]:
        """What it provides, files aside."""
        return self.dependencies("provides")

    @property
    def requires(self) -> list[str]:
        """What it requires."""
        return self.dependencies("requires")

    @property
    def conflicts(self) -> list[str]:
        """What must not be there together with it."""
        return self.dependencies("conflicts")

    @property
    def obsoletes(self) -> list[str]:
        """What it takes the place of."""
        return self.dependencies("obsoletes")

    @property
    def recommends(self) -> list[str]:
        """What it wants by default."""
        return self.dependencies("recommends")

    @property
    def suggests(self) -> list[str]:
        """What goes well with it."""
        return self.dependencies("suggests")

    @property
    def supplements(self) -> list[str]:
        """What it wants to be installed with by default."""
        return self.dependencies("supplements")

    @property
    def enhances(self) -> list[str]:
        """What it goes well with."""
        return self.dependencies("enhances")

    @property
    def files(self) -> list[str]:
        """Paths of its files and directories; the repository's lists of files are loaded for it."""
        if self.header is not None:
            return self.header.paths()
        self.universe.load_filelists()
        solv = self.universe.pool.solv
        flags = solv.Dataiterator.SEARCH_FILES | solv.Dataiterator.SEARCH_COMPLETE_FILELIST
        return [match.str for match in self._raw.Dataiterator(solv.SOLVABLE_FILELIST, None, flags)]
