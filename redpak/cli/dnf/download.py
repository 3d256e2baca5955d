"""`download`: package files into a directory, with --resolve also what they need."""

from __future__ import annotations

import os
import shutil
from urllib.parse import urlsplit

from redpak.cli import output
from redpak.cli.dnf import listing
from redpak.cli.dnf.options import Argument, Option
from redpak.cli.dnf.repoquery import enable_sources
from redpak.cli.dnf.session import Failed
from redpak.errors import doing
from redpak.packages.model import Item, Transaction
from redpak.packages.select import select

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from redpak.cli.dnf.options import Parsed
    from redpak.cli.dnf.session import Session
    from redpak.packages.package import Package
    from redpak.packages.query import Query
    from redpak.packages.universe import Universe

PROTOCOLS = ("http", "https", "rsync", "ftp", "file")
OPTIONS = (
    Option(flags=("--source",), dest="source", help="download the source package instead"),
    Option(flags=("--debuginfo",), dest="debuginfo", help="download the debuginfo package instead"),
    Option(flags=("--debugsource",), dest="debugsource", help="download the debugsource package instead"),
    Option(flags=("--arch", "--archlist"), dest="arches", kind="list", metavar="[arch]",
           help="limit the query to packages of these architectures"),
    Option(flags=("--resolve",), dest="resolve", help="resolve and download needed dependencies"),
    Option(flags=("--alldeps",), dest="alldeps", help="with --resolve: all of them, also those that are installed"),
    Option(flags=("--url", "--urls"), dest="url", help="print the URLs instead of downloading"),
    Option(flags=("--urlprotocol", "--urlprotocols"), dest="urlprotocol", kind="list", choices=PROTOCOLS,
           help="with --url: only of these protocols"),
)  # fmt: skip
ARGUMENTS = (Argument(dest="packages", count="+", metavar="PACKAGE", help="packages to download"),)


def run(session: Session, args: Parsed) -> int:
    """Download packages."""
    if args.flag("source"):
        enable_sources(session)
    universe = session.universe
    chosen = [one for spec in args.values("packages") for one in _meant(session, args, universe, spec)]
    items = [item_of(one) for one in dict.fromkeys(chosen)]
    if args.flag("resolve"):
        items = resolved(session, chosen, everything=args.flag("alldeps"))
    items = sorted({item.nevra: item for item in items}.values(), key=lambda item: item.nevra)
    if args.flag("url"):
        return _urls(session, items, args.values("urlprotocol"))
    return _fetch(session, items)


def _meant(session: Session, args: Parsed, universe: Universe, spec: str) -> Query:
    """Return the latest packages that a word means. Raises Failed when there are none."""
    found = select(universe, spec).query.available()
    if args.given("arches"):
        found = found.arch(*args.values("arches"))
    for flag, suffix in (("debuginfo", "debuginfo"), ("debugsource", "debugsource")):
        if args.flag(flag):
            found = _beside(universe, found, suffix)
    if args.flag("source"):
        found = _source(universe, found)
    else:
        found = found.without_source()
    found = listing.best_versions(found)
    if not found:
        text = f"No package {spec} available."
        session.err(text)
        if not session.conf.flag("strict"):
            return found
        session.err("Exiting due to strict setting.")
        raise Failed(text)
    return found


def _source(universe: Universe, some: Query) -> Query:
    """Return the source packages that packages were built from."""
    wanted = {one.sourcerpm for one in some if one.sourcerpm} | {
        f"{one.name}-{one.version}-{one.release}.src.rpm" for one in some if one.arch == "src"
    }
    sources = universe.query().where(lambda one: one.arch in ("src", "nosrc"))
    return sources.where(lambda one: f"{one.name}-{one.version}-{one.release}.{one.arch}.rpm" in wanted)


def _beside(universe: Universe, some: Query, suffix: str) -> Query:
    """Return the packages with debugging symbols (or their sources) of the same builds."""
    wanted = set()
    for one in some:
        source = one.sourcerpm.rsplit("-", 2)[0]
        wanted |= {(f"{name}-{suffix}", one.evr, one.arch) for name in (one.name, source)}
    return universe.query().available().where(lambda one: (one.name, one.evr, one.arch) in wanted)


def item_of(one: Package) -> Item:
    """Return a package as something to fetch."""
    return Item(
        action="install", name=one.name, epoch=one.epoch, version=one.version, release=one.release, arch=one.arch,
        repo=one.repo, location=one.location, base=one.base_url, checksum=one.checksum,
        download_size=one.downloadsize, install_size=one.installsize, reason="user",
    )  # fmt: skip


def resolved(session: Session, chosen: Sequence[Package], *, everything: bool) -> list[Item]:
    """Return packages with what they need; `everything`: as if nothing were installed. Raises Failed."""
    from redpak.packages.goal import Goal
    from redpak.packages.problems import Unsolvable

    universe = session.universe
    if everything:
        universe = session.make_universe(empty=True)
    goal = Goal(universe)
    for one in chosen:
        for same in universe.query().available().named([one.name]):
            if (same.nevra, same.repo) == (one.nevra, one.repo):
                goal.install_package(same)
    try:
        found: Transaction = goal.resolve(
            best=False, allow_erasing=True, weak_deps=session.conf.flag("install_weak_deps")
        )
    except Unsolvable as error:
        session.err(f"Error: {error.message}")
        raise Failed("Error in resolve of packages:\n    " + "\n    ".join(map(str, chosen))) from None
    return [*(item_of(one) for one in chosen), *(item for item in found.items if item.action != "remove")]


def _urls(session: Session, items: Sequence[Item], protocols: Sequence[str]) -> int:
    known = {one.id: one for one in session.metadata}
    found = {}
    for item in items:
        urls = known[item.repo].urls(item.location, item.base) if item.repo in known else (item.location,)
        urls = tuple(url for url in urls if not protocols or urlsplit(url).scheme in protocols)
        if not urls:
            raise Failed(f"Failed to get mirror for package: {item.name}")
        found[item.nevra] = urls[0]
    if session.as_json:
        output.json([{"nevra": nevra, "url": url} for nevra, url in found.items()])
    elif found:
        session.out("\n".join(found.values()))
    return 0


def _fetch(session: Session, items: Sequence[Item]) -> int:
    """Fetch packages and put them into the directory that is wanted."""
    from redpak.cli.dnf.downloads import file_name, said_as_dnf_does
    from redpak.cli.dnf.progress import Downloads
    from redpak.packages.download import packages

    folder = os.path.abspath(session.options.value("destdir") or ".")
    with said_as_dnf_does(session):
        paths = packages(
            items, session.metadata, site=session.site, progress=Downloads(session), verify=False
        )
    kept = []
    with doing("store the packages"):
        os.makedirs(folder, exist_ok=True)
        for item in items:
            to = os.path.join(folder, file_name(item))
            if not (os.path.exists(to) and os.path.samefile(paths[item.nevra], to)):
                aside = f"{to}.part"
                shutil.copyfile(paths[item.nevra], aside)
                os.rename(aside, to)
            kept.append({"nevra": item.nevra, "path": to, "checksum": item.checksum, "repo": item.repo})
    if session.as_json:
        output.json(kept)
    return 0
