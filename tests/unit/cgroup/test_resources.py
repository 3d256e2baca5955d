"""What is asked for: red-pak's keys and OCI's linux.resources, in one form, and every fault at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from redpak.cgroup import resources, writes
from redpak.cgroup.resources import NO_LIMIT, CannotLimit, Resources
from redpak.errors import BadConfig
from redpak.origin import Origin
from redpak.plan.model import Limit

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "06_limits_of_the_seed" / "plan.json"


def limit(key: str, value: str, line: int = 1, node: str = "/n") -> Limit:
    """Return a limit of a node."""
    return Limit(node=node, key=key, value=value, because=Origin(file="redpak.yaml", line=line))


def of(*pairs: tuple[str, str]) -> Resources:
    """Return what one node's limits ask for."""
    ((_, asked),) = resources.from_plan([limit(key, value) for key, value in pairs])
    return asked


def seed() -> list[Limit]:
    """Return the limits of the example in red-pak's introduction."""
    return [limit(one["key"], one["value"]) for one in json.loads(GOLDEN.read_text())["limits"]]


def test_every_limit_of_the_seeds_example_is_written_once() -> None:
    ((_, asked),) = resources.from_plan(seed())
    assert writes.writes_v2(asked) == (
        ("cpuset.cpus", "0-2"),
        ("cpuset.mems", "0"),
        ("cpuset.cpus.partition", "member"),
        ("cpu.weight", "200"),
        ("cpu.max", "1000 1000"),
        ("memory.swap.max", str(512 << 20)),
        ("memory.swap.high", str(1024 << 20)),
        ("memory.min", str(10 << 20)),
        ("memory.low", str(10 << 20)),
        ("memory.high", str(521 << 20)),
        ("memory.max", str(512 << 20)),
        ("memory.oom.group", "1"),
        ("io.weight", "default 200"),
        ("io.max", "8:0 rbps=2097152 wiops=120"),
        ("pids.max", "50"),
    )


def test_version_1_refuses_by_name_what_it_lacks_of_the_seeds_example() -> None:
    ((_, asked),) = resources.from_plan(seed())
    with pytest.raises(CannotLimit) as told:
        writes.writes_v1(asked)
    assert [one.message.split("'")[1] for one in told.value.reasons] == [
        "memory.high",
        "memory.low",
        "memory.min",
        "memory.oom.group",
        "memory.swap.high",
    ]
    assert all("redpak.yaml:1" in str(one) for one in told.value.reasons)
    assert told.value.code == 3


@pytest.mark.parametrize("key", sorted(resources._KEYS))
def test_every_key_that_is_accepted_does_something_or_is_refused_by_name(key: str) -> None:
    example = {
        "cpuset.cpus": "0", "cpuset.mems": "0", "cpuset.cpus.partition": "root", "cpu.weight.nice": "-5",
        "cpu.max": "5000", "io.cost.qos": "8:0 enable=1", "io.cost.model": "8:0 ctrl=auto", "io.weight": "8:0 50",
        "io.max": "8:0 rbps=1",
    }.get(key, "9")  # fmt: skip
    asked = of((key, example))
    try:
        assert writes.writes_v2(asked)[0][0] == key
    except CannotLimit as error:
        assert key.startswith("io.cost")
        assert f"'{key}'" in error.message
        assert "/sys/fs/cgroup" in error.hint


@pytest.mark.parametrize(
    ("word", "size"),
    [
        ("512M", 512 << 20),
        ("1k", 1024),
        ("2G", 2 << 30),
        ("3T", 3 << 40),
        ("1P", 1 << 50),
        ("7", 7),
        ("max", -1),
        ("MAX", -1),
    ],
)
def test_sizes_have_powers_of_1024(word: str, size: int) -> None:
    assert of(("memory.max", word)).memory_max == size


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("memory.max", "much"), ("memory.max", "1.5G"), ("memory.max", "-1"), ("pids.max", "1K"), ("cpu.weight", "0"),
        ("cpu.weight.nice", "20"), ("cpu.max", "10 100000"), ("cpu.max", "5000 100"), ("cpu.max", "5000 5000 5000"),
        ("cpuset.cpus", "2-1"), ("cpuset.cpus", "a"), ("cpuset.cpus.partition", "boss"), ("io.max", "8:0"),
        ("io.max", "sda rbps=1"), ("io.max", "8:0 bps=1"), ("io.weight", "8:0 20000"), ("io.cost.qos", "enable=1"),
        ("memory.most", "1"),
    ],
)  # fmt: skip
def test_a_value_that_the_kernel_would_not_take_is_a_fault(key: str, value: str) -> None:
    with pytest.raises(BadConfig) as told:
        resources.from_plan([limit(key, value, line=4)])
    (fault,) = told.value.faults
    assert fault.origin.line == 4
    assert key in fault.message


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(BadConfig) as told:
        resources.from_plan([limit("memory.max", "x"), limit("pids.max", "y"), limit("cpu.max", "z")])
    assert len(told.value.faults) == 3


def test_members_keep_the_plans_order() -> None:
    limits = [
        limit("pids.max", "9", node="/a"),
        limit("pids.max", "8", node="/a/b"),
        limit("memory.max", "1M", node="/a"),
    ]
    assert [(node, asked.pids_max) for node, asked in resources.from_plan(limits)] == [("/a", 9), ("/a/b", 8)]


