"""What `list`, `info` and `check-update` show: packages by kind, each kind under its heading."""

from __future__ import annotations

import time

from redpak.cli import output
from redpak.cli.dnf import columns, described
from redpak.cli.dnf.options import Argument, Option
from redpak.cli.dnf.session import Failed
from redpak.packages.query import Query
from redpak.packages.select import select

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import NoReturn

    from redpak.cli.dnf.options import Parsed
    from redpak.cli.dnf.session import Session
    from redpak.packages.package import Package

    Pair = tuple[Package, Package]

KINDS = (
    "all",
    "available",
    "installed",
    "extras",
    "updates",
    "upgrades",
    "autoremove",
    "recent",
    "obsoletes",
)
HEADINGS = (
    ("installed", "Installed Packages"),
    ("available", "Available Packages"),
    ("autoremove", "Autoremove Packages"),
    ("extras", "Extra Packages"),
    ("upgrades", "Available Upgrades"),
    ("obsoletes", "Obsoleting Packages"),
    ("recent", "Recently Added Packages"),
)
DAY_S = 86400


def _choice(flag: str, kind: str, what: str) -> Option:
    return Option(flags=(flag,), dest="kind", kind="const", const=kind, exclusive="kind", help=what)


OPTIONS = (
    _choice("--all", "all", "show all packages (default)"),
    _choice("--available", "available", "show only available packages"),
    _choice("--installed", "installed", "show only installed packages"),
    _choice("--extras", "extras", "show only installed packages that no repository offers"),
    _choice("--updates", "upgrades", "show only packages that are newer than installed ones"),
    _choice("--upgrades", "upgrades", "show only packages that are newer than installed ones"),
    _choice("--autoremove", "autoremove", "show only packages that nobody needs any more"),
    _choice("--recent", "recent", "show only packages that were built in the last days"),
    Option(flags=("--own",), dest="own", help="leave out the packages of ancestors and of the core OS"),
)
ARGUMENTS = (
    Argument(dest="packages", metavar="PACKAGE", help="name of packages, or what to list: installed …"),
)


def conflict(one: str, other: str) -> NoReturn:
    """Say that two options exclude each other."""
    raise Failed(f"argument {one}: not allowed with argument {other}")


class Lists:
    """The packages that are shown, by kind."""

    def __init__(self) -> None:
        self.kinds: dict[str, list[Package]] = {}
        self.pairs: list[Pair] = []  # of 'obsoletes': the new package and the old one

    def add(self, kind: str, packages: Iterable[Package]) -> None:
        """Add packages of a kind, each once."""
        known = self.kinds.setdefault(kind, [])
        known += [package for package in packages if package not in known]

    def of(self, kind: str) -> list[Package]:
        """Return the packages of a kind, sorted."""
        return sorted(self.kinds.get(kind, ()))

    def __bool__(self) -> bool:
        return any(self.kinds.values())


def asked(args: Parsed) -> tuple[str, tuple[str, ...]]:
    """Return which kind is meant, and the specs: both 'list --installed x' and 'list installed x' are understood."""
    words = args.values("packages")
    kind = args.value("kind")
    if words and words[0] in KINDS:
        kind, words = kind or words[0], words[1:]
    if args.flag("obsoletes"):
        if args.given("kind"):
            conflict("--obsoletes", f"--{args.value('kind')}")
        kind = "obsoletes"
    kind = kind or "all"
    return ("upgrades" if kind == "updates" else kind), words


def collect(session: Session, kind: str, specs: Sequence[str], *, own: bool = False) -> Lists:
    """Return the packages of a kind that match any of the specs, or all."""
    universe = session.installed if kind == "installed" else session.universe
    found = Lists()
    everything = universe.query()
    if own:
        everything = everything.available().union(everything.own())
    for spec in specs or ("",):
        some = (
            select(universe, spec, within=everything, icase=True, provides=False).query
            if spec
            else everything
        )
        _KINDS[kind](session, some, found)
    return found


def _all(session: Session, some: Query, found: Lists) -> None:
    found.add("installed", some.installed())
    found.add("available", new_ones(session, some))


def _available(session: Session, some: Query, found: Lists) -> None:
    found.add("available", new_ones(session, some))


def new_ones(session: Session, some: Query) -> list[Package]:
    """Return available packages: those that are newer than installed ones, or all where the user wants all."""
    here: dict[tuple[str, str], list[Package]] = some.installed().by_name_arch()
    compare = some.universe.pool.compare
    if every_version(session):
        return list(some.available())
    return [
        package
        for package in best_versions(some.available())
        if all(compare(package.id, other.id) > 0 for other in here.get((package.name, package.arch), ()))
    ]


def every_version(session: Session) -> bool:
    """Tell whether all versions are to be shown, not only the latest."""
    return session.options.flag("showduplicates") or session.conf.flag("showdupesfromrepos")


