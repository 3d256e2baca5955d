"""Write an RPM package file, byte by byte: whatever a spec file can say, without rpmbuild, in a millisecond.

The layout is that of rpm's manual (doc/manual/format_v4, tags): a lead, a header of signatures, a header of
metadata, and a compressed cpio archive. It shares no code with redpak's own reader, so each checks the other.
"""

from __future__ import annotations

import hashlib
import stat
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

NULL, INT16, INT32, STRING, BINARY, STRINGS, TRANSLATED = 0, 3, 4, 6, 7, 8, 9
REGION_SIGNATURES, REGION_IMMUTABLE = 62, 63
BUILT = 1_700_000_000  # seconds: the same bytes whenever they are made

LESS, GREATER, EQUAL, PREREQ, INTERP = 2, 4, 8, 64, 256
COMPARISONS = {"<": LESS, "<=": LESS | EQUAL, "=": EQUAL, "==": EQUAL, ">=": GREATER | EQUAL, ">": GREATER}
RPMLIB = 1 << 24
# flag of a requirement that belongs to a script
QUALIFIERS = {"pre": 1 << 9, "post": 1 << 10, "preun": 1 << 11, "postun": 1 << 12, "pretrans": 1 << 7,
              "posttrans": 1 << 5, "verify": 1 << 13, "interp": INTERP, "meta": 1 << 27}  # fmt: skip
TRIGGERS = {"in": 1 << 16, "un": 1 << 17, "postun": 1 << 18, "prein": 1 << 25}
# name, flags, version
DEPENDENCIES = {"provides": (1047, 1112, 1113), "requires": (1049, 1048, 1050), "conflicts": (1054, 1053, 1055),
                "obsoletes": (1090, 1114, 1115), "recommends": (5046, 5048, 5047), "suggests": (5049, 5051, 5050),
                "supplements": (5052, 5054, 5053), "enhances": (5055, 5057, 5056),
                "orderwithrequires": (5035, 5037, 5036)}  # fmt: skip
# body, program, flags
SCRIPTS = {"pre": (1023, 1085, 5020), "post": (1024, 1086, 5021), "preun": (1025, 1087, 5022),
           "postun": (1026, 1088, 5023), "pretrans": (1151, 1153, 5024), "posttrans": (1152, 1154, 5025),
           "verify": (1079, 1091, 5026)}  # fmt: skip
# scripts, programs, names, versions, flags, indexes, priorities
TRIGGER_TAGS = {"trigger": (1065, 1092, 1066, 1067, 1068, 1069, 0), "file": (5066, 5067, 5069, 5071, 5072, 5070, 5084),
                "transfile": (5076, 5077, 5079, 5081, 5082, 5080, 5085)}  # fmt: skip
CONFIG, DOC, MISSINGOK, NOREPLACE, GHOST, LICENSE, ARTIFACT = 1, 2, 8, 16, 64, 128, 4096


@dataclass(frozen=True, kw_only=True)
class File:
    """One file of a package. `link` makes it a symbolic link, `hardlink` another name of a file of the package."""

    data: bytes = b""
    mode: int = 0o644  # with the type's bits: stat.S_IFDIR | 0o755
    user: str = "root"
    group: str = ""  # '' = as the user
    link: str = ""
    hardlink: str = ""
    config: bool = False
    noreplace: bool = False
    missingok: bool = False
    ghost: bool = False
    doc: bool = False
    license: bool = False
    caps: str = ""  # "cap_net_bind_service=ep"
    rdev: int = 0
    mtime: int = BUILT
    color: int = 0  # 1: 32 bit ELF, 2: 64 bit ELF

    @property
    def flags(self) -> int:
        """What %config, %ghost and %doc say."""
        said = ((self.config, CONFIG), (self.noreplace, CONFIG | NOREPLACE), (self.missingok, MISSINGOK),
                (self.ghost, GHOST), (self.doc, DOC), (self.license, LICENSE))  # fmt: skip
        return sum({bit for on, bits in said if on for bit in _bits(bits)})

    @property
    def st_mode(self) -> int:
        """The mode with its type's bits."""
        if self.link:
            return stat.S_IFLNK | 0o777
        return self.mode if stat.S_IFMT(self.mode) else stat.S_IFREG | self.mode


