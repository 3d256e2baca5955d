"""Namespaces, rights and what a process is, through the kernel room, each tried in a process of its own."""

from __future__ import annotations

import errno
import fcntl
import os
import select
import signal
import socket
import struct
import subprocess
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from redpak.kernel import (
    caps,
    clone,
    files,
    net,
    ns,
    process,
    procfs,
    rights,
    schedule,
)
from tests.host.kernel_rig import AS_ROOT, both_ways, ended, failing, inside, own_cgroup
from tests.patience import PATIENCE_S

SIOCSIFNAME = 0x8923  # netdevice(7)
ALL_KINDS = (
    ns.CLONE_NEWNS
    | ns.CLONE_NEWCGROUP
    | ns.CLONE_NEWUTS
    | ns.CLONE_NEWIPC
    | ns.CLONE_NEWPID
    | ns.CLONE_NEWNET
)
KINDS = {kind: name for kind, name in ns.FILES.items() if os.path.exists(f"/proc/self/ns/{name}")}
pytestmark = pytest.mark.needs("userns")


def pipe_from(pid_of_child: int, act: Any, write: int) -> None:
    """Be the child: write what `act` returns, and end."""
    try:
        os.write(write, repr(act()).encode())
    finally:
        os._exit(0)


# --- clone and namespaces


def test_a_child_begins_in_all_its_namespaces() -> None:
    def act() -> Any:
        host = {kind: os.stat(f"/proc/self/ns/{name}").st_ino for kind, name in KINDS.items()}
        read, write = os.pipe()
        pid, pidfd = clone.clone(ALL_KINDS | ns.CLONE_NEWUSER)
        if pid == 0:
            own = {kind: os.stat(f"/proc/self/ns/{name}").st_ino for kind, name in KINDS.items()}
            pipe_from(
                pid, lambda: f"{os.getpid()} {sorted(kind for kind in own if own[kind] == host[kind])}", write
            )
        said = os.read(read, 1000).decode()
        ready = select.select([pidfd], [], [], PATIENCE_S)[0]
        return said, os.get_inheritable(pidfd), ready == [pidfd], ended(pid)

    same = [kind for kind in ("time",) if kind in KINDS]
    assert both_ways(act) == [repr(f"1 {same}"), False, True, 0]


def test_python_is_whole_in_the_child() -> None:
    def act() -> Any:
        heard: list[str] = []
        os.register_at_fork(
            before=lambda: heard.append("before"),
            after_in_parent=lambda: heard.append("parent"),
            after_in_child=lambda: heard.append("child"),
        )
        read, write = os.pipe()
        pid, _ = clone.clone()
        if pid == 0:

            def child() -> Any:
                import fractions  # takes the import lock, compiles, allocates
                import threading

                ran: list[int] = []
                thread = threading.Thread(target=lambda: ran.append(1))
                thread.start()
                thread.join()
                again, _ = clone.clone()
                if again == 0:
                    os._exit(5)
                return heard, ran, str(fractions.Fraction(1, 3)), ended(again)

            pipe_from(pid, child, write)
        return os.read(read, 1000).decode(), heard, ended(pid)

    said, heard, code = both_ways(act)
    assert said == "(['before', 'child', 'before', 'parent'], [1], '1/3', 5)"
    assert (heard, code) == (["before", "parent"], 0)


def test_a_failed_clone_leaves_the_caller_whole() -> None:
    def act() -> Any:
        code = failing(
            lambda: clone.clone(ns.CLONE_NEWNS | 0x200)
        )  # CLONE_FS and a new mount namespace: never
        pid, pidfd = clone.clone()
        if pid == 0:
            os._exit(0)
        os.close(pidfd)
        return code, ended(pid), len(os.listdir("/proc/self/fd"))

    code, end, _ = both_ways(act)
    assert (code, end) == (errno.EINVAL, 0)


def test_a_sibling_is_our_parents_child() -> None:
    def act() -> Any:
        read, write = os.pipe()
        stage = os.fork()
        if stage == 0:
            pid, _ = clone.clone(clone.CLONE_PARENT | ns.CLONE_NEWPID)
            if pid == 0:
                os._exit(42)
            os.write(write, str(pid).encode())
            os._exit(0)
        sibling = int(os.read(read, 20))
        return ended(sibling), ended(stage)

    assert both_ways(act) == [42, 0]


