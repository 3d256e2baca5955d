"""Launches that leave nothing of redpak behind: the journal tells all the same when they began, and that they ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.host.life_site import Life, configure, life, over
from tests.host.processes import at_rest
from tests.patience import PATIENCE_S, eventually

__all__ = ["life"]
pytestmark = pytest.mark.needs("userns", "bwrap", "cc")
ways = pytest.mark.parametrize("way", ["helper", "native"])
SAYS = "echo up; cat; exit 9"
KNOWN = (137, None)  # before Linux 6.15 only its parent is told the code


def told(life: Life, *options: str) -> list[dict[str, Any]]:
    """Return the events of the past."""
    ran = life("events", "--no-follow", "--json", *options)
    assert ran.code == 0, ran
    return [json.loads(line) for line in ran.out.splitlines()]


class Follower:
    """`redpak events` in the background."""

    def __init__(self, life: Life, *options: str) -> None:
        argv = [*life.redpak.argv, "events", "--json", *options]
        self.child = subprocess.Popen(argv, env=life.redpak.environ, stdout=subprocess.PIPE, text=True)

    def next(self) -> dict[str, Any]:
        """Return the next event."""
        assert self.child.stdout is not None
        one: dict[str, Any] = json.loads(self.child.stdout.readline())
        return one

    def end(self) -> int:
        """Interrupt it; return its code."""
        self.child.send_signal(signal.SIGINT)
        assert self.child.stdout is not None
        code = self.child.wait(PATIENCE_S)
        self.child.stdout.close()  # not before: it would notice
        return code


@ways
def test_a_launch_tells_its_start_and_its_end(life: Life, way: str) -> None:
    life.by(way)
    for _ in range(2):  # planned, then by the frozen launcher that is kept
        child = life.foreground("sh", "-c", SAYS)
        (running,) = life.now()
        start = told(life)[-1]
        assert (start["event"], start["id"], start["node"]) == ("start", running["id"], str(life.node))
        assert start["pid"] == child.pid
        assert over(child) == 9
        end = told(life)[-1]
        assert (end["event"], end["id"], end["code"]) == ("exit", running["id"], 9)
    assert [one["event"] for one in told(life)] == ["start", "exit"] * 2


def test_a_frozen_launcher_tells_as_well_where_the_runtime_directory_is(life: Life, tmp_path: Path) -> None:
    life("freeze", life.node, "-o", tmp_path / "frozen", "--", "sh", "-c", "kill -9 $$")
    life("events", "--no-follow")
    life.runtime.mkdir(mode=0o700)
    code = subprocess.run([tmp_path / "frozen"], env=life.redpak.environ, check=False).returncode
    assert code == 137
    assert [(one["event"], one.get("code")) for one in told(life)] == [("start", None), ("exit", 137)]


@ways
def test_the_end_of_a_launch_that_was_killed_is_noted_once_by_who_looks(life: Life, way: str) -> None:
    life.by(way)
    child = life.foreground("sh", "-c", SAYS)
    (one,) = life.now()
    eventually(lambda: at_rest(child.pid))
    child.kill()
    over(child)
    for _ in range(2):
        end = told(life)[-1]
        assert (end["event"], end["id"], end["code"]) == ("exit", one["id"], None)
        assert "nobody saw" in end["reason"]
    assert [each["event"] for each in told(life)] == ["start", "exit"]
    ran = life("wait", one["id"])
    assert (ran.code, "nobody knows" in ran.err, "nobody saw it end" in ran.err) == (125, True, True), ran
    assert life.told("inspect", one["id"])[0]["status"] == "lost"


@ways
@pytest.mark.parametrize("killed", [False, True])
def test_all_followers_hear_of_an_end_once_and_with_its_code(life: Life, way: str, killed: bool) -> None:
    life.by(way)
    life("run", *life.engine, life.node, "--", "true")
    followers = [Follower(life, "--since", "1h") for _ in range(2)]
    assert [[one.next()["event"] for _ in range(2)] for one in followers] == [["start", "exit"]] * 2
    child = life.foreground("sh", "-c", SAYS)
    starts = [one.next() for one in followers]
    if killed:
        eventually(lambda: at_rest(child.pid))
        child.kill()
    over(child)
    ends = [one.next() for one in followers]
    assert starts[0] == starts[1]
    assert ends[0] == ends[1]
    assert (ends[0]["event"], ends[0]["id"]) == ("exit", starts[0]["id"])
    assert ends[0]["code"] in (KNOWN if killed else (9,))
    assert [one.end() for one in followers] == [130, 130]
    assert [one["event"] for one in told(life)] == ["start", "exit"] * 2


def test_a_follower_sees_the_end_of_what_was_killed_and_ran_before_it_came(life: Life) -> None:
    child = life.foreground("sh", "-c", SAYS)
    follower = Follower(life, "--since", "1h")
    start = follower.next()
    eventually(lambda: at_rest(child.pid))
    child.kill()
    over(child)
    end = follower.next()
    assert (end["event"], end["id"], end["code"] in KNOWN) == ("exit", start["id"], True)
    follower.end()


@ways
def test_what_ended_is_known_to_wait_and_logs(life: Life, way: str) -> None:
    life.by(way)
    child = life.foreground("sh", "-c", SAYS)
    (one,) = life.now()
    over(child)
    assert life("wait", one["id"]).code == 9
    ran = life("logs", one["id"][:6])
    assert (ran.code, "ran in the foreground" in ran.err) == (3, True), ran
    ran = life("rm", one["id"])
    assert (ran.code, "no record" in ran.err) == (3, True), ran
    assert life("stop", one["id"]).code == 0
    assert life.told("inspect", one["id"])[0]["status"] == "exited"
    assert life("kill", one["id"]).code in (3, 4)


def test_a_journal_that_is_full_turns_over_and_a_link_in_its_place_is_not_followed(
    life: Life, tmp_path: Path
) -> None:
    life.runtime.mkdir(mode=0o700)
    (life.runtime / "events").write_text("\n" * (1 << 20) + "\n")
    assert life("run", life.node, "--", "true").code == 0
    assert (life.runtime / "events").stat().st_size < 1000
    assert [one["event"] for one in told(life)] == ["start", "exit"]
    (tmp_path / "victim").write_text("kept")
    (life.runtime / "events").unlink()
    (life.runtime / "events").symlink_to(tmp_path / "victim")
    assert life("run", life.node, "--", "true").code == 0
    assert (tmp_path / "victim").read_text() == "kept"


@ways
def test_a_start_that_fails_ends_with_the_code_that_its_user_saw(life: Life, way: str) -> None:
    life.by(way)
    configure(life.node, "chdir: /nowhere, ")
    for _ in range(2):
        assert life("run", *life.engine, life.node, "--", "true").code == 125
    assert [(one["event"], one.get("code")) for one in told(life)] == [("start", None), ("exit", 125)] * 2


def test_a_name_that_json_has_to_escape_is_told_as_it_is(life: Life, pool: Path) -> None:
    odd = pool / 'odd "nöde\\'
    life.node.rename(odd)
    (odd / ".rednode.yaml").write_text(f"realpath: '{odd}'\ntimestamp: 1700000000000\nstate: Enable\n")
    for _ in range(2):
        assert life("run", odd, "--", "true").code == 0
    assert {one["node"] for one in told(life)} == {str(odd)}


def test_nothing_is_written_into_a_directory_that_others_may_change(life: Life) -> None:
    life.runtime.mkdir(mode=0o700)
    (life.runtime / "events").touch()
    os.chmod(life.runtime, 0o755)
    assert life("run", life.node, "--", "true").code == 0
    assert (life.runtime / "events").read_text() == ""
    assert life("events", "--no-follow").code == 3


@pytest.mark.parametrize("way", ["helper", "no-helper", "native", "native-no-helper"])
def test_a_failed_start_names_the_engine_that_ran(life: Life, way: str) -> None:
    life.by("no-helper" if way.endswith("no-helper") else way)
    life.by("native" if way.startswith("native") else way)
    configure(life.node, "chdir: /nowhere, ")
    for _ in range(2):  # by the frozen launcher, too
        ran = life("run", *life.engine, life.node, "--", "true")
        assert ran.code == 125, ran
        assert ("bwrap" in ran.err) == (way in ("helper", "no-helper")), ran
        assert "/nowhere" in ran.err
    if way == "native":
        assert "engine 'native'" in ran.err


def test_what_ends_before_anybody_saw_it_has_started_all_the_same(life: Life) -> None:
    ids = [life.start("true") for _ in range(10)]
    for id_ in ids:
        assert life("wait", id_).code == 0
    events = told(life)
    for id_ in ids:
        assert [one["event"] for one in events if one["id"] == id_] == ["create", "start", "exit"]
    failed = life("run", "-d", life.node, "--", "nosuch")
    assert (failed.code, [one["event"] for one in told(life)[-2:]]) == (127, ["create", "exit"])
