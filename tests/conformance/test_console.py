"""The runtime's command line: terminals, console sockets, descriptors that are passed on, and exec."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import socket
import struct
import termios
from typing import Any

import pytest

from tests.conformance.rig import LIMITS, USUAL_CAPS, Container, cap_mask, environ, gone, runtime_argv
from tests.doors import listening

pytestmark = pytest.mark.needs("root", "cc")


def with_terminal(box: Container, *options: str) -> tuple[int, str]:
    """Create a container with a terminal; return the descriptor that came over the console socket, and its name."""
    box.config["process"]["terminal"] = True
    at = box.yard.scratch / "console.sock"
    with listening(at) as listener:
        assert box.create("--console-socket", str(at), *options).code == 0
        peer, _ = listener.accept()
        with peer:
            name, fds, _, _ = socket.recv_fds(peer, 4096, 4)
    assert len(fds) == 1
    return fds[0], name.decode()


def read_all(fd: int) -> str:
    """Return what a terminal shows until its other side is closed."""
    said = b""
    while True:
        try:
            part = os.read(fd, 65536)
        except OSError:
            break
        if not part:
            break
        said += part
    os.close(fd)
    return said.decode()


def test_a_terminal_comes_over_the_console_socket(box: Container) -> None:
    box.config["process"]["args"] = ["/probe", "report", ";", "stat", "/dev/console"]
    fd, _ = with_terminal(box)
    assert os.isatty(fd)
    assert box.start().code == 0
    report, console = (json.loads(line) for line in read_all(fd).splitlines())
    assert report["tty"] == 1
    assert report["controlling_tty"] == 1
    assert report["sid"] == report["pid"] == 1
    assert report["fds"]["0"].startswith("/dev/pts/")
    assert console["kind"] == "c"
    assert console["major"] == 136


def test_a_terminal_has_the_configured_size(box: Container) -> None:
    box.config["process"]["consoleSize"] = {"height": 33, "width": 99}
    box.config["process"]["args"] = ["/probe", "wait", ";", "report"]
    fd, _ = with_terminal(box)
    assert box.start().code == 0
    rows, columns, _, _ = struct.unpack("HHHH", fcntl.ioctl(fd, termios.TIOCGWINSZ, b"\0" * 8))
    assert (rows, columns) == (33, 99)
    os.write(fd, b"\n")
    assert '"rows":33,"columns":99' in read_all(fd)


def test_a_terminal_belongs_to_the_user(box: Container) -> None:
    box.config["process"]["user"] = {"uid": 1000, "gid": 1000}
    box.config["process"]["args"] = ["/probe", "stat", "/proc/self/fd/0", "/dev/pts/0"]
    fd, _ = with_terminal(box)
    assert box.start().code == 0
    said = [json.loads(line) for line in read_all(fd).splitlines()]
    assert said[1]["uid"] == 1000


def test_a_console_size_without_a_terminal_is_ignored(box: Container) -> None:
    box.config["process"]["consoleSize"] = {"height": 33, "width": 99}
    assert box.report()["tty"] == 0


def test_create_with_a_terminal_needs_a_console_socket(box: Container) -> None:
    box.config["process"]["terminal"] = True
    box.refused()


def test_a_console_socket_without_a_terminal_is_an_error(box: Container) -> None:
    at = box.yard.scratch / "console.sock"
    with listening(at):
        box.write()
        with open(box.bundle / "out", "wb") as out:
            ran = box.op(
                "create", "-b", str(box.bundle), "--console-socket", str(at), box.id, stdout=(out, out)
            )
    assert ran.code != 0


def test_run_on_a_terminal_gives_the_program_one_of_its_own(box: Container) -> None:
    box.config["process"]["terminal"] = True
    box.config["process"]["args"] = ["/probe", "report"]
    box.write()
    pid, master = pty.fork()
    if pid == 0:
        try:
            box.yard.enter()
            argv = [
                *runtime_argv(),
                "--root",
                f"{box.yard.scratch}/state",
                "run",
                "-b",
                str(box.bundle),
                box.id,
            ]
            os.execvpe(argv[0], argv, environ())
        finally:
            os._exit(99)
    said = read_all(master)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, said
    report = json.loads(said.splitlines()[0])
    assert report["tty"] == 1
    assert report["fds"]["0"] == "/dev/pts/0"


def test_preserved_descriptors_are_passed_on(box: Container) -> None:
    box.config["process"]["env"] += ["LISTEN=1"]
    (box.yard.scratch / "one").write_text("1")

    def open_some() -> None:
        fd = os.open(box.yard.scratch / "one", os.O_RDONLY)
        for target in (3, 4):
            os.dup2(fd, target + 20)
        for target in (3, 4):
            os.dup2(target + 20, target)
            os.close(target + 20)

    box.config["process"]["args"] = ["/probe", "report"]
    box.write()
    ran = box.op(
        "run", "-b", str(box.bundle), "--preserve-fds", "2", box.id, before=open_some, close_fds=False
    )
    assert ran.code == 0, ran
    fds = json.loads(ran.out)["fds"]
    assert set(fds) == {"0", "1", "2", "3", "4"}
    assert fds["3"].endswith("/one")


# --- exec


def running(box: Container) -> Container:
    """Start a container that stays."""
    box.config["process"]["args"] = ["/probe", "report", ";", "stay"]
    box.up()
    box.until(verb="stay")
    return box


def executed(box: Container, *words: str, options: tuple[str, ...] = (), **more: Any) -> dict[str, Any]:
    """Run the probe in a running container; return its first answer."""
    ran = box.op("exec", *options, box.id, "/probe", *(words or ("report",)), **more)
    assert ran.code == 0, ran
    found: dict[str, Any] = json.loads(ran.out.splitlines()[0])
    return found


def test_exec_joins_everything_of_the_container(box: Container) -> None:
    box.namespace("cgroup")
    inside = running(box).until(pid=1)
    found = executed(box)
    assert found["ns"] == inside["ns"]
    assert found["cgroup"] == inside["cgroup"]
    assert found["mountinfo"] == inside["mountinfo"]
    assert found["hostname"] == "inside"
    assert set(found["fds"]) == {"0", "1", "2"}


def test_exec_has_the_rights_of_the_first_process(box: Container) -> None:
    box.config["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["getppid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 71}]}  # fmt: skip
    box.config["process"]["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}]
    box.config["process"]["oomScoreAdj"] = 50
    inside = running(box).until(pid=1)
    found = executed(box)
    for name in ("cap_bounding", "cap_permitted", "cap_effective", "cap_inheritable", "cap_ambient", "no_new_privs",
                 "seccomp", "uid", "gid", "groups", "umask", "oom_score_adj", "securebits"):  # fmt: skip
        assert found[name] == inside[name], name
    assert found["rlimits"][LIMITS.index("nofile")] == [100, 200]
    assert executed(box, "call", "110")["errno"] == 71


def test_exec_gives_the_programs_code(box: Container) -> None:
    running(box)
    assert box.op("exec", box.id, "/probe", "exit", "9").code == 9
    assert box.status() == "running"


def test_exec_takes_user_directory_and_environment(box: Container) -> None:
    running(box)
    found = executed(box, options=("--user", "1000:1001", "--cwd", "/data", "--env", "ADDED=yes"))
    assert (found["uid"], found["gid"], found["cwd"]) == (1000, 1001, "/data")
    assert {"ADDED=yes", "HERE=inside"} <= set(found["env"])


def test_exec_takes_a_whole_process(box: Container) -> None:
    running(box)
    process = {
        "args": ["/probe", "report"], "cwd": "/tmp", "env": ["ONLY=this"], "noNewPrivileges": True,
        "user": {"uid": 7, "gid": 8, "additionalGids": [9]},
        "capabilities": {kind: ["CAP_KILL"] for kind in ("bounding", "effective", "permitted")},
    }  # fmt: skip
    (box.yard.scratch / "process.json").write_text(json.dumps(process))
    ran = box.op("exec", "--process", str(box.yard.scratch / "process.json"), box.id)
    assert ran.code == 0, ran
    found = json.loads(ran.out)
    assert (found["uid"], found["gid"], found["cwd"]) == (7, 8, "/tmp")
    assert 9 in found["groups"]
    assert "ONLY=this" in found["env"]
    assert "HERE=inside" not in found["env"]
    assert found["cap_bounding"] == cap_mask("KILL")
    assert found["no_new_privs"] == 1


def test_exec_passes_standard_input_on(box: Container) -> None:
    running(box)
    assert executed(box, "read", "/dev/stdin", stdin=b"some words")["text"] == "some words"


def test_exec_detached_writes_its_pid(box: Container) -> None:
    running(box)
    at = box.yard.scratch / "pid"
    with open(box.yard.scratch / "out2", "wb") as out:
        ran = box.op("exec", "--detach", "--pid-file", str(at), box.id, "/probe", "stay", stdout=(out, out))
    assert ran.code == 0, ran
    pid = int(at.read_text())
    assert os.readlink(f"/proc/{pid}/ns/pid") == os.readlink(f"/proc/{box.pid}/ns/pid")
    box.kill("KILL")
    assert gone(pid) in (-9, None)
    box.wait()


@pytest.mark.parametrize("program", ["/no/such/program", "no-such-program"])
def test_exec_of_a_missing_program_says_so(box: Container, program: str) -> None:
    running(box)
    ran = box.op("exec", box.id, program)
    assert ran.code != 0
    assert "not found" in ran.err.lower() or "no such file or directory" in ran.err.lower()


@pytest.mark.parametrize("when", ["created", "stopped", "none"])
def test_exec_needs_a_container_that_lives(box: Container, when: str) -> None:
    box.config["process"]["args"] = ["/probe", "exit", "0"]
    if when != "none":
        assert box.create().code == 0
    if when == "stopped":
        assert box.start().code == 0
        box.wait()
    ran = box.op("exec", box.id, "/probe", "exit", "0")
    if when == "created":
        pytest.skip("a runtime may allow exec into a created container") if ran.code == 0 else None
    assert ran.code != 0


def test_exec_with_a_terminal_gives_one_of_the_container(box: Container) -> None:
    running(box)
    at = box.yard.scratch / "console.sock"
    with listening(at) as listener:
        with open(box.yard.scratch / "out2", "wb") as out:
            ran = box.op("exec", "--detach", "--tty", "--console-socket", str(at), box.id, "/probe", "report",
                         stdout=(out, out))  # fmt: skip
        assert ran.code == 0, (box.yard.scratch / "out2").read_text()
        peer, _ = listener.accept()
        with peer:
            _, fds, _, _ = socket.recv_fds(peer, 4096, 4)
    found = json.loads(read_all(fds[0]).splitlines()[0])
    assert found["tty"] == 1
    assert found["controlling_tty"] == 1


def test_exec_in_a_user_namespace(box: Container) -> None:
    box.user_namespace()
    inside = running(box).until(pid=1)
    found = executed(box)
    assert found["ns"]["user"] == inside["ns"]["user"]
    assert found["uid"] == 0
    assert found["cap_effective"] == inside["cap_effective"]


def test_exec_never_gives_more_than_this_process_has(box: Container) -> None:
    running(box)
    found = executed(box)
    assert found["cap_effective"] & ~cap_mask(*USUAL_CAPS) == 0
