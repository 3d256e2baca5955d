"""What a running sandbox changed in the places that are its own: memory file systems.

What the launch itself put there (mount points, files and links of the plan) is known from the plan; everything else in
such a place came later. Writable directories of the host are left out: others may change them, too. So are overlays: no
plan has one, and of one that the program made itself only the program's own words tell where its layers lie.
"""

from __future__ import annotations

import os
import stat

from redpak.errors import RedpakError
from redpak.kernel import files, mountinfo
from redpak.record import Record
from redpak.state import proc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Literal

    from redpak.state.proc import Pid

    Kind = Literal["added", "changed", "deleted"]

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
MARGIN_S = 0.02  # start times are told in ticks of 10 ms
DEEPEST = 500  # directories in each other: each holds a descriptor open


class Change(Record):
    """One path that differs from what the launch made."""

    path: str
    kind: Kind
    size_bytes: int = 0


class Place(Record):
    """A writable mount of the sandbox's own."""

    path: str
    fstype: str


def places(main: Pid) -> list[Place]:
    """Return the places that are a sandbox's own. Raises RedpakError where it has ended or may not be looked into."""
    try:
        shown = mountinfo.mounts(str(main.pid))
        host = {one.device for one in mountinfo.mounts()}
    except OSError as error:
        raise RedpakError(f"cannot read its mounts: {(error.strerror or '').lower()}") from error
    last = {one.point: one for one in shown if one.device not in host and "rw" in one.options}
    return [Place(path=at, fstype=one.fstype) for at, one in last.items() if one.fstype == "tmpfs"]


def of(main: Pid, root: int, made: Iterable[str], perhaps: Iterable[str] = ()) -> list[Change]:
    """Return what changed, sorted by path; `root` is the sandbox's open root directory.

    `made` are the paths that the launch put there, `perhaps` those that it may have.
    """
    sure = {path for path in _with_parents(made) if path != "/"}
    known = sure | set(_with_parents(perhaps))
    points = {one.point for one in mountinfo.mounts(str(main.pid))}
    known |= set(_with_parents(points))
    since = proc.since_epoch(main.start) + MARGIN_S
    found: list[Change] = []
    for place in places(main):
        found += _memory(place.path, root, known, sure, points - {place.path}, since)
    return sorted(found, key=lambda one: one.path)


def _with_parents(paths: Iterable[str]) -> Iterable[str]:
    for path in paths:
        while path not in ("", "/"):
            yield path
            path = os.path.dirname(path)
        yield "/"


def _memory(
    at: str, root: int, known: set[str], sure: set[str], points: set[str], since: float
) -> list[Change]:
    """Return what is in a memory file system besides what the launch made, and what of that is gone."""
    found: list[Change] = []
    seen: set[str] = set()
    try:
        rules = files.RESOLVE_IN_ROOT | files.RESOLVE_NO_MAGICLINKS | files.RESOLVE_NO_SYMLINKS
        fd = files.openat2(at, FOLDER & ~os.O_NOFOLLOW, rules, directory=root)
    except OSError:
        return found  # hidden by a later mount
    _walk(fd, at, known, points, since, found, seen)
    for path in sure - seen - points:
        inside = path.startswith(at if at.endswith("/") else f"{at}/") and path != at
        covered = any(path.startswith(f"{point}/") for point in points if len(point) > len(at))
        if inside and not covered:
            found.append(Change(path=path, kind="deleted"))
    return found


def _walk(
    fd: int, at: str, known: set[str], points: set[str], since: float, found: list[Change], seen: set[str]
) -> None:
    """Walk an open directory, which is closed, without following a link or leaving the mount."""
    try:
        if at.count("/") > DEEPEST:
            raise RedpakError(
                f"'{at[:60]}…' lies deeper than {DEEPEST} directories: no differences can be told"
            )
        for name in os.listdir(fd):
            path = f"{at.rstrip('/')}/{name}"
            seen.add(path)
            if path in points:
                continue  # another mount lies there
            try:
                there = os.stat(name, dir_fd=fd, follow_symlinks=False)
            except FileNotFoundError:
                continue
            if path not in known:
                found.append(Change(path=path, kind="added", size_bytes=_size(there)))
            elif max(there.st_ctime, there.st_mtime) > since:
                found.append(Change(path=path, kind="changed", size_bytes=_size(there)))
            if stat.S_ISDIR(there.st_mode):
                try:
                    below = os.open(name, FOLDER, dir_fd=fd)
                except OSError:
                    continue  # gone, swapped, or not ours to read
                _walk(below, path, known, points, since, found, seen)
    finally:
        os.close(fd)


def _size(at: os.stat_result) -> int:
    return at.st_size if stat.S_ISREG(at.st_mode) else 0
