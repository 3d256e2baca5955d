"""Control groups on this host's version 1 hierarchies: limits bite, groups come and go, nothing is left behind."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from redpak.cgroup import family, layout, manager, resources
from redpak.cgroup.group import Group, load
from redpak.cgroup.resources import CannotLimit, Resources
from redpak.errors import Busy
from redpak.origin import Origin
from redpak.plan.model import Limit, Member, Plan
from tests.host.engine_plans import Launcher, launcher, plan  # noqa: F401 - the fixture `launch`
from tests.patience import PATIENCE_S, eventually

pytestmark = [pytest.mark.needs("root"), pytest.mark.needs("cgroup-v1")]

TOP = f"redpak-test-{os.getpid()}"
MB = 1 << 20
NODE = f"/nowhere{os.getpid()}"  # others may run these tests at the same time
CHILD = f"{NODE}/leaf"
NOTHING = Resources()
HOG = "x = bytearray(b'x') * (200 << 20)"


def ours() -> set[str]:
    """Return every group of these tests, and of launches, that is there."""
    found = set()
    for mount in {*layout.look().v1.values(), layout.look().v2} - {""}:
        for folder, names, _ in os.walk(mount):
            found |= {
                f"{folder}/{name}"
                for name in names
                if name == TOP or name.startswith(f"{family.PREFIX}{NODE[1:]}")
            }
    return found


@pytest.fixture(autouse=True)
def no_group_is_left_behind() -> Iterator[None]:
    """Fail a test that leaves a group."""
    before = ours()
    yield
    assert ours() <= before


@pytest.fixture
def make() -> Iterator[Callable[[Resources], Group]]:
    """Return a function that makes a group, which is removed in the end."""
    made: list[Group] = []

    def create(asked: Resources = NOTHING, name: str = "") -> Group:
        group = manager.find("cgroupfs").create(f"{TOP}/{name or len(made)}", asked)
        made.append(group)
        return group

    yield create
    for group in reversed(made):  # the first has made the group above them
        group.remove()


def inside(group: Group, act: Callable[[], int]) -> int:
    """Run a function in a new process in a group; return its exit code, negative for a signal."""
    doors = group.doors(unified=True)
    pid = os.fork()
    if pid == 0:
        try:
            for fd in doors:
                os.write(fd, b"0")
            os._exit(act())
        finally:
            os._exit(99)
    for fd in doors:
        os.close(fd)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def python(group: Group, program: str) -> int:
    """Run a Python program in a group; return its exit code."""

    def act() -> int:
        os.execv(sys.executable, [sys.executable, "-I", "-S", "-c", program])

    return inside(group, act)


def sleeper(group: Group) -> int:
    """Start a process that waits in a group; return its pid."""
    doors = group.doors(unified=True)
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            for fd in doors:
                os.write(fd, b"0")
            os.write(writer, b"x")
            while True:
                signal.pause()
        finally:
            os._exit(99)
    os.read(reader, 1)
    for fd in (reader, writer, *doors):
        os.close(fd)
    return pid


def ended(pid: int) -> int:
    """Wait for a child and return its code, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_group_above_that_somebody_has_just_made_is_one_to_be_in(make: Callable[..., Group]) -> None:
    above = {f"{own}/{TOP}" for own in layout.look().own.values()}
    for at in above:
        os.mkdir(at)  # as another maker does, who has not given it any processors yet
    try:
        group = make(NOTHING, "late")
        assert inside(group, lambda: 0) == 0
        group.remove()
    finally:
        for at in above:
            os.rmdir(at)


def test_a_process_is_in_every_hierarchy(make: Callable[..., Group]) -> None:
    group = make()
    pid = sleeper(group)
    said = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    assert all(line.endswith(f"{TOP}/0") for line in said)
    assert group.pids() == [pid]
    group.remove()
    assert ended(pid) == -signal.SIGKILL
    assert not group.exists()


