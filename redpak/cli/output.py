"""Standard output: data only. Talk goes to standard error through `log`.

What people read is escaped (a name is data, a terminal obeys it); JSON is ASCII; `write` alone is exact.
"""

from __future__ import annotations

import sys

from redpak.log import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def write(text: str) -> None:
    """Write `text` as it is, UTF-8; bytes of names that are no UTF-8 come out as they were."""
    sys.stdout.flush()
    sys.stdout.buffer.write(text.encode("utf-8", "surrogateescape"))
    sys.stdout.buffer.flush()


def lines(texts: Sequence[str]) -> None:
    """Write lines for people: control and bidirectional characters are escaped."""
    write("".join(printable(text).replace("\n", "\\n").replace("\t", "\\t") + "\n" for text in texts))


def json(value: object) -> None:
    """Write a JSON document, indented, keys in the order given."""
    from json import dumps

    write(dumps(value, indent=2) + "\n")


def table(rows: Sequence[Sequence[str]], *, indent: int = 2, heads: Sequence[str] = ()) -> list[str]:
    """Return rows as aligned columns, two spaces apart; the last column is not padded."""
    shown = [[printable(cell).replace("\n", "\\n").replace("\t", "\\t") for cell in row] for row in rows]
    if heads:
        shown.insert(0, list(heads))
    if not shown:
        return []
    widths = [max(len(row[at]) for row in shown) for at in range(len(shown[0]))]
    pad = " " * indent
    return [
        (pad + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))).rstrip()
        for row in shown
    ]
