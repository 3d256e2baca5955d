"""`upgrade`, `upgrade-minimal` and `distro-sync`: the versions that the repositories have."""

from __future__ import annotations

from redpak.cli.dnf import marking, specs
from redpak.cli.dnf.execute import resolve_and_run
from redpak.cli.dnf.options import Argument, Option
from redpak.cli.dnf.session import Failed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from redpak.cli.dnf.options import Parsed
    from redpak.cli.dnf.session import Session
    from redpak.packages.goal import Goal
    from redpak.packages.package import Package

OPTIONS: tuple[Option, ...] = ()
ARGUMENTS = (
    Argument(dest="packages", count="*", metavar="PACKAGE", help="package to upgrade; all when left out"),
)
SYNC = ("distro-sync", "distrosync", "distribution-synchronization", "dsync")


def run(session: Session, args: Parsed) -> int:
    """Upgrade packages."""
    words = args.values("packages")
    if args.command in SYNC:
        _sync(session, words)
    else:
        _upgrade(session, words)
    return resolve_and_run(session)


def _sync(session: Session, words: Sequence[str]) -> None:
    specs.require_repositories(session)
    if not words:
        session.goal.distro_sync()
    if words and not any([_sync_one(session, session.goal, spec) for spec in words]):
        raise Failed("No packages marked for distribution synchronization.")


def _sync_one(session: Session, goal: Goal, spec: str) -> bool:
    """Synchronise what a spec means; tell whether it meant something that is installed."""
    missing = f"No package {spec} installed."
    said: list[str] = []

    def act() -> None:
        goal.distro_sync(spec)
        said.extend(note.text for note in goal.notes)

    return marking.marked(session, act) and missing not in said


def _upgrade(session: Session, words: Sequence[str]) -> None:
    found, packages = marking.split(session, words)
    if not words:
        session.goal.upgrade()
        marking.say_notes(session)
        return
    done = [_file(session, session.goal, package) for package in packages]
    done += [_spec(session, session.goal, spec) for spec in found.specs]
    for name in found.groups:
        session.err(f"Module or Group '{name}' is not available.")
    if not any(done):
        raise Failed("No packages marked for upgrade.")


def _file(session: Session, goal: Goal, package: Package) -> bool:
    return marking.marked(session, lambda: goal.upgrade_package(package))


def _spec(session: Session, goal: Goal, spec: str) -> bool:
    return marking.marked(session, lambda: goal.upgrade(spec))
