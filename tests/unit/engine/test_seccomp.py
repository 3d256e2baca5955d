"""The default filter, run through an interpreter of its own instructions."""

from __future__ import annotations

import errno
import os

import pytest

from redpak.engine import seccomp
from redpak.kernel import bpf, caps

MACHINES = ("x86_64", "aarch64")
I386, X32 = 0x40000003, 0x40000000
REFUSE, ABSENT = bpf.RET_ERRNO | errno.EPERM, bpf.RET_ERRNO | errno.ENOSYS


def answer(machine: str, number: int, *arguments: int, kept: tuple[str, ...] = ()) -> int:
    """Return what the filter answers to one call."""
    return bpf.run(seccomp.build(kept, machine), number, bpf.ARCHITECTURES[machine], arguments)


def column(machine: str) -> int:
    """Return where a machine's numbers are in the tables."""
    return MACHINES.index(machine)


@pytest.mark.parametrize("machine", MACHINES)
def test_ordinary_calls_pass(machine: str) -> None:
    ordinary = {
        "x86_64": (0, 1, 2, 9, 59, 60, 202, 257, 434, 437, 444),
        "aarch64": (63, 64, 56, 222, 221, 93, 434, 437, 444),
    }
    for number in ordinary[machine]:
        assert answer(machine, number) == bpf.RET_ALLOW, number


@pytest.mark.parametrize("machine", MACHINES)
def test_every_call_of_the_table_is_refused(machine: str) -> None:
    for name, entry in seccomp.CALLS.items():
        number = entry[column(machine)]
        if isinstance(number, int):
            assert answer(machine, number) == REFUSE, name
    for name, (number, _) in seccomp.NEWER.items():
        assert answer(machine, number) == ABSENT, name


@pytest.mark.parametrize("machine", MACHINES)
def test_a_kept_capability_opens_its_calls_and_no_other(machine: str) -> None:
    for name, entry in seccomp.CALLS.items():
        number, capability = entry[column(machine)], entry[2]
        if not isinstance(number, int):
            continue
        others = tuple(cap for cap in caps.NAMES if cap not in (capability, "CAP_SYS_ADMIN"))
        assert answer(machine, number, kept=others) == REFUSE, name
        if capability:
            assert answer(machine, number, kept=(capability,)) == bpf.RET_ALLOW, name
            assert answer(machine, number, kept=("ALL",)) == bpf.RET_ALLOW, name


def test_only_real_capabilities_are_named() -> None:
    named = {entry[2] for entry in seccomp.CALLS.values()} | {entry[1] for entry in seccomp.NEWER.values()}
    assert named - {""} <= set(caps.NAMES)


def test_foreign_architectures_are_killed_and_x32_is_absent() -> None:
    program = seccomp.build((), "x86_64")
    assert bpf.run(program, 20, I386) == bpf.RET_KILL_PROCESS
    assert bpf.run(program, 0, bpf.ARCHITECTURES["aarch64"]) == bpf.RET_KILL_PROCESS
    for number in (X32, X32 | 59, X32 | 520):
        assert answer("x86_64", number) == ABSENT


@pytest.mark.parametrize("machine", MACHINES)
def test_calls_that_nobody_looked_at_are_absent(machine: str) -> None:
    assert answer(machine, seccomp.NEWEST) == bpf.RET_ALLOW
    assert answer(machine, seccomp.NEWEST + 1) == ABSENT
    assert answer(machine, -1) == ABSENT


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("request_", [seccomp.TIOCSTI, seccomp.TIOCLINUX])
@pytest.mark.parametrize("high", [0, 1 << 32, 0xFFFFFFFF << 32])
def test_no_high_bits_hide_a_terminal_request(machine: str, request_: int, high: int) -> None:
    ioctl = seccomp.SPECIAL["ioctl"][column(machine)]
    assert answer(machine, ioctl, 0, high | request_) == REFUSE
    assert answer(machine, ioctl, 0, high | 0x5401) == bpf.RET_ALLOW


@pytest.mark.parametrize("machine", MACHINES)
def test_clone_makes_no_user_namespace(machine: str) -> None:
    clone = seccomp.SPECIAL["clone"][column(machine)]
    assert answer(machine, clone, 17) == bpf.RET_ALLOW
    assert answer(machine, clone, 17 | seccomp.CLONE_NEWUSER) == REFUSE
    assert answer(machine, clone, 17 | seccomp.CLONE_NEWUSER | 1 << 40) == REFUSE


@pytest.mark.parametrize("machine", MACHINES)
def test_personality_can_be_asked_but_not_changed(machine: str) -> None:
    number = seccomp.SPECIAL["personality"][column(machine)]
    assert answer(machine, number, 0xFFFFFFFF) == bpf.RET_ALLOW
    assert answer(machine, number, 0) == bpf.RET_ALLOW
    assert answer(machine, number, 0x0040000) == REFUSE


def test_a_filter_is_stored_once_and_repaired(tmp_path: os.PathLike[str]) -> None:
    program = seccomp.build()
    path = seccomp.path_of(program, os.fspath(tmp_path))
    assert seccomp.store(program, path)
    before = os.stat(path).st_ino
    assert seccomp.store(program, path)
    assert os.stat(path).st_ino == before
    with open(path, "ab") as file:
        file.write(b"x")
    assert seccomp.store(program, path)
    with open(path, "rb") as file:
        assert file.read() == program


def test_a_filter_that_cannot_be_stored_is_no_fault() -> None:
    assert not seccomp.store(seccomp.build(), "/proc/none/x.bpf")
    assert seccomp.path_of(b"a", "/c") != seccomp.path_of(b"b", "/c")


@pytest.mark.parametrize("machine", MACHINES)
def test_a_command_makes_no_unix_socket(machine: str) -> None:
    socket = seccomp.SPECIAL["socket"][column(machine)]
    program = seccomp.build((), machine, no_sockets=seccomp.AWAY)
    assert bpf.run(program, socket, bpf.ARCHITECTURES[machine], (40, 1, 0)) == REFUSE
    assert bpf.run(program, socket, bpf.ARCHITECTURES[machine], (1, 1, 0)) == REFUSE
    assert bpf.run(program, socket, bpf.ARCHITECTURES[machine], (2, 1, 0)) == bpf.RET_ALLOW
    assert answer(machine, socket, 1) == bpf.RET_ALLOW
