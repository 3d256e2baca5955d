"""Commands of dnf that are not here, and what to do instead."""

from __future__ import annotations

from redpak.cli.dnf.options import Argument, Option
from redpak.errors import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.cli.dnf.options import Parsed
    from redpak.cli.dnf.session import Session

OPTIONS: tuple[Option, ...] = ()
ARGUMENTS = (Argument(dest="words", count="*"),)


def run(_session: Session, args: Parsed) -> int:
    """Refuse, naming what does the same. Raises Refused."""
    if args.command in ("shell", "sh"):
        raise Refused("the interactive shell of dnf is not supported", hint="Use one command after another.")
    if args.command == "module":
        raise Refused(
            "modules cannot be switched: packages of default streams are taken, those of other streams are hidden",
            hint="Choose versions by repository (--repo) or by --exclude.",
        )
    if args.command.startswith("repo"):
        raise Refused(
            f"'{args.command}' is not supported",
            hint="Use the command itself with --repo ID, such as install --repo ID.",
        )
    raise Refused("groups are not supported", hint="Name the packages of the group.")
