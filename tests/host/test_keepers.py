"""Keepers of prepared trees: who gets what they hold, and what is left when one of them, or who made it, is killed."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from redpak.engine import prepared
from redpak.engine.spec import LaunchSpec
from redpak.origin import DEFAULT
from redpak.plan.model import Limit
from tests.conftest import Program
from tests.doors import deep
from tests.host.test_prepared import joined, kept, leaf_of_two, warm_program  # noqa: F401 - fixtures
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.needs("bwrap", "userns", "cc")


@pytest.mark.needs("root")
def test_the_keeper_gives_its_namespaces_to_nobody_else(warm: Program, leaf: Path) -> None:
    assert warm("warm", leaf).code == 0
    path = str(kept(warm)[0]["socket"])
    runtime = Path(warm.environ["REDPAK_RUNTIME_DIR"])
    assert runtime.stat().st_mode & 0o777 == 0o700
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.chdir(os.path.dirname(path))  # even who could reach the socket gets nothing
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            line = socket.socket(socket.AF_UNIX)
            try:
                line.connect(os.path.basename(path))
                code = 0 if line.recv(1) == b"" else 2
            except PermissionError:
                code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    me = socket.socket(socket.AF_UNIX)
    me.connect(path)
    assert me.recv(1) == b"u"
    me.close()


def test_a_keeper_is_found_however_long_its_path_is(warm: Program, leaf: Path, tmp_path: Path) -> None:
    runtime = deep(tmp_path)
    runtime.chmod(0o700)
    warm.environ["REDPAK_RUNTIME_DIR"] = str(runtime)
    assert warm("warm", leaf).code == 0
    assert joined(warm, leaf)
    for _ in range(2):  # from the second start on nothing is composed anew
        ran = warm("run", leaf, "--", "sh", "-c", "tr '\\0' ' ' </proc/1/cmdline")
        assert (ran.code, "redpak-join" in ran.out) == (0, True), ran
    assert warm("cool", leaf).code == 0
    assert not joined(warm, leaf)
    assert os.listdir(runtime / "warm") == []


def test_a_keeper_in_another_user_namespace_is_none(warm: Program, leaf: Path) -> None:
    assert warm("warm", leaf).code == 0
    fd = os.memfd_create("words", 0)
    os.write(fd, "\0".join(("--pin", str(kept(warm)[0]["socket"]), "--unshare", "20000", "")).encode())
    os.lseek(fd, 0, os.SEEK_SET)
    me = f"{os.getuid()} {os.getuid()} 1"
    pid = os.fork()
    if pid == 0:
        from redpak.kernel import ns
        from redpak.paths import shipped

        try:
            ns.unshare(ns.CLONE_NEWUSER)
            Path("/proc/self/uid_map").write_text(me)
            argv = [
                shipped("engine", "redpak-join"),
                "--json-status-fd",
                "2",
                "--args",
                str(fd),
                "--",
                "/bin/true",
            ]
            os.execv(argv[0], argv)
        finally:
            os._exit(99)
    os.close(fd)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == prepared.GONE


def test_a_socket_without_a_keeper_makes_no_start_fail(warm: Program, leaf: Path) -> None:
    assert warm("warm", leaf).code == 0
    one = kept(warm)[0]
    where = Path(str(one["socket"]))
    (where.parent / f"{where.name}.json").unlink()  # as where 'redpak warm' was killed before it wrote this
    door = os.pidfd_open(int(str(one["pid"])))
    os.kill(int(str(one["pid"])), signal.SIGKILL)
    assert select.select([door], [], [], PATIENCE_S)[0]
    os.close(door)
    for way in ({}, {"REDPAK_NO_HELPER": "1"}):
        with socket.socket(socket.AF_UNIX) as stray:
            where.unlink(missing_ok=True)
            stray.bind(str(where))
        for option in ("--", "--no-frozen"):
            ran = subprocess.run(
                [*warm.argv, "run", option, str(leaf), "sh", "-c", "exit 9"],
                env={**warm.environ, **way}, timeout=PATIENCE_S, capture_output=True, check=False,
            )  # fmt: skip
            assert ran.returncode == 9, ran
        assert not where.exists() or way


def test_a_keeper_that_nobody_knows_of_ends(warm: Program, leaf: Path) -> None:
    assert warm("warm", leaf).code == 0
    one = kept(warm)[0]
    door = os.pidfd_open(int(str(one["pid"])))
    Path(f"{one['socket']}.json").unlink()
    assert warm("cool", "--all").code == 0
    assert select.select([door], [], [], PATIENCE_S)[0]
    os.close(door)
    assert not Path(str(one["socket"])).exists()


def test_a_keeper_leaves_the_socket_of_its_successor(warm: Program, leaf: Path) -> None:
    assert warm("warm", leaf).code == 0
    one = kept(warm)[0]
    where = Path(str(one["socket"]))
    door = os.pidfd_open(int(str(one["pid"])))
    os.kill(int(str(one["pid"])), signal.SIGSTOP)
    where.rename(where.with_name("aside"))
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(where))
        os.kill(int(str(one["pid"])), signal.SIGTERM)
        os.kill(int(str(one["pid"])), signal.SIGCONT)
        assert select.select([door], [], [], PATIENCE_S)[0]
    os.close(door)
    assert where.exists()


def test_a_runtime_directory_that_is_not_ours_keeps_nobody_from_starting(warm: Program, leaf: Path) -> None:
    runtime = Path(warm.environ["REDPAK_RUNTIME_DIR"])
    runtime.chmod(0o777)
    for option in ("--", "--no-frozen"):
        assert warm("run", option, leaf, "sh", "-c", "exit 9").code == 9
    assert warm("warm", leaf).code == 3
    runtime.chmod(0o700)


def test_a_keeper_holds_nothing_of_where_it_was_started(warm: Program, leaf: Path) -> None:
    assert warm("warm", leaf).code == 0
    pid = int(str(kept(warm)[0]["pid"]))
    above = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    assert os.readlink(f"/proc/{above}/cwd") == "/"


def spec_of(*args: str, **more: object) -> LaunchSpec:
    return LaunchSpec(bwrap="/usr/bin/bwrap", args=("--unshare-pid", *args), uid=1000, gid=1000, **more)  # type: ignore[arg-type]


def test_no_program_shares_the_user_namespace_of_a_keeper() -> None:
    assert prepared.why_not_kept(spec_of("--unshare-user", "--disable-userns")) == ""
    assert "user namespace" in prepared.why_not_kept(spec_of("--unshare-user", "--uid", "0", "--gid", "0"))
    assert prepared.why_not(spec_of("--unshare-user", "--uid", "0", "--gid", "0")) == ""
    limit = Limit(node="/a", key="memory.max", value="1M", because=DEFAULT)
    assert "limits" in prepared.why_not_kept(spec_of("--unshare-user", "--disable-userns", limits=(limit,)))
