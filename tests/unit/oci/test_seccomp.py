from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redpak.engine import seccomp as engine_filter
from redpak.kernel.bpf import (
    ARCHITECTURES,
    RET_ALLOW,
    RET_ERRNO,
    RET_KILL_PROCESS,
    RET_LOG,
    RET_USER_NOTIF,
    X32_BIT,
    run,
)
from redpak.oci import profile, seccomp
from redpak.oci.calls_x86 import CALLS
from redpak.oci.parts import Faults, Part
from tests.oci_configs import real

X86_64, X86, AARCH64 = ARCHITECTURES["x86_64"], ARCHITECTURES["x86"], ARCHITECTURES["aarch64"]
U64 = (1 << 64) - 1


def number(name: str, column: int = 0) -> int:
    return CALLS[name][column]


def section(*rules: dict[str, Any], default: str = "SCMP_ACT_ERRNO", **more: Any) -> dict[str, Any]:
    return {"defaultAction": default, "syscalls": list(rules), **more}


def allow(*names: str, **more: Any) -> dict[str, Any]:
    return {"names": list(names), "action": "SCMP_ACT_ALLOW", **more}


def build(asked: dict[str, Any], machine: str = "x86_64") -> bytes:
    faults = Faults()
    found = seccomp.read(Part(asked, "linux.seccomp", faults), machine)
    assert found is not None, faults.found
    return found.program


def wrong(asked: dict[str, Any], machine: str = "x86_64") -> list[str]:
    faults = Faults()
    assert seccomp.read(Part(asked, "s", faults), machine) is None
    return [path for path, _ in faults.found]


def test_what_is_listed_is_answered_so_and_all_else_by_the_default() -> None:
    program = build(
        section(allow("read", "write"), {"names": ["ptrace"], "action": "SCMP_ACT_LOG"}, defaultErrnoRet=13)
    )
    assert run(program, number("read"), X86_64) == RET_ALLOW
    assert run(program, number("ptrace"), X86_64) == RET_LOG
    assert run(program, number("openat"), X86_64) == RET_ERRNO | 13


def test_names_that_no_architecture_has_are_ignored() -> None:
    assert run(build(section(allow("read", "call_of_the_year_2030"))), number("read"), X86_64) == RET_ALLOW


def test_calls_of_an_architecture_that_is_not_listed_end_the_process() -> None:
    program = build(section(allow("read", "exit")))
    assert run(program, number("read", 1), X86) == RET_KILL_PROCESS
    assert run(program, number("read") | X32_BIT, X86_64) == RET_KILL_PROCESS
    assert run(program, 63, AARCH64) == RET_KILL_PROCESS


def test_listed_architectures_have_their_own_numbers() -> None:
    names = ["SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_S390X"]
    program = build(section(allow("openat", "ioctl"), architectures=names))
    assert run(program, number("openat", 1), X86) == RET_ALLOW
    assert run(program, number("openat"), X86) != RET_ALLOW
    assert run(program, number("ioctl", 2) | X32_BIT, X86_64) == RET_ALLOW
    assert run(program, number("ioctl") | X32_BIT, X86_64) != RET_ALLOW
    assert run(build(section(allow("openat")), "aarch64"), 56, AARCH64) == RET_ALLOW


def test_newer_calls_than_the_profile_knows_are_absent_where_the_rest_is_not_permitted() -> None:
    program = build(section(allow("read", "openat2")))
    assert run(program, number("openat2") + 1, X86_64) == RET_ERRNO | 38
    assert run(program, number("ptrace"), X86_64) == RET_ERRNO | 1
    assert run(build(section(allow("openat2"), defaultErrnoRet=5)), 500, X86_64) == RET_ERRNO | 5
    assert run(build(section(allow("openat2"), default="SCMP_ACT_KILL")), 500, X86_64) == 0


