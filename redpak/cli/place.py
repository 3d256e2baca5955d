"""From a path on the command line to a site and a session: a node, or another system's root directory."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.cli.dnf.session import Session
    from redpak.packages.model import Site


def site_at(path: str) -> Site:
    """Return the site at a path: of the node there, else of a plain directory with packages. Raises NotFound."""
    from redpak.errors import NotFound
    from redpak.node import site, tree

    where = os.path.realpath(path or ".")
    if not os.path.isdir(where):
        raise NotFound(f"'{path}' is no directory", hint="Name a node.")
    if tree.is_node(where):
        return site.site_of(where)
    found = site.installroot(where)
    if not site.has_database(found.own.rpmdb):
        raise NotFound(f"'{where}' is no node and has no packages", hint="Name a node: redpak node list")
    return found


def session_at(path: str, *words: str) -> Session:
    """Return a session of dnf's commands for a path, as if `words` had been typed."""
    from redpak.cli.dnf.options import parse
    from redpak.cli.dnf.session import Session
    from redpak.node import tree

    where = os.path.realpath(path or ".")
    option = "--redpath" if tree.is_node(where) else "--installroot"
    line = ["--quiet", option, where, *words]
    return Session(parse(line, "redpak", (), ()), program="redpak")
