"""How limits are read: control group values as the kernel takes them (cgroup-v2.rst), and resource limits."""

from __future__ import annotations

import re

from redpak.config.kinds_words import NO, YES, BadValue
from redpak.config.yamlfile import clip

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from redpak.config.setting import Setting

    Reader = Callable[[Setting, str], str | int | bool]

SIZE = r"(?:[0-9]+[KMGTPE]?|max)"
DEVICE = r"[0-9]+:[0-9]+"


def flag(setting: Setting, text: str) -> int:
    """Take 0 and 1, and the words for them."""
    if text.lower() in YES + NO:
        return int(text.lower() in YES)
    raise BadValue(f"'{setting.name}' must be 0 or 1, not '{clip(text)}'", "Write 0 or 1.")


def shaped(pattern: str, hint: str) -> Reader:
    """Return a reader of text that looks like `pattern`, in whatever case."""
    compiled = re.compile(pattern, re.IGNORECASE)

    def read(setting: Setting, text: str) -> str:
        if compiled.fullmatch(text):
            return text
        raise BadValue(f"'{setting.name}' cannot be '{clip(text)}'", hint)

    return read


def within(low: int, high: int) -> Reader:
    """Return a reader of decimal numbers from `low` to `high`."""

    def read(setting: Setting, text: str) -> str:
        if re.fullmatch(r"-?[0-9]{1,18}", text) and low <= int(text) <= high:
            return text
        raise BadValue(f"'{setting.name}' must be a number from {low} to {high}, not '{clip(text)}'")

    return read


def cpus(setting: Setting, text: str) -> str:
    """Take a list of numbers and ranges (cpuset(7), list format)."""
    for part in text.split(","):
        found = re.fullmatch(r"\s*([0-9]{1,6})(?:-([0-9]{1,6}))?\s*", part)
        if not found or int(found.group(2) or found.group(1)) < int(found.group(1)):
            raise BadValue(
                f"'{setting.name}' is not a list: '{clip(text)}'", "Write numbers and ranges: 0-2,4."
            )
    return text


def bandwidth(setting: Setting, text: str) -> str:
    """Take 'quota' or 'quota period', in microseconds."""
    found = re.fullmatch(r"(max|[0-9]{1,15})(?: +([0-9]{1,10}))?", text)
    if not found:
        raise BadValue(
            f"'{setting.name}' cannot be '{clip(text)}'",
            "Write 'QUOTA PERIOD' in microseconds, or 'max PERIOD'.",
        )
    quota, period = found.groups()
    if quota != "max" and int(quota) < 1000:
        raise BadValue(f"'{setting.name}' has a quota below 1000 microseconds", "Write at least 1000.")
    if period is not None and not 1000 <= int(period) <= 1_000_000:
        raise BadValue(
            f"'{setting.name}' has a period of {period} microseconds", "Write a period from 1000 to 1000000."
        )
    return text


def oom(setting: Setting, text: str) -> str:
    """Take 0 and any other number, as files have it; the kernel knows 0 and 1."""
    if re.fullmatch(r"[0-9]{1,9}", text):
        return "1" if int(text) else "0"
    return str(flag(setting, text))


def lines_of(pattern: str, hint: str) -> Reader:
    """Return a reader of one or more lines that each look like `pattern`."""
    compiled = re.compile(pattern, re.IGNORECASE)

    def read(setting: Setting, text: str) -> str:
        kept = [line.strip() for line in text.splitlines() if line.strip()]
        for line in kept or [""]:
            if not compiled.fullmatch(line):
                raise BadValue(f"'{setting.name}' cannot be '{clip(line)}'", hint)
        return "\n".join(kept)

    return read


_UNITS = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


def rlimit(setting: Setting, text: str) -> str:
    """Take 'N', 'SOFT:HARD' or 'unlimited'; see `rlimit_pair` for the numbers."""
    rlimit_pair(setting.name, text)
    return text


def rlimit_pair(name: str, text: str) -> tuple[int, int]:
    """Return the soft and the hard limit, -1 for unlimited. Raises BadValue."""

    def one(part: str) -> int:
        low = part.strip().lower()
        if low in ("unlimited", "infinity", "-1"):
            return -1
        found = re.fullmatch(r"([0-9]{1,19})([kmgt]?)", low)
        number = int(found.group(1)) * _UNITS.get(found.group(2), 1) if found else 1 << 64
        if number >= (1 << 64) - 1:
            raise BadValue(
                f"limit '{name}' cannot be '{clip(text)}'", "Write a number, SOFT:HARD, or unlimited."
            )
        return number

    parts = text.split(":")
    if len(parts) > 2:
        raise BadValue(f"limit '{name}' cannot be '{clip(text)}'", "Write a number, SOFT:HARD, or unlimited.")
    soft, hard = one(parts[0]), one(parts[-1])
    if hard != -1 and (soft == -1 or soft > hard):
        raise BadValue(
            f"limit '{name}' has a soft limit above the hard one", "Write the smaller number first."
        )
    return soft, hard


LIMITS: dict[str, Reader] = {
    "flag": flag,
    "rlimit": rlimit,
    "size": shaped(SIZE, "Write a number of bytes, with K, M, G or T if you like, or max."),
    "count": shaped(r"(?:[0-9]{1,18}|max)", "Write a whole number, or max."),
    "cpus": cpus,
    "weight": within(1, 10_000),
    "nice": within(-20, 19),
    "bandwidth": bandwidth,
    "oom": oom,
    "io-max": lines_of(
        rf"{DEVICE}(?: +(?:rbps|wbps|riops|wiops)=(?:max|0*[1-9][0-9]{{0,18}}))+",
        "Write MAJOR:MINOR and limits: 8:0 rbps=2097152 wiops=120.",
    ),
    "io-weight": lines_of(
        rf"(?:(?:default +)?{(w := '0*(?:[1-9][0-9]{0,3}|10000)')}|{DEVICE} +(?:default|{w}))",
        "Write a weight from 1 to 10000, or 'MAJOR:MINOR WEIGHT' for one device.",
    ),
    "io-line": lines_of(
        rf"{DEVICE}(?: +[a-z]+=[a-z0-9.]+)+",
        "Write MAJOR:MINOR and the kernel's words: 8:0 enable=1 rpct=95.00.",
    ),
}
"""Readers by kind."""
