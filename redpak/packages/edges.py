"""Requirements, conflicts and obsoletes by a plain walk over sets: no solver, every broken edge, not one a problem.

A package may rely on its own database and on those above it (ancestors, core OS), never on a sibling's or a
descendant's. So a database is judged against those above it, once.
"""

from __future__ import annotations

from redpak.packages import evr, richdep
from redpak.packages.facts import EQUAL, GREATER, LESS, chain, spelled
from redpak.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Literal

    from redpak.packages.facts import Dep, Facts, Place

    Kind = Literal["missing-requirement", "conflict", "obsoleted", "duplicate"]


class Broken(Record):
    """An edge that does not hold: `package` of `place` asks for something, `other` is in the way, or nobody has it."""

    kind: Kind
    place: int  # the database in which it shows: the younger one of the two
    package: Facts
    owner: int  # the database that `package` is in
    dep: Dep = ("", 0, "")
    other: Facts | None = None
    other_owner: int = -1


def overlap(one: Dep, two: Dep) -> bool:
    """Tell whether two ranges of one name have a version in common; a range without a version has all.

    '= 1' is every release of version 1, so it overlaps '> 1-1'. Source: rpm, lib/rpmver.c, rpmverOverlap.
    """
    _, mine, my_evr = one
    _, yours, your_evr = two
    if not mine or not yours:
        return True
    sense = evr.compare(my_evr, your_evr)  # no epoch is 0, a release counts only where both say one
    if sense < 0:
        return bool(mine & GREATER or yours & LESS)
    if sense > 0:
        return bool(mine & LESS or yours & GREATER)
    if mine & yours:
        return True
    my_release, your_release = evr.split(my_evr).release, evr.split(your_evr).release
    return bool(
        (not my_release and your_release and mine & EQUAL)
        or (my_release and not your_release and yours & EQUAL)
    )


class Shelf:
    """What the packages of one database offer, by name."""

    def __init__(self, packages: Sequence[Facts], first: int) -> None:
        self.names: dict[str, list[int]] = {}
        self.provides: dict[str, list[tuple[Dep, int]]] = {}
        self.files: dict[str, list[int]] = {}
        self.loose: list[
            int
        ] = []  # packages that a younger database can break: rich edges, conflicts, obsoletes
        for at, package in enumerate(packages, first):
            self.names.setdefault(package.name, []).append(at)
            for provide in package.provides:
                self.provides.setdefault(provide[0], []).append((provide, at))
            for file in package.files:
                self.files.setdefault(file[0], []).append(at)
            if package.conflicts or package.obsoletes or any(richdep.is_rich(r[0]) for r in package.requires):
                self.loose.append(at)


