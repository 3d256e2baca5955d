"""`exec` without an interpreter: the program has what Python's exec gives it, and all else is left to Python."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from redpak.engine import build_helper
from redpak.paths import shipped
from tests.host.oci_site import NAMESPACES, Site
from tests.patience import PATIENCE_S, eventually

pytestmark = pytest.mark.needs("root", "program:busybox", "cc")
FOREVER = ("sleep", "1000")
SCRIPT = str(Path(__file__).parents[2] / "scripts" / "redpak-oci")
# what a program can see of itself; numbers of processes and of the sessions that these make are its own
LOOK = """
of_others='^(SigQ|Tgid|Ngid|Pid|PPid|NS[a-z]+|Vm|Rss|Hug|voluntary|nonvoluntary|Seccomp_filters|x86_Thread)'
/bin/busybox id; /bin/busybox env | /bin/busybox sort; pwd; umask; cat /proc/self/cgroup /proc/self/limits
/bin/busybox grep -Eiv $of_others /proc/self/status
cat /proc/self/oom_score_adj /proc/self/personality /proc/self/timerslack_ns
for kind in cgroup ipc mnt net pid time user uts; do /bin/busybox readlink /proc/self/ns/$kind; done
/bin/busybox ls /proc/self/fd; /bin/busybox uname
[ $(/bin/busybox cut -d' ' -f6 /proc/self/stat) = $$ ] && echo own session
exit 7
"""
ALL = {kind: ["CAP_KILL", "CAP_SYS_CHROOT", "CAP_NET_RAW", "CAP_SETUID"] for kind in
       ("bounding", "effective", "permitted", "inheritable", "ambient")}  # fmt: skip
DENY_SYNC: dict[str, Any] = {
    "defaultAction": "SCMP_ACT_ALLOW",
    "syscalls": [{"names": ["sync", "uname"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}],
}
OURS = [{"containerID": 0, "hostID": 100_000, "size": 70_000}]
IN_USER = {
    "namespaces": [{"type": kind} for kind in (*NAMESPACES, "user", "cgroup", "network")],
    "uidMappings": OURS,
    "gidMappings": OURS,
}
SHAPES: dict[str, dict[str, Any]] = {
    "plain": {},
    "user": {"process": {"user": {"uid": 1000, "gid": 100, "umask": 0o27, "additionalGids": [5, 6]}}},
    "caps": {"process": {"capabilities": ALL}},
    "caps of a user": {"process": {"user": {"uid": 9, "gid": 9}, "capabilities": ALL}},
    "may gain rights": {"process": {"noNewPrivileges": False, "capabilities": ALL}},
    "filter": {"linux": {"seccomp": DENY_SYNC}},
    "filter, may gain rights": {
        "process": {"noNewPrivileges": False, "capabilities": ALL, "user": {"uid": 9, "gid": 9}},
        "linux": {"seccomp": DENY_SYNC},
    },
    "limits": {
        "process": {
            "rlimits": [
                {"type": "RLIMIT_NOFILE", "soft": 20, "hard": 30},
                {"type": "RLIMIT_CORE", "soft": 0, "hard": (1 << 64) - 1},
                {"type": "RLIMIT_LOCKS", "soft": 5, "hard": 6},
            ],
            "oomScoreAdj": 321,
        }
    },
    "few processes": {
        "process": {
            "user": {"uid": 43210, "gid": 1},
            "rlimits": [{"type": "RLIMIT_NPROC", "soft": 4, "hard": 4}],  # sleep, sh, and two in a pipe
        }
    },
    "HOME, PATH and a directory": {
        "process": {"env": ["PATH=/nothing:/bin", "HOME=/there", "X=a=b", "X=c", "E="], "cwd": "/tmp"}
    },
    "personality": {"linux": {"personality": {"domain": "LINUX32"}}},
    "user namespace": {"linux": IN_USER, "process": {"capabilities": ALL}},
    "user namespace, other user": {"linux": IN_USER, "process": {"user": {"uid": 33, "gid": 34}}},
    "memory and processors": {"linux": {"resources": {"memory": {"limit": 1 << 26}, "pids": {"limit": 9}}}},
}


@pytest.fixture
def oci(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    tmp_path.chmod(0o755)
    (site.rootfs / "etc" / "passwd").write_text(
        "root:x:0:0::/root:/bin/sh\nnine:x:9:9::/nine:\nshort:x:33:3\n"
    )
    yield site
    site.clean()


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return redpak-quick with redpak-enter beside it, built from the sources that are tested."""
    at = tmp_path_factory.mktemp("quick")
    for name in ("quick", "enter"):
        assert build_helper.build(shipped("engine", f"{name}.c"), str(at / f"redpak-{name}")) == ""
    return str(at / "redpak-quick")