def test_memory_beyond_the_limit_kills_and_is_told_of(make: Callable[..., Group]) -> None:
    group = make(Resources(memory_max=32 * MB, swap_max=0))
    watch, events = group.oom_watch()
    poll = select.poll()
    poll.register(watch, events)
    assert poll.poll(0) == []
    assert python(group, HOG) == -signal.SIGKILL
    assert poll.poll(1000 * PATIENCE_S) != []
    os.close(watch)
    assert group.oom_killed() == 1
    assert group.stats()["memory"]["usage"]["limit"] == 32 * MB
    assert python(make(Resources(memory_max=400 * MB)), HOG) == 0


def test_no_more_processes_than_the_limit(make: Callable[..., Group]) -> None:
    program = (
        "import os, sys, signal, time\nn = 0\ntry:\n while n < 9:\n  if os.fork() == 0: signal.pause()\n  n += 1\n"
        "except BlockingIOError: pass\nos._exit(n)"
    )
    group = make(Resources(pids_max=5))
    assert python(group, program) == 4
    assert group.stats()["pids"] == {"current": 4, "limit": 5}
    assert len(group.pids()) == 4


def test_a_quota_throttles(make: Callable[..., Group]) -> None:
    spin = "import time\nend = time.monotonic() + 1.5\nwhile time.monotonic() < end: pass\n"
    group = make(Resources(cpu_quota=10_000, cpu_period=100_000))
    began = time.monotonic()
    assert python(group, spin) == 0
    told, took_ns = group.stats()["cpu"], (time.monotonic() - began) * 1e9
    assert 0 < told["usage"]["total"] < 0.13 * took_ns
    assert told["throttling"]["periods"] > 5


def test_processors_are_pinned(make: Callable[..., Group]) -> None:
    group = make(Resources(cpus="0"))
    assert inside(group, lambda: int(os.sched_getaffinity(0) != {0})) == 0


def test_a_frozen_group_stands_still_and_goes_on(make: Callable[..., Group]) -> None:
    group = make()
    program = "import time\nwhile True: time.sleep(0.001)"
    child = subprocess.Popen([sys.executable, "-I", "-S", "-c", program])
    group.add(child.pid)
    group.freeze()
    assert group.frozen()
    eventually(lambda: stands_still(child.pid))
    group.thaw()
    assert not group.frozen()
    group.freeze()
    group.kill()  # frozen processes die as well
    assert child.wait(PATIENCE_S) == -signal.SIGKILL


def stands_still(pid: int) -> bool:
    """Tell whether a process that runs each millisecond has not run for fifty."""
    at = Path(f"/proc/{pid}/schedstat")
    before = at.read_text()
    time.sleep(0.05)
    return at.read_text() == before


def test_a_signal_reaches_every_process_below(make: Callable[..., Group]) -> None:
    outer, inner = make(name="o"), make(name="o/i")
    pids = [sleeper(outer), sleeper(inner)]
    assert outer.pids() == sorted(pids)
    assert outer.pids(recursive=False) == pids[:1]
    outer.kill(signal.SIGTERM)
    assert [ended(pid) for pid in pids] == [-signal.SIGTERM] * 2


def test_devices_are_only_those_that_the_rules_allow(make: Callable[..., Group]) -> None:
    asked = resources.from_oci({"devices": [{"allow": False, "access": "rwm"}]})
    group = make(asked)

    def tried() -> int:
        with open("/dev/null", "rb"), open("/dev/urandom", "rb"):
            pass
        try:
            os.open("/dev/kmsg", os.O_RDONLY)
        except PermissionError:
            return 0
        return 1

    assert inside(group, tried) == 0
    more = {"allow": True, "type": "c", "major": 1, "minor": 11, "access": "rwm"}
    group.update(resources.from_oci({"devices": [{"allow": False, "access": "rwm"}, more]}))
    assert inside(group, tried) == 1
    group.update(resources.from_oci({"pids": {"limit": 9}}))  # says nothing of devices
    assert inside(group, tried) == 1


