"""Filters, device programs and terminals through the kernel room, each tried in a process of its own."""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from redpak.kernel import (
    bpf,
    clone,
    devices,
    libc,
    mount,
    process,
    seccomp,
    tty,
)
from tests.host.kernel_rig import (
    AS_ROOT,
    EVERY_CALL,
    IN_USERNS,
    both_ways,
    ended,
    failing,
    inside,
    own_cgroup,
    without,
)
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.needs("userns")


# --- filters


def refusing(number: int, action: int) -> bytes:
    program = bpf.Program()
    program.load(bpf.NUMBER)
    program.if_equal(number, action)
    program.answer(bpf.RET_ALLOW)
    return program.assemble()


GETPPID = {"x86_64": 110, "aarch64": 173}.get(os.uname().machine, 173)


def test_a_filter_is_loaded_with_both_calls() -> None:
    def act() -> Any:
        process.no_new_privileges()
        assert seccomp.load(refusing(GETPPID, bpf.RET_ERRNO | errno.EDOM)) == 0
        return libc.LIBC.getppid(), failing(lambda: seccomp.load(b"\0" * 8))

    assert both_ways(act) == [-errno.EDOM, errno.EINVAL]


def test_flags_of_a_filter_need_the_newer_call() -> None:
    def act() -> Any:
        process.no_new_privileges()
        return failing(lambda: seccomp.load(refusing(GETPPID, bpf.RET_ERRNO), seccomp.FLAG_LOG))

    assert inside(act) == 0
    assert inside(act, missing=("seccomp",)) == errno.ENOSYS


def test_a_listener_hears_of_the_calls() -> None:
    def act() -> Any:
        ours, theirs = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            process.no_new_privileges()
            fd = seccomp.load(refusing(GETPPID, bpf.RET_USER_NOTIF), seccomp.FLAG_NEW_LISTENER)
            tty.send_fds(theirs.fileno(), b"here it is", (fd,))
            os.close(fd)
            os._exit(0 if libc.LIBC.getppid() == -errno.ENOSYS else 1)
        data, (listener,) = tty.receive_fds(ours.fileno())
        heard = select.select([listener], [], [], PATIENCE_S)[0]
        inheritable = os.get_inheritable(listener)
        os.close(listener)  # nobody answers: ENOSYS
        return data.decode(), len(heard), inheritable, ended(pid)

    assert inside(act) == ["here it is", 1, False, 0]


def test_the_kernel_says_which_answers_it_knows() -> None:
    assert seccomp.available(bpf.RET_ERRNO)
    assert seccomp.available(bpf.RET_KILL_PROCESS)
    assert not seccomp.available(0x12340000)


@pytest.mark.needs("root")
def test_programs_for_devices_are_attached_replaced_and_taken_off(tmp_path: Path) -> None:
    def act() -> Any:
        group = own_cgroup(tmp_path)
        at = os.open(group, os.O_RDONLY | os.O_DIRECTORY)
        before = len(os.listdir("/proc/self/fd"))

        def opens() -> int:
            pid, pidfd = clone.clone(cgroup=at)
            if pid == 0:
                os._exit(failing(lambda: os.open("/dev/null", os.O_RDONLY)))
            os.close(pidfd)
            return ended(pid)

        def answer(value: int) -> int:
            return devices.load(struct.pack("=BBhiBBhi", 0xB7, 0, 0, value, 0x95, 0, 0, 0))

        yes, no = answer(1), answer(0)
        devices.attach(at, yes)
        results = [opens(), len(devices.attached(at))]
        devices.attach(at, no)
        results += [opens(), len(devices.attached(at))]
        devices.detach(at, yes)
        devices.attach(at, yes, replace=no)
        listed = devices.attached(at)
        results += [opens(), len(listed), int(os.get_inheritable(listed[0])), int(os.get_inheritable(yes))]
        devices.detach(at, yes)
        results += [len(devices.attached(at)), failing(lambda: devices.detach(at, yes))]
        try:
            devices.load(struct.pack("=BBhi", 0x95, 0, 0, 0))
        except OSError as error:
            results += ["R0 !read_ok" in str(error.strerror)]
        group.rmdir()
        return results, before > 0

    if inside(
        lambda: failing(lambda: devices.load(struct.pack("=BBhiBBhi", 0xB7, 0, 0, 1, 0x95, 0, 0, 0))), 0
    ):
        pytest.fail("this root may not load programs: run the test where it may")
    results, _ = inside(act, AS_ROOT)
    assert results == [0, 1, errno.EPERM, 2, 0, 1, 0, 0, 0, errno.ENOENT, True]


