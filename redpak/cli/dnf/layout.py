"""How dnf lays text out beside its tables: keys with folded values, section lines, sizes."""

from __future__ import annotations

from unicodedata import east_asian_width

from redpak.cli.dnf import columns

ENDLESS = 1 << 30


def width_of(text: str) -> int:
    """Return how many columns a text takes: East Asian wide characters take two."""
    if text.isascii():
        return len(text)
    return sum(2 if east_asian_width(sign) in "WF" else 1 for sign in text)


def size_text(size_bytes: float) -> str:
    """Return a size as dnf writes it: '1.2 k'."""
    size, unit = float(size_bytes), 0
    while size > 999 and unit < len(columns.SYMBOLS) - 1:
        size, unit = size / 1024, unit + 1
    return f"{size:.1f} {columns.SYMBOLS[unit]}" if size < 9.95 else f"{size:.0f} {columns.SYMBOLS[unit]}"


def section(title: str) -> str:
    """Return a line with a title in its middle."""
    room = columns.width() - 2
    taken = width_of(title)
    if taken >= room - 4:
        return f"== {title} =="
    before = (room - taken) // 2
    return "=" * before + f" {title} " + "=" * (room - taken - before)


def keyed(key: str, value: str) -> str:
    """Return `key` with its value behind it, lines of the value beneath each other; `key` ends in ': '."""
    if not value:
        return key
    screen = columns.terminal()
    room = max(screen, 20) if screen else ENDLESS
    taken = width_of(key)
    shown = folded(value, room, key, " " * (taken - 2) + ": ")
    if len(shown) > 2 and taken > room // 3:
        shown = folded(value, room, key, "     ...: ")
    return "\n".join(shown)


def folded(text: str, width: int, first: str, other: str) -> list[str]:
    """Return a text as lines of at most `width` columns, the first one behind `first`, others behind `other`.

    Lines that fit stay as they are. The end of a line that does not goes on with the line after it, unless that
    one is empty, an element of a list, or set in by four columns.
    """
    lines: list[str] = []
    unfinished = ""  # a line that was broken and may go on
    head, indent = first, ""
    for line in text.rstrip("\n").expandtabs(8).split("\n"):
        line = line.rstrip(" ")
        lead = len(line) - len(line.lstrip(" "))
        if unfinished and (not line or lead >= 4 or line.lstrip(" ")[:2] in ("* ", "- ", "o ", ". ")):
            lines.append(unfinished)
            unfinished = ""
        if unfinished:
            *whole, unfinished = _broken(line.strip(), width, unfinished, other + indent)
            lines += whole
        elif width_of(head + line) <= width:
            lines.append(head + line)
        else:
            indent = " " * lead
            *whole, unfinished = _broken(line.strip(), width, head + indent, other + indent, fresh=True)
            lines += whole
        head = other
    return [*lines, unfinished] if unfinished else lines


def _broken(line: str, width: int, current: str, other: str, *, fresh: bool = False) -> list[str]:
    """Add the words of a line to `current`, which has none yet when `fresh`; new lines begin with `other`."""
    lines = []
    for word in line.split(" "):
        if not fresh and width_of(current) + 1 + width_of(word) > width:
            lines.append(current.rstrip(" "))
            current, fresh = other, True
        current += word if fresh else f" {word}"
        fresh = False
    return [*lines, current]
