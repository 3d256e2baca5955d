"""config-linux.md, seccomp: actions, arguments, architectures, flags, and the notify descriptor."""

from __future__ import annotations

import json
import os
import platform
import socket
import struct
from typing import Any

import pytest

from tests.conformance.rig import LIBC, Container
from tests.doors import listening

NATIVE = {"x86_64": "SCMP_ARCH_X86_64", "aarch64": "SCMP_ARCH_AARCH64"}.get(platform.machine(), "")
X86 = platform.machine() == "x86_64"
pytestmark = [
    pytest.mark.needs("root", "cc"),
    pytest.mark.skipif(not NATIVE, reason="the numbers of system calls here are not known"),
]
on_x86 = pytest.mark.skipif(not X86, reason="32-bit calls are made in a way of x86_64 only")
GETPID, GETPPID, GETUID, SYNC, MKDIRAT = (39, 110, 102, 162, 258) if X86 else (172, 173, 174, 81, 34)
NOTIFY_RECEIVE, NOTIFY_SEND = 0xC0502100, 0xC0182101


USUAL = """
execve exit_group exit write read open openat close fstat newfstatat brk mmap munmap mprotect arch_prctl
set_tid_address set_robust_list rseq prlimit64 readlink readlinkat getrandom fork clone wait4 pipe2
rt_sigaction rt_sigprocmask uname prctl futex rt_sigreturn access faccessat2 capget capset setuid setgid
setgroups fcntl chdir fchdir getpid gettid stat lstat statx seccomp getppid setresuid setresgid poll
ppoll dup dup2 dup3 close_range lseek getcwd fstatfs tgkill epoll_pwait nanosleep sendmsg recvmsg
sched_yield madvise mremap sigaltstack epoll_ctl eventfd2 getdents64 epoll_create1 pread64 clone3 mincore
tkill getuid geteuid getgid getegid clock_gettime ioctl kill pidfd_open setsid umask fchown sendto
getgroups keyctl getrlimit setrlimit sched_getaffinity fchmod statfs
"""  # what the runtimes and the probe need


def rule(name: str, action: str, *args: tuple[int, int, str], **more: Any) -> dict[str, Any]:
    """Return one entry of seccomp.syscalls; `args` as (index, value, operator)."""
    one: dict[str, Any] = {"names": [name], "action": action, **more}
    if args:
        one["args"] = [{"index": index, "value": value, "op": how} for index, value, how in args]
    return one


def seccomp(box: Container, *rules: dict[str, Any], default: str = "SCMP_ACT_ALLOW", **more: Any) -> None:
    """Give the container a filter."""
    box.config["linux"]["seccomp"] = {
        "defaultAction": default, "architectures": [NATIVE], "syscalls": list(rules), **more
    }  # fmt: skip


def call(number: int, *words: int) -> list[str]:
    """Return the probe's words for one system call."""
    return ["call", str(number), *map(str, words), ";"]


def test_a_filter_that_is_installed_early_may_refuse_what_only_the_runtime_asks(box: Container) -> None:
    box.config["process"]["noNewPrivileges"] = False  # so it comes before the capabilities are given up
    for name in ("getcwd", "getgroups", "getresuid", "getresgid", "capget", "faccessat2", "close_range"):
        seccomp(box, rule(name, "SCMP_ACT_ERRNO", errnoRet=38 if name == "close_range" else 1))
        assert box.probe("spare", ";", "stat", "/")[0]["outcome"] == "ok", name


def test_a_call_that_is_refused_gives_its_error(box: Container) -> None:
    seccomp(box, rule("getppid", "SCMP_ACT_ERRNO", errnoRet=71), rule("getuid", "SCMP_ACT_ERRNO"))
    said = box.probe(*call(GETPPID), *call(GETUID), *call(GETPID), "report")
    assert (said[0]["result"], said[0]["errno"]) == (-1, 71)
    assert (said[1]["result"], said[1]["errno"]) == (-1, 1)  # EPERM unless told otherwise
    assert said[2]["result"] > 0
    assert said[3]["seccomp"] == 2


def test_the_default_action_may_have_an_error_of_its_own(box: Container) -> None:
    allow = [rule(name, "SCMP_ACT_ALLOW") for name in USUAL.split()]
    seccomp(box, *allow, default="SCMP_ACT_ERRNO", defaultErrnoRet=38)
    said = box.probe(*call(SYNC), *call(GETPID))
    assert (said[0]["result"], said[0]["errno"]) == (-1, 38)
    assert said[1]["result"] > 0


