"""What lies in a layer's directories: every name with its lstat(2), and where a path of a package is on disk."""

from __future__ import annotations

import os
import stat

from redpak.paths import STATE_TOPS, TREE_TOPS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from redpak.packages.model import Layer


def stamp_of(at: os.stat_result) -> str:
    """Return what every change of a file changes (the kernel sets ctime)."""
    return f"{at.st_dev}.{at.st_ino}.{at.st_size}.{at.st_mtime_ns}.{at.st_ctime_ns}"


def on_disk(layer: Layer, path: str) -> str:
    """Return where a layer has a path, '' when it has no files of that kind."""
    base = layer.state if path.split("/", 2)[1] in STATE_TOPS else layer.tree
    return base.rstrip("/") + path if base else ""


def walk(layer: Layer) -> Iterator[tuple[str, os.stat_result]]:
    """Yield everything in a layer's directories of packages, as path in the layer and lstat(2)."""
    for top in tops(layer):
        yield from _walk(f"{layer.tree.rstrip('/')}/{top}", f"/{top}")


def tops(layer: Layer) -> list[str]:
    """Return the names of the directories that are the packages': not all of what a node's directory holds."""
    if not layer.tree:
        return []
    try:
        there = sorted(os.listdir(layer.tree))
    except OSError:
        return []
    return [top for top in there if top in TREE_TOPS or (layer.tree != layer.state and top not in STATE_TOPS)]


def _walk(place: str, path: str) -> Iterator[tuple[str, os.stat_result]]:
    try:
        at = os.lstat(place)
    except OSError:
        return
    yield path, at
    if not stat.S_ISDIR(at.st_mode):
        return
    stack = [(place, path)]
    while stack:
        here, inside = stack.pop()
        try:
            with os.scandir(here) as entries:
                for entry in entries:
                    below = f"{inside}/{entry.name}"
                    try:
                        seen = entry.stat(follow_symlinks=False)
                    except OSError:
                        continue
                    yield below, seen
                    if stat.S_ISDIR(seen.st_mode):
                        stack.append((entry.path, below))
        except OSError:
            continue


def file_digest(path: str, at: os.stat_result, algorithm: str) -> str:
    """Return a file's digest, '' when it cannot be read or changes meanwhile."""
    import hashlib

    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(fd, "rb", buffering=0) as file:
            made = hashlib.file_digest(file, algorithm).hexdigest()
            return made if stamp_of(os.fstat(fd)) == stamp_of(at) else ""
    except OSError:
        return ""