class Tree:
    """All databases of a tree, indexed; packages have numbers."""

    def __init__(self, places: Sequence[Place]) -> None:
        self.places = tuple(places)
        self.packages: list[Facts] = []
        self.owner: list[int] = []  # the place of each package
        self.shelves: list[Shelf] = []
        self.first: list[int] = []  # the number of each place's first package
        for at, place in enumerate(self.places):
            self.shelves.append(Shelf(place.packages, len(self.packages)))
            self.first.append(len(self.packages))
            self.packages += place.packages
            self.owner += [at] * len(place.packages)
        self.formulas: dict[str, richdep.Formula] = {}
        self.users: list[set[int]] = []  # who needs a package; made when somebody asks

    def own(self, place: int) -> range:
        """Return the numbers of a database's own packages."""
        return range(self.first[place], self.first[place] + len(self.places[place].packages))

    def providers(self, above: Sequence[int], dep: Dep) -> set[int]:
        """Return the packages that meet a plain dependency, in the databases `above`."""
        name, flags, _ = dep
        found: set[int] = set()
        for place in above:
            shelf = self.shelves[place]
            for provide, at in shelf.provides.get(name, ()):
                if not flags or overlap(provide, dep):
                    found.add(at)
            if name[:1] == "/" and not flags:
                found.update(shelf.files.get(name, ()))
        return found

    def formula(self, text: str) -> richdep.Formula:
        """Return a rich dependency, parsed once."""
        if text not in self.formulas:
            self.formulas[text] = richdep.parse(text)
        return self.formulas[text]

    def met(self, above: Sequence[int], dep: Dep) -> bool:
        """Tell whether a requirement, plain or rich, holds in the databases `above`."""
        name, flags, _ = dep
        if richdep.is_rich(name):
            return richdep.holds(self.formula(name), lambda leaf: self.providers(above, leaf))
        if not flags and any(name in self.shelves[place].provides for place in above):
            return True  # most requirements end here
        return bool(self.providers(above, dep))

    def disturbing(self, above: Sequence[int], at: int, dep: Dep) -> set[int]:
        """Return the packages in `above` that a conflict of package `at` speaks of.

        A plain conflict is never with the package itself; a rich one only has to be true, whoever makes it so: as rpm.
        """
        name = dep[0]
        if not richdep.is_rich(name):
            return self.providers(above, dep) - {at}
        formula = self.formula(name)
        if not richdep.holds(formula, lambda leaf: self.providers(above, leaf)):
            return set()
        found = {other for leaf in richdep.leaves(formula) for other in self.providers(above, leaf)}
        return found - {at} or {at}

    def obsoleted(self, above: Sequence[int], at: int, dep: Dep) -> list[int]:
        """Return the packages in `above` that package `at` obsoletes: by their name, not by what they provide."""
        name, flags, _ = dep
        if name == self.packages[at].name:
            return []
        return [
            other
            for place in above
            for other in self.shelves[place].names.get(name, ())
            if not flags or overlap((name, EQUAL, self.packages[other].evr), dep)
        ]

    def broken(self, place: int) -> list[Broken]:
        """Return every edge that the packages of one database break, or that are broken for them."""
        above = chain(self.places, place)
        found: list[Broken] = []
        for at in self.own(place):
            package = self.packages[at]
            for dep in package.requires:
                if not self.met(above, dep):
                    found.append(self._edge("missing-requirement", place, at, dep))
        for level in above:  # what ancestors say about this database, too
            for at in self.shelves[level].loose:
                found += self._loose(place, above, at)
        return [*found, *self._duplicates(place, above)]

    def _loose(self, place: int, above: Sequence[int], at: int) -> Iterator[Broken]:
        """Yield the edges of one package that any package of `place` may break."""
        package, theirs = self.packages[at], self.owner[at] != place
        if theirs:
            for dep in package.requires:
                if richdep.is_rich(dep[0]) and self.met(above[:-1], dep) and not self.met(above, dep):
                    yield self._edge("missing-requirement", place, at, dep)
        for dep in package.conflicts:
            others = self.disturbing(above, at, dep)
            for other in sorted(others):
                if not theirs or self.owner[other] == place:
                    yield self._edge("conflict", place, at, dep, other)
        for dep in package.obsoletes:
            for other in self.obsoleted(above, at, dep):
                if not theirs or self.owner[other] == place:
                    yield self._edge("obsoleted", place, at, dep, other)

    def _duplicates(self, place: int, above: Sequence[int]) -> Iterator[Broken]:
        """Yield the packages of a database that are there already, in it or above it."""
        for name, mine in self.shelves[place].names.items():
            before = [at for level in above[:-1] for at in self.shelves[level].names.get(name, ())]
            for at in mine:
                for other in before:
                    if not self.side_by_side(at, other):
                        yield self._edge("duplicate", place, at, (name, 0, ""), other)
                before.append(at)

    def side_by_side(self, one: int, two: int) -> bool:
        """Tell whether two packages of one name may be there together: other architectures, or many versions."""
        mine, yours = self.packages[one], self.packages[two]
        if mine.arch != yours.arch and "noarch" not in (mine.arch, yours.arch):
            return True
        return mine.evr != yours.evr and self.owner[one] == self.owner[two] and many_versions(mine)

    def _edge(self, kind: Kind, place: int, at: int, dep: Dep, other: int = -1) -> Broken:
        return Broken(
            kind=kind,
            place=place,
            package=self.packages[at],
            owner=self.owner[at],
            dep=dep,
            other=self.packages[other] if other >= 0 else None,
            other_owner=self.owner[other] if other >= 0 else -1,
        )

    def name_of(self, at: int) -> str:
        """Return what messages call the database of a package."""
        return self.places[self.owner[at]].name

    def needed_by(self, at: int) -> list[int]:
        """Return the packages that have a requirement which package `at` meets, youngest first."""
        if not self.users:
            self.users = [set() for _ in self.packages]
            for place in range(len(self.places)):
                above = chain(self.places, place)
                for user in self.own(place):
                    for dep in self.packages[user].requires:
                        for leaf in self.plain(dep):
                            for other in self.providers(above, leaf):
                                self.users[other].add(user)
        return sorted(self.users[at] - {at}, key=lambda user: (-self.owner[user], user))

    def plain(self, dep: Dep) -> list[Dep]:
        """Return a dependency's plain ones: itself, or those of a rich one."""
        return richdep.leaves(self.formula(dep[0])) if richdep.is_rich(dep[0]) else [dep]

    def say(self, edge: Broken) -> str:
        """Return an edge as one line."""
        mine = f"{edge.package.nevra} [{self.places[edge.owner].name}]"
        other = f"{edge.other.nevra} [{self.places[edge.other_owner].name}]" if edge.other else ""
        match edge.kind:
            case "missing-requirement":
                return f"nothing provides {spelled(edge.dep)} needed by {mine}"
            case "conflict":
                return f"{mine} conflicts with {spelled(edge.dep)} provided by {other}"
            case "obsoleted":
                return f"{mine} obsoletes {spelled(edge.dep)} provided by {other}"
            case "duplicate":
                return f"{mine} is there twice: {other} has the same name"


def many_versions(package: Facts) -> bool:
    """Tell whether several versions of a package may be installed beside each other (kernels)."""
    return any(name == "kernel" or name.startswith("installonlypkg(") for name, _, _ in package.provides)
