"""What reading a value needs, whatever its kind: words in any case, suspicious characters, and how to refuse."""

from __future__ import annotations

from redpak.config.yamlfile import BIDIRECTIONAL

YES = ("true", "yes", "on", "enable", "enabled", "1")
NO = ("false", "no", "off", "disable", "disabled", "0")


class BadValue(Exception):
    """A value that its setting does not take."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def control(text: str, *, lines: bool = False) -> str:
    """Return the first character that commands a terminal or disguises text, '' when there is none.

    `lines` admits line ends and tabs.
    """
    if text.isprintable():
        return ""
    for c in text:
        if lines and c in "\n\t":
            continue
        if c < " " or "\x7f" <= c <= "\x9f" or c in BIDIRECTIONAL or c in "\u2028\u2029\ufeff":
            return c
    return ""


def word(words: tuple[str, ...], text: str) -> str | None:
    """Return the word that `text` spells in whatever case."""
    low = text.lower()
    for one in words:
        if one.lower() == low:
            return one
    return None


def nearest(name: str, among: tuple[str, ...] | list[str]) -> str:
    """Return the name that was probably meant, '' when none is near."""
    import difflib

    by_low = {one.lower(): one for one in among}
    found = difflib.get_close_matches(name.lower()[:100], by_low, n=1, cutoff=0.6)
    return by_low[found[0]] if found else ""


def hint_of(words: tuple[str, ...], text: str) -> str:
    """Say which words are possible, the likely one first."""
    near = nearest(text, words)
    if near:
        return f"Did you mean '{near}'? Possible: {', '.join(words)}."
    return f"Possible: {', '.join(words)}."
