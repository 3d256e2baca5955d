"""Each kernel call, tried on this host or on its data."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from redpak.kernel import bpf, caps, files, landlock, libc, ns, process
from tests.patience import PATIENCE_S


def in_a_child(act: Callable[[], object]) -> int:
    """Return the exit code of a forked child that runs `act` (its truth as 0, errors as 9)."""
    pid = os.fork()
    if pid == 0:
        code = 9
        try:
            code = 0 if act() else 1
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_plain_path_opens_and_a_link_does_not(tmp_path: Path) -> None:
    at = tmp_path.resolve()
    (at / "file").touch()
    os.symlink("file", at / "link")
    fd = files.open_plain(str(at / "file"), os.O_PATH)
    assert os.readlink(f"/proc/self/fd/{fd}") == str(at / "file")
    assert not os.get_inheritable(fd)
    os.close(fd)
    with pytest.raises(OSError, match="link") as told:
        files.open_plain(str(at / "link"), os.O_PATH)
    assert told.value.filename == str(at / "link")
    with pytest.raises(OSError, match="symbolic links"):
        files.open_plain("/proc/self/root/etc", os.O_PATH)


def test_beneath_does_not_leave(tmp_path: Path) -> None:
    directory = os.open(tmp_path, os.O_PATH)
    with pytest.raises(OSError, match="cross-device"):
        files.openat2("../x", os.O_PATH, files.RESOLVE_BENEATH, directory=directory)
    os.close(directory)


def test_descriptors_are_closed_on_exec_but_for_the_kept() -> None:
    def act() -> bool:
        for fd in (20, 21, 22):
            os.dup2(1, fd)
        files.close_on_exec((21,))
        return [os.get_inheritable(fd) for fd in (20, 21, 22)] == [False, True, False]

    assert in_a_child(act) == 0


def test_a_range_of_descriptors_is_closed() -> None:
    def act() -> bool:
        os.dup2(1, 20)
        files.close_range(20, 20)
        try:
            os.fstat(20)
        except OSError:
            return True
        return False

    assert in_a_child(act) == 0


def test_an_unknown_machine_has_no_numbers() -> None:
    assert libc.number("openat2") == 437
    with pytest.raises(OSError, match="no_such_call is not known"):
        libc.number("no_such_call")
    with pytest.raises(OSError, match="argument"):
        files.close_range(5, 4)


def test_new_privileges_are_given_up_for_good() -> None:
    def act() -> bool:
        process.no_new_privileges()
        return process.has_no_new_privileges()

    assert in_a_child(act) == 0


def test_the_session_keyring_is_left() -> None:
    def act() -> bool:
        process.new_session_keyring()
        process.clear_ambient()
        return True

    assert in_a_child(act) == 0


def test_a_child_dies_with_its_parent() -> None:
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        if os.fork() == 0:
            process.die_with_parent(signal.SIGKILL)
            os.write(writer, b"x")
            signal.pause()
        os.read(reader, 1)
        os._exit(0)
    os.close(writer)
    os.waitpid(pid, 0)
    assert select.select([reader], [], [], PATIENCE_S)[0]
    assert os.read(reader, 1) == b""
    os.close(reader)


@pytest.mark.needs("landlock6")
def test_a_scoped_process_cannot_signal_outside() -> None:
    parent = os.getpid()

    def act() -> bool:
        if not landlock.scope():
            return False
        try:
            os.kill(parent, 0)
        except PermissionError:
            return True
        return False

    assert in_a_child(act) == 0
    assert landlock.abi() >= landlock.SCOPE_ABI


@pytest.mark.needs("userns")
def test_we_stay_who_we_are_in_a_user_namespace_of_our_own() -> None:
    before = (os.geteuid(), os.getegid(), os.readlink("/proc/self/ns/uts"))

    def act() -> bool:
        ns.unshare_as_myself(ns.CLONE_NEWUTS)
        same = (os.geteuid(), os.getegid()) == before[:2]
        return same and bool(os.readlink("/proc/self/ns/uts") != before[2])

    assert in_a_child(act) == 0


@pytest.mark.needs("userns")
def test_a_namespace_is_joined() -> None:
    def act() -> bool:
        before = os.open("/proc/self/ns/uts", os.O_RDONLY)
        ns.unshare(ns.CLONE_NEWUSER)
        own = os.open("/proc/self/ns/user", os.O_RDONLY)
        try:
            ns.setns(before, "net", "/some/path")
        except OSError as error:
            wrong_kind = bool(error.filename == "/some/path")
        try:
            ns.setns(own, "user")
        except OSError:
            return wrong_kind  # our own user namespace cannot be joined
        return False

    assert in_a_child(act) == 0


def test_capability_numbers_are_the_kernels() -> None:
    assert caps.bit("CAP_CHOWN") == 1
    assert caps.bit("CAP_SYS_ADMIN") == 1 << 21
    assert caps.bit("CAP_CHECKPOINT_RESTORE") == 1 << 40
    assert caps.bit("CAP_NONE") == 0


def test_a_program_is_assembled_as_the_kernel_reads_it() -> None:
    p = bpf.Program()
    p.load(bpf.NUMBER)
    p.if_equal(7, bpf.RET_ERRNO | 1)
    p.answer(bpf.RET_ALLOW)
    assert p.assemble().hex() == "200000000000000015000001070000000600000001000500060000000000ff7f"
    assert bpf.run(p.assemble(), 7, 0) == bpf.RET_ERRNO | 1
    assert bpf.run(p.assemble(), 8, 0) == bpf.RET_ALLOW


def test_programs_that_are_too_long_are_refused() -> None:
    inner = bpf.Program()
    for _ in range(bpf.MAX_INSTRUCTIONS + 1):
        inner.answer(bpf.RET_ALLOW)
    with pytest.raises(ValueError, match="at most"):
        inner.assemble()
    with pytest.raises(ValueError, match="unknown"):
        bpf.run(b"\xff" * 8, 0, 0)