class Exec:
    """Calls of `exec`: by redpak-quick alone (a call of the interpreter fails), with it behind, or by Python."""

    def __init__(self, program: str, oci: Site) -> None:
        self.oci, self.program = oci, program
        self.ways = {
            "alone": [program, "/nowhere/python", SCRIPT],
            "both": [program, sys.executable, SCRIPT],
            "python": [sys.executable, "-I", SCRIPT],
        }

    def argv(self, way: str, *words: str | Path) -> list[str]:
        return [*self.ways[way], "--root", str(self.oci.root), "exec", *map(str, words)]

    def __call__(self, way: str, *words: str | Path, **more: Any) -> tuple[int, str, str]:
        with (
            tempfile.TemporaryFile("w+") as out,
            tempfile.TemporaryFile("w+") as err,
        ):  # a pipe would stay open
            code = subprocess.run(
                self.argv(way, *words), stdin=subprocess.DEVNULL, stdout=out, stderr=err, check=False,
                timeout=PATIENCE_S, env=self.oci.environ(), **more,
            ).returncode  # fmt: skip
            for file in (out, err):
                file.seek(0)
            return code, out.read(), err.read()

    def left_to_python(self, *words: str | Path) -> bool:
        code, out, err = self("alone", *words)
        return (code, out) == (1, "") and "cannot run '/nowhere/python'" in err


@pytest.fixture
def into(program: str, oci: Site) -> Exec:
    return Exec(program, oci)


def differences(one: tuple[int, str, str], other: tuple[int, str, str]) -> list[str]:
    """Return the lines in which what two calls gave differs."""
    pairs = zip(
        f"{one[0]}\n{one[1]}{one[2]}".split("\n"),
        f"{other[0]}\n{other[1]}{other[2]}".split("\n"),
        strict=False,
    )
    return [f"{this} | {that}" for this, that in pairs if this != that]


def running(oci: Site, name: str = "a", *args: str, **changes: Any) -> None:
    oci.create(name, *(args or FOREVER), **changes)
    assert oci("start", name).code == 0


@pytest.mark.parametrize("shape", SHAPES)
def test_a_program_is_as_pythons_exec_makes_it(oci: Site, into: Exec, shape: str) -> None:
    running(oci, **SHAPES[shape])
    one = into("alone", "a", "sh", "-c", LOOK)
    assert differences(one, into("python", "a", "sh", "-c", LOOK)) == []
    assert one[0] == 7, one
    assert one[1].count("own session") == 1, one


def document(oci: Site, **changes: Any) -> Path:
    """Write a file for --process."""
    said = {
        "terminal": False,
        "args": ["sh", "-c", LOOK],
        "cwd": "/tmp",
        "env": ["PATH=/bin", "Y=1"],
        **changes,
    }
    at = oci.scratch / "process.json"
    at.write_text(json.dumps(said))
    return at


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"user": {"uid": 9, "gid": 10, "umask": 0, "additionalGids": [7]}},
        {"noNewPrivileges": True, "capabilities": {**ALL, "ambient": []}},
        {"rlimits": [{"type": "RLIMIT_NOFILE", "soft": 33, "hard": 44}], "oomScoreAdj": 77},
        {"env": ["PATH=/bin", "HOME=/other"], "apparmorProfile": "", "selinuxLabel": ""},
    ],
    ids=["nothing more", "user", "capabilities", "limits", "home"],
)
@pytest.mark.parametrize("shape", ["plain", "caps", "limits", "filter, may gain rights"])
def test_what_a_document_asks_for_is_as_pythons_exec_makes_it(
    oci: Site, into: Exec, shape: str, changes: dict[str, Any]
) -> None:
    running(oci, **SHAPES[shape])
    said = document(oci, **changes)
    one = into("alone", "--process", said, "a")
    assert differences(one, into("python", "--process", said, "a")) == []
    assert one[0] == 7, one


def test_every_capability_is_known(oci: Site, into: Exec) -> None:
    names = json.loads(oci("features").out)["linux"]["capabilities"]
    mine = {kind: names for kind in ("bounding", "effective", "permitted")}
    running(oci)
    said = document(oci, capabilities=mine, args=["/bin/busybox", "grep", "Cap", "/proc/self/status"])
    assert len(names) > 40
    assert into("alone", "-p", said, "a") == into("python", "-p", said, "a")


