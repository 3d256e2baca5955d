"""`help [COMMAND]`."""

from __future__ import annotations

from redpak.cli import output
from redpak.cli.dnf import table
from redpak.cli.dnf.main import help_of, load, overview
from redpak.cli.dnf.options import Argument, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.cli.dnf.options import Parsed
    from redpak.cli.dnf.session import Session

OPTIONS: tuple[Option, ...] = ()
ARGUMENTS = (Argument(dest="cmd", count="?", metavar="COMMAND", help="the command to describe"),)


def run(session: Session, args: Parsed) -> int:
    """Print the help of a command, or of all."""
    command = table.find(args.value("cmd"))
    if command is None:
        output.write(overview(session.program))
    else:
        module = load(command)
        output.write(help_of(command, module.OPTIONS, module.ARGUMENTS, session.program))
    return 0
