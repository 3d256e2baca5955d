"""Standard output: exact where it is data, harmless where people read it."""

from __future__ import annotations

import json
import os

import pytest

from redpak.cli import output


def test_a_name_that_is_no_text_comes_out_as_it_was(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    output.write(os.fsdecode(b"/n\xff\n"))
    assert capfdbinary.readouterr().out == b"/n\xff\n"


def test_lines_for_people_hold_no_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    output.lines(["a\x1b[2J\nb\tc\udcff\u202e", "é"])
    assert capsys.readouterr().out == "a\\x1b[2J\\nb\\tc\\udcff\\u202e\né\n"


def test_json_is_ascii_and_keeps_the_order(capsys: pytest.CaptureFixture[str]) -> None:
    output.json({"b": "é\x1b", "a": 1})
    out = capsys.readouterr().out
    assert out.isascii()
    assert list(json.loads(out)) == ["b", "a"]


def test_a_table_is_aligned_and_has_no_trailing_blanks() -> None:
    rows = [("a", "bb", "c"), ("aaa", "b", ""), ("x\ny", "z", "")]
    assert output.table(rows, heads=("H", "I", "J")) == [
        "  H     I   J",
        "  a     bb  c",
        "  aaa   b",
        "  x\\ny  z",
    ]
    assert output.table([]) == []
