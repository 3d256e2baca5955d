"""What the words after a command are: names of packages, files, URLs, or groups; and getting the files."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

from redpak.cli.dnf.session import Failed, Silent
from redpak.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from redpak.cli.dnf.session import Session
    from redpak.packages.package import Package

SCHEMES = ("http", "https", "ftp", "file")
GLOB = frozenset("*?[")


class Words(Record):
    """The words of a command line, by kind, each once."""

    specs: tuple[str, ...] = ()
    files: tuple[str, ...] = ()  # paths and URLs of packages
    groups: tuple[str, ...] = ()  # without '@'


def sorted_out(words: Sequence[str]) -> Words:
    """Return the words by kind, in order."""
    specs: list[str] = []
    files: list[str] = []
    groups: list[str] = []
    for word in dict.fromkeys(words):
        if urlsplit(word).scheme in SCHEMES or word.endswith(".rpm"):
            files.append(word)
        elif word.startswith("@"):
            groups.append(word[1:])
        else:
            specs.append(word)
    return Words(specs=tuple(specs), files=tuple(files), groups=tuple(groups))


def is_glob(spec: str) -> bool:
    """Tell whether a spec is a pattern."""
    return bool(GLOB & set(spec))


def require_repositories(session: Session) -> None:
    """Fail as dnf does when no repository is enabled."""
    if not session.configs:
        where = '", "'.join(_places(session))
        hint = "Add one with 'redpak node repo add PATH SOURCE'." if session.is_node else ""
        raise Failed(f'There are no enabled repositories in "{where}".', hint=hint)


def _places(session: Session) -> list[str]:
    """Return the directories in which repositories could be configured."""
    from redpak.node.site import HOST_REPOSITORIES

    site = session.site
    if site.is_node or session.conf.list("reposdir"):
        return list(site.repositories)
    first = site.repositories[0] if site.repositories else ""
    top = site.path if first.startswith(site.path) else "/"
    return [os.path.join(top, name) for name in HOST_REPOSITORIES]


def add_files(session: Session, files: Sequence[str], *, strict: bool = True) -> list[Package]:
    """Take packages given as paths or URLs into the universe.

    Says which cannot be read, and raises Silent then, if that matters.
    """
    if not files:
        return []
    paths = []
    missing = []
    for name in files:
        address = urlsplit(name)
        if address.scheme in ("http", "https", "ftp"):
            paths.append(_fetched(session, name))
            continue
        path = address.path if address.scheme == "file" else name
        if os.path.isfile(path):
            paths.append(os.path.abspath(path))
        else:
            missing.append(name)
            session.err(f"Can not load RPM file: {name}.")
    if missing and strict:
        session.err(f"Could not open: {' '.join(missing)}")
        raise Silent
    return session.universe.add_files(paths)


def _fetched(session: Session, url: str) -> str:
    """Fetch a package by its URL and return its path in the cache. Raises RedpakError."""
    from redpak import paths
    from redpak.cli.dnf.progress import Downloads
    from redpak.packages.fetch import Wanted, fetch

    name = os.path.basename(urlsplit(url).path)
    cache = session.site.cachedir or paths.cache()
    return fetch([Wanted(name=name, urls=(url,))], cache=cache, progress=Downloads(session))[name]
