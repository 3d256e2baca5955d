"""A container without a mount namespace of its own: what it mounts is seen by its caller, and all of it goes again."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Ran
from tests.host.oci_site import DEFAULT_MOUNTS, Site
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.needs("root", "program:busybox")
FOREVER = ("sleep", "1000")
QUIET: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
MOUNTS: list[dict[str, Any]] = json.loads(json.dumps(DEFAULT_MOUNTS))
NEWNS = 0x20000
LIBC = ctypes.CDLL(None, use_errno=True)
KEEP = """
mount --bind "$1" "$1" && mount --make-private "$1" && mount -o remount,bind,ro / && echo ready && read word
"""


class Yard(Site):
    """A site whose every command is run in a mount namespace in which all but the test's folder is read-only."""

    def __init__(self, scratch: Path, *, propagation: str = "private") -> None:
        super().__init__(scratch)
        self.others: frozenset[str] = frozenset()
        self.keeper = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "sh", "-c", KEEP, "sh", str(scratch)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert self.keeper.stdout
        assert self.keeper.stdout.readline() == b"ready\n"
        if propagation == "shared":
            assert self.inside("mount", "--make-shared", str(scratch)).code == 0
        inside = str(scratch)
        self.others = frozenset(  # those that may go: somebody removes their directory who does not see them
            line
            for line in self.table()
            if (at := line.split()[4]) != inside and not at.startswith(f"{inside}/")
        )
        self.before = self.table()

    def enter(self) -> None:
        """Go into the namespace: called in a child."""
        fd = os.open(f"/proc/{self.keeper.pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        if LIBC.setns(fd, NEWNS):
            raise OSError(ctypes.get_errno(), "setns")
        os.close(fd)

    def __call__(self, *words: str | Path, stdin: bytes = b"", env: dict[str, str] | None = None) -> Ran:
        """Run a command to its end; what it says goes into files."""
        out, err = self.scratch / "out", self.scratch / "err"
        argv = [*self.argv, *map(str, words)]
        with out.open("wb") as to, err.open("wb") as wrong:
            done = subprocess.run(argv, input=stdin, stdout=to, stderr=wrong, timeout=PATIENCE_S, check=False,
                                  env={**self.environ(), **(env or {})}, preexec_fn=self.enter)  # fmt: skip
        return Ran(
            argv, subprocess.CompletedProcess(argv, done.returncode, out.read_bytes(), err.read_bytes())
        )

    def inside(self, *argv: str) -> Ran:
        """Run a program of the host's in the namespace."""
        done = subprocess.run(
            argv, capture_output=True, timeout=PATIENCE_S, check=False, preexec_fn=self.enter
        )
        return Ran(list(argv), done)

    def popen(self, *words: str | Path, **more: Any) -> subprocess.Popen[bytes]:
        """Start a command and stay beside it."""
        return super().popen(*words, preexec_fn=self.enter, **more)

    def bundle(self, name: str, *args: str, **changes: Any) -> Path:
        """Make a bundle without a mount namespace, unless `space` is the path of one."""
        space = changes.pop("space", "")
        at = super().bundle(name, *args, **changes)
        file = at / "config.json"
        config = json.loads(file.read_text())
        spaces = [one for one in config["linux"]["namespaces"] if one["type"] != "mount"]
        config["linux"]["namespaces"] = [*spaces, *([{"type": "mount", "path": space}] if space else [])]
        file.write_text(json.dumps(config))
        return at

    def table(self, pid: int = 0) -> list[str]:
        """Return the mounts that the namespace has; of this site's own one without those that the host had before."""
        lines = Path(f"/proc/{pid or self.keeper.pid}/mountinfo").read_text().splitlines()
        return sorted(line for line in lines if line not in self.others)

    def points(self) -> list[str]:
        """Return the mount points that there are more than before."""
        return [line.split()[4] for line in self.table() if line not in self.before]

    def clean(self) -> None:
        """See that nothing is left, neither containers nor mounts."""
        try:
            super().clean()
            assert self.table() == self.before
        finally:
            self.keeper.kill()
            self.keeper.communicate()


@pytest.fixture(params=["private", "shared"])
def oci(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Yard]:
    host = Path("/proc/self/mountinfo").read_text().count(str(tmp_path))
    site = Yard(tmp_path, propagation=request.param)
    yield site
    site.clean()
    assert Path("/proc/self/mountinfo").read_text().count(str(tmp_path)) == host


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Yard]:
    site = Yard(tmp_path)
    yield site
    site.clean()


