"""The sealed merge of resource limits and control groups."""

from __future__ import annotations

import pytest

from redpak.config.model import CgroupValue
from redpak.config.sealed_limits import bandwidth, exceeds, io_limits, ranges, size
from redpak.origin import DEFAULT
from tests.unit.config.strategies import Spec, faults, sealed

N0, N1 = "/pool/n0/etc/redpak.yaml", "/pool/n0/n1/etc/redpak.yaml"


def rlimits(**said: tuple[int, int]) -> Spec:
    """Return a node that only sets resource limits."""
    return {"rlimits": said}


def cgroups(key: str, value: str) -> Spec:
    """Return a node that only sets one value of its control group."""
    return {"cgroups": {key: value}}


def nofile(*specs: Spec, admin: bool = False, defaults: Spec | None = None) -> tuple[int, int, int]:
    """Return the limit on descriptors and its owner."""
    ((ask, owner),) = sealed(*specs, admin=admin, defaults=defaults).rlimits
    return ask.soft, ask.hard, owner


def test_a_child_may_lower_a_resource_limit() -> None:
    assert nofile(rlimits(nofile=(10, 20)), rlimits(nofile=(5, 20))) == (5, 20, 1)
    assert nofile(rlimits(nofile=(-1, -1)), rlimits(nofile=(5, -1))) == (5, -1, 1)
    assert nofile(rlimits(nofile=(10, 20)), rlimits(nofile=(10, 20))) == (10, 20, 0)


@pytest.mark.parametrize("child", [(11, 20), (10, 21), (5, 21), (11, 19), (-1, -1), (10, -1)])
def test_a_child_may_raise_neither_the_soft_nor_the_hard_limit(child: tuple[int, int]) -> None:
    (fault,) = faults(rlimits(nofile=(10, 20)), {}, rlimits(nofile=child))
    assert fault.message.startswith("rlimit nofile")
    assert f"{N0}:3" in fault.message


def test_lowering_in_the_middle_binds_the_leaf() -> None:
    (fault,) = faults(rlimits(core=(9, 9)), rlimits(core=(1, 1)), rlimits(core=(2, 2)))
    assert f"{N1}:3" in fault.message


@pytest.mark.parametrize("said", [{"nonsense": (1, 1)}, {"nofile": (2, 1)}, {"nofile": (-1, 5)}])
def test_a_resource_limit_that_makes_no_sense_is_a_fault(said: dict[str, tuple[int, int]]) -> None:
    assert len(faults({"rlimits": said})) == 1


def test_admin_files_and_defaults_of_resource_limits() -> None:
    own = {**rlimits(nofile=(1, 1)), "admin": rlimits(nofile=(9, 9))}
    assert nofile(own, admin=True) == (9, 9, 0)
    assert nofile(own) == (1, 1, 0)
    assert nofile(own, defaults=rlimits(nofile=(0, 0))) == (1, 1, 0)
    assert nofile({}, defaults=rlimits(nofile=(3, 4))) == (3, 4, -1)
    assert len(faults(rlimits(nofile=(5, 5)), own, admin=True)) == 1


def test_who_seals_a_resource_limit_is_told() -> None:
    got = sealed(rlimits(nofile=(10, 20)), rlimits(nofile=(5, 20)))
    assert [(c.thing, c.kind, c.asked) for c in got.contests] == [
        ("rlimit nofile", "seals", "10:20"),
        ("rlimit nofile", "lost", "10:20"),
    ]


# --- control groups


