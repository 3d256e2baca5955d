"""Standard output: data only. Talk goes to standard error through `log`.

What people read is escaped (a name is data, a terminal obeys it); JSON is ASCII; `write` alone is exact.
"""

from __future__ import annotations

import os
import sys

from redpak.errors import RedpakError
from redpak.log import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

WIDEST = 60  # characters: a longer cell does not make its column wider


def write(text: str) -> None:
    """Write `text` as it is, UTF-8; bytes of names that are no UTF-8 come out as they were.

    Raises BrokenPipeError when the reader went away, else RedpakError.
    """
    try:
        sys.stdout.flush()
        sys.stdout.buffer.write(text.encode("utf-8", "surrogateescape"))
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        mute()
        raise RedpakError(
            f"cannot write to standard output: {(error.strerror or str(error)).lower()}"
        ) from error


def mute() -> None:
    """Let standard output lead nowhere: what Python flushes at exit must not complain again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC), 1)


def lines(texts: Sequence[str]) -> None:
    """Write lines for people: control and bidirectional characters are escaped."""
    write("".join(printable(text).replace("\n", "\\n").replace("\t", "\\t") + "\n" for text in texts))


def json(value: object) -> None:
    """Write a JSON document, indented, keys in the order given."""
    from json import dumps

    write(dumps(value, indent=2) + "\n")


def columns() -> int:
    """Return how wide lines for people may be: that of the terminal; 0 in a pipe or file, which wants whole lines."""
    try:
        return os.get_terminal_size(1).columns
    except OSError:
        return 0


def table(
    rows: Sequence[Sequence[str]], *, indent: int = 2, heads: Sequence[str] = (), width: int = 0
) -> list[str]:
    """Return rows as aligned columns, two spaces apart; the last column is not padded.

    A cell above WIDEST does not stretch its column for all: it pushes what follows to the right, or, where
    that would be wider than `width`, is folded, and what follows goes to the next line.
    """
    shown = [[printable(cell).replace("\n", "\\n").replace("\t", "\\t") for cell in row] for row in rows]
    if heads:
        shown.insert(0, list(heads))
    if not shown:
        return []
    usual = [[len(row[at]) for row in shown if len(row[at]) <= WIDEST] for at in range(len(shown[0]))]
    widths = [max(lengths, default=0) for lengths in usual]
    lines: list[str] = []
    for row in shown:
        cells = [cell.ljust(wide) for cell, wide in zip(row, widths, strict=True)]
        line = (" " * indent + "  ".join(cells)).rstrip()
        lines += [line] if not width or len(line) <= width else _folded(row, widths, indent, width)
    return lines


def _folded(row: Sequence[str], widths: Sequence[int], indent: int, width: int) -> list[str]:
    """Return a row that is too wide as several lines; all but the first begin beneath the second column."""
    at = min(indent + widths[0] + 2, width // 2)
    room = max(width - at, 10)
    head = _pieces(row[0], max(width - indent, 10))
    lines = [" " * indent + piece for piece in head]
    lines[-1] = lines[-1].ljust(indent + widths[0])
    for cell, wide in zip(row[1:], widths[1:], strict=True):
        pieces = _pieces(cell, room)
        if len(pieces) == 1 and len(lines[-1]) + 2 + len(cell) <= width:
            lines[-1] += f"  {cell.ljust(wide)}"
        elif len(lines[-1]) + 2 == at:
            lines[-1] += f"  {pieces[0]}"
            lines += [" " * at + piece for piece in pieces[1:]]
        else:
            lines += [" " * at + piece for piece in pieces]
    return [line.rstrip() for line in lines]


def _pieces(cell: str, room: int) -> list[str]:
    """Cut a cell after ':', a space or '/' where that fills the line well enough, else anywhere."""
    pieces = []
    while len(cell) > room:
        cut = max(cell.rfind(":", 0, room), cell.rfind(" ", 0, room)) + 1
        if cut < room // 3:
            cut = cell.rfind("/", 0, room) + 1
        if cut < room // 3:
            cut = room
        pieces.append(cell[:cut])
        cell = cell[cut:]
    return [*pieces, cell]
