"""A cache of files by their digest: what is in it needs no name, no repository and no second download.

    CACHE/blobs/sha256/ab/abcd…   whole files, put there by a rename after their digest was right
    CACHE/partial/sha256-abcd…    what has arrived so far, and beside it (`.from`) where it came from

Every user who can read the directory can use it. A file that somebody else may have written is digested again.
"""

from __future__ import annotations

import hashlib
import json
import os

from redpak.errors import RedpakError, Refused, doing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

ALGORITHMS = {"sha256": 64, "sha512": 128, "sha384": 96, "sha224": 56, "sha1": 40}  # hexadecimal digits
CHUNK = 1 << 20  # bytes


def checksum(text: str) -> tuple[str, str]:
    """Take 'sha256:abcd…' apart. Raises Refused for what is no digest, or one that proves nothing (md5)."""
    kind, _, digits = text.partition(":")
    kind = {"sha": "sha1"}.get(kind.lower(), kind.lower())
    digits = digits.lower()
    if ALGORITHMS.get(kind) != len(digits) or not all(digit in "0123456789abcdef" for digit in digits):
        raise Refused(
            f"'{text}' is no digest that can be relied on", hint="Ask for a repository with sha256 digests."
        )
    return kind, digits


def digest(path: str, kind: str) -> str:
    """Return the hexadecimal digest of a file. Raises OSError."""
    with open(path, "rb", buffering=0) as file:
        return digest_of(file, kind)


def digest_of(file: BinaryIO, kind: str) -> str:
    """Return the hexadecimal digest of what is left of an open file."""
    state = hashlib.new(kind, usedforsecurity=False)
    buffer = memoryview(bytearray(CHUNK))
    while got := file.readinto(buffer):  # type: ignore[attr-defined]
        state.update(buffer[:got])
    return state.hexdigest()


def only_ours_or_roots(at: os.stat_result) -> bool:
    """Tell whether nobody but this user or root can have written a file."""
    return at.st_uid in (0, os.geteuid()) and not at.st_mode & 0o022


class Blobs:
    """The cache in one directory."""

    def __init__(self, cache: str) -> None:
        self.cache = cache

    def path(self, named: str) -> str:
        """Return where the file of that digest is, or would be."""
        kind, digits = checksum(named)
        return os.path.join(self.cache, "blobs", kind, digits[:2], digits)

    def find(self, named: str, *, size: int = -1, rehash: bool = True) -> str:
        """Return the path of the file with that digest, '' when it is not here.

        Without `rehash` a file that only this user or root can have written is taken at its word.
        """
        path = self.path(named)
        try:
            at = os.lstat(path)
        except OSError:
            return ""
        if size >= 0 and at.st_size != size:
            return ""
        if only_ours_or_roots(at) and not rehash:
            return path
        kind, digits = checksum(named)
        try:
            if not os.path.islink(path) and digest(path, kind) == digits:
                return path
        except OSError:
            return ""
        self.drop(named)
        return ""

    def drop(self, named: str) -> None:
        """Remove a file that is not what its name says."""
        try:
            os.unlink(self.path(named))
        except OSError:
            pass

    def partial(self, key: str) -> str:
        """Return where the file that is downloaded under `key` grows; makes the directory."""
        folder = os.path.join(self.cache, "partial")
        with doing("make the cache directory"):
            os.makedirs(folder, exist_ok=True)
        return os.path.join(folder, key)

    def keep(self, partial: str, named: str) -> str:
        """Move a whole file to its place and return that. The digest must have been checked."""
        path = self.path(named)
        with doing("keep a file in the cache"):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            os.chmod(partial, 0o644)
            os.rename(partial, path)
        forget(partial)
        return path


def note_source(partial: str, url: str, validator: str) -> None:
    """Write down where a part comes from, so that another run knows whether it may go on."""
    try:
        with open(f"{partial}.from", "w", encoding="utf-8") as file:
            json.dump({"url": url, "validator": validator}, file)
    except OSError as error:
        raise RedpakError(f"cannot write '{partial}.from': {(error.strerror or '').lower()}") from error


def source_of(partial: str) -> tuple[str, str]:
    """Return URL and validator of a part, ('', '') when nobody wrote them down."""
    try:
        with open(f"{partial}.from", encoding="utf-8") as file:
            said = json.load(file)
        return str(said["url"]), str(said["validator"])
    except (OSError, ValueError, KeyError, TypeError):
        return "", ""


def forget(partial: str) -> None:
    """Remove what was written down about a part."""
    try:
        os.unlink(f"{partial}.from")
    except OSError:
        pass
