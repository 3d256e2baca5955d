"""Command lines as runc's users write them: `--name value`, `--name=value`, `-n value`, one dash or two.

Not argparse: to import that takes longer than a whole command here.
"""

from __future__ import annotations

from redpak.errors import Usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Given = dict[str, str | bool | list[str]]

TRUE = ("", "1", "t", "T", "true", "True", "TRUE")
FALSE = ("0", "f", "F", "false", "False", "FALSE")


class Options:
    """What was given: `text`, `flag`, `several`, `number` by the long name."""

    def __init__(self) -> None:
        self.given: Given = {}

    def text(self, name: str, default: str = "") -> str:
        """Return the value of an option."""
        value = self.given.get(name, default)
        return value if isinstance(value, str) else default

    def flag(self, name: str) -> bool:
        """Tell whether an option without value was given."""
        return self.given.get(name) is True

    def several(self, name: str) -> list[str]:
        """Return the values of an option that may be there more than once."""
        value = self.given.get(name)
        return value if isinstance(value, list) else []

    def number(self, name: str, default: int = 0) -> int:
        """Return the value of an option as a whole number; raises Usage."""
        text = self.text(name)
        if not text:
            return default
        try:
            return int(text, 10)
        except ValueError:
            raise Usage(f"option '--{name}' wants a whole number, not '{text}'") from None


def parse(
    words: Sequence[str], known: Mapping[str, str], *, mixed: bool = True, stop_at: int = 0
) -> tuple[Options, list[str]]:
    """Return the options and the other words.

    `known` has the long names; its values are the short name, if any, then '=' when a value follows, '*' when it
    may be given several times. Unless `mixed`, the first word that is no option ends them; with `stop_at`, that
    many words do: what follows belongs to somebody else. Raises Usage.
    """
    short = {kind[0]: name for name, kind in known.items() if kind[:1].isalpha() or kind[:1] == "?"}
    options = Options()
    rest: list[str] = []
    at = 0
    while at < len(words):
        word = words[at]
        at += 1
        if word == "--":
            rest.extend(words[at:])
            break
        name = _named(word, known, short) if word[:1] == "-" and word != "-" else None
        if name is None:
            if word[:1] == "-" and word != "-" and not (rest and word[1:].isdigit()):
                raise Usage(f"there is no option '{word.partition('=')[0]}'", hint="See --help.")
            rest.append(word)
            if not mixed or len(rest) == stop_at:
                rest.extend(words[at:])
                break
            continue
        kind = known[name]
        _, equals, value = word.partition("=")
        if "=" not in kind:
            if equals and value not in TRUE + FALSE:
                raise Usage(f"option '--{name}' is there or not: '{value}' says neither")
            options.given[name] = not equals or value in TRUE
            continue
        if not equals:
            if at == len(words):
                raise Usage(f"option '--{name}' wants a value")
            value = words[at]
            at += 1
        if "*" in kind:
            old = options.given.setdefault(name, [])
            assert isinstance(old, list)
            old.append(value)
        else:
            options.given[name] = value
    return options, rest


def _named(word: str, known: Mapping[str, str], short: Mapping[str, str]) -> str | None:
    name = word.lstrip("-").partition("=")[0]
    if word[:3] == "---":
        return None
    return name if name in known and len(name) > 1 else short.get(name)
