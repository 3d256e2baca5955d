"""AppArmor in a kernel that enforces it: programs have their profile from the first instruction on, or do not start."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conformance.conftest import probe, yard  # noqa: F401 - fixtures
from tests.conformance.rig import Container, Yard
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.needs("vm", "root", "apparmor", "cc")
HOLDS, ASKED = "redpak-test-holds", "redpak-test-asked"
PROFILE = """
profile {} flags=(attach_disconnected,mediate_deleted) {{
    file,
    signal,
    capability,
    deny /{}/** w,
}}
"""
PROFILES = PROFILE.format(HOLDS, "data") + PROFILE.format(ASKED, "etc")


@pytest.fixture(scope="module", autouse=True)
def _profiles() -> Iterator[None]:
    """Load the profiles of these tests, and take them out again."""
    for how in ("--replace", "--remove"):
        argv = ["/usr/sbin/apparmor_parser", "--quiet", "--skip-cache", how]
        subprocess.run(argv, input=PROFILES.encode(), check=True, timeout=PATIENCE_S)
        if how == "--replace":
            yield


@pytest.fixture
def box(yard: Yard) -> Container:  # noqa: F811 - the fixture
    """Return a bundle whose container is to have the profile that denies writes below /data."""
    made = yard.container()
    made.config["process"]["apparmorProfile"] = HOLDS
    return made


def stays(box: Container) -> Container:
    """Start the container with a program that stays."""
    box.config["process"]["args"] = ["/probe", "report", ";", "stay"]
    box.up()
    box.until(verb="stay")
    return box


def put_in(box: Container, *options: str) -> dict[str, Any]:
    """Run the probe's report inside by `exec`; return it."""
    command = () if "--process" in options else ("/probe", "report")
    ran = box.op("exec", *options, box.id, *command)
    assert ran.code == 0, ran
    found: dict[str, Any] = json.loads(ran.out)
    return found


def cover_proc(box: Container) -> None:
    """Mount something over the container's /proc, as its root could if it had the right to."""
    argv = ["nsenter", "--target", str(box.pid), "--mount", "/probe", "mount", "none", "/proc", "tmpfs", "0"]
    done = subprocess.run(argv, capture_output=True, check=True, timeout=PATIENCE_S)
    assert json.loads(done.stdout)["outcome"] == "ok"


@pytest.mark.parametrize("forbidden", [True, False])
def test_the_first_process_is_confined_with_and_without_new_privileges(
    box: Container, *, forbidden: bool
) -> None:
    box.config["process"]["noNewPrivileges"] = forbidden
    data, tmp = (("create", f"/{place}/x", "text") for place in ("data", "tmp"))
    report, denied, allowed = box.probe("report", ";", *data, ";", *tmp)
    assert report["attr/current"] == f"{HOLDS} (enforce)\n"
    assert report["no_new_privs"] == forbidden
    assert denied["outcome"] == "EACCES"
    assert allowed["outcome"] == "ok"


def test_exec_has_the_containers_profile_or_the_one_that_is_asked_for(box: Container) -> None:
    stays(box)
    assert put_in(box)["attr/current"] == f"{HOLDS} (enforce)\n"
    assert put_in(box, "--apparmor", ASKED)["attr/current"] == f"{ASKED} (enforce)\n"
    document = box.bundle / "process.json"
    for profile in ("", ASKED):
        asked = {
            "args": ["/probe", "report"],
            "cwd": "/",
            "user": {"uid": 0, "gid": 0},
            "apparmorProfile": profile,
        }
        document.write_text(json.dumps({key: value for key, value in asked.items() if value}))
        assert put_in(box, "--process", str(document))["attr/current"] == f"{profile or HOLDS} (enforce)\n"
    ran = box.op("exec", "--apparmor", "redpak-test-none", box.id, "/probe", "create", "/tmp/x", "text")
    assert ran.code != 0
    assert "'redpak-test-none' is not loaded" in ran.err
    assert not list(box.rootfs.glob("tmp/*"))


def test_exec_alone_may_ask_for_a_profile(box: Container) -> None:
    del box.config["process"]["apparmorProfile"]
    stays(box)
    assert put_in(box)["attr/current"] == "unconfined\n"
    assert put_in(box, "--apparmor", HOLDS)["attr/current"] == f"{HOLDS} (enforce)\n"


@pytest.mark.parametrize(
    ("key", "label", "why"),
    [
        ("apparmorProfile", "redpak-test-none", "'redpak-test-none' is not loaded"),
        ("selinuxLabel", "system_u:system_r:container_t:s0", "no SELinux"),
    ],
)
def test_a_label_that_cannot_be_had_is_refused_and_nothing_is_left(
    box: Container, key: str, label: str, why: str
) -> None:
    box.config["process"][key] = label
    ran = box.refused(why)
    assert len(ran.err.splitlines()) == 2, "one message and what to do about it"
    for group in box.yard.groups:
        assert not [at for at in group.iterdir() if at.is_dir()]


def test_hooks_are_confined_only_where_the_containers_own_rights_are_in_force(box: Container) -> None:
    outside = ("prestart", "createRuntime", "createContainer", "poststart", "poststop")
    for phase in (*outside, "startContainer"):
        box.hook(phase, inside=phase == "startContainer")
    assert box.report()["attr/current"] == f"{HOLDS} (enforce)\n"
    seen = {one["phase"]: one["label"] for one in box.hooked()}
    assert seen == dict.fromkeys(outside, "unconfined\n") | {"startContainer": f"{HOLDS} (enforce)\n"}


def test_a_container_without_proc_is_confined(box: Container) -> None:
    box.config["mounts"] = []
    assert box.probe("create", "/data/x", "text")[0]["outcome"] == "EACCES"


def test_what_covers_proc_does_not_keep_a_profile_from_its_program(box: Container) -> None:
    box.user_namespace()
    stays(box)
    cover_proc(box)
    ran = box.op("exec", box.id, "/probe", "create", "/data/x", "text")
    assert json.loads(ran.out)["outcome"] == "EACCES", ran


def test_where_no_procfs_is_to_be_had_nothing_runs_unconfined(box: Container) -> None:
    """In a user namespace nobody may mount procfs where none is seen."""
    box.user_namespace()
    box.config["mounts"] = []
    box.refused("procfs")
