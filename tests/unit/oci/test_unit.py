"""Annotations as properties of a unit: what is understood, and what is refused with its reason."""

from __future__ import annotations

import pytest

from redpak.errors import Usage
from redpak.oci.unit import properties, value


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("true", "b", ["true"]),
        ("5", "i", ["5"]),
        ("-5", "i", ["-5"]),
        ("uint64 0x10", "t", ["16"]),
        ("@t 5", "t", ["5"]),
        ("1.5", "d", ["1.5"]),
        ("double 2", "d", ["2"]),
        ("'a b'", "s", ["a b"]),
        ('"it\'s \\"x\\""', "s", ['it\'s "x"']),
        ("['a', 'b']", "as", ["2", "a", "b"]),
        ("[uint64 1, 2]", "at", ["2", "1", "2"]),
        ("@as []", "as", ["0"]),
    ],
)
def test_a_value_is_what_gvariants_text_says(text: str, kind: str, words: list[str]) -> None:
    assert value(text) == (kind, words)


@pytest.mark.parametrize(
    "text",
    ["", "abc", "uint64", "byte 300", "uint64 -1", "[1, 2", "[]", "'a", "'a' b", "(1, 2)", "<5>", "{'a': 1}",
     "inf", "1_000", "[[1]]", "@aas []x", "-", "boolean 5", "'\\q'"],
)  # fmt: skip
def test_what_is_no_value_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is|goes|has"):
        value(text)


def test_seconds_become_microseconds_as_runc_has_it() -> None:
    given = {
        "org.systemd.property.TimeoutStopSec": "1.5",
        "org.systemd.property.RuntimeMaxSec": "uint64 3",
        "other": "x",
    }
    assert properties(given) == (("TimeoutStopUSec", "t", ["1500000"]), ("RuntimeMaxUSec", "t", ["3000000"]))


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("PIDs", "[uint32 1]", "ours to set"),
        ("A", "5", "names no property"),
        ("Memory_Max", "5", "names no property"),
        ("TimeoutStopSec", "'5'", "seconds"),
        ("TimeoutStopSec", "-5", "seconds"),
        ("Foo", "bar", "a value that is none: 'bar'"),
    ],
)
def test_an_annotation_that_cannot_be_followed_says_why(name: str, text: str, words: str) -> None:
    with pytest.raises(Usage, match=words):
        properties({f"org.systemd.property.{name}": text})
