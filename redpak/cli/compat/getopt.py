"""Options as getopt_long(3) reads them: optional values, clusters of letters, prefixes that mean one option.

Not the standard library's `getopt`, which knows no optional values, nor `argparse`, which is slow to import.
"""

from __future__ import annotations

from redpak.errors import Usage
from redpak.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Literal

    Takes = Literal["nothing", "value", "optional"]


class Switch(Record):
    """One option with all its names. `longs` have no dashes, `shorts` are single letters."""

    key: str
    longs: tuple[str, ...] = ()
    shorts: str = ""
    takes: Takes = "nothing"  # "optional": --name=VALUE, -nVALUE, or no value; never the next word


def parse(
    words: Sequence[str], switches: Sequence[Switch], *, permute: bool
) -> tuple[list[tuple[str, str | None]], list[str]]:
    """Return the options that were given, in order, and the remaining words.

    `--` ends the options. With `permute`, options may also stand after other words; without, the first word
    that is no option ends them. Raises Usage.
    """
    given: list[tuple[str, str | None]] = []
    rest: list[str] = []
    queue = list(words)
    while queue:
        word = queue.pop(0)
        if word == "--":
            rest += queue
            break
        if word.startswith("--"):
            given.append(_long(word[2:], switches, queue))
        elif word.startswith("-") and word != "-":
            given += _cluster(word[1:], switches, queue)
        else:
            rest.append(word)
            if not permute:
                rest += queue
                break
    return given, rest


def _long(word: str, switches: Sequence[Switch], queue: list[str]) -> tuple[str, str | None]:
    """Read `name` or `name=value`, the value of a required one from `queue` if need be."""
    name, equals, value = word.partition("=")
    switch = _named(name, switches)
    if equals:
        if switch.takes == "nothing":
            raise Usage(f"option '--{name}' doesn't allow an argument")
        return switch.key, value
    if switch.takes != "value":
        return switch.key, None
    if not queue:
        raise Usage(f"option '--{name}' requires an argument")
    return switch.key, queue.pop(0)


def _named(name: str, switches: Sequence[Switch]) -> Switch:
    """Return the option called `name`, or whose name alone starts with it."""
    found: list[tuple[str, Switch]] = []
    for switch in switches:
        for long in switch.longs:
            if long == name:
                return switch
            if long.startswith(name):
                found.append((long, switch))
    if not found:
        raise Usage(f"unrecognized option '--{name}'")
    if any(switch is not found[0][1] for _, switch in found):
        names = " ".join(f"'--{long}'" for long, _ in found)
        raise Usage(f"option '--{name}' is ambiguous; possibilities: {names}")
    return found[0][1]


def _cluster(letters: str, switches: Sequence[Switch], queue: list[str]) -> list[tuple[str, str | None]]:
    """Read `-abc`: letters without a value, the last one perhaps with one."""
    given: list[tuple[str, str | None]] = []
    while letters:
        letter, letters = letters[0], letters[1:]
        switch = next((switch for switch in switches if letter in switch.shorts), None)
        if switch is None:
            raise Usage(f"invalid option -- '{letter}'")
        if switch.takes == "nothing":
            given.append((switch.key, None))
            continue
        value = letters or None
        if switch.takes == "value" and value is None:
            if not queue:
                raise Usage(f"option requires an argument -- '{letter}'")
            value = queue.pop(0)
        given.append((switch.key, value))
        letters = ""
    return given