def test_what_only_clone3_can_is_refused_without_it() -> None:
    def act() -> Any:
        return [
            failing(lambda: clone.clone(ns.CLONE_NEWTIME)),
            failing(lambda: clone.clone(cgroup=0)),
            failing(lambda: clone.clone(set_tid=(7,))),
            failing(lambda: clone.clone(clear_signals=True)),
        ]

    assert inside(act, missing=("clone3",)) == [errno.ENOSYS] * 4


def test_a_child_has_the_pid_and_the_signals_that_were_asked_for() -> None:
    def act() -> Any:
        signal.signal(signal.SIGUSR1, lambda *_: None)
        pid, _ = clone.clone(ns.CLONE_NEWPID | ns.CLONE_NEWUSER, set_tid=(1,), clear_signals=True)
        if pid == 0:
            os.kill(os.getpid(), 0)
            with open("/proc/self/status", encoding="ascii") as file:
                caught = next(int(line.split()[1], 16) for line in file if line.startswith("SigCgt"))
            os._exit(int(caught >> (signal.SIGUSR1 - 1) & 1))
        return ended(pid)

    assert inside(act) == 0


@pytest.mark.needs("root")
def test_a_child_begins_in_the_cgroup_that_was_asked_for(tmp_path: Path) -> None:
    def act() -> Any:
        group = own_cgroup(tmp_path)
        pid, _ = clone.clone(cgroup=os.open(group, os.O_PATH))
        if pid == 0:
            with open("/proc/self/cgroup", encoding="utf-8") as file:
                os._exit(0 if any(line.rstrip().endswith(group.name) for line in file) else 1)
        code = ended(pid)
        group.rmdir()
        return code

    assert inside(act, AS_ROOT) == 0


def test_namespaces_are_joined_at_once_by_a_pidfd() -> None:
    def act() -> Any:
        gate_read, gate = os.pipe()
        ready_read, ready = os.pipe()
        pid, pidfd = clone.clone(ns.CLONE_NEWUTS | ns.CLONE_NEWNET | ns.CLONE_NEWPID)
        if pid == 0:
            os.close(gate)
            socket.sethostname("joined")
            os.write(ready, b"x")
            os.read(gate_read, 1)
            os._exit(0)
        os.read(ready_read, 1)
        ns.join(pidfd, ns.CLONE_NEWUTS | ns.CLONE_NEWNET | ns.CLONE_NEWPID)
        name = os.uname().nodename
        inner = os.fork()
        if inner == 0:
            os._exit(os.getpid())
        number = ended(inner)
        os.close(gate)
        ended(pid)
        return name, number, failing(lambda: ns.join(pidfd, ns.CLONE_NEWUTS))

    assert both_ways(act) == ["joined", 2, errno.ESRCH]


def test_a_namespace_says_what_it_is_and_whose() -> None:
    def act() -> Any:
        ns.unshare(ns.CLONE_NEWUTS)
        own = os.open("/proc/self/ns/user", os.O_RDONLY)
        uts = os.open("/proc/self/ns/uts", os.O_RDONLY)
        owner = ns.owner_of(uts)
        file = os.open("/proc/self/status", os.O_RDONLY)
        return (
            [ns.kind_of(fd) for fd in (own, uts, owner)],
            os.fstat(owner).st_ino == os.fstat(own).st_ino,
            os.get_inheritable(owner),
            failing(lambda: ns.parent_of(own)),
            failing(lambda: ns.kind_of(file)),
        )

    assert inside(act) == [["user", "uts", "user"], True, False, errno.EPERM, errno.ENOTTY]


def test_maps_are_written_once() -> None:
    def act() -> Any:
        with open("/proc/self/uid_map", encoding="ascii") as file:
            told = file.read().split()
        return told[0], told[2], failing(lambda: ns.write_maps("self", [(0, 0, 1)], []))

    assert both_ways(act) == ["0", "1", errno.EPERM]


