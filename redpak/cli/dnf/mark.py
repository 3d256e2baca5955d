"""`mark install|remove|group`: say why installed packages are there."""

from __future__ import annotations

from redpak.cli.dnf.options import Argument, Option
from redpak.cli.dnf.session import Silent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.cli.dnf.options import Parsed
    from redpak.cli.dnf.session import Session

OPTIONS: tuple[Option, ...] = ()
ARGUMENTS = (
    Argument(dest="mark", count="", choices=("install", "remove", "group"),
             help="install: the user wants it; remove: it is only a dependency; group: it came with a group"),
    Argument(dest="packages", count="+", metavar="PACKAGE", help="installed package"),
)  # fmt: skip
REASONS = {"install": "user", "remove": "dependency", "group": "group"}
SAID = {
    "install": "{} marked as user installed.",
    "remove": "{} unmarked as user installed.",
    "group": "{} marked as group installed.",
}


def run(session: Session, args: Parsed) -> int:
    """Write down other reasons for installed packages."""
    from redpak.cli.dnf.past import remember_reasons
    from redpak.packages.select import select

    universe = session.installed
    own = universe.query().own()
    changed: dict[str, str] = {}
    said: list[str] = []
    unknown: list[str] = []
    for spec in args.values("packages"):
        found = select(universe, spec, within=own).query
        for package in sorted(found):
            changed[f"{package.name}.{package.arch}"] = REASONS[args.value("mark")]
            said.append(SAID[args.value("mark")].format(package))
        if not found:
            unknown.append(spec)
    for line in said:
        session.info(line)
    if unknown:
        session.err("Error:")
        for spec in unknown:
            session.err(f"Package {spec} is not installed.")
        raise Silent
    remember_reasons(session, changed)
    return 0
