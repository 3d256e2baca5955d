"""Questions about packages: a set of them that is narrowed down step by step, as dnf's queries."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, overload

from redpak.packages.model import SYSTEM

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from redpak.packages.package import Package
    from redpak.packages.universe import Universe


class Query(Sequence["Package"]):
    """Some packages of a universe. Every method returns a new query; the order is that of the repositories."""

    def __init__(self, universe: Universe, numbers: Iterable[int]) -> None:
        self.universe = universe
        self.numbers = numbers if isinstance(numbers, range | tuple) else tuple(numbers)

    def __len__(self) -> int:
        return len(self.numbers)

    def __iter__(self) -> Iterator[Package]:
        return map(self.universe.package, self.numbers)

    @overload
    def __getitem__(self, at: int) -> Package: ...
    @overload
    def __getitem__(self, at: slice) -> Query: ...
    def __getitem__(self, at: int | slice) -> Package | Query:
        if isinstance(at, slice):
            return Query(self.universe, self.numbers[at])
        return self.universe.package(self.numbers[at])

    def __contains__(self, package: object) -> bool:
        return getattr(package, "id", None) in self.numbers

    # ---- sets ----

    def _keep(self, wanted: Iterable[int]) -> Query:
        chosen = wanted if isinstance(wanted, set | frozenset) else set(wanted)
        if isinstance(self.numbers, range):
            return Query(self.universe, sorted(number for number in chosen if number in self.numbers))
        return Query(self.universe, [number for number in self.numbers if number in chosen])

    def union(self, other: Query) -> Query:
        """Return the packages of both."""
        return Query(self.universe, sorted({*self.numbers, *other.numbers}))

    def intersection(self, other: Query) -> Query:
        """Return the packages that both have."""
        return self._keep(other.numbers)

    def difference(self, other: Query) -> Query:
        """Return the packages that the other one has not."""
        gone = set(other.numbers)
        return Query(self.universe, [number for number in self.numbers if number not in gone])

    def where(self, test: Callable[[Package], bool]) -> Query:
        """Return the packages that pass a test."""
        package = self.universe.package
        return Query(self.universe, [number for number in self.numbers if test(package(number))])

    # ---- where they are ----

    def repo(self, *names: str) -> Query:
        """Return those of some repositories; globs are allowed."""
        repos = [
            repo for repo in self.universe.pool.repos for name in names if fnmatch.fnmatchcase(repo, name)
        ]
        return self._keep({number for repo in repos for number in self.universe.pool.members(repo)})

    def installed(self) -> Query:
        """Return those that are installed in any layer."""
        return self.repo(SYSTEM)

    def own(self) -> Query:
        """Return those that are installed in the layer that may change."""
        return self._keep(self.universe.own())

    def available(self) -> Query:
        """Return those that are not installed."""
        gone = set(self.universe.pool.members(SYSTEM))
        return Query(self.universe, [number for number in self.numbers if number not in gone])

    def without_source(self) -> Query:
        """Return all but source packages."""
        raw = self.universe.pool.raw
        source = (raw.str2id("src"), raw.str2id("nosrc"))
        return Query(self.universe, [n for n in self.numbers if raw.id2solvable(n).archid not in source])

    # ---- what they are called ----

    def named(self, names: Iterable[str], *, icase: bool = False) -> Query:
        """Return those of some names; globs are allowed."""
        pool = self.universe.pool
        found: set[int] = set()
        for name in dict.fromkeys(names):
            if name == "*":
                return self
            if icase or any(sign in name for sign in "*[?"):
                fits = re.compile(fnmatch.translate(name), re.IGNORECASE if icase else 0).match
                for called, numbers in pool.by_name().items():
                    if fits(called):
                        found.update(numbers)
            else:
                found.update(pool.named(name))
        return self._keep(found)

    def arch(self, *names: str) -> Query:
        """Return those of some architectures."""
        return self.where(lambda package: package.arch in names)

    def by_name(self) -> dict[str, list[Package]]:
        """Return the packages of each name."""
        found: dict[str, list[Package]] = {}
        for package in self:
            found.setdefault(package.name, []).append(package)
        return found

    def by_name_arch(self) -> dict[tuple[str, str], list[Package]]:
        """Return the packages of each name and architecture."""
        found: dict[tuple[str, str], list[Package]] = {}
        for package in self:
            found.setdefault((package.name, package.arch), []).append(package)
        return found

    # ---- what they say ----

    def providing(self, specs: Iterable[str], *, icase: bool = False) -> Query:
        """Return those that provide one of these: names with or without versions, globs, paths."""
        from redpak.packages import capability

        pool = self.universe.pool
        found: set[int] = set()
        for spec in specs:
            for dep in capability.meant(pool, spec, icase=icase):
                found.update(pool.providers(dep))
            if spec.startswith("/"):
                found.update(self.with_file([spec], icase=icase).numbers)
        return self._keep(found)

    def asking(self, kind: str, specs: Iterable[str], *, icase: bool = False) -> Query:
        """Return those with a dependency ('requires', 'conflicts', …) on one of these."""
        from redpak.packages import capability

        pool = self.universe.pool
        found: set[int] = set()
        for spec in specs:
            for dep in capability.meant(pool, spec, icase=icase, asked=True):
                found.update(pool.matching(kind, dep))
        return self._keep(found)

    def asking_for(self, kind: str, packages: Query) -> Query:
        """Return those with a dependency that one of some packages meets, by whatever it provides."""
        pool = self.universe.pool
        wanted = set(packages.numbers)
        met: dict[int, bool] = {}

        def meets(dep: int) -> bool:
            if dep not in met:
                met[dep] = not wanted.isdisjoint(pool.providers(dep))
            return met[dep]

        return Query(self.universe, [n for n in self.numbers if any(map(meets, pool.deps(n, kind)))])

    def obsoleting(self, packages: Query) -> Query:
        """Return those that obsolete one of some packages, by name and version."""
        pool = self.universe.pool
        wanted = set(packages.numbers)
        found = []
        for number in self._keep(pool.with_any("obsoletes")).numbers if wanted else ():
            for dep in pool.deps(number, "obsoletes"):
                names = [other for other in pool.providers(dep) if other in wanted]
                if any(pool.is_called(other, dep) for other in names):
                    found.append(number)
                    break
        return Query(self.universe, found)

    def with_file(self, specs: Iterable[str], *, icase: bool = False) -> Query:
        """Return those that own one of these paths; globs are allowed. Loads all lists of files if it must."""
        from redpak.packages.filesearch import always_listed, owners

        found: set[int] = set()
        for spec in specs:
            if icase or not always_listed(spec):
                self.universe.load_filelists()
            found.update(owners(self.universe.pool, spec.rstrip("/") or "/", icase=icase))
        return self._keep(found)

    # ---- versions ----

    def latest(self, count: int = 1) -> Query:
        """Return the newest versions of each name and architecture; a negative count: all but these."""
        pool = self.universe.pool
        kept: set[int] = set()
        for packages in self.by_name_arch().values():
            versions: list[list[int]] = []
            for package in sorted(packages, reverse=True):
                if versions and pool.compare(versions[-1][0], package.id) == 0:
                    versions[-1].append(package.id)
                else:
                    versions.append([package.id])
            chosen = versions[:count] if count > 0 else versions[-count:]
            kept.update(number for version in chosen for number in version)
        return self._keep(kept)

    def _beside_installed(self, *, newer: bool) -> Query:
        pool = self.universe.pool
        mine: dict[str, list[Package]] = self.universe.query().own().by_name()
        found = []
        for package in self.available():
            same = [
                other
                for other in mine.get(package.name, ())
                if package.arch == other.arch or (newer and "noarch" in (package.arch, other.arch))
            ]
            orders = [pool.compare(package.id, other.id) for other in same]
            if orders and all(order > 0 if newer else order < 0 for order in orders):
                found.append(package.id)
        return Query(self.universe, found)

    def upgrades(self) -> Query:
        """Return those that are newer than what the layer that may change has."""
        return self._beside_installed(newer=True)

    def downgrades(self) -> Query:
        """Return those that are older than what the layer that may change has."""
        return self._beside_installed(newer=False)

    def user_installed(self) -> Query:
        """Return those of the layer that may change that were not pulled in by others."""
        return self.own().where(lambda package: package.reason not in ("dependency", "weak"))

    def unneeded(self) -> Query:
        """Return those of the layer that may change that nobody asked for and nobody needs any more."""
        from redpak.packages.reasons import needed

        return self.own().difference(Query(self.universe, sorted(needed(self.universe))))

    def duplicates(self) -> Query:
        """Return installed ones that are there in several versions."""
        pool = self.universe.pool
        found: list[int] = []
        for packages in self.own().by_name_arch().values():
            if any(pool.compare(packages[0].id, other.id) for other in packages[1:]):
                found.extend(package.id for package in packages)
        return self._keep(found)

    def extras(self) -> Query:
        """Return installed ones that no repository offers."""
        offered = {(package.name, package.arch) for package in self.universe.query().available()}
        return self.own().where(lambda package: (package.name, package.arch) not in offered)
