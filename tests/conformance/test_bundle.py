"""bundle.md and config.md: the configuration file, its version, unknown and invalid values, the root."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.rig import Container, Yard, mounts_of

pytestmark = pytest.mark.needs("root", "cc")


def test_a_bundle_without_configuration_is_an_error(box: Container) -> None:
    box.refused(write=False)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"ociVersion": "1.0.2",}', "null", '"text"', "\x00\xff"])
def test_a_configuration_that_is_no_json_object_is_an_error(box: Container, text: str) -> None:
    (box.bundle / "config.json").write_text(text)
    box.refused(write=False)


@pytest.mark.parametrize("version", ["", "one", "1.0", "v1.0.2", "2.0.0", "01.0.0", 1, None])
def test_a_version_that_is_not_semantic_or_not_supported_is_an_error(box: Container, version: Any) -> None:
    box.config["ociVersion"] = version
    box.refused()


def test_a_missing_version_is_an_error(box: Container) -> None:
    del box.config["ociVersion"]
    box.refused()


@pytest.mark.parametrize("version", ["1.0.0", "1.0.2-dev", "1.1.0", "1.2.0", "1.2.1", "1.0.0-rc5+build.7"])
def test_every_version_of_the_first_major_is_taken(box: Container, version: str) -> None:
    box.config["ociVersion"] = version
    assert box.probe("spare") == []


def test_unknown_properties_are_ignored_everywhere(box: Container) -> None:
    box.config["unknown"] = {"a": [1, {"b": None}]}
    for part in (
        box.config["process"], box.config["root"], box.config["linux"], box.config["mounts"][0],
        box.config["process"]["user"], box.config["linux"]["namespaces"][0], box.config["linux"]["resources"],
        box.config["process"]["capabilities"],
    ):  # fmt: skip
        part["org.example.unknown"] = "ignored"
    box.config["solaris"] = {"milestone": "x"}
    box.config["windows"] = {"layerFolders": []}
    box.config["vm"] = {"kernel": {"path": "/vmlinux"}}
    assert box.report()["uid"] == 0


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("process.args", "true"),
        ("process.args", [1]),
        ("process.env", {"A": "b"}),
        ("process.user.uid", "root"),
        ("process.user.uid", -1),
        ("process.user.uid", 1 << 32),
        ("process.terminal", "yes"),
        ("root.readonly", "no"),
        ("root.path", 7),
        ("mounts", {}),
        ("mounts", [{"destination": 3}]),
        ("linux.namespaces", [{"type": "nonsense"}]),
        ("linux.namespaces", ["pid"]),
        ("linux.rootfsPropagation", "sideways"),
        ("linux.sysctl", {"net.ipv4.ip_forward": 1}),
        ("hooks", {"prestart": [{"args": ["x"]}]}),
        ("hooks", {"prestart": [{"path": "relative/path"}]}),
        ("annotations", {"key": 1}),
        ("process.rlimits", [{"type": "RLIMIT_NONSENSE", "soft": 1, "hard": 1}]),
        ("process.rlimits", [{"type": "RLIMIT_CORE", "soft": 2, "hard": 1}]),
        ("hostname", 5),
        ("linux.personality", {"domain": "NONSENSE"}),
        ("linux.seccomp", {"defaultAction": "SCMP_ACT_NONSENSE"}),
        ("linux.devices", [{"path": "/dev/x", "type": "q", "major": 1, "minor": 3}]),
        ("linux.resources", {"memory": {"limit": "much"}}),
        ("linux.uidMappings", [{"containerID": 0, "hostID": 0}]),
    ],
    ids=lambda value: str(value)[:40],
)  # fmt: skip
def test_an_invalid_value_is_an_error_before_anything_runs(box: Container, where: str, value: Any) -> None:
    part = box.config
    *way, last = where.split(".")
    for name in way:
        part = part[name]
    part[last] = value
    if last == "uidMappings":
        box.namespace("user")
    box.refused()


def test_a_missing_root_is_an_error(box: Container) -> None:
    del box.config["root"]
    box.refused()


@pytest.mark.parametrize("path", ["no-such-directory", "config.json", ""])
def test_a_root_that_is_no_directory_is_an_error(box: Container, path: str) -> None:
    box.config["root"]["path"] = path
    box.refused()


def test_a_root_may_be_absolute(box: Container) -> None:
    box.config["root"]["path"] = str(box.rootfs)
    (box.rootfs / "data/mine").touch()
    assert box.probe("ls", "/data")[0]["names"] == ["mine"]


def test_a_root_may_be_a_symbolic_link(box: Container) -> None:
    (box.bundle / "link").symlink_to("rootfs")
    box.config["root"]["path"] = "link"
    (box.rootfs / "data/mine").touch()
    assert box.probe("ls", "/data")[0]["names"] == ["mine"]


def test_a_bundle_may_be_a_symbolic_link(box: Container, yard: Yard) -> None:
    (yard.scratch / "link").symlink_to(box.bundle)
    (box.rootfs / "data/mine").touch()
    box.bundle = yard.scratch / "link"
    assert box.probe("ls", "/data")[0]["names"] == ["mine"]


def test_a_readonly_root_cannot_be_written(box: Container) -> None:
    box.config["root"]["readonly"] = True
    said = box.probe("create", "/data/new", ";", "create", "/dev/shm/new", ";", "report")
    assert [one["outcome"] for one in said[:2]] == ["EROFS", "ok"]
    assert "ro" in mounts_of(said[2])["/"]["options"]
    assert not (box.rootfs / "data/new").exists()


def test_a_root_is_writable_unless_asked_otherwise(box: Container) -> None:
    del box.config["root"]["readonly"]
    assert box.probe("create", "/data/new", "text")[0]["outcome"] == "ok"
    assert (box.rootfs / "data/new").read_text() == "text"


def test_nothing_of_the_host_is_seen_but_the_root(box: Container) -> None:
    report, root = box.probe("report", ";", "ls", "/")
    assert sorted(root["names"]) == ["data", "dev", "etc", "log", "probe", "proc", "sys", "tmp"]
    for at, mount in mounts_of(report).items():
        assert at == "/" or at.startswith(("/proc", "/dev", "/sys")), (at, mount)


def test_the_hosts_tree_cannot_be_reached_through_the_root(box: Container) -> None:
    inode = os.stat("/").st_ino, os.stat("/").st_dev
    for one in box.probe("stat", "/..", "/../..", "/proc/1/root", "/proc/self/root/.."):
        assert (one.get("inode"), one.get("device")) != inode


def test_a_bundle_path_with_odd_letters_works(yard: Yard) -> None:
    odd = yard.scratch / "a b,c:d\\e'\"\n ü"
    box = Container(yard, f"{yard.name}-odd", odd)
    yard.containers.append(box)
    (box.rootfs / "data/mine").touch()
    assert box.probe("ls", "/data")[0]["names"] == ["mine"]


def test_without_a_process_create_works_and_start_is_an_error(box: Container) -> None:
    del box.config["process"]
    if box.create().code != 0:
        pytest.skip("refused at create: a runtime may check early")
    assert box.start().code != 0


def test_the_config_may_hold_wide_text(box: Container) -> None:
    box.config["process"]["env"] = ['WORD=grüß 漢字 \U0001f600 \\ " \t end']
    box.config["process"]["args"] = ["/probe", "report", ";", "spare", "grüß"]
    ran = box.run()
    assert ran.code == 0
    assert "gr\\u00c3\\u00bc\\u00c3\\u009f" in ran.out
    assert "\\u00f0\\u009f\\u0098\\u0080" in ran.out


def test_a_large_configuration_is_read_whole(box: Container) -> None:
    box.config["annotations"] = {f"org.example.{number}": "x" * 100 for number in range(5000)}
    box.config["process"]["env"] += [f"V{number}={number}" for number in range(2000)]
    assert "V1999=1999" in box.report()["env"]


def test_the_runtime_says_its_version(box: Container) -> None:
    ran = box.op("--version")
    assert ran.code == 0
    assert "spec" in ran.out


def test_the_runtimes_template_is_a_valid_bundle(box: Container, tmp_path: Path) -> None:
    ran = box.op("spec", "--bundle", str(box.bundle))
    assert ran.code == 0, ran
    import json

    made = json.loads((box.bundle / "config.json").read_text())
    assert made["process"]["args"]
    made["process"]["terminal"] = False
    made["process"]["args"] = ["/probe", "report"]
    made["process"].pop("rlimits", None)
    box.config = made
    assert box.report()["pid"] == 1
