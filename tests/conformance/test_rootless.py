"""Bundles that an ordinary user runs: a user namespace with one id, no cgroups, the same box otherwise."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.rig import Yard, config, environ, gone, mounts_of, runtime_argv
from tests.conftest import Ran
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.needs("userns", "cc")
SOMEBODY = 4242  # the user whom the tests become when root runs them


class Mine:
    """A bundle of an ordinary user's, and the runtime called by that user."""

    def __init__(self, scratch: Path, probe: Path, yard: Yard | None) -> None:
        self.scratch, self.yard, self.id = scratch, yard, f"mine-{os.getpid()}"
        self.bundle, self.rootfs = scratch / "bundle", scratch / "bundle/rootfs"
        self.uid, self.gid = (SOMEBODY, SOMEBODY) if yard else (os.getuid(), os.getgid())
        for folder in ("proc", "dev", "sys", "tmp", "etc", "data"):
            (self.rootfs / folder).mkdir(parents=True)
        (scratch / "run").mkdir(mode=0o700)
        shutil.copy(probe, self.rootfs / "probe")
        self.config = config()
        self.config["linux"]["namespaces"].append({"type": "user"})
        self.config["linux"].pop("resources")
        for kind, mine in (("uidMappings", self.uid), ("gidMappings", self.gid)):
            self.config["linux"][kind] = [{"containerID": 0, "hostID": mine, "size": 1}]
        if yard:
            for folder, _, files in os.walk(scratch):
                for name in ["", *files]:
                    os.chown(Path(folder, name), SOMEBODY, SOMEBODY)
            for above in scratch.parents:
                if str(above).startswith("/tmp/") and above.stat().st_uid == os.getuid():
                    above.chmod(above.stat().st_mode | 0o711)

    def op(self, *words: str, out: Any = None, **more: Any) -> Ran:
        """Call the runtime as the user."""
        argv = [*runtime_argv(), "--root", str(self.scratch / "run/state"), *words]
        env = {**environ(), "XDG_RUNTIME_DIR": str(self.scratch / "run"), "HOME": str(self.scratch)}
        before: Callable[[], None] | None = None
        if self.yard:
            yard = self.yard

            def before() -> None:
                yard.enter()
                os.setgroups([])
                os.setgid(SOMEBODY)
                os.setuid(SOMEBODY)

        pipes = (
            {"stdout": out, "stderr": out} if out else {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        )
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, preexec_fn=before, env=env, timeout=PATIENCE_S, check=False,
            cwd=self.scratch, **pipes, **more,
        )  # fmt: skip
        return Ran(
            argv, subprocess.CompletedProcess(argv, done.returncode, done.stdout or b"", done.stderr or b"")
        )

    def probe(self, *words: str) -> list[dict[str, Any]]:
        """Run the probe inside; return its answers."""
        self.config["process"]["args"] = ["/probe", *words]
        (self.bundle / "config.json").write_text(json.dumps(self.config))
        ran = self.op("run", "--bundle", str(self.bundle), self.id)
        assert ran.code == 0, ran
        return [json.loads(line) for line in ran.out.splitlines()]


@pytest.fixture
def mine(tmp_path: Path, probe: Path, request: pytest.FixtureRequest) -> Iterator[Mine]:
    """Return a bundle of an ordinary user's."""
    yard: Yard | None = request.getfixturevalue("yard") if os.getuid() == 0 else None
    scratch = tmp_path / "mine"
    scratch.mkdir()
    made = Mine(scratch, probe, yard)
    yield made
    made.op("delete", "--force", made.id)


def test_a_users_container_has_a_root_that_is_the_user(mine: Mine) -> None:
    report, made = mine.probe("report", ";", "create", "/data/new", "x")
    assert (report["uid"], report["gid"]) == (0, 0)
    assert report["uid_map"].split() == ["0", str(mine.uid), "1"]
    assert report["setgroups"] == "deny\n"
    assert made["outcome"] == "ok"
    assert (mine.rootfs / "data/new").stat().st_uid == mine.uid


