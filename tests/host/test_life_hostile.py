"""Commands for what runs, against sandboxes and moments that do not wish us well."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
from pathlib import Path

import pytest

from redpak.engine.native import enter, start
from redpak.engine.native.box import Process
from redpak.errors import NotFound
from redpak.state import stuck
from tests.host.life_site import Life, configure, gone, kill, life, over, wait_for
from tests.host.processes import at_rest
from tests.host.test_native_leaks import box
from tests.patience import PATIENCE_S, eventually

__all__ = ["life"]
pytestmark = pytest.mark.needs("userns", "bwrap")
SHELL = Process(args=("sh", "-c", "id"), environ=("PATH=/bin:/usr/bin",))


def test_nothing_is_put_into_what_has_ended_and_is_not_yet_collected() -> None:
    running = start.create(box("sleep", "1000"))
    running.release()
    running.kill()
    assert select.select([running.pidfd], [], [], PATIENCE_S)[0]
    with pytest.raises(NotFound, match="no process"):
        enter.enter(running.pid, SHELL)
    running.wait()
    running.close()


def test_nothing_is_put_into_another_process_that_got_the_number() -> None:
    running = start.create(box("sleep", "1000"))
    running.release()
    with pytest.raises(NotFound, match="no process"):
        enter.enter(running.pid, SHELL, started=running.start_time + 1)
    running.kill()
    running.wait()
    running.close()


@pytest.mark.parametrize("way", ["helper", "no-helper", "native"])
def test_a_file_keeps_its_whole_name_and_a_hostile_tree_ends_a_copy(
    life: Life, tmp_path: Path, way: str
) -> None:
    life.by(way)
    script = (
        "import os\nos.chdir('/tmp')\nopen('.profile', 'w').write('x')\nopen('a\\nb', 'w')\nos.mkfifo('fifo')\n"
        "open('big', 'w').truncate(1 << 40)\nos.symlink('/proc/1/root', 'out')\n"
        "os.mkdir('deep'); os.chdir('deep')\n"
        "for n in range(1500): os.mkdir('d'); os.chdir('d')\n"
        "print('up', flush=True)\nimport time; time.sleep(1000)\n"
    )
    id_ = life.start("python3", "-c", script)
    life.follow(id_, "up")
    target = tmp_path / "target"
    target.mkdir()
    for name in (".profile", "big", "a\nb"):
        assert life("cp", f"{id_}:/tmp/{name}", target).code == 0
    assert sorted(os.listdir(target)) == [".profile", "a\nb", "big"]
    ran = life("cp", f"{id_}:/tmp/out", target)  # a magic link is followed by nobody
    assert (ran.code, os.path.lexists(target / "out"), "Traceback" in ran.err) == (1, False, False)
    assert (target / "big").stat().st_blocks * 512 < 1 << 20
    ran = life("cp", f"{id_}:/tmp/fifo", target)
    assert (ran.code, "a FIFO" in ran.err) == (1, True)
    ran = life("cp", f"{id_}:/tmp/deep", target)
    assert (ran.code, "deeper than" in ran.err, "Traceback" in ran.err) == (3, True, False)
    ran = life("diff", id_)
    assert (ran.code, "deeper than" in ran.err, "Traceback" in ran.err) == (2, True, False)
    life("kill", id_)
    top = target / "deep"
    while (top / "d/d").exists():
        (top / "d/d").rename(target / "rest")
        (top / "d").rmdir()
        (target / "rest").rename(top / "d")


@pytest.mark.parametrize("way", ["no-helper", "native"])
def test_a_launch_in_the_foreground_that_has_a_record_tells_of_its_start_and_exit(
    life: Life, way: str
) -> None:
    life.by("no-helper")
    life.by(way)
    child = life.foreground("sh", "-c", "echo up; read x; exit 5")
    assert over(child) == 5
    told = [json.loads(line) for line in life("events", "--no-follow", "--json").out.splitlines()]
    assert [(one["event"], one["node"]) for one in told] == [
        ("start", str(life.node)),
        ("exit", str(life.node)),
    ]
    assert told[1]["code"] == 5
    assert told[0]["id"] == told[1]["id"]


@pytest.mark.needs("root")
@pytest.mark.parametrize("way", ["helper", "no-helper", "native"])
def test_a_program_can_be_put_into_a_sandbox_that_has_limits(life: Life, way: str) -> None:
    life.by(way)
    configure(life.node, "cgroups: {pids: {max: 40}}, ")
    id_ = life.start("sleep", "1000")
    ran = life("exec", id_, "--", "cat", "/proc/self/cgroup")
    assert ran.code == 0, ran
    assert life("pause", id_).code == 0
    assert life("resume", id_).code == 0
    assert life("stop", "-t", "0", id_).code == 0
    said = life("run", *life.engine, life.node, "--", "cat", "/proc/self/cgroup").out
    assert ran.out == said  # the same groups, and the root of each is all that is seen


@pytest.mark.needs("root")
@pytest.mark.parametrize("way", ["helper", "native"])
def test_a_plans_own_limit_that_killed_is_in_the_record(life: Life, way: str) -> None:
    life.by(way)
    configure(life.node, "cgroups: {mem: {max: 32M}}, ")
    id_ = life.start("python3", "-c", "import time; time.sleep(.3); x = bytearray(b'x') * (200 << 20)")
    life("wait", id_)
    one = life.all()[id_]
    assert (one["code"], one["oom"]) == (137, True)
    events = [json.loads(line)["event"] for line in life("events", "--no-follow", "--json").out.splitlines()]
    assert "oom" in events


@pytest.mark.needs("root")
def test_a_forgotten_record_leaves_no_control_group(life: Life) -> None:
    id_ = life.start("sleep", "1000")
    held = json.loads((life.runtime / "running" / id_ / "record.json").read_text())
    eventually(lambda: at_rest(held["launcher"]["pid"]))
    kill(held["supervisor"]["pid"])
    assert gone(*(held[key]["pid"] for key in ("supervisor", "launcher", "init", "main")))
    assert life("rm", id_).code == 0
    assert [at for at in held["cgroup"]["paths"].values() if os.path.isdir(at)] == []


@pytest.mark.needs("root")
def test_orphans_in_its_control_group_are_not_forgotten(life: Life) -> None:
    configure(life.node, "share_pid: enabled, ")
    id_ = life.start("sh", "-c", "(setsid sleep 62 &) ; sleep 63")
    pids = life.runs(id_, ("sleep", "62"), ("sleep", "63"))
    held = json.loads((life.runtime / "running" / id_ / "record.json").read_text())
    for key in ("supervisor", "launcher", "init", "main"):
        kill(held[key]["pid"])
    assert gone(*(held[key]["pid"] for key in ("supervisor", "launcher", "init", "main")))
    assert life.all()[id_]["status"] == "adrift"
    assert life("stop", "-t", "0", id_).code == 0
    assert gone(*pids)
    assert [at for at in held["cgroup"]["paths"].values() if os.path.isdir(at)] == [] or life("ps").code == 0
    assert [at for at in held["cgroup"]["paths"].values() if os.path.isdir(at)] == []


def test_a_signal_for_a_dead_program_is_refused(life: Life) -> None:
    id_ = life.start("sleep", "1000")
    held = json.loads((life.runtime / "running" / id_ / "record.json").read_text())
    os.kill(held["supervisor"]["pid"], signal.SIGSTOP)  # so that its end is not written down
    try:
        kill(held["main"]["pid"])
        wait_for(held["main"]["pid"], PATIENCE_S)
        assert life("kill", "-s", "HUP", id_).code == 3
        assert life("exec", id_, "--", "true").code == 3
    finally:
        os.kill(held["supervisor"]["pid"], signal.SIGCONT)
    assert life("wait", id_).code == 137


def test_a_bubblewrap_whose_parent_was_killed_too_early_does_not_wait_for_ever(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stuck, "OLD_S", -1.0)  # start times are rounded to clock ticks
    block, _hold = os.pipe()
    words = os.memfd_create("words")
    os.write(words, b"--unshare-user\0--unshare-pid\0--userns-block-fd\0%d\0--bind\0/\0/\0" % block)
    os.lseek(words, 0, os.SEEK_SET)
    info, told = os.pipe()
    argv = ["/usr/bin/bwrap", "--info-fd", str(told), "--args", str(words), "--", "sleep", "1000"]
    fds = (block, words, told)
    with subprocess.Popen(
        argv, env={}, pass_fds=fds
    ) as parent:  # it waits before its word, as if it were slow
        try:
            said = b""
            while b"}" not in said:  # it comes in pieces
                said += os.read(info, 4096)
            child = json.loads(said)["child-pid"]
            assert child not in {one.pid for one in stuck.found()}  # its parent may still say it
        finally:
            parent.kill()
    eventually(lambda: child in {one.pid for one in stuck.found()})  # it may not have come to its wait yet
    stuck.end()
    assert gone(child)
    assert life("ps").code == 0
    for fd in (*fds, info, _hold):
        os.close(fd)


@pytest.mark.parametrize("way", ["helper", "no-helper", "native"])
def test_what_did_nothing_has_no_differences_with_a_prepared_tree_too(life: Life, way: str) -> None:
    life.by(way)
    if way == "native":
        assert life("warm", life.node).code == 0
    try:
        id_ = life.start("sleep", "1000")
        assert life("diff", id_).out == ""
        assert life("exec", id_, "--", "touch", "/tmp/made").code == 0
        assert life("diff", id_).out == "A /tmp/made\n"
        assert life.told("inspect", id_)[0]["live"]["mounts"]
    finally:
        life("cool", life.node)
