"""Read rpm headers: indexed once, decoded tag by tag when somebody asks.

A header is what rpm's database keeps of a package and what a package file starts with: an index of numbered tags
and a store of values. Everything in it is checked against its bounds, since package files come from anywhere:
whatever is wrong raises BadHeader. Strings are UTF-8; other bytes come as surrogates (PEP 383).
Source: rpm, docs/manual/format_header.md and lib/header.c.
"""

from __future__ import annotations

import hashlib
import os
import struct
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from redpak.errors import doing
from redpak.packages.header_raw import ENTRY, MAX_DATA, MAX_TAGS, BadHeader, Raw
from redpak.packages.header_tags import DIGESTS, IMMUTABLE, SIGNATURES, STATE_MISSING, TAGS

if TYPE_CHECKING:
    from collections.abc import Iterator

    Dependency = tuple[str, int, str]  # name, rpm's flags, [epoch:]version[-release]

T = TypeVar("T", tuple[int, ...], list[str])

__all__ = ["LEAD_MAGIC", "LEAD_SIZE", "MAGIC", "BadHeader", "FileEntry", "Header", "Script", "from_rpm"]

MAGIC = b"\x8e\xad\xe8\x01\0\0\0\0"
LEAD_MAGIC = b"\xed\xab\xee\xdb"
LEAD_SIZE = 96  # bytes
MAX_SIGNATURE_DATA = 64 << 20  # bytes
TAG_BASENAMES = TAGS["basenames"][0]


class FileEntry(NamedTuple):
    """A file that a package owns. `size` is in bytes; `digest` is '' for all but regular files."""

    path: str
    mode: int  # type and permissions, as in stat(2)
    size: int
    digest: str  # hexadecimal, by Header.digest_algorithm
    link: str  # target of a symbolic link
    flags: int  # header_tags.FILE_*
    user: str
    group: str
    rdev: int
    caps: str  # as setcap(8) writes them
    color: int  # 0 neutral, 1 a 32-bit ELF file, 2 a 64-bit one
    device: int  # files of equal device and inode are hard links of each other
    inode: int
    mtime: int  # seconds
    verify: int  # what `rpm -V` compares
    state: int  # header_tags.STATE_*


class Script(NamedTuple):
    """A scriptlet: who reads it and its text, which may be empty ('-p /sbin/ldconfig')."""

    program: tuple[str, ...]
    body: str


_SCRIPTS = {
    "pretrans": ("pretrans", "pretransprog"),
    "pre": ("prein", "preinprog"),
    "post": ("postin", "postinprog"),
    "preun": ("preun", "preunprog"),
    "postun": ("postun", "postunprog"),
    "posttrans": ("posttrans", "posttransprog"),
    "preuntrans": ("preuntrans", "preuntransprog"),
    "postuntrans": ("postuntrans", "postuntransprog"),
    "verify": ("verifyscript", "verifyscriptprog"),
}


