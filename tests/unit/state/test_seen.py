"""Launches that only say that they begin: named by their process, ended by whoever notices, each once."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from redpak.errors import NotFound
from redpak.state import journal, place, proc, sandboxes, seen


def begin(node: str = "/nodes/app", **more: object) -> None:
    """Have this process write what a launch helper writes of itself when it starts."""
    mine = proc.known(os.getpid())
    assert mine is not None
    line = {"time": time.time(), "event": "start", "node": node, "pid": mine.pid, "ticks": mine.start, **more}
    with open(os.path.join(place.ready(), "events"), "a", encoding="ascii") as file:
        file.write(json.dumps(line) + "\n")


def events(*kinds: str) -> list[dict[str, Any]]:
    return [one for one in journal.past() if one["event"] in kinds]


def ended_child() -> int:
    """Return the number of a process that noted its launch and has ended."""
    pid = os.fork()
    if pid == 0:
        begin()
        os._exit(0)
    os.waitpid(pid, 0)
    return pid


def test_a_launch_is_named_as_the_list_of_what_runs_names_it() -> None:
    begin()
    begin()
    mine = proc.known(os.getpid())
    assert mine is not None
    assert [(one["id"], one["node"], one["pid"]) for one in events("start")] == [
        (proc.name(mine), "/nodes/app", os.getpid())
    ] * 2
    assert len(list(seen.once(journal.past()))) == 1


def test_what_ended_unseen_is_noted_once_with_an_unknown_code() -> None:
    ended_child()
    seen.settle()
    seen.settle()
    (exit_,) = events("exit")
    assert (exit_["id"], exit_["code"]) == (events("start")[0]["id"], None)
    seen.ended(exit_["id"], 3)
    assert events("exit") == [exit_]


def test_what_still_runs_has_not_ended() -> None:
    begin()
    seen.settle()
    assert events("exit") == []


def test_an_end_of_what_never_began_is_not_noted() -> None:
    seen.ended("0123abcd", 5)
    assert journal.past() == []


def test_a_start_before_the_host_was_started_is_no_process_of_now() -> None:
    begin(time=1000.0)
    (start,) = events("start")
    mine = proc.known(os.getpid())
    assert mine is not None
    assert start["id"] != proc.name(mine)
    assert seen.pid_of(start) is None
    seen.settle()
    assert events("exit")[0]["id"] == start["id"]


@pytest.mark.parametrize("more", ['"pid": "x", "ticks": 1', '"pid": 1', '"pid": [], "ticks": {}'])
def test_a_damaged_start_is_left_out(runtime: Path, more: str) -> None:
    place.ready()
    (runtime / "events").write_text(f'{{"time": 1.5, "event": "start", {more}}}\n')
    assert journal.past() == []
    seen.settle()


def test_a_launch_that_ended_is_found_by_the_beginning_of_its_id() -> None:
    ended_child()
    (start,) = events("start")
    one = sandboxes.find(start["id"][:5], ended=True)
    assert (one.id, one.status, one.lives, one.node) == (start["id"], "lost", False, "/nodes/app")
    with pytest.raises(NotFound):
        sandboxes.find(start["id"])