def test_options_change_what_they_name(oci: Site, into: Exec) -> None:
    running(oci, process={"env": ["PATH=/bin", "A=1", "B=2"]})
    words = ("-e", "A=x", "--env=C=3", "--env", "HOME=/h", "--cwd", "/tmp", "a", "sh", "-c", LOOK)
    one = into("alone", *words)
    assert differences(one, into("python", *words)) == []
    assert "\nA=x\nB=2\nC=3\nHOME=/h\n" in one[1]
    assert into("alone", "a", "--", "sh", "-c", "exit 3")[0] == 3
    assert into("alone", "a", "sh", "-c", "kill -9 $$")[0] == 137


def test_a_detached_program_lives_on_and_its_pid_is_written(oci: Site, into: Exec) -> None:
    running(oci)
    at = oci.scratch / "pid"
    at.write_text("old")
    assert into("alone", "--detach", "--pid-file", at, "a", "sleep", "999") == (0, "", "")
    pid = int(at.read_text())
    oci.becomes(pid, "sleep", "999")
    assert os.readlink(f"/proc/{pid}/ns/pid") == os.readlink(f"/proc/{oci.state('a')['pid']}/ns/pid")
    assert sorted(os.listdir(oci.scratch)) == sorted({"pid", "bundle-a", "rootfs", "states"})
    os.kill(pid, signal.SIGKILL)


def test_signals_are_handed_on(oci: Site, into: Exec) -> None:
    running(oci)
    script = "trap 'echo TERM; exit 9' TERM; trap 'echo HUP' HUP; echo ready; while :; do sleep 0.1; done"
    with subprocess.Popen(
        into.argv("alone", "a", "sh", "-c", script), stdout=subprocess.PIPE, env=oci.environ(), text=True
    ) as caller:
        assert caller.stdout is not None
        said = [caller.stdout.readline()]
        for number in (signal.SIGHUP, signal.SIGTERM):
            caller.send_signal(number)
            said.append(caller.stdout.readline())
        assert (said, caller.wait(PATIENCE_S)) == (["ready\n", "HUP\n", "TERM\n"], 9)