@dataclass(frozen=True, kw_only=True)
class Script:
    """A scriptlet: its body, and what runs it ("<lua>" for the built-in interpreter)."""

    body: str
    program: tuple[str, ...] = ("/bin/sh",)
    flags: int = 0  # 1: expand macros, 2: query format, 4: an error is fatal


@dataclass(frozen=True, kw_only=True)
class Trigger:
    """A trigger: of packages ("trigger": names with versions), or of path prefixes ("file", "transfile")."""

    kind: str = "trigger"
    when: str = "in"  # in, un, postun, prein
    on: tuple[str, ...]
    body: str
    program: tuple[str, ...] = ("/bin/sh",)
    priority: int = 1_000_000


def _bits(value: int) -> list[int]:
    return [1 << n for n in range(value.bit_length()) if value >> n & 1]


def dependency(text: str, extra: int = 0) -> tuple[str, int, str]:
    """Return name, flags and version of "name >= 1.2-3", "(a or b)", "post: /bin/sh"."""
    before, colon, rest = text.partition(": ")
    if colon and all(word in QUALIFIERS for word in before.split(",")):
        text = rest
        extra |= sum(QUALIFIERS[word] for word in before.split(","))
    words = text.split()
    if text.startswith("(") or len(words) != 3 or words[1] not in COMPARISONS:
        return text, extra, ""
    return words[0], COMPARISONS[words[1]] | extra, words[2]


def header(entries: Mapping[int, tuple[int, object]], region: int) -> bytes:
    """Encode a header: magic, counts, index and data, with its region around all of it."""
    index: list[bytes] = []
    data = bytearray()
    for tag in sorted(entries):
        kind, value = entries[tag]
        align = {INT16: 2, INT32: 4}.get(kind, 1)
        data.extend(bytes(-len(data) % align))
        offset = len(data)
        count = 1
        if kind in (INT16, INT32):
            assert isinstance(value, Sequence)
            count = len(value)
            data += struct.pack(f">{count}{'H' if kind == INT16 else 'I'}", *value)
        elif kind == BINARY:
            assert isinstance(value, bytes)
            count = len(value)
            data += value
        elif kind == STRING:
            data += str(value).encode() + b"\0"
        else:
            assert isinstance(value, Sequence)
            count = len(value)
            data += b"".join(str(word).encode() + b"\0" for word in value)
        index.append(struct.pack(">IIII", tag, kind, offset, count))
    entry_count = len(index) + 1
    first = struct.pack(">IIII", region, BINARY, len(data), 16)
    data += struct.pack(">IIiI", region, BINARY, -entry_count * 16, 16)
    return (
        b"\x8e\xad\xe8\x01\0\0\0\0"
        + struct.pack(">II", entry_count, len(data))
        + first
        + b"".join(index)
        + bytes(data)
    )


def cpio(files: Sequence[tuple[str, File]]) -> bytes:
    """Return the payload: the "newc" form of cpio, ghosts left out; hard links carry their data once, at last."""
    groups = _inodes(files)
    last = {inode: path for (path, file), inode in zip(files, groups, strict=True) if not file.ghost}
    contents = dict(files)
    parts: list[bytes] = []
    for (path, file), inode in zip(files, groups, strict=True):
        if file.ghost:
            continue
        data = file.link.encode() or contents[file.hardlink or path].data
        if stat.S_ISDIR(file.st_mode) or last[inode] != path:
            data = b""
        name = f".{path}\0".encode()
        fields = (
            inode,
            file.st_mode,
            0,
            0,
            groups.count(inode),
            file.mtime,
            len(data),
            0,
            0,
            0,
            0,
            len(name),
            0,
        )
        parts.append(
            b"070701" + b"".join(b"%08x" % field for field in fields) + name + bytes(-(110 + len(name)) % 4)
        )
        parts.append(data + bytes(-len(data) % 4))
    name = b"TRAILER!!!\0"
    parts.append(
        b"070701" + b"".join(b"%08x" % n for n in (0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, len(name), 0)) + name
    )
    archive = b"".join(parts)
    return archive + bytes(-len(archive) % 4)


