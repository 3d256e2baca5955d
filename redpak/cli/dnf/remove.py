"""`remove` and `autoremove`: packages, those that need them, and dependencies that nobody needs any more."""

from __future__ import annotations

from redpak.cli.dnf import marking
from redpak.cli.dnf.execute import resolve_and_run
from redpak.cli.dnf.options import Argument, Option
from redpak.cli.dnf.session import Failed, Session
from redpak.packages.goal import NoMatch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.cli.dnf.options import Parsed
    from redpak.packages.package import Package

OPTIONS = (
    Option(flags=("--duplicates", "--duplicated"), dest="duplicates", exclusive="which",
           help="remove older versions of packages that are installed twice"),
    Option(flags=("--oldinstallonly",), dest="oldinstallonly", exclusive="which",
           help="remove kernels and the like beyond the newest"),
)  # fmt: skip
ARGUMENTS = (Argument(dest="packages", count="*", metavar="PACKAGE", help="package to remove"),)


def run(session: Session, args: Parsed) -> int:
    """Remove packages."""
    automatic = args.command.startswith("autoremove")
    words = args.values("packages")
    if automatic and not words:
        session.only_installed = True
        session.goal.autoremove()
        marking.say_notes(session)
        return resolve_and_run(session)
    if automatic:
        session.conf.set("clean_requirements_on_remove", value=True)
    if args.flag("duplicates"):
        _duplicates(session)
        return resolve_and_run(session)
    session.only_installed = True
    if args.flag("oldinstallonly"):
        _old_installonly(session)
    else:
        marking.remove(session, words, command=args.command)
    return resolve_and_run(session, allow_erasing=True)


def _versions(session: Session, *, installonly: bool) -> list[list[Package]]:
    """Return installed packages that are there more than once, the newest of each first."""
    own = session.universe.query().own()
    many = own.providing(session.conf.list("installonlypkgs"))
    chosen = many if installonly else own.difference(many)
    return [sorted(same, reverse=True) for same in chosen.by_name_arch().values() if len(same) > 1]


def _duplicates(session: Session) -> None:
    groups = _versions(session, installonly=False)
    if not groups:
        raise Failed("No duplicated packages found for removal.")
    for newest, *older in groups:
        try:
            session.goal.reinstall(newest.nevra)
        except NoMatch:
            session.warn(f"Installed package {newest.nevra} not available.")
        for package in older:
            session.goal.remove_package(package)


def _old_installonly(session: Session) -> None:
    older = [package for _, *rest in _versions(session, installonly=True) for package in rest]
    if not older:
        raise Failed("No old installonly packages found for removal.")
    for package in older:
        session.goal.remove_package(package)
