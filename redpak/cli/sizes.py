"""Sizes, times and ages as people write and read them."""

from __future__ import annotations

from redpak.errors import Usage

UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
LONGEST_S = 1e9  # thirty years: clocks of the system overflow far behind it
SPANS = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))


def size_bytes(said: str, option: str) -> int:
    """Return '512', '64K', '4M' or '1GiB' as bytes. Raises Usage that names the option."""
    low = said.lower().removesuffix("b").removesuffix("i")
    number, unit = (low[:-1], low[-1]) if low[-1:].isalpha() else (low, "")
    if not number.isascii() or not number.isdigit() or unit not in UNITS:
        raise Usage(f"option '--{option}' cannot be '{said}'", hint="Write a size such as 64K, 4M or 1G.")
    return int(number) * UNITS[unit]


def shown(size: float) -> str:
    """Return bytes for people: '512', '3.4M'."""
    for unit in ("B", "K", "M", "G"):
        if size < 1024:
            return f"{size:.0f}{unit}" if unit == "B" or size >= 100 else f"{size:.1f}{unit}"
        size /= 1024
    return f"{size:.1f}T"


def span_s(said: str, option: str) -> float:
    """Return '90', '90s', '10m', '1h30m' or '7d' as seconds. Raises Usage that names the option."""
    seconds, digits = 0.0, ""
    for c in said:
        if c in "0123456789.":
            digits += c
        elif digits and c in dict(SPANS):
            seconds, digits = seconds + _number(digits, said, option) * dict(SPANS)[c], ""
        else:
            raise _no_span(said, option)
    if not said:
        raise _no_span(said, option)
    seconds += _number(digits, said, option) if digits else 0.0
    if seconds > LONGEST_S:
        raise _no_span(said, option)
    return seconds


def _number(digits: str, said: str, option: str) -> float:
    try:
        return float(digits)
    except ValueError:
        raise _no_span(said, option) from None


def _no_span(said: str, option: str) -> Usage:
    return Usage(
        f"option '--{option}' cannot be '{said}'", hint="Write a time such as 90s, 10m, 1h30m or 7d."
    )


def moment(said: str, option: str) -> float:
    """Return when 'since' is, in seconds since 1970: a span before now, or a date (2026-11-22T08:40, UTC with Z)."""
    import time

    try:
        if "-" not in said:
            return max(0.0, time.time() - span_s(said, option))
        from datetime import datetime

        return max(0.0, datetime.fromisoformat(said).timestamp())
    except (ValueError, OverflowError, Usage):
        hint = "Write a time such as 10m, or a date such as 2026-11-22T08:40:00Z."
        raise Usage(f"option '--{option}' cannot be '{said}'", hint=hint) from None


def age(seconds: float) -> str:
    """Return a span for people: '5s', '3m', '2h', '4d'."""
    seconds = max(0, seconds)
    for unit, size in SPANS:
        if seconds >= size * (2 if unit in "hd" else 1):
            return f"{int(seconds // size)}{unit}"
    return f"{int(seconds)}s"
