"""The test guests are what the tests inside them believe: their own kernel, pure cgroup v2, nothing of the host's."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

CGROUP = Path("/sys/fs/cgroup")


@pytest.mark.needs("vm")
def test_cgroup_v2_is_the_only_version() -> None:
    lines = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    assert {line[line.index("-") + 1] for line in lines if line[4].startswith(str(CGROUP))} == {"cgroup2"}


@pytest.mark.needs("vm", "root")
def test_every_controller_is_there_for_roots_groups(tmp_path: Path) -> None:
    there = set((CGROUP / "cgroup.controllers").read_text().split())
    assert there >= {"cpu", "io", "memory", "pids"}
    assert set((CGROUP / "cgroup.subtree_control").read_text().split()) >= {"cpu", "memory", "pids"}


@pytest.mark.needs("vm", "user")
def test_an_ordinary_user_has_a_cgroup_of_its_own() -> None:
    own = CGROUP / Path("/proc/self/cgroup").read_text().strip().removeprefix("0::/")
    assert own.stat().st_uid == os.getuid() or own.parent.stat().st_uid == os.getuid()
    assert {"cpu", "memory", "pids"} <= set((own / "cgroup.controllers").read_text().split())


@pytest.mark.needs("vm", "root")
def test_the_hosts_files_cannot_be_written(tmp_path: Path) -> None:
    """Not even by mounting what the guest's root lies over once more and writable: 9p cannot be had twice."""
    kind = "9p" if "vm_kind=9p" in Path("/proc/cmdline").read_text() else "hostfs"
    option = "trans=virtio,version=9p2000.L" if kind == "9p" else "/"
    mount = (
        f"mount -t {kind} -o rw,{option} host {tmp_path} && touch {tmp_path}{REPOSITORY}/written-by-a-guest"
    )
    done = subprocess.run(["unshare", "-m", "sh", "-c", mount], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert ("mount point busy" if kind == "9p" else "Read-only file system") in done.stderr, done


@pytest.mark.needs("vm", "root", "disk", "swap")
def test_the_disk_and_the_swap_space_are_the_guests_own() -> None:
    names = Path("/proc/partitions").read_text().split()
    assert {"vda", "vdb"} <= set(names) or {"ubda", "ubdb"} <= set(names)


@pytest.mark.needs("vm")
def test_what_is_written_beside_the_checkout_is_not_on_the_hosts_file_system() -> None:
    assert os.statvfs("/tmp").f_fsid != os.statvfs(REPOSITORY).f_fsid
