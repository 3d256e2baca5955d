"""Make rpm headers: for core OSes that have no rpm database, so that everybody sees one form.

Source: rpm, docs/manual/format_header.md; lib/header.c checks order, alignment and the region's end.
"""

from __future__ import annotations

import hashlib
import struct
from typing import TYPE_CHECKING

from redpak.packages.header import MAGIC
from redpak.packages.header_raw import ENTRY
from redpak.packages.header_tags import BIN, I18N, I18NTABLE, IMMUTABLE, STRING, STRING_ARRAY, TAGS, WIDTH

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    Value = str | int | bytes | Sequence[str] | Sequence[int]

_CODES = {1: "B", 2: "B", 3: "H", 4: "I", 5: "Q"}

# What rpm adds to a header when it installs the package: outside of the region that the builder signed.
ADDED = ("installtime", "installtid", "installcolor", "filestates")


def encode(tags: Mapping[str, Value]) -> bytes:
    """Return a header with these tags, as rpm's database keeps it: with an immutable region and its SHA-256.

    Tags are rpm's names in lower case. `rpmdb --importdb` takes header.MAGIC + this. Raises ValueError for a value
    that its tag cannot hold.
    """
    built = {TAGS[name][0]: packed(name, value) for name, value in tags.items() if name not in ADDED}
    built[I18NTABLE] = (STRING_ARRAY, 1, b"C\0")
    index, data = laid_out(sorted(built.items()), start=0)
    at = len(data)
    tag_count = len(index) + 1
    data += ENTRY.pack(IMMUTABLE, BIN, -16 * tag_count, 16)
    index.insert(0, (IMMUTABLE, BIN, at, 16))
    region = b"".join(ENTRY.pack(*entry) for entry in index)
    signed = MAGIC + struct.pack(">II", tag_count, len(data)) + region + data
    added = {TAGS[name][0]: packed(name, value) for name, value in tags.items() if name in ADDED}
    added[TAGS["sha1header"][0]] = packed("sha1header", hashlib.sha1(signed).hexdigest())
    added[TAGS["sha256header"][0]] = packed("sha256header", hashlib.sha256(signed).hexdigest())
    more, behind = laid_out(sorted(added.items()), start=len(data))
    index += more
    data += behind
    sizes = struct.pack(">II", len(index), len(data))
    return sizes + b"".join(ENTRY.pack(*entry) for entry in index) + data


def laid_out(
    values: Iterable[tuple[int, tuple[int, int, bytes]]], *, start: int
) -> tuple[list[tuple[int, int, int, int]], bytes]:
    """Return index entries, and the store behind the first `start` bytes, numbers aligned to their width."""
    index, store = [], bytearray()
    for tag, (kind, count, data) in values:
        store += bytes(-(start + len(store)) % WIDTH.get(kind, 1))
        index.append((tag, kind, start + len(store), count))
        store += data
    return index, bytes(store)


def packed(name: str, value: Value) -> tuple[int, int, bytes]:
    """Return kind, count and bytes of a tag's value."""
    kind = TAGS[name][1]
    if kind == BIN and isinstance(value, bytes):
        return kind, len(value), value
    if kind in (STRING, I18N) and isinstance(value, str):
        return kind, 1, _text(name, value)
    if isinstance(value, str | bytes):
        raise ValueError(f"tag '{name}' cannot be a single text")
    values = [value] if isinstance(value, int) else list(value)
    if not values:
        raise ValueError(f"tag '{name}' has no value")
    if kind == STRING_ARRAY:
        return kind, len(values), b"".join(_text(name, one) for one in values)
    code = _CODES.get(kind)
    if code is None:
        raise ValueError(f"tag '{name}' holds one text")
    try:
        return kind, len(values), struct.pack(f">{len(values)}{code}", *values)
    except struct.error as error:
        raise ValueError(f"tag '{name}': {error}") from None


def _text(name: str, value: object) -> bytes:
    if not isinstance(value, str) or "\0" in value:
        raise ValueError(f"tag '{name}' cannot hold {value!r}")
    return value.encode("utf-8", "surrogateescape") + b"\0"
