"""systemd arranges the groups: containers in scopes of its manager, and nodes whose limits root's or the user's keeps.

A test begins outside of what systemd has delegated, as a login does: in a scope without Delegate=.
"""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.rig import config
from tests.conftest import REPOSITORY, Program, Ran
from tests.host.life_site import configure, gone
from tests.patience import PATIENCE_S
from tests.vm.systemd import MIB, TOP, comes, group_of, shown, vanishes

pytestmark = [pytest.mark.needs("systemd"), pytest.mark.needs("cgroup-v2")]
BUSYBOX = "/usr/bin/busybox"
LIMITS = "cgroups: {mem: {max: 96M, swap_max: 0}, pids: {max: 40}},"


class Scoped:
    """A container in the scope "system.slice:redpak-test:NAME"."""

    def __init__(self, program: Program, at: Path, resources: dict[str, Any], *command: str) -> None:
        self.name = f"c{os.getpid()}-{os.urandom(3).hex()}"
        self.unit = f"redpak-test-{self.name}.scope"
        self.group = TOP / "system.slice" / self.unit
        self.program = program
        self.bundle = at / "bundle"
        self.state = at / "state"
        for name in ("bin", "proc", "dev", "sys"):
            (self.bundle / "rootfs" / name).mkdir(parents=True)
        shutil.copy(BUSYBOX, self.bundle / "rootfs/bin/busybox")
        (self.bundle / "rootfs/bin/sh").symlink_to("busybox")
        made = config()
        made["process"]["args"] = ["/bin/busybox", *command]
        made["process"]["env"] = ["PATH=/bin"]
        made["linux"]["cgroupsPath"] = f"system.slice:redpak-test:{self.name}"
        made["linux"]["resources"] = resources
        (self.bundle / "config.json").write_text(json.dumps(made))

    def __call__(self, *words: str) -> Ran:
        return self.program("--root", str(self.state), "--systemd-cgroup", *words)

    def up(self) -> None:
        """Start it in the background: it must not hold our pipes."""
        argv = [*self.program.argv, "--root", str(self.state), "--systemd-cgroup", "run", "--detach"]
        argv += ["--bundle", str(self.bundle), self.name]
        errors = self.bundle / "errors"
        with errors.open("wb") as file:
            code = subprocess.run(
                argv, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=self.program.environ, timeout=PATIENCE_S,
                check=False,
            ).returncode  # fmt: skip
        assert code == 0, errors.read_text()

    def said(self, name: str) -> str:
        """Return what a file of the scope's group says."""
        return (self.group / name).read_text().strip()


@pytest.fixture
def oci(environment: dict[str, str], tmp_path: Path) -> Program:
    return Program("redpak-oci", environment, tmp_path)


@pytest.mark.needs("root")
def test_a_containers_scope_keeps_its_limits_when_systemd_reloads_and_is_gone_after_delete(
    oci: Program, tmp_path: Path
) -> None:
    limits = {"memory": {"limit": 64 * MIB}, "pids": {"limit": 17}, "cpu": {"quota": 50000, "period": 100000}}
    box = Scoped(oci, tmp_path, limits, "sleep", "600")
    box.up()
    assert str(json.loads(box("state", box.name).out)["pid"]) in box.said("cgroup.procs").split()
    told = shown(box.unit, "Slice", "Delegate", "MemoryMax", "TasksMax", "CPUQuotaPerSecUSec", "ActiveState")
    assert told == {
        "Slice": "system.slice", "Delegate": "yes", "MemoryMax": str(64 * MIB), "TasksMax": "17",
        "CPUQuotaPerSecUSec": "500ms", "ActiveState": "active",
    }  # fmt: skip
    subprocess.run(["systemctl", "daemon-reload"], check=True)
    assert (box.said("memory.max"), box.said("pids.max")) == (str(64 * MIB), "17")
    assert box.said("cpu.max") == "50000 100000"
    ran = box("update", "--memory", str(80 * MIB), "--pids-limit", "21", box.name)
    assert ran.code == 0, ran
    subprocess.run(["systemctl", "daemon-reload"], check=True)
    assert (box.said("memory.max"), box.said("pids.max")) == (str(80 * MIB), "21")
    assert shown(box.unit, "MemoryMax", "TasksMax") == {"MemoryMax": str(80 * MIB), "TasksMax": "21"}
    ran = box("delete", "--force", box.name)
    assert ran.code == 0, ran
    assert vanishes(box.group)
    assert shown(box.unit, "ActiveState") == {"ActiveState": "inactive"}
    assert box("state", box.name).code != 0


