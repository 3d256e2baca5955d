"""redpak-join by itself, and what keeps prepared trees: what a stranger, a crash or an odd host can make of them."""

from __future__ import annotations

import os
import pty
import select
import signal
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from redpak.engine import prepared
from redpak.engine.build_helper import LINKS, build
from redpak.paths import shipped
from redpak.plan.model import Capability, SetVar
from redpak.plan.ops import Dev, Proc, Tmpfs
from redpak.text import text
from tests.conftest import REPOSITORY
from tests.host.engine_plans import HERE, Launcher, bind, plan, shell
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.needs("bwrap", "userns", "cc")

JOIN = shipped("engine", "redpak-join")
SOURCE = shipped("engine", "join.c")
ALL_NEW = f"{sum(prepared.CLONE.values()):x}"
HOST = (
    "--ro-bind", "/usr", "/usr", "--symlink", "usr/bin", "/bin", "--symlink", "usr/lib", "/lib",
    "--symlink", "usr/lib64", "/lib64", "--proc", "/proc", "--caps", "0",
)  # fmt: skip
GONE = prepared.GONE
WAYS = {"bwrap": {"TEST_ENGINE": "bwrap"}, "redpak-join": {"TEST_ENGINE": "native"}}


def memory(content: bytes) -> int:
    fd = os.memfd_create("test", 0)
    os.write(fd, content)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def join(
    words: Sequence[str], *program: str, filtered: bytes | None = None, start: str = JOIN
) -> tuple[int, str, str]:
    """Start redpak-join as the launch helper does; return its code, the output and what it said of the start."""
    fds = [memory(filtered)] if filtered is not None else []
    words = [*words, *(["--seccomp", str(fds[0])] if fds else [])]
    fds.append(memory(b"".join(os.fsencode(word) + b"\0" for word in words)))
    reader, writer = os.pipe()
    try:
        done = subprocess.run(
            [start, "--json-status-fd", str(writer), "--args", str(fds[-1]), "--", *program],
            pass_fds=(*fds, writer), env={}, capture_output=True, text=True, timeout=PATIENCE_S, check=False,
        )  # fmt: skip
    finally:
        for fd in (*fds, writer):
            os.close(fd)
    said = os.read(reader, 4096).decode()
    os.close(reader)
    return done.returncode, done.stdout + done.stderr, said