def test_everything_is_mounted_beneath_the_root_and_gone_after_delete(oci: Yard) -> None:
    oci.create("a", *FOREVER)
    root = str(oci.rootfs)
    assert set(oci.points()) == {root, *(f"{root}{one['destination']}" for one in MOUNTS)}
    pid = oci.state("a")["pid"]
    assert os.readlink(f"/proc/{pid}/root") == root
    assert os.readlink(f"/proc/{pid}/ns/mnt") == os.readlink(f"/proc/{oci.keeper.pid}/ns/mnt")
    assert oci("start", "a").code == 0
    assert oci("kill", "a", "KILL").code == 0
    oci.ended("a", pid)
    gone = oci("delete", "a")
    assert gone.code == 0, gone
    assert oci.table() == oci.before


def test_run_takes_everything_away(oci: Yard) -> None:
    ran = oci.run("a", "sh", "-c", "echo /*; cat /proc/self/mountinfo")
    assert ran.code == 0, ran
    assert ran.out.split("\n")[0].split() == [f"/{one.name}" for one in sorted(oci.rootfs.iterdir())]
    assert oci.table() == oci.before


def test_the_mounts_of_a_container_reach_no_other_namespace(tmp_path: Path) -> None:
    """Of a shared mount the root's own spreads, as it must, and goes with it; nothing that lies in there does."""
    oci = Yard(tmp_path, propagation="shared")
    with subprocess.Popen(["unshare", "--mount", "--propagation", "unchanged", "sh", "-c", "echo ready; read word"],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE, preexec_fn=oci.enter) as peer:  # fmt: skip
        try:
            assert peer.stdout
            peer.stdout.readline()
            before = oci.table(peer.pid)
            oci.create("a", *FOREVER)
            seen = [line.split()[4] for line in oci.table(peer.pid) if line not in before]
            assert [one for one in seen if one != str(oci.rootfs)] == []
            assert oci("delete", "--force", "a").code == 0
            assert oci.table(peer.pid) == before
        finally:
            peer.kill()
            oci.clean()


@pytest.mark.parametrize("number", range(len(MOUNTS) + 1))
def test_a_creation_that_fails_at_any_mount_leaves_none(alone: Yard, number: int) -> None:
    bad = {"destination": "/bad", "type": "bind", "source": "/no/such/source", "options": ["rbind"]}
    mounts = [*MOUNTS[:number], bad, *MOUNTS[number:]]
    made = alone("create", "--bundle", alone.bundle("a", *FOREVER, mounts=mounts), "a")
    assert made.code != 0
    assert "/no/such/source" in made.err
    assert alone.table() == alone.before
    assert alone("state", "a").code == 1


def test_a_creation_that_fails_after_the_mounts_leaves_none(alone: Yard) -> None:
    for changes in (
        {"hooks": {"createContainer": [{"path": "/bin/false"}]}},
        {"hooks": {"createRuntime": [{"path": "/bin/false"}]}},
        {"process": {"args": ["/no/such/program"]}},
        {"process": {"args": ["true"], "cwd": "/bin/busybox"}},
    ):
        made = alone("create", "--bundle", alone.bundle("a", *FOREVER, **changes), "a")
        assert made.code != 0, changes
        assert alone.table() == alone.before, changes


def test_a_symbolic_link_leads_no_mount_out_of_the_root(alone: Yard) -> None:
    outside = alone.scratch / "outside"
    outside.mkdir()
    for name in ("data", "deep"):
        (alone.rootfs / name).symlink_to(outside)
    (alone.rootfs / "up").symlink_to("../../../../../..")
    mounts = [
        *MOUNTS,
        {"destination": "/data", "type": "tmpfs", "source": "tmpfs"},
        {"destination": "/deep/er", "type": "tmpfs", "source": "tmpfs"},
        {"destination": "/up/etc", "type": "tmpfs", "source": "tmpfs"},
    ]
    alone.create("a", *FOREVER, mounts=mounts)
    assert all(one == str(alone.rootfs) or one.startswith(f"{alone.rootfs}/") for one in alone.points())
    assert list(outside.iterdir()) == []
    assert alone("delete", "--force", "a").code == 0


