"""Read and edit `.repo` files, byte for byte as dnf understands them.

The grammar is that of libdnf's IniParser, which differs from Python's configparser: only '=' separates, only a
line right after its value may continue it, '#' and ';' start a comment in the first column alone, quotes around a
whole value go, and of a key that stands twice the last one counts.
"""

from __future__ import annotations

import os

from redpak import fs
from redpak.errors import BadConfig, Fault, Refused, doing
from redpak.fs import write_atomically
from redpak.origin import Origin
from redpak.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

BIGGEST = 1 << 20  # bytes


class Entry(Record):
    """One key of a section, its value as written (continuation lines joined by newlines)."""

    key: str
    value: str
    line: int  # the first of the entry, from 1
    end: int  # the last


class Section(Record):
    """What stands under [id]; a section that comes twice is one."""

    id: str
    entries: tuple[Entry, ...]
    line: int

    def value(self, key: str) -> Entry | None:
        """Return the entry that counts for `key`: the last one."""
        return next((entry for entry in reversed(self.entries) if entry.key == key), None)


def read(path: str) -> tuple[Section, ...]:
    """Return the sections of the file at `path`. Raises BadConfig with its faults, RedpakError."""
    return parse(path, content(path))


def content(path: str) -> str:
    """Return the text of a `.repo` file. Raises BadConfig when it is no text, RedpakError."""
    with doing("read the repository file"), open(path, "rb", opener=fs.regular) as file:
        raw = file.read(BIGGEST + 1)
    fault = ""
    if len(raw) > BIGGEST:
        fault = f"the file is bigger than {BIGGEST} bytes"
    elif b"\0" in raw:
        fault = "the file holds a NUL byte"
    else:
        try:
            return raw.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = raw.count(b"\n", 0, error.start) + 1
            fault = f"line {line} is not UTF-8"
    raise BadConfig([Fault(origin=Origin(file=path), message=fault)])


def parse(path: str, text: str) -> tuple[Section, ...]:
    """Return the sections of a file's text. Raises BadConfig with every fault of it; `path` is for messages."""
    reader = _Reader(path)
    for number, line in enumerate(text.split("\n"), 1):
        reader.take(number, line)
    reader.finish()
    if reader.faults:
        raise BadConfig(reader.faults, hint="Correct the file; the format is that of dnf.conf(5).")
    return tuple(
        Section(id=name, entries=tuple(entries), line=reader.lines[name])
        for name, entries in reader.sections.items()
    )


