"""`repoinfo`: all that is known of repositories."""

from __future__ import annotations

from redpak.cli.dnf import repolist

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.cli.dnf.options import Parsed
    from redpak.cli.dnf.session import Session

OPTIONS, ARGUMENTS = repolist.OPTIONS, repolist.ARGUMENTS


def run(session: Session, args: Parsed) -> int:
    """Show repositories."""
    return repolist.show(session, args, full=True)