# --- terminals


@pytest.mark.needs("pty")
def test_a_terminal_is_made_in_a_devpts_of_its_own(tmp_path: Path) -> None:
    def act() -> Any:
        mount.mount("devpts", str(tmp_path), "devpts", 0, "newinstance,ptmxmode=0666,mode=0620")
        master, slave, number = tty.open_pair("ptmx", directory=os.open(tmp_path, os.O_PATH))
        tty.set_size(master, 33, 99)
        os.setsid()
        tty.control(slave)
        with open("/dev/tty", "rb", buffering=0) as own:
            ours = tty.size(own.fileno())
        os.write(slave, b"out\n")
        same = os.fstat(slave).st_ino == os.stat(tmp_path / str(number)).st_ino
        return (
            number,
            ours,
            os.read(master, 100).decode(),
            same,
            os.get_inheritable(master) or os.get_inheritable(slave),
            failing(lambda: tty.open_pair("/dev/null")),
        )

    assert inside(act) == [0, [33, 99], "out\r\n", True, False, errno.ENOTTY]


def test_descriptors_travel_over_a_socket_and_arrive_close_on_exec() -> None:
    ours, theirs = socket.socketpair()
    read, write = os.pipe()
    tty.send_fds(ours.fileno(), b"two", (read, write))
    tty.send_fds(ours.fileno(), b"none", ())
    data, fds = tty.receive_fds(theirs.fileno(), 3)
    assert data == b"two"
    assert [os.get_inheritable(fd) for fd in fds] == [False, False]
    os.write(fds[1], b"x")
    assert os.read(read, 1) == b"x"
    assert tty.receive_fds(theirs.fileno()) == (b"none", [])
    ours.close()
    assert tty.receive_fds(theirs.fileno()) == (b"", [])
    for fd in (read, write, *fds):
        os.close(fd)
    theirs.close()


def test_a_descriptor_of_another_process_is_copied() -> None:
    def act() -> Any:
        read, write = os.pipe()
        gate_read, gate = os.pipe()
        pid, pidfd = clone.clone()
        if pid == 0:
            os.close(gate)
            os.dup2(write, 50)
            os.write(write, b"r")
            os.read(gate_read, 1)
            os._exit(0)
        os.read(read, 1)
        copy = clone.getfd(pidfd, 50)
        os.write(copy, b"z")
        result = os.read(read, 1).decode(), os.get_inheritable(copy), failing(lambda: clone.getfd(pidfd, 77))
        os.close(gate)
        ended(pid)
        return result

    assert inside(act) == ["z", False, errno.EBADF]


# --- the switch


def test_a_whole_program_is_told_which_calls_to_do_without() -> None:
    code = "from redpak.kernel import libc; print(sorted(n for n in libc.NUMBERS if libc.NUMBERS[n] < 0))"

    def told(value: str) -> str:
        environ = {**os.environ, "REDPAK_ENOSYS": value, "PYTHONPATH": str(Path(__file__).parents[2])}
        done = subprocess.run(
            [sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    assert told("") == "[]"
    assert told("clone3,open_tree,nonsense") == "['clone3', 'open_tree']"
    assert told("landlock_restrict_self,keyctl,capset,pivot_root") == "[]"  # protections stay
    assert told(",".join(EVERY_CALL)) == str(sorted(EVERY_CALL))


def test_every_call_that_is_taken_away_is_missed() -> None:
    def act() -> Any:
        without(EVERY_CALL)
        return [libc.exists(name) for name in EVERY_CALL]

    assert inside(act, IN_USERNS) == [False] * len(EVERY_CALL)
