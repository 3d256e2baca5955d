"""Hooks: when, where, with what, in which order, and what their failure does."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.conformance.rig import Container, environ

pytestmark = pytest.mark.needs("root", "cc")
BEFORE = ("prestart", "createRuntime", "createContainer")
INSIDE = ("startContainer",)
AFTER = ("poststart", "poststop")
PHASES = (*BEFORE, *INSIDE, *AFTER)


def stays(box: Container) -> Container:
    """Make the container's program one that stays, and leaves a line in the log first."""
    box.mount("/log", "bind", str(box.log), "bind", "rw")
    mark = '{"phase": "program"}\n'
    box.config["process"]["args"] = ["/probe", "append", "/log/hooks", mark, ";", "report", ";", "stay"]
    return box


def phases(box: Container) -> list[str]:
    """Return which phases have run, in order."""
    return [one["phase"] for one in box.hooked()]


def test_hooks_run_in_their_phase_and_order(box: Container) -> None:
    stays(box)
    for phase in PHASES:
        for number in "12":
            box.hook(phase, number, inside=phase in INSIDE)
    assert box.create().code == 0
    said = [(one["phase"], one["argv"][4]) for one in box.hooked()]
    assert said == [(phase, number) for phase in BEFORE for number in "12"]
    assert box.start().code == 0
    box.until(verb="stay")
    seen = phases(box)
    assert seen[:8] == [*[phase for phase in BEFORE for _ in "12"], "startContainer", "startContainer"]
    assert sorted(seen[8:]) == ["poststart", "poststart", "program"]
    box.kill("KILL")
    box.wait()
    assert "poststop" not in phases(box)
    assert box.delete().code == 0
    assert phases(box)[-2:] == ["poststop", "poststop"]
    assert len(phases(box)) == 13


def test_poststart_has_run_when_start_returns(box: Container) -> None:
    stays(box).hook("poststart", "sleep=0")
    box.up()
    assert "poststart" in phases(box)


@pytest.mark.parametrize("phase", PHASES)
def test_a_hook_gets_the_state_on_its_standard_input(box: Container, phase: str) -> None:
    stays(box).config["annotations"] = {"org.example": "told"}
    box.hook(phase, inside=phase in INSIDE)
    box.up()
    box.kill("KILL")
    box.wait()
    assert box.delete().code == 0
    (seen,) = (one for one in box.hooked() if one["phase"] == phase)
    state = json.loads(seen["stdin"])
    assert state["id"] == box.id
    assert state["bundle"] == str(box.bundle)
    assert state["annotations"] == {"org.example": "told"}
    assert state["ociVersion"].startswith("1.")
    wanted = {"startContainer": ("created", "creating"), "poststart": ("running",), "poststop": ("stopped",)}
    assert state["status"] in wanted.get(phase, ("creating", "created"))
    if phase in ("prestart", "createRuntime", "poststart"):
        assert state["pid"] == box.pid


@pytest.mark.parametrize("phase", PHASES)
def test_a_hook_runs_in_the_namespaces_of_its_phase(box: Container, phase: str) -> None:
    stays(box)
    box.hook(phase, f"see={box.bundle}", inside=phase in INSIDE)
    box.up()
    inside = box.until(pid=1)["ns"]
    box.kill("KILL")
    box.wait()
    assert box.delete().code == 0
    (seen,) = (one for one in box.hooked() if one["phase"] == phase)
    runtime = phase not in ("createContainer", "startContainer")
    for kind in ("mnt", "net", "uts", "ipc"):
        assert (seen["ns"][kind] != inside[kind]) == runtime, kind
    if phase == "startContainer":
        assert seen["sees"] == 0  # after pivot_root: the host's tree is gone
        assert seen["ns"]["pid"] == inside["pid"]
    elif phase != "createContainer":
        assert seen["sees"] == 1