@pytest.mark.needs("root")
def test_a_scope_lives_from_create_to_delete(oci: Program, tmp_path: Path) -> None:
    box = Scoped(oci, tmp_path, {"pids": {"limit": 9}}, "sleep", "600")
    with (box.bundle / "errors").open("wb") as file:  # it must not hold our pipes
        argv = [
            *oci.argv,
            "--root",
            str(box.state),
            "--systemd-cgroup",
            "create",
            "--bundle",
            str(box.bundle),
            box.name,
        ]
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=oci.environ, check=False
        )
    assert done.returncode == 0, (box.bundle / "errors").read_text()
    state = json.loads(box("state", box.name).out)
    assert state["status"] == "created"
    assert box.said("cgroup.procs").split() == [str(state["pid"])]
    assert shown(box.unit, "ActiveState", "TasksMax") == {"ActiveState": "active", "TasksMax": "9"}
    ran = box("start", box.name)
    assert ran.code == 0, ran
    assert json.loads(box("state", box.name).out)["status"] == "running"
    ran = box("kill", box.name, "KILL")
    assert ran.code == 0, ran
    assert comes(lambda: json.loads(box("state", box.name).out)["status"] == "stopped")
    ran = box("delete", box.name)
    assert ran.code == 0, ran
    assert vanishes(box.group)
    assert shown(box.unit, "LoadState") == {"LoadState": "not-found"}


@pytest.mark.needs("root")
def test_a_name_is_free_again_as_soon_as_its_container_is_deleted(oci: Program, tmp_path: Path) -> None:
    box = Scoped(oci, tmp_path, {"pids": {"limit": 9}}, "sleep", "600")
    for _ in range(4):
        box.up()
        ran = box("delete", "--force", box.name)
        assert ran.code == 0, ran
        assert not box.group.exists()
        assert shown(box.unit, "LoadState") == {"LoadState": "not-found"}


@pytest.mark.needs("root")
def test_the_memory_of_a_scope_is_all_that_a_container_gets(oci: Program, tmp_path: Path) -> None:
    limits = {"memory": {"limit": 24 * MIB, "swap": 24 * MIB}}
    box = Scoped(oci, tmp_path, limits, "dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1")
    ran = box("run", "--bundle", str(box.bundle), box.name)
    assert ran.code == 137, ran
    assert vanishes(box.group)


@pytest.mark.needs("root")
def test_the_tasks_of_a_scope_are_all_that_a_container_gets(oci: Program, tmp_path: Path) -> None:
    script = "for i in 1 2 3 4 5 6 7 8; do /bin/busybox sleep 60 & done; wait"
    box = Scoped(oci, tmp_path, {"pids": {"limit": 5}}, "sh", "-c", script)
    ran = box("run", "--bundle", str(box.bundle), box.name)
    assert "can't fork" in ran.err, ran
    assert vanishes(box.group)


@pytest.mark.needs("root")
def test_a_container_in_a_scope_is_paused_resumed_entered_and_counted(oci: Program, tmp_path: Path) -> None:
    box = Scoped(oci, tmp_path, {"pids": {"limit": 30}}, "sleep", "600")
    box.up()
    assert box("pause", box.name).code == 0
    assert "frozen 1" in box.said("cgroup.events")
    assert json.loads(box("state", box.name).out)["status"] == "paused"
    assert box("resume", box.name).code == 0
    assert "frozen 0" in box.said("cgroup.events")
    ran = box("exec", box.name, "/bin/busybox", "cat", "/proc/self/cgroup")
    assert ran.code == 0, ran
    counted = json.loads(box("events", "--stats", box.name).out)
    assert counted["data"]["pids"]["limit"] == 30
    assert box("delete", "--force", box.name).code == 0
    assert vanishes(box.group)


class Launcher:
    """redpak as root or an ordinary user starts it from a login: in a group that systemd did not delegate."""

    def __init__(self, at: Path, user: str) -> None:
        self.at = at
        self.node = at / "node"
        number = pwd.getpwnam(user).pw_uid
        self.environ = {
            "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
            "HOME": str(at / "home"),
            "TMPDIR": str(at),
            "REDPAK_RUNTIME_DIR": str(at / "run"),
            "XDG_CACHE_HOME": str(at / "home/cache"),
            "PYTHONPATH": str(REPOSITORY),
        }
        self.become: list[str] = []
        if user != "root":
            self.environ |= {"USER": user, "XDG_RUNTIME_DIR": f"/run/user/{number}"}
            self.become = [
                "setpriv",
                f"--reuid={user}",
                f"--regid={user}",
                "--init-groups",
                "--inh-caps=-all",
                "--",
            ]
        (at / "home").mkdir()
        self.owner = number

    def configured(self, settings: str) -> None:
        """Write the node's configuration, and give everything to the user."""
        configure(self.node, settings)
        for folder, _, files in os.walk(self.at):
            for name in (".", *files):
                os.chown(Path(folder, name), self.owner, -1)

    def __call__(self, *words: str) -> Ran:
        scope = ["systemd-run", "--quiet", "--scope", "--collect", "--property=Delegate=no", "--"]
        argv = [*scope, *self.become, sys.executable, str(REPOSITORY / "scripts/redpak"), *words]
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, env=self.environ, timeout=PATIENCE_S, cwd="/",
            check=False,
        )  # fmt: skip
        return Ran(argv, done)

    def told(self, *words: str) -> Any:
        """Return what a command says with --json."""
        ran = self(*words, "--json")
        assert ran.code == 0, ran
        return json.loads(ran.out)


