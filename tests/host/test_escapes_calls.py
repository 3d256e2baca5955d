"""Known escapes through what a program may say: terminals, keys, names, zero bytes, new system calls, other ABIs.

bubblewrap and flatpak CVE-2017-5226, CVE-2019-10063, CVE-2021-41133, CVE-2023-28100, CVE-2024-32462; the keyring and
abstract sockets of plain bubblewrap. Each attack succeeds on a stand-in.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import platform
import pty
import select
import signal
import socket
import subprocess
import termios
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.rig import LIBC, Container, environ, runtime_argv
from tests.host.escape_rig import both, naive
from tests.patience import PATIENCE_S, eventually

pytestmark = pytest.mark.needs("root", "cc")
X86 = platform.machine() == "x86_64"
KEYCTL, ADD_KEY, IOCTL = (250, 248, 16) if X86 else (219, 217, 29)
NATIVE = "SCMP_ARCH_X86_64" if X86 else "SCMP_ARCH_AARCH64"
SEARCH, JOIN_SESSION, SESSION = 10, 1, -3
KEY = "redpak:escape-secret"
PUSHED = "echo injected-by-the-container"
LEGACY = Path("/proc/sys/dev/tty/legacy_tiocsti")


# --- the terminal of the caller


def on_a_terminal(argv: list[str], box: Container, enter: bool = True) -> tuple[str, str]:
    """Run a program on a terminal; return what it showed, and what then waits to be read there as if typed."""
    master, slave = pty.openpty()
    pid = os.fork()
    if pid == 0:
        try:
            os.setsid()
            fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
            for fd in (0, 1, 2):
                os.dup2(slave, fd)
            if enter:
                box.yard.enter()
            os.execvpe(argv[0], argv, environ())
        finally:
            os._exit(99)
    said = b""
    status = None
    while status is None:
        if select.select([master], [], [], 0.05)[0]:
            said += os.read(master, 65536)
        done, code = os.waitpid(pid, os.WNOHANG)
        status = code if done else None
    os.set_blocking(slave, False)
    try:
        typed = os.read(slave, 65536)
    except BlockingIOError:
        typed = b""
    os.close(slave)
    with contextlib.suppress(OSError):  # EIO at the end: the kernel passes on what was written a moment later
        while select.select([master], [], [], PATIENCE_S)[0]:
            said += os.read(master, 65536)
    os.close(master)
    return said.decode(errors="replace"), typed.decode(errors="replace")


@pytest.mark.parametrize("terminal", [True, False], ids=["own-terminal", "callers-descriptors"])
def test_nothing_is_typed_into_the_callers_terminal(box: Container, terminal: bool) -> None:
    box.config["process"]["terminal"] = terminal
    box.config["process"]["args"] = ["/probe", "push", PUSHED + "\n"]
    box.write()
    argv = [*runtime_argv(), "--root", f"{box.yard.scratch}/state", "run", "-b", str(box.bundle), box.id]
    said, typed = on_a_terminal(argv, box)
    assert '"verb":"push"' in said
    assert "injected" not in typed


@both
def test_nothing_is_typed_into_the_callers_terminal_by_exec(box: Container) -> None:
    box.config["process"]["args"] = ["/probe", "stay"]
    box.up()
    argv = [
        *runtime_argv(),
        "--root",
        f"{box.yard.scratch}/state",
        "exec",
        box.id,
        "/probe",
        "push",
        PUSHED + "\n",
    ]
    said, typed = on_a_terminal(argv, box)
    assert '"verb":"push"' in said
    assert "injected" not in typed


def test_stand_in_a_launcher_that_stays_in_the_session_can_be_typed_into(box: Container) -> None:
    if not LEGACY.exists() or LEGACY.read_text() != "1\n":
        pytest.skip("this kernel lets nobody type into a terminal")
    said, typed = on_a_terminal(
        ["chroot", str(box.rootfs), "/probe", "push", PUSHED + "\n"], box, enter=False
    )
    assert '"verb":"push"' in said
    assert "injected" in typed


# --- keys and sockets


def with_a_key() -> None:
    """Be a caller whose session keyring holds a secret."""
    LIBC.syscall(KEYCTL, JOIN_SESSION, None)
    assert LIBC.syscall(ADD_KEY, b"user", KEY.encode(), b"secret", 6, SESSION) > 0


FIND_KEY = ["call", str(KEYCTL), str(SEARCH), str(2**64 + SESSION), "=user", f"={KEY}", "0"]


def test_the_callers_keys_are_not_found_inside(box: Container) -> None:
    (found,) = box.probe(*FIND_KEY, before=with_a_key)
    assert found["result"] < 0


@both
def test_the_callers_keys_are_not_found_by_exec(box: Container) -> None:
    box.config["process"]["args"] = ["/probe", "stay"]
    box.up()
    ran = box.op("exec", box.id, "/probe", *FIND_KEY, before=with_a_key)
    assert ran.code == 0, ran
    assert json.loads(ran.out)["result"] < 0


def test_stand_in_a_launcher_that_keeps_the_keyring_shows_the_keys(box: Container) -> None:
    ran = naive(box, 'exec chroot "$root" /probe "$@"', *FIND_KEY, before=with_a_key)
    assert json.loads(ran.out)["result"] > 0


# --- words that become options, and bytes that end strings


@pytest.mark.parametrize("name", ["--help", "-x", "--root=/", "-"])
def test_a_name_that_begins_with_a_dash_is_no_option(box: Container, name: str) -> None:
    before = sorted(os.listdir("/"))
    box.id = name
    box.config["process"]["args"] = ["/probe", "exit", "0"]
    box.write()
    for words in (
        ["run", "-b", str(box.bundle), "--", name],
        ["state", "--", name],
        ["delete", "-f", "--", name],
    ):
        ran = box.op(*words)
        assert "Traceback" not in ran.err
        assert "usage" not in ran.out.lower()
    assert sorted(os.listdir("/")) == before
    box.yard.containers.clear()


@pytest.mark.parametrize("word", ["--help", "-e", "--cwd=/", "--user=0", "--", "--preserve-fds=9"])
@both
def test_a_program_that_looks_like_an_option_is_run_as_a_program(box: Container, word: str) -> None:
    for path in (box.rootfs / word, box.rootfs / "bin" / word):
        path.parent.mkdir(exist_ok=True)
        path.symlink_to("/probe")
    box.config["process"]["env"] = ["PATH=/bin"]
    box.config["process"]["args"] = [word, "exit", "13"]
    if "/" not in word:
        assert box.run().code == 13
    box.config["process"]["args"] = ["/probe", "stay"]
    box.up()
    assert box.op("exec", box.id, "/probe", "report", word, ";", "exit", "14").code == 14


NUL = "a\0--bind\0/\0/host"
PLACES = ["process.args", "process.env", "process.cwd", "hostname", "root.path", "mounts.destination", "mounts.source",
          "mounts.options", "linux.maskedPaths", "linux.readonlyPaths", "linux.cgroupsPath", "linux.sysctl", "hooks",
          "linux.devices", "annotations"]  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
def test_a_zero_byte_in_a_string_is_refused_and_never_cuts_it(box: Container, place: str) -> None:
    box.config["process"]["args"] = ["/probe", "report"]
    process, linux = box.config["process"], box.config["linux"]
    match place:
        case "process.args":
            process["args"] += [";", "spare", NUL]
        case "process.env":
            process["env"] += [f"X={NUL}"]
        case "process.cwd":
            process["cwd"] = "/\0/x"
        case "hostname":
            box.config["hostname"] = NUL
        case "root.path":
            box.config["root"]["path"] = "rootfs\0x"
        case "mounts.destination":
            box.mount("/data\0x", "tmpfs", "tmpfs")
        case "mounts.source":
            box.mount("/data", "bind", "/etc\0x", "bind")
        case "mounts.options":
            box.mount("/data", "tmpfs", "tmpfs", "size=64k\0,mode=777")
        case "linux.maskedPaths" | "linux.readonlyPaths":
            linux[place.partition(".")[2]] = ["/proc/keys\0x"]
        case "linux.cgroupsPath":
            linux["cgroupsPath"] = f"/{box.id}\0x"
        case "linux.sysctl":
            linux["sysctl"] = {"net.ipv4.ip_forward": "1\0x"}
        case "hooks":
            box.config["hooks"] = {"prestart": [{"path": "/bin/true\0x"}]}
        case "linux.devices":
            linux["devices"] = [{"path": "/dev/x\0y", "type": "c", "major": 1, "minor": 3}]
        case "annotations":
            box.config["annotations"] = {"key": NUL}
    ran = box.run()
    assert "Traceback" not in ran.err
    assert "unexpected" not in ran.err
    if place == "annotations" and ran.code == 0:  # they go nowhere but into the state
        return
    assert ran.code != 0, ran
    assert ran.err.strip()
    for at in box.yard.groups:  # the shortened name was not used
        assert not (at.parent / box.id).exists()


def test_stand_in_words_that_are_joined_by_zero_bytes_become_others(box: Container) -> None:
    words = ["--ro-bind", "/", "/", "--setenv", "X", "a\0--setenv\0Y\0injected", "--", "/usr/bin/env"]
    reader, writer = os.pipe()
    os.write(writer, "\0".join(words[:-2]).encode() + b"\0")
    os.close(writer)
    done = subprocess.run(
        ["bwrap", "--args", str(reader), "--", "/usr/bin/env"],
        pass_fds=[reader],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    os.close(reader)
    if "bwrap" in done.stderr:
        pytest.skip(done.stderr)
    assert "Y=injected" in done.stdout


# --- system calls that a filter did not think of

LATE = {"open_tree": 428, "fsopen": 430, "clone3": 435, "mount_setattr": 442, "none-yet": 900}
ALLOWED = """
execve execveat exit_group exit write read open openat close fstat newfstatat brk mmap munmap mprotect
arch_prctl set_tid_address set_robust_list rseq prlimit64 readlink readlinkat getrandom fork clone wait4
pipe2 rt_sigaction rt_sigprocmask uname prctl futex rt_sigreturn access faccessat2 getpid stat lstat
ioctl fcntl dup dup2 dup3 lseek close_range keyctl getcwd chdir fchdir capget capset setuid setgid
setgroups setresuid setresgid sendmsg recvmsg poll ppoll madvise mremap getdents64 gettid tgkill
sigaltstack umask getuid getgid geteuid getegid sendto
"""


def list_of_calls(box: Container, **more: Any) -> None:
    """Give the container a filter that lets a list pass and refuses all else."""
    box.config["linux"]["seccomp"] = {
        "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38, "architectures": [NATIVE],
        "syscalls": [{"names": ALLOWED.split(), "action": "SCMP_ACT_ALLOW"}], **more,
    }  # fmt: skip


@pytest.mark.parametrize("name", LATE)
def test_a_call_that_no_filter_knows_does_not_pass_a_list(box: Container, name: str) -> None:
    list_of_calls(box)
    (said,) = box.probe("call", str(LATE[name]))
    assert (said["result"], said["errno"]) == (-1, 38)


@pytest.mark.skipif(not X86, reason="the other entries to the kernel are those of x86_64")
def test_another_abi_does_not_pass_a_list(box: Container) -> None:
    list_of_calls(box)
    said = box.probe("call32", "20", ";", "call", str(0x40000000 + 39), ";", "call", "39")
    assert said[0]["signal"] == 31 or said[0]["errno"] != 0  # getpid by int 0x80
    assert said[1]["signal"] == 31 or said[1]["errno"] == 38  # getpid as x32
    assert said[2]["result"] > 0


@pytest.mark.parametrize("request_", [0x5412, 0x1_0000_5412, 0xFFFF_FFFF_0000_5412])
def test_a_request_of_ioctl_is_compared_as_the_kernel_takes_it(box: Container, request_: int) -> None:
    rule = {"names": ["ioctl"], "action": "SCMP_ACT_ERRNO", "errnoRet": 71, "args": [
        {"index": 1, "value": 0xFFFFFFFF, "valueTwo": 0x5412, "op": "SCMP_CMP_MASKED_EQ"}]}  # fmt: skip
    box.config["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}
    said = box.probe(
        "call", str(IOCTL), "0", str(request_), "=x", ";", "call", str(IOCTL), "0", "0x5413", "0"
    )
    assert said[0]["errno"] == 71
    assert said[1]["errno"] != 71


@pytest.mark.skipif(not X86, reason="the other entries to the kernel are those of x86_64")
def test_stand_in_a_list_of_forbidden_calls_lets_new_ones_and_other_abis_pass(box: Container) -> None:
    ran = naive(box, 'mount -t proc proc "$root/proc"; exec chroot "$root" /probe "$@"', "call", "435", "0", "0", ";",
                "call32", "20", ";", "call", "428", "-100", "=/", "0")  # fmt: skip
    said = [json.loads(line) for line in ran.out.splitlines()]
    assert said[0]["errno"] == 22  # clone3 looked at its arguments
    assert said[1]["result"] > 0
    assert said[2]["result"] >= 0


# --- sockets without a file


def test_an_abstract_socket_of_the_host_is_out_of_reach(box: Container) -> None:
    with socket.socket(socket.AF_UNIX) as service:
        service.bind(f"\0redpak-escape-{os.getpid()}")
        service.listen()
        service.setblocking(False)
        box.config["process"]["args"] = ["/probe", "read", "/proc/net/unix"]
        ran = box.run()
        assert ran.code == 0, ran
        assert "redpak-escape" not in ran.out
        with pytest.raises(BlockingIOError):
            service.accept()


def test_stand_in_a_launcher_that_shares_the_network_shows_them(box: Container) -> None:
    with socket.socket(socket.AF_UNIX) as service:
        service.bind(f"\0redpak-escape-{os.getpid()}")
        service.listen()
        done = subprocess.run(
            [
                "unshare",
                "--mount",
                "sh",
                "-c",
                'mount -t proc proc "$1/proc"; chroot "$1" /probe read /proc/net/unix',
                "sh",
                str(box.rootfs),
            ],
            capture_output=True,
            text=True,
            check=True,
        )
        assert "redpak-escape" in done.stdout


# --- what is left when everything is killed


def test_nothing_outlives_a_container(box: Container) -> None:
    box.config["process"]["args"] = ["/probe", "run", "/probe", "hunt", "1000000", "x", "/", ";", "stay"]
    box.up()
    children = Path(f"/proc/{box.pid}/task/{box.pid}/children")
    eventually(lambda: children.read_text() != "")
    inside = children.read_text().split()
    os.kill(box.pid, signal.SIGKILL)
    box.wait()
    assert not os.path.exists(f"/proc/{inside[0]}")
    assert box.delete().code == 0