@pytest.mark.parametrize("phase", ["prestart", "createRuntime", "poststart"])
def test_a_hook_outside_runs_in_the_bundle(box: Container, phase: str) -> None:
    stays(box).hook(phase)
    box.up()
    (seen,) = (one for one in box.hooked() if one["phase"] == phase)
    assert seen["cwd"] == str(box.bundle)


def test_a_create_container_hook_runs_before_the_root_is_changed(box: Container) -> None:
    box.hook("createContainer", f"see={box.bundle}")
    stays(box).up()
    (seen,) = (one for one in box.hooked() if one["phase"] == "createContainer")
    assert seen["sees"] == 1


def test_a_prestart_hook_can_still_reach_the_containers_namespaces(box: Container) -> None:
    script = 'pid=$(sed -n "s/.*\\"pid\\" *: *\\([0-9]*\\).*/\\1/p"); readlink /proc/$pid/ns/net'
    for phase in ("prestart", "createRuntime"):
        hook = {"path": "/bin/sh", "args": ["sh", "-c", f"{{ {script}; }} > {box.log}/{phase}"],
                "env": ["PATH=/usr/bin:/bin"]}  # fmt: skip
        box.config.setdefault("hooks", {})[phase] = [hook]
    stays(box).up()
    inside = box.until(pid=1)["ns"]["net"]
    for phase in ("prestart", "createRuntime"):
        assert (box.log / phase).read_text().strip() == inside


def test_a_mount_made_by_a_create_container_hook_is_seen_inside(box: Container) -> None:
    (box.log / "given").write_text("by the hook")
    hook = {"path": "/bin/mount", "args": ["mount", "--bind", str(box.log), str(box.rootfs / "data")]}
    box.config["hooks"] = {"createContainer": [hook]}
    assert box.probe("read", "/data/given")[0]["text"] == "by the hook"
    assert list((box.rootfs / "data").iterdir()) == []


@pytest.mark.parametrize("phase", PHASES)
def test_a_hook_gets_exactly_its_arguments_and_environment(box: Container, phase: str) -> None:
    stays(box).hook(phase, "spare one", "*", inside=phase in INSIDE, env=["ONE=1", "TWO=two words"])
    box.up()
    box.kill("KILL")
    box.wait()
    assert box.delete().code == 0
    (seen,) = (one for one in box.hooked() if one["phase"] == phase)
    assert seen["argv"][0] == "probe"
    assert seen["argv"][4:] == ["spare one", "*"]
    assert seen["env"] == ["ONE=1", "TWO=two words"]


@pytest.mark.parametrize("phase", ["prestart", "createRuntime", "poststop"])
def test_a_hook_without_environment_gets_none_of_the_callers_secrets(box: Container, phase: str) -> None:
    stays(box).hook(phase, env=[])
    assert box.create(env={**environ(), "SECRET": "s"}).code == 0
    box.kill("KILL")
    box.wait()
    box.delete()
    (seen,) = (one for one in box.hooked() if one["phase"] == phase)
    assert not any(word.startswith("SECRET=") for word in seen["env"])


@pytest.mark.parametrize("phase", PHASES)
def test_a_hook_has_no_stray_descriptors(box: Container, phase: str) -> None:
    stays(box).hook(phase, inside=phase in INSIDE)
    box.up()
    box.kill("KILL")
    box.wait()
    assert box.delete().code == 0
    (seen,) = (one for one in box.hooked() if one["phase"] == phase)
    assert set(seen["fds"]) <= {"0", "1", "2"}


@pytest.mark.parametrize("phase", BEFORE)
def test_a_failing_hook_before_the_start_stops_the_container(box: Container, phase: str) -> None:
    stays(box)
    box.hook(phase, "exit=3")
    box.hook(phase, "second")
    box.hook("poststop")
    ran = box.create()
    assert ran.code != 0
    assert ran.err.strip()
    assert box.status() in ("none", "stopped")
    assert "program" not in phases(box)
    assert [one["argv"][4:] for one in box.hooked() if one["phase"] == phase] == [["exit=3"]]