class Header(Raw):
    """One header: the bytes as rpm's database keeps them, without magic.

    Reading a value raises BadHeader where it lies outside of the header or has another kind than its tag.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return f"Header({self.where or self.nevra})"

    # ---- who it is ----

    @property
    def name(self) -> str:
        """Name."""
        return self.text_of(1000)

    @property
    def epoch(self) -> int:
        """Epoch; 0 when there is none."""
        found = self.integers_of(1003)
        return found[0] if found else 0

    @property
    def version(self) -> str:
        """Version."""
        return self.text_of(1001)

    @property
    def release(self) -> str:
        """Release."""
        return self.text_of(1002)

    @property
    def arch(self) -> str:
        """Architecture; 'src' for source packages, '' for what has none (gpg-pubkey)."""
        if 1044 not in self._index and 1106 in self._index:  # sourcepackage
            return "src"
        return self.text_of(1022)

    @property
    def evr(self) -> str:
        """[epoch:]version-release, the epoch only when it is not 0."""
        shown = f"{self.version}-{self.release}"
        return f"{self.epoch}:{shown}" if self.epoch else shown

    @property
    def nevra(self) -> str:
        """name-[epoch:]version-release.arch."""
        return f"{self.name}-{self.evr}.{self.arch}"

    @property
    def vendor(self) -> str:
        """Vendor."""
        return self.text_of(1011)

    @property
    def buildtime(self) -> int:
        """Seconds since 1970."""
        return self.integer("buildtime")

    @property
    def installtime(self) -> int:
        """Seconds since 1970; 0 when it is not installed."""
        return self.integer("installtime")

    @property
    def summary(self) -> str:
        """One line."""
        return self.text_of(1004)

    @property
    def description(self) -> str:
        """Some lines."""
        return self.text_of(1005)

    @property
    def license(self) -> str:
        """License."""
        return self.text_of(1014)

    @property
    def url(self) -> str:
        """Home page."""
        return self.text_of(1020)

    @property
    def sourcerpm(self) -> str:
        """File name of the source package; '' for a source package."""
        return self.text_of(1044)

    @property
    def size(self) -> int:
        """Bytes when installed."""
        return self.integer("longsize") or self.integer("size")

    @property
    def is_key(self) -> bool:
        """Tell whether it is no package but a public key that rpm keeps in its database."""
        return self.name == "gpg-pubkey"

    # ---- what it says about others ----

    def _dependencies(self, name: int, flags: int, evr: int) -> tuple[Dependency, ...]:
        names = self.texts_of(name)
        if not names:
            return ()
        senses = self.integers_of(flags) or (0,) * len(names)
        evrs = self.texts_of(evr) or [""] * len(names)
        if not len(names) == len(senses) == len(evrs):
            raise self._bad(f"tags {name}, {flags} and {evr} do not match")
        return tuple(zip(names, senses, evrs, strict=True))

    @property
    def provides(self) -> tuple[Dependency, ...]:
        """What it provides, as written."""
        return self._dependencies(1047, 1112, 1113)

    @property
    def requires(self) -> tuple[Dependency, ...]:
        """What it requires, as written: 'rpmlib(…)' (flag RPMLIB) and rich dependencies included."""
        return self._dependencies(1049, 1048, 1050)

    @property
    def conflicts(self) -> tuple[Dependency, ...]:
        """What it conflicts with."""
        return self._dependencies(1054, 1053, 1055)

    @property
    def obsoletes(self) -> tuple[Dependency, ...]:
        """What it obsoletes."""
        return self._dependencies(1090, 1114, 1115)

    @property
    def recommends(self) -> tuple[Dependency, ...]:
        """What it recommends."""
        return self._dependencies(5046, 5048, 5047)

    @property
    def suggests(self) -> tuple[Dependency, ...]:
        """What it suggests."""
        return self._dependencies(5049, 5051, 5050)

    @property
    def supplements(self) -> tuple[Dependency, ...]:
        """What it supplements."""
        return self._dependencies(5052, 5054, 5053)

    @property
    def enhances(self) -> tuple[Dependency, ...]:
        """What it enhances."""
        return self._dependencies(5055, 5057, 5056)

    # ---- what it brings ----

    @property
    def digest_algorithm(self) -> str:
        """hashlib's name of the algorithm of file digests; 'md5' in old packages, '' for an unknown one."""
        return DIGESTS.get(self.integer("filedigestalgo") or 1, "")

    def paths(self) -> list[str]:
        """Return the paths of all files, in the header's order."""
        names = self.texts_of(TAG_BASENAMES)
        if not names:
            return self.texts_of(1027)  # whole names, as rpm 3 wrote them
        folders = self.texts_of(1118)
        indexes = self.integers_of(1116)
        if len(indexes) != len(names) or max(indexes) >= len(folders):
            raise self._bad("its file names do not match their directories")
        return [folders[index] + name for index, name in zip(indexes, names, strict=True)]

    def files(self) -> Iterator[FileEntry]:
        """Yield all files, in the header's order."""
        paths = self.paths()
        count = len(paths)
        if not count:
            return iter(())

        def integers(tag: str, absent: int = 0) -> tuple[int, ...]:
            return self._each(tag, self.integers(tag), count) or (absent,) * count

        def texts(tag: str) -> list[str]:
            return self._each(tag, self.texts(tag), count) or [""] * count

        states = integers("filestates", STATE_MISSING)
        return map(
            FileEntry, paths, integers("filemodes"),
            integers("longfilesizes" if self.has("longfilesizes") else "filesizes"),
            texts("filedigests"), texts("filelinktos"), integers("fileflags"), texts("fileusername"),
            texts("filegroupname"), integers("filerdevs"), texts("filecaps"), integers("filecolors"),
            integers("filedevices"), integers("fileinodes"), integers("filemtimes"),
            integers("fileverifyflags", 0xFFFFFFFF), (STATE_MISSING if s > 127 else s for s in states),
        )  # fmt: skip

    def _each(self, tag: str, values: T, count: int) -> T:
        if values and len(values) != count:
            raise self._bad(f"it has {count} files and {len(values)} {tag}")
        return values

    @property
    def scripts(self) -> dict[str, Script]:
        """Its scriptlets by their names in a spec file: pre, post, preun, postun, pretrans, posttrans, verify …"""
        found = {}
        for name, (body, program) in _SCRIPTS.items():
            if self.has(body) or self.has(program):
                found[name] = Script(tuple(self.texts(program)) or ("/bin/sh",), self.text(body))
        return found

    # ---- what it proves ----

    def signed_bytes(self) -> bytes:
        """Return what the builder's digest and signature are over: the immutable region with magic; b'' without one.

        rpm adds tags to an installed package's header; they lie behind the region that was signed.
        """
        region = self._region()
        if region is None:
            return b""
        tags, size = region
        index = self.blob[8 : 8 + 16 * tags]
        return MAGIC + struct.pack(">II", tags, size) + index + self.blob[self._start : self._start + size]

    @property
    def has_region(self) -> bool:
        """Tell whether it has an immutable region; packages before rpm 4.0 have none."""
        return IMMUTABLE in self._index

    def added(self) -> tuple[int, ...]:
        """Return the numbers of the tags behind the region that was signed: anybody may have put them there.

        In a database they are what rpm noted at installation. Where two tags have one number, these are what is read.
        """
        region = self._region()
        behind = self.blob[8 + 16 * (region[0] if region else 0) : self._start]
        return tuple(tag for tag, _, _, _ in ENTRY.iter_unpack(behind))

    def _region(self) -> tuple[int, int] | None:
        """Return how many tags and how many bytes of the store belong to the immutable region; None without one."""
        entry = self._index.get(IMMUTABLE) or self._index.get(SIGNATURES)
        if entry is None:
            return None
        kind, at, count = entry
        trailer = ENTRY.unpack_from(self.blob, self._place(IMMUTABLE, at, 16))
        tags, odd = divmod(-trailer[2], 16)
        first = ENTRY.unpack_from(self.blob, 8)[0]
        if kind != 7 or count != 16 or odd or not 0 < tags <= (self._start - 8) // 16:
            raise self._bad("its immutable region has no proper end")
        if first not in (IMMUTABLE, SIGNATURES) or trailer[0] not in (IMMUTABLE, SIGNATURES):
            raise self._bad("its immutable region has no proper start")
        return tags, at + 16

    @property
    def signature(self) -> bytes:
        """The OpenPGP signature over `signed_bytes()`, binary; b'' when it is not signed."""
        if found := self.binary("rsaheader") or self.binary("dsaheader"):
            return found
        armoured = self.texts("openpgp")
        if not armoured:
            return b""
        import base64
        import binascii

        try:
            return base64.b64decode("".join(armoured[0].split()))
        except (binascii.Error, ValueError):
            raise self._bad("its signature is no base64") from None

    @property
    def sha256(self) -> str:
        """The digest of `signed_bytes()` that the builder wrote down, hexadecimal; '' when there is none."""
        return self.text("sha256header")

    @property
    def digest(self) -> str:
        """SHA-256 of `signed_bytes()`, or of everything where there is no region: who this header is."""
        return hashlib.sha256(self.signed_bytes() or self.blob).hexdigest()


