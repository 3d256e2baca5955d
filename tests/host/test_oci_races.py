"""Many commands at once, and commands that are killed at any moment: one answer each, and nothing left behind.

REDPAK_KILLS (CI: 500) says how many commands are killed; here it is a quarter of that of each kind.
"""

from __future__ import annotations

import contextlib
import os
import random
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.host.oci_site import Site
from tests.host.processes import descendants
from tests.patience import PATIENCE_S, eventually

pytestmark = pytest.mark.needs("userns", "program:busybox")
KILLS = int(os.environ.get("REDPAK_KILLS") or "40") // 4
FOREVER = ("sleep", "1000")
QUIET = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


@pytest.fixture
def oci(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    site.clean()


def codes(started: list[subprocess.Popen[bytes]]) -> list[int]:
    return [one.wait(PATIENCE_S) for one in started]


def groups(oci: Site) -> list[Path]:
    """Return every control group of this test's containers."""
    return [at for top in oci.groups() for at in top.iterdir() if at.is_dir()]


def test_of_many_who_create_the_same_container_one_does(oci: Site) -> None:
    bundle = oci.bundle("a", *FOREVER)
    ended = codes([oci.popen("create", "--bundle", bundle, "a", **QUIET) for _ in range(6)])
    assert sorted(ended) == [0, 1, 1, 1, 1, 1]
    assert oci.state("a")["status"] == "created"


def test_of_many_who_start_a_container_one_does(oci: Site) -> None:
    oci.create("a", "sh", "-c", "echo once >>/tmp/count; sleep 1000", mounts=[])
    ended = codes([oci.popen("start", "a", **QUIET) for _ in range(6)])
    assert sorted(ended) == [0, 1, 1, 1, 1, 1]
    assert oci.state("a")["status"] == "running"
    count = oci.rootfs / "tmp" / "count"
    eventually(lambda: count.exists() and count.read_text(), "once\n")


def test_of_many_who_delete_a_container_one_does(oci: Site) -> None:
    oci.create("a", *FOREVER)
    pid = oci.state("a")["pid"]
    oci("kill", "a", "KILL")
    oci.ended("a", pid)
    ended = codes([oci.popen("delete", "a", **QUIET) for _ in range(6)])
    assert sorted(ended) == [0, 1, 1, 1, 1, 1]
    assert oci("state", "a").code == 1


def test_start_kill_and_delete_may_meet(oci: Site) -> None:
    for number in range(4):
        name = f"a{number}"
        oci.create(name, *FOREVER)
        pid = oci.state(name)["pid"]
        words = [["start", name], ["kill", name, "KILL"], ["delete", "--force", name], ["state", name]]
        random.shuffle(words)
        ended = codes([oci.popen(*one, **QUIET) for one in words])
        assert set(ended) <= {0, 1}
        assert oci("delete", "--force", name).code == 0
        oci.ended(name, pid)
        assert oci("state", name).code == 1
    assert groups(oci) == []


def test_fifty_containers_can_be_created_at_once(oci: Site) -> None:
    names = [f"a{number}" for number in range(50)]
    bundles = [oci.bundle(name, *FOREVER) for name in names]
    started = [
        oci.popen("create", "--bundle", at, name, **QUIET) for name, at in zip(names, bundles, strict=True)
    ]
    assert codes(started) == [0] * 50
    assert oci("list", "--quiet").out.split() == sorted(names)
    gone = [oci.popen("delete", "--force", name, **QUIET) for name in names]
    assert codes(gone) == [0] * 50
    assert os.listdir(oci.root) == []
    assert groups(oci) == []


def killed(oci: Site, after_s: float, *words: str | Path) -> None:
    """Start a command and kill it a while later."""
    with oci.popen(*words, **QUIET) as one:
        time.sleep(after_s)  # a moment of the command's life, not a wait for anything
        one.kill()


@pytest.mark.slow
@pytest.mark.parametrize("command", ["create", "run", "start", "delete"])
def test_a_command_may_be_killed_at_any_moment(oci: Site, command: str) -> None:
    """Whatever is left can be deleted by force, twice, and its id is free again."""
    hurried = time.monotonic()
    oci("run", "--bundle", oci.bundle("probe", "true"), "probe")
    whole_s = time.monotonic() - hurried
    for number in range(8):
        name = f"a{number}"
        bundle = oci.bundle(name, *FOREVER)
        pid = 0
        if command in ("start", "delete"):
            oci.create(name, *FOREVER)
            pid = oci.state(name)["pid"]
        words: dict[str, list[str | Path]] = {
            "create": ["create", "--bundle", bundle, name],
            "run": ["run", "--bundle", bundle, name],
            "start": ["start", name],
            "delete": ["delete", "--force", name],
        }
        killed(oci, random.uniform(0, whole_s), *words[command])
        if command == "create" and oci("state", name).code == 0:
            pid = oci.state(name)["pid"]
        for _ in range(2):
            gone = oci("delete", "--force", name)
            assert gone.code == 0, gone
        oci.ended(name, pid)
        assert os.listdir(oci.root) == [], (command, os.listdir(oci.root))
        assert groups(oci) == []
        again = oci("run", "--bundle", oci.bundle(name, "true"), name)
        assert again.code == 0, again


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["groups", "bare", pytest.param("shared", marks=pytest.mark.needs("root"))])
def test_a_create_that_is_killed_leaves_nobody(kind: str, tmp_path: Path) -> None:
    seed = random.randrange(10**6)
    argv = [sys.executable, "-m", "tests.host.killing_oci", kind, str(tmp_path), str(KILLS), str(seed)]
    if kind == "shared":
        argv = ["unshare", "--mount", "--propagation", "private", *argv]
    ended = subprocess.run(
        argv, cwd=REPOSITORY, capture_output=True, text=True, timeout=PATIENCE_S + 10 * KILLS, check=False
    )
    assert ended.returncode == 0, ended


