"""`makecache`: fetch the metadata of all enabled repositories, so that later commands need no network."""

from __future__ import annotations

from redpak.cli import output
from redpak.cli.dnf.options import Argument, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.cli.dnf.options import Parsed
    from redpak.cli.dnf.session import Session

OPTIONS = (
    Option(flags=("--timer",), dest="timer", help="accepted: for units of timers; fetch what has expired"),
)
ARGUMENTS = (Argument(dest="when", metavar="timer", help="the same as --timer"),)


def run(session: Session, args: Parsed) -> int:  # noqa: ARG001
    """Fetch metadata."""
    if not session.configs:
        where = '", "'.join(session.site.repositories)
        session.info(f'There are no enabled repositories in "{where}".')
        return 0
    metadata = session.metadata
    if session.as_json:
        output.json([{"id": one.id, "revision": one.revision, "sha256": one.sha256} for one in metadata])
        return 0
    session.info("Metadata cache created.")
    return 0
