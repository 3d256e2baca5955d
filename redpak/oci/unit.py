"""Annotations that say what the scope of a container shall be: "org.systemd.property.NAME": "uint64 5". Pure.

Values are written as GVariant's text has them (GLib, "GVariant Text Format"): true, 5, uint64 5, 1.5, 'word',
['a', 'b'], @as []. As with runc, a name that ends in "Sec" is systemd's "USec", and its number is seconds.
"""

from __future__ import annotations

import math

from redpak.errors import Usage
from redpak.oci.groups import PROPERTY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from redpak.cgroup.bus import Property

OURS = ("Delegate", "PIDs", "Slice")  # without these it would be no group of ours
_NAMED = {
    "boolean": "b", "byte": "y", "int16": "n", "uint16": "q", "int32": "i", "uint32": "u", "int64": "x", "uint64": "t",
    "double": "d", "objectpath": "o", "signature": "g",
}  # fmt: skip
_RANGES = {
    "y": (0, 1 << 8), "n": (-(1 << 15), 1 << 15), "q": (0, 1 << 16), "i": (-(1 << 31), 1 << 31), "u": (0, 1 << 32),
    "x": (-(1 << 63), 1 << 63), "t": (0, 1 << 64),
}  # fmt: skip
_ESCAPES = {"n": "\n", "t": "\t", "\\": "\\", "'": "'", '"': '"'}


def properties(annotations: Mapping[str, str]) -> tuple[Property, ...]:
    """Return the properties that annotations ask for. Raises Usage for one that cannot be understood, or had."""
    found = []
    for key, text in annotations.items():
        if not key.startswith(PROPERTY) or key == PROPERTY:
            continue
        name = key.removeprefix(PROPERTY)
        if len(name) < 3 or not (name.isascii() and name.isalpha()):
            raise Usage(
                f"the annotation '{key}' names no property of a unit", hint="Names have letters alone."
            )
        if name in OURS:
            raise Usage(
                f"the annotation '{key}' cannot be followed: that one is ours to set", hint="Remove it."
            )
        try:
            signature, words = value(text)
        except ValueError as error:
            hint = "Write such as true, 5, uint64 5, 'word' or ['a', 'b'] (GVariant Text Format)."
            raise Usage(f"the annotation '{key}' has a value that {error}: '{text}'", hint=hint) from None
        if name.endswith("Sec") and "a" <= name[-4:-3] <= "z":
            if len(signature) != 1 or signature not in "nqiuxtd" or float(words[0]) < 0:
                raise Usage(f"the annotation '{key}' wants a number of seconds, not {text}")
            name, signature = f"{name[:-3]}USec", "t"
            words = [str(round(float(words[0]) * 1e6) if "." in words[0] else int(words[0]) * 1_000_000)]
        found.append((name, signature, words))
    return tuple(found)


def value(text: str) -> tuple[str, list[str]]:
    """Return (signature, words for busctl(1)) of a value. Raises ValueError, which says what is wrong with it."""
    text = text.strip()
    wanted = ""
    first, _, rest = text.partition(" ")
    if first in _NAMED:
        wanted, text = _NAMED[first], rest.strip()
    elif first.startswith("@"):
        wanted, text = first[1:], rest.strip()
    if text.startswith("["):
        if wanted and wanted[0] != "a":
            raise ValueError("is no list, as its type says")
        return _list(text, wanted[1:])
    word, kind, rest = _one(text, wanted)
    if rest:
        raise ValueError("goes on where it should end")
    return kind, [word]


def _list(text: str, kind: str) -> tuple[str, list[str]]:
    words: list[str] = []
    left = text[1:].strip()
    while not left.startswith("]"):
        first, _, rest = left.partition(" ")
        if first in _NAMED:
            kind, left = kind or _NAMED[first], rest.strip()
        word, kind, left = _one(left, kind)
        words.append(word)
        if left.startswith(","):
            left = left[1:].strip()
        elif not left.startswith("]"):
            raise ValueError("is a list that does not end")
    if left != "]":
        raise ValueError("goes on where it should end")
    if not kind:
        raise ValueError("is an empty list without a type (write @as [])")
    return f"a{kind}", [str(len(words)), *words]


def _one(text: str, wanted: str) -> tuple[str, str, str]:
    """Return the word that a text begins with, its signature, and what follows."""
    if text[:1] in ("'", '"') and text:
        word, rest = _quoted(text)
        if (wanted or "s") not in ("s", "o", "g"):
            raise ValueError("is a string, where its type is another")
        return word, wanted or "s", rest
    end = next((index for index, letter in enumerate(text) if letter in ",] "), len(text))
    word, rest = text[:end], text[end:].strip()
    if word in ("true", "false") and wanted in ("", "b"):
        return word, "b", rest
    kind = wanted or ("d" if "." in word or "e" in word.lower().removeprefix("0x") else "i")
    if kind != "d" and kind not in _RANGES:
        raise ValueError("is of a type that is not known here")
    try:
        number = float(word) if kind == "d" else int(word, 0)
    except ValueError:
        number = math.inf
    if "_" in word or not math.isfinite(number):
        raise ValueError("is none")
    if kind == "d":
        return word, kind, rest
    low, high = _RANGES[kind]
    if not low <= number < high:
        raise ValueError("is out of its type's range")
    return str(number), kind, rest


def _quoted(text: str) -> tuple[str, str]:
    quote, index = text[0], 1
    letters: list[str] = []
    while index < len(text):
        letter = text[index]
        if letter == quote:
            return "".join(letters), text[index + 1 :].strip()
        if letter == "\\":
            index += 1
            letter = _ESCAPES.get(text[index : index + 1], "")
            if not letter:
                raise ValueError("has an escape that is not known here")
        letters.append(letter)
        index += 1
    raise ValueError("is a string that does not end")
