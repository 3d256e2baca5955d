"""What would break: a tree of databases with other packages in some of them, proven without touching anything."""

from __future__ import annotations

from redpak.packages import chains, edges, prove
from redpak.packages.facts import EQUAL, chain, facts
from redpak.packages.finding import Finding
from redpak.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from redpak.packages.edges import Broken, Tree
    from redpak.packages.facts import Dep, Facts, Place
    from redpak.packages.header import Header


class Change(Record):
    """What happens to one database. Whoever comes takes the place of the same name, and of what it obsoletes."""

    place: int
    goes: tuple[str, ...] = ()  # nevra of packages that go
    comes: tuple[Facts, ...] = ()


class Harm(Record):
    """A database that would break, or that stands on one that would."""

    place: int
    findings: tuple[Finding, ...]  # what the changes cause, in it and above it, with chains down to it
    needed: frozenset[int] = frozenset()  # which of them its own packages have to do with
    inherited: bool  # nothing of its own breaks

    @property
    def telling(self) -> tuple[Finding, ...]:
        """The findings that concern its own packages; the first one when it only stands on what breaks."""
        return tuple(self.findings[at] for at in sorted(self.needed)) or self.findings[:1]


def change(place: int, packages: Sequence[Facts], *, goes: Iterable[str], comes: Sequence[Facts]) -> Change:
    """Return the change of one database that has `packages`: what is replaced or obsoleted goes as well."""
    gone = dict.fromkeys(goes)
    for new in comes:
        for old in packages:
            if replaces(new, old):
                gone[old.nevra] = None
    return Change(place=place, goes=tuple(gone), comes=tuple(comes))


def replaces(new: Facts, old: Facts) -> bool:
    """Tell whether `rpm -U` of one package removes another: its other version, or what it obsoletes."""
    if new.name == old.name:
        same = new.arch == old.arch or "noarch" in (new.arch, old.arch)
        return same and not (edges.many_versions(new) and new.evr != old.evr)
    mine = (old.name, EQUAL, old.evr)
    return any(dep[0] == old.name and (not dep[1] or edges.overlap(mine, dep)) for dep in new.obsoletes)


def applied(places: Sequence[Place], changes: Iterable[Change]) -> tuple[Place, ...]:
    """Return the tree as it would be."""
    made = list(places)
    for one in changes:
        place = made[one.place]
        kept = tuple(package for package in place.packages if package.nevra not in one.goes)
        made[one.place] = place.but(packages=(*kept, *one.comes), key="")
    return tuple(made)


def affected(places: Sequence[Place], changes: Iterable[Change]) -> list[int]:
    """Return the databases that are changed, and all beneath them."""
    changed = {one.place for one in changes}
    return [at for at in range(len(places)) if changed & set(chain(places, at))]


def harms(places: Sequence[Place], changes: Sequence[Change], *, arch: str) -> list[Harm]:
    """Return every database that is coherent now and would not be after the changes, with the chains."""
    below = affected(places, changes)
    after = applied(places, changes)
    was, now = edges.Tree(places), edges.Tree(after)
    verdicts = prove.prove(after, arch=arch, only=below)
    caused: dict[int, list[Cause]] = {}
    for at in below:
        before = {identity(edge) for edge in was.broken(at)}
        caused[at] = [Cause(now, was, edge) for edge in now.broken(at) if identity(edge) not in before]
    found = []
    for at in below:
        own = [cause.here() for cause in caused[at]]
        own += [one for one in verdicts[at].findings if one.kind == "disagreement" and one.grade == "fault"]
        above = [(cause, cause.at(at)) for up in chain(after, at)[:-1] for cause in caused.get(up, ())]
        needed = set(range(len(own)))
        needed.update(len(own) + number for number, (cause, _) in enumerate(above) if cause.reaches(at))
        if own or above:
            findings = (*own, *(one for _, one in above))
            found.append(Harm(place=at, findings=findings, needed=frozenset(needed), inherited=not own))
    return found


class Cause:
    """An edge that the changes break, and its ways down the tree."""

    def __init__(self, now: Tree, was: Tree, edge: Broken) -> None:
        self.now = now
        self.edge = edge
        self.finding = prove.finding(now, edge)
        self.lost = lost(now, was, edge)
        self.ways: chains.Ways | None = None

    def here(self) -> Finding:
        """Return the finding where it breaks; its chain starts with what the changes take away."""
        return self.finding.but(chain=(*self.lost, *self.finding.chain))

    def way(self, place: int) -> list[str]:
        """Return how a descendant's packages depend on what breaks; [] when they do not."""
        if self.ways is None:
            self.ways = chains.Ways(self.now, chains.number_of(self.now, self.edge))
        return self.ways.to(place)

    def reaches(self, place: int) -> bool:
        """Tell whether a descendant's packages depend on what breaks."""
        return bool(self.way(place))

    def at(self, place: int) -> Finding:
        """Return the finding as a descendant meets it: down to its own package, where one needs it."""
        mine, theirs = self.now.places[place], self.now.places[self.edge.place]
        down = self.way(place)
        last = down or [f"no package of '{mine.name}' needs it, but '{mine.name}' stands on '{theirs.name}'"]
        return self.finding.but(chain=(*self.lost, *last))


def identity(edge: Broken) -> tuple[str, str, Dep, str]:
    """Return what makes two broken edges the same one."""
    return edge.kind, edge.package.nevra, edge.dep, edge.other.nevra if edge.other else ""


def lost(now: Tree, was: Tree, edge: Broken) -> list[str]:
    """Return who met a requirement before and does not any more."""
    if edge.kind != "missing-requirement":
        return []
    above = chain(was.places, edge.place)
    found = []
    for leaf in was.plain(edge.dep):
        if now.met(above, leaf):
            continue
        for at in sorted(was.providers(above, leaf)):
            found.append(f"{chains.shown(was, at)} provides {leaf[0]}, and goes")
    return found


def facts_of(headers: Iterable[Header]) -> tuple[Facts, ...]:
    """Return what a proof needs of headers, without the public keys among them."""
    return tuple(facts(header) for header in headers if not header.is_key)
