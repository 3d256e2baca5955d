"""Control groups version 2 alone: each limit of red-pak's own example bites, and a family obeys the smallest.

Runs wherever version 2 is the only version, as root or in a delegated group; `./dev test vm` makes such a place.
"""

from __future__ import annotations

import mmap
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from redpak.cgroup import family, layout, manager, resources
from redpak.cgroup.group import Group, load
from redpak.cgroup.resources import CannotLimit, Resources
from redpak.errors import RedpakError
from redpak.origin import Origin
from redpak.plan.model import Limit, Member, Plan
from tests.patience import PATIENCE_S
from tests.vm.rates import settles

pytestmark = pytest.mark.needs("cgroup-v2")
MB = 1 << 20
HOG = f"x = bytearray(b'x') * ({60 * MB})"
SPIN = "import time\nend = time.monotonic() + 4\nwhile time.monotonic() < end: pass\n"
NODE, LEAF = "/pool/node", "/pool/node/leaf"


def limit(key: str, value: str, node: str = NODE) -> Limit:
    """Return a limit of a node."""
    return Limit(node=node, key=key, value=value, because=Origin(file=f"{node}/etc/redpak.yaml", line=7))


def plan(*limits: Limit) -> Plan:
    """Return the plan of a node in a node, of which only the limits matter."""
    return Plan(
        node=LEAF,
        profile="sealed",
        family=(Member(alias="node", name="", path=NODE), Member(alias="leaf", name="", path=LEAF)),
        mounts=(),
        environ=(),
        namespaces=(),
        limits=limits,
        uid=os.getuid(),
        gid=os.getgid(),
    )


def families() -> list[str]:
    """Return the groups of families that are there."""
    return [at for at, _, _ in os.walk(layout.look().v2) if os.path.basename(at).startswith(family.PREFIX)]


Launch = Callable[..., family.FamilyGroup]


@pytest.fixture
def enter() -> Iterator[Launch]:
    """Return a function that makes a family's groups with some limits; all are removed, and none may be left."""
    made: list[family.FamilyGroup] = []

    def one(*limits: Limit) -> family.FamilyGroup:
        made.append(family.enter(plan(*limits), kind="cgroupfs"))
        return made[-1]

    yield one
    for group in made:
        group.remove()
    assert families() == []


def level(group: family.FamilyGroup, node: str = NODE) -> Path:
    """Return the directory of a member's group."""
    return Path(dict(group.levels)[node][""])


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


def sleeper(group: Group) -> subprocess.Popen[bytes]:
    """Start a process that waits, and put it in a group."""
    child = subprocess.Popen(["sleep", "1000"])
    group.add(child.pid)
    return child


def test_memory_max_kills_and_says_whose_limit_it_was(enter: Launch) -> None:
    limits = (limit("memory.max", "32M"), limit("memory.swap.max", "0"), limit("memory.max", "500M", LEAF))
    group = enter(*limits)
    watch, events = group.oom_watch()
    poll = select.poll()
    poll.register(watch, events)
    assert python(group, HOG) == -signal.SIGKILL
    assert poll.poll(PATIENCE_S * 1000) != []
    os.close(watch)
    assert group.oom_killed() == 1
    assert group.out_of_memory(limits) == "limit 32M, /pool/node/etc/redpak.yaml:7"
    assert 30 * MB < group.stats()["memory"]["usage"]["max"] < 36 * MB


def test_memory_within_the_limit_is_had(enter: Launch) -> None:
    group = enter(limit("memory.max", "200M"))
    assert python(group, HOG) == 0
    assert group.out_of_memory(()) == ""


def test_memory_high_slows_down_and_does_not_kill(enter: Launch) -> None:
    group = enter(limit("memory.high", "100M"), limit("memory.low", "4M"), limit("memory.min", "2M"))
    assert python(group, "pass") == 0
    at = level(group)
    assert [(at / f"memory.{key}").read_text().strip() for key in ("high", "low", "min")] == [
        str(100 * MB),
        str(4 * MB),
        str(2 * MB),
    ]


def test_an_oom_group_is_killed_whole(enter: Launch) -> None:
    group = enter(limit("memory.max", "32M"), limit("memory.swap.max", "0"), limit("memory.oom.group", "1"))
    other = sleeper(group)
    assert python(group, HOG) == -signal.SIGKILL
    assert other.wait(PATIENCE_S) == -signal.SIGKILL


@pytest.mark.needs("swap")
def test_swap_is_had_up_to_its_limit_and_not_beyond(enter: Launch) -> None:
    assert python(enter(limit("memory.max", "40M"), limit("memory.swap.max", "100M")), HOG) == 0
    assert python(enter(limit("memory.max", "40M"), limit("memory.swap.max", "8M")), HOG) == -signal.SIGKILL
    high = enter(limit("memory.swap.high", "50M"))
    assert (level(high) / "memory.swap.high").read_text().strip() == str(50 * MB)


