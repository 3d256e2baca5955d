"""`repoquery --tree`: who needs whom, as dnf draws it."""

from __future__ import annotations

from redpak.cli import output
from redpak.cli.dnf.repoquery_filter import by_all_deps
from redpak.cli.dnf.repoquery_format import dependencies
from redpak.cli.dnf.repoquery_options import attribute_of
from redpak.packages.query import Query

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from redpak.cli.dnf.options import Parsed
    from redpak.cli.dnf.session import Session
    from redpak.packages.package import Package


def show(session: Session, args: Parsed, some: Query, within: Query) -> None:
    """Print a tree for each of some packages. A package that was shown already is not gone into again."""
    from redpak.cli.dnf.repoquery import formatter

    written = formatter(session, args)
    attribute = attribute_of(args)

    def next_of(package: Package) -> Query:
        if attribute:
            return _providers(package, attribute)
        if args.flag("alldeps"):
            return by_all_deps((package.name,), within)
        return within.asking("requires", (package.name,))

    def grow(packages: Query, level: int, seen: set[Package]) -> list[Branch]:
        grown: list[Branch] = []
        for package in sorted(packages, key=lambda one: one.name):
            known: set[Package] = set() if level < 0 else seen
            if package.name.startswith(("rpmlib", "solvable")):
                return grown
            branch = Branch(package, level)
            grown.append(branch)
            if package not in known:
                known.add(package)
                branch.beneath = grow(next_of(package), level + 1, known)
        return grown

    trees = grow(some, -1, set())
    if session.as_json:
        output.json([branch.data() for branch in trees])
        return
    for branch in trees:
        for line in branch.lines(written):
            session.out(line)


class Branch:
    """A package of the tree and what comes beneath it; `level` is -1 for the first ones."""

    def __init__(self, package: Package, level: int) -> None:
        self.package = package
        self.level = level
        self.beneath: list[Branch] = []

    def lines(self, written: Callable[[Package], str]) -> Iterator[str]:
        """Yield it as dnf draws it."""
        if self.level < 0:
            yield written(self.package)
        else:
            needs = dependencies(self.package, "requires")
            yield f" {'|   ' * self.level}\\_ {written(self.package)} [{len(needs)}: {', '.join(needs)}]"
        for branch in self.beneath:
            yield from branch.lines(written)

    def data(self) -> dict[str, object]:
        """Return it for JSON."""
        return {
            "package": self.package.nevra,
            "requires": dependencies(self.package, "requires"),
            "beneath": [branch.data() for branch in self.beneath],
        }


def _providers(package: Package, attribute: str) -> Query:
    """Return who provides what a package asks for, one of each name and architecture: the last that is found."""
    everything = package.universe.query()
    found: dict[tuple[str, str], int] = {}
    for dep in sorted(set(package.dependencies(attribute))):
        for other in everything.providing([dep]):
            found[other.name, other.arch] = other.id
    return Query(package.universe, sorted(found.values()))
