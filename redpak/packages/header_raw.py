"""The form of an rpm header: an index of numbered tags and a store of values; every place in it is checked.

What the tags mean is header.py's. Source: rpm, docs/manual/format_header.md and lib/header.c.
"""

from __future__ import annotations

import struct

from redpak.errors import RedpakError
from redpak.packages.header_tags import I18N, STRING, STRING_ARRAY, TAGS, WIDTH

MAX_TAGS = 0xFFFF  # rpm's own limits
MAX_DATA = 0x0FFFFFFF  # bytes

ENTRY = struct.Struct(">IIiI")  # tag, kind, offset in the store, count
_CODES = {1: "B", 2: "B", 3: "H", 4: "I", 5: "Q"}


class BadHeader(RedpakError):
    """A package header is damaged, or is none."""


class Raw:
    """An index of tags over the bytes of a header. Nothing else is looked at before somebody asks."""

    __slots__ = ("_end", "_index", "_start", "blob", "where")

    def __init__(self, blob: bytes, where: str = "") -> None:
        self.blob = blob
        self.where = where  # what messages call it
        if len(blob) < 8:
            raise self._bad("it is too short")
        tags = int.from_bytes(blob[:4], "big")
        size = int.from_bytes(blob[4:8], "big")
        self._start = 8 + 16 * tags
        self._end = self._start + size
        if not 0 < tags <= MAX_TAGS or size > MAX_DATA:
            raise self._bad(f"it claims {tags} tags and {size} bytes")
        if self._end != len(blob):
            raise self._bad(f"it claims {self._end} bytes and has {len(blob)}")
        # What was added after the build comes last and goes before what was built, as in rpm.
        self._index = {
            tag: (kind, at, count) for tag, kind, at, count in ENTRY.iter_unpack(blob[8 : self._start])
        }

    def _bad(self, why: str) -> BadHeader:
        thing = f" of '{self.where}'" if self.where else ""
        return BadHeader(f"the package header{thing} is damaged: {why}")

    # ---- any tag ----

    def has(self, tag: str) -> bool:
        """Tell whether the header has a tag, by rpm's name of it in lower case."""
        return TAGS[tag][0] in self._index

    def numbers(self) -> tuple[int, ...]:
        """Return the numbers of all tags."""
        return tuple(self._index)

    def text(self, tag: str) -> str:
        """Return one string; '' when it is absent. Of translated ones the first (untranslated) one."""
        return self.text_of(TAGS[tag][0])

    def texts(self, tag: str) -> list[str]:
        """Return an array of strings; [] when it is absent."""
        return self.texts_of(TAGS[tag][0])

    def integers(self, tag: str) -> tuple[int, ...]:
        """Return an array of numbers; () when it is absent."""
        return self.integers_of(TAGS[tag][0])

    def integer(self, tag: str) -> int:
        """Return one number; 0 when it is absent."""
        found = self.integers_of(TAGS[tag][0])
        return found[0] if found else 0

    def binary(self, tag: str) -> bytes:
        """Return bytes as they are; b'' when they are absent."""
        return self.binary_of(TAGS[tag][0])

    def text_of(self, number: int) -> str:
        """Do what `text` does, for a tag's number."""
        entry = self._index.get(number)
        if entry is None:
            return ""
        kind, at, count = entry
        if kind not in (STRING, STRING_ARRAY, I18N):
            raise self._bad(f"tag {number} is no text")
        start = self._place(number, at, count)
        end = self.blob.find(b"\0", start, self._end)
        if end < 0:
            raise self._bad(f"tag {number} has no end")
        return self.blob[start:end].decode("utf-8", "surrogateescape")

    def texts_of(self, number: int) -> list[str]:
        """Do what `texts` does, for a tag's number."""
        entry = self._index.get(number)
        if entry is None:
            return []
        kind, at, count = entry
        if kind not in (STRING, STRING_ARRAY, I18N):
            raise self._bad(f"tag {number} is no text")
        start = self._place(number, at, count)
        # The index does not say where the last string ends. Look at about as much as they should need, then more:
        # splitting all that follows would copy most of the header for each tag.
        size = 32 * count + 64
        while True:
            stop = min(start + size, self._end)
            strings = self.blob[start:stop].decode("utf-8", "surrogateescape").split("\0", count)
            if len(strings) > count:
                del strings[count]
                return strings
            if stop == self._end:
                raise self._bad(f"tag {number} has fewer than {count} texts")
            size *= 8

    def integers_of(self, number: int) -> tuple[int, ...]:
        """Do what `integers` does, for a tag's number."""
        entry = self._index.get(number)
        if entry is None:
            return ()
        kind, at, count = entry
        code = _CODES.get(kind)
        if code is None:
            raise self._bad(f"tag {number} is no number")
        start = self._place(number, at, count * WIDTH[kind])
        return struct.unpack_from(f">{count}{code}", self.blob, start)

    def binary_of(self, number: int) -> bytes:
        """Do what `binary` does, for a tag's number."""
        entry = self._index.get(number)
        if entry is None:
            return b""
        kind, at, count = entry
        start = self._place(number, at, count * WIDTH.get(kind, 1))
        return self.blob[start : start + count * WIDTH.get(kind, 1)]

    def _place(self, number: int, at: int, size: int) -> int:
        """Return where a value starts in the blob. `size`: the least number of bytes that it has."""
        start = self._start + at
        if at < 0 or not size or start + size > self._end:
            raise self._bad(f"tag {number} lies outside")
        return start