@pytest.fixture(params=["root", "redpak-test"])
def launch(request: pytest.FixtureRequest) -> Iterator[Launcher]:
    """Return redpak started by root, and by an ordinary user whose manager lingers."""
    user = request.param
    if user != "root":
        subprocess.run(["loginctl", "enable-linger", user], check=True)
        subprocess.run(["systemctl", "start", f"user@{pwd.getpwnam(user).pw_uid}.service"], check=True)
    with tempfile.TemporaryDirectory(prefix="redpak-", dir="/tmp") as at:
        os.chmod(at, 0o755)
        launcher = Launcher(Path(at), user)
        yield launcher
        for one in launcher.told("ps"):
            launcher("stop", "-t", "0", one["id"])


@pytest.mark.needs("root")
def test_a_nodes_limits_are_in_a_scope_of_the_callers_manager(launch: Launcher) -> None:
    launch.configured(LIMITS)
    ran = launch("run", "-d", "--name", "web", str(launch.node), "--", "sleep", "600")
    assert ran.code == 0, ran
    (one,) = launch.told("ps")
    leaf = group_of(one["pid"])
    node = leaf.parent
    scope = next(at for at in leaf.parents if at.name.endswith(".scope"))
    whose = "user.slice" if launch.become else "system.slice"
    assert scope.relative_to(TOP).parts[0] == whose
    assert scope.name.startswith("redpak:")
    assert (node / "memory.max").read_text().strip() == str(96 * MIB)
    assert (node / "pids.max").read_text().strip() == "40"
    subprocess.run(["systemctl", "daemon-reload"], check=True)
    assert (node / "memory.max").read_text().strip() == str(96 * MIB)
    assert launch("pause", "web").code == 0
    assert "frozen 1" in (leaf / "cgroup.events").read_text() + (node / "cgroup.events").read_text()
    assert launch("resume", "web").code == 0
    (stats,) = launch.told("stats", "--no-stream", "web")
    assert stats["memory_limit_bytes"] == 96 * MIB, stats
    script = "for i in $(seq 60); do sleep 60 >/dev/null 2>&1 & done; wait"
    ran = launch("exec", "web", "--", "sh", "-c", script)
    assert "fork" in ran.err, ran
    assert launch("stop", "-t", "0", "web").code == 0
    assert gone(one["pid"])
    assert vanishes(scope)


@pytest.mark.needs("root")
def test_launches_of_a_node_come_into_one_scope_and_share_its_limits(launch: Launcher) -> None:
    launch.configured(LIMITS)
    for name in ("web", "db"):
        ran = launch("run", "-d", "--name", name, str(launch.node), "--", "sleep", "600")
        assert ran.code == 0, ran
    pids = [one["pid"] for one in launch.told("ps")]
    leaves = [group_of(pid) for pid in pids]
    assert len({*leaves}) == 2, leaves
    (node,) = {leaf.parent for leaf in leaves}
    assert (node / "memory.max").read_text().strip() == str(96 * MIB)
    assert launch("stop", "-t", "0", "web").code == 0
    assert launch("stop", "-t", "0", "db").code == 0
    assert vanishes(node)


@pytest.mark.needs("root")
def test_memory_beyond_a_nodes_limit_kills_and_names_the_line(launch: Launcher) -> None:
    launch.configured(LIMITS)
    hog = "dd if=/dev/zero of=/dev/null bs=150M count=1"
    ran = launch("run", str(launch.node), "--", "sh", "-c", hog)
    assert ran.code == 137, ran
    assert "limit 96M" in ran.err
    assert "redpak.yaml:" in ran.err


@pytest.mark.needs("user", "cgroup-v2:memory")
def test_in_a_unit_that_was_delegated_the_groups_are_made_without_asking(redpak: Program, pool: Path) -> None:
    configure(pool / "node", LIMITS)
    ran = redpak("run", "-d", str(pool / "node"), "--", "sleep", "600")
    assert ran.code == 0, ran
    (one,) = json.loads(redpak("ps", "--json").out)
    node = group_of(one["pid"]).parent
    assert (node / "memory.max").read_text().strip() == str(96 * MIB)
    assert (node / "pids.max").read_text().strip() == "40"
    assert redpak("pause", one["id"]).code == 0
    assert redpak("resume", one["id"]).code == 0
    assert json.loads(redpak("stats", "--no-stream", "--json", one["id"]).out)
    assert redpak("stop", "-t", "0", one["id"]).code == 0
    assert gone(one["pid"])
    assert vanishes(node)


@pytest.mark.needs("user")
def test_a_controller_that_the_user_was_not_given_is_refused_with_the_reason(
    redpak: Program, pool: Path
) -> None:
    """Debian's user@.service delegates pids, memory and cpu."""
    configure(pool / "node", 'cgroups: {io: {max: "8:0 wbps=1048576"}},')
    ran = redpak("run", str(pool / "node"), "--", "true")
    assert ran.code == 3, ran
    assert "io" in ran.err
    assert "redpak.yaml:" in ran.err
    assert "Delegate" in ran.err, ran
