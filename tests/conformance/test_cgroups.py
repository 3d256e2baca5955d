"""config-linux.md, cgroupsPath and resources: where the container is, and what its cgroup says."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.rig import Container, gone, group_of, hierarchies, pure_v2

pytestmark = pytest.mark.needs("root", "cc")
MIB = 1 << 20


def placed(box: Container, resources: dict[str, Any] | None = None) -> Container:
    """Give the container an absolute cgroup and start it with a program that stays."""
    box.config["linux"]["cgroupsPath"] = f"/{box.id}"
    if resources is not None:
        box.config["linux"]["resources"] = resources
    box.config["process"]["args"] = ["/probe", "report", ";", "stay"]
    for mount, _ in hierarchies().values():
        box.yard.made.append(Path(mount, box.id))
    return box


def group(box: Container, controller: str) -> Path:
    """Return the container's directory for a controller. Skips where the host lacks it."""
    at = group_of(controller, f"/{box.id}")
    if at is None:
        pytest.skip(f"this host has no controller '{controller}'")
    return at


def text(box: Container, controller: str, v1: str, v2: str) -> str:
    """Return what a file of the container's cgroup says, by its name in each version."""
    at = group(box, controller)
    name = v1 if not (at / v2).exists() or (v1 and (at / v1).exists()) else v2
    if not name or not (at / name).exists():
        pytest.skip(f"this host has no file '{v1 or v2}'")
    return (at / name).read_text().strip()


def test_an_absolute_path_is_below_the_mount_of_each_hierarchy(box: Container) -> None:
    placed(box).up()
    for controller in ("cpu", "memory", "pids", "cpuset", "freezer", "devices"):
        at = group_of(controller, f"/{box.id}")
        if at is not None:
            assert str(box.pid) in (at / "cgroup.procs").read_text().split(), controller


def test_a_path_that_is_not_there_is_made_with_all_above(box: Container) -> None:
    box.config["process"]["args"] = ["/probe", "stay"]
    box.config["linux"]["cgroupsPath"] = f"/{box.id}/deep/inner"
    for mount, _ in hierarchies().values():
        box.yard.made.append(Path(mount, box.id))
    box.up()
    at = group_of("pids", f"/{box.id}/deep/inner")
    assert at
    assert str(box.pid) in (at / "cgroup.procs").read_text().split()


@pytest.mark.parametrize("path", ["name", "deep/name", None])
def test_a_relative_path_leads_to_a_cgroup_of_the_containers_own(box: Container, path: str | None) -> None:
    if path:
        box.config["linux"]["cgroupsPath"] = f"{box.id}/{path}"
        for mount, _ in hierarchies().values():
            box.yard.made.append(Path(mount, box.id))
    box.config["process"]["args"] = ["/probe", "stay"]
    places = []
    for _ in range(2):
        box.up()
        lines = Path(f"/proc/{box.pid}/cgroup").read_text()
        at = next(
            line.split(":", 2)[2] for line in lines.splitlines() if "pids" in line or line.startswith("0::")
        )
        places.append(at)
        group_at = group_of("pids", at)
        assert group_at
        if path:
            assert at.endswith(path)
        assert (group_at / "cgroup.procs").read_text().split() == [str(box.pid)]
        box.kill("KILL")
        box.wait()
        assert box.delete().code == 0
        assert not group_at.exists()
    assert places[0] == places[1]  # the same value, the same place


def test_the_cgroup_exists_with_its_limits_before_the_program_runs(box: Container) -> None:
    assert placed(box, {"pids": {"limit": 77}}).create().code == 0
    assert text(box, "pids", "pids.max", "pids.max") == "77"
    assert box.start().code == 0


def test_a_cgroup_namespace_hides_the_path(box: Container) -> None:
    placed(box).namespace("cgroup")
    box.up()
    seen = box.until(pid=1)["cgroup"]
    assert box.id not in seen
    for line in seen.splitlines():
        assert line.endswith(":/") or not any(name in line for name in ("memory", "pids", "0::/redpak"))


def test_memory_limits(box: Container) -> None:
    placed(box, {"memory": {"limit": 64 * MIB, "reservation": 32 * MIB}}).up()
    assert text(box, "memory", "memory.limit_in_bytes", "memory.max") == str(64 * MIB)
    assert text(box, "memory", "memory.soft_limit_in_bytes", "memory.low") == str(32 * MIB)


def test_memory_and_swap(box: Container) -> None:
    at = group_of("memory", "/")
    if at and not pure_v2() and not (at / "memory.memsw.limit_in_bytes").exists():
        pytest.skip("this host does not count swap")
    placed(box, {"memory": {"limit": 64 * MIB, "swap": 96 * MIB}}).up()
    if pure_v2():
        assert text(box, "memory", "", "memory.swap.max") == str(32 * MIB)
    else:
        assert text(box, "memory", "memory.memsw.limit_in_bytes", "") == str(96 * MIB)


