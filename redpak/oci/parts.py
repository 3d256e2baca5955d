"""Read values out of a parsed configuration, noting every fault with its JSON path instead of stopping at the first.

A value of null counts as absent, as it does for the programs that write these files. Strings must be such that the
kernel can take them: no NUL in them, and nothing that has no UTF-8 form.
"""

from __future__ import annotations

from redpak.errors import BadConfig, Fault
from redpak.origin import Origin

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

U32 = (1 << 32) - 1
U64 = (1 << 64) - 1
I64 = (1 << 63) - 1
HINT = "Correct the container's configuration, or what made it."


class Faults:
    """What is wrong (path, what) and what is only worth a warning."""

    def __init__(self) -> None:
        self.found: list[tuple[str, str]] = []
        self.warnings: list[str] = []

    def add(self, path: str, what: str) -> None:
        """Note a fault of the value at `path` ("process.rlimits[2].type")."""
        self.found.append((path, what))

    def warn(self, path: str, what: str) -> None:
        """Note what is not done as asked, though it is no fault."""
        self.warnings.append(f"{path}: {what}")

    def error(self, file: str = "", text: bytes = b"") -> BadConfig:
        """Return all faults as one error, with line and column where the `text` of the file is known."""
        where: dict[str, tuple[int, int]] = {}
        if text:
            from redpak.quickjson import locate

            try:
                where = locate(text)[1]
            except BadConfig:
                pass  # then without lines
        faults = []
        for path, what in self.found:
            line, column = _nearest(path, where)
            origin = Origin(file=file, line=line, column=column) if file else Origin(file="", note="config")
            faults.append(Fault(origin=origin, message=f"{path}: {what}" if path else what))
        return BadConfig(faults, hint=HINT)


def _nearest(path: str, where: dict[str, tuple[int, int]]) -> tuple[int, int]:
    """Return the place of a value, or, if it is not there, of what it should be in."""
    while path not in where:
        cut = max(path.rfind("."), path.rfind("["))
        if cut < 0:
            return where.get("", (0, 0))
        path = path[:cut]
    return where[path]


class Part:
    """One JSON object of the configuration, and where it is in it."""

    __slots__ = ("data", "faults", "path")

    def __init__(self, data: dict[str, Any], path: str, faults: Faults) -> None:
        self.data = data
        self.path = path
        self.faults = faults

    def at(self, key: str) -> str:
        """Return the path of a member."""
        return f"{self.path}.{key}" if self.path else key

    def bad(self, key: str, what: str) -> None:
        """Note a fault of a member."""
        self.faults.add(self.at(key), what)

    def has(self, key: str) -> bool:
        """Tell whether a member is there and not null."""
        return self.data.get(key) is not None

    def text(self, key: str, *, required: bool = False) -> str:
        """Return a string, "" if it is absent; `required`: there, and not empty."""
        value = self.data.get(key)
        if value is None or value == "":
            if required:
                self.bad(key, "is missing" if value is None else "is empty")
            return ""
        if not isinstance(value, str):
            self.bad(key, "is no string")
            return ""
        return value if self.sound(key, value) else ""

    def sound(self, key: str, value: str) -> bool:
        """Tell whether the kernel can take a string."""
        if "\0" in value:
            self.bad(key, "has a NUL in it")
            return False
        if not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError:
                self.bad(key, "has half of a surrogate pair in it")
                return False
        return True

    def path_text(self, key: str, *, required: bool = False) -> str:
        """Return an absolute path, "" if it is absent."""
        value = self.text(key, required=required)
        if value and not value.startswith("/"):
            self.bad(key, f"'{value}' is no absolute path")
            return ""
        return value

    def integer(self, key: str, low: int, high: int, *, default: int = 0, required: bool = False) -> int:
        """Return a whole number from `low` to `high`."""
        value = self.data.get(key)
        if value is None:
            if required:
                self.bad(key, "is missing")
            return default
        if value.__class__ is not int:
            self.bad(key, "is no whole number")
            return default
        if not low <= value <= high:
            self.bad(key, f"{value if abs(value) < 1 << 70 else 'it'} is not between {low} and {high}")
            return default
        return int(value)

    def flag(self, key: str) -> bool:
        """Return true or false, false if it is absent."""
        value = self.data.get(key)
        if value is None or value is False or value is True:
            return bool(value)
        self.bad(key, "is neither true nor false")
        return False

    def word(self, key: str, words: dict[str, int], *, required: bool = False, default: int = 0) -> int:
        """Return what a word of a table stands for."""
        value = self.text(key, required=required)
        if not value:
            return default
        if value not in words:
            self.bad(key, f"'{value}' is none of {', '.join(words)}")
            return default
        return words[value]

    def texts(self, key: str) -> tuple[str, ...]:
        """Return a list of strings."""
        value = self.data.get(key)
        if value is None:
            return ()
        if value.__class__ is not list:
            self.bad(key, "is no list")
            return ()
        found = []
        for number, item in enumerate(value):
            if item.__class__ is not str:
                self.bad(f"{key}[{number}]", "is no string")
            elif self.sound(f"{key}[{number}]", item):
                found.append(item)
        return tuple(found)

    def integers(self, key: str, low: int, high: int) -> tuple[int, ...]:
        """Return a list of whole numbers."""
        value = self.data.get(key)
        if value is None:
            return ()
        if value.__class__ is not list:
            self.bad(key, "is no list")
            return ()
        found = []
        for number, item in enumerate(value):
            if item.__class__ is not int or not low <= item <= high:
                self.bad(f"{key}[{number}]", f"is no whole number between {low} and {high}")
            else:
                found.append(item)
        return tuple(found)

    def part(self, key: str) -> Part:
        """Return an object; an absent one is empty."""
        value = self.data.get(key)
        if value.__class__ is not dict:
            if value is not None:
                self.bad(key, "is no object")
            value = {}
        return Part(value, self.at(key), self.faults)

    def parts(self, key: str) -> list[Part]:
        """Return a list of objects."""
        value = self.data.get(key)
        if value is None:
            return []
        path = self.at(key)
        if value.__class__ is not list:
            self.bad(key, "is no list")
            return []
        found = []
        for number, item in enumerate(value):
            if item.__class__ is dict:
                found.append(Part(item, f"{path}[{number}]", self.faults))
            else:
                self.faults.add(f"{path}[{number}]", "is no object")
        return found

    def strings(self, key: str) -> dict[str, str]:
        """Return an object whose members are strings."""
        inner = self.part(key)
        found = {}
        for name, value in inner.data.items():
            if not inner.sound(name, name):
                continue
            if value.__class__ is not str:
                inner.bad(name, "is no string")
            elif inner.sound(name, value):
                found[name] = value
        return found
