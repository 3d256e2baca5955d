"""What the dynamic loader of a system is set to: its default directories, its cache, ld.so.conf, processor levels.

Everything is read through a `Look`, a function from a path of the view to the file of this host that it leads to, so
that it can be asked of a root directory, of a plan's mounts, or of a system of another machine.
Source: glibc, elf/dl-load.c, elf/dl-cache.c, sysdeps/generic/dl-cache.h; ld.so(8), ldconfig(8).
"""

from __future__ import annotations

import os
import re
import struct
from fnmatch import fnmatch
from typing import TYPE_CHECKING, NamedTuple

from redpak.errors import doing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Look = Callable[[str], str | None]  # the file of this host behind a path; None when nothing is there

MOST_LINKS = 40  # as the kernel (ELOOP)
MOST_CACHE = 64 << 20  # bytes

# Loaders by machine and bits, for libraries, which do not name theirs.
LOADERS = {
    (62, 64): "/lib64/ld-linux-x86-64.so.2",
    (62, 32): "/libx32/ld-linux-x32.so.2",
    (3, 32): "/lib/ld-linux.so.2",
    (183, 64): "/lib/ld-linux-aarch64.so.1",
    (40, 32): "/lib/ld-linux-armhf.so.3",
    (243, 64): "/lib/ld-linux-riscv64-lp64d.so.1",
    (22, 64): "/lib/ld64.so.1",
    (21, 64): "/lib64/ld64.so.2",
    (258, 64): "/lib64/ld-linux-loongarch-lp64d.so.1",
}
PLATFORMS = {(62, 64): "x86_64", (3, 32): "i686", (183, 64): "aarch64", (40, 32): "v7l", (22, 64): "z900"}

# What a processor must have for each level, in the kernel's words. Source: the x86-64 psABI; glibc dl-hwcaps_subdirs.c.
_LEVELS = (
    ("x86-64-v2", "cx16 lahf_lm popcnt pni sse4_1 sse4_2 ssse3"),
    ("x86-64-v3", "avx avx2 bmi1 bmi2 f16c fma abm movbe xsave"),
    ("x86-64-v4", "avx512f avx512bw avx512cd avx512dq avx512vl"),
)


class System(NamedTuple):
    """How one loader is built. `defaults` are its own directories, without the slash at the end."""

    path: str
    defaults: tuple[str, ...]
    version: tuple[int, int]  # of glibc; (0, 0) when unknown

    @property
    def lib(self) -> str:
        """What $LIB stands for."""
        return self.defaults[0].strip("/") if self.defaults else "lib"


def rooted(root: str) -> Look:
    """Return the Look of a root directory: symbolic links in it lead nowhere else."""
    if root == "/":
        return lambda path: os.path.realpath(path) if os.path.exists(path) else None
    top = os.path.realpath(root)
    known: dict[str, str | None] = {}

    def folder(path: str, links: int) -> str | None:
        if path not in known:
            known[path] = walk(path, links)
        return known[path]

    def walk(path: str, links: int) -> str | None:
        """Resolve a path of the view, from its parent on; one step at a time."""
        path = os.path.normpath("/" + path.lstrip("/"))
        if path == "/":
            return top
        if links > MOST_LINKS:
            return None
        head, tail = os.path.split(path)
        above = folder(head, links)
        if above is None:
            return None
        here = os.path.join(above, tail)
        try:
            target = os.readlink(here)
        except OSError:
            return here if os.path.lexists(here) else None
        inside = above[len(top) :] or "/"
        return walk(os.path.join(inside, target), links + 1)

    return lambda path: walk(path, 0)


def system(path: str, look: Look, machine: int, bits: int) -> System:
    """Return how the loader at `path` is built, read from its own text; a table's answer when it does not tell."""
    file = look(path)
    data = b""
    if file is not None and os.path.isfile(file):
        with doing("read the loader"), open(file, "rb") as opened:
            data = opened.read(16 << 20)
    found = re.search(rb"\0((?:/[\w./+-]{1,100}/\0){2,16})", data)
    names = found[1].split(b"\0")[:-1] if found else []
    defaults = tuple(os.fsdecode(name).rstrip("/") for name in names if b"lib" in name)
    said = re.search(rb"release version (\d+)\.(\d+)", data)
    version = (int(said[1]), int(said[2])) if said else (0, 0)
    return System(path, defaults or usual(machine, bits), version)


def usual(machine: int, bits: int) -> tuple[str, ...]:
    """Return the default directories of a loader that does not tell them."""
    if bits == 64 and machine in (62, 183, 22, 21, 243):
        return ("/lib64", "/usr/lib64", "/lib", "/usr/lib")
    return ("/lib", "/usr/lib")


def levels(cpuinfo: str = "/proc/cpuinfo") -> tuple[str, ...]:
    """Return the glibc-hwcaps subdirectories that this machine's processor can use, best first."""
    try:
        with open(cpuinfo, encoding="ascii", errors="replace") as file:
            line = next((line for line in file if line.startswith("flags")), "")
    except OSError:
        return ()
    flags = set(line.partition(":")[2].split())
    found: list[str] = []
    for name, wanted in _LEVELS:
        if not flags >= set(wanted.split()):
            break
        found.insert(0, name)
    return tuple(found)


