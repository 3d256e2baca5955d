"""Columns and numbers as dnf writes them, so that programs that read its tables can read ours."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

USUAL = 80  # columns, where there is no terminal
SYMBOLS = " kMGTPEZY"
ENOUGH = 999  # a larger number goes to the next symbol


def terminal() -> int:
    """Return the width of the terminal on standard output, 0 where there is none."""
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns
    except (OSError, ValueError):
        return 0


def width() -> int:
    """Return how wide lines are: those of the terminal, else 80 columns."""
    return terminal() or USUAL


def number(value: float) -> str:
    """Return a size as four or five letters: '17 k', '3.1 M'."""
    at, size = 0, float(value)
    while size > ENOUGH and at < len(SYMBOLS) - 1:
        at += 1
        size /= 1024
    whole = at == 0 or size >= 9.95
    return f"{size:.0f} {SYMBOLS[at]}" if whole else f"{size:.1f} {SYMBOLS[at]}"


def seconds(value: float) -> str:
    """Return a duration as mm:ss."""
    whole = int(value)
    return f"{whole // 60:02d}:{whole % 60:02d}"


def widths(
    cells: Sequence[Sequence[int]], least: Sequence[int] | None = None, *, rest: int = 0, indent: int = 0
) -> list[int]:
    """Return how wide each column is, given the lengths of its cells.

    `least` is what each column has at the start, `rest` the column that takes what is left over, `indent` what stands
    before the first one. Where there is no terminal and not everything fits, each column is as wide as its widest
    cell; otherwise space goes, step by step, to the column in which it makes most cells fit.
    """
    count = len(cells)
    now = list(least) if least is not None else [1] * (count - 1) + [0]
    room = terminal()
    if not room:
        full = [max(column) if column else now[at] + 1 for at, column in enumerate(cells)]
        full[0] += indent
        if sum(full) > USUAL:
            return full
        room = USUAL
    room -= sum(now) + (count - 1) + indent
    if not now[-1]:
        room += 1
    return _share(_lengths(cells), now, room, rest)


def _lengths(cells: Sequence[Sequence[int]]) -> list[list[tuple[int, int]]]:
    """Return for each column (length, number of cells of that length), ascending."""
    counted = []
    for column in cells:
        times: dict[int, int] = {}
        for length in column:
            times[length] = times.get(length, 0) + 1
        counted.append(sorted(times.items()))
    return counted


def _share(left: list[list[tuple[int, int]]], now: list[int], room: int, rest: int) -> list[int]:
    """Give `room` columns of space away: to the columns that gain most, then evenly."""
    last = len(now) - 1
    while room > 0:
        best, gain = 0, 0
        for at, column in enumerate(left):
            fits = _fitting(column, now[at], room)
            if not fits or (gain and at == last and fits / 2 < gain) or fits < gain:
                continue
            best, gain = at, fits
        if not gain:
            break
        wider = left[best].pop(0)[0] - now[best]
        if not now[best] and best == last:
            room -= 1
        now[best] += wider
        room -= wider
    else:
        return now
    narrow = [at for at in range(len(now)) if left[at]]
    if narrow:
        each = room // len(narrow)
        for at in narrow:
            now[at] += each
            room -= each
    each = room // last
    for at in range(last):
        now[at] += each
    now[rest] += room - last * each
    return now


def _fitting(column: list[tuple[int, int]], now: int, room: int) -> int:
    """Return how many cells would fit if a column had all the room."""
    fits = 0
    for length, times in column:
        if room < length - now:
            break
        fits += times
    return fits


def row(cells: Sequence[tuple[str, int]], start: str = "") -> str:
    """Return cells as a line. A width below 0 pads on the right; behind a cell that is too long a new line begins."""
    line, at = start, len(start)
    for text, wide in cells[:-1]:
        if not wide:
            line += text
            continue
        size = abs(wide)
        if len(text) <= size:
            line += (text.ljust(size) if wide < 0 else text.rjust(size)) + " "
        else:
            line += text + "\n" + " " * (at + size + 1)
        at += size + 1
    text, wide = cells[-1]
    return line + (text.ljust(-wide) if wide < 0 else text.rjust(wide))


def spread(texts: Sequence[str]) -> list[str]:
    """Return short texts as lines of as many columns, 2 to 8, as fit."""
    room = width()
    sizes: list[int] = []
    for count in range(8, 1, -1):
        sizes = _columns_of(texts, count, room)
        if sizes:
            break
    sizes = sizes or [room - 2]
    lines = []
    for at in range(0, len(texts), len(sizes)):
        part = texts[at : at + len(sizes)]
        lines.append("  " + row([(text, -wide) for text, wide in zip(part, sizes, strict=False)]))
    return lines


def _columns_of(texts: Sequence[str], count: int, room: int) -> list[int]:
    """Return the widths of `count` columns, [] when the texts do not fit."""
    left = room - (count + 1)
    if len(texts) < count or left <= 0:
        return []
    sizes = [0] * count
    for at, text in enumerate(texts):
        more = len(text) - sizes[at % count]
        if more > 0:
            if left <= more:
                return []
            left -= more
            sizes[at % count] = len(text)
    return [size + left // count for size in sizes]
