"""Whole containers on a kernel that lacks newer calls: the same from inside, one call missing or all of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.host.kernel_rig import EVERY_CALL
from tests.host.oci_site import DEFAULT_MOUNTS, Site

pytestmark = pytest.mark.needs("userns", "program:busybox")

ALONE = ("clone3", "close_range", "fsconfig", "mount_setattr", "open_tree", "openat2", "seccomp")
TELL = """
cat /proc/self/mountinfo; echo --
grep -E '^(Cap|NoNewPrivs|Seccomp|Uid|Gid|Groups)' /proc/self/status; echo --
for fd in /proc/self/fd/*; do test -e $fd && echo $fd; done; echo --
for place in / /etc /run /proc/sys/kernel /tmp; do touch $place/new 2>/dev/null && echo "writes $place"; done
mkdir /tmp/dir 2>/dev/null && echo "made a directory"
"""
SECCOMP = {
    "defaultAction": "SCMP_ACT_ALLOW",
    "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}],
}


@pytest.fixture
def oci(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    busybox = site.rootfs / "bin/grep"
    busybox.symlink_to("busybox")
    yield site
    site.clean()


def told(oci: Site, name: str, missing: str) -> list[Any]:
    """Return what a container says of itself: its mounts, rights, descriptors, and where it can write."""
    below = oci.scratch / "below"
    below.mkdir(exist_ok=True)
    caps = ["CAP_CHOWN", "CAP_KILL"]
    made = oci.bundle(
        name,
        *("sh", "-c", TELL),
        process={"capabilities": {kind: caps for kind in ("bounding", "effective", "permitted", "ambient")}},
        root={"path": str(oci.rootfs), "readonly": True},
        mounts=[
            *DEFAULT_MOUNTS,
            {"destination": "/etc", "type": "bind", "source": "/proc", "options": ["rbind", "rro", "nosuid"]},
            {
                "destination": "/run",
                "type": "bind",
                "source": str(below),
                "options": ["bind", "ro", "noexec"],
            },
        ],
        linux={
            "maskedPaths": ["/proc/kcore", "/proc/tty"],
            "readonlyPaths": ["/proc/sys"],
            "seccomp": SECCOMP,
        },
    )
    ran = oci("run", "--bundle", made, name, env={"REDPAK_ENOSYS": missing} if missing else {})
    assert ran.code in (0, 1) and "--\n" in ran.out, ran
    mounts, rights, descriptors, writes = ran.out.split("--\n")
    rows = []
    for line in mounts.splitlines():
        left, _, right = line.partition(" - ")
        _, _, device, root, point, options, *tags = left.split()
        rows.append(
            [point, root, options, [tag.split(":")[0] for tag in tags], right.split()[0], bool(device)]
        )
    return [rows, rights, descriptors, writes]


@pytest.mark.parametrize("missing", [",".join(EVERY_CALL), *ALONE], ids=["all", *ALONE])
def test_a_container_is_the_same_without_newer_calls(oci: Site, missing: str) -> None:
    expected = told(oci, "new", "")
    assert len(expected[0]) > 8
    assert expected[3] == "writes /tmp\n"
    assert told(oci, "old", missing) == expected