def from_rpm(path: str) -> tuple[Header, Header, int]:
    """Return signature header, main header and the payload's offset (bytes) of a package file.

    Raises BadHeader for what is no package, RedpakError when it cannot be read.
    """
    with doing("read the package"):
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            size = os.fstat(fd).st_size
            if os.pread(fd, 4, 0) != LEAD_MAGIC:
                raise BadHeader(f"'{path}' is no rpm package")
            signature, at = _header_at(fd, path, LEAD_SIZE, size, MAX_SIGNATURE_DATA)
            at += -at % 8  # padded so that the main header is aligned
            main, at = _header_at(fd, path, at, size, MAX_DATA)
            if main.has_region and len(main.signed_bytes()) != len(MAGIC) + len(main.blob):
                raise BadHeader(f"'{path}' has more in its header than was signed")
        finally:
            os.close(fd)
    return signature, main, at


def _header_at(fd: int, path: str, at: int, size: int, limit: int) -> tuple[Header, int]:
    """Return the header at an offset of a file of `size` bytes, and where it ends."""
    start = os.pread(fd, 16, at)
    if len(start) < 16 or start[:4] != MAGIC[:4]:
        raise BadHeader(f"'{path}' is no complete rpm package: a header is missing at byte {at}")
    tags, data = struct.unpack_from(">II", start, 8)
    whole = 8 + 16 * tags + data
    if tags > MAX_TAGS or data > limit or at + 8 + whole > size:
        raise BadHeader(f"'{path}' is no complete rpm package: the header at byte {at} claims {whole} bytes")
    blob = os.pread(fd, whole, at + 8)
    return Header(blob, path), at + 8 + whole
