"""`repoquery`: packages by many criteria, in many forms. Everything that dnf 4.14's does, over the family."""

from __future__ import annotations

import sys

from redpak.cli import output
from redpak.cli.dnf import described, listing, repoquery_options, table
from redpak.cli.dnf import repoquery_format as formats
from redpak.cli.dnf.repoquery_filter import filtered, of_repo_and_arch, recursive_providers
from redpak.cli.dnf.repoquery_options import attribute_of, judge
from redpak.cli.dnf.session import Failed
from redpak.packages.query import Query
from redpak.packages.select import select

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from redpak.cli.dnf.options import Parsed
    from redpak.cli.dnf.session import Session
    from redpak.packages.package import Package
    from redpak.packages.select import Form
    from redpak.packages.universe import Universe

OPTIONS, ARGUMENTS = repoquery_options.OPTIONS, repoquery_options.ARGUMENTS
FORMS: dict[str, tuple[Form, ...]] = {"name": ("name",), "name.arch": ("na",), "nevra": ("nevra",)}
DEPENDS = ("requires", "enhances", "suggests", "supplements", "recommends")


def run(session: Session, args: Parsed) -> int:
    """Query packages."""
    return query(session, args, deplist=args.flag("deplist"))


def query(session: Session, args: Parsed, *, deplist: bool) -> int:
    """Do what `repoquery` does; `deplist`: in the form of `deplist`."""
    session.hidden_info = True
    if args.flag("querytags"):
        if session.as_json:
            output.json(sorted(formats.TAGS))
        else:
            session.out(formats.TAGS_HELP)
        return 0
    judge(args)
    if args.flag("srpm"):
        enable_sources(session)
    universe = universe_of(session, args)
    some = keyed(args, universe)
    if args.value("pkgfilter") == "unsatisfied":
        return _unsatisfied(session)
    some = _listed(session, args, some)
    within = of_repo_and_arch(args, some)
    some = filtered(session, args, within)
    if args.flag("tree"):
        from redpak.cli.dnf.repoquery_tree import show

        show(session, args, some, within)
        return 0
    if args.value("list") == "userinstalled":
        some = some.user_installed()
    if attribute_of(args):
        return _attributes(session, args, some)
    if args.flag("location"):
        return _texts(session, [url for url in (location(one) for one in some) if url])
    if deplist:
        return _deplist(session, args, some)
    return _packages(session, args, some)


def universe_of(session: Session, args: Parsed) -> Universe:
    """Return the packages that are asked: without repositories where only installed ones are meant."""
    installed = (
        args.value("list") in ("installed", "userinstalled") or args.value("pkgfilter") == "installonly"
    )
    files = [key for key in args.values("key") if key.endswith(".rpm") or "://" in key]
    if files:
        from redpak.cli.dnf.specs import add_files

        add_files(session, files)
        return session.universe
    return session.installed if installed and not args.flag("available") else session.universe


def enable_sources(session: Session) -> None:
    """Let the repositories with the sources of the enabled ones take part: what is called like them, and '-source'."""
    from redpak.cli.dnf.repositories import known

    names = {one.id for one in session.configs}
    wanted = {
        f"{name.removesuffix('-rpms')}-source{'-rpms' if name.endswith('-rpms') else ''}" for name in names
    }
    for one in known(session):
        if one.id in wanted - names:
            session.warn(f"enabling {one.id} repository")
            session.configs.append(one.but(enabled=True))


def keyed(args: Parsed, universe: Universe) -> Query:
    """Return the packages that the words of the command line mean; all without words."""
    everything = universe.query()
    if args.flag("own"):
        everything = everything.available().union(everything.own())
    keys = args.values("key")
    if not keys:
        return everything
    form = table.form_of(args.command)
    found = everything.repo("@commandline")
    for key in keys:
        if not key.endswith(".rpm") and "://" not in key:
            chosen = select(
                universe, key, within=everything, forms=FORMS.get(form, ()), icase=True, provides=False
            )
            found = found.union(chosen.query)
    return found


def _listed(session: Session, args: Parsed, some: Query) -> Query:
    """Keep installed, available, newer … packages, as the options say."""
    if args.flag("recent"):
        some = listing.recent(session, some)
    kind = "" if args.flag("available") else args.value("list")
    match kind:
        case "installed":
            some = some.installed()
        case "extras":
            some = some.extras()
        case "upgrades":
            some = some.available().upgrades()
        case "unneeded":
            some = some.unneeded()
    match args.value("pkgfilter"):
        case "duplicates":
            from redpak.cli.dnf.installonly import installonly

            return some.difference(installonly(session, some)).duplicates()
        case "installonly":
            from redpak.cli.dnf.installonly import installonly

            return installonly(session, some.own())
    return some.available() if not args.given("list") else some


