"""config-linux.md: default devices and links, devices that are asked for, and who may use which."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.conformance.rig import Container, hierarchies

pytestmark = pytest.mark.needs("root", "cc")
DEFAULT = {
    "/dev/null": (1, 3), "/dev/zero": (1, 5), "/dev/full": (1, 7), "/dev/random": (1, 8), "/dev/urandom": (1, 9),
    "/dev/tty": (5, 0),
}  # fmt: skip
LINKS = {
    "/dev/fd": "/proc/self/fd", "/dev/stdin": "/proc/self/fd/0", "/dev/stdout": "/proc/self/fd/1",
    "/dev/stderr": "/proc/self/fd/2",
}  # fmt: skip
MKNOD = 0o666


@pytest.mark.parametrize("path", DEFAULT)
def test_the_default_devices_are_there_and_work(box: Container, path: str) -> None:
    said = box.probe("stat", path, ";", "open", path, "0")
    assert said[0]["kind"] == "c"
    assert (said[0]["major"], said[0]["minor"]) == DEFAULT[path]
    assert said[0]["mode"] == 0o666
    assert (said[0]["uid"], said[0]["gid"]) in ((0, 0), (0, 5))
    assert said[1]["outcome"] == ("ENXIO" if path == "/dev/tty" else "ok")


@pytest.mark.parametrize("path", LINKS)
def test_the_default_links_are_there(box: Container, path: str) -> None:
    assert box.probe("stat", path)[0]["target"] == LINKS[path]


def test_ptmx_leads_to_the_containers_own_terminals(box: Container) -> None:
    said = box.probe("stat", "/dev/ptmx", ";", "open", "/dev/ptmx", "2")
    assert said[0]["target"] in ("pts/ptmx", "/dev/pts/ptmx") or said[0]["kind"] == "c"
    assert said[1]["outcome"] == "ok"


def test_writing_to_full_fails_and_null_swallows(box: Container) -> None:
    said = box.probe("write", "/dev/full", "x", ";", "write", "/dev/null", "x", ";", "read", "/dev/null")
    assert [one["outcome"] for one in said] == ["ENOSPC", "ok", "ok"]


def test_no_other_device_is_there(box: Container) -> None:
    names = set(box.probe("ls", "/dev")[0]["names"])
    assert names <= {"null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts", "shm", "mqueue", "fd", "stdin",
                     "stdout", "stderr", "console", "core"}  # fmt: skip


def device(path: str, kind: str, major: int = 0, minor: int = 0, **more: Any) -> dict[str, Any]:
    """Return one entry of linux.devices."""
    numbers = {} if kind == "p" else {"major": major, "minor": minor}
    return {"path": path, "type": kind, **numbers, **more}


def test_devices_that_are_asked_for_are_made_as_asked(box: Container) -> None:
    box.config["linux"]["devices"] = [
        device("/dev/char", "c", 10, 229, fileMode=0o640, uid=11, gid=12),
        device("/dev/unbuffered", "u", 10, 200, fileMode=0o600),
        device("/dev/block", "b", 7, 99, fileMode=0o660, uid=0, gid=6),
        device("/dev/pipe", "p", fileMode=0o622),
        device("/dev/deep/in/here", "c", 1, 3),
        device("/outside-dev", "c", 1, 5, fileMode=0o444),
    ]
    names = ("/dev/char", "/dev/unbuffered", "/dev/block", "/dev/pipe", "/dev/deep/in/here", "/outside-dev")
    one = {each["path"]: each for each in box.probe("stat", *names)}

    def shape(path: str) -> tuple[Any, ...]:
        return tuple(one[path][name] for name in ("kind", "major", "minor", "mode", "uid", "gid"))

    assert shape("/dev/char") == ("c", 10, 229, 0o640, 11, 12)
    assert shape("/dev/unbuffered") == ("c", 10, 200, 0o600, 0, 0)
    assert shape("/dev/block") == ("b", 7, 99, 0o660, 0, 6)
    assert shape("/dev/pipe")[0] == "p"
    assert shape("/dev/pipe")[3:] == (0o622, 0, 0)
    assert shape("/dev/deep/in/here")[:3] == ("c", 1, 3)
    assert shape("/outside-dev")[:4] == ("c", 1, 5, 0o444)


def test_the_mode_of_a_device_does_not_depend_on_the_callers_umask(box: Container) -> None:
    import os

    box.config["linux"]["devices"] = [device("/dev/char", "c", 10, 229, fileMode=0o666)]
    said = box.probe("stat", "/dev/char", "/dev/null", before=lambda: os.umask(0o077) and None)
    assert [one["mode"] for one in said] == [0o666, 0o666]


def test_a_default_device_may_be_configured(box: Container) -> None:
    box.config["linux"]["devices"] = [device("/dev/full", "c", 1, 7, fileMode=0o600, uid=3, gid=4)]
    said = box.probe("stat", "/dev/full")[0]
    assert (said["major"], said["minor"]) == (1, 7)


def test_a_device_that_is_not_allowed_cannot_be_used(box: Container) -> None:
    box.config["linux"]["devices"] = [device("/dev/char", "c", 1, 11, fileMode=0o666)]  # /dev/kmsg
    box.config["linux"]["resources"] = {"devices": [{"allow": False, "access": "rwm"}]}
    said = box.probe(
        "open", "/dev/char", "0", ";", "mknod", "/data/node", "c", "1", "11", ";", "open", "/dev/null", "2"
    )
    assert said[0]["outcome"] == "EPERM"
    assert said[2]["outcome"] == "ok"


def test_the_rules_for_devices_count_in_their_order(box: Container) -> None:
    box.config["linux"]["devices"] = [device("/dev/one", "c", 10, 229), device("/dev/two", "c", 1, 11)]
    box.config["linux"]["resources"] = {"devices": [
        {"allow": False, "access": "rwm"},
        {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "r"},
        {"allow": True, "type": "c", "major": 1, "minor": 11, "access": "rw"},
        {"allow": False, "type": "c", "major": 1, "minor": 11, "access": "rw"},
    ]}  # fmt: skip
    said = box.probe("open", "/dev/one", "0", ";", "open", "/dev/one", "2", ";", "open", "/dev/two", "0")
    assert said[0]["outcome"] != "EPERM"
    assert said[1]["outcome"] == "EPERM"
    assert said[2]["outcome"] == "EPERM"


def test_the_list_of_version_1_says_what_was_asked_for(box: Container) -> None:
    rules = [("c", 10, 229, "rwm"), ("b", 8, 20, "rw"), ("b", 10, 200, "r")]
    given = [{"allow": True, "type": t, "major": a, "minor": b, "access": how} for t, a, b, how in rules]
    box.config["linux"]["resources"] = {"devices": [{"allow": False, "access": "rwm"}, *given]}
    box.config["process"]["args"] = ["/probe", "stay"]
    box.up()
    at = group_of_process(box.pid)
    if at is None:
        pytest.skip("this host has no version 1 of the devices controller")
    listed = (at / "devices.list").read_text().splitlines()
    assert {f"{t} {a}:{b} {how}" for t, a, b, how in rules} <= set(listed)


def group_of_process(pid: int) -> Path | None:
    """Return the directory of a process's group in version 1's hierarchy of the devices controller."""
    for names, (at, _) in hierarchies().items():
        if "devices" in names.split(","):
            for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
                if line.split(":")[1] == names:
                    return Path(at + line.split(":", 2)[2])
    return None


def test_a_device_on_a_symlink_of_the_root_is_not_made_elsewhere(box: Container) -> None:
    victim = box.yard.scratch / "victim"
    victim.mkdir()
    (box.rootfs / "out").symlink_to(str(victim))
    box.config["linux"]["devices"] = [device("/out/node", "c", 1, 3)]
    box.run()
    assert list(victim.iterdir()) == []
