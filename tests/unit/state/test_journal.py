"""The journal of events: whole lines from many writers, followed without polling, turned over when it is long."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from redpak.state import journal


def test_events_are_told_in_order_with_what_belongs_to_them() -> None:
    journal.note("start", "a1", name="web", pid=7)
    journal.note("exit", "a1", name="web", code=0)
    first, second = journal.past()
    assert (first["event"], first["id"], first["name"], first["pid"]) == ("start", "a1", "web", 7)
    assert (second["event"], second["code"]) == ("exit", 0)
    assert first["time"] <= second["time"]


def test_a_follower_hears_what_happens_after_it_began_and_the_past_if_it_wants() -> None:
    journal.note("create", "a1")
    news = journal.follow()
    everything = journal.follow(history=True)
    child = os.fork()
    if child == 0:
        journal.note("start", "b2")
        os._exit(0)
    assert next(news)["id"] == "b2"
    assert [next(everything)["id"], next(everything)["id"]] == ["a1", "b2"]
    os.waitpid(child, 0)
    news.close()  # type: ignore[attr-defined]
    everything.close()  # type: ignore[attr-defined]


def test_many_writers_never_mix_their_lines() -> None:
    children = []
    for number in range(8):
        child = os.fork()
        if child == 0:
            for turn in range(50):
                journal.note("exec", f"{number}", turn=turn, filler="x" * 500)
            os._exit(0)
        children.append(child)
    for child in children:
        assert os.waitpid(child, 0)[1] == 0
    told = journal.past()
    assert len(told) == 400
    for number in range(8):
        assert [one["turn"] for one in told if one["id"] == f"{number}"] == list(range(50))


def test_a_long_journal_turns_over_and_its_follower_goes_on(
    runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "MOST_BYTES", 2000)
    journal.note("start", "first")
    news = journal.follow()
    for number in range(100):
        journal.note("exec", f"{number}")
        assert next(news)["id"] == f"{number}"
    news.close()  # type: ignore[attr-defined]
    assert (runtime / "events").stat().st_size <= 2200
    assert journal.past()[-1]["id"] == "99"


def test_damage_in_the_journal_is_left_out(runtime: Path) -> None:
    journal.note("start", "a1")
    with (runtime / "events").open("a") as file:
        file.write('{"cut\n[]\n{"event": "x"}\n')
    journal.note("exit", "a1")
    assert [one["event"] for one in journal.past()] == ["start", "exit"]


def test_an_event_after_one_that_a_full_disk_cut_off_is_not_lost_with_it(runtime: Path) -> None:
    journal.note("start", "a1")
    with (runtime / "events").open("a") as file:
        file.write('{"time": 1, "event": "ex')
    journal.note("exit", "b2")
    assert [one["id"] for one in journal.past()] == ["a1", "b2"]