@pytest.mark.needs("root")
def test_a_user_namespace_is_made_for_its_maps_alone() -> None:
    def act() -> Any:
        before = len(os.listdir("/proc/self/fd"))
        fd = ns.userns_with([(0, 1000, 10), (10, 3000, 1)], [(0, 2000, 10)])
        kind = ns.kind_of(fd)
        pid = os.fork()
        if pid == 0:
            ns.setns(fd, "user")
            with open("/proc/self/uid_map", encoding="ascii") as file:
                os._exit(0 if file.read().split() == ["0", "1000", "10", "10", "3000", "1"] else 1)
        code = ended(pid)
        os.close(fd)
        wrong = failing(lambda: ns.userns_with([(0, 0, 5), (3, 9, 9)], [(0, 0, 1)]))
        return (
            kind,
            code,
            wrong,
            len(os.listdir("/proc/self/fd")) - before,
            failing(lambda: os.waitpid(-1, 0)),
        )

    assert both_ways(act, AS_ROOT) == ["user", 0, errno.EINVAL, 0, errno.ECHILD]


def test_clocks_of_a_time_namespace_are_moved_before_its_first_process() -> None:
    def act() -> Any:
        ns.unshare(ns.CLONE_NEWTIME)
        ns.set_offsets([("boottime", 86400, 0), ("monotonic", 3600, 500)])
        before = time.clock_gettime(time.CLOCK_BOOTTIME)
        pid = os.fork()
        if pid == 0:
            os._exit(int(86400 <= time.clock_gettime(time.CLOCK_BOOTTIME) - before < 86500))
        moved = ended(pid)
        return moved, failing(lambda: ns.set_offsets([("boottime", 1, 0)])) in (errno.EACCES, errno.EPERM)

    if "time" in KINDS:
        assert both_ways(act) == [1, True]
    else:
        assert both_ways(act)[0] == errno.EINVAL  # a kernel without them says so


def test_loopback_answers_once_it_is_up() -> None:
    def act() -> Any:
        ns.unshare(ns.CLONE_NEWNET)

        def speak(family: int, address: str) -> None:
            with socket.socket(family, socket.SOCK_DGRAM) as one:
                one.sendto(b"x", (address, 9))

        before = failing(lambda: speak(socket.AF_INET, "127.0.0.1"))
        net.loopback_up()
        net.loopback_up()
        return before, failing(lambda: speak(socket.AF_INET, "127.0.0.1"))

    assert inside(act) == [errno.ENETUNREACH, 0]


def test_a_kernel_parameter_is_set_in_our_namespace_only() -> None:
    def act() -> Any:
        ns.unshare(ns.CLONE_NEWNET | ns.CLONE_NEWUTS)
        proc = procfs.root()
        procfs.sysctl(proc, "net.ipv4.ip_forward", "1")
        wrong = failing(lambda: procfs.sysctl(proc, "net.ipv4.ip_forward", "many"))
        absent = failing(lambda: procfs.sysctl(proc, "no.such.thing", "1"))
        return procfs.read(proc, "sys/net/ipv4/ip_forward").decode(), wrong, absent

    before = Path("/proc/sys/net/ipv4/ip_forward").read_text()
    assert both_ways(act) == ["1\n", errno.EINVAL, errno.ENOENT]
    assert Path("/proc/sys/net/ipv4/ip_forward").read_text() == before


def test_a_slash_in_a_parameters_name_stands_for_a_dot() -> None:
    def act() -> Any:
        ns.unshare(ns.CLONE_NEWNET)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            fcntl.ioctl(one, SIOCSIFNAME, struct.pack("16s16s", b"lo", b"l.o"))
        proc = procfs.root()
        procfs.sysctl(proc, "net.ipv4.conf.l/o.rp_filter", "2")
        return procfs.read(proc, "sys/net/ipv4/conf/l.o/rp_filter").decode()

    assert inside(act) == "2\n"


# --- rights

CHOWN, SETPCAP, ADMIN = (
    1 << caps.NAMES.index(name) for name in ("CAP_CHOWN", "CAP_SETPCAP", "CAP_SYS_ADMIN")
)