def _inodes(files: Sequence[tuple[str, File]]) -> list[int]:
    numbers = {path: number for number, (path, _) in enumerate(files, 1)}
    return [numbers[file.hardlink or path] for path, file in files]


def compress(payload: bytes, how: str) -> tuple[bytes, str]:
    """Return the compressed payload and the level that the header names."""
    match how:
        case "gzip":
            packer = zlib.compressobj(1, zlib.DEFLATED, 31)
            return packer.compress(payload) + packer.flush(), "1"
        case "zstd":
            import zstandard

            return zstandard.compress(payload, 3), "3"
        case "xz":
            import lzma

            return lzma.compress(payload, preset=1), "1"
        case _:
            raise ValueError(f"no such compression: {how}")


def _file_tags(files: Sequence[tuple[str, File]]) -> dict[int, tuple[int, object]]:
    contents = dict(files)
    folders = list(dict.fromkeys(path.rpartition("/")[0] + "/" for path, _ in files))
    listed = [file for _, file in files]

    def digest(path: str, file: File) -> str:
        if not stat.S_ISREG(file.st_mode) or (file.ghost and not file.data):
            return ""
        return hashlib.sha256(contents[file.hardlink or path].data).hexdigest()

    def size(path: str, file: File) -> int:
        if stat.S_ISDIR(file.st_mode):
            return 4096
        return len(file.link.encode() or contents[file.hardlink or path].data)

    tags: dict[int, tuple[int, object]] = {
        1028: (INT32, [size(path, file) for path, file in files]),
        1030: (INT16, [file.st_mode for file in listed]),
        1033: (INT16, [file.rdev for file in listed]),
        1034: (INT32, [file.mtime for file in listed]),
        1035: (STRINGS, [digest(path, file) for path, file in files]),
        1036: (STRINGS, [file.link for file in listed]),
        1037: (INT32, [file.flags for file in listed]),
        1039: (STRINGS, [file.user for file in listed]),
        1040: (STRINGS, [file.group or file.user for file in listed]),
        1045: (INT32, [0xFFFFFFFF for _ in listed]),
        1095: (INT32, [1 for _ in listed]),
        1096: (INT32, _inodes(files)),
        1097: (STRINGS, ["" for _ in listed]),
        1116: (INT32, [folders.index(path.rpartition("/")[0] + "/") for path, _ in files]),
        1117: (STRINGS, [path.rpartition("/")[2] for path, _ in files]),
        1118: (STRINGS, folders),
        1140: (INT32, [file.color for file in listed]),
        5011: (INT32, [8]),
    }
    if any(file.caps for file in listed):
        tags[5010] = (STRINGS, [file.caps for file in listed])
    return tags


def _script_tags(scripts: Mapping[str, Script]) -> dict[int, tuple[int, object]]:
    tags: dict[int, tuple[int, object]] = {}
    for name, script in scripts.items():
        body, program, flags = SCRIPTS[name]
        if script.body:
            tags[body] = (STRING, script.body)
        # one word is written as a string, more as an array
        tags[program] = (STRING, script.program[0]) if len(script.program) == 1 else (STRINGS, script.program)
        if script.flags:
            tags[flags] = (INT32, [script.flags])
    return tags


def _trigger_tags(triggers: Sequence[Trigger]) -> dict[int, tuple[int, object]]:
    tags: dict[int, tuple[int, object]] = {}
    for kind, (scripts, programs, names, versions, flags, indexes, priorities) in TRIGGER_TAGS.items():
        mine = [trigger for trigger in triggers if trigger.kind == kind]
        if not mine:
            continue
        conditions = [(n, dependency(on, TRIGGERS[t.when])) for n, t in enumerate(mine) for on in t.on]
        tags[scripts] = (STRINGS, [trigger.body for trigger in mine])
        tags[programs] = (STRINGS, [trigger.program[0] for trigger in mine])
        tags[names] = (STRINGS, [name for _, (name, _, _) in conditions])
        tags[flags] = (INT32, [bits for _, (_, bits, _) in conditions])
        tags[versions] = (STRINGS, [version for _, (_, _, version) in conditions])
        tags[indexes] = (INT32, [number for number, _ in conditions])
        if priorities:
            tags[priorities] = (INT32, [trigger.priority for trigger in mine])
    return tags


