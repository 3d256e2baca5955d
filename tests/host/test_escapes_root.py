"""Known escapes while a root is built: the image's symlinks, fake devices and a fake /proc steer the runtime's hands.

runc CVE-2019-19921, CVE-2021-30465, CVE-2023-27561, CVE-2023-28642, CVE-2024-45310, CVE-2025-31133, CVE-2025-52565,
CVE-2025-52881; crun CVE-2026-88264, CVE-2026-88265; bubblewrap CVE-2026-87766. Each attack succeeds on a stand-in.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.rig import Container, mounts_of
from tests.host.escape_rig import RACES, mounted_over, naive, untouched

pytestmark = pytest.mark.needs("root", "cc")
PROC_MAGIC = 0x9FA0
RENAME_EXCHANGE = 2


def links(box: Container, victim: Path) -> dict[str, str]:
    """Return targets of symlinks in the image that lead to the victim, if somebody follows them outside of the root."""
    up = "../" * 40
    return {
        "absolute": str(victim),
        "relative": f"{up}{str(victim)[1:]}",
        "oldroot": f"../oldroot{victim}",
        "proc": f"/proc/1/root{victim}",
    }


KINDS = ("directory", "file", "tmpfs", "device")


def ask(box: Container, kind: str) -> None:
    """Ask for something below /link, which leads to the victim."""
    given = box.yard.scratch / "given"
    given.mkdir(exist_ok=True)
    (given / "file").write_text("given")
    match kind:
        case "directory":
            box.mount("/link/made/deep", "bind", str(given), "bind")
        case "file":
            box.mount("/link/made", "bind", str(given / "file"), "bind")
        case "tmpfs":
            box.mount("/link/made", "tmpfs", "tmpfs", "size=64k")
        case "device":
            box.config["linux"]["devices"] = [{"path": "/link/made", "type": "c", "major": 1, "minor": 3}]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("link", ["absolute", "relative", "oldroot", "proc"])
def test_a_destination_below_a_symlink_makes_nothing_on_the_host(
    box: Container, victim: Path, link: str, kind: str
) -> None:
    (box.rootfs / "link").symlink_to(links(box, victim)[link])
    ask(box, kind)
    ran = box.run()
    assert "Traceback" not in ran.err
    assert untouched(victim), ran
    assert not mounted_over(box.yard, victim)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("link", ["absolute", "relative"])
def test_stand_in_a_runtime_that_makes_places_by_path_writes_to_the_host(
    box: Container, victim: Path, link: str, kind: str
) -> None:
    (box.rootfs / "link").symlink_to(links(box, victim)[link])
    make = {"directory": "mkdir -p", "tmpfs": "mkdir", "file": "touch", "device": "mknod"}[kind]
    naive(box, f'{make} "$root/link/made" {"c 1 3" if kind == "device" else ""}')
    assert not untouched(victim)


@pytest.mark.parametrize("kind", ["directory", "file", "tmpfs", "device"])
def test_a_destination_that_is_itself_a_symlink_covers_nothing_of_the_host(
    box: Container, victim: Path, kind: str
) -> None:
    (box.rootfs / "link").mkdir()
    (box.rootfs / "link/made").symlink_to(str(victim / ("file" if kind in ("file", "device") else "")))
    ask(box, kind)
    box.run()
    assert untouched(victim)
    assert not mounted_over(box.yard, victim)


# --- /proc, /sys and /dev that the image brings


@pytest.mark.parametrize("name", ["proc", "sys"])
@pytest.mark.parametrize("target", ["absolute", "relative", "inside"])
def test_proc_or_sys_as_a_symlink_is_refused_or_replaced(
    box: Container, victim: Path, name: str, target: str
) -> None:
    (box.rootfs / name).rmdir()
    (box.rootfs / "fake").mkdir()
    to = "fake" if target == "inside" else links(box, victim)[target]
    (box.rootfs / name).symlink_to(to)
    box.config["process"]["args"] = ["/probe", "stat", f"/{name}/"]
    ran = box.run()
    assert untouched(victim)
    assert not mounted_over(box.yard, victim)
    if ran.code == 0:
        said = json.loads(ran.out)
        assert (said.get("fs_type") == PROC_MAGIC) == (name == "proc")
    assert target != "inside" or ran.code != 0  # a /proc elsewhere is not where masks and writes go


def test_stand_in_a_runtime_that_mounts_proc_by_path_covers_the_host(box: Container, victim: Path) -> None:
    (box.rootfs / "proc").rmdir()
    (box.rootfs / "proc").symlink_to(victim)
    ran = naive(box, 'mount -t proc proc "$root/proc" && grep -c " $1 " /proc/self/mountinfo', str(victim))
    assert ran.out.strip() == "1"


@pytest.mark.parametrize("name", ["null", "zero", "tty", "ptmx", "console", "fd", "stdin"])
@pytest.mark.parametrize("terminal", [False, True])
def test_fake_devices_of_the_image_do_not_lead_to_the_host(
    box: Container, victim: Path, name: str, terminal: bool
) -> None:
    box.config["mounts"] = [one for one in box.config["mounts"] if not one["destination"].startswith("/dev")]
    (box.rootfs / f"dev/{name}").symlink_to(victim / "file")
    box.config["process"]["args"] = ["/probe", "stat", f"/dev/{name}"]
    if terminal:
        from tests.conformance.test_console import read_all, with_terminal

        with contextlib.suppress(AssertionError, TimeoutError):
            fd, _ = with_terminal(box)
            box.start()
            read_all(fd)
    else:
        box.run()
    assert untouched(victim)
    assert not mounted_over(box.yard, victim)


@pytest.mark.parametrize("name", ["null", "console"])
def test_a_dangling_fake_device_creates_no_file_on_the_host(box: Container, victim: Path, name: str) -> None:
    box.config["mounts"] = [one for one in box.config["mounts"] if not one["destination"].startswith("/dev")]
    (box.rootfs / f"dev/{name}").symlink_to(victim / "new")
    box.run()
    assert untouched(victim)


def test_stand_in_a_runtime_that_makes_devices_by_path_changes_the_host(box: Container, victim: Path) -> None:
    (box.rootfs / "dev/null").symlink_to(victim / "file")
    (box.rootfs / "dev/console").symlink_to(victim / "new")
    naive(box, 'mknod "$root/dev/null" c 1 3; chmod 666 "$root/dev/null"; : > "$root/dev/console"')
    assert not untouched(victim)


def test_a_masked_path_is_not_covered_by_a_fake_null(box: Container) -> None:
    box.config["mounts"] = [one for one in box.config["mounts"] if not one["destination"].startswith("/dev")]
    (box.rootfs / "dev/null").symlink_to("/proc/sys/kernel/core_pattern")
    box.config["linux"]["maskedPaths"] = ["/proc/keys", "/proc/timer_list"]
    box.config["linux"]["readonlyPaths"] = ["/proc/sys"]
    box.config["process"]["args"] = ["/probe", "read", "/proc/keys", ";", "report"]
    ran = box.run()
    if ran.code == 0:
        said = [json.loads(line) for line in ran.out.splitlines()]
        assert said[0]["text"] == ""
        mount = mounts_of(said[1]).get("/proc/keys", {})
        assert "core_pattern" not in mount.get("root", "")
        assert mount.get("type") != "proc"


def test_stand_in_a_mask_by_the_images_null_shows_a_file_of_the_kernel(box: Container) -> None:
    (box.rootfs / "dev/null").symlink_to("../proc/sys/kernel/core_pattern")
    ran = naive(box, 'mount -t proc proc "$root/proc" && mount --bind "$root/dev/null" "$root/proc/keys" && '
                     'cat "$root/proc/keys"')  # fmt: skip
    assert ran.out == Path("/proc/sys/kernel/core_pattern").read_text()


@pytest.mark.parametrize("way", ["bind", "tmpfs", "none"])
def test_a_sysctl_is_not_written_through_a_fake_proc(box: Container, victim: Path, way: str) -> None:
    fake = box.yard.scratch / "fake"
    (fake / "sys/net/ipv4").mkdir(parents=True)
    (fake / "sys/net/ipv4/ip_forward").symlink_to(victim / "file")
    (fake / "self").mkdir()
    for name in ("oom_score_adj", "attr", "setgroups", "uid_map"):
        (fake / "self" / name).symlink_to(victim / "file")
    proc = {"destination": "/proc", "type": "bind", "source": str(fake), "options": ["rbind"]}
    if way == "tmpfs":
        proc = {"destination": "/proc", "type": "tmpfs", "source": "tmpfs"}
    box.config["mounts"][0] = proc
    if way == "none":
        box.config["mounts"].pop(0)
        shutil.rmtree(box.rootfs / "proc")
        shutil.copytree(fake, box.rootfs / "proc", symlinks=True)
    box.config["linux"]["sysctl"] = {"net.ipv4.ip_forward": "1"}
    box.config["process"]["oomScoreAdj"] = 77
    ran = box.run()
    assert "Traceback" not in ran.err
    assert untouched(victim), ran
    assert (fake / "sys/net/ipv4/ip_forward").is_symlink()


def test_stand_in_a_sysctl_that_is_written_by_path_goes_where_the_image_says(
    box: Container, victim: Path
) -> None:
    (box.rootfs / "proc/sys/net/ipv4").mkdir(parents=True)
    (box.rootfs / "proc/sys/net/ipv4/ip_forward").symlink_to(victim / "file")
    naive(box, 'echo 1 > "$root/proc/sys/net/ipv4/ip_forward"')
    assert not untouched(victim)


# --- races


@contextlib.contextmanager
def flipping(one: Path, other: Path) -> Iterator[None]:
    """Exchange two names, over and over, until the block ends."""
    libc = ctypes.CDLL(None)
    names = os.fsencode(one), os.fsencode(other)
    pid = os.fork()
    if pid == 0:
        signal.alarm(600)
        while True:
            libc.renameat2(-100, names[0], -100, names[1], RENAME_EXCHANGE)
            libc.usleep(100)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def shared_volume(box: Container, victim: Path) -> Path:
    """Mount a volume whose directory the attacker swaps for a symlink to the host, and something below that."""
    volume = box.yard.scratch / "volume"
    (volume / "dir/sub").mkdir(parents=True)
    up = "../" * 40
    (volume / "swap").symlink_to(f"{up}{str(victim)[1:]}")
    return volume


@pytest.mark.parametrize("kind", ["directory", "tmpfs"])
def test_a_parent_that_is_swapped_for_a_symlink_never_leads_to_the_host(
    box: Container, victim: Path, kind: str
) -> None:
    volume = shared_volume(box, victim)
    box.mount("/data", "bind", str(volume), "rbind")
    if kind == "directory":
        box.mount("/data/dir/new", "bind", str(box.log), "bind")
    else:
        box.mount("/data/dir/new", "tmpfs", "tmpfs", "size=64k")
    box.config["process"]["args"] = ["/probe", "spare"]
    with flipping(volume / "dir", volume / "swap"):
        for _ in range(RACES):
            ran = box.run()
            assert "Traceback" not in ran.err
            assert untouched(victim), ran
            assert box.status() == "none" or box.delete("--force").code == 0
    assert not mounted_over(box.yard, victim)


def test_stand_in_a_runtime_that_checks_and_then_mounts_loses_the_race(box: Container, victim: Path) -> None:
    volume = shared_volume(box, victim)
    script = 'for n in $(seq 2000); do if [ ! -L "$1/dir" ]; then mkdir -p "$1/dir/new" 2>/dev/null; fi; done'
    with flipping(volume / "dir", volume / "swap"):
        naive(box, script, str(volume))
    assert not untouched(victim)


# --- hooks and the bundle


@pytest.mark.parametrize("phase", ["prestart", "createRuntime", "createContainer"])
def test_a_hook_of_the_images_does_not_run_in_place_of_the_hosts(box: Container, phase: str) -> None:
    (box.rootfs / "tools").mkdir()
    shutil.copy(box.yard.probe, box.rootfs / "tools/hook")
    box.config["hooks"] = {
        phase: [{"path": "/tools/hook", "args": ["hook", "hook", str(box.log / "hooks"), "evil"]}]
    }
    assert box.create().code != 0
    assert box.hooked() == []


def test_a_configuration_that_is_swapped_after_create_brings_no_hooks(box: Container) -> None:
    box.config["process"]["args"] = ["/probe", "stay"]
    box.up()
    evil = box.yard.scratch / "evil.json"
    box.hook("poststop")
    box.hook("poststart")
    evil.write_text(json.dumps(box.config))
    (box.bundle / "config.json").unlink()
    (box.bundle / "config.json").symlink_to(evil)
    box.kill("KILL")
    box.wait()
    assert box.delete().code == 0
    assert box.hooked() == []
