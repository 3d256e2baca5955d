"""Remove old generations; what a running sandbox uses stays.

A launch holds a shared flock(2) on the directory of each generation that it shows. Here an exclusive one is taken,
and then the directory is moved away before it is emptied: a launch that comes too late finds no sources there, and
looks again.
"""

from __future__ import annotations

import fcntl
import os
import time

from redpak.errors import Refused, doing
from redpak.fs import sync_directory
from redpak.node import generations, guard


def refuse_lost(node: str) -> None:
    """Raise Refused where `current` is gone, or leads nowhere, though transactions were committed.

    Whatever is newer than the current generation was never committed and is removed: without a current one that
    would be everything. The links of the node's top directories, and the history, tell that there was one.
    """
    kept, now = generations.numbers(node), generations.number_of(generations.current(node))
    lost = bool(now) and now not in kept
    if not now and kept:
        tops = (f"{node}/{top}" for top in generations.TREE_TOPS)
        lost = any(os.path.islink(top) and os.readlink(top).startswith(generations.CURRENT) for top in tops)
        lost = lost or os.path.isdir(f"{node}/{generations.HISTORY}")
    if lost:
        hint = "Restore it from a backup."
        if kept:
            hint = f"Choose a generation that is there: ln -sfn generations/{kept[-1]} '{node}/{generations.CURRENT}'"
        raise Refused(
            f"'{node}/{generations.CURRENT}' is lost, so nobody knows which packages the node has", hint=hint
        )


def collect(node: str, keep: int, age_s: float) -> list[int]:
    """Remove generations; see `install.collect`. The node's lock is held."""
    now = generations.number_of(generations.current(node))
    old = [number for number in generations.numbers(node) if number < now]
    spared = set(old[len(old) - max(keep - 1, 0) :]) if keep > 1 else set()
    gone = []
    with doing("remove old generations"):
        for number in old:
            path = generations.directory(node, number)
            if number in spared or (age_s and time.time() - os.stat(path).st_mtime < age_s):
                continue
            if remove(node, number):
                gone.append(number)
    return gone


def remove(node: str, number: int) -> bool:
    """Remove one generation, its history kept; False when a sandbox uses it. Raises OSError."""
    path = generations.directory(node, number)
    fd = os.open(path, guard.DIRECTORY)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        keep_history(node, number)
        aside = f"{node}/{generations.WORK}/gone-{number}-{os.urandom(4).hex()}"
        os.makedirs(os.path.dirname(aside), exist_ok=True)
        os.rename(path, aside)
    finally:
        os.close(fd)
    discard(node, os.path.basename(aside))
    return True


def keep_history(node: str, number: int) -> None:
    """Keep what a generation's transaction was. Raises OSError."""
    folder = f"{node}/{generations.HISTORY}"
    os.makedirs(folder, exist_ok=True)
    try:
        os.link(f"{generations.directory(node, number)}/{generations.TRANSACTION}", f"{folder}/{number}.json")
    except FileExistsError:
        pass
    except FileNotFoundError:
        pass  # it never was one
    sync_directory(folder)


def discard(node: str, name: str) -> None:
    """Remove a directory in the node's work directory. Raises OSError."""
    fd = os.open(f"{node}/{generations.WORK}", guard.DIRECTORY)
    try:
        guard.remove(fd, name)
    finally:
        os.close(fd)
