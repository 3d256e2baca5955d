"""runtime.md: state, create, start, kill and delete, and what each refuses."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from tests.conformance.rig import Container, Yard, group_of

pytestmark = pytest.mark.needs("root", "cc")


def stays(box: Container) -> Container:
    """Make the container's program one that stays until SIGTERM."""
    box.config["process"]["args"] = ["/probe", "report", ";", "stay"]
    return box


def test_a_created_container_has_a_whole_state(box: Container) -> None:
    stays(box).config["annotations"] = {"org.example.key": "value", "empty": ""}
    assert box.create().code == 0
    state = box.state()
    assert state["id"] == box.id
    assert state["status"] == "created"
    assert state["pid"] == box.pid > 0
    assert state["bundle"] == str(box.bundle)
    assert state["annotations"] == {"org.example.key": "value", "empty": ""}
    assert state["ociVersion"].startswith("1.")
    os.kill(box.pid, 0)


def test_create_does_not_run_the_program(box: Container) -> None:
    box.mount("/log", "bind", str(box.log), "bind")
    box.config["process"]["args"] = ["/probe", "create", "/log/ran", ";", "stay"]
    assert box.create().code == 0
    assert not (box.log / "ran").exists()
    assert box.start().code == 0
    assert box.status() == "running"


def test_a_started_container_runs_until_it_is_killed_and_goes_when_deleted(box: Container) -> None:
    stays(box).up()
    assert box.state()["status"] == "running"
    assert box.state()["pid"] == box.pid
    box.until(verb="stay")  # before it has a handler, process 1 hears of no signal
    assert box.kill("TERM").code == 0
    assert box.wait() == 0
    state = box.state()
    assert state["status"] == "stopped"
    assert state.get("pid", 0) == 0
    assert box.delete().code == 0
    assert box.status() == "none"


def test_a_container_stops_when_its_program_ends_by_itself(box: Container) -> None:
    box.config["process"]["args"] = ["/probe", "exit", "7"]
    box.up()
    assert box.wait() in (7, None)
    assert box.status() == "stopped"


@pytest.mark.parametrize("operation", ["state", "start", "kill", "delete"])
def test_a_container_that_does_not_exist_is_an_error(box: Container, operation: str) -> None:
    for words in ([operation, "no-such-container"], [operation]):
        ran = box.op(*words)
        assert ran.code != 0, ran
        assert ran.err.strip()
        assert "Traceback" not in ran.err


def test_create_without_an_id_is_an_error(box: Container) -> None:
    box.write()
    assert box.op("create", "--bundle", str(box.bundle)).code != 0


def test_an_id_that_is_taken_is_refused_and_the_container_keeps_running(yard: Yard, box: Container) -> None:
    stays(box).up()
    before = box.state()
    other = yard.container("other")
    other.write()
    other.id = box.id
    with open(yard.scratch / "out2", "wb") as out:
        ran = other.op("create", "--bundle", str(other.bundle), other.id, stdout=(out, out))
    assert ran.code != 0
    assert box.state() == before
    assert box.status() == "running"


@pytest.mark.parametrize("name", ["../up", "a/b", "", ".", ".."])
def test_an_id_that_could_be_a_path_is_refused(box: Container, name: str) -> None:
    box.id = name
    box.write()
    with open(box.yard.scratch / "out2", "wb") as out:
        ran = box.op("create", "--bundle", str(box.bundle), name, stdout=(out, out))
    assert ran.code != 0
    box.yard.containers.clear()


def test_an_id_may_be_used_again_after_delete(box: Container) -> None:
    for _ in range(2):
        stays(box).up()
        assert box.kill("KILL").code == 0
        assert box.wait() in (-signal.SIGKILL, None)
        assert box.delete().code == 0


def test_start_twice_is_an_error_and_changes_nothing(box: Container) -> None:
    stays(box).up()
    before = box.state()
    assert box.start().code != 0
    assert box.state() == before


def test_start_of_a_stopped_container_is_an_error(box: Container) -> None:
    box.config["process"]["args"] = ["/probe", "exit", "0"]
    box.up()
    box.wait()
    assert box.start().code != 0
    assert box.status() == "stopped"


def test_kill_of_a_stopped_container_is_an_error(box: Container) -> None:
    box.config["process"]["args"] = ["/probe", "exit", "0"]
    box.up()
    box.wait()
    assert box.kill("TERM").code != 0
    assert box.status() == "stopped"


def test_a_created_container_can_be_killed(box: Container) -> None:
    assert stays(box).create().code == 0
    assert box.kill("KILL").code == 0
    assert box.wait() in (-signal.SIGKILL, None)
    assert box.status() == "stopped"
    assert box.delete().code == 0


@pytest.mark.parametrize("word", ["USR1", "SIGUSR1", "10"])
def test_kill_sends_the_signal_that_was_asked_for(box: Container, word: str) -> None:
    stays(box).up()
    box.until(verb="stay")
    assert box.kill(word).code == 0
    box.until(signal=int(signal.SIGUSR1))


@pytest.mark.parametrize("word", ["NOSUCH", "-1", "9999"])
def test_an_unknown_signal_is_an_error(box: Container, word: str) -> None:
    stays(box).up()
    assert box.kill(word).code != 0
    assert box.status() == "running"


