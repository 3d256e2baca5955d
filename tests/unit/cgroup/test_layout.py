"""Which hierarchies there are: by what /proc says, version 1, version 2, hybrid, and inside of other containers."""

from __future__ import annotations

from pathlib import Path

from redpak.cgroup import layout

HYBRID = """\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:5 - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
"""
OURS = "3:cpu,cpuacct:/\n2:memory:/a/b\n1:name=systemd:/user.slice\n0::/user.slice\n"
PURE = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"


def always(_path: str) -> bool:
    """Nothing is hidden."""
    return True


def test_a_hybrid_host_has_every_controller_once_and_our_own_groups() -> None:
    found = layout.parse(HYBRID, OURS, always)
    assert found.v1 == {
        "cpu": "/sys/fs/cgroup/cpu,cpuacct",
        "cpuacct": "/sys/fs/cgroup/cpu,cpuacct",
        "memory": "/sys/fs/cgroup/memory",
        "name=systemd": "/sys/fs/cgroup/systemd",
    }
    assert found.own["memory"] == "/sys/fs/cgroup/memory/a/b"
    assert found.own["cpu"] == "/sys/fs/cgroup/cpu,cpuacct"
    assert (found.v2, found.own_v2) == ("/sys/fs/cgroup/unified", "/sys/fs/cgroup/unified/user.slice")
    assert not found.pure
    assert (found.version("memory"), found.version("io")) == (1, 0)
    assert "hybrid" in found.words()


def test_a_pure_host_has_version_2_alone() -> None:
    found = layout.parse(PURE, "0::/x.slice/y.scope\n", always)
    assert found.pure
    assert found.own_v2 == "/sys/fs/cgroup/x.slice/y.scope"
    assert (found.version("devices"), found.words()) == (2, "version 2")


def test_a_hierarchy_that_is_mounted_over_is_not_there() -> None:
    found = layout.parse(HYBRID, OURS, lambda path: "unified" not in path)
    assert found.v2 == ""


def test_a_mount_that_shows_a_part_of_the_tree_begins_there() -> None:
    shown = "30 23 0:26 /docker/1 /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
    assert layout.parse(shown, "0::/docker/1/in\n", always).own_v2 == "/sys/fs/cgroup/in"
    assert layout.parse(shown, "0::/docker/1\n", always).own_v2 == "/sys/fs/cgroup"
    assert layout.parse(shown, "0::/other\n", always).own_v2 == "/sys/fs/cgroup"


def test_the_usual_place_is_taken_where_a_hierarchy_is_mounted_twice() -> None:
    twice = "9 1 0:26 / /mnt rw - cgroup2 cgroup2 rw\n" + PURE + "31 1 0:26 / /srv rw - cgroup2 cgroup2 rw\n"
    assert layout.parse(twice, "0::/\n", always).v2 == "/sys/fs/cgroup"


def test_groups_are_made_above_the_leaf_that_an_earlier_launch_made_for_us() -> None:
    found = layout.parse(PURE, f"0::/a/{layout.LEAF}\n", always)
    assert layout.base_v2(found) == "/sys/fs/cgroup/a"


def test_what_is_outside_of_our_namespace_is_not_taken_for_a_path() -> None:
    assert layout.parse(PURE, "0::/../../x\n", always).own_v2 == "/sys/fs/cgroup"


def test_a_file_of_the_kernel_that_comes_in_many_pieces_is_read_to_its_end() -> None:
    whole = Path("/proc/self/maps").read_text()
    assert len(whole) > 3 * 4096
    read = layout.read("/proc/self/maps")
    assert len(read) > 3 * 4096
    assert read.splitlines()[-1].split()[-1] == whole.splitlines()[-1].split()[-1]
