"""`swap`: remove one package and install another, in one transaction."""

from __future__ import annotations

from redpak.cli.dnf import marking
from redpak.cli.dnf.execute import resolve_and_run
from redpak.cli.dnf.options import Argument, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.cli.dnf.options import Parsed
    from redpak.cli.dnf.session import Session

OPTIONS: tuple[Option, ...] = ()
ARGUMENTS = (
    Argument(dest="remove_spec", count="", help="what is removed"),
    Argument(dest="install_spec", count="", help="what is installed"),
)


def run(session: Session, args: Parsed) -> int:
    """Swap packages."""
    marking.install(session, [args.value("install_spec")])
    marking.remove(session, [args.value("remove_spec")])
    return resolve_and_run(session)
