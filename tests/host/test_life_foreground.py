"""Launches in the foreground leave no record and are found all the same; and what is done to what runs."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import stat
import subprocess
from pathlib import Path

import pytest

from tests.host.life_site import Life, configure, gone, kill, life, over, waits
from tests.host.processes import at_rest
from tests.patience import PATIENCE_S, eventually

__all__ = ["life"]
pytestmark = pytest.mark.needs("userns", "bwrap", "cc")
ways = pytest.mark.parametrize("way", ["helper", "no-helper", "native"])
SHOULD = ["C /dev/shm", "A /dev/shm/s", "A /tmp/d", "A /tmp/d/f", "A /tmp/l"]
RIGHTS = (
    "grep -E '^(Uid|Gid|Cap|NoNewPrivs|Seccomp|Umask)' /proc/self/status; cat /proc/self/limits; env | sort; pwd; "
    "for kind in cgroup ipc mnt net pid time user uts; do readlink /proc/self/ns/$kind; done; cat /proc/self/cgroup"
)


@ways
def test_a_launch_in_the_foreground_is_listed_by_its_node_until_it_ends(life: Life, way: str) -> None:
    life.by(way)
    child = life.foreground("sh", "-c", "echo up; cat; exit 9")
    try:
        (one,) = life.now()
        assert (one["node"], one["detached"], one["status"]) == (str(life.node), False, "running")
        assert one["command"] == ["sh", "-c", "echo up; cat; exit 9"]
        assert one["launcher_pid"] == child.pid
        assert life.now()[0]["id"] == one["id"]
        assert (life.runtime / "running").exists() == (
            way == "no-helper"
        )  # only without the helper there is a record
    finally:
        code = over(child)
    assert code == 9
    assert life.all() == {}


def test_a_relative_node_is_named_in_full_and_a_frozen_launcher_is_found_as_well(
    life: Life, tmp_path: Path
) -> None:
    life("freeze", life.node, "-o", tmp_path / "frozen", "--", "sh", "-c", "echo up; cat")
    argv = [str(tmp_path / "frozen")]
    env = life.redpak.environ
    child = subprocess.Popen(argv, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=tmp_path)
    assert child.stdout is not None
    assert child.stdout.readline() == b"up\n"
    (one,) = life.now()
    assert one["node"] == str(life.node)
    assert life("exec", str(life.node), "--", "sh", "-c", "exit 6").code == 6
    assert over(child) == 0


def test_wait_knows_the_code_of_what_somebody_else_started(life: Life) -> None:
    child = life.foreground("sh", "-c", "echo up; cat; exit 9")
    (one,) = life.now()
    waiter = subprocess.Popen([*life.redpak.argv, "wait", one["id"]], env=life.redpak.environ)
    eventually(lambda: waits(waiter.pid))
    over(child)
    assert waiter.wait(PATIENCE_S) in (9, 125)  # 125: before Linux 6.15 only its parent is told


@ways
def test_stop_and_kill_end_a_launch_in_the_foreground(life: Life, way: str) -> None:
    life.by(way)
    for words, code in ((("stop",), 128 + 15), (("kill",), 128 + 9)):
        child = life.foreground("sh", "-c", "echo up; exec sleep 1000")
        (one,) = life.now()
        assert life(*words, one["id"]).code == 0
        assert over(child) == code
        assert gone(one["pid"])


def test_its_output_is_on_its_terminal_not_in_a_log(life: Life) -> None:
    child = life.foreground("sh", "-c", "echo up; cat")
    (one,) = life.now()
    ran = life("logs", one["id"])
    assert (ran.code, "runs in the foreground" in ran.err) == (3, True)
    over(child)


def rights(said: str) -> list[str]:
    return [line for line in said.splitlines() if not line.startswith("_=")]


@ways
@pytest.mark.parametrize(
    "config",
    [
        "",
        "share_net: enabled, ",
        "share_pid: enabled, ",
        "chdir: /usr, umask: '027', ",
        "capabilities: [{cap: CAP_CHOWN, add: 1}, {cap: CAP_NET_BIND_SERVICE, add: 1}], rlimits: {nofile: 100}, ",
        "share_user: enabled, capabilities: [{cap: CAP_CHOWN, add: 1}], ",
    ],
    ids=["sealed", "net", "pid", "where", "rights", "user"],
)
def test_what_is_put_in_has_exactly_the_rights_of_the_first_program(
    life: Life, config: str, way: str
) -> None:
    life.by(way)
    configure(life.node, config)
    script = f"({RIGHTS}) >/tmp/rights; echo up; cat"
    child = life.foreground("sh", "-c", script, preexec_fn=lambda: os.environ.clear())
    try:
        (one,) = life.now()
        first = life("exec", one["id"], "--", "cat", "/tmp/rights")
        assert first.code == 0, first
        ran = life("exec", one["id"], "--", "sh", "-c", RIGHTS)
        assert ran.code == 0, ran
        assert rights(ran.out) == rights(first.out)
    finally:
        over(child)


def test_what_is_put_in_gets_the_variables_of_the_start_not_ours(life: Life) -> None:
    life.redpak.environ["GIVEN"] = "then"
    id_ = life.start("sh", "-c", "export SAID=changed; sleep 1000 & wait")
    life.redpak.environ["GIVEN"] = "now"
    script = 'echo "$GIVEN|$SAID|$MORE|$HOME"'
    ran = life("exec", "-e", "MORE=1", "-e", "UNSET_HERE", id_, "--", "sh", "-c", script)
    assert ran.out == "then|a 'b' c|1|\n", ran


def test_the_program_cannot_mislead_what_is_put_in(life: Life) -> None:
    id_ = life.start("bash", "-c", "export LD_PRELOAD=/tmp/evil PATH=/tmp; exec -a odd /usr/bin/sleep 1000")
    ran = life("exec", id_, "--", "sh", "-c", 'echo "$LD_PRELOAD|$PATH"')
    assert ran.out.startswith("|/usr"), ran


def test_exec_says_why_a_program_did_not_run_and_returns_the_code_of_one_that_did(life: Life) -> None:
    id_ = life.start("sleep", "1000")
    assert life("exec", id_, "--", "sh", "-c", "exit 77").code == 77
    assert life("exec", id_, "--", "sh", "-c", "kill -9 $$").code == 137
    assert life("exec", id_, "--", "nosuch").code == 127
    assert life("exec", id_, "--", "/usr").code == 126
    assert life("exec", id_).code == 2
    assert life("exec", id_, "--", "cat", stdin=b"through").out == "through"


def test_a_signal_for_exec_reaches_what_it_put_in(life: Life) -> None:
    id_ = life.start("sleep", "1000")
    script = 'trap "exit 44" TERM; echo up; while :; do sleep 0.05; done'
    argv = [*life.redpak.argv, "exec", id_, "--", "sh", "-c", script]
    with subprocess.Popen(argv, env=life.redpak.environ, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"up\n"
        child.send_signal(signal.SIGTERM)
        assert child.wait(PATIENCE_S) == 44


@pytest.mark.needs("pty")
def test_enter_gives_a_terminal_of_the_sandboxs_own(life: Life) -> None:
    id_ = life.start("sleep", "1000")
    ours, theirs = pty.openpty()
    mine = str(os.fstat(theirs).st_dev)
    argv = [*life.redpak.argv, "enter", id_]
    env = {**life.redpak.environ, "TERM": "vt100", "PS1": "$ "}
    child = subprocess.Popen(
        argv, env=env, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    )
    os.close(theirs)
    os.write(ours, b"echo at:$(tty):$(stat -c %d $(tty)):$TERM; exit 8\n")
    said = b""
    while True:
        try:
            data = os.read(ours, 4096)
        except OSError:
            break
        said += data
        if not data:
            break
    os.close(ours)
    assert child.wait(PATIENCE_S) == 8
    (line,) = [one for one in said.decode().splitlines() if one.startswith("at:/dev/")]
    assert line.endswith(":vt100")
    assert line.split(":")[2] != mine  # of another instance of devpts(5): nothing of ours is in reach


def test_files_are_copied_both_ways_with_their_modes(life: Life, tmp_path: Path) -> None:
    id_ = life.start("sleep", "1000")
    tree = tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)
    (tree / "sub" / "file").write_bytes(os.urandom(3 << 20))
    (tree / "sub" / "file").chmod(0o4750)
    (tree / "link").symlink_to("/etc/passwd")
    assert life("cp", tree, f"{id_}:/tmp/").code == 0
    assert life("exec", id_, "--", "ls", "/tmp/tree").out == "link\nsub\n"
    assert life("cp", f"{id_}:/tmp/tree", tmp_path / "back").code == 0
    assert (tmp_path / "back/sub/file").read_bytes() == (tree / "sub/file").read_bytes()
    assert stat.S_IMODE((tmp_path / "back/sub/file").stat().st_mode) == 0o750  # set-id bits stay behind
    assert os.readlink(tmp_path / "back/link") == "/etc/passwd"
    assert life.told("cp", f"{id_}:/tmp/tree/sub/file", str(tmp_path / "one"))["bytes"] == 3 << 20


@pytest.mark.parametrize("trap", ["/tmp/../../../..{}", "/tmp/abs{}", "/tmp/rel{}", "/proc/1/root{}"])
def test_no_path_in_a_sandbox_leads_out_of_it(life: Life, tmp_path: Path, trap: str) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret of the host\n")
    up = "../" * 30
    script = f"mkdir -p /tmp{tmp_path}; ln -s {tmp_path} /tmp/abs; ln -s {up} /tmp/rel; echo up; sleep 1000"
    id_ = life.start("sh", "-c", script)
    life.follow(id_, "up")
    path = trap.format("/secret" if "abs" in trap else str(secret))
    ran = life("cp", f"{id_}:{path}", tmp_path / "stolen")
    assert ran.code != 0, ran
    assert not (tmp_path / "stolen").exists()
    (tmp_path / "mine").write_text("changed\n")
    life("cp", tmp_path / "mine", f"{id_}:{path}")
    assert secret.read_text() == "secret of the host\n"


def test_a_link_in_a_copied_tree_is_copied_and_never_followed(life: Life, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s")
    id_ = life.start(
        "sh",
        "-c",
        f"mkdir /tmp/t; ln -s {tmp_path}/secret /tmp/t/link; mkfifo /tmp/t/fifo; echo up; sleep 1000",
    )
    life.follow(id_, "up")
    ran = life("cp", f"{id_}:/tmp/t", tmp_path / "out")
    assert ran.code == 1
    assert "'/tmp/t/fifo' is a FIFO" in ran.err
    assert (tmp_path / "out/link").is_symlink()
    ran = life("cp", f"{id_}:/dev/null", tmp_path / "null")
    assert (ran.code, "is a device" in ran.err) == (1, True)


def test_a_copy_onto_itself_by_a_shared_directory_ends(life: Life, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "file").write_text("x")
    config = life.node / "etc/redpak.yaml"
    config.write_text(
        config.read_text().replace(
            "environ:", f"  - {{mode: Private, mount: /mine, path: {shared}}}\nenviron:"
        )
    )
    id_ = life.start("sleep", "1000")
    ran = life("cp", shared, f"{id_}:/mine/below")
    assert ran.code in (1, 3), ran


def test_usage_of_cp_is_told(life: Life, tmp_path: Path) -> None:
    id_ = life.start("sleep", "1000")
    assert life("cp", f"{id_}:/a", f"{id_}:/b").code == 2
    assert life("cp", tmp_path / "a", tmp_path / "b").code == 2
    assert life("cp", f"{id_}:relative", tmp_path).code == 2
    assert life("cp", f"{id_}:/nosuch", tmp_path).code == 4


def test_diff_lists_what_the_program_did_and_not_what_the_launch_did(life: Life) -> None:
    id_ = life.start("sleep", "1000")
    assert life("diff", id_).out == ""
    script = "mkdir /tmp/d; echo x >/tmp/d/f; ln -s /etc /tmp/l; echo y >/dev/shm/s"
    assert life("exec", id_, "--", "sh", "-c", script).code == 0
    ran = life("diff", "--exit-code", id_)
    assert (ran.code, ran.out.split("\n")[:-1]) == (1, SHOULD)
    told = life.told("diff", id_)
    assert {"path": "/tmp/d/f", "change": "added", "size_bytes": 2} in told["changes"]
    assert "/tmp" in [place["path"] for place in told["places"]]


def test_top_and_stats_show_every_process(life: Life) -> None:
    id_ = life.start("sh", "-c", "sleep 61 & sleep 62 & wait")
    life.runs(id_, ("sleep", "61"), ("sleep", "62"))
    shown = life.told("top", id_)
    assert sorted(one["inner_pid"] for one in shown)[0] == 1
    (stats,) = json.loads(life("stats", "--no-stream", "--json", id_).out)
    assert (stats["id"], stats["pids"]) == (id_, 4)
    assert stats["memory_bytes"] > 0
    assert stats["cpu_percent"] >= 0


def test_stats_count_processor_time(life: Life) -> None:
    id_ = life.start("sh", "-c", "while :; do :; done")
    eventually(lambda: json.loads(life("stats", "--no-stream", "--json", id_).out)[0]["cpu_percent"] > 10)
    life("kill", id_)


def test_inspect_tells_plan_record_and_what_the_kernel_says(life: Life) -> None:
    id_ = life.start("sleep", "1000", name="web")
    (one,) = life.told("inspect", "web")
    assert (one["id"], one["plan"]["node"]) == (id_, str(life.node))
    assert one["plan"]["command"] == ["sleep", "1000"]
    assert one["plan"]["digest"].startswith("sha256:")
    assert one["live"]["namespaces"]["pid"]["own"]
    assert {"/usr", "/tmp", "/proc"} <= {at["path"] for at in one["live"]["mounts"]}
    assert one["pid"] in one["live"]["processes"]
    assert one["live"]["status"]["NoNewPrivs"] == "1"
    assert "mounts inside" in life("inspect", "web").out
    life("kill", "web")
    life("wait", "web")
    (one,) = life.told("inspect", "web")
    assert (one["live"], one["code"]) == (None, 137)


def test_a_generation_that_a_sandbox_holds_is_told(life: Life) -> None:
    generation = life.node / ".redpak/generations/8"
    (generation / "opt").mkdir(parents=True)
    config = life.node / "etc/redpak.yaml"
    line = f"  - {{mode: Restricted, mount: /opt, path: {generation}/opt}}\nenviron:"
    config.write_text(config.read_text().replace("environ:", line))
    id_ = life.start("sleep", "1000")
    assert life.told("inspect", "--no-plan", id_)[0]["generations"] == [str(generation)]


@pytest.mark.needs("root")
def test_a_paused_sandbox_stands_still_and_goes_on(life: Life) -> None:
    id_ = life.start("sh", "-c", "i=0; while :; do i=$((i+1)); echo $i >/tmp/i; sleep 0.01; done", name="web")
    root = f"/proc/{life.now()[0]['pid']}/root/tmp/i"
    eventually(lambda: os.path.exists(root))
    assert life("pause", "web").code == 0
    assert life.now()[0]["status"] == "paused"
    before = Path(root).read_text()
    select.select([], [], [], 0.3)
    assert Path(root).read_text() == before
    assert life("pause", "web").code == 3
    assert life("exec", "web", "--", "true").code == 3
    assert life("resume", "web").code == 0
    assert life("resume", "web").code == 3
    assert life.now()[0]["status"] == "running"
    assert life("pause", "web").code == 0
    assert life("stop", "web").code == 0  # what is paused is let go to hear it
    assert life.all()[id_]["code"] == 143


@pytest.mark.needs("root")
def test_no_control_group_is_left_whoever_was_killed(life: Life) -> None:
    groups = []
    for victim in ("main", "supervisor"):
        id_ = life.start("sleep", "1000")
        held = json.loads((life.runtime / "running" / id_ / "record.json").read_text())
        groups += list(held["cgroup"]["paths"].values())
        assert all(os.path.isdir(at) for at in groups[-1:])
        eventually(lambda: at_rest(held["launcher"]["pid"]))  # noqa: B023 - called at once
        kill(held[victim]["pid"])
        assert gone(*(held[key]["pid"] for key in ("supervisor", "launcher", "init", "main")))
    assert life("ps").code == 0
    assert [at for at in groups if os.path.isdir(at)] == []


@pytest.mark.needs("user")
def test_what_has_no_control_group_is_not_paused(life: Life) -> None:
    life.start("sleep", "1000", name="web")
    if life.told("inspect", "web")[0]["live"]["cgroup"]:
        pytest.skip("needs a user without control groups: this one has some")
    ran = life("pause", "web")
    assert (ran.code, "no control group" in ran.err) == (3, True)


def test_commands_complete_what_was_mistyped(life: Life) -> None:
    life.start("sleep", "1000", name="webserver")
    ran = life("stop", "webservr")
    assert (ran.code, "Did you mean 'webserver'?" in ran.err) == (4, True)