def test_what_is_mounted_in_the_containers_root_goes_with_it(alone: Yard) -> None:
    """It hangs on the container's own mount, also where it lies over all of it."""
    alone.create("a", *FOREVER)
    for at in ("etc", ".", "."):
        assert alone.inside("mount", "-t", "tmpfs", "none", str(alone.rootfs / at)).code == 0
    assert alone.points().count(str(alone.rootfs)) == 3
    assert alone("delete", "--force", "a").code == 0
    assert alone.table() == alone.before


def test_what_somebody_mounts_beside_the_root_stays(alone: Yard) -> None:
    """Also over the root directory once the container's own mount is gone: the record is of a number, not a place."""
    alone.create("a", *FOREVER)
    beside = alone.scratch / "beside"
    beside.mkdir()
    assert alone.inside("mount", "-t", "tmpfs", "none", str(beside)).code == 0
    assert alone.inside("umount", "-l", str(alone.rootfs)).code == 0
    assert alone.inside("mount", "-t", "tmpfs", "mine", str(alone.rootfs)).code == 0
    gone = alone("delete", "--force", "a")
    assert gone.code == 0, gone
    assert sorted(alone.points()) == sorted([str(beside), str(alone.rootfs)])
    assert alone.inside("umount", str(beside), str(alone.rootfs)).code == 0


def test_a_container_whose_mounts_are_hidden_is_not_forgotten(alone: Yard) -> None:
    at = alone.scratch / "place"
    at.mkdir()
    alone.rootfs.rename(at / "rootfs")
    alone.rootfs = at / "rootfs"
    alone.create("a", *FOREVER)
    assert alone.inside("mount", "-t", "tmpfs", "none", str(at)).code == 0
    gone = alone("delete", "--force", "a")
    assert gone.code == 1
    assert "another mount hides" in gone.err
    assert alone.inside("umount", str(at)).code == 0
    assert alone("delete", "--force", "a").code == 0
    assert alone.table() == alone.before


def test_delete_finds_the_mounts_from_another_namespace(alone: Yard) -> None:
    alone.create("a", *FOREVER)
    gone = Site.__call__(alone, "delete", "--force", "a")  # where this test is
    assert gone.code == 0, gone
    assert alone.table() == alone.before


def test_a_joined_namespace_is_left_as_it_was(alone: Yard) -> None:
    with subprocess.Popen(["unshare", "--mount", "--propagation", "private", "sh", "-c", "echo ready; read word"],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE, preexec_fn=alone.enter) as other:  # fmt: skip
        try:
            assert other.stdout
            other.stdout.readline()
            before = alone.table(other.pid)
            alone.create("a", *FOREVER, space=f"/proc/{other.pid}/ns/mnt")
            assert alone.table() == alone.before
            assert len(alone.table(other.pid)) > len(before)
            assert os.readlink(f"/proc/{other.pid}/root") == "/"
            ran = alone("exec", "a", "sh", "-c", "echo /bin/busy*")
            assert ran.out == "/bin/busybox\n", ran
            assert alone("delete", "--force", "a").code == 0
            assert alone.table(other.pid) == before
        finally:
            other.kill()


def test_the_hosts_root_is_refused(alone: Yard) -> None:
    link = alone.scratch / "link"
    link.symlink_to("/")
    for path in ("/", str(link), "/tmp/.."):
        made = alone("create", "--bundle", alone.bundle("a", *FOREVER, root={"path": path}), "a")
        assert made.code != 0
        assert "host's own root" in made.err
        assert alone.table() == alone.before


@pytest.mark.parametrize("word", ["shared", "rslave", "unbindable"])
def test_a_propagation_that_cannot_be_had_is_refused(alone: Yard, word: str) -> None:
    made = alone("create", "--bundle", alone.bundle("a", *FOREVER, linux={"rootfsPropagation": word}), "a")
    assert made.code != 0
    assert "rootfsPropagation" in made.err


