"""What earlier proofs found out, kept by what it was found out about: digests and stamps, so a change is never hidden.

A part that is asked for under another key is not there. One file a tree, in the user's own cache directory.
"""

from __future__ import annotations

import os

from redpak import paths
from redpak.engine.cache import code_stamp
from redpak.engine.sources import only_ours

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FOLDER = "proofs"
SUM = 32  # bytes of SHA-256 in front of the data
LARGEST = 256 << 20  # bytes
OLD_S = 30 * 24 * 3600  # what nobody wrote for so long is removed


def code() -> str:
    """Return what changes when redpak does: another redpak may prove in another way."""
    found = []
    for room in ("packages", "node"):
        with os.scandir(paths.shipped(room)) as entries:
            for entry in entries:
                if entry.name.endswith(".py"):
                    at = entry.stat()
                    found.append((entry.name, at.st_size, at.st_mtime_ns))
    return digest(code_stamp(), sorted(found))


def digest(*values: object) -> str:
    """Return SHA-256 over plain values: strings, numbers, tuples and lists of them."""
    import hashlib

    return hashlib.sha256(repr(values).encode("utf-8", "surrogateescape")).hexdigest()


def folder() -> str:
    """Return where proofs are kept."""
    return os.path.join(paths.cache(), FOLDER)


def load(name: str) -> Any:
    """Return what was stored under a name; None when there is nothing that can be trusted."""
    import hashlib
    import marshal

    path = os.path.join(folder(), name)
    try:
        if not only_ours(os.lstat(folder()), directory=True):
            return None
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    with open(fd, "rb") as file:
        at = os.fstat(fd)
        if not only_ours(at) or at.st_size > LARGEST:
            return None
        data = file.read()
    if hashlib.sha256(data[SUM:]).digest() != data[:SUM]:
        return None
    try:
        return marshal.loads(data[SUM:])
    except (ValueError, EOFError, TypeError):
        return None  # another Python's


def store(name: str, value: Any) -> None:
    """Keep plain values under a name. A cache that cannot be written is no error."""
    import hashlib
    import marshal

    from redpak import log
    from redpak.errors import RedpakError
    from redpak.fs import write_atomically

    data = marshal.dumps(value)
    try:
        os.makedirs(paths.cache(), mode=0o755, exist_ok=True)
        try:
            os.mkdir(folder(), 0o700)
        except FileExistsError:
            pass
        if not only_ours(os.lstat(folder()), directory=True):
            return
        sum_ = hashlib.sha256(data).digest()
        write_atomically(os.path.join(folder(), name), sum_ + data, mode=0o600, durable=False)
    except (OSError, RedpakError) as error:
        log.debug(f"the proof is not kept: {error}")


class Cache:
    """The proofs of one tree, by part and place. `fresh` finds nothing, but still stores."""

    def __init__(self, name: str, *, fresh: bool = False) -> None:
        self.name = digest(name)[:32]
        self.code = code()
        found = None if fresh else load(self.name)
        self.known: dict[str, dict[str, tuple[str, Any]]] = {}
        if isinstance(found, tuple) and len(found) == 2 and found[0] == self.code:
            self.known = found[1]
        self.used: dict[str, dict[str, tuple[str, Any]]] = {}
        self.hits: dict[str, int] = {}
        self.asked: dict[str, int] = {}
        self.changed = False

    def get(self, part: str, place: str, key: str) -> Any:
        """Return what is known of a part of a place under this key, None when nothing is."""
        self.asked[part] = self.asked.get(part, 0) + 1
        known = self.known.get(part, {}).get(place)
        if known is None or known[0] != key:
            return None
        self.hits[part] = self.hits.get(part, 0) + 1
        self.used.setdefault(part, {})[place] = known
        return known[1]

    def put(self, part: str, place: str, key: str, value: object) -> None:
        """Keep plain values (of marshal's kinds)."""
        self.used.setdefault(part, {})[place] = (key, value)
        self.changed = True

    def save(self) -> None:
        """Write what this proof used or found out, if there is anything new. Parts that nobody asked for stay."""
        for part, places in self.known.items():
            if part not in self.asked:
                self.used[part] = places
        if self.changed or self.known != self.used:
            store(self.name, (self.code, self.used))
            self.changed = False
            sweep()


def sweep() -> None:
    """Remove what is old: proofs of trees that are gone, packages of databases that have changed."""
    import time

    limit = time.time() - OLD_S
    try:
        with os.scandir(folder()) as entries:
            for entry in entries:
                if entry.stat(follow_symlinks=False).st_mtime < limit:
                    os.unlink(entry.path)
    except OSError:
        pass  # somebody else removed it first
