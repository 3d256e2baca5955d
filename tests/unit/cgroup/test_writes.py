"""Numbers to files: a golden table from the kernel's documents and from what runc and crun write."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redpak.cgroup import resources, writes
from redpak.cgroup.resources import CannotLimit, Resources

GB = 1 << 30
# What is asked for by OCI, what version 1 is told, what version 2 is told.
TABLE: tuple[
    tuple[dict[str, object], list[tuple[str, str, str]] | None, list[tuple[str, str]] | None], ...
] = (
    ({"memory": {"limit": GB}}, [("memory", "memory.limit_in_bytes", str(GB))], [("memory.max", str(GB))]),
    (
        {"memory": {"limit": GB, "swap": 3 * GB}},
        [("memory", "memory.limit_in_bytes", str(GB)), ("memory", "memory.memsw.limit_in_bytes", str(3 * GB))],
        [("memory.swap.max", str(2 * GB)), ("memory.max", str(GB))],
    ),
    (
        {"memory": {"limit": GB, "swap": GB}},
        [("memory", "memory.limit_in_bytes", str(GB)), ("memory", "memory.memsw.limit_in_bytes", str(GB))],
        [("memory.swap.max", "0"), ("memory.max", str(GB))],
    ),
    (
        {"memory": {"limit": -1, "swap": -1}},
        [("memory", "memory.limit_in_bytes", "-1"), ("memory", "memory.memsw.limit_in_bytes", "-1")],
        [("memory.swap.max", "max"), ("memory.max", "max")],
    ),
    ({"memory": {"reservation": 5}}, [("memory", "memory.soft_limit_in_bytes", "5")], [("memory.low", "5")]),
    ({"memory": {"limit": 9, "kernel": 9}}, [("memory", "memory.limit_in_bytes", "9")], [("memory.max", "9")]),
    ({"memory": {"swappiness": 3}}, [("memory", "memory.swappiness", "3")], None),
    ({"memory": {"disableOOMKiller": True}}, [("memory", "memory.oom_control", "1")], None),
    ({"memory": {"disableOOMKiller": False}}, [("memory", "memory.oom_control", "0")], []),
    ({"memory": {"kernel": 7}}, [("memory", "memory.kmem.limit_in_bytes", "7")], None),
    ({"cpu": {"shares": 1024}}, [("cpu", "cpu.shares", "1024")], [("cpu.weight", "100")]),
    ({"cpu": {"shares": 2}}, [("cpu", "cpu.shares", "2")], [("cpu.weight", "1")]),
    ({"cpu": {"shares": 262144}}, [("cpu", "cpu.shares", "262144")], [("cpu.weight", "10000")]),
    (
        {"cpu": {"quota": 50000, "period": 100000}},
        [("cpu", "cpu.cfs_period_us", "100000"), ("cpu", "cpu.cfs_quota_us", "50000")],
        [("cpu.max", "50000 100000")],
    ),
    ({"cpu": {"quota": 50000}}, [("cpu", "cpu.cfs_quota_us", "50000")], [("cpu.max", "50000")]),
    ({"cpu": {"quota": -5}}, [("cpu", "cpu.cfs_quota_us", "-1")], [("cpu.max", "max")]),
    ({"cpu": {"period": 50000}}, [("cpu", "cpu.cfs_period_us", "50000")], [("cpu.max", "max 50000")]),
    ({"cpu": {"burst": 10}}, [("cpu", "cpu.cfs_burst_us", "10")], [("cpu.max.burst", "10")]),
    ({"cpu": {"idle": 1}}, [("cpu", "cpu.idle", "1")], [("cpu.idle", "1")]),
    (
        {"cpu": {"realtimeRuntime": 5, "realtimePeriod": 9}},
        [("cpu", "cpu.rt_period_us", "9"), ("cpu", "cpu.rt_runtime_us", "5")],
        None,
    ),
    (
        {"cpu": {"cpus": "0-1", "mems": "0"}},
        [("cpuset", "cpuset.cpus", "0-1"), ("cpuset", "cpuset.mems", "0")],
        [("cpuset.cpus", "0-1"), ("cpuset.mems", "0")],
    ),
    ({"pids": {"limit": 5}}, [("pids", "pids.max", "5")], [("pids.max", "5")]),
    ({"pids": {"limit": -1}}, [("pids", "pids.max", "max")], [("pids.max", "max")]),
    (
        {"blockIO": {"weight": 10}},
        [("blkio", "blkio.bfq.weight", "10")],
        [("io.weight", "default 1")],
    ),
    (
        {"blockIO": {"weightDevice": [{"major": 8, "minor": 16, "weight": 1000}]}},
        [("blkio", "blkio.bfq.weight_device", "8:16 1000")],
        [("io.weight", "8:16 10000")],
    ),
    ({"blockIO": {"leafWeight": 10}}, None, None),
    (
        {
            "blockIO": {
                "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 1}],
                "throttleWriteBpsDevice": [{"major": 8, "minor": 0, "rate": 2}],
                "throttleReadIOPSDevice": [{"major": 8, "minor": 0, "rate": 3}],
                "throttleWriteIOPSDevice": [{"major": 7, "minor": 1, "rate": 0}],
            }
        },
        [
            ("blkio", "blkio.throttle.read_bps_device", "8:0 1"),
            ("blkio", "blkio.throttle.write_bps_device", "8:0 2"),
            ("blkio", "blkio.throttle.read_iops_device", "8:0 3"),
            ("blkio", "blkio.throttle.write_iops_device", "7:1 0"),
        ],
        [("io.max", "8:0 rbps=1 wbps=2 riops=3"), ("io.max", "7:1 wiops=max")],
    ),
    (
        {"hugepageLimits": [{"pageSize": "2MB", "limit": 4}]},
        [("hugetlb", "hugetlb.2MB.limit_in_bytes", "4")],
        [("hugetlb.2MB.max", "4")],
    ),
    (
        {"network": {"classID": 1048577, "priorities": [{"name": "lo", "priority": 2}]}},
        [("net_cls", "net_cls.classid", "1048577"), ("net_prio", "net_prio.ifpriomap", "lo 2")],
        None,
    ),
    (
        {"rdma": {"mlx5_0": {"hcaHandles": 2, "hcaObjects": 5}, "x": {"hcaObjects": 1}}},
        [
            ("rdma", "rdma.max", "mlx5_0 hca_handle=2 hca_object=5"),
            ("rdma", "rdma.max", "x hca_handle=max hca_object=1"),
        ],
        [("rdma.max", "mlx5_0 hca_handle=2 hca_object=5"), ("rdma.max", "x hca_handle=max hca_object=1")],
    ),
    (
        {"unified": {"memory.high": "5", "cgroup.max.depth": "2"}},
        None,
        [("memory.high", "5"), ("cgroup.max.depth", "2")],
    ),
)  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "old", "new"), TABLE, ids=lambda one: next(iter(one)) if isinstance(one, dict) else ""
)
def test_each_value_goes_to_the_file_that_the_documents_name(
    asked: dict[str, object], old: list[tuple[str, str, str]] | None, new: list[tuple[str, str]] | None
) -> None:
    read = resources.from_oci(asked)
    if old is None:
        with pytest.raises(CannotLimit, match="cannot be had"):
            writes.writes_v1(read)
    else:
        assert list(writes.writes_v1(read)) == old
    if new is None:
        with pytest.raises(CannotLimit, match="cannot be had"):
            writes.writes_v2(read)
    else:
        assert list(writes.writes_v2(read)) == new


@pytest.mark.parametrize(
    ("shares", "weight"),
    [(2, 1), (10, 4), (100, 17), (512, 59), (1024, 100), (2048, 174), (4096, 303), (262144, 10000)],
)
def test_shares_become_weights_as_runc_1_3_and_crun_1_23_have_it(shares: int, weight: int) -> None:
    assert writes.shares_to_weight(shares) == weight


@given(st.integers(0, 1 << 20), st.integers(0, 1 << 20))
def test_more_shares_are_never_less_weight(one: int, other: int) -> None:
    low, high = (writes.shares_to_weight(shares) for shares in sorted((one, other)))
    assert 1 <= low <= high <= 10_000


@given(st.integers(1, 10_000))
def test_a_weight_keeps_its_proportion_as_shares(weight: int) -> None:
    shares = writes.weight_to_shares(weight)
    assert 2 <= shares <= 262_144
    assert weight < 5 or abs(shares / 1024 - weight / 100) < 0.01


@given(st.integers(1, 10_000))
def test_disk_weights_stay_in_range_and_100_stays_100(weight: int) -> None:
    assert 1 <= writes.io_to_bfq_weight(weight) <= 1000
    assert writes.io_to_bfq_weight(100) == 100
    assert writes.blkio_to_io_weight(10) == 1
    assert writes.blkio_to_io_weight(1000) == 10_000


def memory(limit: int | None, both: int | None, now: str) -> list[str]:
    """Return the files that are written on version 1, in order, when memory and swap were limited to `now`."""
    asked = Resources(memory_max=limit, memory_swap=both)
    out = writes.writes_v1(asked, now=lambda file: now if file == "memory.memsw.limit_in_bytes" else "")
    return [file.split(".")[1] for _, file, _ in out]


def test_memory_and_swap_are_raised_and_lowered_in_the_order_that_the_kernel_wants() -> None:
    assert memory(200, 300, now="100") == ["memsw", "limit_in_bytes"]
    assert memory(50, 80, now="100") == ["limit_in_bytes", "memsw"]
    assert memory(-1, -1, now="100") == ["memsw", "limit_in_bytes"]
    assert memory(-1, None, now="100") == ["memsw", "limit_in_bytes"]  # else it could not be raised
    assert memory(-1, None, now="") == ["limit_in_bytes"]  # this kernel does not count swap


def test_swap_is_counted_from_the_memory_limit_that_is_in_force() -> None:
    asked = Resources(memory_swap=300)
    assert writes.writes_v2(asked, now=lambda _: "100") == (("memory.swap.max", "200"),)
    with pytest.raises(CannotLimit):
        writes.writes_v2(asked)
    with pytest.raises(CannotLimit):
        writes.writes_v2(asked, now=lambda _: "max")
    assert writes.writes_v2(Resources(memory_max=-1), now=lambda _: "5") == (
        ("memory.swap.max", "max"),
        ("memory.max", "max"),
    )


def test_a_period_alone_keeps_the_quota() -> None:
    asked = Resources(cpu_period=50_000)
    assert writes.writes_v2(asked, now=lambda _: "20000 100000\n") == (("cpu.max", "20000 50000"),)


def test_swap_alone_is_had_on_version_1_only_with_a_memory_limit() -> None:
    both = writes.writes_v1(Resources(memory_max=100, swap_max=50))
    assert both[1] == ("memory", "memory.memsw.limit_in_bytes", "150")
    with pytest.raises(CannotLimit, match=r"only together"):
        writes.writes_v1(Resources(swap_max=50))


def test_a_nice_value_weighs_what_the_scheduler_says() -> None:
    assert writes.writes_v1(Resources(cpu_weight_nice=0)) == (("cpu", "cpu.shares", "1024"),)
    assert writes.writes_v1(Resources(cpu_weight_nice=-20)) == (("cpu", "cpu.shares", "88761"),)
    assert writes.writes_v1(Resources(cpu_weight_nice=19)) == (("cpu", "cpu.shares", "15"),)
    assert writes.writes_v2(Resources(cpu_weight_nice=5)) == (("cpu.weight.nice", "5"),)


def test_a_disk_weight_goes_to_bfq_where_it_is_the_only_one() -> None:
    asked = Resources(io_weight=(("", 10_000), ("8:0", 0)))
    assert writes.writes_v2(asked, bfq=True) == (
        ("io.bfq.weight", "default 1000"),
        ("io.bfq.weight", "8:0 default"),
    )
    assert writes.writes_v2(Resources(blkio_weight=(("", 300),)), bfq=True) == (
        ("io.bfq.weight", "default 300"),
    )


def test_only_the_controllers_that_are_meant_are_written_or_refused() -> None:
    asked = Resources(memory_high=5, pids_max=3, cpu_shares=1024)
    assert writes.writes_v1(asked, only={"pids"}) == (("pids", "pids.max", "3"),)
    assert writes.writes_v2(asked, only={"memory"}) == (("memory.high", "5"),)
    assert writes.controllers(asked) == {"memory", "pids", "cpu"}
    assert writes.controllers(Resources(unified=(("misc.max", "x"), ("cgroup.freeze", "1")))) == {"misc"}
