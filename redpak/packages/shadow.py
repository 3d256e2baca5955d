"""Files of an ancestor that a descendant hides: the same path, a program earlier in PATH, a library earlier in
LD_LIBRARY_PATH. A package that means it says so: Provides: redpak-shadows(/path), the path of its own file.
"""

from __future__ import annotations

import os
import stat

from redpak.packages.facts import DECLARED, GHOST, Facts
from redpak.packages.finding import Finding
from redpak.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from redpak.packages.facts import File

PROGRAM, LIBRARY, FILE = "shadowed-program", "shadowed-library", "shadowed-file"
WORDS = {PROGRAM: "program", LIBRARY: "library", FILE: "file"}


class Shelf(Record):
    """What one member brings, by path, directories without links in them."""

    name: str
    path: str
    files: dict[str, tuple[File, Facts]]
    folders: dict[str, dict[str, str]]  # directory -> names in it -> path


class Search(Record):
    """The directories of a launch in which programs, or libraries, are looked for: in order, each with its member."""

    kind: str  # PROGRAM or LIBRARY
    places: tuple[tuple[int, str], ...]  # index among the members, directory as its packages write it


def shelf(name: str, path: str, packages: Iterable[Facts], canonical: Callable[[str], str]) -> Shelf:
    """Return the files of a member's packages that can hide, or be hidden: no directories, nothing that is a ghost."""
    files: dict[str, tuple[File, Facts]] = {}
    folders: dict[str, dict[str, str]] = {}
    for package in packages:
        for file in package.files:
            if stat.S_ISDIR(file[1]) or file[4] & GHOST:
                continue
            folder, base = os.path.split(file[0])
            folder = canonical(folder)
            at = f"{folder.rstrip('/')}/{base}"
            files[at] = (file, package)
            folders.setdefault(folder, {})[base] = at
    return Shelf(name=name, path=path, files=files, folders=folders)


def differ(one: File, two: File) -> bool:
    """Tell whether two files of one name are not the same: kind, content, target of a link.

    A 32-bit and a 64-bit file of one path are rpm's business (multilib), not a shadow.
    """
    if one[5] and two[5] and one[5] != two[5]:
        return False
    return stat.S_IFMT(one[1]) != stat.S_IFMT(two[1]) or one[2] != two[2] or one[3] != two[3]


def shadowed(
    at: int, above: Sequence[int], shelves: Sequence[Shelf], searches: Sequence[Search]
) -> list[Finding]:
    """Return what the files of member `at` hide of the members `above`, its ancestors."""
    mine = shelves[at]
    found: dict[tuple[str, int, str], Finding] = {}
    for path in mine.files:
        for up in above:
            if path in shelves[up].files and differ(mine.files[path][0], shelves[up].files[path][0]):
                kind = next((one.kind for one in searches if searched(one, at, path)), FILE)
                found[path, up, path] = finding(kind, shelves, at, path, up, path)
    for search in searches:
        hidden_by: dict[str, str] = {}
        for owner, folder in search.places:
            names = shelves[owner].folders.get(folder, {})
            if owner == at:
                for base, path in names.items():
                    if search.kind == PROGRAM or ".so" in base:
                        hidden_by.setdefault(base, path)
            elif owner in above:
                for base in hidden_by.keys() & names.keys():
                    path, theirs = hidden_by[base], names[base]
                    if differ(mine.files[path][0], shelves[owner].files[theirs][0]):
                        one = finding(search.kind, shelves, at, path, owner, theirs)
                        found.setdefault((path, owner, theirs), one)
    return list(found.values())


def searched(search: Search, at: int, path: str) -> bool:
    """Tell whether a member's file lies where a launch looks for things of that kind."""
    folder, base = os.path.split(path)
    return (at, folder) in search.places and (search.kind == PROGRAM or ".so" in base)


def finding(kind: str, shelves: Sequence[Shelf], at: int, path: str, up: int, theirs: str) -> Finding:
    """Return one shadow; one that its package declares is a note."""
    file, package = shelves[at].files[path]
    _, other = shelves[up].files[theirs]
    mine, yours = shelves[at], shelves[up]
    where = f"'{file[0]}'" if path == theirs else f"'{file[0]}' before '{theirs}'"
    declared = declares(package, (file[0], path, theirs))
    thief, owner = called(package), called(other)
    return Finding(
        kind=kind, place=mine.path, name=mine.name, package=package.nevra if package.version else "", file=file[0],
        text=f"{WORDS[kind]} {where} of {thief} [{mine.name}] hides that of {owner} [{yours.name}]"
        + (", as its package declares" if declared else ""),
        chain=(f"{owner} [{yours.name}] brings '{theirs}'", f"{thief} [{mine.name}] hides it"),
        hint="" if declared else f"Rename the file, or let the package provide '{DECLARED}{file[0]})'.",
        grade="note" if declared else "fault",
    )  # fmt: skip


def of_nobody(files: Iterable[File]) -> Facts:
    """Return a stand-in for the package of files that belong to none."""
    return Facts(("", 0, "", "", "", (), (), (), (), tuple(files), ""))


def called(package: Facts) -> str:
    """Return what a message calls a package."""
    return package.nevra if package.version else "no package"


def declares(package: Facts, names: Iterable[str]) -> bool:
    """Tell whether a package says that it hides a file on purpose."""
    wanted = {f"{DECLARED}{name})" for name in names}
    return any(provide[0] in wanted for provide in package.provides)
