"""Versions of packages. rpm's own comparison is the judge where it is installed."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redpak.packages import evr

# Older, newer: from rpm's documentation and from what goes wrong when a rule is forgotten.
ORDER = [
    ("1.0", "2.0"), ("2.0", "2.0.1"), ("2.0.1", "2.0.1a"), ("5.5p1", "5.5p2"), ("5.5p1", "5.5p10"),
    ("10xyz", "10.1xyz"), ("xyz10", "xyz10.1"), ("xyz.4", "8"), ("xyz.4", "2"),
    ("5.5p2", "5.6p1"), ("5.6p1", "6.5p1"), ("6.0", "6.0.rc1"),
    ("10a2", "10b2"), ("1.0aa", "1.0aaa"), ("10.0001", "10.0039"), ("4.999.9", "5.0"), ("20101121", "20101122"),
    ("1.0~rc1", "1.0"), ("1.0~rc1", "1.0~rc2"), ("1.0~rc1~git123", "1.0~rc1"), ("1.0", "1.0^"), ("1.0", "1.0^git1"),
    ("1.0^git1", "1.01"), ("1.0^git1", "1.0^git2"), ("1.0^20160101", "1.0.1"), ("1.0~rc1", "1.0~rc1^git1"),
    ("1.0^git1~pre", "1.0^git1"), ("1.0~rc1^git1", "1.0"), ("a", "1"), ("1.a", "1.1"), ("0.9-9", "1:0.1-1"),
    ("1-1", "1-2"), ("1-9", "2-1"),
]  # fmt: skip
SAME = [("1.0", "1.0"), ("1.0", "1.00"), ("1.05", "1.5"), ("1..0", "1.0"), ("1.0.", "1.0"), ("fc4", "fc.4"),
        ("FC5", "FC5"), ("2a", "2.a"), ("1_0", "1.0"), ("0:1", "1"), ("1-1", "1"), ("+_+", "_+_"),
        ("+", "_")]  # fmt: skip


@pytest.mark.parametrize(("older", "newer"), ORDER)
def test_newer_is_newer_both_ways(older: str, newer: str) -> None:
    assert evr.compare(older, newer) < 0
    assert evr.compare(newer, older) > 0


@pytest.mark.parametrize(("one", "two"), SAME)
def test_what_only_looks_different_is_equal(one: str, two: str) -> None:
    assert evr.compare(one, two) == 0
    assert evr.compare(two, one) == 0


@given(st.text("019abZ.~^_-+é:", max_size=12), st.text("019abZ.~^_-+é:", max_size=12))
def test_comparison_turns_round(one: str, two: str) -> None:
    assert evr.compare_part(one, two) == -evr.compare_part(two, one)
    assert evr.compare(one, two) == -evr.compare(two, one)


@pytest.mark.needs("rpm")
def test_rpm_agrees() -> None:
    alphabet = "019abZ.~^_+é"
    seed, words = 7, []
    for _ in range(1200):  # a small generator, so that the same words are tried everywhere
        seed = (seed * 6364136223846793005 + 1442695040888963407) % 2**64
        words.append(
            "".join(
                alphabet[seed >> (5 * at) & 31] for at in range(1 + seed % 7) if seed >> (5 * at) & 31 < 12
            )
        )
    pairs = [(a, b) for a, b in zip(words[::2], words[1::2], strict=True) if a and b]
    pairs += [pair for pair in ORDER + SAME if not set("-:") & set("".join(pair))]
    macros = "\n".join(f"%{{lua:print(rpm.vercmp('{a}', '{b}'))}}" for a, b in pairs)
    done = subprocess.run(["rpm", "--eval", macros], capture_output=True, text=True, check=True)
    said = [int(line) for line in done.stdout.split()]
    mine = [evr.compare_part(a, b) for a, b in pairs]
    assert [pair for pair, one, two in zip(pairs, mine, said, strict=True) if one != two] == []