def test_memory_without_a_limit(box: Container) -> None:
    placed(box, {"memory": {"limit": -1}}).up()
    said = text(box, "memory", "memory.limit_in_bytes", "memory.max")
    assert said == "max" or int(said) > 1 << 60


def test_swappiness_on_v1(box: Container) -> None:
    placed(box, {"memory": {"limit": 64 * MIB, "swappiness": 17}})
    if not (group(box, "memory").parent / "memory.swappiness").exists():
        pytest.skip("this host has no swappiness by cgroup")
    box.up()
    assert text(box, "memory", "memory.swappiness", "") == "17"


def test_a_memory_limit_kills(box: Container) -> None:
    without_swap = {"swap": 96 * MIB} if pure_v2() else {}  # where there is swap space, it would only be slow
    placed(box, {"memory": {"limit": 96 * MIB} | without_swap})
    box.mount("/data", "tmpfs", "tmpfs", "size=300m")
    box.config["process"]["args"] = ["/probe", "fill", "/data/big", "200"]
    box.up()
    assert box.wait() in (-9, None)
    assert box.said() == []


def test_cpu_limits(box: Container) -> None:
    placed(box, {"cpu": {"shares": 512, "quota": 50000, "period": 100000}}).up()
    if pure_v2():
        assert text(box, "cpu", "", "cpu.max") == "50000 100000"
        assert 19 <= int(text(box, "cpu", "", "cpu.weight")) <= 70  # two conversions are in use
    else:
        assert text(box, "cpu", "cpu.cfs_quota_us", "") == "50000"
        assert text(box, "cpu", "cpu.cfs_period_us", "") == "100000"
        assert text(box, "cpu", "cpu.shares", "") == "512"


def test_a_cpu_quota_alone_and_no_quota(box: Container) -> None:
    placed(box, {"cpu": {"quota": -1}}).up()
    assert text(box, "cpu", "cpu.cfs_quota_us", "cpu.max") in ("-1", "max 100000")


def test_cpu_burst(box: Container) -> None:
    root = group_of("cpu", "/")
    if root is None or not (
        list(root.glob("*/cpu.cfs_burst_us"))
        or (root / "cpu.cfs_burst_us").exists()
        or list(root.glob("*/cpu.max.burst"))
    ):
        pytest.skip("this host has no CPU burst")
    placed(box, {"cpu": {"quota": 50000, "period": 100000, "burst": 10000}}).up()
    assert text(box, "cpu", "cpu.cfs_burst_us", "cpu.max.burst") == "10000"


def test_cpu_idle(box: Container) -> None:
    root = group_of("cpu", "/")
    if root is None or not list(root.glob("*/cpu.idle")):
        pytest.skip("this host has no idle cgroups")
    placed(box, {"cpu": {"idle": 1}}).up()
    assert text(box, "cpu", "cpu.idle", "cpu.idle") == "1"


def test_cpusets(box: Container) -> None:
    placed(box, {"cpu": {"cpus": "0", "mems": "0"}})
    group(box, "cpuset")  # or this host has none
    box.up()
    assert text(box, "cpuset", "cpuset.cpus", "cpuset.cpus") == "0"
    assert text(box, "cpuset", "cpuset.mems", "cpuset.mems") == "0"
    assert "Cpus_allowed_list:\t0\n" in Path(f"/proc/{box.pid}/status").read_text()


def test_pids_limits(box: Container) -> None:
    placed(box, {"pids": {"limit": 25}}).up()
    assert text(box, "pids", "pids.max", "pids.max") == "25"


@pytest.mark.parametrize("limit", [-1])
def test_no_pids_limit(box: Container, limit: int) -> None:
    placed(box, {"pids": {"limit": limit}}).up()
    assert text(box, "pids", "pids.max", "pids.max") == "max"


def test_a_pids_limit_stops_forks(box: Container) -> None:
    placed(box, {"pids": {"limit": 1}})
    box.config["process"]["args"] = ["/probe", "call", "57", ";", "stay"]  # the probe makes a call in a fork
    box.up()
    said = box.until(verb="call")
    assert said["result"] == -1


def disk() -> tuple[int, int] | None:
    """Return the number of a whole block device of this host."""
    for at in sorted(Path("/sys/block").iterdir()):
        if not at.name.startswith(("ram", "zram", "sr")):
            major, minor = (at / "dev").read_text().split(":")
            return int(major), int(minor)
    return None