def test_pids_max_stops_forks(enter: Launch) -> None:
    program = (
        "import os, signal\nn = 0\ntry:\n while n < 9:\n  if os.fork() == 0: signal.pause()\n  n += 1\n"
        "except BlockingIOError: pass\nos._exit(n)"
    )
    group = enter(limit("pids.max", "50"), limit("pids.max", "5", LEAF))
    assert python(group, program) == 4
    assert len(group.pids()) == 4


def test_cpu_max_throttles_within_ten_percent(enter: Launch) -> None:
    group = enter(limit("cpu.max", "20000 100000"))

    def share() -> float:
        before, began = group.stats()["cpu"]["usage"]["total"], time.monotonic()
        assert python(group, SPIN) == 0
        took_s = time.monotonic() - began
        return float(group.stats()["cpu"]["usage"]["total"] - before) / 1e9 / took_s

    settles(share, 0.2)
    throttled = Group({"": str(level(group))}).stats()["cpu"]["throttling"]  # the leaf itself has no limit
    assert throttled["throttledPeriods"] > 10


def test_weights_are_set_in_both_ways_to_say_them(enter: Launch) -> None:
    group = enter(limit("cpu.weight", "200"), limit("cpu.weight.nice", "10", LEAF))
    assert (level(group) / "cpu.weight").read_text().strip() == "200"
    assert (level(group, LEAF) / "cpu.weight.nice").read_text().strip() == "10"


@pytest.mark.needs("cgroup-v2:cpuset")
def test_cpuset_pins_and_a_partition_that_cannot_be_is_refused(enter: Launch) -> None:
    group = enter(
        limit("cpuset.cpus", "0"), limit("cpuset.mems", "0"), limit("cpuset.cpus.partition", "member")
    )
    assert inside(group, lambda: int(os.sched_getaffinity(0) != {0})) == 0
    group.remove()
    with pytest.raises(CannotLimit, match=r"'cpuset\.cpus' cannot be had"):
        enter(limit("cpuset.cpus", "900"))
    with pytest.raises(
        CannotLimit, match=r"'cpuset\.cpus\.partition' cannot be had: the kernel says 'root invalid"
    ):
        enter(limit("cpuset.cpus.partition", "root", LEAF))


def disk() -> str:
    """Return a disk that may be overwritten."""
    return next(at for at in ("/dev/vda", "/dev/ubda") if Path(at).is_block_device())


def written_a_second(group: Group, at: str, size: int, count: int) -> float:
    """Write `count` times `size` bytes to a disk, past the cache; return how many a second."""

    def act() -> int:
        block = mmap.mmap(-1, size)
        fd = os.open(at, os.O_RDWR | os.O_DIRECT)
        os.pwrite(fd, block, 0)  # the first one is free
        began = time.monotonic()
        for index in range(count):
            os.pwrite(fd, block, index * size)
        tenths = round(10 * count / (time.monotonic() - began))
        os.close(fd)
        return min(tenths, 250)

    return inside(group, act) / 10


