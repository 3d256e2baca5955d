"""`reinstall`: the same versions again."""

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
ARGUMENTS = (Argument(dest="packages", count="+", metavar="PACKAGE", help="package to reinstall"),)


def run(session: Session, args: Parsed) -> int:
    """Install the same versions again."""
    found, packages = marking.split(session, args.values("packages"))
    done = [_file(session, session.goal, package) for package in packages]
    words = [*found.specs, *(f"@{name}" for name in found.groups)]
    done += [_spec(session, session.goal, spec) for spec in words]
    if not any(done):
        raise Failed("No packages marked for reinstall.")
    return resolve_and_run(session)


def _file(session: Session, goal: Goal, package: Package) -> bool:
    return marking.marked(session, lambda: goal.reinstall_package(package))


def _spec(session: Session, goal: Goal, spec: str) -> bool:
    from redpak.cli.dnf.past import repositories
    from redpak.packages.select import select

    try:
        goal.reinstall(spec)
    except NoMatch as error:
        marking.say_notes(session)
        meant = select(session.universe, spec).query
        if error.kind == "not available":
            known = repositories(session.site)
            for package in sorted(meant.own()):
                came = known.get(package.nevra, "")
                session.info(f"Installed package {package}{f' (from {came})' if came else ''} not available.")
            return False
        offered = meant.available()
        if error.kind == "not installed" and offered:
            session.info(f"Package {offered[0].name} available, but not installed.")
        session.info(error.message)
        return False
    marking.say_notes(session)
    return True
