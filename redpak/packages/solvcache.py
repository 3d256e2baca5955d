"""Parsed repositories and databases, kept as `.solv` files in the cache: loaded in milliseconds.

A file's name is the digest of what it was made from, so it is never out of date and never changed: it is written
aside and renamed. A cache that is damaged, or that cannot be written, costs time and nothing else.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Any

from redpak import log, paths
from redpak.errors import RedpakError, doing
from redpak.fs import write_atomically
from redpak.packages.blobs import only_ours_or_roots
from redpak.packages.pool import Pool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from redpak.packages.header import Header

FORMAT = 2  # of what we put into such a file; the library refuses files of another version of its own format
KEPT = 256  # files; the least recently used ones go


def key(*parts: str) -> str:
    """Return the name of a cache file for what these words describe."""
    return hashlib.sha256("\0".join((str(FORMAT), *parts)).encode("utf-8", "surrogateescape")).hexdigest()[
        :40
    ]


def load(pool: Pool, repo: str, name: str, make: Callable[[Pool], None], *, cachedir: str = "") -> range:
    """Add a file's packages to a repository of the pool, made by `make` in a pool of its own if it is not there.

    `make` gets an empty pool with a repository of that name. Returns the numbers of the packages.
    """
    start = pool.end
    where = os.path.join(cachedir or paths.cache(), "solv", f"{name}.solv")
    if not _read(pool, repo, where):
        _write(repo, where, make, lambda again: _take(pool, repo, again))
    pool.changed()
    return range(start, pool.end)


def extend(pool: Pool, repo: str, name: str, make: Callable[[Pool], Any], *, cachedir: str = "") -> None:
    """Add attributes to all packages of a repository, from a file that has the same packages in the same order.

    `make` does as for `load`, and returns the part of its repository that has nothing but these attributes.
    """
    where = os.path.join(cachedir or paths.cache(), "solv", f"{name}.solv")
    flags = pool.solv.Repo.REPO_EXTEND_SOLVABLES
    if not _read(pool, repo, where, flags):
        _write(repo, where, make, lambda again: _take(pool, repo, again, flags))
    pool.changed()


def _read(pool: Pool, repo: str, where: str, flags: int = 0) -> bool:
    try:
        fd = os.open(where, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        if not only_ours_or_roots(os.fstat(fd)) or not _take(pool, repo, fd, flags):
            return False
        os.utime(fd)
    except OSError as error:
        log.debug(f"cache file '{where}': {error.strerror}")
    finally:
        os.close(fd)
    return True


def _take(pool: Pool, repo: str, fd: int, flags: int = 0) -> bool:
    """Read a `.solv` file from its start. False when it is none."""
    os.lseek(fd, 0, os.SEEK_SET)
    file = pool.solv.xfopen_fd("cache.solv", fd, "r")  # it takes a duplicate
    if not file:
        return False
    try:
        return bool(pool.repos[repo].add_solv(file, flags))
    finally:
        file.close()


def _write(repo: str, where: str, make: Callable[[Pool], Any], take: Callable[[int], bool]) -> None:
    """Make the file in memory, read it, and put it into the cache."""
    made = Pool()
    made.add_repo(repo)
    part = make(made)
    fd = os.memfd_create("solv", os.MFD_CLOEXEC)
    try:
        file = made.solv.xfopen_fd("cache.solv", fd, "w")
        try:
            done = (part or made.repos[repo]).write(file)
        finally:
            file.close()
        if not done or not take(fd):
            raise RedpakError(f"cannot read the packages of '{repo}': {made.raw.errstr}")
        try:
            os.makedirs(os.path.dirname(where), mode=0o755, exist_ok=True)
            with open(os.dup(fd), "rb") as file:
                file.seek(0)
                write_atomically(where, file.read(), durable=False)
            _sweep(os.path.dirname(where))
        except (OSError, RedpakError) as error:
            log.debug(f"cannot keep '{where}': {error}")
    finally:
        os.close(fd)


def _sweep(folder: str) -> None:
    """Remove what was not used for longest."""
    found = []
    for entry in os.scandir(folder):
        try:
            found.append((entry.stat(follow_symlinks=False).st_mtime_ns, entry.path))
        except OSError:
            continue
    for _, path in sorted(found)[:-KEPT]:
        try:
            os.unlink(path)
        except OSError:
            continue


# ---- what is put into it ----


def of_headers(repo: str, headers: Callable[[], Iterable[Header]]) -> Callable[[Pool], None]:
    """Return what makes a repository of headers, with their files."""

    def make(pool: Pool) -> None:
        pool.add_headers(repo, headers())

    return make


def of_primary(repo: str, path: Callable[[], str]) -> Callable[[Pool], None]:
    """Return what makes a repository of its primary.xml."""

    def make(pool: Pool) -> None:
        _add_xml(pool, repo, path(), 0)

    return make


def of_filelists(repo: str, file: Callable[[str], str]) -> Callable[[Pool], Any]:
    """Return what makes a part of a repository that has nothing but its complete lists of files."""

    def make(pool: Pool) -> Any:
        flags = pool.solv.Repo.REPO_EXTEND_SOLVABLES | pool.solv.Repo.REPO_REUSE_REPODATA
        _add_xml(pool, repo, file("primary"), 0)
        count = pool.repos[repo].nsolvables
        part = pool.repos[repo].add_repodata()
        part.extend_to_repo()
        _add_xml(pool, repo, file("filelists"), flags)
        if pool.repos[repo].nsolvables != count:
            raise RedpakError(f"repository '{repo}' lists files of packages that it does not have")
        return part

    return make


def _add_xml(pool: Pool, repo: str, path: str, flags: int) -> None:
    file = _open(pool, path)
    try:
        if not pool.repos[repo].add_rpmmd(file, None, flags):
            raise RedpakError(f"cannot read '{path}': {pool.raw.errstr}")
    finally:
        file.close()


def _open(pool: Pool, path: str) -> Any:
    """Open a decompressed file of the metadata for the library, which closes it."""
    with doing("read the repository"):
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return pool.solv.xfopen_fd("metadata.xml", fd, "r")
    finally:
        os.close(fd)
