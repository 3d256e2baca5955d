"""config-linux.md, namespaces: new ones, ones that are joined, ones that are the caller's; user namespaces and time."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.rig import Container, mounts_of, runtime_name

pytestmark = pytest.mark.needs("root", "cc")
FILES = {
    "network": "net",
    "mount": "mnt",
    "uts": "uts",
    "ipc": "ipc",
    "pid": "pid",
    "cgroup": "cgroup",
    "time": "time",
}


@pytest.fixture
def stranger() -> Iterator[int]:
    """Return a process in namespaces of its own, all but the mount and user namespace."""
    with subprocess.Popen(
        ["unshare", "--net", "--uts", "--ipc", "--cgroup", "--time", "--pid", "--fork", "--kill-child", "sh", "-c",
         "echo ready; read word"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as one:  # fmt: skip
        assert one.stdout
        one.stdout.readline()
        yield int(Path(f"/proc/{one.pid}/task/{one.pid}/children").read_text().split()[0])
        one.kill()


def of_yard(box: Container, file: str) -> str:
    """Return the identity of the caller's namespace."""
    return os.readlink(f"/proc/{box.yard.keeper.pid}/ns/{file}")


@pytest.mark.parametrize("kind", ["network", "uts", "ipc", "pid", "cgroup", "mount", "time"])
def test_a_namespace_without_a_path_is_new(box: Container, kind: str) -> None:
    box.namespace(kind)
    assert box.report()["ns"][FILES[kind]] != of_yard(box, FILES[kind])


@pytest.mark.parametrize("kind", ["network", "uts", "ipc", "cgroup", "time"])
def test_a_namespace_that_is_not_listed_is_the_callers(box: Container, kind: str) -> None:
    box.namespace(kind, drop=True)
    box.config.pop("hostname")
    if kind == "network":  # a new sysfs needs a network namespace that the container owns
        box.config["mounts"] = [one for one in box.config["mounts"] if one["type"] != "sysfs"]
    assert box.report()["ns"][FILES[kind]] == of_yard(box, FILES[kind])


def test_without_a_pid_namespace_the_program_is_one_of_many(box: Container) -> None:
    box.namespace("pid", drop=True)
    box.config["mounts"][0] = {
        "destination": "/proc",
        "type": "bind",
        "source": "/proc",
        "options": ["rbind"],
    }
    assert box.report()["pid"] > 1


def table(box: Container) -> list[str]:
    """Return the mounts of the caller's namespace, as mountinfo has them."""
    return sorted(box.yard.call("cat", "/proc/self/mountinfo").out.splitlines())


def unchanged(now: list[str], before: list[str], box: Container) -> bool:
    """Tell whether a table has nothing more than before, and all that it had in the test's folder.

    Elsewhere a mount may go: its directory was removed by somebody who did not see it.
    """
    at = box.yard.scratch
    return not set(now) - set(before) and beneath(now, at) == beneath(before, at)


def beneath(lines: list[str], at: Path) -> list[str]:
    """Return the mount points of a table that lie at a directory and below."""
    points = [line.split()[4] for line in lines]
    return [one for one in points if one == str(at) or one.startswith(f"{at}/")]


def without_mounts(box: Container) -> None:
    """Share the caller's mount namespace."""
    box.namespace("mount", drop=True)


def test_without_a_mount_namespace_the_root_is_the_containers_and_its_mounts_are_the_callers(
    box: Container,
) -> None:
    without_mounts(box)
    (box.rootfs / "mine").touch()
    box.config["process"]["args"] = ["/probe", "report", ";", "ls", "/", ";", "stay"]
    box.up()
    found = box.until(verb="ls")
    assert {"mine", "probe", "proc"} <= set(found["names"])
    assert box.said()[0]["ns"]["mnt"] == of_yard(box, "mnt")
    shown = beneath(table(box), box.rootfs)
    assert {str(box.rootfs / name) for name in ("proc", "dev", "dev/pts", "dev/shm", "sys")} <= set(shown)
    box.kill()
    box.wait()


def test_what_a_container_mounted_for_the_caller_is_gone_with_it(box: Container) -> None:
    without_mounts(box)
    before = table(box)
    box.probe("stat", "/proc/self")
    assert unchanged(table(box), before, box)


def test_exec_enters_the_root_of_a_container_without_a_mount_namespace(box: Container) -> None:
    without_mounts(box)
    (box.rootfs / "mine").touch()
    box.config["process"]["args"] = ["/probe", "stay"]
    box.up()
    ran = box.op("exec", box.id, "/probe", "ls", "/")
    assert ran.code == 0, ran
    assert "mine" in ran.out and "boot" not in ran.out
    box.kill()
    box.wait()


