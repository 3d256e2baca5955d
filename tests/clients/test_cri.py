"""What Kubernetes does with containers of a pod, by containerd's CRI plugin; runc has to pass the same."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients import cri
from tests.clients.grpc import CallFailed
from tests.clients.kubelet import Container, Kubelet, Pod, processes
from tests.clients.stream import STDERR, STDOUT, Stream
from tests.clients.world import runtime
from tests.patience import eventually

pytestmark = [pytest.mark.needs("root", "containerd", "runc", "cni"), pytest.mark.slow]
WAITS = "trap 'exit 3' TERM; echo up; while :; do sleep 0.1; done"
NET_RAW, NET_ADMIN, SYS_CHROOT = 1 << 13, 1 << 12, 1 << 18
LINE_BYTES = 16384  # of a log, at most


@pytest.fixture(scope="module")
def living(pod: Pod) -> Iterator[Container]:
    """Return a container that goes on until it is told to stop, and then ends with 3."""
    yield pod.start("sh", "-c", WAITS)


def field(status: str, name: str) -> int:
    """Return a number in the text of /proc/PID/status; capabilities are told in base 16."""
    (found,) = re.findall(rf"^{name}:\s+(\w+)", status, re.MULTILINE)
    return int(found, 16 if name.startswith("Cap") else 10)


def test_the_interface_tells_its_version_and_that_it_is_ready(kubelet: Kubelet) -> None:
    told = kubelet.call("Version", version="v1")
    assert (told["runtime_name"], told["runtime_api_version"]) == ("containerd", "v1")
    conditions = kubelet.call("Status")["status"]["conditions"]
    assert {one["type"]: one["status"] for one in conditions} == {"RuntimeReady": True, "NetworkReady": True}


def test_the_runtime_under_test_is_the_one_that_is_used(living: Container) -> None:
    told = json.loads(living.call("ContainerStatus", verbose=True)["info"]["info"])
    program = "runc" if living.pod.handler == "runc" else str(runtime())
    assert told["runtimeOptions"]["binary_name"] == program


def test_output_and_exit_code_are_told(pod: Pod) -> None:
    done = pod.run("sh", "-c", "echo out; echo err >&2; exit 42")
    status = done.status()
    assert (status["exit_code"], status["reason"]) == (42, "Error")
    assert all(status[f"{what}_at"] > 0 for what in ("created", "started", "finished"))
    assert (done.log(), done.log("stderr")) == ("out\n", "err\n")
    assert pod.run("true").status()["reason"] == "Completed"


def test_a_long_line_of_a_log_comes_in_parts(pod: Pod) -> None:
    done = pod.run("sh", "-c", f"head -c {2 * LINE_BYTES + 5} /dev/zero | tr '\\0' x; echo")
    assert done.log() == "x" * (2 * LINE_BYTES + 5) + "\n"
    assert [line.split()[2] for line in done.logged.read_text().splitlines()] == ["P", "P", "F"]


def test_a_log_is_begun_anew_when_it_was_moved_away(pod: Pod) -> None:
    writer = pod.start("sh", "-c", "while :; do echo tick; sleep 0.02; done")
    writer.prints("tick")
    writer.logged.rename(writer.logged.with_suffix(".1"))
    writer.call("ReopenContainerLog")
    writer.prints("tick")
    writer.stop()


def test_environment_arguments_and_directory(pod: Pod) -> None:
    envs = [{"key": "A", "value": "b c"}, {"key": "EMPTY", "value": ""}]
    script = 'echo "$A|$EMPTY|$1|$2"; pwd'
    options: dict[str, Any] = {"envs": envs, "args": ["name", "one", "two words"], "working_dir": "/tmp"}
    assert pod.out("sh", "-c", script, **options) == "b c||one|two words\n/tmp\n"


def test_mounts_are_there_and_read_only_where_asked(pod: Pod) -> None:
    folder = pod.kubelet.at / f"volume-{pod.handler}"
    folder.mkdir()
    (folder / "file").write_text("seen\n")
    mounts = [
        {"container_path": "/kept", "host_path": str(folder)},
        {"container_path": "/fixed/there", "host_path": str(folder), "readonly": True},
        {"container_path": "/one", "host_path": str(folder / "file")},
    ]
    done = pod.run(
        "sh", "-c", "cat /fixed/there/file /one; echo w >/kept/new; touch /fixed/there/x", mounts=mounts
    )
    assert done.log() == "seen\nseen\n"
    assert "Read-only file system" in done.log("stderr")
    assert sorted(path.name for path in folder.iterdir()) == ["file", "new"]
    assert len(done.status()["mounts"]) == 3


def test_limits_are_set_and_changed_while_the_container_runs(pod: Pod) -> None:
    limited = pod.start(
        "sleep", "100",
        resources={
            "memory_limit_in_bytes": 64 << 20, "cpu_period": 100000, "cpu_quota": 25000, "cpu_shares": 512,
            "oom_score_adj": 900,
        },
    )  # fmt: skip
    memory = ("memory/memory.limit_in_bytes", "memory.max")
    assert limited.cgroup(*memory) == str(64 << 20)
    assert limited.cgroup("cpu/cpu.cfs_quota_us", "cpu.max").split()[0] == "25000"
    assert limited.cgroup("cpu/cpu.shares", "cpu.weight") in ("512", "20")
    assert limited.exec("cat", "/proc/1/oom_score_adj") == (0, "900\n", "")
    changes = {
        "memory_limit_in_bytes": 96 << 20,
        "cpu_period": 100000,
        "cpu_quota": 50000,
        "cpu_shares": 1024,
    }
    limited.call("UpdateContainerResources", linux=changes)
    assert limited.cgroup(*memory) == str(96 << 20)
    assert limited.cgroup("cpu/cpu.cfs_quota_us", "cpu.max").split()[0] == "50000"
    assert limited.stop() == 137


def test_processors_are_chosen(pod: Pod) -> None:
    assert pod.out("nproc", resources={"cpuset_cpus": "0", "cpuset_mems": "0"}) == "1\n"


def test_who_needs_too_much_memory_is_killed_and_it_is_told(pod: Pod) -> None:
    resources = {"memory_limit_in_bytes": 16 << 20, "memory_swap_limit_in_bytes": 16 << 20}
    # It lives until the engine has heard of it, who otherwise may find its cgroup gone.
    program = "trap 'exit $code' TERM; dd if=/dev/zero of=/dev/null bs=64M count=1; code=$?"
    script = f"{program}; echo ended; while :; do sleep 0.1; done"
    done = pod.start("sh", "-c", script, resources=resources)
    eventually(lambda: done.status()["reason"], "OOMKilled")
    done.prints("ended")
    assert done.stop(grace_s=60) == 137
    assert done.status()["reason"] == "OOMKilled"


def test_user_and_groups(pod: Pod) -> None:
    rights = {"run_as_user": {"value": 1000}, "run_as_group": {"value": 7}, "supplemental_groups": [55, 66]}
    groups = pod.out("sh", "-c", "id -u; id -g; id -G", rights=rights).split("\n")[:3]
    assert groups[:2] == ["1000", "7"]
    assert {"7", "55", "66"} <= set(groups[2].split())
    assert pod.out("id", "-un", rights={"run_as_username": "somebody"}) == "somebody\n"


def test_capabilities_are_added_and_dropped(pod: Pod) -> None:
    rights = {"capabilities": {"add_capabilities": ["NET_ADMIN"], "drop_capabilities": ["NET_RAW"]}}
    status = pod.out("cat", "/proc/self/status", rights=rights)
    for name in ("CapEff", "CapPrm", "CapBnd"):
        assert field(status, name) & (NET_ADMIN | NET_RAW | SYS_CHROOT) == NET_ADMIN | SYS_CHROOT
    none = pod.out("cat", "/proc/self/status", rights={"capabilities": {"drop_capabilities": ["ALL"]}})
    assert {field(none, f"Cap{name}") for name in ("Eff", "Prm", "Inh", "Bnd", "Amb")} == {0}


def test_a_read_only_root_keeps_its_files(pod: Pod) -> None:
    done = pod.run(
        "sh", "-c", "touch /new; touch /dev/shm/new && echo made", rights={"readonly_rootfs": True}
    )
    assert "Read-only file system" in done.log("stderr")
    assert done.log() == "made\n"


@pytest.mark.parametrize(("profile", "mode"), [(cri.RUNTIME_DEFAULT, 2), (cri.UNCONFINED, 0)])
def test_the_default_filter_is_on_or_off(pod: Pod, profile: int, mode: int) -> None:
    status = pod.out("cat", "/proc/self/status", rights={"seccomp": {"profile_type": profile}})
    assert field(status, "Seccomp") == mode


def test_a_filter_of_the_hosts_is_put_into_force(pod: Pod) -> None:
    file = pod.kubelet.at / f"filter-{pod.handler}.json"
    rule = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}
    file.write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}))
    done = pod.run("mkdir", "/tmp/new", rights={"seccomp": {"profile_type": 2, "localhost_ref": str(file)}})
    assert "No space left on device" in done.log("stderr"), done


@pytest.mark.parametrize("wanted", [True, False])
def test_no_new_privileges_are_gained_where_asked(pod: Pod, wanted: bool) -> None:
    status = pod.out("cat", "/proc/self/status", rights={"no_new_privs": wanted})
    assert field(status, "NoNewPrivs") == int(wanted)


def test_paths_are_masked_and_read_only(pod: Pod) -> None:
    script = "ls /proc/bus | wc -l; wc -c </proc/version; echo 1 >/proc/sys/net/core/somaxconn"
    rights = {"masked_paths": ["/proc/version", "/proc/bus"], "readonly_paths": ["/proc/sys"]}
    done = pod.run("sh", "-c", script, rights=rights)
    assert done.log().split() == ["0", "0"], done
    assert "Read-only file system" in done.log("stderr")


def test_a_device_is_given_with_the_permissions_that_are_named(pod: Pod) -> None:
    device = pod.kubelet.at / f"device-{pod.handler}"
    os.mknod(device, stat.S_IFCHR | 0o666, os.makedev(1, 11))  # /dev/kmsg, which no container has by itself
    for permissions, code in (("rw", 0), ("r", 1)):
        given = {"container_path": "/dev/given", "host_path": str(device), "permissions": permissions}
        done = pod.run("sh", "-c", ": >>/dev/given", devices=[given])
        assert done.wait() == code, done
    assert "Operation not permitted" in done.log("stderr"), done


def test_a_container_has_a_terminal(pod: Pod) -> None:
    assert pod.out("tty", tty=True).strip() == "/dev/pts/0"


def test_a_program_that_is_not_there_is_named(pod: Pod) -> None:
    made = pod.create("/no/such/program")
    with pytest.raises(CallFailed, match="/no/such/program"):
        made.call("StartContainer")
    status = made.status()
    assert (status["state"], status["reason"], status["exit_code"]) == (cri.EXITED, "StartError", 128)
    made.remove()


def test_a_second_program_tells_its_output_and_exit_code(living: Container) -> None:
    assert living.exec("sh", "-c", "echo out; echo err >&2; exit 7") == (7, "out\n", "err\n")
    many = living.exec("sh", "-c", "head -c 300000 /dev/zero | tr '\\0' x")
    assert (many[0], len(many[1])) == (0, 300000)


def test_a_second_program_that_takes_too_long_is_killed(living: Container) -> None:
    with pytest.raises(CallFailed, match="timeout 1s exceeded"):
        living.exec("sleep", "54321", timeout_s=1)
    eventually(lambda: processes("sleep 54321"), [])


def test_a_second_program_that_is_not_there_leaves_the_container_alone(living: Container) -> None:
    with pytest.raises(CallFailed, match="no-such-program"):
        living.exec("no-such-program")
    assert living.status()["state"] == cri.RUNNING


def test_a_second_program_has_streams(living: Container) -> None:
    program = ["sh", "-c", "read word; echo got $word; echo err >&2; exit 5"]
    url = living.call("Exec", cmd=program, stdin=True, stdout=True, stderr=True)["url"]
    stream = Stream(living.pod.kubelet.world, url)
    stream.send(b"hello\n")
    stream.until(STDOUT, b"got hello\n")
    stream.until(STDERR, b"err\n")
    assert stream.end() == 5


def test_a_second_program_has_a_terminal(living: Container) -> None:
    program = ["sh", "-c", "tty; read word; echo got $word"]
    url = living.call("Exec", cmd=program, stdin=True, stdout=True, tty=True)["url"]
    stream = Stream(living.pod.kubelet.world, url)
    stream.until(STDOUT, b"/dev/pts/")
    stream.send(b"hello\n")
    stream.until(STDOUT, b"got hello")
    assert stream.end() == 0


def test_containers_are_listed_by_state_and_pod(pod: Pod, living: Container) -> None:
    waits = pod.create("true", labels={"tier": "test"})
    listed = pod.call("ListContainers", filter={"pod_sandbox_id": pod.id, "state": {"state": cri.RUNNING}})
    assert living.id in [one["id"] for one in listed["containers"]]
    assert waits.id not in [one["id"] for one in listed["containers"]]
    labelled = pod.call(
        "ListContainers", filter={"label_selector": {"tier": "test"}, "pod_sandbox_id": pod.id}
    )
    assert [(one["id"], one["state"]) for one in labelled["containers"]] == [(waits.id, cri.CREATED)]
    waits.remove()


def test_numbers_are_told(living: Container) -> None:
    told = living.call("ContainerStats")["stats"]
    assert told["attributes"]["id"] == living.id
    assert told["cpu"]["usage_core_nano_seconds"]["value"] > 0
    assert told["memory"]["working_set_bytes"]["value"] > 0


def test_who_is_asked_to_stop_may_end_by_itself(pod: Pod) -> None:
    polite = pod.start("sh", "-c", WAITS)
    polite.prints("up")
    assert polite.stop(grace_s=60) == 3


def test_who_does_not_stop_in_time_is_killed(pod: Pod) -> None:
    deaf = pod.start("sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.1; done")
    deaf.prints("up")
    assert deaf.stop(grace_s=1) == 137


def test_a_privileged_container_has_the_rights_that_there_are(kubelet: Kubelet, handler: str) -> None:
    security = {"privileged": True}
    with Pod(kubelet, handler, security=security) as made:
        script = "mkdir -p /mnt; mount -t tmpfs none /mnt && echo mounted; grep CapEff: /proc/self/status"
        first, second = made.out("sh", "-c", script, rights=security).splitlines()
        assert first == "mounted"
        assert field(second, "CapEff") == field(Path("/proc/self/status").read_text(), "CapEff")


def test_nothing_is_left_of_a_container_that_was_removed(pod: Pod) -> None:
    made = pod.start("sleep", "100")
    assert len(pod.kubelet.trace(made.id)) > 3
    made.remove()
    eventually(lambda: pod.kubelet.trace(made.id), [])
    assert not Path(f"/sys/fs/cgroup/memory/{pod.cgroup}/{made.id}").exists()
    with pytest.raises(CallFailed, match="not found"):
        made.status()
