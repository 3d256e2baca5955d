"""The status file."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redpak.errors import Fault
from redpak.node import status


def parsed(text: str) -> tuple[status.Status | None, list[Fault]]:
    """Return the status and the faults of a text."""
    faults: list[Fault] = []
    return status.parse(text.encode(), "/x/.rednode.yaml", faults), faults


GOOD = (
    "realpath: /x\ninfo: created by red-manager the 22-Nov-2026 02:26 (UTC)\ntimestamp: 12\nstate: Enable\n"
)


def test_what_red_pak_writes_is_read_without_a_yaml_library() -> None:
    assert len(status.plain_items(GOOD.encode(), "/x/.rednode.yaml")) == 4
    found, faults = parsed(GOOD)
    assert not faults
    assert found is not None
    assert (found.realpath, found.timestamp_ms, found.state) == ("/x", 12, "Enable")
    assert found.info == "created by red-manager the 22-Nov-2026 02:26 (UTC)"


def test_both_readers_agree_on_plain_files() -> None:
    faults: list[Fault] = []
    slow = status.yaml_items(GOOD.encode(), "/x/.rednode.yaml", faults)
    assert status.plain_items(GOOD.encode(), "/x/.rednode.yaml") == slow
    assert not faults


@pytest.mark.parametrize(
    "text", ["{realpath: /x, timestamp: 1, state: Enable}", '"realpath": "/x"\ntimestamp: 1\nstate: 1']
)
def test_any_other_yaml_of_the_same_meaning_is_read_too(text: str) -> None:
    found, faults = parsed(text)
    assert not faults
    assert found is not None
    assert (found.realpath, found.state) == ("/x", "Enable")


def test_keys_may_be_in_any_case_but_states_may_not() -> None:
    found, _ = parsed("RealPath: /x\nTIMESTAMP: 1\nstate: Disable\n")
    assert found is not None
    assert found.state == "Disable"
    found, faults = parsed("realpath: /x\ntimestamp: 1\nstate: enable\n")
    assert found is None
    assert faults[0].origin.line == 3


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("realpath: /x\ntimestamp: 1\n", "lacks 'state'"),
        ("", "lacks 'realpath', 'timestamp', 'state'"),
        (GOOD + "colour: red\n", "unknown key 'colour'"),
        (GOOD + "state: Disable\n", "twice"),
        ("realpath: /x\ntimestamp: soon\nstate: Enable\n", "'soon' is not a number"),
        ("realpath: [/x]\ntimestamp: 1\nstate: Enable\n", "not a flat mapping"),
        ("realpath: 'x\n", "not YAML"),
        (GOOD + "---\n" + GOOD, "more than one document"),
        ("[" * 5000, "not a flat mapping"),
    ],
)
def test_what_is_wrong_is_said(text: str, said: str) -> None:
    found, faults = parsed(text)
    assert found is None
    assert any(said in fault.message for fault in faults), faults


def test_two_documents_cannot_hide_behind_the_fast_reader() -> None:
    found, faults = parsed(GOOD.replace("info", "---\ninfo"))
    assert found is None
    assert faults


@given(st.text(max_size=60), st.text(max_size=60), st.integers(0, 2**63))
def test_what_is_written_is_read_back(realpath: str, info: str, when: int) -> None:
    one = status.Status(
        file="/x/.rednode.yaml", realpath=realpath, info=info, timestamp_ms=when, state="Error"
    )
    try:
        text = status.text_of(one)
        text.encode()
    except UnicodeEncodeError:
        return  # lone surrogates cannot be in a file
    assert parsed(text) == (one, [])


def test_a_fifo_in_its_place_is_a_fault_and_no_wait(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / ".rednode.yaml")
    faults: list[Fault] = []
    assert status.read(str(tmp_path), faults) is None
    assert "not a regular file" in faults[0].message


def test_a_huge_file_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / ".rednode.yaml").write_text(GOOD + "#" * 70_000)
    faults: list[Fault] = []
    assert status.read(str(tmp_path), faults) is None
    assert "larger than" in faults[0].message