@pytest.mark.parametrize("phase", ["prestart", "createRuntime"])
def test_poststop_hooks_run_after_a_failing_hook(box: Container, phase: str) -> None:
    box.hook(phase, "exit=3")
    box.hook("poststop")
    assert box.create().code != 0
    box.delete("--force")
    assert phases(box) == [phase, "poststop"]


def test_a_failing_start_container_hook_stops_the_container(box: Container) -> None:
    stays(box)
    box.hook("startContainer", "exit=3", inside=True)
    box.hook("poststart")
    assert box.create().code == 0
    assert box.start().code != 0
    box.wait()
    assert box.status() in ("none", "stopped")
    assert "program" not in phases(box)
    assert "poststart" not in phases(box)


def test_a_failing_poststart_hook_is_only_a_warning(box: Container) -> None:
    stays(box)
    box.hook("poststart", "exit=3")
    box.hook("poststart", "second")
    assert box.create().code == 0
    ran = box.start()
    assert ran.code == 0, ran
    assert ran.err.strip()
    assert box.status() == "running"
    assert [one["argv"][4:] for one in box.hooked() if one["phase"] == "poststart"] == [
        ["exit=3"],
        ["second"],
    ]


def test_a_failing_poststop_hook_is_only_a_warning(box: Container) -> None:
    stays(box)
    box.hook("poststop", "exit=3")
    box.hook("poststop", "second")
    box.up()
    box.kill("KILL")
    box.wait()
    ran = box.delete()
    assert ran.code == 0, ran
    assert box.status() == "none"
    assert phases(box)[-2:] == ["poststop", "poststop"]


@pytest.mark.parametrize("phase", PHASES)
def test_a_hook_that_does_not_read_its_input_harms_nothing(box: Container, phase: str) -> None:
    stays(box).config["annotations"] = {
        f"key{number}": "x" * 1000 for number in range(200)
    }  # more than a pipe holds
    box.hook(phase, "silent", inside=phase in INSIDE)
    box.up()
    assert box.status() == "running"
    box.kill("KILL")
    box.wait()
    assert box.delete().code == 0
    assert phase in phases(box)


@pytest.mark.parametrize("phase", ["prestart", "createRuntime", "createContainer"])
def test_a_hook_that_takes_too_long_is_killed_and_fails(box: Container, phase: str) -> None:
    stays(box).hook(phase, "sleep=1000", timeout=1)  # who waits for its end has waited too long (Yard.call)
    assert box.create().code != 0
    assert "program" not in phases(box)


def test_a_slow_poststop_hook_does_not_keep_the_container(box: Container) -> None:
    stays(box).hook("poststop", "sleep=1000", timeout=1)
    box.up()
    box.kill("KILL")
    box.wait()
    assert box.delete().code == 0
    assert box.status() == "none"


@pytest.mark.parametrize("hook", [
    {"path": "/no/such/hook"}, {"path": "/etc/passwd"}, {"path": "/"},
], ids=["missing", "not-executable", "directory"])  # fmt: skip
def test_a_hook_that_cannot_be_executed_fails(box: Container, hook: dict[str, Any]) -> None:
    box.config["hooks"] = {"createRuntime": [hook]}
    ran = box.create()
    assert ran.code != 0
    assert "Traceback" not in ran.err


@pytest.mark.parametrize("timeout", [0, -1])
def test_a_hooks_timeout_must_be_positive(box: Container, timeout: int) -> None:
    box.hook("poststop", timeout=timeout)
    box.refused()


def test_a_hook_without_arguments_gets_none(box: Container) -> None:
    script = box.log / "script"
    script.write_text(f"#!/bin/sh\ntr '\\0' ' ' < /proc/$$/cmdline > {box.log}/cmdline\n")
    script.chmod(0o755)
    box.config["hooks"] = {"createRuntime": [{"path": str(script)}]}
    assert box.probe("spare") == []
    assert (box.log / "cmdline").read_text().split()[-1] == str(script)
