"""The native engine leaves nothing behind: no process, mount, cgroup, descriptor or directory, however it ends.

REDPAK_STARTS says how many starts in a row (default 60; the release runs 1,000).
"""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from redpak.engine.native import enter, start
from redpak.engine.native.box import Bind, Box, Hook, IdMap, MakeSymlink, NewMount, Process, Space
from redpak.errors import CannotRun, LaunchFailed, NoProgram, NotFound
from tests.host.conftest import every_child
from tests.host.engine_plans import Launcher, shell

pytestmark = pytest.mark.needs("userns")
STARTS = int(os.environ.get("REDPAK_STARTS", "60"))
TOGETHER = 50
READ_ONLY, NOSUID, NODEV, NOEXEC = 1, 2, 4, 8


def box(*args: str, **more: object) -> Box:
    """Return a sandbox with the host's programs, for whoever runs the tests."""
    real = (os.geteuid(), os.getegid())
    kinds = ("user", "mount", "pid", "net", "ipc", "uts", "cgroup")
    steps = [Bind(dst="/usr", source="/usr", rec_set=READ_ONLY | NOSUID | NODEV)]
    steps += [
        MakeSymlink(dst=f"/{name}", target=f"usr/{name}")  # type: ignore[misc]
        if os.path.islink(f"/{name}")
        else Bind(dst=f"/{name}", source=f"/{name}", rec_set=READ_ONLY | NOSUID | NODEV)
        for name in ("bin", "lib", "lib64")
        if os.path.exists(f"/{name}")
    ]
    given: dict[str, object] = {
        "name": "test",
        "spaces": tuple(Space(kind=kind) for kind in kinds),  # type: ignore[arg-type]
        "uid_map": (IdMap(inside=0, outside=real[0], count=1),),
        "gid_map": (IdMap(inside=0, outside=real[1], count=1),),
        "deny_setgroups": True,
        "steps": (*steps, NewMount(dst="/proc", fstype="proc", attr_set=NOSUID | NODEV | NOEXEC)),
        "process": Process(args=args, environ=("PATH=/usr/bin:/bin",)),
    }
    return Box(**{**given, **more})  # type: ignore[arg-type]


def state() -> tuple[set[str], ...]:
    """Return what may not grow: descriptors, mounts, cgroups, and children, the dead included."""
    fds = {
        f"{name} {os.readlink(f'/proc/self/fd/{name}')}"
        for name in os.listdir("/proc/self/fd")
        if _open(name)
    }
    mounts = {line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()}
    groups = set(os.listdir("/sys/fs/cgroup")) if os.path.isdir("/sys/fs/cgroup") else set()
    return fds, mounts, groups, set(map(str, every_child()))


def left(before: tuple[set[str], ...]) -> list[set[str]]:
    """Return what there is more of each than before. Of what others do, something may be gone meanwhile."""
    return [now - was for now, was in zip(state(), before, strict=True)]


NOTHING: list[set[str]] = [set()] * 4


def _open(name: str) -> bool:
    try:
        os.fstat(int(name))
    except OSError:
        return False
    return True


def test_many_starts_in_a_row_leave_nothing() -> None:
    asked = box("true")
    before = state()
    for _ in range(STARTS):
        running = start.create(asked)
        running.release()
        assert running.wait() == 0
        running.close()
    assert left(before) == NOTHING


