"""`search`: packages by words in their names and summaries, or in all that is said of them."""

from __future__ import annotations

from redpak.cli import output
from redpak.cli.dnf import described, layout, listing
from redpak.cli.dnf.matches import verbose_lines
from redpak.cli.dnf.options import Argument, Option
from redpak.packages.query import Query
from redpak.packages.select import is_glob, matcher

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from redpak.cli.dnf.options import Parsed
    from redpak.cli.dnf.session import Session
    from redpak.packages.package import Package

OPTIONS = (Option(flags=("--all",), dest="all", help="search also package description and URL"),)
ARGUMENTS = (Argument(dest="words", count="+", metavar="KEYWORD", help="keyword to search for"),)

# What is looked at, how dnf calls it, and how much a match there weighs.
PARTS = {"name": ("Name", 7), "summary": ("Summary", 4), "description": ("Description", 2), "url": ("URL", 1)}


class Match:
    """Which parts of a package fit which words."""

    def __init__(self) -> None:
        self.hits: list[tuple[str, str]] = []  # part, word

    @property
    def parts(self) -> list[str]:
        """The parts that fit, each once."""
        return list(dict.fromkeys(part for part, _ in self.hits))

    @property
    def words(self) -> list[str]:
        """The words that were found, each once."""
        return list(dict.fromkeys(word for _, word in self.hits))

    def weight(self, package: Package) -> int:
        """Return how good the match is; a name that is the word itself counts twice."""
        return sum(
            PARTS[part][1] * (2 if part == "name" and package.name == word else 1) for part, word in self.hits
        )

    def is_exact(self, package: Package) -> bool:
        """Tell whether what fits is nothing but the words."""
        return {getattr(package, part) for part in self.parts} == set(self.words)


def run(session: Session, args: Parsed) -> int:
    """Search packages."""
    session.hidden_info = True
    words, thorough = list(args.values("words")), args.flag("all")
    if words[0] == "all" and len(words) > 1:
        words, thorough = words[1:], True
    universe = session.universe
    found = matched(universe.query(), words, thorough=thorough)
    if not thorough:
        found = {one: match for one, match in found.items() if len(match.words) == len(set(words))}
    if not listing.every_version(session):
        newest = Query(universe, sorted(one.id for one in found)).latest()
        found = _one_each(found, newest)
    order = sorted(found, key=lambda one: (-found[one].weight(one), one.name))
    if session.as_json:
        output.json([{**described.data(session, one), "matched": found[one].parts} for one in order])
        return 0
    if not order:
        session.warn("No matches found.")
        return 0
    _show(session, order, found)
    return 0


def matched(some: Query, words: Sequence[str], *, thorough: bool) -> dict[Package, Match]:
    """Return the packages that have one of the words somewhere."""
    tests = [(word, _test(word)) for word in dict.fromkeys(words)]
    stages = (("name", "summary"), ("description", "url")) if thorough else (("name", "summary"),)
    found: dict[Package, Match] = {}
    for parts in stages:
        for word, fits in tests:
            for part in parts:
                for package in some:
                    if fits(getattr(package, part) or ""):
                        found.setdefault(package, Match()).hits.append((part, word))
    return found


def _test(word: str) -> Callable[[str], bool]:
    if is_glob(word):
        return matcher(word, icase=True)
    low = word.lower()
    return lambda text: low in text.lower()


def _one_each(found: dict[Package, Match], newest: Query) -> dict[Package, Match]:
    """Keep one package of each name and architecture."""
    seen: set[tuple[str, str]] = set()
    kept = {}
    for package in newest:
        if (package.name, package.arch) not in seen:
            seen.add((package.name, package.arch))
            kept[package] = found[package]
    return kept


def _show(session: Session, order: Sequence[Package], found: dict[Package, Match]) -> None:
    heading: tuple[list[str], list[str], bool] | None = None
    for package in order:
        match = found[package]
        now = (match.parts, sorted(match.words), match.is_exact(package))
        if now != heading:
            heading = now
            names = " & ".join(PARTS[part][0] for part in match.parts)
            session.out(
                layout.section(f"{names} {'Exactly ' if now[2] else ''}Matched: {', '.join(match.words)}")
            )
        called = str(package) if listing.every_version(session) else f"{package.name}.{package.arch}"
        session.out(layout.keyed(f"{called} : ", package.summary))
        if session.level > 2:
            values = [getattr(package, part) for part in match.parts]
            session.out("\n".join(verbose_lines(package, values)))