def test_a_program_has_exactly_the_five_sets_that_it_was_given() -> None:
    def act() -> Any:
        rights.drop_bounding(CHOWN | SETPCAP)
        rights.set_caps(CHOWN | SETPCAP, CHOWN | SETPCAP, CHOWN)
        rights.set_securebits(0x3)  # NOROOT and its lock: uid 0 gets nothing for free
        rights.set_ambient(CHOWN)
        own = rights.of_process()
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.dup2(write, 1)
            os.execv("/bin/grep", ["grep", "^Cap", "/proc/self/status"])
        os.close(write)
        with open(read, encoding="ascii") as file:
            after = {line.split(":")[0]: int(line.split(":")[1], 16) for line in file}
        ended(pid)
        return own, after, rights.caps(), rights.securebits()

    own, after, three, bits = inside(act)
    both = CHOWN | SETPCAP
    assert own == {"CapInh": CHOWN, "CapPrm": both, "CapEff": both, "CapBnd": both, "CapAmb": CHOWN}
    assert three == [CHOWN | SETPCAP, CHOWN | SETPCAP, CHOWN]
    assert after == {
        "CapInh": CHOWN, "CapPrm": CHOWN, "CapEff": CHOWN, "CapBnd": CHOWN | SETPCAP, "CapAmb": CHOWN,
    }  # fmt: skip
    assert bits == 3


def test_rights_do_not_grow_again() -> None:
    def act() -> Any:
        rights.set_caps(CHOWN, CHOWN, 0)
        return (
            failing(lambda: rights.set_caps(ADMIN, ADMIN, 0)),
            failing(lambda: rights.drop_bounding(0)),
            failing(lambda: rights.set_ambient(CHOWN)),  # not inheritable
            failing(lambda: rights.set_securebits(1)),
        )

    assert inside(act) == [errno.EPERM] * 4


def test_the_kernels_last_capability_is_found() -> None:
    assert rights.last_cap() == int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    assert rights.bounding() == rights.of_process()["CapBnd"]


@pytest.mark.needs("root")
def test_capabilities_are_kept_over_a_change_of_user() -> None:
    def act() -> Any:
        rights.keep_over_setuid(yes=True)
        os.setresuid(1000, 1000, 1000)
        effective, permitted, _ = rights.caps()
        return effective, bool(permitted & CHOWN)

    assert inside(act, AS_ROOT) == [0, True]


# --- what a process is


def test_orphans_come_to_a_subreaper() -> None:
    def act() -> Any:
        process.adopt_orphans()
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            inner = os.fork()
            if inner == 0:
                os.read(read, 1)
                os._exit(9)
            os._exit(0)
        ended(pid)
        os.write(write, b"x")
        return os.waitstatus_to_exitcode(os.waitpid(-1, 0)[1])

    assert inside(act) == 9


def test_a_process_that_is_not_dumpable_hides_its_files() -> None:
    def act() -> Any:
        process.dumpable(yes=False)
        hidden = os.stat("/proc/self/mem").st_uid
        process.dumpable(yes=True)
        return hidden, os.stat("/proc/self/mem").st_uid

    hidden, shown = inside(act)
    assert hidden != shown or os.geteuid() == 0


def test_a_personality_is_set_and_the_former_one_told() -> None:
    def act() -> Any:
        first = process.personality(0x0040000)  # ADDR_NO_RANDOMIZE
        with open("/proc/self/personality", encoding="ascii") as file:
            return first, int(file.read(), 16), process.personality(0)

    assert inside(act) == [0, 0x0040000, 0x0040000]


def test_a_sealed_copy_never_changes() -> None:
    fd = process.sealed_copy("name", b"content")
    assert os.read(fd, 100) == b"content"
    assert not os.get_inheritable(fd)
    assert failing(lambda: os.write(fd, b"x")) == errno.EPERM
    assert failing(lambda: os.ftruncate(fd, 0)) == errno.EPERM
    assert failing(lambda: fcntl.fcntl(fd, 1033, 0x10)) == errno.EPERM
    os.close(fd)