COMPARE: dict[str, Callable[[int, int, int], bool]] = {
    "SCMP_CMP_EQ": lambda a, v, _: a == v,
    "SCMP_CMP_NE": lambda a, v, _: a != v,
    "SCMP_CMP_LT": lambda a, v, _: a < v,
    "SCMP_CMP_LE": lambda a, v, _: a <= v,
    "SCMP_CMP_GT": lambda a, v, _: a > v,
    "SCMP_CMP_GE": lambda a, v, _: a >= v,
    "SCMP_CMP_MASKED_EQ": lambda a, v, w: a & v == w & v,
}
WORDS = st.sampled_from(
    [0, 1, 2, 0x7FFFFFFF, 0xFFFFFFFF, 1 << 32, (1 << 32) + 1, U64 - 1, U64]
) | st.integers(0, U64)


@given(
    st.lists(st.tuples(st.integers(0, 5), st.sampled_from(sorted(COMPARE)), WORDS, WORDS), max_size=4),
    st.tuples(*[WORDS] * 6),
)
@settings(max_examples=300, deadline=None)
def test_arguments_are_compared_in_all_their_64_bits(
    asked: list[tuple[int, str, int, int]], given_: tuple[int, ...]
) -> None:
    args = [{"index": i, "op": op, "value": v, "valueTwo": w} for i, op, v, w in asked]
    program = build(section(allow("ioctl", args=args), allow("read")))
    held = [COMPARE[op](given_[i], v, w) for i, op, v, w in asked]
    twice = len({i for i, *_ in asked}) < len(asked)
    good = (any(held) if twice else all(held)) if asked else True
    assert (run(program, number("ioctl"), X86_64, given_) == RET_ALLOW) == good
    assert run(program, number("read"), X86_64, given_) == RET_ALLOW


def test_a_rule_without_arguments_counts_before_all_others_of_its_call() -> None:
    args = [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]
    rule = {"names": ["socket"], "action": "SCMP_ACT_LOG", "args": args}
    program = build(section(rule, allow("socket")))
    assert run(program, number("socket"), X86_64, (1,)) == RET_ALLOW


def test_of_several_rules_the_first_that_fits_counts() -> None:
    one = {
        "names": ["socket"],
        "action": "SCMP_ACT_LOG",
        "args": [{"index": 0, "value": 5, "op": "SCMP_CMP_LT"}],
    }
    two = allow("socket", args=[{"index": 0, "value": 9, "op": "SCMP_CMP_LT"}])
    program = build(section(one, two))
    told = [run(program, number("socket"), X86_64, (value,)) for value in (4, 5, 9)]
    assert told == [RET_LOG, RET_ALLOW, RET_ERRNO | 1]