@pytest.mark.parametrize("way", ["alone", "python"])
def test_a_closed_descriptor_of_the_caller_is_dev_null_for_the_program(
    oci: Site, into: Exec, way: str
) -> None:
    running(oci)
    script = 'exec <&- "$@"'
    argv = into.argv(way, "a", "sh", "-c", "/bin/busybox readlink /proc/$$/fd/0; cat; echo >&2")
    said = subprocess.run(
        ["sh", "-c", script, "sh", *argv], capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert (said.stdout.split("\n"), said.returncode) == (["/dev/null", ""], 0), said


@pytest.mark.parametrize(
    "words",
    [
        ("-t", "a", "true"), ("--user", "1", "a", "true"), ("--cap", "CAP_KILL", "a", "true"), ("a",), ("a", ""),
        ("-e", "X", "a", "true"), ("-e", "=1", "a", "true"), ("--cwd", "bin", "a", "true"), ("none", "true"),
        ("a", "no-such-program"), ("a", "/tmp"), ("a", "/etc/passwd"), ("--cwd", "/nowhere", "a", "true"),
        ("--cwd", "/proc/self/fd/3", "a", "true"), ("--pid-file", "/nowhere/pid", "a", "true"), ("..", "true"),
        ("--preserve-fds", "1", "a", "true"), ("--help",), ("--no-such", "a", "true"), ("a", "/proc/self/exe"),
        ("--process", "/nowhere", "a"), ("--process", "/dev/null", "a"), ("--cgroup", "x", "a", "true"), ("-d",),
        ("--env", "A=1", "--process", "/dev/null", "a"), ("--process", "/etc/hostname", "a", "true"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_what_is_not_plain_or_goes_wrong_is_left_to_python(
    oci: Site, into: Exec, words: tuple[str, ...]
) -> None:
    running(oci)
    assert into.left_to_python(*words)
    wanted, got = into("python", *words), into("both", *words)
    same = [one for one in wanted[2].splitlines() if "Nothing of 'process" not in one]  # its number
    assert (got[0], got[1], [one for one in got[2].splitlines() if "Nothing of 'process" not in one]) == (
        wanted[0], wanted[1], same,
    )  # fmt: skip


def test_a_container_that_does_not_run_is_left_to_python(oci: Site, into: Exec) -> None:
    oci.create("a", *FOREVER)
    assert into.left_to_python("a", "true")  # its program has not begun
    assert oci("start", "a").code == 0
    assert into("alone", "a", "true")[0] == 0
    assert oci("pause", "a").code == 0
    assert into.left_to_python("a", "true")
    assert into("both", "a", "true")[0] == 255
    assert oci("resume", "a").code == 0
    assert into("alone", "a", "true")[0] == 0
    pid = oci.state("a")["pid"]
    assert oci("kill", "a", "KILL").code == 0
    oci.ended("a", pid)
    assert into.left_to_python("a", "true")


@pytest.mark.parametrize(
    "changes",
    [
        {"process": {"scheduler": {"policy": "SCHED_BATCH"}}},
        {"process": {"ioPriority": {"class": "IOPRIO_CLASS_IDLE", "priority": 1}}},
        {"process": {"execCPUAffinity": {"initial": "0"}}},
        {"linux": {"namespaces": [{"type": "pid"}]}},  # it lives in our tree
    ],
    ids=["scheduler", "io", "processors", "no mount namespace"],
)
def test_a_container_that_asks_for_more_is_left_to_python(
    oci: Site, into: Exec, changes: dict[str, Any]
) -> None:
    if "linux" in changes:
        changes = {**changes, "mounts": []}
    running(oci, "a", *FOREVER, **changes)
    assert into.left_to_python("a", "true")


def test_a_file_that_is_cut_off_or_not_ours_is_left_to_python(oci: Site, into: Exec) -> None:
    running(oci)
    at = oci.root / "a" / "exec"
    whole = at.read_bytes()
    for cut in (*range(0, len(whole), 7), len(whole) - 1):
        at.write_bytes(whole[:cut])
        assert into.left_to_python("a", "sh", "-c", "touch /tmp/ran"), cut
    assert not (oci.rootfs / "tmp" / "ran").exists()
    at.write_bytes(whole)
    assert into("alone", "a", "true")[0] == 0
    os.chown(oci.root / "a", 65534, -1)
    try:
        assert into.left_to_python("a", "true")
    finally:
        os.chown(oci.root / "a", 0, -1)


def test_without_the_second_program_python_does_it(oci: Site, program: str, tmp_path: Path) -> None:
    running(oci)
    alone = tmp_path / "redpak-quick"
    alone.write_bytes(Path(program).read_bytes())
    alone.chmod(0o755)
    assert Exec(str(alone), oci).left_to_python("a", "true")
    assert Exec(str(alone), oci)("both", "a", "sh", "-c", "exit 5")[0] == 5
    alone.unlink()


@pytest.mark.parametrize(("way", "times"), [("alone", 100), ("python", 30)])
def test_no_process_in_the_container_ever_has_more_rights_than_its_own(
    oci: Site, into: Exec, way: str, times: int
) -> None:
    """Who has CAP_SYS_PTRACE in there may take over each process that it can name, so none may be worth it."""
    caps = {kind: ["CAP_SYS_PTRACE"] for kind in ("bounding", "effective", "permitted")}
    watch = (
        "while :; do for at in /proc/[0-9]*; do"
        " while read -r key value; do case $key in CapPrm:|CapBnd:) echo $key $value;; esac; done <$at/status;"
        " done; done"
        " 2>/dev/null | /bin/busybox awk '!had[$0]++ {print; fflush()}' >/tmp/seen"
    )
    running(oci, "a", "sh", "-c", watch, process={"capabilities": caps})
    eventually(lambda: into("alone", "a", "test", "-s", "/tmp/seen")[0], 0)  # it looks
    for _ in range(times):
        assert into(way, "a", "true")[0] == 0
    seen = into("alone", "a", "cat", "/tmp/seen")[1].split("\n")
    mine = f"{1 << 19:016x}"
    assert {one.split()[1] for one in seen if one} == {mine}


def test_many_at_once_leave_nothing(oci: Site, into: Exec) -> None:
    running(oci)
    before = os.listdir("/proc/self/fd")
    many = [
        subprocess.Popen(into.argv("alone", "a", "sh", "-c", f"exit {code}"), env=oci.environ())
        for code in range(30)
    ]
    assert [one.wait(PATIENCE_S) for one in many] == list(range(30))
    assert os.listdir("/proc/self/fd") == before
    told = oci("ps", "a")
    assert len(told.out.splitlines()) == 2, told
