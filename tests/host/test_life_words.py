"""The commands for what runs, as somebody uses them who knows docker: several at once, wrong words, readers that go."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
from pathlib import Path

import pytest

from tests.host.life_site import Life, configure, gone, life, over, waits
from tests.patience import PATIENCE_S, eventually

__all__ = ["life"]
pytestmark = pytest.mark.needs("userns", "bwrap", "cc")
FOLLOWING = (("logs", "-f", "web"), ("events", "--since", "1h"), ("stats", "--json"), ("wait", "web"))


def test_of_several_all_are_stopped_that_can_be_and_the_rest_is_told(life: Life) -> None:
    ids = [life.start("sleep", "1000"), life.start("sh", "-c", "trap '' TERM; while :; do sleep 0.1; done")]
    ran = life("stop", "-t", "0.2", ids[0], "nosuch", ids[1], "neither")
    assert ran.code == 4
    assert ran.err.count("there is no sandbox 'nosuch'; there is no sandbox 'neither'") == 1
    assert life.now() == []


def test_of_several_those_that_are_there_are_shown_and_waited_for(life: Life) -> None:
    id_ = life.start("sleep", "1000", name="web")
    ran = life("inspect", "--json", "--no-plan", "web", "nosuch")
    assert (ran.code, [one["id"] for one in json.loads(ran.out)]) == (4, [id_])
    ran = life("stats", "--no-stream", "--json", "nosuch", "web")
    assert (ran.code, [one["id"] for one in json.loads(ran.out)]) == (4, [id_])
    assert life("kill", "-s", "TERM", "nosuch", "web").code == 4
    ran = life("wait", "--json", "nosuch", "web")
    assert (ran.code, json.loads(ran.out)) == (4, [{"id": id_, "code": 143}])
    ran = life("wait", "web", id_)
    assert (ran.code, ran.out) == (143, f"{id_}  143\n")  # one sandbox, called in two ways


def test_a_word_that_may_mean_two_is_refused_and_both_are_named(life: Life) -> None:
    ids = [life.start("sleep", "1000", name=name) for name in ("one", "two")]
    ran = life("kill", life.node)
    assert ran.code == 2
    assert all(f"{id_} ({name})" in ran.err for id_, name in zip(ids, ("one", "two"), strict=True))
    assert len(life.now()) == 2
    ran = life("start", "one")
    assert (ran.code, "redpak run -d" in ran.err) == (2, True)


def test_of_two_with_one_name_that_is_meant_which_runs_else_the_last(life: Life) -> None:
    first = life.start("sh", "-c", "exit 3", name="web")
    assert life("wait", first).code == 3
    second = life.start("sh", "-c", "exit 4", name="web")
    assert life("wait", second).code == 4
    assert life("wait", "web").code == 4
    third = life.start("sleep", "1000", name="web")
    assert life.told("inspect", "--no-plan", "web")[0]["id"] == third
    ran = life("run", "-d", "--name", "web", life.node, "--", "true")
    assert (ran.code, third in ran.err) == (5, True)


def test_the_name_of_a_directory_is_answered_with_how_to_write_it(life: Life) -> None:
    ran = life("stop", "node", cwd=life.node.parent)
    assert (ran.code, "'./node'" in ran.err) == (4, True)


@pytest.mark.parametrize(
    "words",
    [
        ("kill", "--signal=", "web"), ("kill", "-s", "", "web"), ("stop", "--signal=", "web"),
        ("stop", "-t", "", "web"), ("wait", "--time=", "web"),
        ("logs", "--tail=", "web"), ("logs", "--since=", "web"), ("events", "--since="),
        ("stats", "--interval=", "web"), ("exec", "-w", "relative", "web", "true"), ("exec", "web"),
    ],
)  # fmt: skip
def test_an_empty_or_senseless_value_is_wrong_and_nothing_happens(life: Life, words: tuple[str, ...]) -> None:
    life.start("sleep", "1000", name="web")
    ran = life(*words)
    assert (ran.code, ran.out) == (2, ""), ran
    assert ran.err.startswith("redpak: error: ")
    assert life.now()[0]["status"] == "running"


def test_a_directory_that_is_not_there_is_told_without_numbers_of_ours(life: Life) -> None:
    life.start("sleep", "1000", name="web")
    ran = life("exec", "-w", "/nowhere", "web", "true")
    assert (ran.code, "'/nowhere'" in ran.err, "web runs on" in ran.err) == (125, True, True), ran


@pytest.mark.parametrize("words", FOLLOWING, ids=lambda words: words[0])
def test_an_interrupt_ends_what_follows_without_a_word(life: Life, words: tuple[str, ...]) -> None:
    life.start("sh", "-c", "while :; do echo said; sleep 0.1; done", name="web")
    pid, master = pty.fork()
    if pid == 0:
        argv = [*life.redpak.argv, *words]
        os.execve(argv[0], argv, life.redpak.environ)
    if words[0] == "wait":
        eventually(lambda: waits(pid))  # it says nothing by itself
    else:
        assert select.select([master], [], [], PATIENCE_S)[0]
    os.write(master, b"\x03")
    said = b""
    while True:
        try:
            part = os.read(master, 4096)
        except OSError:
            break
        said += part
    os.close(master)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 130, said
    assert b"Traceback" not in said
    assert b"error" not in said
    assert len(life.now()) == 1


@pytest.mark.parametrize("words", FOLLOWING[:3], ids=lambda words: words[0])
def test_a_reader_that_goes_away_ends_what_follows(life: Life, words: tuple[str, ...]) -> None:
    life.start("sh", "-c", "echo said; sleep 1000", name="web")
    child = subprocess.Popen(
        [*life.redpak.argv, *words], env=life.redpak.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert child.stdout is not None
    assert child.stdout.readline()
    child.stdout.close()  # nothing else happens in there
    assert child.wait(PATIENCE_S) == 141
    assert child.stderr is not None
    with child.stderr:
        assert child.stderr.read() == b""


@pytest.mark.parametrize("words", [("ps", "-a"), ("inspect", "web"), ("stats", "--help"), ("--help",)])
def test_a_full_disk_is_told_and_is_a_failure(life: Life, words: tuple[str, ...]) -> None:
    life.start("sleep", "1000", name="web")
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [*life.redpak.argv, *words], env=life.redpak.environ, stdout=full, stderr=subprocess.PIPE,
            timeout=PATIENCE_S, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == b"redpak: error: cannot write to standard output: no space left on device\n"


def test_what_ended_is_refused_by_all_that_need_it_to_run(life: Life, tmp_path: Path) -> None:
    id_ = life.start("sh", "-c", "exit 3", name="web")
    assert life("wait", "web").code == 3
    needs = (
        ("exec", "web", "true"), ("enter", "web"), ("kill", "web"), ("pause", "web"), ("resume", "web"), ("top", "web"),
        ("stats", "--no-stream", "web"), ("diff", "web"), ("cp", "web:/tmp", str(tmp_path / "x")),
    )  # fmt: skip
    for words in needs:
        ran = life(*words)
        assert (ran.code, "exited with 3" in ran.err) == (3, True), ran
    for words in (("stop", "web"), ("logs", "web"), ("logs", "-f", "web"), ("inspect", "web"), ("rm", id_)):
        assert life(*words).code == 0
    assert life("inspect", "web").code == 4


def test_a_sandbox_that_is_killed_while_others_hang_on_its_words_ends_them(life: Life) -> None:
    configure(life.node)
    id_ = life.start("sh", "-c", "echo said; sleep 1000", name="web")
    argv = [*life.redpak.argv, "logs", "-f", "web"]
    follower = subprocess.Popen(argv, env=life.redpak.environ, stdout=subprocess.PIPE, stdin=subprocess.PIPE)
    assert follower.stdout is not None
    assert follower.stdout.readline() == b"said\n"
    pid = life.now()[0]["pid"]
    assert life("kill", id_).code == 0
    assert gone(pid)
    assert over(follower) == 0
    assert life("wait", id_).code == 128 + signal.SIGKILL
