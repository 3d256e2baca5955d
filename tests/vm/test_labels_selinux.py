"""SELinux in a kernel that enforces a policy, a small one of our own: labels of programs, of mounts and of keys."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.conformance.conftest import probe, yard  # noqa: F401 - fixtures
from tests.conformance.rig import Container, Yard, mounts_of
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.needs("vm", "root", "selinux", "cc")
POLICY = Path(__file__).with_name("selinux.conf")
SELINUX = Path("/sys/fs/selinux")
BOX, PUT = "u:r:box_t:s0:c1,c2", "u:r:put_t:s0:c1,c2"
FILES, OTHERS = "u:object_r:boxfile_t:s0:c1,c2", "u:object_r:base_t:s0"
KEYCTL = {"x86_64": 250, "aarch64": 219}[os.uname().machine]
DESCRIBE, SESSION = 6, -3  # keyctl(2)


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Load the policy and enforce it. The guest keeps it to its end."""
    made = tmp_path_factory.mktemp("selinux") / "policy"
    version = (SELINUX / "policyvers").read_text()
    argv = ["checkpolicy", "-M", "-U", "allow", "-c", version, "-o", str(made), str(POLICY)]
    subprocess.run(argv, capture_output=True, check=True, timeout=PATIENCE_S)
    load = os.open(SELINUX / "load", os.O_WRONLY | os.O_CLOEXEC)
    os.write(load, made.read_bytes())
    os.close(load)
    (SELINUX / "enforce").write_text("1")


@pytest.fixture
def box(policy: None, yard: Yard) -> Container:  # noqa: F811 - the fixtures
    """Return a bundle with files of its own and some that are not, and a label for its program."""
    made = yard.container()
    made.config["process"]["selinuxLabel"] = BOX
    for folder, _, names in os.walk(made.rootfs):
        for name in ("", *names):
            os.setxattr(Path(folder, name), "security.selinux", FILES.encode())
    os.setxattr(made.rootfs / "data", "security.selinux", OTHERS.encode())
    return made


def test_without_a_policy_a_label_is_refused(yard: Yard) -> None:  # noqa: F811 - the fixture
    """The kernel would take every label then and do nothing about it. This is the first test: what is loaded stays."""
    assert Path("/proc/self/attr/current").read_bytes().rstrip(b"\0") == b"kernel"
    made = yard.container()
    made.config["process"]["selinuxLabel"] = BOX
    made.refused("no SELinux")


def test_programs_file_systems_and_keys_have_their_labels(box: Container) -> None:
    box.config["linux"] |= {"mountLabel": FILES, "maskedPaths": ["/proc/bus"]}
    lower = box.bundle / ("lower" * 40)  # as long as what clients ask for: it goes by way of a descriptor
    folders = [lower / name for name in ("one", "two", "upper", "work")]
    for folder in folders:
        folder.mkdir(parents=True)
    (folders[0] / "file").write_text("text")
    one, two, upper, work = folders
    options = [f"lowerdir={one}:{two}", f"upperdir={upper}", f"workdir={work}"]
    box.mount("/data", "overlay", "overlay", *options)
    (box.rootfs / "more").mkdir()
    os.setxattr(box.rootfs / "more", "security.selinux", OTHERS.encode())
    key = ("call", str(KEYCTL), str(DESCRIBE), str(SESSION), "0", "0")
    writes = [("create", f"/{place}/x", "text") for place in ("more", "tmp", "data")]
    words = [word for verb in (key, *writes) for word in (*verb, ";")]
    box.config["process"]["args"] = ["/probe", "report", ";", *words, "stay"]
    box.up()
    box.until(verb="stay")
    report, described, *outcomes = box.said()
    assert report["attr/current"].rstrip("\0") == BOX
    assert described["result"] >= 0, described
    assert [one["outcome"] for one in outcomes[:3]] == ["EACCES", "ok", "ok"]
    found = mounts_of(report)
    for place in ("/dev", "/dev/pts", "/dev/shm", "/proc/bus", "/data"):
        assert set(f'context="{FILES}"'.split(",")) <= found[place]["fs_options"], place
    queues = os.getxattr(f"/proc/{box.pid}/root/dev/mqueue", "security.selinux")
    assert queues.rstrip(b"\0").decode() == FILES


def test_exec_has_the_containers_label_or_the_one_that_is_asked_for(box: Container) -> None:
    box.config["process"]["args"] = ["/probe", "report", ";", "stay"]
    box.up()
    box.until(verb="stay")
    for options, label in (((), BOX), (("--process-label", PUT), PUT)):
        ran = box.op("exec", *options, box.id, "/probe", "report")
        assert ran.code == 0, ran
        assert json.loads(ran.out)["attr/current"].rstrip("\0") == label
    ran = box.op("exec", "--process-label", "u:r:none_t:s0", box.id, "/probe", "create", "/tmp/x", "text")
    assert ran.code != 0
    assert "'u:r:none_t:s0' is no label" in ran.err
    assert not list(box.rootfs.glob("tmp/*"))


@pytest.mark.parametrize(
    ("section", "key", "label", "why"),
    [
        ("process", "selinuxLabel", "u:r:none_t:s0", "'u:r:none_t:s0' is no label"),
        ("linux", "mountLabel", "u:object_r:none_t:s0", "the label 'u:object_r:none_t:s0'"),
        ("process", "apparmorProfile", "some-profile", "no AppArmor"),
    ],
)
def test_a_label_that_cannot_be_had_is_refused(
    box: Container, section: str, key: str, label: str, why: str
) -> None:
    box.config[section][key] = label
    assert len(box.refused(why).err.splitlines()) == 2, "one message and what to do about it"