class _Reader:
    """Takes a file line by line."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.faults: list[Fault] = []
        self.sections: dict[str, list[Entry]] = {}
        self.lines: dict[str, int] = {}
        self._into: list[Entry] | None = None
        self._key = ""
        self._value: list[str] = []
        self._at = (0, 0)
        self._lost = False  # a header could not be read: its keys are not reported one by one

    def take(self, number: int, line: str) -> None:
        """Understand one line."""
        bare = line.strip()
        if not line or line[0] in "#;" or (not bare and not self._key):
            self.finish()
        elif bare.startswith("["):
            self.finish()
            self._open(number, bare)
        elif line[0].isspace():
            self._continue(number, bare)
        else:
            self.finish()
            self._entry(number, line)

    def finish(self) -> None:
        """Put the entry that was being read into its section."""
        if self._key and self._into is not None:
            value = "\n".join(self._value).rstrip("\n")
            if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
                value = value[1:-1]
            self._into.append(Entry(key=self._key, value=value, line=self._at[0], end=self._at[1]))
        self._key = ""

    def _continue(self, number: int, bare: str) -> None:
        if self._key:
            self._value.append(bare)
            self._at = (self._at[0], number)
        elif not self._lost:
            self._fault(number, "the line is indented, but continues no value")

    def _open(self, number: int, bare: str) -> None:
        name, bracket, rest = bare[1:].partition("]")
        rest = rest.strip()
        self._into, self._lost = None, True
        if not bracket:
            self._fault(number, "']' is missing")
        elif not name:
            self._fault(number, "the section has no name")
        elif rest and rest[0] not in "#;":
            self._fault(number, f"'{rest}' stands after the section's name")
        else:
            self._lost = False
            self._into = self.sections.setdefault(name, [])
            self.lines.setdefault(name, number)

    def _entry(self, number: int, line: str) -> None:
        key, equals, value = line.partition("=")
        key = key.strip()
        if not equals:
            self._fault(number, "'=' is missing")
        elif not key:
            self._fault(number, "nothing stands before '='")
        elif self._into is None and not self._lost:
            self._fault(number, f"'{key}' stands before the first section, such as [name]")
        if equals and key:
            self._key, self._value, self._at = key, [value.strip()], (number, number)

    def _fault(self, number: int, message: str) -> None:
        self.faults.append(Fault(origin=Origin(file=self.path, line=number), message=message))


def files(directories: Iterable[str]) -> list[str]:
    """Return the `.repo` files of some directories in the order in which dnf reads them."""
    found = []
    for directory in directories:
        with doing("list the repository files"):
            try:
                names = os.listdir(directory)
            except (FileNotFoundError, NotADirectoryError):
                continue
        # dnf globs, so hidden files are none of its business
        found += [os.path.join(directory, n) for n in names if n.endswith(".repo") and not n.startswith(".")]
    return sorted(found, key=lambda path: path[: -len(".repo")].split("/"))


def valid_id(name: str) -> bool:
    """Tell whether `name` may be the id of a repository: ASCII letters, digits and - _ . : (as in dnf)."""
    return bool(name) and all(char.isascii() and (char.isalnum() or char in "-_.:") for char in name)


def render(name: str, values: Mapping[str, str]) -> str:
    """Return a section as text; values of several lines are indented."""
    lines = [f"[{name}]"]
    lines += [f"{key}=" + value.replace("\n", "\n    ") for key, value in values.items()]
    return "\n".join(lines) + "\n"


def set_value(path: str, name: str, key: str, value: str) -> bool:
    """Give `key` of section `name` another value, all other bytes untouched; tell whether that changed the file."""
    text = content(path)
    lines = text.split("\n")
    section = next(section for section in parse(path, text) if section.id == name)
    entry = section.value(key)
    if entry is not None:
        if entry.value == value:
            return False
        lines[entry.line - 1 : entry.end] = [f"{key}={value}"]
    else:
        lines.insert(section.line, f"{key}={value}")
    _write(path, "\n".join(lines))
    return True


def remove(path: str, name: str) -> bool:
    """Take section `name` out of the file, or remove the file when nothing else is in it; tell whether it went."""
    text = content(path)
    others = [section for section in parse(path, text) if section.id != name]
    if not others:
        with doing("remove the repository file"):
            os.unlink(path)
        return True
    kept, within = [], False
    for line in text.split("\n"):
        bare = line.strip()
        if bare.startswith("[") and "]" in bare:
            within = bare[1:].partition("]")[0] == name
        if not within:
            kept.append(line)
    if any(section.id == name for section in parse(path, "\n".join(kept))):
        raise Refused(f"cannot take '[{name}]' out of '{path}'", hint="Edit the file by hand.")
    _write(path, "\n".join(kept))
    return False


def _write(path: str, text: str) -> None:
    mode = os.stat(path).st_mode & 0o777 if os.path.exists(path) else 0o644
    write_atomically(path, text.encode(), mode=mode)


def add(directory: str, name: str, text: str, *, mode: int = 0o644) -> str:
    """Write the text of a new file `name`.repo and return its path. Raises Refused when there is one."""
    path = os.path.join(directory, f"{name}.repo")
    if os.path.lexists(path):
        raise Refused(f"'{path}' exists", hint="Choose another id, or remove the repository first.")
    with doing("make the directory for repository files"):
        os.makedirs(directory, exist_ok=True)
    write_atomically(path, text.encode(), mode=mode)
    return path