@pytest.mark.parametrize("manager", ["none", "cgroupfs"])
def test_the_first_process_ends_with_its_maker_until_the_record_is_complete(
    manager: str, oci: Site, tmp_path: Path
) -> None:
    oci.argv += ["--cgroup-manager", manager]
    pipe = tmp_path / "pid"
    os.mkfifo(pipe)  # to open it for writing takes until somebody reads
    with oci.popen("create", "--bundle", oci.bundle("a", *FOREVER), "--pid-file", pipe, "a", **QUIET) as one:
        while (told := oci("state", "a")).code or '"created"' not in told.out:
            assert one.poll() is None
        pid = oci.state("a")["pid"]
        one.kill()
    oci.ended("a", pid)
    assert oci.state("a")["status"] == "stopped"
    gone = oci("delete", "a")
    assert gone.code == 0, gone
    assert os.listdir(oci.root) == []
    assert groups(oci) == []


def test_a_hook_that_hangs_ends_with_who_makes_the_container(oci: Site) -> None:
    oci.argv += ["--cgroup-manager", "none"]
    hooks = {"createContainer": [{"path": "/bin/sleep", "args": ["sleep", "1000"]}]}
    with oci.popen("create", "--bundle", oci.bundle("a", *FOREVER, hooks=hooks), "a", **QUIET) as one:
        while len(below := descendants(one.pid)) < 2 or not any(map(sleeps, below)):
            assert one.poll() is None
        doors = opened(below)
        one.kill()
    for door in doors:  # its pid namespace ends with the first process
        assert select.select([door], [], [], PATIENCE_S)[0]
        os.close(door)
    gone = oci("delete", "a")
    assert gone.code == 0, gone


