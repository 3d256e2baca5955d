"""config.md, mounts: kinds, order, destinations, and the options one by one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.rig import Container, mounts_of

pytestmark = pytest.mark.needs("root", "cc")


@pytest.fixture
def source(box: Container) -> Path:
    """Return a host directory with a file, a directory, and (in the yard) a mount of its own below."""
    at = box.yard.scratch / "source"
    (at / "sub").mkdir(parents=True)
    (at / "file").write_text("of the host")
    ran = box.yard.call("mount", "-t", "tmpfs", "-o", "size=1m", "below", str(at / "sub"))
    assert ran.code == 0, ran
    return at


def test_a_bind_shows_a_directory_of_the_host(box: Container, source: Path) -> None:
    box.mount("/data", "bind", str(source), "bind", "rw")
    said = box.probe("read", "/data/file", ";", "create", "/data/new", "text", ";", "stat", "/data/sub")
    assert said[0]["text"] == "of the host"
    assert (source / "new").read_text() == "text"


def test_a_bind_is_what_the_option_says_whatever_the_type(box: Container, source: Path) -> None:
    box.mount("/data", "none", str(source), "rbind")
    box.mount("/tmp", "", str(source), "bind")
    assert [one["text"] for one in box.probe("read", "/data/file", "/tmp/file")] == ["of the host"] * 2


def test_a_file_can_be_bound(box: Container, source: Path) -> None:
    box.mount("/etc/new-name", "bind", str(source / "file"), "bind", "ro")
    said = box.probe("read", "/etc/new-name", ";", "write", "/etc/new-name", "x")
    assert said[0]["text"] == "of the host"
    assert said[1]["outcome"] == "EROFS"
    assert (source / "file").read_text() == "of the host"


def test_a_relative_source_lies_in_the_bundle(box: Container) -> None:
    (box.bundle / "mine").mkdir()
    (box.bundle / "mine/file").write_text("of the bundle")
    box.mount("/data", "bind", "mine", "bind")
    assert box.probe("read", "/data/file")[0]["text"] == "of the bundle"


def test_bind_leaves_out_what_is_mounted_below_and_rbind_takes_it(box: Container, source: Path) -> None:
    box.mount("/data", "bind", str(source), "bind")
    box.mount("/tmp", "bind", str(source), "rbind")
    found = mounts_of(box.report())
    assert "/data/sub" not in found
    assert found["/tmp/sub"]["type"] == "tmpfs"


def test_a_mount_that_lacks_its_source_is_an_error(box: Container) -> None:
    box.mount("/data", "bind", "/no/such/source", "bind")
    box.refused()


def test_an_unknown_file_system_is_an_error(box: Container) -> None:
    box.mount("/data", "no-such-fs", "x")
    box.refused()


def test_a_destination_that_is_not_there_is_made(box: Container, source: Path) -> None:
    box.mount("/new/deep/place", "bind", str(source), "bind")
    box.mount("/new/file", "bind", str(source / "file"), "bind")
    assert [one["text"] for one in box.probe("read", "/new/deep/place/file", "/new/file")] == [
        "of the host"
    ] * 2


def test_a_relative_destination_is_below_the_root(box: Container, source: Path) -> None:
    box.mount("data", "bind", str(source), "bind")
    assert box.probe("read", "/data/file")[0]["text"] == "of the host"


def test_mounts_are_made_in_the_listed_order(box: Container, source: Path) -> None:
    box.mount("/data", "tmpfs", "first", "mode=755")
    box.mount("/data/deep", "bind", str(source), "bind")
    box.mount("/tmp/deep", "bind", str(source), "bind")
    box.mount("/tmp", "tmpfs", "last")  # hides the one before
    said = box.probe("read", "/data/deep/file", "/tmp/deep/file")
    assert [one["outcome"] for one in said] == ["ok", "ENOENT"]


@pytest.mark.parametrize("kind", ["absolute", "relative", "up", "chain"])
def test_a_symlinked_destination_stays_inside_the_root(box: Container, source: Path, kind: str) -> None:
    outside = box.yard.scratch / "victim"
    outside.mkdir()
    (box.rootfs / "real").mkdir()
    target = {"absolute": "/real", "relative": "real", "up": "../../../../../real", "chain": "/link2"}[kind]
    (box.rootfs / "link").symlink_to(target)
    (box.rootfs / "link2").symlink_to("/real")
    (box.rootfs / "out").symlink_to(str(outside))
    box.mount("/link/inner", "bind", str(source), "bind")
    said = box.probe("read", "/real/inner/file")
    assert said[0]["text"] == "of the host"
    assert list(outside.iterdir()) == []


def test_a_symlink_to_the_hosts_tree_makes_nothing_there(box: Container, source: Path) -> None:
    outside = box.yard.scratch / "victim"
    outside.mkdir()
    (box.rootfs / "out").symlink_to(str(outside))
    box.mount("/out/made", "bind", str(source), "bind")
    box.run()  # an error and a place below the root are both right
    assert list(outside.iterdir()) == []


OPTIONS: dict[str, tuple[str, str | None]] = {
    # option → in the mount's options, and what it takes away
    "ro": ("ro", "rw"), "rw": ("rw", "ro"), "nosuid": ("nosuid", None), "nodev": ("nodev", None),
    "noexec": ("noexec", None), "noatime": ("noatime", "relatime"), "nodiratime": ("nodiratime", None),
    "relatime": ("relatime", "noatime"), "nosymfollow": ("nosymfollow", None),
}  # fmt: skip


@pytest.mark.parametrize("kind", ["bind", "tmpfs"])
@pytest.mark.parametrize("option", OPTIONS)
def test_each_attribute_of_a_mount_is_set(box: Container, source: Path, option: str, kind: str) -> None:
    if kind == "bind":
        box.mount("/data", "bind", str(source), "bind", option)
    else:
        box.mount("/data", "tmpfs", "tmpfs", option)
    mount = mounts_of(box.report())["/data"]
    present, absent = OPTIONS[option]
    assert present in mount["options"]
    assert absent not in mount["options"]


def test_several_options_for_the_file_system_may_stand_in_one(box: Container) -> None:
    box.mount("/data", "tmpfs", "tmpfs", "size=64k,mode=1700", "", "nosuid")
    mount = mounts_of(box.report())["/data"]
    assert {"size=64k", "mode=1700"} <= mount["fs_options"]
    assert "nosuid" in mount["options"]


@pytest.mark.parametrize(
    ("first", "last", "wanted"),
    [("nosuid", "suid", False), ("nodev", "dev", False), ("noexec", "exec", False), ("noatime", "atime", False),
     ("ro", "rw", False), ("suid", "nosuid", True), ("rw", "ro", True), ("nosuid", "defaults", None)],
)  # fmt: skip
def test_of_two_options_the_last_counts(box: Container, first: str, last: str, wanted: bool | None) -> None:
    box.mount("/data", "tmpfs", "tmpfs", first, last)
    options = mounts_of(box.report())["/data"]["options"]
    if wanted is not None:
        assert ((last if wanted else first) in options) == wanted


@pytest.mark.parametrize("option", ["sync", "dirsync", "lazytime", "mand", "silent", "loud", "async", "nomand",
                                    "nolazytime", "iversion", "noiversion", "diratime", "norelatime", "strictatime",
                                    "nostrictatime", "defaults", "symfollow"])  # fmt: skip
def test_every_other_known_option_is_taken(box: Container, option: str) -> None:
    box.mount("/data", "tmpfs", "tmpfs", option)
    mount = mounts_of(box.report())["/data"]
    assert option not in ("sync", "dirsync", "lazytime") or option in mount["options"] | mount["fs_options"]


def test_unknown_options_go_to_the_file_system(box: Container) -> None:
    box.mount("/data", "tmpfs", "tmpfs", "size=123k", "mode=1750", "nr_inodes=77", "uid=5", "gid=6")
    said = box.probe("stat", "/data")[0]
    assert (said["mode"], said["uid"], said["gid"]) == (0o1750, 5, 6)
    assert said["fs_bytes"] == 124 * 1024  # whole pages
    assert said["fs_files"] == 77


def test_an_option_that_the_file_system_refuses_is_an_error(box: Container) -> None:
    box.mount("/data", "tmpfs", "tmpfs", "no-such-option=1")
    box.refused()


def test_a_tmpfs_is_as_large_as_asked_and_no_larger(box: Container) -> None:
    box.mount("/data", "tmpfs", "tmpfs", "size=64k")
    script = box.probe("create", "/data/a", "x" * 60000, ";", "create", "/data/b", "x" * 60000)
    assert script[0]["result"] == 60000
    assert script[1]["outcome"] == "ENOSPC" or script[1]["result"] < 60000


def test_tmpcopyup_begins_with_what_lay_there(box: Container) -> None:
    (box.rootfs / "data/sub").mkdir()
    (box.rootfs / "data/sub/file").write_text("copied")
    (box.rootfs / "data/link").symlink_to("sub/file")
    os.chmod(box.rootfs / "data/sub", 0o750)
    os.chown(box.rootfs / "data/sub/file", 12, 13)
    box.mount("/data", "tmpfs", "tmpfs", "tmpcopyup")
    said = box.probe(
        "read", "/data/link", ";", "stat", "/data/sub", "/data/sub/file", ";", "create", "/data/n"
    )
    assert said[0]["text"] == "copied"
    assert said[1]["mode"] == 0o750
    assert (said[2]["uid"], said[2]["gid"]) == (12, 13)
    assert not (box.rootfs / "data/n").exists()


def test_remount_changes_an_earlier_mount(box: Container) -> None:
    box.mount("/data", "tmpfs", "tmpfs", "size=1m")
    box.mount("/data", "tmpfs", "tmpfs", "remount", "ro", "size=1m")
    assert box.probe("create", "/data/new")[0]["outcome"] == "EROFS"


@pytest.mark.parametrize(
    ("option", "wanted"),
    [("rro", "ro"), ("rnosuid", "nosuid"), ("rnodev", "nodev"), ("rnoexec", "noexec"), ("rnoatime", "noatime"),
     ("rnodiratime", "nodiratime"), ("rnosymfollow", "nosymfollow")],
)  # fmt: skip
def test_a_recursive_option_reaches_the_mounts_below(
    box: Container, source: Path, option: str, wanted: str
) -> None:
    box.mount("/data", "bind", str(source), "rbind", option)
    found = mounts_of(box.report())
    assert wanted in found["/data"]["options"]
    assert wanted in found["/data/sub"]["options"]


def test_an_option_that_is_not_recursive_leaves_the_mounts_below(box: Container, source: Path) -> None:
    box.mount("/data", "bind", str(source), "rbind", "ro")
    said = box.probe("create", "/data/new", ";", "create", "/data/sub/new", ";", "report")
    assert [one["outcome"] for one in said[:2]] == ["EROFS", "ok"]


def test_a_recursive_option_clears_what_a_mount_below_had(box: Container, source: Path) -> None:
    assert box.yard.call("mount", "-o", "remount,bind,ro", str(source / "sub")).code == 0
    box.mount("/data", "bind", str(source), "rbind", "rrw")
    assert box.probe("create", "/data/sub/new")[0]["outcome"] == "ok"


@pytest.mark.parametrize(("option", "undo"), [("rro", "rrw"), ("rnoexec", "rexec"), ("rnosuid", "rsuid"),
                                              ("rnodev", "rdev")])  # fmt: skip
def test_a_recursive_option_can_be_taken_back(box: Container, source: Path, option: str, undo: str) -> None:
    box.mount("/data", "bind", str(source), "rbind", option, undo)
    found = mounts_of(box.report())
    assert option[1:] not in found["/data/sub"]["options"]


@pytest.mark.parametrize(("option", "tag"), [
    ("private", ""), ("rprivate", ""), ("slave", "master:"), ("rslave", "master:"), ("shared", "shared:"),
    ("rshared", "shared:"), ("unbindable", "unbindable"), ("runbindable", "unbindable"),
])  # fmt: skip
def test_the_propagation_of_a_mount_is_the_configured_one(
    box: Container, source: Path, option: str, tag: str
) -> None:
    box.yard.call("mount", "--bind", str(source), str(source))
    box.yard.call("mount", "--make-rshared", str(source))
    box.config["linux"]["rootfsPropagation"] = "slave" if "slave" in option else "shared"
    box.mount("/data", "bind", str(source), "rbind", option)
    tags = mounts_of(box.report())["/data"]["tags"]
    if tag:
        assert any(one.startswith(tag) for one in tags), tags
    else:
        assert not [one for one in tags if one.startswith(("shared", "master", "unbindable"))]


def test_the_usual_file_systems_are_there(box: Container) -> None:
    found = mounts_of(box.report())
    kinds = {"/proc": "proc", "/dev": "tmpfs", "/dev/pts": "devpts", "/dev/shm": "tmpfs", "/dev/mqueue": "mqueue",
             "/sys": "sysfs"}  # fmt: skip
    assert {at: found[at]["type"] for at in kinds} == kinds
    for option in ("nosuid", "noexec", "nodev", "ro"):
        assert option in found["/sys"]["options"]
    assert "mode=620" in found["/dev/pts"]["fs_options"]
    assert "ptmxmode=666" in found["/dev/pts"]["fs_options"]


@pytest.mark.parametrize("mode", ["ro", "rw"])
@pytest.mark.parametrize("space", ["own", "callers"])
def test_a_cgroup_mount_shows_the_containers_own_cgroup(box: Container, mode: str, space: str) -> None:
    if space == "own":
        box.namespace("cgroup")
    box.mount("/sys/fs/cgroup", "cgroup", "cgroup", "nosuid", "noexec", "nodev", "relatime", mode)
    report, listing = box.probe("report", ";", "ls", "/sys/fs/cgroup")
    mounts = {at: one for at, one in mounts_of(report).items() if at.startswith("/sys/fs/cgroup/")}
    kinds = [one for one in mounts.values() if one["type"] in ("cgroup", "cgroup2")]
    if "cgroup.procs" not in listing["names"]:
        assert kinds
        assert all((mode in one["options"]) for one in kinds)
        assert {"memory", "pids", "devices"} <= set(listing["names"])


def test_an_overlay_can_be_mounted(box: Container) -> None:
    for name in ("lower", "upper", "work"):
        (box.yard.scratch / name).mkdir()
    (box.yard.scratch / "lower/file").write_text("lower")
    options = [f"{kind}dir={box.yard.scratch}/{kind}" for kind in ("lower", "upper", "work")]
    box.mount("/data", "overlay", "overlay", *options)
    said = box.probe("read", "/data/file", ";", "create", "/data/new", "x")
    assert said[0]["text"] == "lower"
    assert (box.yard.scratch / "upper/new").read_text() == "x"


def idmap(outside: int) -> dict[str, Any]:
    """Return mappings in which the ids from 0 are those from `outside`."""
    one = [{"containerID": 0, "hostID": outside, "size": 65536}]
    return {"uidMappings": one, "gidMappings": one}


@pytest.mark.parametrize("option", ["idmap", "ridmap", ""])
def test_an_id_mapped_mount_shows_other_owners(box: Container, option: str) -> None:
    given = box.yard.scratch / "given"
    given.mkdir()
    (given / "file").write_text("x")
    os.chown(given / "file", 7, 8)
    box.user_namespace(base=200000)
    given.chmod(0o755)
    words = [word for word in ("bind", option) if word]
    box.mount("/data", "bind", str(given), *words, **idmap(200000))
    said = box.probe("stat", "/data/file", ";", "create", "/data/new")
    assert (said[0]["uid"], said[0]["gid"]) == (7, 8)
    assert said[1]["outcome"] == "ok"
    assert ((given / "new").stat().st_uid, (given / "new").stat().st_gid) == (0, 0)
