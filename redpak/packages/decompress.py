"""Decompress metadata: gzip, xz, bzip2, zstd or plain, told by the first bytes; never more than was announced."""

from __future__ import annotations

import hashlib
import os

from redpak.errors import RedpakError, Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

CHUNK = 1 << 20  # bytes
BIGGEST = 8 << 30  # bytes that no decompressed file may exceed
RATIO = 400  # more than this many times its size, from a file that announced nothing, is a bomb
FLOOR = 64 << 20  # bytes that are always allowed
MEMORY = 256 << 20  # bytes that a decompressor may ask for


class _Digesting:
    """A file whose bytes are digested as they are read."""

    def __init__(self, file: BinaryIO, kind: str) -> None:
        self.file = file
        self.state = hashlib.new(kind, usedforsecurity=False)

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes."""
        data = self.file.read(size)
        self.state.update(data)
        return data


def decompress(path: str, to: str, *, checksum: str, open_checksum: str = "", open_size: int = -1) -> None:
    """Write the decompressed content of `path` to the file `to`.

    The digests of what is read and of what is written are checked on the way ('' is not checked), and nothing
    beyond `open_size` bytes is written (-1: a bound by the file's own size). Raises Refused, RedpakError; OSError
    when a file cannot be read or written.
    """
    kind, _, digits = checksum.partition(":")
    open_kind, _, open_digits = open_checksum.partition(":")
    name = os.path.basename(to)
    written = hashlib.new(open_kind or "sha256", usedforsecurity=False)
    total = 0
    with open(path, "rb") as file, open(to, "wb") as out:
        limit = open_size if open_size >= 0 else max(FLOOR, RATIO * os.fstat(file.fileno()).st_size)
        limit = min(limit, BIGGEST)
        source = _Digesting(file, kind)
        for chunk in _named(_pieces(source, _magic(file)), name):
            total += len(chunk)
            if total > limit:
                raise Refused(f"metadata '{name}' unpacks to more than {limit} bytes")
            written.update(chunk)
            out.write(chunk)
        while source.read(CHUNK):
            pass
    if source.state.hexdigest() != digits:
        raise Refused(f"metadata '{name}' has digest {kind}:{source.state.hexdigest()} instead of {checksum}")
    if open_size >= 0 and total != open_size:
        raise Refused(f"metadata '{name}' unpacks to {total} bytes instead of {open_size}")
    if open_digits and written.hexdigest() != open_digits:
        told = f"{open_kind}:{written.hexdigest()}"
        raise Refused(f"metadata '{name}' unpacks to digest {told} instead of {open_checksum}")


def _magic(file: BinaryIO) -> bytes:
    start = file.read(6)
    file.seek(0)
    return start


def _named(pieces: Iterator[bytes], name: str) -> Iterator[bytes]:
    """Yield the pieces; what a decompressor says becomes an error with a name."""
    import lzma
    import zlib

    import zstandard

    damaged = (EOFError, ValueError, zlib.error, lzma.LZMAError, zstandard.ZstdError, MemoryError)
    while True:
        try:
            chunk = next(pieces, None)
        except damaged as error:
            raise RedpakError(f"metadata '{name}' is damaged: {error}") from None
        except OSError as error:
            if error.errno:
                raise
            raise RedpakError(f"metadata '{name}' is damaged: {error}") from None
        if chunk is None:
            return
        yield chunk


def _pieces(source: _Digesting, magic: bytes) -> Iterator[bytes]:
    """Yield the decompressed content in pieces of at most CHUNK bytes."""
    reader: object
    if magic.startswith(b"\x1f\x8b"):
        import gzip

        reader = gzip.GzipFile(fileobj=source, mode="rb")  # type: ignore[call-overload]
    elif magic.startswith(b"BZh"):
        import bz2

        reader = bz2.BZ2File(source, "rb")  # type: ignore[call-overload]
    elif magic.startswith(b"\x28\xb5\x2f\xfd"):
        import zstandard

        unpacker = zstandard.ZstdDecompressor(max_window_size=MEMORY)
        reader = unpacker.stream_reader(source, read_across_frames=True)  # type: ignore[arg-type]
    elif magic.startswith(b"\xfd7zXZ\0"):
        yield from _xz(source)
        return
    else:
        reader = source
    while chunk := reader.read(CHUNK):  # type: ignore[attr-defined]
        yield chunk


def _xz(source: _Digesting) -> Iterator[bytes]:
    """Yield the content of one xz stream; the standard library's file class knows no bound for memory."""
    import lzma

    unpacker = lzma.LZMADecompressor(memlimit=MEMORY)
    while not unpacker.eof:
        packed = source.read(CHUNK) if unpacker.needs_input else b""
        if unpacker.needs_input and not packed:
            raise EOFError("it ends too early")
        chunk = unpacker.decompress(packed, CHUNK)
        if chunk:
            yield chunk
