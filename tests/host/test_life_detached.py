"""`redpak run --detach` and what follows: logs, wait, stop, kill, names, and supervisors that are killed."""

from __future__ import annotations

import contextlib
import json
import os
import random
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import REPOSITORY
from tests.host.life_site import Life, configure, gone, kill, life
from tests.host.processes import at_rest, descendants, is_orphaned_bwrap, is_waiting_bwrap
from tests.patience import PATIENCE_S, eventually

__all__ = ["life"]
pytestmark = pytest.mark.needs("userns", "bwrap")
TALK = "echo out; echo err >&2; sleep 1000"


def record(life: Life, id_: str) -> dict[str, Any]:
    """Return the record of something that runs."""
    shown: dict[str, Any] = json.loads((life.runtime / "running" / id_ / "record.json").read_text())
    return shown


def test_it_runs_on_when_its_starter_has_gone_and_says_how_it_ended(life: Life) -> None:
    id_ = life.start("sh", "-c", "read line; echo got:$line; exit 7", name="web")
    assert len(id_) == 8
    ran = life("wait", "web")
    assert (ran.code, ran.out) == (7, "")
    one = life.all()[id_]
    assert (one["status"], one["code"], one["name"], one["detached"]) == ("exited", 7, "web", True)
    assert life("logs", id_).out == "got:\n"  # standard input is empty


def test_both_streams_are_in_the_log_and_come_out_where_they_belong(life: Life) -> None:
    id_ = life.start("sh", "-c", "echo out; echo err >&2; printf half")
    life("wait", id_)
    ran = life("logs", id_)
    assert (ran.out, ran.err) == ("out\nhalf", "err\n")
    assert life("logs", "--stream", "stderr", id_).out == ""
    assert life("logs", "-n", "1", id_).out + life("logs", "-n", "1", id_).err == "half"
    lines = [json.loads(line) for line in life("logs", "--json", id_).out.splitlines()]
    assert {(line["stream"], line["text"]) for line in lines} == {
        ("stdout", "out"), ("stderr", "err"), ("stdout", "half"),
    }  # fmt: skip


def test_logs_can_be_followed_to_the_end(life: Life) -> None:
    id_ = life.start("sh", "-c", "echo first; while [ ! -e /tmp/go ]; do sleep 0.05; done; echo last; exit 3")
    argv = [*life.redpak.argv, "logs", "-f", id_]
    with subprocess.Popen(argv, env=life.redpak.environ, stdout=subprocess.PIPE) as follower:
        assert follower.stdout is not None
        assert follower.stdout.readline() == b"first\n"
        assert life("exec", id_, "--", "touch", "/tmp/go").code == 0
        assert follower.stdout.read() == b"last\n"
        assert follower.wait(PATIENCE_S) == 0


def test_logs_that_are_followed_end_with_their_reader(life: Life) -> None:
    id_ = life.start("sh", "-c", "echo first; sleep 1000")
    argv = [*life.redpak.argv, "logs", "-f", id_]
    with subprocess.Popen(argv, env=life.redpak.environ, stdout=subprocess.PIPE) as follower:
        assert follower.stdout is not None
        assert follower.stdout.readline() == b"first\n"
        follower.stdout.close()
        assert follower.wait(PATIENCE_S) == 141


def test_a_capped_log_keeps_the_youngest_lines(life: Life) -> None:
    id_ = life.start("seq", "200000", options=("--log-size", "64K"))
    assert life("wait", id_).code == 0
    lines = life("logs", id_).out.splitlines()
    assert lines[-1] == "200000"
    assert lines == [str(number) for number in range(int(lines[0]), 200001)]
    held = sum(at.stat().st_size for at in (life.runtime / "ended" / id_).glob("log*"))
    assert held <= 64 << 10


def test_nothing_of_the_starter_is_inherited(life: Life, tmp_path: Path) -> None:
    leak = os.open(tmp_path, os.O_RDONLY)
    os.set_inheritable(leak, True)
    try:
        id_ = life.start("sleep", "1000", pass_fds=(leak,))
    finally:
        os.close(leak)
    for key in ("supervisor", "launcher", "main"):
        pid = record(life, id_)[key]["pid"]
        held = held_open(pid)
        assert not [at for at in held if at.startswith(str(tmp_path)) and str(life.runtime) not in at], held
    supervisor = record(life, id_)["supervisor"]["pid"]
    assert os.getsid(supervisor) != os.getsid(0)
    assert os.readlink(f"/proc/{supervisor}/cwd") == "/"
    life("kill", id_)


