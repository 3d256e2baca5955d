"""Writing a node that has been checked: it appears in one step, or not at all.

Where the directory does not exist yet, the whole node (with the system node above it and the directories
between, where those are missing too) is renamed into place. Where it exists, the files appear one by one, the
status file last: until then the directory is no node. A command that was killed leaves at most unfinished
things under hidden names, which the next one removes, or files that the next one takes over.
"""

from __future__ import annotations

import errno
import os

from redpak import paths
from redpak.config.model import Node
from redpak.errors import RedpakError
from redpak.node import guard, status, tree
from redpak.record import Record

# What a node has from the start, so that it can be launched at once (sources of the shipped templates).
LAYOUT = (
    "etc", "etc/yum.repos.d", "private", "usr", "usr/bin", "usr/lib", "usr/lib64",
    "var", "var/lib", "var/lib/rpm", "var/local",
)  # fmt: skip
# Tells the core OS's rpm where a node's database is shown; written where the configuration shows it to programs.
MACROS = ("etc/rpm", "macros.redpak", b"%_dbpath /var/lib/rpm\n")


class Draft(Record):
    """A node that is ready to be written."""

    path: str
    alias: str
    name: str
    normal: bytes
    admin: bytes
    node: Node


def existing(folder: str) -> str:
    """Return the nearest directory, from `folder` up, that exists."""
    while not os.path.lexists(folder):
        folder = os.path.dirname(folder)
    return folder


def write(ground: str, drafts: list[Draft]) -> None:
    """Write nodes, the oldest first; `ground` is the lowest directory above them that exists."""
    from redpak.fs import sync_directory

    made: list[str] = []
    try:
        for at, new in enumerate(drafts):
            if os.path.isdir(new.path):
                in_place(new, made)
            else:
                # All the rest is missing: it appears as a whole.
                appear(existing(os.path.dirname(new.path)), drafts[at:], made)
                break
        sync_directory(ground)
    except BaseException as error:
        undo(made)
        if isinstance(error, OSError):
            raise failed(drafts[-1].path, ground, error) from error
        raise


def failed(path: str, ground: str, error: OSError) -> RedpakError:
    """Return the error for a node that could not be written: what was asked for, not how far we came."""
    why = (error.strerror or str(error)).lower()
    match error.errno:
        case errno.EACCES | errno.EPERM | errno.EROFS:
            hint = f"Make sure that you may write in '{ground}'."
        case errno.ENAMETOOLONG:
            hint = "Choose a shorter name."
        case errno.ENOSPC | errno.EDQUOT:
            hint = f"Make room on the file system of '{ground}'."
        case _:
            hint = ""
    return RedpakError(f"cannot create node '{path}': {why}", hint=hint)


def appear(folder: str, drafts: list[Draft], made: list[str]) -> None:
    """Build nodes in a hidden directory of `folder` and rename it to the first name that is missing."""
    from redpak.fs import sync_directory

    first = os.path.relpath(drafts[0].path, folder).split("/")[0]
    aside = os.path.join(folder, guard.aside_name())
    os.mkdir(aside, 0o755)
    made.append(aside)
    for new in drafts:
        inner = os.path.relpath(new.path, os.path.join(folder, first))
        place = os.path.normpath(os.path.join(aside, inner))
        os.makedirs(place, mode=0o755, exist_ok=True)
        fill(place, new, [])
    sync_directory(aside)
    os.rename(aside, os.path.join(folder, first))  # the last step: nothing after it is undone
    made.pop()
    sync_directory(folder)


def in_place(new: Draft, made: list[str]) -> None:
    """Make an existing directory a node; what is made is added to `made` in order."""
    fresh: list[str] = []
    had = tree.is_node(new.path)
    try:
        fill(new.path, new, fresh, keep_status=had)
    finally:
        made.extend(os.path.join(new.path, name) for name in fresh)


def fill(path: str, new: Draft, fresh: list[str], *, keep_status: bool = False) -> None:
    """Write a node's directories and files into the directory `path`; new names are added to `fresh`.

    The status file comes last. Follows no symbolic link beneath `path`.
    """
    top = os.open(path, guard.DIRECTORY)
    try:
        guard.sweep(top)
        for folder in LAYOUT:
            os.close(guard.open_beneath(top, folder, make=fresh))
        etc = guard.open_beneath(top, "etc")
        try:
            guard.sweep(etc)
            for file, data in ((paths.ADMIN_CONFIGS[0], new.admin), (paths.NORMAL_CONFIGS[0], new.normal)):
                name = os.path.basename(file)
                there = exists_at(etc, name)
                guard.put(etc, name, data)
                if not there:
                    fresh.append(file)
            os.fsync(etc)
        finally:
            os.close(etc)
        put_macros(top, new, fresh)
        if not keep_status:
            guard.put(top, paths.STATUS, status.text_of(status.new(new.path)).encode())
            fresh.append(paths.STATUS)
        os.fsync(top)
    finally:
        os.close(top)


def put_macros(top: int, new: Draft, fresh: list[str]) -> None:
    """Write rpm's macro file into the node that is open as `top`, if its configuration exports it."""
    folder, name, text = MACROS
    if f"$NODE_PATH/{folder}/{name}".encode() not in new.normal:
        return
    fd = guard.open_beneath(top, folder, make=fresh)
    try:
        there = exists_at(fd, name)
        guard.put(fd, name, text)
        if not there:
            fresh.append(f"{folder}/{name}")
        os.fsync(fd)
    finally:
        os.close(fd)


def exists_at(fd: int, name: str) -> bool:
    """Tell whether a name is in a directory."""
    try:
        os.stat(name, dir_fd=fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def undo(made: list[str]) -> None:
    """Remove what a failed creation made, the last first; what cannot be removed stays."""
    for path in reversed(made):
        folder, name = os.path.split(path)
        try:
            fd = os.open(folder, guard.DIRECTORY)
        except OSError:
            continue
        try:
            if name.startswith(guard.ASIDE) or os.path.isfile(path):
                guard.remove(fd, name)
            else:
                os.rmdir(name, dir_fd=fd)
        except OSError:
            continue
        finally:
            os.close(fd)
