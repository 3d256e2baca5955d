"""`install`: packages by name, version, capability, file or URL."""

from __future__ import annotations

from redpak.cli.dnf import marking
from redpak.cli.dnf.execute import resolve_and_run
from redpak.cli.dnf.options import Argument, CommandLineError, Option, usage_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.cli.dnf.options import Parsed
    from redpak.cli.dnf.session import Session

OPTIONS: tuple[Option, ...] = (
    Option(flags=("--locked",), dest="locked", kind="value", metavar="FILE",
           help="install exactly what this lock file names (see redpak node lock)"),
    Option(flags=("--locked-key",), dest="locked_key", kind="value", metavar="FILE",
           help="the public key that must have signed the lock"),
)  # fmt: skip
ARGUMENTS = (Argument(dest="packages", count="*", metavar="PACKAGE", help="package to install"),)


def run(session: Session, args: Parsed) -> int:
    """Install packages."""
    if args.given("locked"):
        from redpak.cli.dnf.locked import run_locked

        return run_locked(session, args)
    if not args.values("packages"):
        called = f"{session.program} {args.command}"
        told = "the following arguments are required: PACKAGE"
        raise CommandLineError(told, usage_of(called, ARGUMENTS), program=called)
    marking.install(session, args.values("packages"), command=args.command)
    return resolve_and_run(session)