@pytest.mark.parametrize(
    ("key", "bound", "same", "more"),
    [
        ("mem.max", "1M", "1024K", "1025K"),
        ("mem.high", "2G", "2048m", "1T"),
        ("mem.swap_max", "0", "0", "1"),
        ("mem.swap_high", "10", "10", "max"),
        ("pids.max", "50", "50", "51"),
        ("cpu.max", "50000", "1000 2000", "1001 2000"),
        ("cpu.max", "1000 10000", "2000 20000", "max"),
        ("cpuset.cpus", "0-3", "3,0-2", "0-4"),
        ("cpuset.mems", "0,2", "2,0", "0-2"),
        ("io.max", "8:0 rbps=10 wiops=5", "8:0 rbps=10", "8:0 rbps=11"),
        ("io.max", "8:0 rbps=10", "08:0 wbps=99", "8:0 rbps=max"),
        ("io.max", "8:0 rbps=10\n8:16 wiops=2", "8:16 wiops=1", "8:32 rbps=1\n8:16 wiops=3"),
    ],
)
def test_no_group_is_promised_more_than_an_ancestors(key: str, bound: str, same: str, more: str) -> None:
    got = sealed(cgroups(key, bound), cgroups(key, same))
    assert [(value.value, owner) for value, owner in got.cgroups] == [(bound, 0), (same, 1)]
    (fault,) = faults(cgroups(key, bound), {}, cgroups(key, more))
    assert fault.message.startswith("limit ")
    assert f"{N0}:3" in fault.message
    assert faults(cgroups(key, more), cgroups(key, bound)) == ()


def test_every_ancestor_counts_not_only_the_oldest() -> None:
    (fault,) = faults(cgroups("pids.max", "50"), cgroups("pids.max", "10"), cgroups("pids.max", "20"))
    assert f"{N1}:3" in fault.message


@pytest.mark.parametrize("key", ["mem.min", "mem.low", "cpu.weight", "io.weight", "mem.oom_group"])
def test_values_that_are_no_ceiling_bind_nobody(key: str) -> None:
    assert faults(cgroups(key, "1"), cgroups(key, "2")) == ()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("mem.max", ""),
        ("mem.max", "1.5G"),
        ("mem.max", "-1"),
        ("mem.max", "1X"),
        ("mem.max", "K"),
        ("mem.max", "٣"),
        ("mem.max", "1_000"),
        ("mem.max", "9" * 5000),
        ("pids.max", "1K"),
        ("cpu.max", "1 2 3"),
        ("cpu.max", "1000 0"),
        ("cpu.max", ""),
        ("cpuset.cpus", "3-1"),
        ("cpuset.cpus", "0-"),
        ("cpuset.cpus", "a"),
        ("io.max", ""),
        ("io.max", "8:0"),
        ("io.max", "8 rbps=1"),
        ("io.max", "8:0 bps=1"),
        ("io.max", "8:0 rbps=1 rbps=2"),
        ("io.max", "8:0 rbps=1K"),
        ("mem.low", "\0"),
    ],
)
def test_a_value_that_the_kernel_cannot_take_is_a_fault(key: str, value: str) -> None:
    assert len(faults(cgroups(key, value))) == 1


def test_a_huge_range_of_processors_costs_nothing() -> None:
    assert ranges("0-18446744073709551615,3") == [(0, 18446744073709551615)]


def test_values_in_numbers() -> None:
    assert (size("2k"), size("1T"), size("7")) == (2048, 1 << 40, 7)
    assert bandwidth("5") == (5, 100_000)
    assert ranges("7,0-1,2,5") == [(0, 2), (5, 5), (7, 7)]
    assert io_limits("8:0 rbps=1 wiops=max") == {("8:0", "rbps"): 1, ("8:0", "wiops"): float("inf")}


def test_a_ratio_is_compared_exactly() -> None:
    def cpu(value: str) -> CgroupValue:
        return CgroupValue(group="cpu", key="max", value=value, origin=DEFAULT)

    assert not exceeds(cpu("3333333333333333 9999999999999999"), cpu("1 3"))
    assert exceeds(cpu("3333333333333334 9999999999999999"), cpu("1 3"))


def test_admin_files_and_defaults_of_groups() -> None:
    own = {**cgroups("mem.max", "1M"), "admin": cgroups("mem.max", "2M")}
    got = sealed(own, admin=True, defaults={"cgroups": {"mem.max": "3M", "pids.max": "9"}})
    assert [(v.group, v.key, v.value, owner) for v, owner in got.cgroups] == [
        ("pids", "max", "9", -1),
        ("mem", "max", "2M", 0),
    ]


def test_who_seals_a_group_is_told_by_the_kernels_name() -> None:
    got = sealed(cgroups("mem.swap_max", "1M"), {})
    assert [(c.thing, c.asked) for c in got.contests] == [("limit memory.swap.max", "1M")]
