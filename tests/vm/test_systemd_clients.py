"""podman and containerd leave the groups of their containers to systemd: --cgroup-manager=systemd, SystemdCgroup."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients import image
from tests.clients.test_containerd import CONFIGURATION as CONTAINERD
from tests.clients.world import PATH, runtime
from tests.conftest import Ran
from tests.patience import PATIENCE_S
from tests.vm.systemd import MIB, comes, group_of, shown, vanishes

pytestmark = [pytest.mark.needs("vm", "root"), pytest.mark.needs("systemd", "cgroup-v2")]
CONFIGURATION = """
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
log_driver = "k8s-file"
[engine]
events_logger = "file"
runtime_supports_json = ["{path}"]
"""


@pytest.fixture
def place() -> Iterator[Path]:
    """Return a directory with an image; podman refuses long paths."""
    at = Path(tempfile.mkdtemp(prefix="sc-", dir="/var/tmp"))
    at.chmod(0o755)
    image.write(at / "image.tar")
    (at / "containers.conf").write_text(CONFIGURATION.format(path=runtime()))
    yield at
    shutil.rmtree(at, ignore_errors=True)  # the guest's memory; a tree may be another user's


def caller(at: Path, user: str) -> tuple[list[str], dict[str, str]]:
    """Return the words that make the next ones a user's, outside of what systemd has delegated, and the environment."""
    one = pwd.getpwnam(user)
    environ = {
        "PATH": PATH,
        "LANG": "C.UTF-8",
        "HOME": str(at / "home"),
        "CONTAINERS_CONF": f"{at}/containers.conf",
    }
    (at / "home").mkdir()
    (at / "own").mkdir()
    if user == "root":
        return [], environ
    for folder in ("home", "own"):
        os.chown(at / folder, one.pw_uid, one.pw_gid)
    subprocess.run(["loginctl", "enable-linger", user], check=True)
    subprocess.run(["systemctl", "start", f"user@{one.pw_uid}.service"], check=True)
    bus = f"/run/user/{one.pw_uid}"
    environ |= {"USER": user, "XDG_RUNTIME_DIR": bus, "DBUS_SESSION_BUS_ADDRESS": f"unix:path={bus}/bus"}
    become = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", "--inh-caps=-all", "--"]
    return ["systemd-run", "--quiet", "--scope", "--collect", "--", *become], environ


@pytest.mark.needs("podman")
@pytest.mark.parametrize("user", ["root", "redpak-test-subids"])
def test_podmans_containers_are_in_scopes_with_their_limits(place: Path, user: str) -> None:
    words, environ = caller(place, user)
    words += ["podman", f"--root={place}/own/s", f"--runroot={place}/own/r", f"--runtime={runtime()}"]
    words += ["--cgroup-manager=systemd", f"--tmpdir={place}/own/t"]

    def podman(*more: str) -> str:
        argv = [*words, *more]
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=environ,
            timeout=PATIENCE_S,
            check=False,
            cwd="/",
        )
        ran = Ran(argv, done)
        assert ran.code == 0, ran
        return ran.out.strip()

    podman("load", "--input", f"{place}/image.tar")
    limits = ("--memory=64m", "--pids-limit=30", "--cpus=0.5")
    number = podman("run", "--detach", "--name=c1", "--network=none", *limits, image.NAME, "sleep", "600")
    group = group_of(int(podman("inspect", "--format={{.State.Pid}}", "c1")))
    scope = next(at for at in (group, *group.parents) if at.name.endswith(".scope"))
    assert scope.name == f"libpod-{number}.scope"
    assert [(group / name).read_text().strip() for name in ("memory.max", "pids.max", "cpu.max")] == [
        str(64 * MIB), "30", "50000 100000",
    ]  # fmt: skip
    if user == "root":
        assert scope.parent.name == "machine.slice"
        subprocess.run(["systemctl", "daemon-reload"], check=True)
        assert shown(scope.name, "MemoryMax", "TasksMax") == {"MemoryMax": str(64 * MIB), "TasksMax": "30"}
    assert podman("exec", "c1", "cat", "/proc/self/cgroup").startswith("0::/")
    assert "/ 67.11MB" in podman("stats", "--no-stream", "c1")  # millions
    podman("pause", "c1")
    assert "frozen 1" in (group / "cgroup.events").read_text()
    podman("unpause", "c1")
    podman("update", "--memory=80m", "c1")
    assert (group / "memory.max").read_text().strip() == str(80 * MIB)
    podman("rm", "--force", "--time=0", "c1")
    assert vanishes(scope)


@pytest.mark.needs("containerd")
def test_containerds_shim_asks_for_a_scope(place: Path) -> None:
    config = place / "config.toml"
    config.write_text(CONTAINERD.format(at=place))
    environ = {"PATH": PATH, "HOME": "/root"}
    with open(place / "log", "wb") as log:
        daemon = subprocess.Popen(
            ["containerd", "--config", str(config)], stdout=log, stderr=log, env=environ
        )
    words = ["ctr", "--address", f"{place}/socket"]

    def ctr(*more: str, code: int = 0) -> str:
        done = subprocess.run(
            [*words, *more],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=environ,
            timeout=PATIENCE_S,
            check=False,
        )
        ran = Ran([*words, *more], done)
        assert ran.code == code, ran
        return ran.out.strip()

    try:
        version = [*words, "version"]
        assert comes(lambda: subprocess.run(version, capture_output=True, check=False).returncode == 0)
        ctr("images", "import", str(place / "image.tar"))
        (name,) = ctr("images", "ls", "-q").split()
        how = ["--runc-binary", str(runtime()), "--runc-root", f"{place}/rr", "--runc-systemd-cgroup"]
        limits = ["--memory-limit", str(64 * MIB), "--cgroup", "system.slice:redpak-ctr:s1"]
        ctr("run", "--detach", *how, *limits, name, "s1", "sleep", "600")
        unit = "redpak-ctr-s1.scope"
        pid = next(line.split()[1] for line in ctr("tasks", "ls").splitlines() if line.startswith("s1 "))
        group = group_of(int(pid))
        assert group.name == unit
        assert group.parent.name == "system.slice"
        assert (group / "memory.max").read_text().strip() == str(64 * MIB)
        assert shown(unit, "MemoryMax", "Delegate") == {"MemoryMax": str(64 * MIB), "Delegate": "yes"}
        assert ctr("tasks", "exec", "--exec-id", "e1", "s1", "cat", "/proc/self/cgroup").startswith("0::/")
        assert "memory" in ctr("tasks", "metrics", "s1")
        ctr("tasks", "pause", "s1")
        assert "frozen 1" in (group / "cgroup.events").read_text()
        ctr("tasks", "resume", "s1")
        ctr("tasks", "kill", "--signal", "KILL", "s1")
        assert comes(lambda: "STOPPED" in ctr("tasks", "ls"))
        ctr("tasks", "rm", "s1")
        ctr("containers", "rm", "s1")
        assert vanishes(group)
    finally:
        daemon.terminate()
        daemon.wait(PATIENCE_S)
