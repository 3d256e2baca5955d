"""`list`: packages, one a line."""

from __future__ import annotations

from redpak.cli.dnf import listing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.cli.dnf.options import Parsed
    from redpak.cli.dnf.session import Session

OPTIONS, ARGUMENTS = listing.OPTIONS, listing.ARGUMENTS


def run(session: Session, args: Parsed) -> int:
    """List packages."""
    kind, specs = listing.asked(args)
    found = listing.collect(session, kind, specs, own=args.flag("own"))
    return listing.show(session, found, full=False, specs=specs)