def test_limits_change_in_both_directions_and_together(make: Callable[..., Group]) -> None:
    group = make(Resources(memory_max=64 * MB, memory_swap=128 * MB, cpu_quota=10_000, cpu_period=20_000))
    at = Path(group.paths["memory"])
    for limit, both in ((256, 512), (32, 48), (-1, -1), (16, 16)):
        group.update(
            Resources(memory_max=limit * MB if limit > 0 else -1, memory_swap=both * MB if both > 0 else -1)
        )
        now = [int((at / f"memory.{word}limit_in_bytes").read_text()) for word in ("", "memsw.")]
        assert now == [limit * MB, both * MB] if limit > 0 else min(now) > 1 << 60
    group.update(Resources(cpu_quota=50_000, cpu_period=1_000_000))
    assert (Path(group.paths["cpu"]) / "cpu.cfs_period_us").read_text().strip() == "1000000"


def test_memory_in_use_is_not_taken_away_where_that_is_to_be_checked(make: Callable[..., Group]) -> None:
    group = make(Resources(memory_max=64 * MB))
    pid = sleeper(group)
    with pytest.raises(CannotLimit, match="checkBeforeUpdate"):
        group.update(Resources(memory_max=4096, check_before_update=True))
    assert os.waitpid(pid, os.WNOHANG) == (0, 0)
    group.remove()
    ended(pid)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (Resources(cpus="77"), "'cpu.cpus' cannot be had: the kernel does not take '77'"),
        (Resources(io_max=(("255:77", "rbps", 1),)), "there is no disk 255:77"),
        (Resources(memory_low=5), "'memory_low' cannot be had"),
        (Resources(memory_max=9 * MB, kernel_max=MB), "'memory.kernel' cannot be had"),
        (Resources(unified=(("memory.high", "1"),)), "'memory.high' is a file of version 2"),
    ],
)
def test_what_cannot_be_had_is_refused_and_nothing_is_made(
    make: Callable[..., Group], asked: Resources, words: str
) -> None:
    with pytest.raises(CannotLimit) as told:
        make(asked)
    assert words in told.value.message
    assert not ours()


def test_a_group_with_processes_of_others_is_not_taken_over(make: Callable[..., Group]) -> None:
    pid = sleeper(make(name="x"))
    with pytest.raises(Busy, match=str(pid)):
        make(name="x")
    os.kill(pid, signal.SIGKILL)
    ended(pid)
    assert make(name="x").exists()  # what is empty may be used again


def test_a_group_survives_in_a_state_file_and_its_removal_is_idempotent(make: Callable[..., Group]) -> None:
    group = make()
    pid = sleeper(group)
    again = load(group.to_dict())
    assert again.pids() == [pid]
    again.remove()
    assert ended(pid) == -signal.SIGKILL
    again.remove()
    group.remove()


# Plans


def limited(node: str, key: str, value: str, line: int = 7) -> Limit:
    """Return a limit of a plan's member."""
    return Limit(node=node, key=key, value=value, because=Origin(file=f"{node}/etc/redpak.yaml", line=line))


def test_a_plans_limit_is_told_with_its_file_and_line_when_it_kills(launch: Launcher) -> None:
    limits = (limited(NODE, "memory.max", "32M", 14), limited(NODE, "memory.swap.max", "0", 15))
    code, _out, err = launch(plan("python3", "-I", "-S", "-c", HOG, node=NODE, limits=limits))
    assert code == 137
    assert f"killed for want of memory (limit 32M, {NODE}/etc/redpak.yaml:14)" in err


def test_a_plans_program_sees_the_root_of_its_own_groups(launch: Launcher) -> None:
    code, out, _err = launch(plan("cat", "/proc/self/cgroup", limits=(limited(NODE, "pids.max", "50"),)))
    assert code == 0
    seen = [line for line in out.splitlines() if ":pids:" in line or line.startswith("0::")]
    assert all(line.endswith(":/") for line in seen)
    assert len(seen) == 2


def test_a_plans_program_keeps_its_code_and_cannot_fork_beyond_its_limit(launch: Launcher) -> None:
    limits = (limited(NODE, "pids.max", "6"),)
    program = "import os, time\nfor _ in range(9): os.fork() or time.sleep(9) or os._exit(0)"
    code, _out, err = launch(plan("python3", "-I", "-S", "-c", program, node=NODE, limits=limits))
    assert code == 1
    assert "BlockingIOError" in err
    assert launch(plan("sh", "-c", "exit 7", node=NODE, limits=limits))[0] == 7


