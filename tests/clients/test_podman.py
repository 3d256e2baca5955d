"""What people ask of podman when they start a container, as root and as an ordinary user."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator

import pytest

from tests.clients import image
from tests.clients.podman import Podman

pytestmark = [pytest.mark.needs("root", "podman"), pytest.mark.slow]
IMAGE = image.NAME


@pytest.fixture(scope="module")
def living(podman: Podman) -> Iterator[str]:
    """Return a container that goes on until it is told to stop, and then ends with 3."""
    script = "trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.1; done"
    name = podman.start("--hostname=living", IMAGE, "sh", "-c", script)
    yield name
    podman.remove(name)


def test_what_a_container_prints_comes_out(podman: Podman) -> None:
    done = podman.run(IMAGE, "sh", "-c", "echo out; echo err >&2")
    assert (done.code, done.out, done.err) == (0, "out\n", "err\n")


@pytest.mark.parametrize("code", [0, 1, 42, 255])
def test_a_containers_exit_code_is_podmans(podman: Podman, code: int) -> None:
    assert podman.run(IMAGE, "sh", "-c", f"exit {code}").code == code


def test_a_program_that_is_not_there_is_127(podman: Podman) -> None:
    assert podman.run(IMAGE, "/no/such/program").code == 127


def test_a_program_that_is_not_in_the_path_is_127(podman: Podman) -> None:
    assert podman.run(IMAGE, "no-such-program").code == 127


def test_a_file_that_is_no_program_is_126(podman: Podman) -> None:
    assert podman.run(IMAGE, "/etc/plain").code == 126


def test_a_container_that_kills_itself_ends_with_128_and_the_signal(podman: Podman) -> None:
    assert podman.run("--init", IMAGE, "sh", "-c", "kill -TERM $$").code == 143


def test_standard_input_reaches_the_program_and_ends(podman: Podman) -> None:
    data = b"a line\n" * 20000
    done = podman.run("--interactive", IMAGE, "md5sum", stdin=data)
    assert done.out.split()[0] == hashlib.md5(data, usedforsecurity=False).hexdigest()


def test_a_terminal_is_the_first_of_the_containers_own(podman: Podman) -> None:
    words = [*podman.words, "run", "--rm", "--network=none", "--tty", IMAGE]
    done = podman.world.on_terminal(
        *words, "sh", "-c", "tty; stat -c %u /dev/console", env=podman.env, user=podman.rootless
    )
    assert done.out.split() == ["/dev/pts/0", "0"], done


def test_what_is_typed_reaches_the_program(podman: Podman) -> None:
    words = [*podman.words, "run", "--rm", "--network=none", "--interactive", "--tty", IMAGE]
    script = "echo ready; read word; echo got $word; exit 5"
    done = podman.world.on_terminal(
        *words, "sh", "-c", script, env=podman.env, user=podman.rootless, typed=b"hello\n"
    )
    assert "got hello" in done.out, done
    assert done.code == 5


def test_environment_directory_user_and_host_name(podman: Podman) -> None:
    done = podman.run(
        "--env=WORD=two words", "--workdir=/tmp", "--user=somebody:friends", "--hostname=here", IMAGE,
        "sh", "-c", "echo $WORD; pwd; id -u; id -g; hostname",
    )  # fmt: skip
    assert done.out.splitlines() == ["two words", "/tmp", "1000", "1010", "here"], done


def test_groups_are_added(podman: Podman) -> None:
    assert "77" in podman.run("--group-add=77", IMAGE, "id", "-G").out.split()


def test_a_read_only_root_keeps_its_files(podman: Podman) -> None:
    done = podman.run(
        "--read-only", "--tmpfs=/scratch:size=64k", IMAGE,
        "sh", "-c", "touch /x; touch /scratch/y && echo written; head -c 100000 /dev/zero >/scratch/z || echo full",
    )  # fmt: skip
    assert done.out.split() == ["written", "full"], done
    assert "Read-only file system" in done.err


def test_a_volume_is_shared_and_read_only_when_asked(podman: Podman) -> None:
    volume = podman.world.at / f"volume-{podman.rootless}"
    volume.mkdir()
    volume.chmod(0o777)
    (volume / "file").write_text("from the host\n")
    done = podman.run(f"--volume={volume}:/data", IMAGE, "sh", "-c", "cat /data/file; echo back >/data/new")
    assert done.out == "from the host\n", done
    assert (volume / "new").read_text() == "back\n"
    done = podman.run(f"--volume={volume}:/data:ro", IMAGE, "sh", "-c", "cat /data/new; rm /data/new")
    assert done.out == "back\n"
    assert "Read-only file system" in done.err
    assert (volume / "new").exists()


def test_a_named_volume_keeps_what_is_written(podman: Podman) -> None:
    podman.run("--volume=kept:/data", IMAGE, "sh", "-c", "echo kept >/data/file")
    assert podman.run("--volume=kept:/data", IMAGE, "cat", "/data/file").out == "kept\n"
    podman.out("volume", "rm", "kept")


def test_mount_options_hold(podman: Podman) -> None:
    done = podman.run(
        "--mount=type=tmpfs,destination=/t,tmpfs-size=1m,tmpfs-mode=0700,noexec", IMAGE,
        "sh", "-c", "stat -c %a /t; cp /bin/busybox /t/true; /t/true || echo no; grep ' /t ' /proc/self/mounts",
    )  # fmt: skip
    assert done.out.split()[:2] == ["700", "no"], done
    assert {"noexec", "nosuid", "nodev"} <= set(done.out.split()[-3].split(",")), done


def test_dropped_capabilities_are_gone_and_added_ones_there(podman: Podman) -> None:
    def caps(*words: str) -> dict[str, int]:
        lines = podman.run(*words, IMAGE, "grep", "^Cap", "/proc/self/status").out.splitlines()
        return {line.split(":")[0]: int(line.split()[1], 16) for line in lines}

    none = caps("--cap-drop=all")
    assert none["CapEff"] == none["CapBnd"] == none["CapPrm"] == 0
    one = caps("--cap-drop=all", "--cap-add=net_admin")
    assert one["CapEff"] == one["CapBnd"] == 1 << 12
    ordinary = caps("--user=1000")
    assert ordinary["CapEff"] == 0
    assert ordinary["CapBnd"] != 0


def test_no_new_privileges_and_the_default_filter_are_on(podman: Podman) -> None:
    status = podman.run("--security-opt=no-new-privileges", IMAGE, "cat", "/proc/self/status").out
    assert re.search(r"NoNewPrivs:\s1", status)
    assert re.search(r"Seccomp:\s2", status)
    assert re.search(
        r"Seccomp:\s0", podman.run("--security-opt=seccomp=unconfined", IMAGE, "cat", "/proc/self/status").out
    )


def test_a_filter_of_ones_own_refuses_its_call(podman: Podman) -> None:
    profile = podman.world.at / f"filter-{podman.rootless}.json"
    rule = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}
    profile.write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}))
    profile.chmod(0o644)
    done = podman.run(
        f"--security-opt=seccomp={profile}", IMAGE, "sh", "-c", "touch /tmp/a && echo a; mkdir /tmp/b"
    )
    assert done.out == "a\n", done
    assert "not supported" in done.err


def test_the_hosts_kernel_files_are_masked(podman: Podman) -> None:
    script = "head -c 1 /proc/kcore | wc -c; echo x >/proc/sys/kernel/hostname"
    done = podman.run(IMAGE, "sh", "-c", script)
    assert done.out.split()[0] == "0", done
    assert "Read-only file system" in done.err or "Permission denied" in done.err, done


def test_a_small_init_reaps_and_forwards(podman: Podman) -> None:
    orphan = "(sh -c 'echo $$ >/tmp/orphan; exec sleep 0.1' &); until [ -s /tmp/orphan ]; do sleep 0.1; done"
    waits = "for i in $(seq 600); do [ -d /proc/$(cat /tmp/orphan) ] || break; sleep 0.1; done"
    script = f"tr '\\0' ' ' </proc/1/cmdline; {orphan}; {waits}; echo; ls -d /proc/$(cat /tmp/orphan)"
    done = podman.run("--init", IMAGE, "sh", "-c", script)
    assert re.match(r"\S*(catatonit|podman-init|dev/init|tini)", done.out), done
    assert done.out.endswith("\n"), done
    assert len(done.out.splitlines()) == 1, done
    assert "No such file or directory" in done.err, done


def test_a_privileged_container_starts(podman: Podman) -> None:
    done = podman.run(
        "--privileged",
        IMAGE,
        "sh",
        "-c",
        "mount -t tmpfs none /mnt 2>/dev/null || mkdir /mnt && mount -t tmpfs none /mnt && echo mounted",
    )
    assert done.out == "mounted\n", done


def test_namespaces_can_be_the_hosts(podman: Podman) -> None:
    own = podman.world.run("readlink", "/proc/self/ns/pid").out
    assert podman.run("--pid=host", IMAGE, "readlink", "/proc/self/ns/pid").out == own
    assert podman.run(IMAGE, "readlink", "/proc/self/ns/pid").out != own
    own = podman.world.run("readlink", "/proc/self/ns/uts").out
    assert podman.run("--uts=host", IMAGE, "readlink", "/proc/self/ns/uts").out == own


def test_a_namespace_of_another_container_is_joined(podman: Podman, living: str) -> None:
    own = podman.out("exec", living, "readlink", "/proc/self/ns/pid")
    assert podman.run(f"--pid=container:{living}", IMAGE, "readlink", "/proc/self/ns/pid").out.strip() == own


def test_a_sysctl_of_the_containers_network_is_set(podman: Podman) -> None:
    assert (
        podman.run("--sysctl=net.core.somaxconn=4321", IMAGE, "cat", "/proc/sys/net/core/somaxconn").out
        == "4321\n"
    )


def test_limits_of_a_process_are_set(podman: Podman) -> None:
    assert podman.run(
        "--ulimit=nofile=100:200", "--ulimit=nproc=900:1000", IMAGE, "sh", "-c", "ulimit -Sn; ulimit -Hn"
    ).out.split() == [
        "100",
        "200",
    ]


def test_a_device_is_there_under_another_name(podman: Podman) -> None:
    done = podman.run(
        "--device=/dev/zero:/dev/nothing", IMAGE, "sh", "-c", "head -c 3 /dev/nothing | od -An -tx1"
    )
    assert done.out.split() == ["00"] * 3, done


def test_the_usual_devices_work(podman: Podman) -> None:
    script = (
        "head -c 4 /dev/urandom | wc -c; echo x >/dev/null; test -c /dev/tty && test -d /dev/shm && echo all"
    )
    assert podman.run(IMAGE, "sh", "-c", script).out.split()[:2] == ["4", "all"]


def test_shared_memory_has_the_size_asked_for(podman: Podman) -> None:
    done = podman.run("--shm-size=3m", IMAGE, "df", "-k", "/dev/shm")
    assert "3072" in done.out, done


def test_a_user_namespace_maps_what_was_asked(podman: Podman) -> None:
    words = ["--userns=keep-id"] if podman.rootless else ["--uidmap=0:300000:1000", "--gidmap=0:300000:1000"]
    done = podman.run(*words, IMAGE, "cat", "/proc/self/uid_map")
    lines = [line.split() for line in done.out.splitlines()]
    if podman.rootless:
        number = str(podman.world.uid)
        assert [number, "0", "1"] in lines, done
        assert podman.run(*words, IMAGE, "id", "-u").out.strip() == number
    else:
        assert lines == [["0", "300000", "1000"]], done


def test_files_of_a_mapped_container_are_its_users_on_the_host(root_podman: Podman) -> None:
    volume = root_podman.world.at / "mapped"
    volume.mkdir()
    volume.chmod(0o777)
    mapped = ["--uidmap=0:300000:1000", "--gidmap=0:300000:1000"]
    root_podman.run(*mapped, f"--volume={volume}:/data", IMAGE, "touch", "/data/file")
    assert os.stat(volume / "file").st_uid == 300000
