"""`deplist`: the requirements of packages, and who meets them; the same as `repoquery --deplist`."""

from __future__ import annotations

from redpak.cli.dnf.repoquery import query
from redpak.cli.dnf.repoquery_options import ARGUMENTS, OPTIONS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.cli.dnf.options import Parsed
    from redpak.cli.dnf.session import Session

__all__ = ["ARGUMENTS", "OPTIONS", "run"]


def run(session: Session, args: Parsed) -> int:
    """Show requirements and who meets them."""
    return query(session, args, deplist=True)
