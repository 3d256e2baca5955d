"""Generations of a node's packages on disk: which one is current, and how a new one takes its place.

    .redpak/lock                   one writer at a time
    .redpak/current                a symbolic link: 'generations/8'; changed by one rename, which is the commit
    .redpak/generations/8/tree     what packages put outside of the state directories
    .redpak/generations/8/rpmdb    the node's database
    .redpak/generations/8/pending  there while state files still have to be put in place (statefiles.py)

A launch reads it, so this module imports next to nothing.
"""

from __future__ import annotations

import os

from redpak import paths
from redpak.record import Record

FOLDER = paths.PACKAGES
CURRENT = f"{FOLDER}/current"
GENERATIONS = f"{FOLDER}/generations"
WORK = f"{FOLDER}/work"
LOCK = f"{FOLDER}/lock"
HISTORY = f"{FOLDER}/history"
TREE, DATABASE, PENDING, STATE, BEFORE, ADOPTED = "tree", "rpmdb", "pending", "state", "before", "adopted"
TRANSACTION, STATE_LIST = "transaction.json", "state.json"
RPM_DATABASE = "var/lib/rpm"  # where programs look for it

# What is shared by all generations: files that programs and people change.
STATE_TOPS = paths.STATE_TOPS
# What a node without generations may have of packages; anything else in its directory is not ours.
TREE_TOPS = paths.TREE_TOPS


class Generation(Record):
    """The current generation of a node, as a launch needs it."""

    node: str  # absolute, canonical
    path: str  # the generation's directory
    link: str  # what `current` says: 'generations/8'
    tops: frozenset[str]  # what its tree has: 'usr', 'opt', …


def link_of(node: str) -> str:
    """Return what `current` says, 'generations/8'; '' before the first transaction. Raises OSError."""
    try:
        said = os.readlink(f"{node}/{CURRENT}")
    except (FileNotFoundError, NotADirectoryError):
        return ""
    folder, _, number = said.rpartition("/")
    return said if folder == "generations" and number.isascii() and number.isdigit() else ""


def current(node: str) -> str:
    """Return the directory of a node's current generation; '' before the first transaction. Raises OSError."""
    link = link_of(node)
    return f"{node}/{FOLDER}/{link}" if link else ""


def number_of(generation: str) -> int:
    """Return the number of a generation by its directory; 0 for ''."""
    return int(generation.rpartition("/")[2]) if generation else 0


def directory(node: str, number: int) -> str:
    """Return the directory of a generation."""
    return f"{node}/{GENERATIONS}/{number}"


def numbers(node: str) -> list[int]:
    """Return the numbers of all generations that are there, oldest first. Raises OSError."""
    try:
        names = os.listdir(f"{node}/{GENERATIONS}")
    except FileNotFoundError:
        return []
    return sorted(int(name) for name in names if name.isascii() and name.isdigit())


def look(node: str) -> Generation | None:
    """Return the current generation, None before the first transaction. Raises OSError."""
    link = link_of(node)
    if not link:
        return None
    path = f"{node}/{FOLDER}/{link}"
    return Generation(node=node, path=path, link=link, tops=frozenset(os.listdir(f"{path}/{TREE}")))


def is_pending(generation: Generation) -> bool:
    """Tell whether state files of a generation still have to be put in place."""
    return os.path.lexists(f"{generation.path}/{PENDING}")


def mapped(path: str, generation: Generation) -> str:
    """Return where the current generation has what `path` names, '' where it is not the generation's.

    `path` is absolute and normal (no '..', no doubled slashes) and may end in a slash.
    """
    if not path.startswith(generation.node + "/"):
        return ""
    inner = path[len(generation.node) + 1 :]
    if inner == RPM_DATABASE or inner.startswith(RPM_DATABASE + "/"):
        return f"{generation.path}/{DATABASE}{inner[len(RPM_DATABASE) :]}"
    if inner.partition("/")[0] in generation.tops:
        return f"{generation.path}/{TREE}/{inner}"
    return ""