def test_a_program_is_run_by_its_descriptor(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\necho script $1 $A\n")
    script.chmod(0o755)

    def run(path: str, *words: str, flags: int = os.O_CLOEXEC) -> tuple[str, int]:
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.dup2(write, 1)
            os._exit(
                failing(lambda: process.execute(os.open(path, os.O_PATH | flags), list(words), ["A=b=c"]))
            )
        os.close(write)
        with open(read, encoding="utf-8") as file:
            return file.read(), ended(pid)

    def act() -> Any:
        fd = os.open(script, os.O_PATH)
        os.set_inheritable(fd, True)
        pid = os.fork()
        if pid == 0:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os._exit(failing(lambda: process.execute(fd, ["script"], [])))
        return (
            run("/bin/echo", "echo", "hello"),
            run("/usr/bin/env", "env"),
            ended(pid),
            run("/etc/passwd", "x"),
        )

    assert both_ways(act) == [["hello\n", 0], ["A=b=c\n", 0], 0, ["", errno.EACCES]]


def test_a_session_keyring_is_new_and_may_be_opened_to_others() -> None:
    def keys() -> dict[int, list[str]]:
        with open("/proc/keys", encoding="ascii") as file:
            return {int(line.split()[0], 16): line.split() for line in file}

    def act() -> Any:
        process.new_session_keyring()
        named = process.new_session_keyring("_ses.test")
        before = keys()[named][4]
        process.keyring_permissions(named, 0xFFFFFFFF, 0x80000)
        return before, keys()[named][4], keys()[named][8]

    before, after, name = inside(act)
    assert int(after, 16) == int(before, 16) | 0x80000
    assert name.startswith("_ses.test")


@pytest.mark.needs("program:ionice")
def test_scheduling_is_what_was_asked_for() -> None:
    def act() -> Any:
        schedule.set_scheduler(schedule.POLICIES["SCHED_BATCH"], nice=7)
        batch = os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, 0)
        schedule.set_scheduler(
            schedule.POLICIES["SCHED_OTHER"], nice=7, flags=schedule.FLAGS["SCHED_FLAG_RESET_ON_FORK"]
        )
        reset = os.sched_getscheduler(0) & os.SCHED_RESET_ON_FORK != 0
        schedule.set_io_priority(schedule.io_priority(schedule.IO_CLASSES["IOPRIO_CLASS_BE"], 6))
        told = subprocess.run(["ionice"], capture_output=True, text=True, check=True).stdout
        wrong = failing(lambda: schedule.set_scheduler(99))
        return batch, reset, told.strip(), wrong, failing(lambda: schedule.set_io_priority(7 << 13))

    assert inside(act) == [[3, 7], True, "best-effort: prio 6", errno.EINVAL, errno.EINVAL]


@pytest.mark.needs("root")
def test_a_deadline_and_a_real_time_priority_are_kept() -> None:
    def act() -> Any:
        schedule.set_scheduler(schedule.POLICIES["SCHED_FIFO"], priority=11)
        fifo = os.sched_getscheduler(0), os.sched_getparam(0).sched_priority
        code = failing(
            lambda: schedule.set_scheduler(
                schedule.POLICIES["SCHED_DEADLINE"], runtime_ns=10**7, deadline_ns=10**8, period_ns=10**8
            )
        )
        return fifo, code or os.sched_getscheduler(0)

    fifo, deadline = inside(act, 0)
    assert fifo == [1, 11]
    assert deadline in (6, errno.EPERM, errno.EBUSY)  # a cpuset can forbid it


@pytest.mark.parametrize("missing", [(), ("close_range",)])
def test_descriptors_are_closed_on_exec_with_and_without_close_range(missing: tuple[str, ...]) -> None:
    def act() -> Any:
        for fd in (30, 31, 32):
            os.dup2(0, fd, inheritable=True)
        files.close_on_exec((31,))
        marked = [os.get_inheritable(fd) for fd in (0, 1, 2, 30, 31, 32)]
        files.close_range(31, 31)
        files.close_range(32)
        backwards = failing(lambda: files.close_range(9, 8)) in (errno.EINVAL, errno.ENOSYS)
        return marked, [failing(partial(os.fstat, fd)) for fd in (2, 30, 31, 32)], backwards

    marked, left, backwards = inside(act, missing=missing)
    assert marked == [True, True, True, False, True, False]
    assert left == [0, 0, errno.EBADF, errno.EBADF]
    assert backwards