def test_masked_and_read_only_paths_hold(alone: Yard) -> None:
    ran = alone.run("a", "sh", "-c", "cat /etc/secret; echo x >/run/file; true",
                    linux={"maskedPaths": ["/etc/secret"], "readonlyPaths": ["/run"]})  # fmt: skip
    assert ran.code == 0, ran
    assert "Read-only" in ran.err
    (alone.rootfs / "etc" / "secret").write_text("secret")
    ran = alone.run("b", "cat", "/etc/secret", linux={"maskedPaths": ["/etc/secret"]})
    assert (ran.code, ran.out) == (0, "")


@pytest.mark.slow
@pytest.mark.parametrize("command", ["create", "delete"])
def test_a_command_may_be_killed_at_any_moment(alone: Yard, command: str) -> None:
    began = time.monotonic()
    assert alone.run("probe", "true").code == 0
    whole_s = time.monotonic() - began
    for number in range(12):
        name = f"a{number}"
        if command == "delete":
            alone.create(name, *FOREVER)
        bundle = alone.bundle(name, *FOREVER)
        words: dict[str, list[str | Path]] = {
            "create": ["create", "--bundle", bundle, name],
            "delete": ["delete", "--force", name],
        }
        with alone.popen(*words[command], **QUIET) as one:
            time.sleep(random.uniform(0, whole_s))  # a moment of the command's life, not a wait for anything
            one.send_signal(signal.SIGKILL)
        gone = alone("delete", "--force", name)
        assert gone.code == 0, gone
        assert alone.table() == alone.before, (number, alone.points())


def test_without_a_pid_namespace_kill_reaches_everything(alone: Yard) -> None:
    """By the control group, and where there is none by who descends from whom."""
    none = [one for one in MOUNTS if one["destination"] != "/proc"]
    for name, manager in (("a", "cgroupfs"), ("b", "none")):
        bundle = alone.bundle(name, "sh", "-c", "sleep 1001 & sleep 1002 & wait", mounts=none)
        file = bundle / "config.json"
        config = json.loads(file.read_text())
        config["linux"]["namespaces"] = [{"type": "ipc"}]
        file.write_text(json.dumps(config))
        assert alone("--cgroup-manager", manager, "run", "--detach", "--bundle", bundle, name).code == 0
        until = time.monotonic() + PATIENCE_S
        while len(pids := json.loads(alone("ps", "--format", "json", name).out)) < 3:
            assert time.monotonic() < until
        assert alone("kill", name, "KILL").code == 0
        for pid in pids:
            alone.ended(name, pid)
        assert alone("delete", name).code == 0


@pytest.mark.parametrize("phase", ["createRuntime", "createContainer"])
@pytest.mark.parametrize("manager", ["cgroupfs", "none"])
def test_a_creation_that_is_killed_in_the_middle_leaves_nothing(
    alone: Yard, phase: str, manager: str
) -> None:
    """Before the first mount, and when all are made: a hook hangs there."""
    file = alone.scratch / "ready"
    hook = {
        "path": "/bin/sh",
        "args": ["sh", "-c", f"echo $$ >{file}.new; mv {file}.new {file}; exec sleep 1000"],
    }
    bundle = alone.bundle("a", *FOREVER, hooks={phase: [hook]})
    with alone.popen("--cgroup-manager", manager, "create", "--bundle", bundle, "a", **QUIET) as one:
        until = time.monotonic() + PATIENCE_S
        while not file.exists():
            assert time.monotonic() < until
        assert bool(alone.points()) == (phase == "createContainer")
        one.kill()
    number = int(file.read_text())
    gone = alone("--cgroup-manager", manager, "delete", "--force", "a")
    assert gone.code == 0, gone
    assert alone.table() == alone.before
    if phase == "createRuntime":  # the other one's number is the container's
        with contextlib.suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)  # nobody ends a hook of the host's whose runtime is gone


def test_a_first_process_that_is_killed_while_it_mounts_leaves_nothing(alone: Yard) -> None:
    file = alone.scratch / "ready"
    hook = {"path": "/bin/sh", "args": ["sh", "-c", f"kill -9 $PPID; touch {file}"]}
    spaces = {"namespaces": [{"type": "ipc"}]}  # process 1 of its own numbers cannot be killed from inside
    bundle = alone.bundle("a", *FOREVER, hooks={"createContainer": [hook]}, linux=spaces)
    made = alone("create", "--bundle", bundle, "a")
    assert made.code != 0
    assert "ended before" in made.err
    assert alone.table() == alone.before
    assert alone("state", "a").code == 1