def _unsatisfied(session: Session) -> int:
    from redpak.cli.dnf.check import dependencies

    here = session.make_universe(available=False, ignore_excludes=True).query().installed()
    found = sorted({text for _, text, _ in dependencies(here)})
    return _texts(session, found)


def _texts(session: Session, texts: Sequence[str]) -> int:
    """Print lines, each once, sorted."""
    lines = sorted(set(texts))
    if session.as_json:
        output.json(lines)
    elif lines:
        session.out("\n".join(lines))
    return 0


def _attributes(session: Session, args: Parsed, some: Query) -> int:
    """Show dependencies instead of packages, or the packages that meet them."""
    kinds = {"depends": DEPENDS, "requires-pre": ("requires_pre",)}.get(
        attribute_of(args), (attribute_of(args),)
    )
    found = {dep for package in some for kind in kinds for dep in formats.dependencies(package, kind)}
    if not args.flag("resolve"):
        return _texts(session, sorted(found))
    everything = some.universe.query()
    within = of_repo_and_arch(
        args, everything if args.value("list") == "installed" else everything.available()
    )
    providers = within.providing(found)
    if args.flag("recursive"):
        providers = recursive_providers(within, providers)
    return _packages(session, args, providers.latest())


def _packages(session: Session, args: Parsed, some: Query) -> int:
    """Show packages in the form that is wanted."""
    if session.as_json:
        describe = described.details if args.flag("queryinfo") else described.data
        extra = _extra(args)
        output.json([{**describe(session, one), **extra(one)} for one in sorted(some)])
        return 0
    shown = formatter(session, args)
    texts = sorted({shown(package) for package in some})
    if texts:
        session.out(("\n\n" if args.flag("queryinfo") else "\n").join(texts))
    return 0


def _extra(args: Parsed) -> Callable[[Package], dict[str, object]]:
    """Return what --json adds to a package for the form that is wanted."""
    if args.flag("queryfilelist"):
        return lambda package: {"files": package.files}
    if args.flag("querychangelogs"):
        from redpak.cli.dnf.changelog import entries

        return lambda package: {
            "changelogs": [
                {"time": when, "author": who, "text": what} for when, who, what in entries(package)
            ]
        }
    return lambda _: {}


def formatter(session: Session, args: Parsed) -> Callable[[Package], str]:
    """Return how one package is written."""
    if args.flag("queryinfo"):
        return lambda package: described.info(session, package)
    if args.flag("queryfilelist"):
        return lambda package: _files(package)
    if args.flag("querysourcerpm"):
        return lambda package: package.sourcerpm or formats.NONE
    if args.flag("querychangelogs"):
        return lambda package: _changelog(package)
    pieces = formats.compiled(args.value("form", formats.DEFAULT))

    def written(package: Package) -> str:
        try:
            return formats.filled(session, pieces, package)
        except formats.UnknownTag as error:
            raise Failed(str(error)) from None

    return written


def _files(package: Package) -> str:
    files = package.files
    if not files:
        print(f"Package {package} contains no files", file=sys.stderr)
    return "\n".join(sorted(files))


def _changelog(package: Package) -> str:
    from redpak.cli.dnf.changelog import entries, text

    return "\n".join([f"Changelog for {package}", *(text(entry) for entry in entries(package))])


def location(package: Package) -> str:
    """Return the URL that a package can be fetched from, its path when it is a given file; '' when it is installed."""
    if package.installed or not package.location:
        return ""
    source = package.universe.metadata.get(package.repo)
    return source.urls(package.location, package.base_url)[0] if source else package.location


def _deplist(session: Session, args: Parsed, some: Query) -> int:
    """Show each requirement of packages with those who meet it."""
    universe = some.universe
    found = []
    for package in sorted(some):
        needs = [
            (need, _meeting(args, universe, need))
            for need in sorted(formats.dependencies(package, "requires"))
        ]
        found.append((package, needs))
    if session.as_json:
        output.json([
            {"package": str(package), "requires": [{"dependency": need, "providers": [str(one) for one in by]}
                                                   for need, by in needs]}
            for package, needs in found
        ])  # fmt: skip
        return 0
    blocks = []
    for package, needs in found:
        lines = [f"package: {package}"]
        for need, by in needs:
            lines += [f"  dependency: {need}", *(f"   provider: {one}" for one in by)]
        blocks.append("\n".join(lines))
    if blocks:
        session.out("\n\n".join(blocks))
    return 0


def _meeting(args: Parsed, universe: Universe, need: str) -> Query:
    """Return the packages that meet a requirement: the latest ones, all with --verbose."""
    met = of_repo_and_arch(args, select(universe, need).query.available())
    return met if args.flag("verbose") else met.latest()
