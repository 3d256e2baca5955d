"""`provides`: which package has a file or a capability."""

from __future__ import annotations

from redpak.cli import output
from redpak.cli.dnf import described, layout
from redpak.cli.dnf.matches import files_of, provides_of, verbose_lines
from redpak.cli.dnf.options import Argument, Option
from redpak.cli.dnf.session import Failed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.cli.dnf.options import Parsed
    from redpak.cli.dnf.session import Session
    from redpak.packages.query import Query
    from redpak.packages.universe import Universe

OPTIONS: tuple[Option, ...] = ()
ARGUMENTS = (
    Argument(dest="words", count="+", metavar="PROVIDE", help="a capability, a path, a command, a pattern"),
)

BINARIES = ("/bin/", "/sbin/", "/usr/bin/", "/usr/sbin/")
NOTHING = (
    "No matches found. If searching for a file, try specifying the full path or using a wildcard prefix "
    '("*/") at the beginning.'
)


def run(session: Session, args: Parsed) -> int:
    """Show who provides something."""
    universe = session.universe
    used: list[str] = []
    found = []
    for word in args.values("words"):
        some, searched = providers(universe, word)
        found += list(some)
        used += searched
    if session.as_json:
        output.json([
            {
                **described.data(session, one),
                "files": sorted({path for value in used for path in files_of(one, value)}),
                "provides": sorted({text for value in used for text in provides_of(one, value)}),
            }
            for one in sorted(found)
        ])  # fmt: skip
        return 0 if found else 1
    for package in sorted(found):
        session.out(layout.keyed(f"{package} : ", package.summary))
        session.out("\n".join(verbose_lines(package, used)))
    if not found:
        raise Failed(NOTHING)
    return 0


def providers(universe: Universe, word: str) -> tuple[Query, list[str]]:
    """Return who has a file or capability of that name, and what was looked for in the end.

    Files go first; a word that nobody provides may be a command.
    """
    everything = universe.query()
    if found := everything.with_file([word]):
        return found, [word]
    if found := everything.providing([word]):
        return found, [word]
    if word.startswith(("/bin/", "/sbin/")):
        paths = [f"/usr{word}"]
    elif word.startswith("/"):
        return found, [word]
    else:
        paths = [f"{folder}{word}" for folder in BINARIES]
    return everything.with_file(paths) or everything.providing(paths), paths
