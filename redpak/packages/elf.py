"""Read ELF files as the dynamic loader does: through program headers and the dynamic section, never section headers.

Files come from packages and may be made to mislead: every offset and count is checked, whatever does not fit raises
BadElf, and no file makes us read or loop more than its size allows. 32 and 64 bits, both byte orders.
Source: elf(5); the System V ABI, chapter 5; the GNU extensions for symbol versions and hashes.
"""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING, NamedTuple

from redpak.errors import RedpakError, doing

if TYPE_CHECKING:
    from collections.abc import Iterator

MAGIC = b"\x7fELF"
EXEC, DYN = 2, 3
ALPHA, FAKE_ALPHA = 0x29, 0x9026  # machines whose 64 bits rpm does not mention

_LOAD, _DYNAMIC, _INTERP = 1, 2, 3
_NEEDED, _HASH, _STRTAB, _SYMTAB, _STRSZ, _SYMENT, _SONAME, _RPATH, _RUNPATH = 1, 4, 5, 6, 10, 11, 14, 15, 29
_GNU_HASH, _VERSYM, _FLAGS_1 = 0x6FFFFEF5, 0x6FFFFFF0, 0x6FFFFFFB
_VERDEF, _VERDEFNUM, _VERNEED, _VERNEEDNUM = 0x6FFFFFFC, 0x6FFFFFFD, 0x6FFFFFFE, 0x6FFFFFFF
_BASE, _WEAK = 1, 2  # flags of versions
_NODEFLIB, _PIE = 0x800, 0x08000000  # DT_FLAGS_1

MOST_SEGMENTS = 4096
MOST_DYNAMIC = 1 << 20  # bytes
MOST_STRINGS = 256 << 20  # bytes
MOST_VERSIONS = 65535
MOST_SYMBOLS = 1 << 24


class BadElf(RedpakError):
    """A file starts as an ELF file and is not a sound one."""


class Need(NamedTuple):
    """A version that a file wants of a library."""

    library: str
    version: str
    weak: bool  # a version that is missing is only warned of


class Undefined(NamedTuple):
    """A symbol that somebody else has to define."""

    name: str
    version: str  # '' when any will do
    library: str  # whose version it is; '' without a version
    weak: bool  # may stay undefined


class Symbols(NamedTuple):
    """The dynamic symbols of a file. `defined`: name to its versions, '' for one without."""

    undefined: tuple[Undefined, ...]
    defined: dict[str, frozenset[str]]


class Elf(NamedTuple):
    """What the loader reads of a file."""

    path: str
    bits: int  # 32 or 64
    little: bool
    machine: int  # EM_…
    kind: int  # EXEC, DYN or another ET_…
    interp: str = ""  # the loader that it asks for
    dynamic: bool = False
    needed: tuple[str, ...] = ()
    soname: str = ""
    rpath: str = ""  # as written; ignored when there is a runpath
    runpath: str = ""
    needs: tuple[Need, ...] = ()
    versions: tuple[str, ...] = ()  # that it defines, without the base one
    gnu_hash: bool = False
    sysv_hash: bool = False
    no_default_libraries: bool = False  # linked with -z nodefaultlib
    pie: bool = False

    @property
    def marker(self) -> str:
        """What rpm writes behind a soname to tell 64 bits: '(64bit)' or ''. Source: rpm, tools/elfdeps.c."""
        return "(64bit)" if self.bits == 64 and self.machine not in (ALPHA, FAKE_ALPHA) else ""

    @property
    def color(self) -> int:
        """rpm's colour of it."""
        return 2 if self.bits == 64 else 1


def read(path: str) -> Elf | None:
    """Return what the loader reads of a file; None when it is no ELF file. Raises BadElf, RedpakError."""
    with doing("read the program"):
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            file = _File(fd, path)
            return _read(file) if file.is_elf else None
        finally:
            os.close(fd)


def symbols(path: str) -> Symbols:
    """Return a file's dynamic symbols; none when it is no ELF file. Raises BadElf, RedpakError."""
    with doing("read the program"):
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            file = _File(fd, path)
            return _symbols(file) if file.is_elf else Symbols((), {})
        finally:
            os.close(fd)


def provided(elf: Elf, name: str) -> list[str]:
    """Return what rpm says that a library provides which the loader finds by `name`."""
    if not elf.dynamic:
        return []
    return [_capability(name, version, elf.marker) for version in ("", *elf.versions)]


def required(elf: Elf) -> list[str]:
    """Return what rpm says that a program or library requires of others. Weak versions are not asked for."""
    found = [_capability(name, "", elf.marker) for name in elf.needed]
    found += [_capability(need.library, need.version, elf.marker) for need in elf.needs if not need.weak]
    if elf.dynamic and elf.gnu_hash and not elf.sysv_hash:
        found.append("rtld(GNU_HASH)")
    return list(dict.fromkeys(found))


def _capability(soname: str, version: str, marker: str) -> str:
    return f"{soname}({version}){marker}" if version or marker else soname