@pytest.mark.parametrize("action", ["SCMP_ACT_KILL", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_KILL_PROCESS"])
def test_a_deadly_call_kills(box: Container, action: str) -> None:
    seccomp(box, rule("getppid", action))
    said = box.probe(*call(GETPPID), *call(GETPID))
    assert said[0]["signal"] == 31  # SIGSYS
    assert said[1]["result"] > 0


def test_a_trap_is_a_signal(box: Container) -> None:
    seccomp(box, rule("getppid", "SCMP_ACT_TRAP"))
    assert box.probe(*call(GETPPID))[0]["signal"] == 31


def test_log_lets_pass(box: Container) -> None:
    seccomp(box, rule("getppid", "SCMP_ACT_LOG"))
    assert box.probe(*call(GETPPID))[0]["errno"] == 0


def test_trace_without_a_tracer_is_not_implemented(box: Container) -> None:
    seccomp(box, rule("getppid", "SCMP_ACT_TRACE", errnoRet=5))
    assert box.probe(*call(GETPPID))[0]["errno"] == 38


BIG = 0x1_0000_0002
OPERATORS: list[tuple[str, int, list[int], list[int]]] = [
    # operator, value, arguments that match, and that do not
    ("SCMP_CMP_EQ", 7, [7], [6, 8, 7 | 1 << 32]),
    ("SCMP_CMP_NE", 7, [6, 8, 7 | 1 << 32], [7]),
    ("SCMP_CMP_LT", BIG, [0, 7, BIG - 1, 0xFFFFFFFF], [BIG, BIG + 1, 2 << 32]),
    ("SCMP_CMP_LE", BIG, [0, BIG - 1, BIG], [BIG + 1, 2 << 32]),
    ("SCMP_CMP_GT", BIG, [BIG + 1, 2 << 32], [0, BIG, BIG - 1, 0xFFFFFFFF]),
    ("SCMP_CMP_GE", BIG, [BIG, BIG + 1, 2 << 32], [0, BIG - 1, 0xFFFFFFFF]),
]


@pytest.mark.parametrize(("operator", "value", "yes", "no"), OPERATORS, ids=[one[0] for one in OPERATORS])
def test_an_argument_is_compared_in_all_its_64_bits(
    box: Container, operator: str, value: int, yes: list[int], no: list[int]
) -> None:
    seccomp(box, rule("getppid", "SCMP_ACT_ERRNO", (0, value, operator), errnoRet=71))
    said = box.probe(*(word for one in [*yes, *no] for word in call(GETPPID, one)))
    assert [one["errno"] for one in said] == [71] * len(yes) + [0] * len(no)


def test_an_argument_is_compared_under_a_mask(box: Container) -> None:
    one = rule("getppid", "SCMP_ACT_ERRNO", errnoRet=71)
    one["args"] = [{"index": 1, "value": 0xF0, "valueTwo": 0x30, "op": "SCMP_CMP_MASKED_EQ"}]
    seccomp(box, one)
    said = box.probe(*call(GETPPID, 0, 0x3F), *call(GETPPID, 0, 0x4F), *call(GETPPID, 0x30, 0))
    assert [one["errno"] for one in said] == [71, 0, 0]


def test_all_arguments_of_a_rule_must_match(box: Container) -> None:
    seccomp(box, rule("getppid", "SCMP_ACT_ERRNO", (0, 1, "SCMP_CMP_EQ"), (2, 3, "SCMP_CMP_EQ"), errnoRet=71))
    said = box.probe(*call(GETPPID, 1, 0, 3), *call(GETPPID, 1, 0, 4), *call(GETPPID, 2, 0, 3))
    assert [one["errno"] for one in said] == [71, 0, 0]


def test_any_of_several_rules_may_match(box: Container) -> None:
    seccomp(
        box,
        rule("getppid", "SCMP_ACT_ERRNO", (0, 1, "SCMP_CMP_EQ"), errnoRet=71),
        rule("getppid", "SCMP_ACT_ERRNO", (0, 2, "SCMP_CMP_EQ"), errnoRet=72),
    )
    said = box.probe(*call(GETPPID, 1), *call(GETPPID, 2), *call(GETPPID, 3))
    assert [one["errno"] for one in said] == [71, 72, 0]


def test_names_that_this_kernel_does_not_know_are_no_matter(box: Container) -> None:
    seccomp(
        box,
        {
            "names": ["no_such_call", "getppid", "s390_guarded_storage"],
            "action": "SCMP_ACT_ERRNO",
            "errnoRet": 71,
        },
    )
    assert box.probe(*call(GETPPID))[0]["errno"] == 71


@on_x86
@pytest.mark.parametrize(
    "architectures",
    [["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"], ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]],
)
def test_a_rule_counts_for_the_listed_architectures(box: Container, architectures: list[str]) -> None:
    seccomp(box, rule("getppid", "SCMP_ACT_ERRNO", errnoRet=71), architectures=architectures)
    said = box.probe(*call(GETPPID), "call32", "64")
    assert [one["errno"] for one in said] == [71, 71]


@on_x86
def test_calls_of_an_architecture_that_is_not_listed_are_deadly(box: Container) -> None:
    seccomp(box, rule("getppid", "SCMP_ACT_ERRNO", errnoRet=71))
    said = box.probe("call32", "64", ";", "call32", "20")
    assert all(one["signal"] == 31 or one["errno"] for one in said)


@pytest.mark.parametrize(
    "flag", ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW", "SECCOMP_FILTER_FLAG_TSYNC"]
)
def test_flags_are_taken(box: Container, flag: str) -> None:
    seccomp(box, rule("getppid", "SCMP_ACT_ERRNO", errnoRet=71), flags=[flag])
    assert box.probe(*call(GETPPID))[0]["errno"] == 71


@pytest.mark.parametrize("wrong", [
    {"flags": ["SECCOMP_FILTER_FLAG_NONSENSE"]}, {"architectures": ["SCMP_ARCH_NONSENSE"]},
    {"syscalls": [rule("getppid", "SCMP_ACT_NONSENSE")]},
    {"syscalls": [rule("getppid", "SCMP_ACT_ERRNO", (0, 1, "SCMP_CMP_NONSENSE"))]},
    {"syscalls": [rule("getppid", "SCMP_ACT_ERRNO", (6, 1, "SCMP_CMP_EQ"))]},
], ids=lambda one: next(iter(one)))  # fmt: skip
def test_an_unknown_word_in_a_filter_is_an_error(box: Container, wrong: dict[str, Any]) -> None:
    seccomp(box)
    box.config["linux"]["seccomp"].update(wrong)
    assert box.run().code != 0


@pytest.mark.parametrize("no_new_privs", [True, False])
def test_a_filter_works_for_a_user_without_capabilities(box: Container, no_new_privs: bool) -> None:
    seccomp(box, rule("getppid", "SCMP_ACT_ERRNO", errnoRet=71))
    box.config["process"]["user"] = {"uid": 1000, "gid": 1000}
    box.config["process"]["noNewPrivileges"] = no_new_privs
    assert box.probe(*call(GETPPID))[0]["errno"] == 71


def test_a_filter_may_forbid_what_the_runtime_itself_needed(box: Container) -> None:
    names = (
        "mount",
        "umount2",
        "pivot_root",
        "setns",
        "unshare",
        "mknod",
        "sethostname",
        "setresuid",
        "capset",
        "prctl",
    )
    seccomp(
        box, *(rule(name, "SCMP_ACT_ERRNO") for name in names if name not in ("capset", "prctl", "setresuid"))
    )
    assert box.probe("mount", "a", "/data", "tmpfs", "0")[0]["outcome"] == "EPERM"


def test_notify_hands_the_listener_the_descriptor_and_the_state(box: Container) -> None:
    at = box.yard.scratch / "listener"
    with listening(at) as listener:
        seccomp(
            box,
            rule("mkdirat", "SCMP_ACT_NOTIFY"),
            listenerPath=str(at),
            listenerMetadata="words for the listener",
        )
        box.config["process"]["args"] = ["/probe", *call(MKDIRAT, 0), "stay"]
        assert box.create().code == 0
        started = os.fork()
        if started == 0:
            os._exit(box.start().code)
        peer, _ = listener.accept()
        with peer:
            data, fds, _, _ = socket.recv_fds(peer, 1 << 16, 4)
        told = json.loads(data)
        assert len(fds) == 1
        assert told["metadata"] == "words for the listener"
        assert told["state"]["id"] == box.id
        assert told["fds"] == ["seccompFd"]
        assert told["pid"] > 0
        request = bytearray(80)
        got = _buffer(request)
        assert LIBC.ioctl(fds[0], NOTIFY_RECEIVE, got) == 0
        ident = struct.unpack_from("Q", got.raw, 0)[0]
        answer = _buffer(struct.pack("QqiI", ident, 0, -77, 0))
        assert LIBC.ioctl(fds[0], NOTIFY_SEND, answer) == 0
        os.close(fds[0])
        assert os.waitstatus_to_exitcode(os.waitpid(started, 0)[1]) == 0
        assert box.until(verb="call")["errno"] == 77


def _buffer(data: bytes | bytearray) -> Any:
    import ctypes

    return ctypes.create_string_buffer(bytes(data), len(data))


def test_notify_without_a_listener_is_an_error(box: Container) -> None:
    seccomp(box, rule("mkdirat", "SCMP_ACT_NOTIFY"), listenerPath=str(box.yard.scratch / "nobody"))
    assert box.run().code != 0
