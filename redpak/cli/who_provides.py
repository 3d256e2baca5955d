"""`redpak who-provides`: which package, of which node or repository, has a capability or a file."""

from __future__ import annotations

import os

from redpak import log
from redpak.cli import output
from redpak.cli.options import Argument, Arguments, Option
from redpak.cli.place import session_at, site_at
from redpak.errors import NotFound, RedpakError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from redpak.packages.model import Layer, Site
    from redpak.packages.package import Package

    Row = dict[str, object]

SUMMARY = (
    "Tell who has a capability, a file or a command: packages of the node, of its ancestors, of the core OS and of "
    "the repositories; and files that no package owns, with the node that they belong to."
)
ARGUMENTS = (
    Argument(name="WHAT", help="a capability such as 'libz.so.1()(64bit)', a path, a command, or a glob"),
    Argument(name="PATH", help="the node's directory; the current one when left out", kind="optional"),
)
OPTIONS = (
    Option(name="installed", short="i", help="ask no repository"),
    Option(name="json", help="print JSON"),
)
EXAMPLES = (
    ("redpak who-provides 'libz.so.1()(64bit)' /srv/nodes/platform/app", "who has a library"),
    ("redpak who-provides /etc/app.conf /srv/nodes/platform/app", "whose file that is"),
)


def main(args: Arguments) -> int:
    """Find who has something."""
    site = site_at(args.word("PATH"))
    what = inner(site, args.word("WHAT"))
    rows = [*packages(site, what, installed=args.flag("installed")), *plain_files(site, what)]
    if args.flag("json"):
        output.json(rows)
        return 0 if rows else NotFound.code
    if not rows:
        raise NotFound(f"nothing in the family of '{site.path}', nor in its repositories, provides '{what}'")
    output.lines(
        output.table([(str(row["where"]), str(row["package"]), _told(row)) for row in rows], indent=0)
    )
    return 0


def _told(row: Row) -> str:
    matched = row["matched"]
    if row["package"] == "-":
        return f"no package: {row['file']}"
    return ", ".join(matched) if isinstance(matched, list) else ""


def inner(site: Site, what: str) -> str:
    """Return what a path of the host means inside: /srv/nodes/app/usr/bin/x is /usr/bin/x of that node."""
    if not what.startswith("/"):
        return what
    real = os.path.join(os.path.realpath(os.path.dirname(what)), os.path.basename(what))
    for path in (os.path.normpath(what), real):
        for layer in reversed(site.layers):
            for top in (layer.tree, layer.state, layer.path):
                if top not in ("", "/") and path.startswith(f"{top}/"):
                    return path[len(top) :]
    return what


def packages(site: Site, what: str, *, installed: bool) -> Iterator[Row]:
    """Yield the packages that have it: the node's first, then ancestors', then those of repositories."""
    from redpak.cli.dnf.matches import files_of, provides_of
    from redpak.cli.dnf.provides import providers

    session = session_at(site.path)
    universe = session.installed
    if not installed:
        try:
            universe = session.universe
        except RedpakError as error:
            log.warn(f"the repositories cannot be asked: {error.message}; looking at installed packages only")
    found, used = providers(universe, what)
    depth = {layer.path: at for at, layer in enumerate(site.layers)}
    for one in sorted(found, key=lambda one: (-depth.get(one.layer.path, 0) if one.layer else 1, one)):
        hits = [text for word in used for text in files_of(one, word) or provides_of(one, word)]
        yield _row(one, sorted(set(hits)))


def _row(one: Package, matched: list[str]) -> Row:
    layer = one.layer
    return {
        "where": place(layer) if layer else f"repository {one.repo}",
        "package": one.nevra,
        "installed": layer is not None,
        "layer": layer.name if layer else "",
        "repo": "" if layer else one.repo,
        "matched": matched,
    }


def place(layer: Layer) -> str:
    """Return what people call a layer."""
    return f"node {layer.name}" if layer.kind == "node" else layer.name


def plain_files(site: Site, what: str) -> Iterator[Row]:
    """Yield files of nodes that no package of that node owns; the core OS's are not looked at."""
    from redpak.packages import core

    if not what.startswith("/") or any(sign in what for sign in "*[?"):
        return
    for layer in reversed(site.layers):
        if layer.kind != "node":
            continue
        for top in dict.fromkeys((layer.tree, layer.state)):
            path = top + what
            if top and os.path.lexists(path) and not os.path.isdir(path):
                owned = any(what in header.paths() for header in core.headers(layer))
                if not owned:
                    yield {
                        "where": place(layer),
                        "package": "-",
                        "installed": True,
                        "layer": layer.name,
                        "repo": "",
                        "matched": [what],
                        "file": path,
                    }
                break
