"""A repository's other.xml: the change logs of its packages. It may be large, so it is read as a stream."""

from __future__ import annotations

from xml.parsers import expat

from redpak.errors import RedpakError, doing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

    Entry = tuple[int, str, str]  # seconds since 1970, who, what


class _Reader:
    def __init__(self, wanted: Collection[str]) -> None:
        self.wanted = wanted
        self.found: dict[str, list[Entry]] = {}
        self.package = ""
        self.entry: tuple[int, str] | None = None
        self.text: list[str] = []

    def start(self, tag: str, values: dict[str, str]) -> None:
        if tag == "package":
            self.package = values.get("pkgid", "")
        elif tag == "changelog" and self.package in self.wanted:
            when = values.get("date", "0")
            self.entry = int(when) if when.isdecimal() else 0, values.get("author", "")
            self.text = []

    def end(self, tag: str) -> None:
        if tag == "changelog" and self.entry:
            self.found.setdefault(self.package, []).append((*self.entry, "".join(self.text)))
            self.entry = None

    def data(self, text: str) -> None:
        if self.entry:
            self.text.append(text)


def changelogs(path: str, wanted: Collection[str]) -> dict[str, list[Entry]]:
    """Return the entries of some packages, by the digest of the package file. Raises RedpakError."""
    reader = _Reader(wanted)
    parser = expat.ParserCreate()
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.data
    with doing("read change logs"), open(path, "rb") as file:
        try:
            parser.ParseFile(file)
        except expat.ExpatError as error:
            raise RedpakError(f"'{path}' is no list of change logs: {error}") from None
    return reader.found
