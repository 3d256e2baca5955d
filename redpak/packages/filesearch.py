"""Who owns a file: a search through all lists of files, made fast by looking at last names first."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from redpak.packages.pool import Pool

MANY = 2000  # packages with a file of that last name: then comparing whole paths everywhere is faster


def owners(pool: Pool, path: str, *, icase: bool = False) -> set[int]:
    """Return the packages that own a path; '*' in it stands for anything, '/' included."""
    search, key = pool.solv.Dataiterator, pool.solv.SOLVABLE_FILELIST
    case = search.SEARCH_NOCASE if icase else 0
    whole = search.SEARCH_FILES | search.SEARCH_COMPLETE_FILELIST | case
    whole |= search.SEARCH_GLOB if _is_glob(path) else search.SEARCH_STRING
    last = path.rpartition("/")[2]
    if last and not _is_glob(last):
        # Joining directories and names is what costs time: a hundred times as much as comparing names.
        names = search.SEARCH_COMPLETE_FILELIST | search.SEARCH_STRING | case
        near = {match.solvid for match in pool.raw.Dataiterator(key, last, names)}
        if len(near) <= MANY:
            return {
                n for n in near if any(True for _ in pool.raw.id2solvable(n).Dataiterator(key, path, whole))
            }
    return {match.solvid for match in pool.raw.Dataiterator(key, path, whole)}


def always_listed(path: str) -> bool:
    """Whether primary.xml already lists a file (createrepo's rule: what programs are likely to require)."""
    known = path.startswith("/etc/") or "bin/" in path or path == "/usr/lib/sendmail"
    return known and path.startswith("/") and not _is_glob(path)


def _is_glob(text: str) -> bool:
    return any(sign in text for sign in "*[?")
