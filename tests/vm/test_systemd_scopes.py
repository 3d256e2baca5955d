"""Scopes of containers: names, limits that stay, annotations, creates that are killed, a systemd that is silent."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Program, Ran
from tests.vm.systemd import MIB, comes, shown
from tests.vm.test_systemd import Launcher, Scoped, launch, oci

__all__ = ["launch", "oci"]  # fixtures
pytestmark = [pytest.mark.needs("systemd"), pytest.mark.needs("cgroup-v2"), pytest.mark.needs("root")]
FILES = (
    "memory.max", "memory.swap.max", "memory.high", "memory.low", "memory.min", "cpu.max", "cpu.max.burst",
    "cpu.weight", "cpu.idle", "pids.max",
)  # fmt: skip
PROPERTY = "org.systemd.property."


def changed(box: Scoped, **linux: Any) -> None:
    """Change the section 'linux' of a container's configuration."""
    path = box.bundle / "config.json"
    given = json.loads(path.read_text())
    given["linux"].update(linux)
    path.write_text(json.dumps(given))


def annotated(box: Scoped, **properties: str) -> None:
    """Ask for properties of a container's scope."""
    path = box.bundle / "config.json"
    given = json.loads(path.read_text())
    given["annotations"] = {PROPERTY + name: value for name, value in properties.items()}
    path.write_text(json.dumps(given))


def create(box: Scoped) -> Ran:
    """Create a container; what it complains goes to a file, as its first process would hold a pipe."""
    argv = [*box.program.argv, "--root", str(box.state), "--systemd-cgroup", "create"]
    argv += ["--bundle", str(box.bundle), box.name]
    errors = box.bundle / "errors"
    with errors.open("wb") as file:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=box.program.environ, check=False
        )
    return Ran(argv, subprocess.CompletedProcess(argv, done.returncode, b"", errors.read_bytes()))


def test_every_limit_stays_when_it_is_changed_and_systemd_reloads(oci: Program, tmp_path: Path) -> None:
    limits = {
        "memory": {"limit": 64 * MIB, "swap": 96 * MIB, "reservation": 32 * MIB},
        "cpu": {"shares": 512, "quota": 20000, "period": 50000, "burst": 1000},
        "pids": {"limit": 20},
        "unified": {"memory.high": str(60 * MIB), "memory.min": str(4 * MIB)},
    }
    box = Scoped(oci, tmp_path, limits, "sleep", "600")
    box.up()
    wanted = {
        "memory.max": str(64 * MIB), "memory.swap.max": str(32 * MIB), "memory.low": str(32 * MIB),
        "memory.high": str(60 * MIB), "memory.min": str(4 * MIB), "cpu.max": "20000 50000",
        "cpu.max.burst": "1000", "cpu.weight": "59", "cpu.idle": "0", "pids.max": "20",
    }  # fmt: skip
    changes: tuple[tuple[str, dict[str, str]], ...] = (
        ("", {}),
        (f"--memory-swap {100 * MIB}", {"memory.swap.max": str(36 * MIB)}),
        (f"--memory {50 * MIB}", {"memory.max": str(50 * MIB)}),
        ("--cpu-quota 30000", {"cpu.max": "30000 50000"}),
        ("--cpu-period 100000", {"cpu.max": "30000 100000"}),
        ("--cpu-idle 1", {"cpu.idle": "1", "cpu.weight": "0"}),
        ("--pids-limit 30", {"pids.max": "30"}),
    )
    for options, difference in changes:
        if options:
            ran = box("update", *options.split(), box.name)
            assert ran.code == 0, ran
        wanted |= difference
        assert {name: box.said(name) for name in FILES} == wanted, options
        subprocess.run(["systemctl", "daemon-reload"], check=True)
        assert {name: box.said(name) for name in FILES} == wanted, options
    subprocess.run(["systemctl", "daemon-reexec"], check=True)
    assert {name: box.said(name) for name in FILES} == wanted
    assert box("update", "--cpu-quota", "1500", box.name).code == 0
    assert box.said("cpu.max") == "1500 100000"
    subprocess.run(["systemctl", "daemon-reload"], check=True)
    assert box.said("cpu.max") == "2000 100000"  # systemd keeps whole percents
    assert box("delete", "--force", box.name).code == 0


def test_a_container_may_have_one_task_alone(oci: Program, tmp_path: Path) -> None:
    box = Scoped(oci, tmp_path, {"pids": {"limit": 1}}, "sleep", "600")
    box.up()
    assert box.said("pids.max") == "1"
    assert box.said("cgroup.procs").split() == [str(json.loads(box("state", box.name).out)["pid"])]
    assert box("delete", "--force", box.name).code == 0