def test_a_users_container_has_the_usual_mounts_and_devices(mine: Mine) -> None:
    report, null, zero, _ = mine.probe(
        "report", ";", "stat", "/dev/null", "/dev/zero", ";", "write", "/dev/null", "x"
    )
    assert {"/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue", "/sys"} <= set(mounts_of(report))
    assert (null["kind"], null["major"], null["minor"]) == ("c", 1, 3)
    assert (zero["kind"], zero["major"], zero["minor"]) == ("c", 1, 5)
    assert report["hostname"] == "inside"
    assert report["pid"] == 1


def test_a_users_container_may_be_read_only_masked_and_filtered(mine: Mine) -> None:
    mine.config["root"]["readonly"] = True
    mine.config["linux"]["maskedPaths"] = ["/proc/keys", "/proc/acpi"]
    mine.config["linux"]["readonlyPaths"] = ["/proc/sys"]
    mine.config["linux"]["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["sync"], "action": "SCMP_ACT_ERRNO", "errnoRet": 71}],
    }
    said = mine.probe("create", "/data/new", ";", "read", "/proc/keys", ";",
                      "write", "/proc/sys/kernel/hostname", "x", ";", "report")  # fmt: skip
    assert [one.get("outcome") for one in said[:2]] == ["EROFS", "ok"]
    assert said[2]["outcome"] in ("EROFS", "EACCES")
    assert said[1]["text"] == ""
    assert said[3]["seccomp"] == 2


def test_a_users_container_sees_bound_files(mine: Mine) -> None:
    (mine.scratch / "given").write_text("given")
    mine.config["mounts"].append({"destination": "/data/given", "type": "bind", "source": str(mine.scratch / "given"),
                                  "options": ["bind", "ro", "nosuid", "nodev"]})  # fmt: skip
    assert mine.probe("read", "/data/given")[0]["text"] == "given"


def test_a_users_container_lives_and_dies(mine: Mine) -> None:
    mine.config["process"]["args"] = ["/probe", "stay"]
    (mine.bundle / "config.json").write_text(json.dumps(mine.config))
    with open(mine.scratch / "out", "wb") as out:
        ran = mine.op("create", "--bundle", str(mine.bundle), mine.id, out=out)
    assert ran.code == 0, (mine.scratch / "out").read_text()
    state = json.loads(mine.op("state", mine.id).out)
    assert state["status"] == "created"
    assert mine.op("start", mine.id).code == 0
    assert json.loads(mine.op("state", mine.id).out)["status"] == "running"
    assert mine.op("exec", mine.id, "/probe", "exit", "6").code == 6
    assert mine.op("delete", mine.id).code != 0
    assert mine.op("kill", mine.id, "KILL").code == 0
    gone(int(state["pid"]))
    assert json.loads(mine.op("state", mine.id).out)["status"] == "stopped"
    assert mine.op("delete", mine.id).code == 0
    assert mine.op("state", mine.id).code != 0


def test_a_user_cannot_map_ids_that_are_not_theirs(mine: Mine) -> None:
    mine.config["linux"]["uidMappings"] = [{"containerID": 0, "hostID": 0, "size": 1}]
    (mine.bundle / "config.json").write_text(json.dumps(mine.config))
    ran = mine.op("run", "--bundle", str(mine.bundle), mine.id)
    assert ran.code != 0
    assert ran.err.strip()
    assert "Traceback" not in ran.err


def test_a_users_runtime_refuses_limits_that_it_cannot_set(mine: Mine) -> None:
    mine.config["linux"]["resources"] = {"pids": {"limit": 10}}
    mine.config["linux"]["cgroupsPath"] = "/somewhere/else"
    mine.config["process"]["args"] = ["/probe", "report"]
    (mine.bundle / "config.json").write_text(json.dumps(mine.config))
    ran = mine.op("run", "--bundle", str(mine.bundle), mine.id)
    if ran.code == 0:  # a manager of cgroups may have made it possible
        assert "/somewhere/else" in json.loads(ran.out)["cgroup"]
    else:
        assert "Traceback" not in ran.err
