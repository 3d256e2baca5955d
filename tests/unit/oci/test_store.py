from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from redpak.errors import NotFound, Usage
from redpak.oci import life, store

REPOSITORY = Path(__file__).resolve().parents[3]


def python(code: str, *words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", f"import os, sys\nfrom redpak.oci import life, store\n{code}", *words],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "~x", "a b", "é", "a\n", "x" * 1025])
def test_an_id_that_could_be_taken_for_a_path_is_refused(name: str) -> None:
    with pytest.raises(Usage):
        store.checked_id(name)


@pytest.mark.parametrize("name", ["a", "A.b_c+d-e", "...", "0", "-x"])
def test_an_id_has_the_characters_that_other_runtimes_allow(name: str) -> None:
    assert store.checked_id(name) == name


def test_what_is_kept_is_read_again_by_another_command(tmp_path: Path) -> None:
    root = str(tmp_path / "deep" / "root")
    made = store.make(root, "a", {"pid": 7, "annotations": {"k": "é\n"}}, b"{}")
    made.data["pid"] = 8
    made.save()
    assert store.load(root, "a").data == {"pid": 8, "annotations": {"k": "é\n"}}
    assert store.names(root) == ["a"]


def test_an_id_is_given_once(tmp_path: Path) -> None:
    store.make(str(tmp_path), "a", {"pid": 1}, b"{}")
    with pytest.raises(store.Exists, match="already exists"):
        store.make(str(tmp_path), "a", {"pid": 2}, b"{}")
    assert store.load(str(tmp_path), "a").pid == 1
    assert os.listdir(tmp_path) == ["a"]


def test_of_many_who_want_an_id_one_gets_it(tmp_path: Path) -> None:
    code = """
sys.stdin.readline()
try:
    store.make(sys.argv[1], "a", {"pid": os.getpid()}, b"{}")
    print(os.getpid())
except store.Exists:
    pass
"""
    running = [python(code, str(tmp_path)) for _ in range(6)]
    for one in running:
        assert one.stdin
        one.stdin.write(b"go\n")
        one.stdin.flush()
    said = [one.communicate()[0] for one in running]
    assert [one.returncode for one in running] == [0] * 6
    assert [int(one) for one in said if one] == [store.load(str(tmp_path), "a").pid]
    assert os.listdir(tmp_path) == ["a"]


def test_a_container_that_nobody_made_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="does not exist"):
        store.load(str(tmp_path), "a")
    with pytest.raises(NotFound, match="does not exist"):
        store.load(str(tmp_path), "x" * 1000)


def test_a_deleted_container_is_gone_at_once(tmp_path: Path) -> None:
    made = store.make(str(tmp_path), "a", {}, b"{}")
    other = store.load(str(tmp_path), "a")
    made.forget()
    made.unlock()
    with pytest.raises(NotFound):
        other.lock()
    made.forget()
    assert os.listdir(tmp_path) == []


def test_who_waited_for_a_deleted_container_does_not_get_its_successor(tmp_path: Path) -> None:
    made = store.make(str(tmp_path), "a", {}, b"{}")
    waiting = python(
        """
found = store.load(sys.argv[1], "a")
print("here", flush=True)
try:
    found.lock()
except store.NotFound:
    print("gone")
""",
        str(tmp_path),
    )
    assert waiting.stdout
    assert waiting.stdout.readline() == b"here\n"
    made.forget()
    store.make(str(tmp_path), "a", {}, b"{}").unlock()
    made.unlock()
    assert waiting.communicate()[0] in (
        b"gone\n",
        b"",
    )  # b"": it came too late to wait, and found the new one


def test_what_a_killed_command_left_is_swept_and_what_a_living_one_makes_is_not(tmp_path: Path) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    for name in (f"~{dead.pid}.00", f"~{os.getpid()}.00", "~strange"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "state.json").write_text("{}")
    store.sweep(str(tmp_path))
    assert sorted(os.listdir(tmp_path)) == sorted([f"~{os.getpid()}.00", "~strange"])
    assert store.names(str(tmp_path)) == []


def test_a_process_is_known_by_its_start_and_not_by_its_number_alone(tmp_path: Path) -> None:
    made = store.make(
        str(tmp_path), "a", {"pid": os.getpid(), "start_time": life.start_time(os.getpid())}, b"{}"
    )
    assert life.status(made) == life.RUNNING
    made.data["start_time"] += 1
    assert life.status(made) == life.STOPPED
    with pytest.raises(life.NotRunning, match="container not running"):
        life.send(made, 0)


def test_a_zombie_does_not_run() -> None:
    child = subprocess.Popen(["true"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert life.start_time(child.pid) == 0
    child.wait()


def test_a_container_whose_maker_was_killed_has_stopped(tmp_path: Path) -> None:
    maker = python(
        """
store.make(sys.argv[1], "a", {"pid": 0, "status": "creating"}, b"{}")
print("made", flush=True)
sys.stdin.readline()
""",
        str(tmp_path),
    )
    assert maker.stdout
    assert maker.stdout.readline() == b"made\n"
    found = store.load(str(tmp_path), "a")
    assert life.status(found) == life.CREATING
    maker.kill()
    maker.communicate()
    assert life.status(found) == life.STOPPED