def test_a_limit_that_cannot_be_had_starts_nothing(launch: Launcher, tmp_path: Path) -> None:
    touched = tmp_path / "touched"
    limits = (limited(NODE, "memory.high", "5M", 3), limited(NODE, "cpu.max", "5000"))
    code, _out, err = launch(plan("touch", str(touched), node=NODE, limits=limits))
    assert code == 3
    assert f"{NODE}/etc/redpak.yaml:3: limit 'memory.high' cannot be had" in err
    code, _out, err = launch(plan("true", node=NODE, limits=(limited(NODE, "cpuset.cpus", "77", 5),)))
    assert code == 3
    assert f"{NODE}/etc/redpak.yaml:5: limit 'cpuset.cpus' cannot be had" in err


def test_another_user_may_be_become_and_the_groups_still_go(launch: Launcher) -> None:
    limits = (limited(NODE, "pids.max", "50"),)
    code, out, err = launch(plan("id", "-u", node=NODE, limits=limits, choices={"user": "65534"}))
    assert (code, err) == (0, "")
    assert out.strip() != "0"


def family_plan(*limits: Limit) -> Plan:
    """Return a plan of a node in a node."""
    members = (Member(alias="a", name="", path=NODE), Member(alias="b", name="", path=CHILD))
    return plan("true", node=CHILD, limits=limits).but(family=members)


def test_an_ancestors_limit_holds_for_all_of_its_launches_together() -> None:
    made = family_plan(limited(NODE, "pids.max", "3"), limited(CHILD, "pids.max", "2"))
    one, other = family.enter(made), family.enter(made)
    try:
        assert one.paths["pids"] != other.paths["pids"]
        assert os.path.dirname(one.paths["pids"]) == os.path.dirname(other.paths["pids"])
        pids = [sleeper(one), sleeper(other)]
        assert inside(one, lambda: 0 if forks() else 5) == 5  # three would be in the leaf's group
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
            ended(pid)
        one.remove()
        assert os.path.isdir(os.path.dirname(other.paths["pids"]))  # shared: the last one removes it
    finally:
        one.remove()
        other.remove()


def forks() -> bool:
    """Tell whether a process can still be made here."""
    try:
        pid = os.fork()
    except BlockingIOError:
        return False
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return True


def test_limits_that_changed_are_written_and_those_that_went_are_taken_back() -> None:
    first = family.enter(
        family_plan(limited(NODE, "memory.max", "64M"), limited(NODE, "cpu.max", "5000 10000"))
    )
    at = {name: os.path.dirname(os.path.dirname(path)) for name, path in first.paths.items()}
    second = family.enter(family_plan(limited(NODE, "memory.max", "96M"), limited(NODE, "cpu.weight", "50")))
    try:
        assert Path(at["memory"], "memory.limit_in_bytes").read_text().strip() == str(96 * MB)
        assert Path(at["cpu"], "cpu.cfs_quota_us").read_text().strip() == "-1"
        assert Path(at["cpu"], "cpu.shares").read_text().strip() == "512"
    finally:
        first.remove()
        second.remove()


def test_launches_that_come_and_go_at_once_do_not_disturb_each_other() -> None:
    made = family_plan(limited(NODE, "pids.max", "9"), limited(CHILD, "memory.max", "64M"))
    faults: list[BaseException] = []

    def comes_and_goes() -> None:
        try:
            for _ in range(40):
                group = family.enter(made)
                for fd in group.doors():
                    os.close(fd)
                group.remove()
        except BaseException as error:  # noqa: BLE001 - told in the test's own thread
            faults.append(error)

    threads = [threading.Thread(target=comes_and_goes) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []


def test_what_a_killed_supervisor_left_goes_with_the_next_launch() -> None:
    made = family_plan(limited(NODE, "pids.max", "9"))
    pid = os.fork()
    if pid == 0:
        family.enter(made)
        os.kill(os.getpid(), signal.SIGKILL)
    assert ended(pid) == -signal.SIGKILL
    assert ours()
    family.enter(made).remove()
    assert not ours()
