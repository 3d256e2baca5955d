"""Every number of `config.cgroups`, on each kind of host: written into the file that keeps it, or refused by name."""

from __future__ import annotations

import pytest

from redpak.cgroup import apply, layout, resources
from redpak.cgroup.group import Group
from redpak.cgroup.manager import Manager, NoManager
from redpak.cgroup.resources import CannotLimit, Resources
from redpak.cgroup.systemd import properties
from redpak.config.settings import CGROUP_FIELDS
from redpak.node.plan import CGROUP_FILES
from redpak.origin import Origin
from redpak.plan.model import Limit

V1 = ("cpuset", "cpu", "memory", "blkio", "pids")
REFUSED = "refused"
# setting: (value, version 1's file and content, version 2's file and content)
TABLE = {
    ("cpuset", "cpus"): ("0-2", ("cpuset.cpus", "0-2"), ("cpuset.cpus", "0-2")),
    ("cpuset", "mems"): ("0", ("cpuset.mems", "0"), ("cpuset.mems", "0")),
    ("cpuset", "cpus_partition"): ("root", REFUSED, ("cpuset.cpus.partition", "root")),
    ("mem", "max"): ("512M", ("memory.limit_in_bytes", "536870912"), ("memory.max", "536870912")),
    ("mem", "high"): ("480M", REFUSED, ("memory.high", "503316480")),
    ("mem", "min"): ("10M", REFUSED, ("memory.min", "10485760")),
    ("mem", "low"): ("10M", REFUSED, ("memory.low", "10485760")),
    ("mem", "oom_group"): ("1", REFUSED, ("memory.oom.group", "1")),
    ("mem", "swap_high"): ("1G", REFUSED, ("memory.swap.high", "1073741824")),
    ("mem", "swap_max"): ("512M", REFUSED, ("memory.swap.max", "536870912")),  # version 1: with mem.max alone
    ("cpu", "weight"): ("200", ("cpu.shares", "2048"), ("cpu.weight", "200")),
    ("cpu", "weight_nice"): ("10", ("cpu.shares", "110"), ("cpu.weight.nice", "10")),
    ("cpu", "max"): ("50000", ("cpu.cfs_quota_us", "50000"), ("cpu.max", "50000")),
    ("io", "cost_qos"): ("8:0 enable=1", REFUSED, REFUSED),
    ("io", "cost_model"): ("8:0 ctrl=auto", REFUSED, REFUSED),
    ("io", "weight"): ("200", ("blkio.bfq.weight", "109"), ("io.weight", "default 200")),
    ("io", "max"): ("8:0 rbps=9", ("blkio.throttle.read_bps_device", "8:0 9"), ("io.max", "8:0 rbps=9")),
    ("pids", "max"): ("50", ("pids.max", "50"), ("pids.max", "50")),
}
SYSTEMD = {
    # what is told to systemd as well; the others are written into the files of the delegated scope alone
    ("cpuset", "cpus"): "AllowedCPUs", ("cpuset", "mems"): "AllowedMemoryNodes", ("mem", "max"): "MemoryMax",
    ("mem", "high"): "MemoryHigh", ("mem", "min"): "MemoryMin", ("mem", "low"): "MemoryLow",
    ("mem", "swap_max"): "MemorySwapMax", ("cpu", "weight"): "CPUWeight", ("cpu", "max"): "CPUQuotaPerSecUSec",
    ("io", "weight"): "IOWeight", ("pids", "max"): "TasksMax",
}  # fmt: skip


def host(version: int) -> tuple[layout.Layout, Group]:
    """Return a host that has one version of control groups, and a group on it; nothing of it is on a disk."""
    found = layout.Layout()
    if version == 1:
        found.v1 = {name: f"/nowhere/{name}" for name in V1}
        found.own = dict(found.v1)
        return found, Group(dict(found.v1))
    found.v2 = found.own_v2 = "/nowhere"
    found.controllers = frozenset({"cpuset", "cpu", "memory", "io", "pids"})
    return found, Group({"": "/nowhere"})


def asked(setting: tuple[str, str], value: str = "") -> Resources:
    limit = Limit(
        node="/n",
        key=CGROUP_FILES[setting],
        value=value or TABLE[setting][0],
        because=Origin(file="redpak.yaml", line=7),
    )
    ((_, one),) = resources.from_plan([limit])
    return one


def test_the_table_has_every_setting_that_a_configuration_may_have() -> None:
    known = {(one.section.removeprefix("config.cgroups."), one.name) for one in CGROUP_FIELDS}
    assert known == set(CGROUP_FILES) == set(TABLE)
    assert set(CGROUP_FILES.values()) == set(resources._KEYS)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("setting", sorted(TABLE), ids=".".join)
def test_each_is_written_or_refused_by_name_and_place(setting: tuple[str, str], version: int) -> None:
    found, group = host(version)
    wanted = TABLE[setting][version]
    if wanted == REFUSED:
        with pytest.raises(CannotLimit) as told:
            apply.planned(asked(setting), group, found, fresh=True)
        (reason,) = told.value.reasons
        assert f"'{CGROUP_FILES[setting]}'" in reason.message
        assert str(reason.because) == "redpak.yaml:7"
        assert reason.hint
        return
    written = {
        (file, content) for _, file, content in apply.planned(asked(setting), group, found, fresh=True)
    }
    assert written == {wanted}


@pytest.mark.parametrize("setting", sorted(TABLE), ids=".".join)
def test_without_its_controller_or_without_any_group_each_is_refused(setting: tuple[str, str]) -> None:
    found, group = host(2)
    found.controllers = frozenset()
    for refuse in (
        lambda: apply.planned(asked(setting), group, found, fresh=True),
        lambda: Manager(found).check(asked(setting)),
        lambda: NoManager().check(asked(setting)),
    ):
        with pytest.raises(CannotLimit, match=CGROUP_FILES[setting]):
            refuse()


@pytest.mark.parametrize("setting", sorted(TABLE), ids=".".join)
def test_systemd_is_told_what_it_has_a_word_for(setting: tuple[str, str]) -> None:
    words = [name for name, _, _ in properties(asked(setting))]
    assert words == ([SYSTEMD[setting]] if setting in SYSTEMD else [])


@pytest.mark.parametrize("setting", sorted(TABLE), ids=".".join)
def test_two_of_the_family_are_two_limits_in_two_groups(setting: tuple[str, str]) -> None:
    limits = [
        Limit(node=node, key=CGROUP_FILES[setting], value=TABLE[setting][0], because=Origin(file="f", line=1))
        for node in ("/a", "/a/b")
    ]
    assert [node for node, _ in resources.from_plan(limits)] == ["/a", "/a/b"]
    assert len({one for _, one in resources.from_plan(limits)}) == 1


def test_swap_of_version_1_is_counted_on_top_of_the_memory() -> None:
    found, group = host(1)
    limits = [
        Limit(node="/n", key=key, value=value, because=Origin(file="f", line=1))
        for key, value in (("memory.max", "512M"), ("memory.swap.max", "512M"))
    ]
    ((_, both),) = resources.from_plan(limits)
    written = [(file, content) for _, file, content in apply.planned(both, group, found, fresh=True)]
    assert written == [
        ("memory.limit_in_bytes", str(512 << 20)),
        ("memory.memsw.limit_in_bytes", str(1024 << 20)),
    ]
