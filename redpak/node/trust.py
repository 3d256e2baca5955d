"""Whose files may say what a launch does: as ssh's StrictModes, but for the files of a family.

Whoever owns a directory can put anything there, so its owner is trusted by using it at all. Somebody else's file in
it is not, be it in /tmp, where everybody may make one: it would be an ancestor of all nodes beneath.
"""

from __future__ import annotations

import os
import stat

from redpak import paths
from redpak.errors import Refused, doing
from redpak.node import tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


PACKAGE_FOLDERS = ("generations", "work", "history", "keys", "repos")


def check(path: str, *, admin: bool = False) -> None:
    """Raise Refused when somebody else could have written a file that binds the node at `path`.

    A file belongs to root, to the launching user or to the owner of the node's directory, and neither it nor the
    directories from the oldest node down may be writable for everybody (those with the sticky bit may).
    """
    with doing("look at who owns the configuration"):
        within = False  # whether this directory lies in a node
        for directory in tree.spelled(path):
            status = os.path.join(directory, paths.STATUS)
            if not os.path.lexists(status):
                if within and os.path.exists(directory):
                    judge(directory, None)
                continue
            within = True
            owner = judge(directory, None)
            judge(status, owner)
            for names in (paths.NORMAL_CONFIGS, paths.ADMIN_CONFIGS if admin else ()):
                if file := tree.first_file(directory, names):
                    judge(os.path.dirname(file), owner)
                    judge(file, owner)


def packages(node: str) -> None:
    """Raise Refused when another user could have prepared the directory of a node's packages.

    Whoever changes packages moves, links and removes what lies there with their own rights, root's for instance.
    """
    folder = f"{node}/{paths.PACKAGES}"
    for path in (node, folder, *(f"{folder}/{name}" for name in PACKAGE_FOLDERS)):
        with doing("look at who owns the packages"):
            if not os.path.lexists(path):
                continue
            at = os.lstat(path)
        if at.st_uid not in (0, os.geteuid()):
            raise Refused(
                f"'{path}' belongs to another user (uid {at.st_uid}), who could lead you astray",
                hint="Let the owner do it (redpak node recover, for what was not finished).",
            )
        if not stat.S_ISDIR(at.st_mode):
            raise Refused(f"'{path}' is no directory, so nothing is done in it", hint="Remove it.")


def judge(path: str, owner: int | None) -> int:
    """Return the owner of a file; raise Refused when it, or what it links to, is not to be trusted.

    `owner` is the owner of the node's directory, None for that directory itself.
    """
    seen = os.lstat(path.rstrip("/") or "/")
    ends = os.stat(path) if stat.S_ISLNK(seen.st_mode) else seen
    if owner is not None:
        trusted = (0, os.geteuid(), owner)
        stranger = next((uid for uid in owners(seen, ends) if uid not in trusted), None)
        if stranger is not None:
            raise Refused(
                f"'{path}' belongs to another user (uid {stranger}) than the node's directory",
                hint="Remove it, or give it to the owner of the directory.",
            )
    mode = ends.st_mode
    if mode & stat.S_IWOTH and not (stat.S_ISDIR(mode) and mode & stat.S_ISVTX):
        raise Refused(f"'{path}' can be written by everybody", hint=f"Type: chmod o-w {path}")
    return ends.st_uid


def owners(*states: os.stat_result) -> Iterable[int]:
    """Return the owners of a link and of what it leads to."""
    return (state.st_uid for state in states)