def test_delete_of_a_created_container_is_refused(box: Container) -> None:
    assert stays(box).create().code == 0
    assert box.delete().code != 0
    assert box.status() == "created"
    assert box.start().code == 0


def test_delete_of_a_running_container_is_refused(box: Container) -> None:
    stays(box).up()
    assert box.delete().code != 0
    assert box.status() == "running"
    os.kill(box.pid, 0)


def test_delete_by_force_ends_a_running_container(box: Container) -> None:
    stays(box).up()
    assert box.delete("--force").code == 0
    box.wait()
    assert box.status() == "none"
    assert box.delete("--force").code == 0  # as runc and crun have it


def test_changes_of_the_configuration_after_create_do_nothing(box: Container) -> None:
    stays(box)
    box.config["process"]["env"] = ["WHEN=before"]
    box.config["annotations"] = {"when": "before"}
    assert box.create().code == 0
    box.config["process"]["env"] = ["WHEN=after"]
    box.config["process"]["args"] = ["/probe", "exit", "3"]
    box.config["annotations"] = {"when": "after"}
    box.write()
    assert box.state()["annotations"] == {"when": "before"}
    assert box.start().code == 0
    assert box.status() == "running"
    (box.bundle / "config.json").unlink()
    assert box.state()["annotations"] == {"when": "before"}
    box.until(verb="stay")
    assert box.kill("KILL").code == 0
    box.wait()
    assert "WHEN=before" in box.said()[0]["env"]
    assert box.delete().code == 0


def test_delete_takes_back_what_create_made_and_nothing_else(box: Container) -> None:
    kept = box.rootfs / "data/kept"
    kept.write_text("kept")
    stays(box).config["linux"]["cgroupsPath"] = f"/{box.id}/sub"
    found = [at for name in ("memory", "pids", "cpu") if (at := group_of(name, f"/{box.id}"))]
    groups = list(dict.fromkeys(found))  # in version 2 they are one
    box.yard.made += groups
    for group in groups:
        (group / "sibling").mkdir(parents=True)
    box.up()
    for group in groups:
        assert str(box.pid) in Path(group, "sub", "cgroup.procs").read_text().split()
    box.kill("KILL")
    box.wait()
    assert box.delete().code == 0
    assert kept.read_text() == "kept"
    assert (box.bundle / "config.json").exists()
    assert not list((box.yard.scratch / "state").glob(f"*{box.id}*"))
    for group in groups:
        assert not (group / "sub").exists()
        assert (group / "sibling").is_dir()


def test_the_pid_file_holds_the_pid(box: Container, tmp_path: Path) -> None:
    stays(box)
    assert box.create("--pid-file", str(tmp_path / "pid")).code == 0
    assert (tmp_path / "pid").read_text().strip() == str(box.pid)


def test_the_bundle_is_the_working_directory_unless_named(box: Container) -> None:
    stays(box).write()
    with open(box.bundle / "out", "wb") as out:
        ran = box.op("create", box.id, cwd=box.bundle, stdout=(out, out))
    assert ran.code == 0, box.said()
    assert box.state()["bundle"] == str(box.bundle)


def test_a_relative_bundle_becomes_absolute_in_the_state(box: Container) -> None:
    stays(box).write()
    with open(box.bundle / "out", "wb") as out:
        ran = box.op("create", "-b", box.bundle.name, box.id, cwd=box.bundle.parent, stdout=(out, out))
    assert ran.code == 0
    assert box.state()["bundle"] == str(box.bundle)


def test_run_gives_the_programs_code_and_leaves_nothing(box: Container) -> None:
    box.config["process"]["args"] = ["/probe", "exit", "42"]
    assert box.run().code == 42
    assert box.status() == "none"


def test_run_passes_standard_input_and_output_on(box: Container) -> None:
    box.config["process"]["args"] = ["/probe", "read", "/dev/stdin"]
    ran = box.run(stdin=b"said\0by the caller")
    assert ran.code == 0
    assert json.loads(ran.out)["text"] == "said\0by the caller"


def test_list_shows_the_containers(yard: Yard) -> None:
    boxes = [stays(yard.container(name)) for name in ("one", "two")]
    boxes[0].up()
    assert boxes[1].create().code == 0
    ran = boxes[0].op("list", "--format", "json")
    assert ran.code == 0, ran
    found = {one["id"]: one for one in json.loads(ran.out)}
    assert found[boxes[0].id]["status"] == "running"
    assert found[boxes[1].id]["status"] == "created"
    assert found[boxes[0].id]["pid"] == boxes[0].pid
    ran = boxes[0].op("list", "-q")
    assert sorted(ran.out.split()) == sorted(one.id for one in boxes)


def test_a_container_that_cannot_be_created_leaves_nothing(box: Container) -> None:
    box.config["linux"]["cgroupsPath"] = f"/{box.id}"
    box.mount("/data", "bind", "/no/such/source", "bind")
    box.refused()
    for name in ("memory", "pids", "cpu"):
        at = group_of(name, f"/{box.id}")
        assert at is None or not at.exists()
    ran = box.op("list", "-q")
    assert ran.out.split() == []
