"""The options about advisories: --security, --bugfix, --advisory, --cve and so on, for commands that ask."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.cli.dnf.session import Session
    from redpak.packages.query import Query

KINDS = ("bugfix", "enhancement", "newpackage", "security")
LISTS = ("advisory", "bugzilla", "cves", "severity")


def is_asked(session: Session) -> bool:
    """Tell whether any of these options was given."""
    options = session.options
    return any(options.flag(kind) for kind in KINDS) or any(options.given(name) for name in LISTS)


def narrowed(session: Session, some: Query, *, newer: bool = False) -> Query:
    """Keep packages that such advisories bring; all without such options. `newer`: only what is not installed yet."""
    if not is_asked(session):
        return some
    from redpak.packages.advisories import Wanted

    options = session.options
    wanted = Wanted(
        advisories=tuple(some.universe.advisories()),
        kinds=tuple(kind for kind in KINDS if options.flag(kind)),
        ids=options.values("advisory"),
        bugs=options.values("bugzilla"),
        cves=options.values("cves"),
        severities=options.values("severity"),
    )
    return wanted.of(some, upgrade=newer)
