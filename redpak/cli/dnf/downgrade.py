"""`downgrade`: the highest version below the installed one, or the one that is named."""

from __future__ import annotations

from redpak.cli.dnf import marking
from redpak.cli.dnf.execute import resolve_and_run
from redpak.cli.dnf.options import Argument, Option
from redpak.cli.dnf.session import Failed
from redpak.packages.goal import NoMatch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.cli.dnf.options import Parsed
    from redpak.cli.dnf.session import Session
    from redpak.packages.goal import Goal
    from redpak.packages.package import Package

OPTIONS: tuple[Option, ...] = ()
ARGUMENTS = (Argument(dest="packages", count="*", metavar="PACKAGE", help="package to downgrade"),)


def run(session: Session, args: Parsed) -> int:
    """Downgrade packages."""
    found, packages = marking.split(session, args.values("packages"))
    strict = session.conf.flag("strict")
    done = [_file(session, session.goal, package, strict=strict) for package in packages]
    words = [*found.specs, *(f"@{name}" for name in found.groups)]
    done += [_spec(session, session.goal, spec, strict=strict) for spec in words]
    if not any(done):
        raise Failed("No packages marked for downgrade.")
    return resolve_and_run(session)


def _file(session: Session, goal: Goal, package: Package, *, strict: bool) -> bool:
    return marking.marked(session, lambda: goal.downgrade_package(package, strict=strict))


def _spec(session: Session, goal: Goal, spec: str, *, strict: bool) -> bool:
    try:
        goal.downgrade(spec, strict=strict)
    except NoMatch as error:
        marking.say_notes(session)
        session.info(f"No package {spec} available." if error.kind == "none" else error.message)
        return False
    marking.say_notes(session)
    return True
