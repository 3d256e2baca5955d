"""Host paths as mount sources: resolved by us, one component at a time, never through a symlink that a node ships."""

from __future__ import annotations

import errno
import os
import stat

from redpak.paths import PACKAGES
from redpak.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

MOST_LINKS = 40  # as the kernel (path_resolution(7))


class Source(Record):
    """A resolved path. `absent` are the directories that are not there, parents first, when `missing` was allowed."""

    path: str  # canonical: absolute, no symlink in it
    mode: int = 0  # st_mode, 0 when it is not there
    absent: tuple[str, ...] = ()


class Untrusted(Exception):
    """A symlink on the way must not be followed."""


def beneath(path: str, trees: Iterable[str]) -> str:
    """Return the first of `trees` that is `path` or contains it, '' for none. Lexical; no trailing slashes."""
    for tree in trees:
        if path == tree or path.startswith(tree if tree.endswith("/") else tree + "/"):
            return tree
    return ""


def generation(path: str) -> str:
    """Return the generation of packages that a path lies in: '…/.redpak/generations/8'; '' for none.

    Whoever removes one takes an exclusive flock(2) on its directory first; a launch holds a shared one.
    """
    before, found, after = path.partition(f"/{PACKAGES}/generations/")
    number = after.partition("/")[0]
    return f"{before}{found}{number}" if number.isascii() and number.isdigit() else ""


def trusted_owner(at: os.stat_result, uid: int) -> bool:
    """Tell whether root or the launching user owns a file."""
    return at.st_uid in (0, uid)


def only_ours(at: os.stat_result, *, directory: bool = False) -> bool:
    """Tell whether this is a regular file (a directory) of ours that nobody else may change."""
    kind = stat.S_ISDIR(at.st_mode) if directory else stat.S_ISREG(at.st_mode)
    return kind and at.st_uid == os.geteuid() and not at.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _follow(folder: str, path: str, link: os.stat_result, trees: tuple[str, ...], uid: int) -> None:
    """Raise Untrusted unless the symlink at `path`, in `folder`, may be followed."""
    tree = beneath(path, trees)
    if tree:
        raise Untrusted(f"'{path}' is a symbolic link inside the node '{tree}'")
    where = os.lstat(folder)
    if not trusted_owner(link, uid) or not trusted_owner(where, uid):
        raise Untrusted(f"'{path}' is a symbolic link of another user (uid {link.st_uid})")
    if where.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise Untrusted(f"'{path}' is a symbolic link in a directory that others may write to")


def resolve(path: str, *, trees: tuple[str, ...], uid: int) -> Source:
    """Return the canonical path of an absolute `path`; what is missing at its end is listed in `absent`.

    A symlink is followed only outside `trees` (the family's nodes), where it and its directory belong to root or to
    `uid` and nobody else may write to the directory. Raises Untrusted for any other, OSError ELOOP for too many,
    ENOTDIR for a file used as a directory, EACCES where we may not look.
    """
    rest = [part for part in reversed(path.split("/")) if part and part != "."]
    here = "/"
    at = os.lstat("/")
    links = 0
    while rest:
        part = rest.pop()
        if part == "..":
            here = os.path.dirname(here)
            at = os.lstat(here)
            continue
        if not stat.S_ISDIR(at.st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), here)
        step = f"{here.rstrip('/')}/{part}"
        try:
            at = os.lstat(step)
        except FileNotFoundError:
            absent = [step]
            while rest:
                part = rest.pop()
                if part == "..":
                    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), step) from None
                absent.append(f"{absent[-1]}/{part}")
            return Source(path=absent[-1], absent=tuple(absent))
        if stat.S_ISLNK(at.st_mode):
            links += 1
            if links > MOST_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
            _follow(here, step, at, trees, uid)
            target = os.readlink(step)
            rest += [one for one in reversed(target.split("/")) if one and one != "."]
            if target.startswith("/"):
                here = "/"
            at = os.lstat(here)
            continue
        here = step
    return Source(path=here, mode=at.st_mode)


def make(folders: Iterable[str], umask: int = -1) -> None:
    """Make directories (0775 & ~umask), parents first; no symlink is ever followed. Raises OSError.

    Done with descriptors, one component at a time, so that a component that is swapped meanwhile cannot lead elsewhere.
    """
    wanted = 0o775 if umask < 0 else 0o775 & ~umask
    flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    for folder in folders:
        fd = os.open("/", flags)
        try:
            parts = [part for part in folder.split("/") if part]
            for index, part in enumerate(parts):
                if index == len(parts) - 1:
                    try:
                        os.mkdir(part, wanted, dir_fd=fd)
                    except FileExistsError:
                        pass  # made by another launch meanwhile
                following = os.open(part, flags, dir_fd=fd)
                os.close(fd)
                fd = following
        finally:
            os.close(fd)