def test_without_any_namespace_the_program_is_in_the_callers(box: Container) -> None:
    box.config["linux"]["namespaces"] = []
    box.config.pop("hostname")
    box.config["mounts"] = [one for one in box.config["mounts"] if one["type"] != "sysfs"]
    found = box.report()
    for file in ("net", "mnt", "uts", "ipc", "cgroup"):
        assert found["ns"][file] == of_yard(box, file)


@pytest.fixture
def elsewhere() -> Iterator[int]:
    """Return a process in a mount namespace of its own, which sees the same files."""
    with subprocess.Popen(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", "echo ready; read word"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as one:  # fmt: skip
        assert one.stdout
        one.stdout.readline()
        yield one.pid
        one.kill()


def test_a_mount_namespace_with_a_path_is_joined(box: Container, elsewhere: int) -> None:
    box.namespace("mount", f"/proc/{elsewhere}/ns/mnt")
    before = table(box), Path(f"/proc/{elsewhere}/mountinfo").read_text().splitlines()
    assert box.report()["ns"]["mnt"] == os.readlink(f"/proc/{elsewhere}/ns/mnt")
    assert unchanged(table(box), before[0], box)
    if runtime_name() == "redpak-oci":  # others leave what they mounted, or move the root of all in there
        assert unchanged(Path(f"/proc/{elsewhere}/mountinfo").read_text().splitlines(), before[1], box)


def test_without_a_uts_namespace_a_hostname_is_an_error(box: Container) -> None:
    box.namespace("uts", drop=True)
    box.refused()


@pytest.mark.parametrize("kind", ["network", "uts", "ipc", "pid", "cgroup", "time"])
def test_a_namespace_with_a_path_is_joined(box: Container, stranger: int, kind: str) -> None:
    box.namespace(kind, f"/proc/{stranger}/ns/{FILES[kind]}")
    if kind == "uts":
        box.config.pop("hostname")
    assert box.report()["ns"][FILES[kind]] == os.readlink(f"/proc/{stranger}/ns/{FILES[kind]}")


def test_a_namespace_may_be_joined_through_a_mount_of_it(box: Container, stranger: int) -> None:
    at = box.yard.scratch / "pinned"
    at.touch()
    assert box.yard.call("mount", "--bind", f"/proc/{stranger}/ns/net", str(at)).code == 0
    box.namespace("network", str(at))
    assert box.report()["ns"]["net"] == os.readlink(f"/proc/{stranger}/ns/net")


@pytest.mark.parametrize("kind", ["network", "uts", "ipc"])
def test_a_path_of_another_kind_is_an_error(box: Container, kind: str) -> None:
    other = {"network": "uts", "uts": "ipc", "ipc": "net"}[kind]
    box.namespace(kind, f"/proc/{os.getpid()}/ns/{other}")
    box.refused()


@pytest.mark.parametrize("path", ["/no/such/namespace", "/etc/passwd"])
def test_a_path_that_is_no_namespace_is_an_error(box: Container, path: str) -> None:
    box.namespace("network", path)
    box.refused()


def test_a_relative_path_is_an_error(box: Container) -> None:
    box.namespace("network", "ns/net")
    box.refused()


def test_a_namespace_that_is_listed_twice_is_an_error(box: Container) -> None:
    box.config["linux"]["namespaces"] += [{"type": "uts"}]
    box.refused()


def test_a_new_network_has_a_loopback_only(box: Container) -> None:
    names = box.probe("ls", "/sys/class/net")[0]["names"]
    assert "lo" in names
    assert not [name for name in names if name.startswith(("eth", "veth", "en"))]


def test_sysctls_are_written_in_the_containers_namespaces(box: Container) -> None:
    box.config["linux"]["sysctl"] = {"net.ipv4.ip_forward": "1", "kernel.shm_rmid_forced": "1",
                                     "net/ipv4/conf/default.rp_filter".replace("/", "."): "2"}  # fmt: skip
    said = box.probe("read", "/proc/sys/net/ipv4/ip_forward", "/proc/sys/kernel/shm_rmid_forced",
                     "/proc/sys/net/ipv4/conf/default/rp_filter")  # fmt: skip
    assert [one["text"] for one in said] == ["1\n", "1\n", "2\n"]


@pytest.mark.parametrize("name", ["kernel.no_such_thing", "kernel.core_pattern", "vm.swappiness"])
def test_a_sysctl_that_is_unknown_or_the_hosts_is_an_error(box: Container, name: str) -> None:
    box.config["linux"]["sysctl"] = {name: "1"}
    box.refused()


def test_a_sysctl_of_a_namespace_that_is_shared_is_an_error(box: Container) -> None:
    box.namespace("ipc", drop=True)
    box.config["linux"]["sysctl"] = {"kernel.shm_rmid_forced": "1"}
    box.refused()


def test_the_clocks_are_shifted_as_asked(box: Container) -> None:
    box.namespace("time")
    box.config["linux"]["timeOffsets"] = {
        "monotonic": {"secs": 1000, "nanosecs": 5},
        "boottime": {"secs": 2000},
    }
    lines = [line.split() for line in box.report()["timens_offsets"].splitlines()]
    assert ["monotonic", "1000", "5"] in lines
    assert ["boottime", "2000", "0"] in lines


# --- user namespaces


def test_a_user_namespace_has_the_configured_maps(box: Container) -> None:
    box.user_namespace()
    for kind in ("uidMappings", "gidMappings"):
        box.config["linux"][kind].append({"containerID": 70000, "hostID": 300000, "size": 10})
    found = box.report()
    for name in ("uid_map", "gid_map"):
        assert [line.split() for line in found[name].splitlines()] == [
            ["0", "100000", "65536"],
            ["70000", "300000", "10"],
        ]
    assert found["uid"] == found["gid"] == 0
    assert found["cap_effective"]


def test_root_in_a_user_namespace_writes_as_its_host_id(box: Container) -> None:
    box.user_namespace()
    assert box.probe("create", "/data/new", "x")[0]["outcome"] == "ok"
    assert (box.rootfs / "data/new").stat().st_uid == 100000


def test_another_user_in_a_user_namespace(box: Container) -> None:
    box.user_namespace()
    box.config["process"]["user"] = {"uid": 1000, "gid": 1000, "additionalGids": [2000]}
    found = box.report()
    assert (found["uid"], found["gid"]) == (1000, 1000)
    assert 2000 in found["groups"]


def test_devices_in_a_user_namespace_work(box: Container) -> None:
    box.user_namespace()
    said = box.probe("stat", "/dev/null", "/dev/tty", ";", "write", "/dev/null", "x")
    assert [(one["kind"], one["major"]) for one in said[:2]] == [("c", 1), ("c", 5)]
    assert said[2]["outcome"] == "ok"


def test_the_usual_mounts_work_in_a_user_namespace(box: Container) -> None:
    box.user_namespace()
    found = mounts_of(box.report())
    assert {"/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue", "/sys"} <= set(found)


def test_a_user_namespace_can_be_joined(box: Container) -> None:
    with subprocess.Popen(["unshare", "--user", "sh", "-c", "echo ready; read word"], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as one:  # fmt: skip
        assert one.stdout
        one.stdout.readline()
        for name in ("uid_map", "gid_map"):
            Path(f"/proc/{one.pid}/{name}").write_text("0 100000 65536")
        box.user_namespace()
        for name in ("uidMappings", "gidMappings"):
            box.config["linux"].pop(name)
        box.namespace("user", f"/proc/{one.pid}/ns/user")
        wanted = os.readlink(f"/proc/{one.pid}/ns/user")
        try:
            assert box.report()["ns"]["user"] == wanted
        finally:
            one.kill()


def test_mappings_without_a_user_namespace_are_an_error(box: Container) -> None:
    box.config["linux"]["uidMappings"] = [{"containerID": 0, "hostID": 100000, "size": 10}]
    box.refused()


def test_a_user_outside_the_map_is_an_error(box: Container) -> None:
    box.user_namespace(size=1000)
    box.config["process"]["user"] = {"uid": 5000, "gid": 5000}
    assert box.run().code != 0


def test_rights_over_the_host_are_not_gained_by_a_user_namespace(box: Container) -> None:
    box.user_namespace()
    box.config["process"]["capabilities"] = {kind: ["CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE", "CAP_SYS_TIME", "CAP_MKNOD"]
                                             for kind in ("bounding", "effective", "permitted")}  # fmt: skip
    said = box.probe("write", "/proc/sys/kernel/core_pattern", "core", ";", "mknod", "/data/kmem", "c", "1", "2",
                     ";", "mount", "none", "/data", "tmpfs", "0")  # fmt: skip
    assert said[0]["outcome"] in ("EROFS", "EACCES", "EPERM")
    assert said[1]["outcome"] == "EPERM"