def best_versions(some: Query) -> Query:
    """Return of each name and architecture the latest in the repositories of the best priority."""
    return preferred(some).latest()


def preferred(some: Query) -> Query:
    """Return of each name and architecture those in the repositories of the best priority."""
    universe = some.universe
    priority = {id: getattr(one.config, "priority", 99) for id, one in universe.metadata.items()}
    if len(set(priority.values())) < 2:
        return some
    best: dict[tuple[str, str], int] = {}
    for package in some:
        key, rank = (package.name, package.arch), priority.get(package.repo, 99)
        best[key] = min(rank, best.get(key, rank))
    return some.where(lambda one: priority.get(one.repo, 99) == best[one.name, one.arch])


def _upgrades(session: Session, some: Query, found: Lists) -> None:
    found.add("upgrades", upgrades(session, some))


def upgrades(session: Session, some: Query) -> Query:
    """Return the packages that would replace installed ones, as far as the options about advisories let them."""
    from redpak.cli.dnf.advised import narrowed

    return narrowed(session, preferred(some.available()).upgrades(), newer=True).latest()


def _installed(_: Session, some: Query, found: Lists) -> None:
    found.add("installed", some.installed())


def _extras(_: Session, some: Query, found: Lists) -> None:
    found.add("extras", some.extras())


def _autoremove(_: Session, some: Query, found: Lists) -> None:
    found.add("autoremove", some.unneeded())


def _recent(session: Session, some: Query, found: Lists) -> None:
    chosen = some.available() if every_version(session) else best_versions(some.available())
    found.add("recent", recent(session, chosen))


def recent(session: Session, some: Query) -> Query:
    """Return the packages that were built in the last days, as many as the configuration says."""
    since = time.time() - session.conf.number("recent") * DAY_S
    return some.where(lambda package: package.buildtime >= since)


def _obsoletes(session: Session, some: Query, found: Lists) -> None:
    from redpak.cli.dnf.advised import narrowed

    old = some.own()
    new = narrowed(session, some.universe.query().available().obsoleting(old), newer=True)
    found.add("obsoletes", new)
    for package in new:
        for other in old.providing(package.obsoletes):
            if (package, other) not in found.pairs:
                found.pairs.append((package, other))


_KINDS: dict[str, Callable[[Session, Query, Lists], None]] = {
    "all": _all,
    "available": _available,
    "upgrades": _upgrades,
    "installed": _installed,
    "extras": _extras,
    "autoremove": _autoremove,
    "recent": _recent,
    "obsoletes": _obsoletes,
}


def show(session: Session, found: Lists, *, full: bool, specs: Sequence[str]) -> int:
    """Print packages under their headings; `full` with all that is known of each. Raises Failed when none matches."""
    if session.as_json:
        describe = described.details if full else described.data
        shown = {kind: [describe(session, one) for one in found.of(kind)] for kind in found.kinds}
        output.json(shown)
        return 0 if found or not specs else 1
    wide = widths(session, found)
    for kind, heading in HEADINGS:
        packages = found.of(kind)
        if not packages:
            continue
        session.out(heading)
        if full:
            session.out("\n".join(sorted(described.info(session, one) + "\n" for one in packages)))
        elif kind == "obsoletes":
            show_pairs(session, found, wide)
        else:
            show_rows(session, packages, wide)
    if specs and not found:
        raise Failed("No matching Packages to list")
    return 0


def show_rows(session: Session, packages: Sequence[Package], wide: Sequence[int]) -> None:
    """Print packages as rows: what is the same to the eye is shown once."""
    rows = {_row(session, package, wide): None for package in packages}
    session.out("\n".join(rows))


def show_pairs(session: Session, found: Lists, wide: Sequence[int]) -> None:
    """Print obsoleting packages, each with what it takes the place of beneath it."""
    for new, old in sorted(found.pairs, key=lambda pair: pair[0]):
        session.out(_row(session, new, wide))
        session.out(_row(session, old, wide, indent="    "))


def _cells(session: Session, package: Package, indent: str = "") -> tuple[str, str, str]:
    return f"{indent}{package.name}.{package.arch}", package.evr, described.came_from(session, package)


def _row(session: Session, package: Package, wide: Sequence[int], indent: str = "") -> str:
    cells = _cells(session, package, indent)
    return columns.row([(text, -width) for text, width in zip(cells, wide, strict=True)])


def widths(session: Session, found: Lists) -> list[int]:
    """Return how wide the three columns are for all that is shown."""
    rows = [
        _cells(session, package)
        for kind, packages in found.kinds.items()
        if kind != "obsoletes"
        for package in packages
    ]
    for new, old in found.pairs:
        rows += [_cells(session, new), _cells(session, old, "    ")]
    lengths = [[len(row[at]) for row in rows] for at in range(3)]
    return columns.widths(lengths, rest=1)
