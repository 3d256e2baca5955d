"""Parsed configuration files, kept, so that a launch needs no YAML library: importing one takes longer than a launch.

An entry counts while its file's stamp and the code that read it are the same. It is trusted like the user's own files,
so it must be one: a regular file of ours in a directory of ours that nobody else can write to. Whatever is
odd about an entry makes it a miss, never an error.
"""

from __future__ import annotations

import os
import stat
import sys

import redpak
from redpak import fs, paths
from redpak.config import model
from redpak.errors import Fault, RedpakError
from redpak.origin import Origin
from redpak.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from redpak.config.model import NodeDoc

RACY_S = 2.0  # a file changed this recently could change again without a new time stamp
MAX_BYTES = 16 << 20
CLASSES: tuple[type[Record], ...] = (
    Origin,
    model.Value,
    model.Export,
    model.Variable,
    model.CapabilityAsk,
    model.CgroupValue,
    model.RlimitAsk,
    model.NodeDoc,
)
_NUMBERS = {cls: number for number, cls in enumerate(CLASSES)}
_NESTED = (tuple, list, dict)
_READERS = (
    "load.py", "coherence.py", "kinds.py", "kinds_limits.py", "kinds_words.py", "settings.py", "setting.py",
    "yamlfile.py", "model.py",
)  # fmt: skip


def load_cached(
    path: str, *, lenient: bool = False, defaults: bool = False, faults: list[Fault], may_write: bool = True
) -> NodeDoc | None:
    """Do what `load.load` does, from the cache when it is fresh.

    Documents without faults are kept, unless `may_write` is False (a dry run) or REDPAK_NO_CACHE is set.
    """
    if os.environ.get("REDPAK_NO_CACHE"):
        return _load(path, lenient=lenient, defaults=defaults, faults=faults)
    try:
        before = fs.stamp(path)
    except OSError:
        before = ""
    entry = entry_of(path, lenient=lenient, defaults=defaults)
    key = (version(), path, lenient, defaults, before)
    if before and (kept := _read(entry, key)) is not None:
        return kept
    doc = _load(path, lenient=lenient, defaults=defaults, faults=faults)
    if doc is not None and before and may_write and _settled(path, before):
        _write(entry, key, doc)
    return doc


def _load(path: str, *, lenient: bool, defaults: bool, faults: list[Fault]) -> NodeDoc | None:
    from redpak.config.load import load

    return load(path, lenient=lenient, defaults=defaults, faults=faults)


def directory() -> str:
    """Return where entries are kept."""
    return os.path.join(paths.cache(), "docs")


def entry_of(path: str, *, lenient: bool = False, defaults: bool = False) -> str:
    """Return the name of the entry of a file. Two files may share one: the entry says whose it is."""
    from zlib import crc32

    name = f"{crc32(os.fsencode(path)):08x}{len(path):x}"
    return os.path.join(directory(), f"{name}{'l' if lenient else 's'}{'d' if defaults else ''}")


def version() -> str:
    """Return what changes whenever the code that reads files changes: it may read them differently."""
    here = os.path.dirname(os.path.abspath(__file__))
    stamps = [fs.stamp(os.path.join(here, name)) for name in _READERS]
    fields = [",".join(cls.__fields__) for cls in CLASSES]
    return "\n".join((redpak.__version__, sys.version, *stamps, *fields))


def pack(value: Any) -> Any:
    """Return a value as the plain tuples, lists and dicts that `marshal` takes. Reverse: `unpack`."""
    if isinstance(value, Record):
        return (_NUMBERS[type(value)], *[pack(field) for field in value.values()])
    if isinstance(value, tuple):
        return [pack(item) for item in value]
    if isinstance(value, dict):
        return {key: pack(item) for key, item in value.items()}
    return value


def unpack(value: Any) -> Any:
    """Return what `pack` was given."""
    if type(value) is tuple:
        cls = CLASSES[value[0]]
        record = cls.__new__(cls)
        fields = [unpack(field) if type(field) in _NESTED else field for field in value[1:]]
        record.__dict__.update(zip(cls.__fields__, fields, strict=True))
        return record
    if type(value) is list:
        return tuple(map(unpack, value))
    if type(value) is dict:
        return {key: unpack(item) for key, item in value.items()}
    return value


def _settled(path: str, before: str) -> bool:
    """Tell whether the file is still what was read, and was not changed just now."""
    from time import time

    try:
        at = os.stat(path)
        return fs.stamp(path) == before and max(at.st_mtime, at.st_ctime) < time() - RACY_S
    except OSError:
        return False


def _read(entry: str, key: tuple[object, ...]) -> NodeDoc | None:
    """Return the document of an entry; None when there is none, or it is stale, broken or somebody else's."""
    import marshal
    from zlib import crc32

    if not _ours(os.path.dirname(entry)):
        return None
    try:
        fd = os.open(entry, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        at = os.fstat(fd)
        if not stat.S_ISREG(at.st_mode) or at.st_uid != os.geteuid() or at.st_mode & 0o022:
            return None
        if at.st_size > MAX_BYTES:
            return None
        with open(fd, "rb", closefd=False) as file:
            data = file.read()
    except OSError:
        return None
    finally:
        os.close(fd)
    if crc32(data[4:]).to_bytes(4, "big") != data[:4]:
        return None
    try:
        said, packed = marshal.loads(data[4:])
        return unpack(packed) if said == key else None
    except (ValueError, EOFError, TypeError, IndexError):
        return None


def _write(entry: str, key: tuple[object, ...], doc: NodeDoc) -> None:
    """Keep a document, if that is possible."""
    import marshal
    from zlib import crc32

    folder = os.path.dirname(entry)
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        if not _ours(folder):
            return
        said: Any = (key, pack(doc))
        data = marshal.dumps(said)
        fs.write_atomically(entry, crc32(data).to_bytes(4, "big") + data, mode=0o600, durable=False)
    except (OSError, RedpakError):
        return


def _ours(folder: str) -> bool:
    """Tell whether a directory is ours alone."""
    try:
        at = os.lstat(folder)
    except OSError:
        return False
    return stat.S_ISDIR(at.st_mode) and at.st_uid == os.geteuid() and not at.st_mode & 0o077