class _File:
    """A file with its layout: every read is checked against its size."""

    def __init__(self, fd: int, path: str) -> None:
        self.fd = fd
        self.path = path
        at = os.fstat(fd)
        self.size = at.st_size
        start = os.pread(fd, 64, 0) if (at.st_mode & 0o170000) == 0o100000 else b""
        self.is_elf = start[:4] == MAGIC
        if not self.is_elf:
            return
        if len(start) < 52 or start[4] not in (1, 2) or start[5] not in (1, 2):
            raise self.bad("its start is incomplete")
        self.wide = start[4] == 2
        self.little = start[5] == 1
        self.order = "<" if self.little else ">"
        if self.wide and len(start) < 64:
            raise self.bad("its start is incomplete")
        self.kind, self.machine = struct.unpack_from(self.order + "HH", start, 16)
        layout = "QQQIHHH" if self.wide else "IIIIHHH"
        _, table, _, _, _, entry, count = struct.unpack_from(self.order + layout, start, 24)
        self.segments: list[tuple[int, int, int, int]] = []  # kind, offset, address, size in the file
        self.dynamic: dict[int, list[int]] = {}
        self.interp = ""
        self._strings: bytes | None = None
        if count:
            self._load_segments(table, entry, count)

    def bad(self, why: str) -> BadElf:
        return BadElf(f"'{self.path}' is no sound ELF file: {why}")

    def bytes_at(self, offset: int, size: int) -> bytes:
        if offset < 0 or size < 0 or offset + size > self.size:
            raise self.bad(f"something lies outside of it, at {offset}")
        data = os.pread(self.fd, size, offset)
        if len(data) != size:
            raise self.bad("it became shorter")
        return data

    def unpack(self, layout: str, offset: int) -> tuple[int, ...]:
        layout = self.order + layout
        return struct.unpack(layout, self.bytes_at(offset, struct.calcsize(layout)))

    def _load_segments(self, table: int, entry: int, count: int) -> None:
        layout = self.order + ("IIQQQQQQ" if self.wide else "IIIIIIII")
        if count > MOST_SEGMENTS or entry != struct.calcsize(layout):
            raise self.bad(f"it claims {count} segments of {entry} bytes")
        found = None
        for values in struct.iter_unpack(layout, self.bytes_at(table, entry * count)):
            if self.wide:
                kind, _, offset, address, _, size, _, _ = values
            else:
                kind, offset, address, _, size, _, _, _ = values
            self.segments.append((kind, offset, address, size))
            if kind == _INTERP:
                if size > 4096:
                    raise self.bad("its interpreter's name is too long")
                self.interp = os.fsdecode(self.bytes_at(offset, size).split(b"\0", 1)[0])
            elif kind == _DYNAMIC and found is None:
                found = (offset, size)
        if found is not None:
            self._load_dynamic(*found)

    def _load_dynamic(self, offset: int, size: int) -> None:
        if size > MOST_DYNAMIC:
            raise self.bad("its dynamic section is too large")
        layout = self.order + ("qQ" if self.wide else "iI")
        one = struct.calcsize(layout)
        if not size and self.kind not in (EXEC, DYN):
            return
        for tag, value in struct.iter_unpack(layout, self.bytes_at(offset, size // one * one)):
            if tag == 0:
                break
            self.dynamic.setdefault(tag & 0xFFFFFFFF, []).append(value)

    def offset_of(self, address: int) -> int:
        """Return where in the file an address comes from."""
        for kind, offset, start, size in self.segments:
            if kind == _LOAD and start <= address < start + size:
                return offset + address - start
        raise self.bad(f"nothing is loaded at address {address:#x}")

    def value(self, tag: int) -> int | None:
        values = self.dynamic.get(tag)
        return values[-1] if values else None

    def number(self, tag: int) -> int:
        value = self.value(tag)
        return 0 if value is None else value

    def table(self, tag: int) -> int | None:
        """Return where in the file a table of the dynamic section starts; None without one."""
        value = self.value(tag)
        return None if value is None else self.offset_of(value)

    def string(self, at: int) -> str:
        if self._strings is None:
            start = self.table(_STRTAB)
            if start is None:
                raise self.bad("it has no strings")
            size = min(self.number(_STRSZ), self.size - start)
            if size > MOST_STRINGS:
                raise self.bad("its strings are too large")
            self._strings = self.bytes_at(start, size)
        end = self._strings.find(b"\0", at)
        if not 0 <= at < len(self._strings) or end < 0:
            raise self.bad("a name lies outside of its strings")
        return os.fsdecode(self._strings[at:end])

    def chain(self, start: int, count: int, layout: str, name: str) -> Iterator[tuple[int, tuple[int, ...]]]:
        """Yield offset and fields of linked entries, whose last field is the distance to the next."""
        if count > MOST_VERSIONS:
            raise self.bad(f"it claims {count} {name}")
        for _ in range(count):
            fields = self.unpack(layout, start)
            yield start, fields
            if not fields[-1]:
                return
            start += fields[-1]


def _read(file: _File) -> Elf:
    if not file.dynamic:
        return Elf(
            file.path, 64 if file.wide else 32, file.little, file.machine, file.kind, interp=file.interp
        )
    runpath, rpath, soname = file.value(_RUNPATH), file.value(_RPATH), file.value(_SONAME)
    flags = file.number(_FLAGS_1)
    return Elf(
        file.path,
        64 if file.wide else 32,
        file.little,
        file.machine,
        file.kind,
        interp=file.interp,
        dynamic=True,
        needed=tuple(file.string(at) for at in file.dynamic.get(_NEEDED, ())),
        soname="" if soname is None else file.string(soname),
        rpath="" if rpath is None or runpath is not None else file.string(rpath),
        runpath="" if runpath is None else file.string(runpath),
        needs=tuple(need for _, need in _needs(file)),
        versions=tuple(name for _, name, base in _defines(file) if not base),
        gnu_hash=_GNU_HASH in file.dynamic,
        sysv_hash=_HASH in file.dynamic,
        no_default_libraries=bool(flags & _NODEFLIB),
        pie=bool(flags & _PIE),
    )


def _needs(file: _File) -> Iterator[tuple[int, Need]]:
    """Yield the versions that a file wants, with their numbers in the table of symbols' versions."""
    start = file.table(_VERNEED)
    if start is None:
        return
    total = 0
    for at, (_, count, library, first, _) in file.chain(
        start, file.number(_VERNEEDNUM), "HHIII", "libraries"
    ):
        name = file.string(library)
        total += count
        if total > MOST_VERSIONS:
            raise file.bad("it wants too many versions")
        for _, (_, flags, number, version, _) in file.chain(at + first, count, "IHHII", "versions"):
            yield number & 0x7FFF, Need(name, file.string(version), bool(flags & _WEAK))


def _defines(file: _File) -> Iterator[tuple[int, str, bool]]:
    """Yield the versions that a file defines: number, name, and whether it is the base, the file's own name."""
    start = file.table(_VERDEF)
    if start is None:
        return
    for at, (_, flags, number, count, _, first, _) in file.chain(
        start, file.number(_VERDEFNUM), "HHHHIII", "versions"
    ):
        if count:
            (name,) = file.unpack("I", at + first)
            yield number & 0x7FFF, file.string(name), bool(flags & _BASE)


def _symbols(file: _File) -> Symbols:
    table = file.table(_SYMTAB)
    if table is None:
        return Symbols((), {})
    layout = file.order + ("IBBHQQ" if file.wide else "IIIBBH")
    one = struct.calcsize(layout)
    if file.number(_SYMENT) not in (0, one):
        raise file.bad("its symbols have another size")
    count = _symbol_count(file)
    marks: tuple[int, ...] = (1,) * count
    if (versym := file.table(_VERSYM)) is not None:
        marks = file.unpack(f"{count}H", versym)
    wanted = dict(_needs(file))
    made = {number: ("" if base else name) for number, name, base in _defines(file)}
    undefined: list[Undefined] = []
    defined: dict[str, frozenset[str]] = {}
    entries = struct.iter_unpack(layout, file.bytes_at(table, one * count))
    for entry, mark in zip(entries, marks, strict=True):
        if file.wide:
            at, info, _, section, _, _ = entry
        else:
            at, _, _, info, _, section = entry
        binding = info >> 4
        if binding not in (1, 2, 10) or not at:  # global, weak, unique
            continue
        name, number = file.string(at), mark & 0x7FFF
        if section:
            defined[name] = defined.get(name, frozenset()) | {made.get(number, "")}
        else:
            need = wanted.get(number)
            version, library = (need.version, need.library) if need else ("", "")
            undefined.append(Undefined(name, version, library, binding == 2))
    return Symbols(tuple(undefined), defined)


def _symbol_count(file: _File) -> int:
    """Return how many dynamic symbols there are: only the hash tables tell."""
    if (table := file.table(_HASH)) is not None and file.machine not in (ALPHA, 22):  # there: 64-bit words
        count = file.unpack("II", table)[1]
    elif (table := file.table(_GNU_HASH)) is not None:
        count = _gnu_symbol_count(file, table)
    else:
        return 0
    if count > MOST_SYMBOLS:
        raise file.bad(f"it claims {count} symbols")
    return count


def _gnu_symbol_count(file: _File, table: int) -> int:
    buckets, first, bloom, _ = file.unpack("IIII", table)
    if buckets > MOST_SYMBOLS:
        raise file.bad(f"its hash table claims {buckets} buckets")
    start = table + 16 + bloom * (8 if file.wide else 4)
    last = max(file.unpack(f"{buckets}I", start), default=0)
    if last < first:
        # nothing is defined, so nothing is hashed; linkers put the strings right behind the symbols
        symbols, strings = file.table(_SYMTAB), file.table(_STRTAB)
        if symbols is None or strings is None or strings < symbols:
            return first
        return max(first, (strings - symbols) // (24 if file.wide else 16))
    at = start + 4 * buckets + 4 * (last - first)
    while True:  # a chain ends with an odd hash; at the latest the file's end raises
        chunk = file.bytes_at(at, min(4096, file.size - at) & ~3)
        if not chunk:
            raise file.bad("its hash table has no end")
        for (value,) in struct.iter_unpack(file.order + "I", chunk):
            last += 1
            if value & 1:
                return last
        at += len(chunk)
