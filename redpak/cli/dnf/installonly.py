"""Packages of which several versions may be installed beside each other: kernels, and what the configuration names."""

from __future__ import annotations

from redpak.cli.dnf.specs import is_glob

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.cli.dnf.session import Session
    from redpak.packages.query import Query


def installonly(session: Session, some: Query) -> Query:
    """Return those of some packages that are only ever installed, never upgraded."""
    names = session.conf.list("installonlypkgs")
    return some.providing(names).union(some.named([name for name in names if is_glob(name)]))