def held_open(pid: int) -> set[str]:
    """Return what a process holds open."""
    held = set()
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):  # it has just closed it
            held.add(os.readlink(f"/proc/{pid}/fd/{fd}"))
    return held


def test_a_program_that_is_not_there_is_said_at_once_and_leaves_no_record(life: Life) -> None:
    ran = life("run", "-d", life.node, "--", "nosuch")
    assert (ran.code, ran.out) == (127, "")
    assert "'nosuch' is not in the sandbox" in ran.err
    assert life.all() == {}


def test_a_limit_that_cannot_be_had_is_said_at_once_and_leaves_no_record(life: Life) -> None:
    configure(life.node, "cgroups: {io: {cost_qos: '8:0 enable=1'}},")  # refused on every host
    ran = life("run", "-d", life.node, "--", "sleep", "1000")
    assert (ran.code, ran.out) == (3, ""), ran
    assert "cost" in ran.err
    assert life.all() == {}


def test_the_native_engine_needs_no_helper(life: Life) -> None:
    life.redpak.environ["REDPAK_NO_HELPER"] = "1"
    assert life("run", "--engine", "native", life.node, "--", "sh", "-c", "exit 7").code == 7


def test_a_configuration_that_is_wrong_is_said_before_anything_is_made(life: Life) -> None:
    (life.node / "etc/redpak.yaml").write_text("nonsense: 1\n")
    ran = life("run", "-d", life.node, "--", "true")
    assert ran.code == 2
    assert not life.runtime.exists()


def test_stop_asks_first_and_kills_what_does_not_listen(life: Life) -> None:
    kind = life.start("sh", "-c", 'trap "exit 5" TERM; echo up; while :; do sleep 0.05; done')
    deaf = life.start("sh", "-c", 'trap "" TERM; echo up; while :; do sleep 0.05; done')
    for id_ in (kind, deaf):
        life.follow(id_, "up")
    assert life("stop", kind).code == 0
    begin = time.monotonic()
    assert life("stop", "-t", "0.5s", deaf).code == 0
    assert time.monotonic() - begin >= 0.5
    both = life.all()
    assert (both[kind]["code"], both[deaf]["code"]) == (5, 137)
    assert life("stop", kind, deaf).code == 0, "what has ended already is what was asked for"
    assert life("kill", kind).code == 3


def test_kill_takes_everything_in_the_sandbox(life: Life) -> None:
    id_ = life.start("sh", "-c", "sleep 61 & sleep 62 & setsid sleep 63 & wait")
    pids = life.runs(id_, ("sleep", "61"), ("sleep", "62"), ("sleep", "63"))
    assert len(pids) >= 4
    assert life("kill", id_).code == 0
    assert life("wait", id_).code == 137
    assert gone(*pids)


def test_kill_takes_everything_where_the_processes_of_the_host_are_shared_too(life: Life) -> None:
    configure(life.node, "share_pid: enabled, ")
    id_ = life.start("sh", "-c", "sleep 61 & (setsid sleep 62 &) ; sleep 63")
    pids = life.runs(id_, ("sleep", "61"), ("sleep", "62"), ("sleep", "63"))
    assert life("kill", id_).code == 0
    assert gone(*pids), life("top", id_)


def test_a_signal_reaches_the_program(life: Life) -> None:
    id_ = life.start("sh", "-c", 'trap "echo hup; exit 4" HUP; echo up; while :; do sleep 0.05; done')
    life.follow(id_, "up")
    assert life("kill", "-s", "HUP", id_).code == 0
    assert life("wait", id_).code == 4
    assert life("logs", id_).out == "up\nhup\n"
    assert life("kill", "-s", "NONSENSE", id_).code == 2


def test_wait_gives_every_code_and_gives_up_when_it_is_told_to(life: Life) -> None:
    two = [life.start("sh", "-c", f"exit {code}") for code in (0, 9)]
    ran = life("wait", *two)
    assert ran.code == 9
    assert ran.out.split() == [two[0], "0", two[1], "9"]
    assert life.now() == []
    id_ = life.start("sleep", "1000")
    ran = life("wait", "-t", "0.2s", id_)
    assert (ran.code, "still runs" in ran.err) == (125, True)


def test_a_name_is_unique_among_what_runs(life: Life) -> None:
    id_ = life.start("sleep", "1000", name="web")
    ran = life("run", "-d", "--name", "web", life.node, "--", "true")
    assert (ran.code, f"taken by {id_}" in ran.err) == (5, True)
    life("kill", "web")
    life("wait", "web")
    assert life.start("true", name="web") != id_


