"""config-linux.md: masked and read-only paths, the root's propagation."""

from __future__ import annotations

import os

import pytest

from tests.conformance.rig import Container, mounts_of

pytestmark = pytest.mark.needs("root", "cc")


def test_a_masked_file_reads_as_empty(box: Container) -> None:
    (box.rootfs / "data/secret").write_text("secret")
    box.config["linux"]["maskedPaths"] = ["/data/secret"]
    said = box.probe("read", "/data/secret", ";", "write", "/data/secret", "x", ";", "unlink", "/data/secret")
    assert said[0]["text"] == ""
    assert said[2]["outcome"] != "ok"
    assert (box.rootfs / "data/secret").read_text() == "secret"


def test_a_masked_directory_is_empty_and_cannot_be_written(box: Container) -> None:
    (box.rootfs / "data/deep").mkdir()
    (box.rootfs / "data/deep/secret").write_text("secret")
    box.config["linux"]["maskedPaths"] = ["/data/deep"]
    said = box.probe("ls", "/data/deep", ";", "read", "/data/deep/secret", ";", "create", "/data/deep/new")
    assert said[0]["names"] == []
    assert said[1]["outcome"] == "ENOENT"
    assert said[2]["outcome"] == "EROFS"


def test_paths_of_proc_and_sys_can_be_masked(box: Container) -> None:
    box.config["linux"]["maskedPaths"] = [
        "/proc/kcore",
        "/proc/keys",
        "/proc/timer_list",
        "/proc/acpi",
        "/sys/firmware",
    ]
    said = box.probe("read", "/proc/keys", "/proc/timer_list", ";", "ls", "/sys/firmware")
    assert [one["text"] for one in said[:2]] == ["", ""]
    assert said[2]["names"] == []


def test_a_masked_path_that_is_not_there_is_no_matter(box: Container) -> None:
    box.config["linux"]["maskedPaths"] = ["/no/such/path", "/data/none"]
    box.config["linux"]["readonlyPaths"] = ["/no/such/path", "/data/none"]
    assert box.probe("stat", "/no")[0]["outcome"] == "ENOENT"


def test_a_readonly_path_cannot_be_written(box: Container) -> None:
    (box.rootfs / "data/file").write_text("kept")
    (box.rootfs / "data/deep").mkdir()
    box.config["linux"]["readonlyPaths"] = ["/data/file", "/data/deep", "/proc/sys"]
    said = box.probe("write", "/data/file", "x", ";", "create", "/data/deep/new", ";", "create", "/data/new", ";",
                     "write", "/proc/sys/kernel/hostname", "x", ";", "read", "/data/file")  # fmt: skip
    assert [one["outcome"] for one in said] == ["EROFS", "EROFS", "ok", "EROFS", "ok"]
    assert said[4]["text"] == "kept"


def test_a_readonly_path_keeps_the_other_attributes(box: Container) -> None:
    box.mount("/data", "tmpfs", "tmpfs", "nosuid", "nodev", "noexec", "size=64k")
    box.config["linux"]["readonlyPaths"] = ["/data"]
    options = mounts_of(box.report())["/data"]["options"]
    assert {"ro", "nosuid", "nodev", "noexec"} <= options


def test_masks_and_readonly_paths_reach_into_mounts(box: Container) -> None:
    given = box.yard.scratch / "given"
    (given / "sub").mkdir(parents=True)
    (given / "sub/file").write_text("kept")
    (given / "secret").write_text("secret")
    box.mount("/data", "bind", str(given), "rbind", "rw")
    box.config["linux"]["readonlyPaths"] = ["/data/sub"]
    box.config["linux"]["maskedPaths"] = ["/data/secret"]
    said = box.probe("write", "/data/sub/file", "x", ";", "read", "/data/secret")
    assert said[0]["outcome"] == "EROFS"
    assert said[1]["text"] == ""
    assert (given / "secret").read_text() == "secret"


@pytest.mark.parametrize("what", ["maskedPaths", "readonlyPaths"])
def test_a_symlinked_path_is_followed_inside_the_root_only(box: Container, what: str) -> None:
    victim = box.yard.scratch / "victim"
    victim.mkdir()
    (victim / "file").write_text("the host's")
    (box.rootfs / "data/link").symlink_to(str(victim))
    box.config["linux"][what] = ["/data/link"]
    box.run()
    assert (victim / "file").read_text() == "the host's"
    mounts = box.yard.call("cat", "/proc/self/mountinfo").out
    assert str(victim) not in mounts


