"""Who needs whom among installed packages of several databases, each edge with the words that ask for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from redpak.packages import facts, richdep
from redpak.packages.edges import Tree
from redpak.packages.facts import Place, chain
from redpak.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from redpak.packages.facts import Dep
    from redpak.packages.header import Header

WISHES = ("recommends", "suggests")  # what a package would like to have


class Need(Record):
    """An edge between two packages, by number."""

    user: int
    provider: int
    dep: str  # as its packager wrote it
    kind: str = "requires"  # requires, recommends, suggests, or supplements (the provider says that it suits)
    alone: bool = False  # nobody else there meets it

    @property
    def weak(self) -> bool:
        """Whether nothing breaks without it."""
        return self.kind != "requires"


class Network:
    """The packages of a tree of databases, numbered from the oldest database on, and their edges."""

    def __init__(self, places: Sequence[tuple[str, str, int, Sequence[Header]]]) -> None:
        """Take (name, path, parent's index or -1, headers) of each database, parents first."""
        self.headers = [header for *_, headers in places for header in headers]
        self.tree = Tree(
            [
                Place(name=name, path=path, parent=parent, packages=tuple(map(facts.facts, headers)))
                for name, path, parent, headers in places
            ]
        )
        self.owner = self.tree.owner
        self.names = [place.name for place in self.tree.places]
        self._needs: list[Need] | None = None

    @property
    def needs(self) -> list[Need]:
        """Every edge, each pair once and with its strongest words; sorted."""
        if self._needs is None:
            found: dict[tuple[int, int], Need] = {}
            for need in self._all():
                known = found.get((need.user, need.provider))
                if known is None or (known.weak, not known.alone) > (need.weak, not need.alone):
                    found[need.user, need.provider] = need
            self._needs = [found[pair] for pair in sorted(found)]
        return self._needs

    def _all(self) -> Iterator[Need]:
        for place in range(len(self.tree.places)):
            above = chain(self.tree.places, place)
            for user in self.tree.own(place):
                yield from self._of(user, above)

    def _of(self, user: int, above: Sequence[int]) -> Iterator[Need]:
        for dep in self.tree.packages[user].requires:
            found = self._meeting(above, dep)
            for other in found - {user}:
                yield Need(
                    user=user, provider=other, dep=facts.spelled(dep), alone=self._is_alone(above, dep, other)
                )
        for kind in WISHES:
            for dep in plain(self.headers[user], kind):
                for other in self._meeting(above, dep) - {user}:
                    yield Need(user=user, provider=other, dep=facts.spelled(dep), kind=kind)
        for dep in plain(self.headers[user], "supplements"):
            for other in self._meeting(above, dep) - {user}:
                yield Need(user=other, provider=user, dep=facts.spelled(dep), kind="supplements")

    def _meeting(self, above: Sequence[int], dep: Dep) -> set[int]:
        """Return the packages that meet a dependency; of a rich one, those that meet a part of it."""
        return {other for leaf in self.tree.plain(dep) for other in self.tree.providers(above, leaf)}

    def _is_alone(self, above: Sequence[int], dep: Dep, other: int) -> bool:
        """Tell whether a requirement that is met would not be met without `other`."""

        def rest(leaf: Dep) -> set[int]:
            return self.tree.providers(above, leaf) - {other}

        if richdep.is_rich(dep[0]):
            return self.tree.met(above, dep) and not richdep.holds(self.tree.formula(dep[0]), rest)
        return not rest(dep)


def plain(header: Header, kind: str) -> Iterator[Dep]:
    """Yield the dependencies of one kind in the form in which databases are asked."""
    for name, flags, version in getattr(header, kind):
        sense = flags & facts.SENSE if version else 0
        yield name, sense, version if sense else ""