def package(
    *,
    name: str,
    version: str,
    release: str,
    arch: str,
    epoch: int | None,
    dependencies: Mapping[str, Sequence[tuple[str, int, str]]],
    files: Mapping[str, File],
    scripts: Mapping[str, Script],
    triggers: Sequence[Trigger],
    texts: Mapping[str, str],
    sign: Callable[[bytes], bytes] | None,
    compression: str = "gzip",
    buildtime: int = BUILT,
    changelog: Sequence[tuple[int, str, str]] = (),
    extra: Mapping[int, tuple[int, object]] | None = None,
) -> bytes:
    """Return a whole package file. `sign` gets the header and returns a detached binary OpenPGP signature of it."""
    listed = sorted(files.items())
    archive = cpio(listed)
    payload, level = compress(archive, compression)
    tags: dict[int, tuple[int, object]] = {
        100: (STRINGS, ["C"]),
        1000: (STRING, name),
        1001: (STRING, version),
        1002: (STRING, release),
        1004: (TRANSLATED, [texts["summary"]]),
        1005: (TRANSLATED, [texts["description"]]),
        1006: (INT32, [buildtime]),
        1007: (STRING, "build.invalid"),
        1009: (INT32, [sum(len(file.data) for file in files.values() if not file.ghost)]),
        1014: (STRING, texts["license"]),
        1016: (TRANSLATED, [texts.get("group") or "Unspecified"]),
        1021: (STRING, "linux"),
        1022: (STRING, arch),
        1064: (STRING, "4.18.0"),
        1124: (STRING, "cpio"),
        1125: (STRING, compression),
        1126: (STRING, level),
        1132: (STRING, f"{arch}-linux-gnu"),
        5062: (STRING, "utf-8"),
        5092: (STRINGS, [hashlib.sha256(payload).hexdigest()]),
        5093: (INT32, [8]),
    }
    for tag, key in ((1011, "vendor"), (1015, "packager"), (1020, "url"), (1044, "sourcerpm")):
        if texts.get(key):
            tags[tag] = (STRING, texts[key])
    if epoch is not None:
        tags[1003] = (INT32, [epoch])
    for kind, (names, flags, versions) in DEPENDENCIES.items():
        # sorted as rpmbuild does: librpm looks them up by bisection
        found = sorted(set(dependencies.get(kind, ())))
        if found:
            tags[names] = (STRINGS, [one[0] for one in found])
            tags[flags] = (INT32, [one[1] for one in found])
            tags[versions] = (STRINGS, [one[2] for one in found])
    if listed:
        tags |= _file_tags(listed)
    if changelog:
        tags[1080] = (INT32, [when for when, _, _ in changelog])
        tags[1081] = (STRINGS, [who for _, who, _ in changelog])
        tags[1082] = (STRINGS, [what for _, _, what in changelog])
    tags |= _script_tags(scripts) | _trigger_tags(triggers) | dict(extra or {})
    main = header(tags, REGION_IMMUTABLE)
    signatures: dict[int, tuple[int, object]] = {
        269: (STRING, hashlib.sha1(main).hexdigest()),
        273: (STRING, hashlib.sha256(main).hexdigest()),
        1000: (INT32, [len(main) + len(payload)]),
        1004: (BINARY, hashlib.md5(main + payload).digest()),
        1007: (INT32, [len(archive)]),
    }
    if sign:
        signatures[267] = (BINARY, sign(main))  # where rpm keeps what is not RSA
    block = header(signatures, REGION_SIGNATURES)
    lead = struct.pack(
        ">4sBBhh66shh16x", b"\xed\xab\xee\xdb", 3, 0, 0, 1, f"{name}-{version}-{release}".encode()[:65], 1, 5
    )
    return lead + block + bytes(-len(block) % 8) + main + payload