def test_a_call_that_is_refused_on_x86_is_refused_behind_its_common_number_too() -> None:
    rule = {"names": ["socket", "shmat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}
    program = build(section(rule, default="SCMP_ACT_ALLOW", architectures=["SCMP_ARCH_X86"]))
    assert run(program, number("socketcall", 1), X86, (1,)) == RET_ERRNO | 1
    assert run(program, number("socketcall", 1), X86, (3,)) == RET_ALLOW
    assert run(program, number("ipc", 1), X86, (21 | 1 << 16,)) == RET_ERRNO | 1
    assert run(program, number("ipc", 1), X86, (22,)) == RET_ALLOW


def test_a_listener_is_told_of_calls() -> None:
    rule = {"names": ["mknod"], "action": "SCMP_ACT_NOTIFY"}
    asked = section(rule, default="SCMP_ACT_ALLOW", listenerPath="/run/l", listenerMetadata="m",
                    flags=["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"])  # fmt: skip
    found = seccomp.read(Part(asked, "s", Faults()), "x86_64")
    assert found is not None
    assert (found.listener, found.listener_metadata, found.flags) == ("/run/l", "m", 32)
    assert run(found.program, number("mknod"), X86_64) == RET_USER_NOTIF


def test_a_listener_that_no_rule_needs_is_not_told() -> None:
    asked = section(allow("read"), listenerPath="/run/l", flags=["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"])
    found = seccomp.read(Part(asked, "s", Faults()), "x86_64")
    assert found is not None
    assert (found.listener, found.flags) == ("", 0)


@pytest.mark.parametrize(
    ("asked", "where"),
    [
        ({}, ["s.defaultAction"]),
        (section(default="SCMP_ACT_MOON"), ["s.defaultAction"]),
        (section(default="SCMP_ACT_NOTIFY"), ["s.defaultAction"]),
        (section(default="SCMP_ACT_KILL", defaultErrnoRet=1), ["s.defaultErrnoRet"]),
        (section(defaultErrnoRet=4096), ["s.defaultErrnoRet"]),
        (section(architectures=["SCMP_ARCH_MOON"]), ["s.architectures[0]"]),
        (section(flags=["X"]), ["s.flags[0]"]),
        (section({"action": "SCMP_ACT_ALLOW"}), ["s.syscalls[0].names"]),
        (section({"names": ["read", 1], "action": "SCMP_ACT_ALLOW"}), ["s.syscalls[0].names[1]"]),
        (section({"names": ["read"]}), ["s.syscalls[0].action"]),
        (section(allow("read", errnoRet=1)), ["s.syscalls[0].errnoRet"]),
        (
            section(allow("read", args=[{"index": 6, "value": 1, "op": "SCMP_CMP_EQ"}])),
            ["s.syscalls[0].args[0].index"],
        ),
        (
            section(allow("read", args=[{"index": 0, "value": -1, "op": "SCMP_CMP_EQ"}])),
            ["s.syscalls[0].args[0].value"],
        ),
        (section(allow("read", args=[{"index": 0, "value": 1, "op": "=="}])), ["s.syscalls[0].args[0].op"]),
        (section({"names": ["mknod"], "action": "SCMP_ACT_NOTIFY"}), ["s.listenerPath"]),
        (
            section({"names": ["write"], "action": "SCMP_ACT_NOTIFY"}, listenerPath="/l"),
            ["s.syscalls[0].names"],
        ),
        (section(listenerMetadata="m"), ["s.listenerMetadata"]),
    ],
)
def test_a_wrong_section_is_refused_with_the_path_of_the_fault(
    asked: dict[str, Any], where: list[str]
) -> None:
    assert wrong(asked) == where


def test_a_machine_without_a_table_is_refused() -> None:
    assert wrong(section(allow("read")), "vax") == ["s.architectures"]


def test_more_rules_than_the_kernel_takes_are_refused() -> None:
    rules = [
        allow(name, args=[{"index": i, "value": at, "op": "SCMP_CMP_EQ"} for i in range(6)])
        for at, name in enumerate(CALLS)
    ]
    assert wrong(section(*rules)) == ["s.syscalls"]


@pytest.mark.parametrize("name", ["podman", "docker", "containerd"])
def test_a_real_profile_comes_to_a_filter_that_is_short_on_its_way(name: str) -> None:
    program = build(real(name)["linux"]["seccomp"])
    assert len(program) // 8 < 700
    assert run(program, number("read"), X86_64) == RET_ALLOW
    assert run(program, number("kexec_load"), X86_64) & 0xFFFF0000 == RET_ERRNO


@pytest.mark.parametrize("kept", [(), ("CAP_SYS_ADMIN",), ("ALL",)])
def test_redpaks_own_filter_says_the_same_as_a_profile(kept: tuple[str, ...]) -> None:
    asked = profile.section(kept, no_sockets=(40,), machine="x86_64")
    assert asked is not None
    theirs = build(asked)
    ours = engine_filter.build(kept, "x86_64", no_sockets=(40,))
    words = (
        0,
        1,
        40,
        0x5412,
        0x541C,
        0x10000000,
        0x10000011,
        0xFFFFFFFF,
        0x40000,
        1 << 40,
        (1 << 40) | 0x5412,
    )
    for name in range(engine_filter.NEWEST + 1):
        for word in words:
            arguments = (word, word, 0)
            assert run(theirs, name, X86_64, arguments) == run(ours, name, X86_64, arguments), (
                name,
                hex(word),
            )


@given(st.integers(0, U64))
@settings(max_examples=200, deadline=None)
def test_only_the_plain_personality_passes_the_profile(word: int) -> None:
    asked = profile.section((), machine="x86_64")
    assert asked is not None
    program = build(asked)
    good = word & 0xFFFFFFFF in (0, 0xFFFFFFFF)
    assert (run(program, number("personality"), X86_64, (word,)) == RET_ALLOW) == good
