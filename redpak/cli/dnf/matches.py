"""Where a package fits what was looked for: the lines that `provides` and `search -v` show beneath it."""

from __future__ import annotations

from fnmatch import fnmatchcase

from redpak.cli.dnf import described, layout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from redpak.packages.package import Package

RELATIONS = frozenset("=<>")


def files_of(package: Package, wanted: str) -> list[str]:
    """Return the paths of a package that fit a path or pattern."""
    if not wanted.startswith(("/", "*/", "?", "[")) and "/" not in wanted:
        return []
    return [path for path in package.files if fnmatchcase(path, wanted)]


def provides_of(package: Package, wanted: str) -> list[str]:
    """Return what a package provides and fits, by name; versions are left to whoever chose the package."""
    name = wanted.split()[0] if RELATIONS & set(wanted) else wanted
    return [one for one in package.provides if fnmatchcase(one, wanted) or fnmatchcase(one.split()[0], name)]


def verbose_lines(package: Package, values: Sequence[str]) -> list[str]:
    """Return the repository of a package and what of it fits; an empty line ends them."""
    lines = [f"Repo        : {described.repository(package)}"]
    rows: list[str] = []
    named = False
    for value in dict.fromkeys(values):
        if value == package.summary:
            named = True
        elif value == package.description:
            rows.append(layout.keyed("Description : ", value))
        elif value == package.url:
            rows.append(f"URL         : {value}")
        else:
            rows += _rows(package, value)
    if not rows and not named:
        rows = [f"Other       : {value}" for value in dict.fromkeys(values)]
    return [*lines, *(["Matched from:", *rows] if rows else []), ""]


def _rows(package: Package, value: str) -> Iterator[str]:
    files = files_of(package, value)
    if files:
        yield from (f"Filename    : {path}" for path in files)
        return
    yield from (f"Provide    : {one}" for one in provides_of(package, value))
