"""What the words of runtime life say with --json: lists and objects of one shape, and nothing of what failed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from redpak.cli import table
from redpak.cli.main import load
from redpak.cli.options import verb_of
from tests.conftest import Program, Ran
from tests.host.life_site import Life, life
from tests.host.test_prepared import kept, leaf_of_two, warm_program  # noqa: F401 - fixtures
from tests.patience import PATIENCE_S

__all__ = ["life"]
pytestmark = pytest.mark.needs("userns", "bwrap", "cc")
# What they print is the program's own.
GIVEN_AWAY = {"exec", "enter"}


def of(life: Life, id_: str, name: str, done: str, **more: Any) -> dict[str, Any]:
    """Return what a word that acts says of one sandbox."""
    return {"id": id_, "name": name, "node": str(life.node), "done": done, **more}


def said(ran: Ran, code: int = 0) -> Any:
    """Return the JSON that a command printed."""
    assert ran.code == code, ran
    assert (ran.err == "") == (code == 0)
    return json.loads(ran.out)


def test_every_word_of_runtime_life_has_json() -> None:
    words = [one for one in table.COMMANDS if one.group == "Running" or one.name in ("run", "warm", "cool")]
    assert len(words) > 15
    without = {
        one.name
        for one in words
        if "json" not in {option.name for option in verb_of(one.name, load(one)).options}
    }
    assert without == GIVEN_AWAY


def test_a_start_in_the_background_says_what_it_started(life: Life) -> None:
    ran = life("run", "-d", "--json", "--name", "web", life.node, "--", "sleep", "1000")
    told = said(ran)
    assert told == of(life, life.now()[0]["id"], "web", "started")
    assert told["id"] in life.told("ps", "--ids")  # others may use this host, too
    ran = life("run", "-d", "--json", "--name", "web", life.node, "--", "true")
    assert (ran.code, ran.out) == (5, "")
    ran = life("run", "--json", life.node, "--", "true")
    assert (ran.code, ran.out, "--detach" in ran.err) == (2, "", True)


def test_words_that_end_say_how_each_sandbox_ended(life: Life) -> None:
    over = life.start("true", name="over")
    assert life("wait", over).code == 0
    mild = life.start("sleep", "1000", name="mild")
    deaf = life.start("sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.1; done", name="deaf")
    life.follow(deaf, "up")
    killed = life.start("sleep", "1000", name="killed")
    assert said(life("kill", "--json", "-s", "CONT", "nosuch", "mild"), 4) == [
        of(life, mild, "mild", "signalled", signal=18)
    ]
    assert life.told("kill", killed) == [of(life, killed, "killed", "killed", signal=9)]
    assert life("wait", killed).code == 137
    ran = life("stop", "--json", "-t", f"{PATIENCE_S}", "nosuch", "over", "mild", mild)
    assert said(ran, 4) == [of(life, over, "over", "nothing"), of(life, mild, "mild", "stopped")]
    assert said(life("--quiet", "stop", "--json", "-t", "0.2", "deaf")) == [of(life, deaf, "deaf", "killed")]
    assert said(life("stop", "--json", "nosuch"), 4) == []


def test_a_sandbox_that_is_called_in_two_ways_is_meant_once(life: Life) -> None:
    id_ = life.start("sleep", "1000", name="web")
    told = life.told("kill", "-s", "CONT", "web", id_, str(life.node))
    assert told == [of(life, id_, "web", "signalled", signal=18)]
    assert life("stop", "-t", "0", "web", id_).code == 0
    assert life.told("rm", "web", id_) == [of(life, id_, "web", "removed")]


def test_what_is_removed_is_listed_and_what_runs_is_not(life: Life) -> None:
    ids = [life.start("true") for _ in range(3)]
    for id_ in ids:
        assert life("wait", id_).code == 0
    runs = life.start("sleep", "1000", name="web")
    assert said(life("rm", "--json", ids[0], "web"), 3) == [of(life, ids[0], "", "removed")]
    assert life.told("rm", "--old") == []
    assert life("rm", "--old").out == "0 records removed\n"
    told = life.told("rm", "--old", "--ended")
    assert sorted(one["id"] for one in told) == sorted(ids[1:])
    assert list(life.all()) == [runs]


@pytest.mark.needs("root")
def test_what_is_paused_and_goes_on_is_listed(life: Life) -> None:
    ids = [life.start("sleep", "1000", name=name) for name in ("one", "two")]
    assert life.told("pause", "one") == [of(life, ids[0], "one", "paused")]
    assert said(life("pause", "--json", "one", "two"), 3) == [of(life, ids[1], "two", "paused")]
    assert life.told("resume", *ids) == [
        of(life, id_, name, "resumed") for id_, name in zip(ids, ("one", "two"), strict=True)
    ]


def test_trees_that_are_prepared_and_dropped_are_listed(warm: Program, leaf: Path) -> None:
    made = said(warm("warm", "--json", leaf))
    assert (made["node"], made["new"], made["done"]) == (str(leaf), True, "prepared")
    again = said(warm("warm", "--json", leaf))
    assert (again["pid"], again["new"], again["done"]) == (made["pid"], False, "nothing")
    (one,) = kept(warm)
    assert said(warm("cool", "--json", leaf)) == [{**one, "done": "dropped"}]
    assert said(warm("cool", "--json", "--all")) == []
    gone = warm("cool", "--json", leaf)
    assert (gone.code, gone.out, "nothing is prepared" in gone.err) == (4, "", True)
