"""features.md: what the runtime says that it can do, and that it says so truly."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from tests.conformance.rig import Container

pytestmark = pytest.mark.needs("root", "cc")


@pytest.fixture
def features(box: Container) -> dict[str, Any]:
    """Return what the runtime says."""
    ran = box.op("features")
    assert ran.code == 0, ran
    found: dict[str, Any] = json.loads(ran.out)
    return found


def test_the_versions_are_a_range_of_the_first_major(features: dict[str, Any]) -> None:
    assert features["ociVersionMin"].startswith("1.")
    assert features["ociVersionMax"].startswith("1.")


def test_every_phase_of_hooks_is_listed(features: dict[str, Any]) -> None:
    assert set(features["hooks"]) == {
        "prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"
    }  # fmt: skip


def test_every_option_of_mounts_is_listed(features: dict[str, Any]) -> None:
    wanted = {"bind", "rbind", "ro", "rw", "rro", "nosuid", "nodev", "noexec", "private", "rslave", "shared", "remount",
              "tmpcopyup", "relatime", "strictatime"}  # fmt: skip
    assert wanted <= set(features["mountOptions"])
    assert len(features["mountOptions"]) == len(set(features["mountOptions"]))


def test_linux_is_described(features: dict[str, Any]) -> None:
    linux = features["linux"]
    assert {"cgroup", "ipc", "mount", "network", "pid", "user", "uts"} <= set(linux["namespaces"])
    assert {"CAP_CHOWN", "CAP_SYS_ADMIN"} <= set(linux["capabilities"])
    assert isinstance(linux["cgroup"]["v1"], bool)
    assert isinstance(linux["cgroup"]["v2"], bool)
    assert linux["seccomp"]["enabled"] is True
    assert "SCMP_ACT_ERRNO" in linux["seccomp"]["actions"]
    assert "SCMP_CMP_MASKED_EQ" in linux["seccomp"]["operators"]
    assert linux["apparmor"]["enabled"] is True  # the runtime's share in it, whatever this host has
    assert linux["selinux"]["enabled"] is True
    assert linux.get("intelRdt", {}).get("enabled", False) in (True, False)


def test_an_option_that_is_listed_is_taken(features: dict[str, Any], box: Container) -> None:
    skip = {"idmap", "ridmap", "remount", "bind", "rbind", "tmpcopyup", "copy-symlink"}
    for number, option in enumerate(sorted(set(features["mountOptions"]) - skip)):
        (box.rootfs / f"m{number}").mkdir()
        box.mount(f"/m{number}", "tmpfs", "tmpfs", option)
    ran = box.run()
    assert ran.code == 0, ran


def test_a_namespace_that_is_listed_can_be_made(features: dict[str, Any], box: Container) -> None:
    for kind in features["linux"][
        "namespaces"
    ]:  # what the runtime knows; the kernel may be built without some
        there = os.path.exists(f"/proc/self/ns/{'mnt' if kind == 'mount' else kind}")
        if kind != "user" and there:
            box.namespace(kind)
    assert box.run().code == 0