def test_an_oci_configuration_is_read_in_full() -> None:
    asked = resources.from_oci(
        {
            "memory": {
                "limit": 1000, "reservation": 500, "swap": 3000, "kernel": 2000, "kernelTCP": -1, "swappiness": 0,
                "disableOOMKiller": False, "useHierarchy": True, "checkBeforeUpdate": True,
            },
            "cpu": {
                "shares": 1024, "quota": 5000, "period": 10000, "burst": 0, "realtimeRuntime": 950,
                "realtimePeriod": 1000,
                "cpus": "0-1, 3", "mems": "0", "idle": 1,
            },
            "pids": {"limit": -1},
            "blockIO": {
                "weight": 10, "leafWeight": 20,
                "weightDevice": [{"major": 8, "minor": 0, "weight": 500, "leafWeight": 300}],
                "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 600}],
                "throttleWriteIOPSDevice": [{"major": 8, "minor": 0, "rate": 0}],
            },
            "hugepageLimits": [{"pageSize": "2MB", "limit": 9}],
            "network": {"classID": 5, "priorities": [{"name": "eth0", "priority": 7}]},
            "rdma": {"mlx5_1": {"hcaHandles": 3}},
            "unified": {"memory.high": "9"},
            "devices": [{"allow": False, "access": "rwm"}, {"allow": True, "type": "c", "major": 10, "access": "r"}],
        },
        default_devices=False,
    )  # fmt: skip
    assert (
        asked.memory_max,
        asked.memory_soft,
        asked.memory_swap,
        asked.kernel_max,
        asked.kernel_tcp_max,
    ) == (
        1000,
        500,
        3000,
        2000,
        NO_LIMIT,
    )
    assert (asked.swappiness, asked.oom_killer_off, asked.check_before_update) == (0, False, True)
    assert (asked.cpu_shares, asked.cpu_quota, asked.cpu_period, asked.cpu_burst) == (1024, 5000, 10000, 0)
    assert (asked.cpu_rt_runtime, asked.cpu_rt_period, asked.cpus, asked.mems, asked.cpu_idle) == (
        950,
        1000,
        "0-1,3",
        "0",
        1,
    )
    assert asked.pids_max == NO_LIMIT
    assert asked.blkio_weight == (("", 10), ("8:0", 500))
    assert asked.blkio_leaf_weight == (("", 20), ("8:0", 300))
    assert asked.io_max == (("8:0", "rbps", 600), ("8:0", "wiops", NO_LIMIT))
    assert asked.hugetlb == (("2MB", 9),)
    assert (asked.net_classid, asked.net_priorities) == (5, (("eth0", 7),))
    assert asked.rdma == (("mlx5_1", 3, NO_LIMIT),)
    assert asked.unified == (("memory.high", "9"),)
    assert [str(rule) for rule in asked.devices or ()] == ["deny a *:* rwm", "allow c 10:* r"]


def test_nothing_asked_is_nothing_written_but_that_no_device_may_be_used() -> None:
    asked = resources.from_oci(None)
    assert writes.writes_v1(asked) == ()
    assert writes.writes_v2(asked) == ()
    assert asked.given() == ("devices",)


def test_zero_is_not_asked_as_other_runtimes_read_it() -> None:
    asked = resources.from_oci(
        {"memory": {"limit": 0, "swap": 0}, "cpu": {"shares": 0, "quota": 0}, "pids": {"limit": 0}}
    )
    assert asked.given() == ("devices",)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"memory": {"limit": "1G"}}, "memory.limit"),
        ({"memory": []}, "memory"),
        ({"memory": {"limit": 10, "swap": 5}}, "memory.swap"),
        ({"memory": {"swappiness": 101}}, "memory.swappiness"),
        ({"cpu": {"cpus": "zero"}}, "cpu.cpus"),
        ({"cpu": {"shares": True}}, "cpu.shares"),
        ({"cpu": {"idle": 2}}, "cpu.idle"),
        ({"blockIO": {"weight": 5}}, "blockIO.weight"),
        (
            {"blockIO": {"throttleReadBpsDevice": [{"major": 8, "rate": 1}]}},
            "blockIO.throttleReadBpsDevice[0].minor",
        ),
        ({"hugepageLimits": [{"pageSize": "2mb", "limit": 1}]}, "hugepageLimits[0].pageSize"),
        ({"unified": {"../x": "1"}}, "unified.../x"),
        ({"unified": {"memory.high": 1}}, "unified.memory.high"),
        ({"devices": [{"access": "rwm"}]}, "devices[0].allow"),
        ({"devices": [{"allow": True, "type": "p"}]}, "devices[0].type"),
        ({"devices": [{"allow": True, "access": "rx"}]}, "devices[0].access"),
        ({"devices": {}}, "devices"),
        ({"network": {"priorities": [{"priority": 1}]}}, "network.priorities[0].name"),
        ({"rdma": {"x": {}}}, "rdma.x"),
    ],
)
def test_a_wrong_value_is_named(given: dict[str, object], name: str) -> None:
    with pytest.raises(BadConfig) as told:
        resources.from_oci(given)
    assert f"'linux.resources.{name}'" in told.value.faults[0].message