def test_a_path_behind_a_symlink_inside_is_masked_or_read_only(box: Container) -> None:
    (box.rootfs / "data/secret").write_text("secret")
    (box.rootfs / "data/kept").write_text("kept")
    (box.rootfs / "etc/absolute").symlink_to("/data/secret")
    (box.rootfs / "etc/relative").symlink_to("../data/kept")
    (box.rootfs / "etc/nowhere").symlink_to("/nowhere")
    box.config["linux"]["maskedPaths"] = ["/etc/absolute", "/etc/nowhere"]
    box.config["linux"]["readonlyPaths"] = ["/etc/relative", "/etc/nowhere"]
    said = box.probe("read", "/data/secret", ";", "write", "/data/kept", "x")
    assert said[0]["text"] == ""
    assert said[1]["outcome"] == "EROFS"


def test_a_symlink_that_leads_to_itself_is_an_error(box: Container) -> None:
    (box.rootfs / "etc/loop").symlink_to("../etc/loop")
    box.config["linux"]["maskedPaths"] = ["/etc/loop"]
    box.refused()


def test_the_root_may_be_a_readonly_path_and_nothing_of_the_host_is_seen(box: Container) -> None:
    (box.rootfs / "here").touch()
    box.config["linux"]["readonlyPaths"] = ["/"]
    said = box.probe("create", "/new", ";", "ls", "/..", "/", ";", "report")
    assert said[0]["outcome"] == "EROFS"
    assert "here" in said[1]["names"]
    assert sorted(said[1]["names"]) == sorted(said[2]["names"])
    assert mounts_of(said[3])["/"]["root"].endswith("/rootfs")
    assert "/sys/fs/cgroup" not in mounts_of(said[3])


@pytest.mark.parametrize("what", ["maskedPaths", "readonlyPaths"])
def test_such_paths_must_be_absolute(box: Container, what: str) -> None:
    (box.rootfs / "data/file").touch()
    box.config["linux"][what] = ["data/file"]
    box.refused()


PROPAGATION = {"shared": "shared:", "slave": "", "private": "", "unbindable": "unbindable"}


@pytest.mark.parametrize("kind", [one for name in PROPAGATION for one in (name, f"r{name}")])
def test_the_propagation_of_the_root_is_the_configured_one(box: Container, kind: str) -> None:
    box.config["linux"]["rootfsPropagation"] = kind
    tags = mounts_of(box.report())["/"]["tags"]
    wanted = PROPAGATION[kind[1:] if kind[1:] in PROPAGATION else kind]
    if wanted:
        assert any(tag.startswith(wanted) for tag in tags), tags
    else:
        assert not [tag for tag in tags if tag.startswith(("shared:", "unbindable"))]


def test_a_shared_root_does_not_show_the_containers_mounts_outside(box: Container) -> None:
    box.yard.call("mount", "--make-rshared", str(box.yard.scratch))
    for kind in ("slave", "private"):
        box.config["linux"]["rootfsPropagation"] = kind
        box.config["process"]["args"] = ["/probe", "stay"]
        box.up()
        outside = box.yard.call("cat", "/proc/self/mountinfo").out
        assert f"{box.rootfs}/proc" not in outside
        box.kill("KILL")
        box.wait()
        assert box.delete().code == 0


def test_mounts_of_the_host_reach_a_slave(box: Container) -> None:
    given = box.yard.scratch / "given"
    given.mkdir()
    box.yard.call("mount", "-t", "tmpfs", "none", str(given))
    box.yard.call("mount", "--make-shared", str(given))
    (sub := f"{given}/sub")
    box.yard.call("mkdir", sub)
    box.config["linux"]["rootfsPropagation"] = "slave"
    box.mount("/data", "bind", str(given), "rbind", "rslave")
    box.config["process"]["args"] = ["/probe", "stay"]
    box.up()
    box.until(verb="stay")
    assert box.yard.call("mount", "-t", "tmpfs", "later", sub).code == 0
    with open(f"/proc/{box.pid}/mountinfo") as lines:
        assert any(line.split()[4] == "/data/sub" for line in lines)


def test_a_private_container_shares_nothing_with_the_host(box: Container) -> None:
    box.config["process"]["args"] = ["/probe", "stay"]
    box.up()
    own = os.readlink(f"/proc/{box.pid}/ns/mnt")
    assert own != os.readlink(f"/proc/{box.yard.keeper.pid}/ns/mnt")
    with open(f"/proc/{box.pid}/mountinfo") as lines:
        assert not [line for line in lines if " shared:" in line]