@pytest.mark.needs("root", "disk", "cgroup-v2:io")
def test_io_max_holds_within_ten_percent(enter: Launch) -> None:
    at = disk()
    number = os.stat(at).st_rdev
    device = f"{os.major(number)}:{os.minor(number)}"
    group = enter(limit("io.max", f"{device} wbps={4 * MB}"))
    settles(lambda: written_a_second(group, at, MB // 4, 64), 16)  # quarters of a mebibyte
    assert any(
        one["op"] == "Write" and one["value"] >= 16 * MB
        for one in group.stats()["blkio"]["ioServiceBytesRecursive"]
    )
    group.remove()
    other = enter(limit("io.max", f"{device} wiops=20"))
    settles(lambda: written_a_second(other, at, 4096, 60), 20)


@pytest.mark.needs("cgroup-v2:io")
def test_io_weight_is_set_and_a_disk_that_is_not_there_is_refused(enter: Launch) -> None:
    at = level(enter(limit("memory.max", "64M")))
    if (at / "io.weight").exists():
        enter(limit("io.weight", "200"))
        assert (at / "io.weight").read_text().split()[:2] == ["default", "200"]
    else:
        with pytest.raises(CannotLimit, match=r"this kernel has no 'io\.weight'"):
            enter(limit("io.weight", "200"))
    with pytest.raises(CannotLimit, match="there is no disk 255:7"):
        enter(limit("io.max", "255:7 rbps=1"))
    with pytest.raises(CannotLimit, match=r"'io\.cost\.qos' cannot be had"):
        enter(limit("io.cost.qos", "8:0 enable=1"))


def test_a_family_obeys_the_smallest_of_its_limits_together(enter: Launch) -> None:
    one = enter(limit("pids.max", "3"), limit("pids.max", "9", LEAF))
    other = enter(limit("pids.max", "3"), limit("pids.max", "9", LEAF))
    assert one.paths != other.paths
    assert level(one) == level(other)
    children = [sleeper(one), sleeper(other)]
    assert inside(one, lambda: int(forks())) == 0  # the third of the family, in whichever leaf
    for child in children:
        child.kill()
        child.wait()


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


def test_limits_that_changed_are_written_and_those_that_went_are_taken_back(enter: Launch) -> None:
    first = enter(limit("memory.max", "64M"), limit("cpu.max", "5000 10000"), limit("pids.max", "7"))
    enter(limit("memory.max", "96M"), limit("cpu.weight", "50"))
    at = level(first)
    assert (at / "memory.max").read_text().strip() == str(96 * MB)
    assert (at / "cpu.max").read_text().strip() == "max 100000"
    assert (at / "cpu.weight").read_text().strip() == "50"
    assert (at / "pids.max").read_text().strip() == "max"


def test_processes_are_only_in_leaves(enter: Launch) -> None:
    group = enter(limit("memory.max", "64M"))
    child = sleeper(group)
    for node in (NODE, LEAF):
        assert (level(group, node) / "cgroup.procs").read_text() == ""
        assert "memory" in (level(group, node) / "cgroup.subtree_control").read_text()
    assert (Path(group.paths[""]) / "cgroup.procs").read_text().split() == [str(child.pid)]
    child.kill()
    child.wait()


def test_a_group_is_frozen_thawed_and_killed_at_once(enter: Launch) -> None:
    group = enter(limit("pids.max", "20"))
    children = [sleeper(group) for _ in range(5)]
    group.freeze()
    assert group.frozen()
    assert load(group.to_dict()).pids() == sorted(child.pid for child in children)
    group.thaw()
    assert not group.frozen()
    group.freeze()
    group.kill()
    assert [child.wait(PATIENCE_S) for child in children] == [-signal.SIGKILL] * 5


def test_pressure_is_told(enter: Launch) -> None:
    if not Path("/proc/pressure/cpu").exists():
        pytest.skip("this kernel does not measure pressure")
    assert set(enter(limit("memory.max", "64M")).pressure()) >= {"cpu", "memory", "io"}


@pytest.mark.needs("root")
def test_devices_are_only_those_that_the_rules_allow() -> None:
    asked = resources.from_oci({"devices": [{"allow": False, "access": "rwm"}]})
    group = manager.find("cgroupfs").create("redpak-test/devices", asked)

    def tried() -> int:
        with open("/dev/null", "rb"), open("/dev/urandom", "rb"):
            pass
        try:
            os.open("/dev/kmsg", os.O_RDONLY)
        except PermissionError:
            return 0
        return 1

    try:
        assert inside(group, tried) == 0
        more = {"allow": True, "type": "c", "major": 1, "minor": 11, "access": "rw"}
        group.update(resources.from_oci({"devices": [{"allow": False, "access": "rwm"}, more]}))
        assert inside(group, tried) == 1
    finally:
        group.remove()


@pytest.mark.needs("root")
def test_an_oci_configuration_is_converted_and_changed() -> None:
    asked = resources.from_oci(
        {
            "memory": {"limit": 64 * MB, "swap": 96 * MB},
            "cpu": {"shares": 1024, "quota": 5000, "period": 10_000},
        }
    )
    group = manager.find("cgroupfs").create("/redpak-test-oci", asked)
    try:
        at = Path(group.paths[""])
        assert (at / "memory.swap.max").read_text().strip() == str(32 * MB)
        assert (at / "cpu.weight").read_text().strip() == "100"
        group.update(Resources(cpu_period=20_000, memory_swap=128 * MB))
        assert (at / "cpu.max").read_text().strip() == "5000 20000"
        assert (at / "memory.swap.max").read_text().strip() == str(64 * MB)
        with pytest.raises(CannotLimit, match=r"'memory\.swappiness' cannot be had"):
            group.update(Resources(swappiness=5))
    finally:
        group.remove()


@pytest.mark.needs("systemd", "root")
def test_a_scope_of_systemd_has_the_limits_and_ends_with_its_processes() -> None:
    asked = resources.from_oci({"memory": {"limit": 64 * MB}, "pids": {"limit": 30}})
    group = manager.find("systemd").create(f"system.slice:redpak:test{os.getpid()}", asked)
    child = sleeper(group)
    at = Path(group.paths[""])
    assert at.name == f"redpak-test{os.getpid()}.scope"
    assert group.pids() == [child.pid]
    subprocess.run(["systemctl", "daemon-reload"], check=True)
    group.update(Resources(pids_max=40))
    subprocess.run(["systemctl", "daemon-reload"], check=True)
    assert (at / "memory.max").read_text().strip() == str(64 * MB)
    assert (at / "pids.max").read_text().strip() == "40"
    load(group.to_dict()).remove()
    assert child.wait(PATIENCE_S) == -signal.SIGKILL
    group.remove()
    assert not at.exists()


def test_an_ordinary_group_of_somebody_else_is_explained() -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    with pytest.raises(RedpakError) as told:
        manager.find("cgroupfs").create("/redpak-test-foreign", Resources(pids_max=5))
    assert "belongs to root and is not delegated to us" in told.value.message
    assert "Delegate=yes" in told.value.hint
