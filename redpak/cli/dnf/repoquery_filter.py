"""The criteria of `repoquery`: --whatrequires and its sisters, --file, --arch, --latest-limit, --srpm."""

from __future__ import annotations

from redpak.packages.query import Query
from redpak.packages.select import is_glob, select

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from redpak.cli.dnf.options import Parsed
    from redpak.cli.dnf.session import Session

WEAK = ("recommends", "enhances", "supplements", "suggests")


def of_repo_and_arch(args: Parsed, some: Query) -> Query:
    """Keep packages of the repositories and architectures that the options name."""
    if args.given("repo"):
        some = some.repo(*args.values("repo"))
    if args.given("arches"):
        some = some.arch(*args.values("arches"))
    return some


def filtered(session: Session, args: Parsed, some: Query) -> Query:
    """Keep the packages that meet every criterion."""
    if args.given("file"):
        some = some.with_file(args.values("file"))
    if specs := args.values("whatconflicts"):
        some = _asking("conflicts", specs, some)
    if specs := args.values("whatobsoletes"):
        some = some.asking("obsoletes", [spec for spec in specs if not is_glob(spec)])
    if specs := args.values("whatprovides"):
        some = some.providing(specs) or some.with_file(specs)
    for kind in ("requires", "depends"):
        if specs := args.values(f"what{kind}"):
            weak = kind == "depends"
            if args.flag("exactdeps"):
                some = _exactly(specs, some, weak=weak)
            else:
                some = by_all_deps(specs, some, weak=weak, recursive=args.flag("recursive"))
    for kind in ("recommends", "enhances", "supplements", "suggests"):
        if specs := args.values(f"what{kind}"):
            some = _asking(kind, specs, some)
    if args.given("latest_limit") and args.number("latest_limit"):
        some = some.latest(args.number("latest_limit"))
    from redpak.cli.dnf.advised import narrowed

    some = narrowed(session, some)
    return _sources(some) if args.flag("srpm") else some


def _asking(kind: str, specs: Sequence[str], some: Query) -> Query:
    """Return packages with a dependency on one of the words, or on a package that one of them names."""
    return some.asking(kind, specs).union(some.asking_for(kind, meant(specs, some)))


def meant(specs: Sequence[str], some: Query) -> Query:
    """Return the packages that words name, not what they provide."""
    found = Query(some.universe, ())
    for spec in specs:
        chosen = select(some.universe, spec, provides=False, files=False).query
        found = found.union(some.intersection(chosen))
    return found


def _exactly(specs: Sequence[str], some: Query, *, weak: bool) -> Query:
    found = some.asking("requires", specs)
    for kind in WEAK if weak else ():
        found = found.union(some.asking(kind, specs))
    return found


def by_all_deps(specs: Sequence[str], some: Query, *, weak: bool = False, recursive: bool = False) -> Query:
    """Return packages that need what words name: by name, by what it provides, by its files."""
    named = meant(specs, some)
    found = Query(some.universe, ())
    for kind in ("requires", *(WEAK if weak else ())):
        found = found.union(some.asking(kind, specs)).union(some.asking_for(kind, named))
    new = found
    while recursive and new:
        new = some.asking_for("requires", new).difference(found)
        found = found.union(new)
    return found


def recursive_providers(within: Query, providers: Query) -> Query:
    """Return packages with all that they require, and so on."""
    found = new = providers
    while new:
        new = within.providing({dep for package in new for dep in package.requires}).difference(found)
        found = found.union(new)
    return found


def _sources(some: Query) -> Query:
    """Return the source packages of some packages, as far as an enabled repository has them."""
    wanted = {(package.sourcerpm.rsplit("-", 2)[0], package.evr) for package in some if package.sourcerpm}
    return some.universe.query().where(lambda one: one.arch == "src" and (one.name, one.evr) in wanted)