def test_fifty_at_once_leave_nothing() -> None:
    asked = box("sh", "-c", "exit 3")
    before = state()
    together = [start.create(asked) for _ in range(TOGETHER)]
    for running in together:
        running.release()
    assert [os.waitstatus_to_exitcode(running.wait()) for running in together] == [3] * TOGETHER
    for running in together:
        running.close()
    assert left(before) == NOTHING


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"process": Process(args=("not-there",))}, NoProgram),
        ({"process": Process(args=("/usr",))}, CannotRun),
        ({"process": Process(args=("true",), cwd="/not/there")}, LaunchFailed),
        ({"steps": (Bind(dst="/x", source="/not/there"),)}, LaunchFailed),
        ({"steps": (NewMount(dst="/x", fstype="no-such-fs"),)}, LaunchFailed),
        ({"uid_map": (IdMap(inside=0, outside=4294967294, count=2),)}, LaunchFailed),
        ({"hooks_create": (Hook(path="/not/there"),)}, LaunchFailed),
        ({"hooks_create": (Hook(path="/bin/sleep", args=("sleep", "60"), timeout_s=1),)}, LaunchFailed),
    ],
    ids=["no program", "a directory", "no working directory", "no source", "no file system", "bad map", "no hook",
         "slow hook"],
)  # fmt: skip
def test_a_start_that_fails_leaves_nothing(change: dict[str, object], error: type[Exception]) -> None:
    asked = box("true").but(**change)
    before = state()
    with pytest.raises(error):
        start.create(asked)
    assert left(before) == NOTHING


def test_a_callback_that_fails_ends_the_sandbox() -> None:
    before = state()
    pids = []

    def fail(pid: int) -> None:
        pids.append(pid)
        raise LaunchFailed("as asked")

    for way in ("prestart", "created"):
        with pytest.raises(LaunchFailed, match="as asked"):
            start.create(box("true"), **{way: fail})  # type: ignore[arg-type]
    assert left(before) == NOTHING
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_a_gate_is_opened_once(tmp_path: Path) -> None:
    gate = str(tmp_path / "gate")
    running = start.create(box("sh", "-c", "exit 4"), gate=gate)
    start.release(gate)
    with pytest.raises(NotFound):
        start.release(gate)
    assert os.waitstatus_to_exitcode(running.wait()) == 4
    running.close()


def test_a_gate_tells_of_a_start_hook_that_fails(tmp_path: Path) -> None:
    gate = str(tmp_path / "gate")
    hook = Hook(path="/bin/sh", args=("sh", "-c", "echo no; exit 7"))
    running = start.create(box("true", hooks_start=(hook,)), gate=gate)
    with pytest.raises(LaunchFailed, match="code 7: no"):
        start.release(gate)
    assert running.wait() != 0
    running.close()


def test_a_second_program_sees_what_the_first_sees() -> None:
    running = start.create(box("sleep", "60"))
    running.release()
    reader, writer = os.pipe()
    script = "readlink /proc/self/ns/mnt /proc/1/ns/mnt; id -u; grep CapEff /proc/self/status"
    second = enter.enter(
        running.pid, Process(args=("sh", "-c", script), environ=("PATH=/bin:/usr/bin",)), stdio=(0, writer, 2)
    )
    os.close(writer)
    with os.fdopen(reader) as said:
        lines = said.read().split()
    assert second.wait() == 0
    assert lines[0] == lines[1]
    assert lines[0] != os.readlink("/proc/self/ns/mnt")
    assert lines[2:] == ["0", "CapEff:", "0" * 16]
    running.kill()
    running.wait()
    for one in (running, second):
        one.close()


def test_the_host_interpreter_is_no_program_of_a_sandbox(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/proc/self/exe\n")
    script.chmod(0o755)
    for args in (("/proc/self/exe",), ("/x/script",)):
        asked = box(*args)
        with pytest.raises(CannotRun, match="runtime itself"):
            start.create(asked.but(steps=(*asked.steps, Bind(dst="/x", source=str(tmp_path)))))


@pytest.mark.needs("bwrap")
def test_nothing_lives_on_when_the_supervisor_is_killed(tmp_path: Path, environment: dict[str, str]) -> None:
    launch = Launcher(tmp_path, "", {"TEST_ENGINE": "native"}, environment)
    told = tmp_path / "told"
    os.mkfifo(told)
    argv = launch.argv(shell("echo ready; sleep 600"))
    del launch.environ["TEST_BWRAP"]
    job = subprocess.Popen(argv, env=launch.environ, stdout=subprocess.PIPE)
    assert job.stdout is not None
    assert job.stdout.readline() == b"ready\n"
    job.send_signal(signal.SIGKILL)
    job.wait()
    assert job.stdout.read() == b""  # the end of file comes when the last process has ended
    job.stdout.close()
