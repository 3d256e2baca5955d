"""Places inside a root that somebody else may have filled: found and made without ever leaving it.

Every component is opened beneath the one before, symbolic links are read and followed by us inside the root
(CVE-2021-30465, CVE-2026-87766), and what was mounted is compared with what the path then shows.
"""

from __future__ import annotations

import errno
import os
import stat

from redpak.kernel.files import RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, openat2

MOST_LINKS = 40  # as the kernel (path_resolution(7))
PATH_ONLY = os.O_PATH | os.O_CLOEXEC
FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
IN_ROOT = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS


def find(root: int, path: str, *, links: bool = True) -> int:
    """Return an O_PATH descriptor of what `path` leads to inside `root`; without `links`, no symlink is followed.

    Raises OSError: ENOENT, ENOTDIR, ELOOP for a symlink (too many of them).
    """
    try:
        return openat2(path, PATH_ONLY, IN_ROOT | (0 if links else RESOLVE_NO_SYMLINKS), directory=root)
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.EAGAIN):
            raise
    return _walk(root, path, links=links)[0]


def place(root: int, path: str, *, directory: bool, links: bool = True) -> int:
    """Return an O_PATH descriptor of the mount point `path` inside `root`; what is missing is made.

    Directories get mode 0755, a file 0644. The last component may be no symlink that leads nowhere. Raises OSError.
    """
    try:
        return find(root, path, links=links)
    except FileNotFoundError:
        pass
    above, _, name = path.rstrip("/").rpartition("/")
    try:  # mostly only the last name is missing
        folder = find(root, above or "/", links=links) if name not in ("", ".", "..") else -1
    except FileNotFoundError:
        folder = -1
    if folder >= 0:
        try:
            made = _made(folder, name, directory=directory)
        finally:
            os.close(folder)
        if not stat.S_ISLNK(os.fstat(made).st_mode):
            return made
        os.close(made)  # a link that leads nowhere
    return _walk(root, path, links=links, make="directory" if directory else "file")[0]


def parent(root: int, path: str) -> tuple[int, str]:
    """Return a descriptor of the directory that `path` lies in, made if it is missing, and the last name."""
    above, _, name = path.rstrip("/").rpartition("/")
    if name in ("", ".", ".."):
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), path)
    return place(root, above or "/", directory=True), name


def _parts(path: str) -> list[str]:
    return [part for part in reversed(path.split("/")) if part and part != "."]


def _walk(root: int, path: str, *, links: bool, make: str = "") -> tuple[int, str]:
    """Go one component at a time; returns the descriptor and the path inside without symlinks."""
    rest = _parts(path)
    way: list[tuple[str, int]] = [("", os.open(".", FOLDER, dir_fd=root))]
    followed = 0
    try:
        while rest:
            part = rest.pop()
            if part == "..":
                if len(way) > 1:
                    os.close(way.pop()[1])
                continue
            here = way[-1][1]
            try:
                at = os.open(part, PATH_ONLY | os.O_NOFOLLOW, dir_fd=here)
            except FileNotFoundError:
                if not make:
                    raise
                at = _made(here, part, directory=bool(rest) or make == "directory")
            mode = os.fstat(at).st_mode
            if stat.S_ISLNK(mode):
                try:
                    target = os.readlink("", dir_fd=at)
                finally:
                    os.close(at)
                followed += 1
                if not links or followed > MOST_LINKS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
                rest += _parts(target)
                if target.startswith("/"):
                    while len(way) > 1:
                        os.close(way.pop()[1])
                continue
            way.append((part, at))
            if rest and not stat.S_ISDIR(mode):
                raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
        return way.pop()[1], "/".join(name for name, _ in way)
    finally:
        for _, fd in way:
            os.close(fd)


def _made(folder: int, name: str, *, directory: bool) -> int:
    try:
        if directory:
            os.mkdir(name, 0o755, dir_fd=folder)
        else:
            os.close(os.open(name, FILE, 0o644, dir_fd=folder))
    except FileExistsError:
        pass  # somebody else was quicker; opened below without following a link
    return os.open(name, PATH_ONLY | os.O_NOFOLLOW, dir_fd=folder)


def same(root: int, path: str, fd: int, *, links: bool = True) -> bool:
    """Tell whether `path` inside `root` now leads to what is open as `fd`."""
    try:
        seen = find(root, path, links=links)
    except OSError:
        return False
    try:
        one, other = os.fstat(seen), os.fstat(fd)
    finally:
        os.close(seen)
    return (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