@pytest.mark.parametrize(("name", "v1", "v2"), [
    ("throttleReadBpsDevice", "blkio.throttle.read_bps_device", "rbps"),
    ("throttleWriteBpsDevice", "blkio.throttle.write_bps_device", "wbps"),
    ("throttleReadIOPSDevice", "blkio.throttle.read_iops_device", "riops"),
    ("throttleWriteIOPSDevice", "blkio.throttle.write_iops_device", "wiops"),
])  # fmt: skip
def test_block_device_throttles(box: Container, name: str, v1: str, v2: str) -> None:
    device = disk()
    if device is None:
        pytest.skip("this host has no block device")
    root = group_of("io" if pure_v2() else "blkio", "/")
    if root is None or (not pure_v2() and not (root / v1).exists()):
        pytest.skip("this host cannot throttle")
    major, minor = device
    placed(box, {"blockIO": {name: [{"major": major, "minor": minor, "rate": 4194304}]}}).up()
    if pure_v2():
        assert f"{v2}=4194304" in text(box, "io", "", "io.max")
    else:
        assert text(box, "blkio", v1, "") == f"{major}:{minor} 4194304"


def test_block_weight(box: Container) -> None:
    root = group_of("io" if pure_v2() else "blkio", "/")
    names = ("io.bfq.weight", "io.weight") if pure_v2() else ("blkio.bfq.weight", "blkio.weight")
    if root is None or not any((one / name).exists() for name in names for one in [root, *root.glob("*")]):
        pytest.skip("this host has no weight for block devices")
    placed(box, {"blockIO": {"weight": 300}}).up()


def test_huge_pages(box: Container) -> None:
    at = group_of("hugetlb", "/")
    if at is None or not pure_v2():
        pytest.skip("this host has no controller 'hugetlb' beside the others")
    placed(box, {"hugepageLimits": [{"pageSize": "2MB", "limit": 4194304}]}).up()
    assert text(box, "hugetlb", "", "hugetlb.2MB.max") == "4194304"


def test_files_of_v2_by_name(box: Container) -> None:
    if not pure_v2():
        pytest.skip("this host's controllers are on cgroup v1")
    placed(box, {"unified": {"memory.high": "33554432", "pids.max": "55"}}).up()
    assert text(box, "memory", "", "memory.high") == "33554432"
    assert text(box, "pids", "", "pids.max") == "55"


@pytest.mark.parametrize("resources", [
    {"cpu": {"cpus": "nonsense"}}, {"cpu": {"cpus": "4095"}}, {"cpu": {"quota": 1}},
    {"memory": {"limit": 1, "swap": -5}},
], ids=str)  # fmt: skip
def test_a_limit_that_cannot_be_set_is_an_error_and_leaves_no_cgroup(
    box: Container, resources: dict[str, Any]
) -> None:
    placed(box, resources)
    box.refused()
    for controller in ("cpu", "memory", "cpuset", "pids"):
        at = group_of(controller, f"/{box.id}")
        assert at is None or not at.exists(), controller


def test_update_changes_the_limits_of_a_running_container(box: Container) -> None:
    placed(box, {"pids": {"limit": 25}, "memory": {"limit": 64 * MIB}}).up()
    ran = box.op(
        "update", "--resources", "-", box.id, stdin=b'{"pids": {"limit": 50}, "memory": {"limit": 33554432}}'
    )
    assert ran.code == 0, ran
    assert text(box, "pids", "pids.max", "pids.max") == "50"
    assert text(box, "memory", "memory.limit_in_bytes", "memory.max") == "33554432"


def test_pause_stops_the_container_and_resume_lets_it_go_on(box: Container) -> None:
    placed(box).up()
    box.until(verb="stay")
    assert box.op("pause", box.id).code == 0
    assert box.status() == "paused"
    os.kill(box.pid, 10)
    assert not any("signal" in one for one in box.said())
    assert box.op("resume", box.id).code == 0
    assert box.status() == "running"
    box.until(signal=10)


def test_ps_lists_the_containers_processes(box: Container) -> None:
    placed(box).up()
    ran = box.op("ps", "--format", "json", box.id)
    assert ran.code == 0, ran
    assert str(box.pid) in ran.out


def test_delete_ends_what_is_left_in_the_cgroup(box: Container) -> None:
    placed(box).namespace("pid", drop=True)
    box.config["mounts"][0] = {
        "destination": "/proc",
        "type": "bind",
        "source": "/proc",
        "options": ["rbind"],
    }
    box.up()
    box.until(verb="stay")
    child = box.yard.call("sh", "-c", "sleep 600 >/dev/null 2>&1 & echo $!")
    pid = int(child.out)
    at = group(box, "pids")
    for mount, _ in hierarchies().values():
        if (other := Path(mount, box.id)).is_dir():
            (other / "cgroup.procs").write_text(str(pid))
    box.kill("KILL")
    box.wait()
    box.delete("--force")
    assert gone(pid) in (-9, None)
    assert not at.exists()
