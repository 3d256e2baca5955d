"""One universe of packages: all layers as one installed system, and what repositories and given files offer.

Every package knows its layer or its repository. What is excluded stays in the pool, hidden from questions and from
the solver, so that messages can still say that it is there.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

from redpak.errors import Busy, doing
from redpak.packages import core, solvcache
from redpak.packages.filesearch import always_listed
from redpak.packages.model import COMMAND_LINE, SYSTEM
from redpak.packages.package import Package
from redpak.packages.pool import Pool
from redpak.packages.query import Query

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from redpak.packages.advisories import Advisory
    from redpak.packages.header import Header
    from redpak.packages.metadata import Metadata
    from redpak.packages.model import Layer, Reason

DEFAULT_PRIORITY, DEFAULT_COST = 99, 1000


class Universe:
    """Layers and repositories in one pool. Reading raises RedpakError, also later where lists are loaded lazily.

    `local`: package files. `excludes`, `includes`: specs that hold for everything, installed packages included
    (dnf's excludepkgs and includepkgs of [main]); those of repositories are in their configuration.
    `disable_excludes`: repository ids whose own words do not count, 'main' for `excludes`, 'all' for both.
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        metadata: Sequence[Metadata] = (),
        *,
        arch: str,
        local: Sequence[str] = (),
        excludes: Sequence[str] = (),
        includes: Sequence[str] = (),
        disable_excludes: Sequence[str] = (),
        filelists: bool = False,
        reasons: Mapping[str, Reason] | None = None,
        cachedir: str = "",
    ) -> None:
        self.arch = arch
        self.layers = tuple(layers)
        self.metadata = {one.id: one for one in metadata}
        self.reasons: Mapping[str, Reason] = reasons or {}
        self.cachedir = cachedir
        self.pool = Pool(arch, installed=SYSTEM)
        self._layers: list[tuple[range, Layer]] = []
        self._headers: dict[str, list[Header]] = {}
        self._local: dict[int, tuple[str, Header]] = {}
        self._complete = False  # lists of files
        self._packages: dict[int, Package] = {}
        self._advisories: list[Advisory] | None = None
        for layer in self.layers:
            self._layers.append((self._add_layer(layer), layer))
        for one in metadata:
            self._add_repository(one)
        if local:
            self.add_files(local)
        if filelists or self._needs_filelists():
            self.load_filelists()
        self.pool.prepare()
        self.modular: dict[int, str] = {}  # why modules hide a package
        self.hidden = self._excluded(excludes, includes, disable_excludes)
        self.pool.hide(self.hidden)

    # ---- filling ----

    def _add_layer(self, layer: Layer) -> range:
        stamp = core.stamp(layer)
        if not stamp:
            return self.pool.add_headers(SYSTEM, self._headers_of(layer))
        name = solvcache.key("layer", layer.database, layer.path, layer.rpmdb, stamp)
        make = solvcache.of_headers(SYSTEM, lambda: self._headers_of(layer))
        return solvcache.load(self.pool, SYSTEM, name, make, cachedir=self.cachedir)

    def _headers_of(self, layer: Layer) -> list[Header]:
        where = f"{layer.database}:{layer.path}:{layer.rpmdb}"
        if where not in self._headers:
            # By name, as the library itself reads rpm's databases: ties are decided by order.
            self._headers[where] = sorted(core.headers(layer), key=lambda header: header.name)
        return self._headers[where]

    def _add_repository(self, one: Metadata) -> None:
        priority = getattr(one.config, "priority", DEFAULT_PRIORITY)
        cost = getattr(one.config, "cost", DEFAULT_COST)
        self.pool.add_repo(one.id, priority=-priority, cost=cost)
        name = solvcache.key("primary", one.sha256)
        make = solvcache.of_primary(one.id, lambda: one.file("primary"))
        solvcache.load(self.pool, one.id, name, make, cachedir=self.cachedir)

    def add_files(self, files: Sequence[str]) -> list[Package]:
        """Add package files that were named on the command line."""
        from redpak.packages.header import from_rpm

        if COMMAND_LINE not in self.pool.repos:
            self.pool.add_repo(COMMAND_LINE)
        found = [(path, from_rpm(path)[1]) for path in files]
        numbers = self.pool.add_headers(COMMAND_LINE, [header for _, header in found])
        self._local.update(zip(numbers, found, strict=True))
        self.pool.prepare()
        return [self.package(number) for number in numbers]

    def _needs_filelists(self) -> bool:
        """Whether a dependency names a file that repositories only list among all files, and nobody has yet."""
        wanted = [path for path in self.pool.wanted_files() if not always_listed(path)]
        self.pool.prepare()
        return any(not self.pool.providers(self.pool.dep(path)) for path in wanted)

    def load_filelists(self) -> None:
        """Load the complete lists of files of all repositories, once."""
        if self._complete:
            return
        self._complete = True
        for one in self.metadata.values():
            name = solvcache.key("filelists", one.sha256)
            if not one.listed("filelists"):
                continue
            make = solvcache.of_filelists(one.id, one.file)
            solvcache.extend(self.pool, one.id, name, make, cachedir=self.cachedir)
        self.pool.prepare()

    def _modular(self) -> dict[int, str]:
        """Return the packages that modules hide, and why."""
        from redpak.packages.modules import filter_of

        rules = filter_of(self.metadata.values())
        found: dict[int, str] = {}
        for one in self.metadata.values() if rules else ():
            hotfix = one.config.module_hotfixes
            for number in self.pool.members(one.id):
                why = rules.why(self.pool.name(number), self.pool.show(number), hotfix=hotfix)
                if why:
                    found[number] = why
        return found

    def _excluded(self, excludes: Sequence[str], includes: Sequence[str], ignored: Sequence[str]) -> set[int]:
        from redpak.packages.select import names

        if "all" in ignored:
            return set()
        everything = set(range(2, self.pool.end))
        self.modular = self._modular()
        hidden = set(self.modular)
        for one in self.metadata.values():
            if one.id in ignored:
                continue
            members = set(self.pool.members(one.id))
            wanted = getattr(one.config, "includepkgs", ())
            if wanted:
                hidden |= members - names(self, wanted, members)
            hidden |= names(self, getattr(one.config, "excludepkgs", ()), members)
        if "main" not in ignored:
            offered = everything - set(self.pool.members(SYSTEM))
            if includes:
                hidden |= offered - names(self, includes, offered)
            hidden |= names(self, excludes, everything)
        return hidden

    # ---- asking ----

    def package(self, number: int) -> Package:
        """Return the handle of a package."""
        if number not in self._packages:
            self._packages[number] = Package(self, number)
        return self._packages[number]

    def query(self, *, excluded: bool = False) -> Query:
        """Return all packages, to be narrowed down; `excluded`: the hidden ones too."""
        numbers = range(2, self.pool.end)
        if excluded or not self.hidden:
            return Query(self, numbers)
        return Query(self, [number for number in numbers if number not in self.hidden])

    def packages(self, repo: str = "") -> list[Package]:
        """Return all packages that are not hidden, of one repository or of all."""
        found = self.query()
        return list(found.repo(repo) if repo else found)

    def layer_of(self, number: int) -> Layer | None:
        """Return the layer that a package is installed in."""
        for numbers, layer in self._layers:
            if number in numbers:
                return layer
        return None

    def own(self) -> list[int]:
        """Return the packages of the layer that may change."""
        return [n for numbers, layer in self._layers if not layer.locked for n in numbers]

    def locked(self) -> list[int]:
        """Return the packages of the layers that may not change."""
        return [n for numbers, layer in self._layers if layer.locked for n in numbers]

    def header_of(self, number: int) -> Header | None:
        """Return a package's rpm header, if it is installed or a given file."""
        if number in self._local:
            return self._local[number][1]
        for numbers, layer in self._layers:
            if number in numbers:
                headers = self._headers_of(layer)
                at = number - numbers.start
                if len(headers) != len(numbers) or headers[at].name != self.pool.name(number):
                    raise Busy(f"the packages of {layer.name} changed while they were read")
                return headers[at]
        return None

    def local_path(self, number: int) -> str:
        """Return the path of a package that was given as a file; ''."""
        return self._local[number][0] if number in self._local else ""

    def local_size(self, number: int) -> int:
        """Return the size in bytes of a package that was given as a file; 0."""
        return os.path.getsize(self._local[number][0]) if number in self._local else 0

    def local_checksum(self, number: int) -> str:
        """Return 'sha256:…' of a package that was given as a file; ''. Raises RedpakError."""
        path = self.local_path(number)
        if not path:
            return ""
        with doing("read the package"), open(path, "rb") as file:
            return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"

    def advisories(self) -> list[Advisory]:
        """Return what repositories say about updates, read when first asked for."""
        if self._advisories is None:
            from redpak.packages import advisories

            self._advisories = [
                advisory
                for one in self.metadata.values()
                if (path := one.file("updateinfo"))
                for advisory in advisories.read(path, one.id)
            ]
        return self._advisories
