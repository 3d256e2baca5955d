"""Images, callers and neighbours that are hostile or odd: the runtime neither hangs, nor leaks, nor is led astray."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.host.oci_site import DEFAULT_MOUNTS, Site
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.needs("userns", "program:busybox")
FOREVER = ("sleep", "1000")
ROOT_ONLY = pytest.mark.needs("root", "userns", "program:busybox")


@pytest.fixture
def oci(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    site.clean()


def test_a_pipe_in_the_place_of_passwd_stops_nobody(oci: Site) -> None:
    os.mkfifo(oci.rootfs / "etc" / "passwd")
    ended = oci.run("a", "sh", "-c", "echo $HOME")
    assert (ended.code, ended.out) == (0, "/\n")


def test_home_comes_from_the_images_passwd(oci: Site) -> None:
    (oci.rootfs / "etc" / "passwd").write_text("x:x:7:7::/seven:\nroot:x:0:0::/of/root:/bin/sh\n")
    assert oci.run("a", "sh", "-c", "echo $HOME").out == "/of/root\n"


def test_a_link_of_the_image_leads_no_mount_into_proc(oci: Site) -> None:
    (oci.rootfs / "data").symlink_to("/proc/self")
    (oci.scratch / "volume").mkdir()
    volume = {
        "destination": "/data/attr",
        "type": "bind",
        "source": str(oci.scratch / "volume"),
        "options": ["bind"],
    }
    ended = oci.run("a", "true", mounts=[*DEFAULT_MOUNTS, volume])
    assert (ended.code, "/data/attr" in ended.err, "/proc" in ended.err) == (1, True, True), ended


def test_a_hook_gets_no_descriptor_that_the_caller_left_open(oci: Site) -> None:
    listed = oci.scratch / "listed"
    hooks = {
        phase: [
            {
                "path": "/bin/busybox",
                "args": ["sh", "-c", f"for one in 3 77; do test -e /proc/self/fd/$one && echo {phase} $one; done"
                         f" >>{listed}; true"],
            }
        ]
        for phase in ("prestart", "createRuntime", "createContainer", "poststart", "poststop")
    }  # fmt: skip
    with open(oci.scratch / "secret", "w") as secret:
        os.dup2(secret.fileno(), 77)
        try:
            bundle = oci.bundle("a", "true", hooks=hooks)
            with oci.popen("run", "--bundle", bundle, "a", pass_fds=(77,)) as running:
                assert running.wait(PATIENCE_S) == 0
        finally:
            os.close(77)
    assert listed.read_text() == ""


@pytest.mark.parametrize("phase", ["createRuntime", "createContainer", "startContainer"])
def test_a_long_state_reaches_a_hook_whole(oci: Site, phase: str) -> None:
    said = {"big": "x" * 300_000}
    out = oci.scratch / "told" if phase != "startContainer" else oci.rootfs / "told"
    inside = str(out) if phase != "startContainer" else "/told"
    hook = {"path": "/bin/busybox", "args": ["sh", "-c", f"/bin/busybox cat >{inside}"]}
    ended = oci.run("a", "true", hooks={phase: [hook]}, annotations=said)
    assert ended.code == 0, ended
    assert json.loads(out.read_text())["annotations"] == said


def test_a_pid_file_may_be_a_pipe_and_stays_one(oci: Site) -> None:
    pipe = oci.scratch / "pid"
    os.mkfifo(pipe)
    end = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)
    try:
        made = oci("create", "--bundle", oci.bundle("a", *FOREVER), "--pid-file", pipe, "a")
        assert made.code == 0, made
        assert int(os.read(end, 20)) == oci.state("a")["pid"]
        assert pipe.is_fifo()
    finally:
        os.close(end)


def test_a_pid_file_replaces_a_link_and_not_what_it_leads_to(oci: Site) -> None:
    (oci.scratch / "other").write_text("mine")
    (oci.scratch / "pid").symlink_to("other")
    oci("create", "--bundle", oci.bundle("a", *FOREVER), "--pid-file", oci.scratch / "pid", "a")
    assert int((oci.scratch / "pid").read_text()) == oci.state("a")["pid"]
    assert (oci.scratch / "other").read_text() == "mine"


@ROOT_ONLY
def test_the_state_of_somebody_else_is_not_believed(oci: Site) -> None:
    oci.create("a", *FOREVER)
    file = oci.root / "a" / "state.json"
    os.chown(file, 12345, 12345)
    for command in ("state", "kill", "delete"):
        refused = oci(command, "a")
        assert (refused.code, "belongs to user 12345" in refused.err) == (1, True), refused
    os.chown(file, 0, 0)


def test_nobody_else_sees_the_states(oci: Site) -> None:
    oci.create("a", *FOREVER)
    assert [at.stat().st_mode & 0o077 for at in (oci.root, oci.root / "a")] == [0, 0]


def test_what_an_unreaped_exec_leaves_does_not_keep_a_container_alive(oci: Site) -> None:
    oci.create("a", *FOREVER)
    assert oci("start", "a").code == 0
    assert oci("exec", "--detach", "--pid-file", oci.scratch / "pid", "a", "true").code == 0
    pid = int((oci.scratch / "pid").read_text())
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # it came to us, who do not collect it
    gone = oci("delete", "--force", "a")
    assert gone.code == 0, gone
    assert oci("state", "a").code == 1


def test_run_ends_with_the_programs_code_though_somebody_else_deletes_it(oci: Site) -> None:
    bundle = oci.bundle("a", *FOREVER)
    with oci.popen("run", "--bundle", bundle, "a", stderr=subprocess.PIPE) as running:
        while oci("state", "a").code or oci.state("a")["status"] != "running":
            assert running.poll() is None
        assert oci("delete", "--force", "a").code == 0
        said = running.communicate(timeout=PATIENCE_S)[1]
    assert (running.returncode, said) == (137, b"")


@ROOT_ONLY
def test_kill_ends_a_paused_container(oci: Site) -> None:
    oci.create("a", *FOREVER)
    oci("start", "a")
    pid = oci.state("a")["pid"]
    assert oci("pause", "a").code == 0
    assert oci("kill", "a", "KILL").code == 0
    oci.ended("a", pid)
    assert oci.state("a")["status"] == "stopped"


def test_exec_of_a_document_has_the_containers_restrictions_where_it_says_nothing(oci: Site) -> None:
    caps = {kind: ["CAP_KILL"] for kind in ("bounding", "effective", "permitted")}
    limits = [{"type": "RLIMIT_NOFILE", "soft": 99, "hard": 100}]
    oci.create("a", *FOREVER, process={"capabilities": caps, "rlimits": limits})
    oci("start", "a")
    args = ["sh", "-c", "ulimit -n; cat /proc/self/status"]
    document = {"args": args, "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}}
    (oci.scratch / "process.json").write_text(json.dumps(document))
    told = oci("exec", "--process", oci.scratch / "process.json", "a")
    assert told.code == 0, told
    assert told.out.startswith("99\n")
    assert "CapEff:\t0000000000000020\n" in told.out
    assert "CapBnd:\t0000000000000020\n" in told.out


def test_exec_sets_the_score_of_the_first_process(oci: Site) -> None:
    oci.create("a", *FOREVER, process={"oomScoreAdj": 321})
    oci("start", "a")
    told = oci("exec", "a", "cat", "/proc/self/oom_score_adj")
    assert (told.code, told.out) == (0, "321\n"), told


def test_exec_begins_on_the_processors_that_were_named(oci: Site) -> None:
    last = max(os.sched_getaffinity(0))
    oci.create("a", *FOREVER, process={"execCPUAffinity": {"initial": str(last)}})
    oci("start", "a")
    told = oci("exec", "a", "cat", "/proc/self/status")
    assert f"Cpus_allowed_list:\t{last}\n" in told.out
    assert f"Cpus_allowed_list:\t{last}\n" not in oci("exec", "a", "cat", "/proc/1/status").out


@ROOT_ONLY
def test_exec_enters_a_group_below_the_containers(oci: Site) -> None:
    oci.create("a", *FOREVER)
    oci("start", "a")
    tops = [at / "a" for at in oci.groups() if (at / "a").is_dir()]
    for at in tops:
        (at / "inner").mkdir()
        for file in ("cpuset.cpus", "cpuset.mems"):
            if (at / file).exists():
                (at / "inner" / file).write_text((at / file).read_text())
    told = oci("exec", "--cgroup", "inner", "a", "cat", "/proc/self/cgroup")
    assert (told.code, f"{oci.cgroup}/a/inner\n" in told.out) == (0, True), told
    for word in ("absent", "../a", "nothing:inner"):
        refused = oci("exec", "--cgroup", word, "a", "true")
        assert (refused.code, "no control group" in refused.err) == (255, True), refused


def test_a_container_in_a_user_namespace_needs_no_proc_for_exec(oci: Site) -> None:
    linux: dict[str, object] = {}
    if os.geteuid() == 0:
        maps = [{"containerID": 0, "hostID": 0, "size": 65536}]
        kinds = ("pid", "ipc", "uts", "mount", "user")
        linux = {"uidMappings": maps, "gidMappings": maps, "namespaces": [{"type": kind} for kind in kinds]}
    mounts = [one for one in DEFAULT_MOUNTS if one["destination"] != "/proc"]
    oci.create("a", *FOREVER, mounts=mounts, linux=linux)
    oci("start", "a")
    told = oci("exec", "a", "echo", "here")
    assert (told.code, told.out) == (0, "here\n"), told


def test_our_terminal_is_raw_meanwhile_follows_in_size_and_comes_back(oci: Site) -> None:
    script = "trap 'stty size; exit 4' WINCH; stty size; while :; do sleep 0.05; done"
    bundle = oci.bundle("a", "sh", "-c", script, process={"terminal": True})
    master, slave = pty.openpty()
    try:
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 11, 22, 0, 0))
        before = termios.tcgetattr(slave)
        with oci.popen("run", "--bundle", bundle, "a", stdin=slave, stdout=slave, stderr=slave) as running:
            said = b""
            while b"11 22" not in said:
                said += os.read(master, 1000)
            assert not termios.tcgetattr(slave)[3] & (termios.ICANON | termios.ECHO | termios.ISIG)
            fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 44, 0, 0))
            running.send_signal(signal.SIGWINCH)  # no session of its own: the kernel does not send it here
            while b"33 44" not in said:
                said += os.read(master, 1000)
            assert running.wait(PATIENCE_S) == 4
        assert termios.tcgetattr(slave) == before
    finally:
        os.close(master)
        os.close(slave)


def test_sockets_that_are_meant_for_the_runtime_become_the_programs(oci: Site) -> None:
    (oci.scratch / "file").write_text("through\n")
    inside = "echo $LISTEN_FDS $LISTEN_PID $LISTEN_FDNAMES; cat <&3"
    bundle = oci.bundle("a", "sh", "-c", inside)
    script = 'exec 3<"$0"; export LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=one; exec "$@"'
    argv = ["sh", "-c", script, str(oci.scratch / "file"), *oci.argv, "run", "--bundle", str(bundle), "a"]
    ran = subprocess.run(
        argv, capture_output=True, text=True, timeout=PATIENCE_S, check=False, env=oci.environ()
    )
    assert (ran.returncode, ran.stdout) == (0, "1 1 one\nthrough\n"), ran


def test_what_is_typed_reaches_the_program_and_what_it_says_the_terminal(oci: Site) -> None:
    bundle = oci.bundle("a", "sh", "-c", "read word; echo got-$word; read word; echo $word-too; exit 5")
    config = json.loads((bundle / "config.json").read_text())
    config["process"]["terminal"] = True
    (bundle / "config.json").write_text(json.dumps(config))
    master, slave = pty.openpty()
    try:
        with oci.popen("run", "--bundle", bundle, "a", stdin=slave, stdout=slave, stderr=slave) as running:
            os.write(master, b"one\r")
            said = b""
            while b"got-one" not in said:
                said += os.read(master, 1000)
            os.write(master, b"two\r")
            while b"two-too" not in said:
                said += os.read(master, 1000)
            assert running.wait(PATIENCE_S) == 5
    finally:
        os.close(master)
        os.close(slave)


def test_control_c_reaches_a_program_on_the_terminal_of_exec(oci: Site) -> None:
    oci.create("a", *FOREVER)
    oci("start", "a")
    master, slave = pty.openpty()
    try:
        words = (
            "exec",
            "--tty",
            "a",
            "sh",
            "-c",
            "trap 'exit 6' INT; echo ready; while :; do sleep 0.05; done",
        )
        with oci.popen(*words, stdin=slave, stdout=slave, stderr=slave) as running:
            said = b""
            while b"ready" not in said:
                said += os.read(master, 1000)
            os.write(master, b"\x03")
            assert running.wait(PATIENCE_S) == 6
    finally:
        os.close(master)
        os.close(slave)


@pytest.mark.parametrize(("given", "lines"), [(b"", ""), (b"one\n" * 20_000, "20000")])
def test_a_terminal_is_fed_from_a_pipe(oci: Site, given: bytes, lines: str) -> None:
    script = "stty -echo; n=0; while read word; do n=$((n+1)); done; echo lines $n"
    ended = oci.run("a", "sh", "-c", script, stdin=given, process={"terminal": True})
    assert ended.code == 0, ended
    assert f"lines {lines or 0}" in ended.out


def test_a_hook_that_is_not_there_is_said_not_to_be(oci: Site) -> None:
    for phase in ("createRuntime", "createContainer"):
        ended = oci.run("a", "true", hooks={phase: [{"path": "/nope"}]})
        assert ended.code == 1
        assert "'/nope'" in ended.err
        assert "No such file" in ended.err


def test_a_created_container_does_not_show_the_hosts_paths_to_its_pod(oci: Site) -> None:
    oci.create("a", *FOREVER)
    said = Path(f"/proc/{oci.state('a')['pid']}/cmdline").read_bytes()
    assert said.rstrip(b"\0") == b"redpak init"