def test_several_that_want_one_name_at_once_leave_one_winner(life: Life) -> None:
    argv = [*life.redpak.argv, "run", "-d", "--name", "one", str(life.node), "--", "sleep", "1000"]
    children = [
        subprocess.Popen(argv, env=life.redpak.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(6)
    ]
    codes = []
    for child in children:
        child.communicate(timeout=PATIENCE_S)
        codes.append(child.returncode)
    assert sorted(codes) == [0, 5, 5, 5, 5, 5]
    assert len(life.now()) == 1


def test_the_beginning_of_an_id_is_enough_unless_it_fits_several(life: Life) -> None:
    ids = [life.start("sleep", "1000") for _ in range(3)]
    assert life.told("inspect", "--no-plan", ids[0])[0]["id"] == ids[0]
    others = life.runtime / "running"
    (others / ids[1]).rename(others / f"{ids[0][:4]}ffff")  # as if chance had given it so
    record_ = json.loads((others / f"{ids[0][:4]}ffff" / "record.json").read_text())
    (others / f"{ids[0][:4]}ffff" / "record.json").write_text(
        json.dumps({**record_, "id": f"{ids[0][:4]}ffff"})
    )
    ran = life("stop", ids[0][:4])
    assert ran.code == 2
    assert "may be" in ran.err


@pytest.mark.slow
def test_fifty_start_at_once_and_all_of_them_are_told_apart(life: Life) -> None:
    argv = [*life.redpak.argv, "run", "-d", str(life.node), "--", "sh", "-c", "echo $$; sleep 1000"]
    children = [
        subprocess.Popen(argv, env=life.redpak.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(50)
    ]
    ids = []
    for child in children:
        out, err = child.communicate(timeout=2 * PATIENCE_S)
        assert child.returncode == 0, err
        ids.append(out.decode().strip())
    assert len(set(ids)) == 50
    shown = life.all()
    assert {one["status"] for one in shown.values()} == {"running"}
    assert set(shown) == set(ids)
    pids = [
        one[key] for one in shown.values() for key in ("pid", "init_pid", "launcher_pid", "supervisor_pid")
    ]
    assert life("stop", "-t", "0", *ids).code == 0
    assert life.now() == []
    assert gone(*pids)
    assert {one["code"] for one in life.all().values()} == {137}
    assert life("rm", "--ended").code == 0
    assert [at.name for at in life.runtime.glob("*/*")] == []


def test_a_killed_supervisor_takes_the_sandbox_with_it_and_the_next_command_says_so(life: Life) -> None:
    id_ = life.start("sh", "-c", "sleep 61 & sleep 62")
    held = record(life, id_)
    eventually(lambda: at_rest(held["launcher"]["pid"]))
    pids = [one["pid"] for one in life.told("top", id_)]
    kill(held["supervisor"]["pid"])
    assert gone(*pids, held["supervisor"]["pid"], held["launcher"]["pid"])
    one = life.all()[id_]
    assert (one["status"], one["code"]) == ("lost", None)
    assert f"(pid {held['supervisor']['pid']}) was killed" in one["reason"]
    ran = life("wait", id_)
    assert (ran.code, "was killed" in ran.err) == (125, True)
    assert [event["event"] for event in events(life)][-1] == "lost"


def events(life: Life) -> list[dict[str, Any]]:
    """Return every event so far."""
    ran = life("events", "--no-follow", "--json")
    return [json.loads(line) for line in ran.out.splitlines()]


def test_a_killed_launcher_ends_the_sandbox_and_is_written_down(life: Life) -> None:
    id_ = life.start("sleep", "1000")
    held = record(life, id_)
    eventually(lambda: at_rest(held["launcher"]["pid"]))
    kill(held["launcher"]["pid"])
    assert life("wait", id_).code == 137
    assert gone(held["main"]["pid"])
    assert life.all()[id_]["status"] == "exited"


@pytest.mark.slow
def test_whoever_is_killed_at_whatever_moment_the_next_command_shows_the_truth(life: Life) -> None:
    rng = random.Random(4)
    seen: set[str] = set()
    begun = time.monotonic()
    whole = life.start("sleep", "1000")
    whole_s = time.monotonic() - begun
    assert life("stop", "-t", "0", whole).code == 0
    assert life("rm", whole).code == 0
    for turn in range(100):
        if turn >= 25 and seen & {"lost", "exited"}:
            break
        argv = [*life.redpak.argv, "run", "-d", str(life.node), "--", "sh", "-c", "sleep 1000"]
        starter = subprocess.Popen(
            argv, env=life.redpak.environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        select.select(
            [], [], [], rng.uniform(0, whole_s * (1 + turn / 25))
        )  # of the start, which may take longer now
        victims = list(running_redpaks(life))
        if victims:
            kill(rng.choice(victims))
        starter.wait(PATIENCE_S)
        # a supervisor whose starter was killed goes on
        eventually(lambda: [one for one in life.all().values() if one["status"] == "starting"], [])
        for one in life.all().values():
            seen.add(one["status"])
            if one["status"] == "adrift":  # it has not noticed yet, or never will (see is_orphaned_bwrap)
                continue
            assert (one["pid"] is not None) == (one["status"] == "running"), one
            if one["status"] == "running":
                assert one["supervisor_pid"], one
        running = [one["id"] for one in life.now()]
        if running:
            assert life("stop", "-t", "0", *running).code == 0
    assert life.now() == []
    assert "lost" in seen or "exited" in seen
    for pid in descendants(
        os.getpid()
    ):  # what bubblewrap leaves when it dies before its first word, or right after it (see processes.py)
        if is_waiting_bwrap(pid) or is_orphaned_bwrap(pid):
            kill(pid)
    assert life("rm", "--ended").code == 0
    for stage in ("starting", "running", "ended"):
        assert list((life.runtime / stage).iterdir()) == []


def running_redpaks(life: Life) -> list[int]:
    """Return the processes of starts that use this test's runtime directory: starter, supervisor and launcher."""
    found = []
    mark = f"REDPAK_RUNTIME_DIR={life.runtime}".encode()
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            try:
                environ = Path(f"/proc/{name}/environ").read_bytes()
                cmdline = Path(f"/proc/{name}/cmdline").read_bytes()
            except OSError:
                continue
            if mark in environ and b"pytest" not in cmdline:
                found.append(int(name))
    return found


def test_a_full_file_system_is_no_reason_to_lose_what_ended(life: Life) -> None:
    id_ = life.start("sh", "-c", "echo up; sleep 1000")
    supervisor = record(life, id_)["supervisor"]["pid"]
    (life.runtime / "running" / id_ / "exit.json").mkdir()  # nothing can be written there
    life("kill", id_)
    assert gone(supervisor)
    one = life.all()[id_]
    assert one["status"] == "lost"
    assert "cannot be read" in one["reason"]


def test_events_are_followed_as_they_happen(life: Life) -> None:
    life("rm", "--old")
    argv = [*life.redpak.argv, "events", "--json", "--since", "1h"]
    with subprocess.Popen(argv, env=life.redpak.environ, stdout=subprocess.PIPE) as follower:
        assert follower.stdout is not None
        id_ = life.start("sh", "-c", "exit 3", name="web")
        got = [json.loads(follower.stdout.readline()) for _ in range(2)]
        got.append(json.loads(follower.stdout.readline()) if got[-1]["event"] == "start" else got[-1])
        follower.send_signal(signal.SIGINT)
        assert follower.wait(PATIENCE_S) == 130
    assert {one["id"] for one in got} == {id_}
    assert (got[0]["event"], got[-1]["event"], got[-1]["code"]) == ("create", "exit", 3)


@pytest.mark.parametrize("what", ["link", "open", "file"])
def test_a_planted_runtime_directory_is_refused_by_every_command(
    life: Life, tmp_path: Path, what: str
) -> None:
    if what == "link":
        (tmp_path / "theirs").mkdir(mode=0o700)
        life.runtime.symlink_to(tmp_path / "theirs")
    elif what == "open":
        life.runtime.mkdir()
        life.runtime.chmod(0o777)
    else:
        life.runtime.write_text("")
    for words in (
        ("ps",),
        ("run", "-d", life.node, "--", "true"),
        ("stop", "x"),
        ("logs", "x"),
        ("rm", "--ended"),
    ):
        ran = life(*words)
        assert ran.code == 3, ran
        assert "runtime directory" in ran.err


@pytest.mark.needs("root")
def test_a_directory_in_tmp_that_another_user_planted_is_refused(life: Life) -> None:
    uid = 1_000_000 + os.getpid()  # others may run this at the same time
    at = Path(f"/tmp/redpak-{uid}")
    at.mkdir(mode=0o700)  # root's, not theirs
    code = f"import os, sys; os.setresgid({uid}, {uid}, {uid}); os.setresuid({uid}, {uid}, {uid})\n"
    code += "from redpak.state import place; place.ready()"
    try:
        environ = {"PYTHONPATH": str(REPOSITORY), "PATH": "/usr/bin"}
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_S,
        )
    finally:
        at.rmdir()
    assert "belongs to another user (uid 0)" in done.stderr