def subdirectories(built: System, machine: int, hwcaps: Sequence[str], platform: str) -> tuple[str, ...]:
    """Return where a loader looks in each directory before the directory itself."""
    found = [f"glibc-hwcaps/{level}" for level in hwcaps]
    if (0, 0) < built.version < (2, 37) and machine == 62:  # the older scheme, which 2.37 dropped
        for first in ("tls/", ""):
            found += [f"{first}{platform}/x86_64", f"{first}{platform}", f"{first}x86_64"]
            found += ["tls"] if first else []
    return tuple(dict.fromkeys(found))


def text_of(look: Look, path: str, most: int = 64 << 20) -> str | None:
    """Return the start of a text file of a view; None where there is no file that we may read."""
    file = look(path)
    if file is None or not os.path.isfile(file):
        return None
    try:
        with open(file, encoding="utf-8", errors="surrogateescape") as opened:
            return opened.read(most)
    except OSError:
        return None


# ---- /etc/ld.so.cache ----


class Cached(NamedTuple):
    """A line of the cache. `level` is '' or a glibc-hwcaps subdirectory's name."""

    path: str
    level: str


def cache(data: bytes) -> dict[str, tuple[Cached, ...]]:
    """Return what ldconfig knows of each name, in its order; {} for a cache of another format or a damaged one."""
    start = data.find(b"glibc-ld.so.cache1.1")
    if start < 0:
        return {}
    for order in "<", ">":
        try:
            return _entries(data[start:], order)
        except (struct.error, ValueError):
            continue
    return {}


def _entries(data: bytes, order: str) -> dict[str, tuple[Cached, ...]]:
    count, _, _, extension = struct.unpack_from(order + "IIB3xI", data, 20)
    table = struct.Struct(order + "iIIIQ")
    if 48 + count * table.size > len(data):
        raise ValueError("too many entries")
    names = _level_names(data, order, extension)
    found: dict[str, list[Cached]] = {}
    for _, name, path, _, hwcap in table.iter_unpack(data[48 : 48 + count * table.size]):
        level = ""
        if hwcap:
            number = hwcap & 0xFFFFFFFF
            if not hwcap >> 62 & 1 or number >= len(names):
                continue  # of the older scheme
            level = names[number]
        found.setdefault(_word(data, name), []).append(Cached(_word(data, path), level))
    return {name: tuple(lines) for name, lines in found.items()}


def _level_names(data: bytes, order: str, extension: int) -> list[str]:
    if not extension:
        return []
    magic, sections = struct.unpack_from(order + "II", data, extension)
    if magic != 0xEAA42174:
        return []
    for number in range(min(sections, 64)):
        tag, _, at, size = struct.unpack_from(order + "IIII", data, extension + 8 + 16 * number)
        if tag == 1 and at + size <= len(data):
            return [
                _word(data, name)
                for (name,) in struct.iter_unpack(order + "I", data[at : at + size // 4 * 4])
            ]
    return []


def _word(data: bytes, at: int) -> str:
    end = data.index(b"\0", at)
    return os.fsdecode(data[at:end])


def read_cache(look: Look) -> dict[str, tuple[Cached, ...]]:
    """Return the cache of a view; {} when it has none."""
    file = look("/etc/ld.so.cache")
    if file is None or not os.path.isfile(file):
        return {}
    with doing("read the loader's cache"), open(file, "rb") as opened:
        return cache(opened.read(MOST_CACHE))


# ---- /etc/ld.so.conf ----


def configured(look: Look) -> tuple[str, ...]:
    """Return the directories of /etc/ld.so.conf and the files that it includes, in their order."""
    return tuple(dict.fromkeys(_lines(look, "/etc/ld.so.conf", set())))


def _lines(look: Look, path: str, seen: set[str]) -> Iterator[str]:
    """Yield the directories of a file and of those that it includes; a file counts once."""
    file = look(path)
    if file is None or file in seen or not os.path.isfile(file):
        return
    seen.add(file)
    with (
        doing("read the loader's configuration"),
        open(file, encoding="utf-8", errors="surrogateescape") as opened,
    ):
        lines = opened.read(1 << 20).splitlines()
    for line in lines:
        words = line.partition("#")[0].replace(",", " ").replace(":", " ").split()
        if words and words[0] == "include":
            for pattern in words[1:]:
                for name in _matching(look, os.path.join(os.path.dirname(path), pattern)):
                    yield from _lines(look, name, seen)
        elif words and words[0] != "hwcap":
            yield from (word.partition("=")[0].rstrip("/") or "/" for word in words)


def _matching(look: Look, pattern: str) -> list[str]:
    """Return the files that a pattern names whose last component alone has wildcards, as ldconfig's files do."""
    folder, last = os.path.split(pattern)
    there = look(folder)
    if there is None or not os.path.isdir(there):
        return []
    return [os.path.join(folder, name) for name in sorted(os.listdir(there)) if fnmatch(name, last)]
