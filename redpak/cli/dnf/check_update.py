"""`check-update`: what could be upgraded; exit code 100 when there is something."""

from __future__ import annotations

from redpak.cli import output
from redpak.cli.dnf import described, listing
from redpak.cli.dnf.options import Argument, Option
from redpak.cli.dnf.specs import require_repositories

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.cli.dnf.options import Parsed
    from redpak.cli.dnf.session import Session
    from redpak.packages.package import Package

OPTIONS = (
    Option(flags=("--changelogs",), dest="changelogs", help="show what changed since the installed version"),
)
ARGUMENTS = (Argument(dest="packages", metavar="PACKAGE", help="look only for these"),)
FOUND = 100


def run(session: Session, args: Parsed) -> int:
    """Show available upgrades."""
    require_repositories(session)
    specs = args.values("packages")
    found = listing.collect(session, "upgrades", specs)
    if session.conf.flag("obsoletes") or session.level > 2:
        both = listing.collect(session, "obsoletes", specs)
        found.kinds.update(both.kinds)
        found.pairs = both.pairs
    if session.as_json:
        pairs = [
            {"new": described.data(session, new), "old": described.data(session, old)}
            for new, old in found.pairs
        ]
        output.json(
            {"upgrades": [described.data(session, one) for one in found.of("upgrades")], "obsoletes": pairs}
        )
        return FOUND if found else 0
    wide = listing.widths(session, found)
    if newer := found.of("upgrades"):
        session.out("")
        listing.show_rows(session, newer, wide)
        if args.flag("changelogs"):
            _changelogs(session, newer)
    if found.of("obsoletes"):
        session.out("Obsoleting Packages")
        listing.show_pairs(session, found, wide)
    return FOUND if found else 0


def _changelogs(session: Session, packages: list[Package]) -> None:
    """Print what is new in each source package since the version that is installed."""
    from redpak.cli.dnf.changelog import entries, text

    groups: dict[str, list[Package]] = {}
    for package in packages:
        groups.setdefault(package.sourcerpm.rsplit("-", 2)[0] or package.name, []).append(package)
    for _, members in sorted(groups.items()):
        session.out(f"Changelogs for {', '.join(map(str, members))}")
        first = members[0]
        here = session.installed.query().own().named([first.name])
        since = max((when for one in here for when, _, _ in entries(one)), default=0)
        for entry in entries(first):
            if entry[0] > since:
                session.out(text(entry, clock=True))
