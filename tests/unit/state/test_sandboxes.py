"""What a word on the command line means."""

from __future__ import annotations

import os
import time

import pytest

from redpak.errors import NotFound, Refused, Usage
from redpak.state import records, sandboxes
from redpak.state.records import Entry, Exit


def given(id_: str, *, name: str = "", node: str = "/nodes/app", lives: bool = True) -> int:
    """Make a record of that id; return its lock."""
    entry, lock = records.new(node=node, command=("true",), name=name, plan=b"{}", uid=os.getuid())
    at = os.path.join(os.path.dirname(entry.path), id_)
    os.rename(entry.path, at)
    entry = Entry(**{**entry.__dict__, "id": id_, "path": at})
    records.save(entry)
    if not lives:
        records.finish(entry, Exit(code=0, ended=time.time()))
    return lock


@pytest.fixture(autouse=True)
def world() -> object:
    """Make four records."""
    locks = [
        given("dead0000", name="web", lives=False),
        given("abc11111", name="web"),
        given("abc22222", name="abc1", node="/nodes/other"),
        given("dead1111", name="gone", lives=False),
    ]
    yield
    for lock in locks:
        os.close(lock)


@pytest.mark.parametrize(
    ("word", "means"),
    [
        ("abc11111", "abc11111"),
        ("abc11", "abc11111"),
        ("web", "abc11111"),  # what lives goes before what ended
        ("abc1", "abc22222"),  # a name goes before the beginning of an id
        ("/nodes/other", "abc22222"),
        ("/nodes/../nodes/other/", "abc22222"),
    ],
)
def test_an_id_its_beginning_a_name_or_a_node_is_enough(word: str, means: str) -> None:
    assert sandboxes.find(word).id == means


def test_what_fits_several_is_refused_and_lists_them() -> None:
    with pytest.raises(Usage, match=r"'abc' may be abc11111 \(web\) or abc22222 \(abc1\)"):
        sandboxes.find("abc")


def test_what_ended_is_found_only_where_that_is_wanted() -> None:
    assert sandboxes.find("gone", ended=True).id == "dead1111"
    with pytest.raises(Refused, match="'gone' does not run: exited with 0"):
        sandboxes.find("gone")


def test_a_word_that_fits_nothing_gets_the_nearest_name() -> None:
    with pytest.raises(NotFound) as caught:
        sandboxes.find("wep")
    assert caught.value.hint == "Did you mean 'web'?"
    with pytest.raises(Usage):
        sandboxes.find("")