@pytest.mark.parametrize(
    ("path", "group"),
    [
        (
            "system.slice::memory",
            "system.slice/_memory.scope",
        ),  # names that the kernel could take for its files
        ("system.slice::_x", "system.slice/__x.scope"),
        ("-.slice:redpak:top", "redpak-top.scope"),  # a word that begins as an option does
        (":redpak-test:x.service", "system.slice/redpak-test-x.service.scope"),
        ("redpaktest-b.slice:p:n", "redpaktest.slice/redpaktest-b.slice/p-n.scope"),
        ("alone", "system.slice/redpak-alone.scope"),
    ],
)
def test_a_scope_may_have_any_name_that_systemd_takes(
    oci: Program, tmp_path: Path, path: str, group: str
) -> None:
    box = Scoped(oci, tmp_path, {"pids": {"limit": 9}}, "sleep", "600")
    changed(box, cgroupsPath=path)
    box.up()
    pid = json.loads(box("state", box.name).out)["pid"]
    assert Path(f"/proc/{pid}/cgroup").read_text().strip() == f"0::/{group}"
    assert box("delete", "--force", box.name).code == 0
    assert not Path("/sys/fs/cgroup", group).exists()


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("a:b", "does not name a scope"),
        ("/elsewhere/box", "does not name a scope"),
        ("system.slice:p:a b", "takes no ' '"),
        ("system.slice:p:a@b", "takes no '@'"),
        ("system.slice:p:" + "n" * 300, "too long"),
        ("system.slice:p:x.slice", "is a slice"),
        ("system:p:n", "does not name a slice"),
        ("a--b.slice:p:n", "does not name a slice"),
    ],
)
def test_a_name_that_systemd_does_not_take_is_one_message_and_nothing_is_left(
    oci: Program, tmp_path: Path, path: str, words: str
) -> None:
    box = Scoped(oci, tmp_path, {}, "sleep", "600")
    changed(box, cgroupsPath=path)
    ran = create(box)
    assert ran.code == 1, ran
    assert words in ran.err
    assert ran.err.count("redpak-oci:") == 1
    assert "Traceback" not in ran.err
    assert box("state", box.name).code != 0


def test_a_scope_that_another_container_has_is_refused_and_stays_as_it_is(
    oci: Program, tmp_path: Path
) -> None:
    box = Scoped(oci, tmp_path, {"pids": {"limit": 9}}, "sleep", "600")
    box.up()
    first, box.name = box.name, f"{box.name}-second"
    ran = create(box)
    assert ran.code == 1, ran
    assert f"there is a scope '{box.unit}' already" in ran.err
    assert box("state", box.name).code != 0
    box.name = first
    assert json.loads(box("state", box.name).out)["status"] == "running"
    assert box("delete", "--force", box.name).code == 0


def test_annotations_are_properties_of_the_scope(oci: Program, tmp_path: Path) -> None:
    box = Scoped(oci, tmp_path, {}, "sleep", "600")
    annotated(box, TimeoutStopSec="uint64 90", SendSIGHUP="true", Documentation="['https://example.net/x']")
    box.up()
    told = shown(box.unit, "TimeoutStopUSec", "SendSIGHUP", "Documentation", "Delegate")
    assert told == {
        "TimeoutStopUSec": "1min 30s", "SendSIGHUP": "yes", "Documentation": "https://example.net/x", "Delegate": "yes",
    }  # fmt: skip
    assert box("delete", "--force", box.name).code == 0


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("TimeoutStopUSec", "soon", "has a value that"),
        ("No_Name", "5", "names no property"),
        ("Delegate", "false", "ours to set"),
        ("NeverHeardOf", "'x'", "NeverHeardOf"),  # systemd's words
    ],
)
def test_an_annotation_that_cannot_be_followed_is_refused(
    oci: Program, tmp_path: Path, name: str, value: str, words: str
) -> None:
    box = Scoped(oci, tmp_path, {}, "sleep", "600")
    annotated(box, **{name: value})
    ran = create(box)
    assert ran.code == 1, ran
    assert words in ran.err
    assert not box.group.exists()


def test_the_name_of_a_create_that_was_killed_is_free_after_delete(oci: Program, tmp_path: Path) -> None:
    """Killed as soon as systemd has the scope: the container's record does not name it yet, or just does."""
    box = Scoped(oci, tmp_path, {"pids": {"limit": 9}}, "sleep", "600")
    argv = [*oci.argv, "--root", str(box.state), "--systemd-cgroup", "create"]
    for _ in range(3):
        with subprocess.Popen(
            [*argv, "--bundle", str(box.bundle), box.name], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, env=oci.environ,
        ) as child:  # fmt: skip
            assert comes(box.group.exists)
            child.kill()
        ran = box("delete", "--force", box.name)
        assert ran.code == 0, ran
        assert shown(box.unit, "LoadState") == {"LoadState": "not-found"}
        box.up()
        ran = box("delete", "--force", box.name)
        assert ran.code == 0, ran


def test_delete_works_when_systemd_does_not_answer(oci: Program, tmp_path: Path) -> None:
    box = Scoped(oci, tmp_path, {"pids": {"limit": 9}}, "sleep", "600")
    box.up()
    hidden = 'mount -t tmpfs none /run/dbus && mount --bind /dev/null /run/systemd/private && exec "$@"'
    words = ["unshare", "--mount", "--propagation=private", "sh", "-c", hidden, "sh", *oci.argv]
    words += ["--root", str(box.state), "--systemd-cgroup"]
    for command in (["update", "--pids-limit", "7", box.name], ["delete", "--force", box.name]):
        done = subprocess.run(
            [*words, *command], stdin=subprocess.DEVNULL, capture_output=True, env=oci.environ, check=False
        )
        failed = b"does not SetUnitProperties" in done.stderr
        assert (done.returncode, failed) == ((1, True) if command[0] == "update" else (0, False)), done
    assert not box.group.exists()
    assert box("state", box.name).code != 0
    box.up()  # although systemd may have missed that the first one ended
    assert box.said("pids.max") == "9"
    ran = box("delete", "--force", box.name)
    assert ran.code == 0, ran
    assert shown(box.unit, "LoadState") == {"LoadState": "not-found"}


def test_a_node_may_have_any_name(launch: Launcher) -> None:
    launch.node = launch.at / "a node@"
    launch.configured("cgroups: {pids: {max: 40}},")
    ran = launch("run", str(launch.node), "--", "true")
    assert ran.code == 0, ran