@pytest.mark.parametrize("phase", ["prestart", "createRuntime", "createContainer", "poststart", "poststop"])
def test_a_hook_ends_with_its_maker_and_so_does_what_it_started(phase: str, oci: Site) -> None:
    oci.argv += ["--cgroup-manager", "none"]
    hooks = {phase: [{"path": "/bin/sh", "args": ["sh", "-c", "trap '' TERM HUP; sleep 1000; true"]}]}
    bundle = oci.bundle("a", *FOREVER, hooks=hooks)
    words: tuple[str | Path, ...] = ("create", "--bundle", bundle, "a")
    if phase in ("poststart", "poststop"):
        assert oci(*words).code == 0
        words = ("start", "a") if phase == "poststart" else ("delete", "--force", "a")
    with oci.popen(*words, **QUIET) as one:
        while not any(map(sleeps, below := descendants(one.pid))):
            assert one.poll() is None
        doors = opened(below)
        one.kill()
    for door in doors:
        assert select.select([door], [], [], PATIENCE_S)[0]
        os.close(door)
    assert oci("delete", "--force", "a").code == 0


def test_what_a_hook_that_ended_left_behind_outlives_the_maker(oci: Site, tmp_path: Path) -> None:
    """Such as a helper that goes to the background on purpose."""
    oci.argv += ["--cgroup-manager", "none"]
    left = tmp_path / "left"
    sleep = {"path": "/bin/sleep", "args": ["sleep", "1000"]}
    stays = {"path": "/bin/sh", "args": ["sh", "-c", f"sleep 1000 & echo $! >{left}"]}
    bundle = oci.bundle("a", *FOREVER, hooks={"createRuntime": [stays, sleep]})
    with oci.popen("create", "--bundle", bundle, "a", **QUIET) as one:
        below: list[int] = []
        told = ""
        while not (told.endswith("\n") and int(told) not in below and any(map(sleeps, below))):
            assert one.poll() is None
            told = left.read_text() if left.exists() else ""
            below = descendants(one.pid)  # the second hook's, in the end
        doors = opened(below)
        daemon = os.pidfd_open(int(told))
        one.kill()
    for door in doors:
        assert select.select([door], [], [], PATIENCE_S)[0]
        os.close(door)
    assert not select.select([daemon], [], [], 0)[0]
    signal.pidfd_send_signal(daemon, signal.SIGKILL)
    os.close(daemon)
    assert oci("delete", "--force", "a").code == 0


def opened(pids: list[int]) -> list[int]:
    """Return a pidfd for each of some processes that has not ended yet."""
    doors = []
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            doors.append(os.pidfd_open(pid))
    return doors


def sleeps(pid: int) -> bool:
    """Tell whether a process is the program `sleep`."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"sleep\0")
    except OSError:
        return False


def test_what_is_half_made_belongs_to_its_maker_while_that_lives(oci: Site) -> None:
    oci.root.mkdir()
    with subprocess.Popen(["sleep", "1000"]) as living, subprocess.Popen(["true"]) as ended:
        os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)  # nobody has collected it
        for one in (living, ended):
            (oci.root / f"~{one.pid}.0").mkdir()
        assert oci("delete", "--force", "a").code == 0
        assert os.listdir(oci.root) == [f"~{living.pid}.0"]
        living.kill()
    assert oci("delete", "--force", "a").code == 0
    assert os.listdir(oci.root) == []


def test_a_pid_that_is_used_again_is_not_killed(oci: Site) -> None:
    oci.create("a", *FOREVER)
    pid = oci.state("a")["pid"]
    oci("kill", "a", "KILL")
    oci.ended("a", pid)
    with subprocess.Popen(["sleep", "1000"]) as other:
        file = oci.root / "a" / "state.json"
        file.write_text(file.read_text().replace(f'"pid":{pid}', f'"pid":{other.pid}'))
        assert oci.state("a")["status"] == "stopped"
        assert oci("kill", "a", "KILL").code == 1
        assert oci("delete", "--force", "a").code == 0
        assert other.poll() is None
        other.kill()