@pytest.mark.parametrize("link", LINKS, ids=["static", "pie"])
def test_it_works_whichever_c_library_it_is_built_with(
    link: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CC", "cc")
    monkeypatch.setattr("redpak.engine.build_helper.LINKS", (link,))
    why = build(SOURCE, str(tmp_path / "join"))
    if why and link == ("-static",):
        pytest.skip("there is no static C library")
    assert not why
    code, out, _ = join(
        ["--unshare", ALL_NEW, *HOST], "/bin/sh", "-c", "echo in", start=str(tmp_path / "join")
    )
    assert (code, out) == (0, "in\n")


@pytest.mark.parametrize("size", [0, 12, 8 * 4097, 8 * 65536, 8 * 70000])
def test_no_program_runs_without_its_whole_filter(size: int) -> None:
    code, out, said = join(["--unshare", ALL_NEW, *HOST], "/bin/sh", "-c", "echo in", filtered=bytes(size))
    assert code == 1
    assert "in\n" not in out
    assert "exit-code" not in said


def test_a_keeper_that_goes_at_the_last_moment_is_none() -> None:
    with tempfile.TemporaryDirectory(prefix="rp-", dir="/tmp") as folder:
        door = socket.socket(socket.AF_UNIX)
        door.bind(f"{folder}/door")
        door.listen()
        pid = os.fork()
        if pid == 0:
            door.accept()[0].close()
            os._exit(0)
        code, _, said = join(["--pin", f"{folder}/door", "--unshare", "0"], "/bin/true")
        door.close()
        os.waitpid(pid, 0)
        assert (code, said) == (GONE, "")
        assert join(["--pin", f"{folder}/door", "--unshare", "0"], "/bin/true")[0] == GONE
        assert join(["--pin", f"{folder}/{'x' * 200}", "--unshare", "0"], "/bin/true")[0] == GONE


def test_a_signal_of_the_terminal_ends_the_program_and_not_what_stands_above() -> None:
    script = "trap 'echo got; exit 5' INT; echo ready; while :; do sleep 0.05; done"
    fd = memory(b"".join(os.fsencode(word) + b"\0" for word in ("--unshare", ALL_NEW, *HOST)))
    with subprocess.Popen(
        [JOIN, "--json-status-fd", "2", "--args", str(fd), "--", "/bin/sh", "-c", script],
        pass_fds=(fd,), env={}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, process_group=0,
    ) as running:  # fmt: skip
        os.close(fd)
        assert running.stdout is not None
        assert running.stdout.readline() == "ready\n"
        os.killpg(running.pid, signal.SIGINT)
        assert running.stdout.read() == "got\n"
        assert running.wait() == 5


@pytest.fixture
def starts(tmp_path: Path, environment: dict[str, str]) -> Launcher:
    from tests.features import bwraps

    return Launcher(tmp_path, next(iter(bwraps().values())), {}, environment)


def alike(starts: Launcher, made: object, **more: object) -> tuple[int, str]:
    """Start a plan with bubblewrap and with redpak-join, and return what both did."""
    ran = {name: starts(made, "force", env=env, **more) for name, env in WAYS.items()}  # type: ignore[arg-type]
    seen = {name: (code, out) for name, (code, out, _) in ran.items()}
    assert seen["bwrap"] == seen["redpak-join"], ran
    return seen["bwrap"]


def test_a_script_without_a_first_line_is_a_shells(starts: Launcher, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text('echo "script $0 $*"\n')
    script.chmod(0o755)
    tmp_path.chmod(0o755)
    there = (bind("/usr/local/bin", tmp_path),)
    for name in ("/usr/local/bin/script", "script"):
        path = SetVar(key="PATH", value=text("/nothing:/usr/local/bin:/usr/bin"), because=HERE)
        assert alike(starts, plan(name, "one", "two", mounts=there, environ=(path,))) == (
            0,
            "script /usr/local/bin/script one two\n",
        )


def test_the_root_itself_may_be_mounted(starts: Launcher) -> None:
    made = shell("echo x >/file; cat /file; ls /usr | wc -l", mounts=(Tmpfs(dst="/", because=HERE),))
    assert alike(starts, made)[0] == 0
    whole = (bind("/", "/"), Proc(dst="/proc", because=HERE), Dev(dst="/dev", because=HERE))
    made = plan("/bin/sh", "-c", "ls / | wc -l; ls -d /proc/self", mounts=whole, base=False)
    assert alike(starts, made)[0] == 0


def test_a_working_directory_that_is_gone_is_no_obstacle(starts: Launcher) -> None:
    script = 'd=$(mktemp -d); cd "$d"; rmdir "$d"; exec "$@"'
    assert alike(starts, shell("pwd"), wrapper=["sh", "-c", script, "sh"])[0] == 0


@pytest.mark.needs("root")
def test_all_capabilities_are_those_that_root_has(starts: Launcher) -> None:
    every = (Capability(name="ALL", because=HERE),)
    made = shell("grep CapEff /proc/self/status", namespaces={"user": "host"}, capabilities=every)
    assert alike(starts, made)[0] == 0


@pytest.mark.needs("root")
def test_a_large_user_id_has_the_same_walls(starts: Launcher) -> None:
    large = 3_000_000_000
    script = "id -u; id -g; unshare -U true && echo made; cat /proc/self/uid_map /proc/sys/user/max_user_namespaces"
    become = ["setpriv", f"--reuid={large}", f"--regid={large}", "--clear-groups"]
    made = shell(script, choices={"seccomp": "none"}).but(uid=large, gid=large)
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        os.chmod(folder, 0o755)
        starts.file = Path(folder, "plan.json")
        code, out, errors = starts(made, "force", env=WAYS["redpak-join"], wrapper=become)
    assert code == 0, errors  # bubblewrap 0.8 cannot start at all: it writes a negative number
    assert out.split()[:2] == [str(large)] * 2
    assert "made" not in out


def test_a_host_without_a_tmp_is_no_obstacle(tmp_path: Path, starts: Launcher, bwrap: str) -> None:
    outer = [bwrap, "--unshare-user", "--ro-bind", str(tmp_path), "/plan"]
    for name in sorted(os.listdir("/")):
        if os.path.islink(f"/{name}"):
            outer += ["--symlink", os.readlink(f"/{name}"), f"/{name}"]
        elif name != "tmp":
            outer += ["--dev-bind", f"/{name}", f"/{name}"]
    outer += ["--ro-bind", str(REPOSITORY), "/checkout"]  # it may lie in /tmp itself
    argv = [word.replace(str(REPOSITORY), "/checkout") for word in starts.argv(shell("echo in"))]
    argv[3] = "/plan/plan.json"
    environ = {key: value.replace(str(REPOSITORY), "/checkout") for key, value in starts.environ.items()}
    environ["TEST_ENGINE"] = "native"
    for more in ([], ["--symlink", "var/tmp", "/tmp"]):
        done = subprocess.run(
            [*outer, *more, "--", *argv], env=environ, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout) == (0, "in\n"), done.stderr


def test_the_terminal_is_the_console(starts: Launcher) -> None:
    for name, env in WAYS.items():
        pid, fd = pty.fork()
        if pid == 0:
            argv = starts.argv(shell("stat -c %t:%T /dev/console; stat -L -c %t:%T /proc/self/fd/1"))
            os.execve(argv[0], argv, {**starts.environ, **env})
        said = b""
        while select.select([fd], [], [], PATIENCE_S)[0]:
            try:
                said += os.read(fd, 4096)
            except OSError:
                break
        os.close(fd)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, (name, said)
        console, output = said.split()
        assert console == output
