"""What Kubernetes does with whole pods, by containerd's CRI plugin; runc has to pass the same."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.clients import cri
from tests.clients.cri import Cri
from tests.clients.grpc import CallFailed
from tests.clients.kubelet import Kubelet, Pod, processes
from tests.patience import eventually

pytestmark = [pytest.mark.needs("root", "containerd", "runc", "cni"), pytest.mark.slow]
SPACES = ("net", "ipc", "uts", "pid", "mnt", "cgroup")
LOOK = f"cd /proc/self/ns; for space in {' '.join(SPACES)}; do readlink $space; done"


def spaces(text: str) -> dict[str, str]:
    """Return what LOOK has printed, by the names of the namespaces."""
    return dict(zip(SPACES, text.split(), strict=True))


@pytest.fixture
def shared(kubelet: Kubelet) -> Iterator[Path]:
    """Return a directory of the host whose mounts can be seen in containers, as those of volume plugins are."""
    folder = kubelet.at / "shared"
    folder.mkdir(exist_ok=True)
    done = kubelet.world.run("sh", "-c", f"mount --bind {folder} {folder} && mount --make-shared {folder}")
    assert done.code == 0, done
    yield folder
    # A container's own copy of a mount keeps it busy until its namespace is gone.
    eventually(lambda: kubelet.world.run("umount", "--recursive", str(folder)).err, "")


def test_a_pod_has_a_name_addresses_and_files_of_its_own(pod: Pod) -> None:
    told = pod.status()
    assert (told["state"], told["metadata"]["name"], told["runtime_handler"]) == (
        cri.READY,
        pod.name,
        pod.handler,
    )
    seen = pod.out("sh", "-c", "hostname; cat /etc/resolv.conf; ip -o -4 addr show eth0")
    assert seen.splitlines()[0] == pod.name
    assert "nameserver 192.0.2.53" in seen
    assert told["network"]["ip"] in seen


def test_pods_are_listed_by_their_labels(pod: Pod) -> None:
    listed = pod.call("ListPodSandbox", filter={"label_selector": {"app": pod.name}})["items"]
    assert [(one["id"], one["state"], one["runtime_handler"]) for one in listed] == [
        (pod.id, cri.READY, pod.handler)
    ]


def test_containers_of_a_pod_share_network_ipc_and_name_but_not_processes(pod: Pod) -> None:
    lives = pod.start("sleep", "100")
    one, other = spaces(lives.exec("sh", "-c", LOOK)[1]), spaces(pod.out("sh", "-c", LOOK))
    lives.stop()
    assert {space for space in SPACES if one[space] == other[space]} >= {"net", "ipc", "uts"}
    assert one["pid"] != other["pid"]
    assert one["mnt"] != other["mnt"]
    pod.out("sh", "-c", "echo shared >/dev/shm/file")
    assert pod.out("cat", "/dev/shm/file") == "shared\n"


def test_containers_share_processes_where_a_pod_asks_for_it(kubelet: Kubelet, handler: str) -> None:
    with Pod(kubelet, handler, spaces={"pid": cri.POD}) as made:
        first = made.start("sleep", "54322")
        code, seen, _ = made.start("sleep", "100").exec("ps", "-o", "pid,args")
        assert code == 0
        assert "sleep 54322" in seen
        assert [line.split()[1:] for line in seen.splitlines() if line.split()[0] == "1"] == [
            ["/bin/sleep", "100000"]
        ]
        assert first.stop() == 137


def test_a_container_joins_the_processes_of_another_one_to_debug_it(pod: Pod) -> None:
    target = pod.start("sleep", "54323")
    joins = {"network": cri.POD, "pid": cri.TARGET, "target_id": target.id}
    seen = pod.out("sh", "-c", "ps -o args; cat /proc/1/root/etc/plain", rights={"namespace_options": joins})
    assert "sleep 54323" in seen
    assert "not a program" in seen
    target.stop()


def test_a_pod_has_the_hosts_namespaces_where_it_asks_for_them(kubelet: Kubelet, handler: str) -> None:
    host = spaces(kubelet.world.run("sh", "-c", LOOK).out)
    wanted = {"network": cri.NODE, "pid": cri.NODE, "ipc": cri.NODE}
    with Pod(kubelet, handler, spaces=wanted) as made:
        own = spaces(made.out("sh", "-c", LOOK))
    assert {space for space in SPACES if own[space] == host[space]} >= {"net", "ipc", "pid"}


def test_sysctls_of_a_pod_are_set(kubelet: Kubelet, handler: str) -> None:
    sysctls = {"net.ipv4.ip_unprivileged_port_start": "81", "kernel.shm_rmid_forced": "1"}
    with Pod(kubelet, handler, sysctls=sysctls) as made:
        found = made.out(
            "cat", "/proc/sys/net/ipv4/ip_unprivileged_port_start", "/proc/sys/kernel/shm_rmid_forced"
        )
    assert found.split() == ["81", "1"]


def test_a_pods_own_container_has_the_rights_that_are_asked_for(kubelet: Kubelet, handler: str) -> None:
    security = {
        "run_as_user": {"value": 65535},
        "readonly_rootfs": True,
        "seccomp": {"profile_type": cri.RUNTIME_DEFAULT},
    }
    with Pod(kubelet, handler, security=security) as made:
        status = kubelet.world.run("cat", f"/proc/{made.first()}/status").out
        assert "\nUid:\t65535\t" in status
        assert "\nSeccomp:\t2" in status


def test_what_is_mounted_later_is_seen_where_a_mount_asks_for_it(pod: Pod, shared: Path) -> None:
    mounts = [
        {"container_path": "/private", "host_path": str(shared)},
        {"container_path": "/slave", "host_path": str(shared), "propagation": 1},
        {"container_path": "/shared", "host_path": str(shared), "propagation": 2},
    ]
    (shared / "later").mkdir(exist_ok=True)
    (shared / "own").mkdir(exist_ok=True)
    rights = {
        "capabilities": {"add_capabilities": ["SYS_ADMIN"]},
        "seccomp": {"profile_type": cri.UNCONFINED},
    }
    waits = pod.start("sleep", "100", mounts=mounts, rights=rights)
    later = f"mount -t tmpfs later {shared}/later && touch {shared}/later/file"
    assert pod.kubelet.world.run("sh", "-c", later).code == 0
    assert waits.exec("ls", "/private/later", "/slave/later", "/shared/later")[1].split() == [
        "/private/later:", "/shared/later:", "file", "/slave/later:", "file",
    ]  # fmt: skip
    assert waits.exec("mount", "-t", "tmpfs", "own", "/shared/own")[0] == 0
    assert pod.kubelet.world.run("stat", "-f", "-c", "%T", f"{shared}/own").out == "tmpfs\n"
    waits.stop()


def test_pods_go_on_while_the_engine_is_started_anew(kubelet: Kubelet, handler: str) -> None:
    with Pod(kubelet, handler) as made:
        goes_on = made.start("sh", "-c", "trap 'exit 3' TERM; echo up; while :; do sleep 0.1; done")
        mounts = [{"container_path": "/logs", "host_path": str(made.logs)}]
        ends = made.start("sh", "-c", "until [ -e /logs/end ]; do sleep 0.05; done; exit 4", mounts=mounts)
        goes_on.prints("up")
        kubelet.stop()
        try:
            (made.logs / "end").touch()
            eventually(lambda: processes("[ -e /logs/end ]"), [])
        finally:
            kubelet.start()
        assert goes_on.exec("echo", "joined") == (0, "joined\n", "")
        assert ends.wait() == 4
        assert goes_on.stop(grace_s=60) == 3


def test_a_pod_whose_own_container_dies_is_not_ready(kubelet: Kubelet, handler: str) -> None:
    with Pod(kubelet, handler, spaces={"pid": cri.POD}) as made:
        other = made.start("sleep", "100")
        assert kubelet.world.run("kill", "-KILL", str(made.first())).code == 0
        eventually(lambda: made.status()["state"], cri.NOT_READY)
        assert other.wait() == 137


def test_a_pod_whose_shim_was_killed_is_cleared_away(kubelet: Kubelet, handler: str) -> None:
    with Pod(kubelet, handler) as made:
        lost = made.start("sleep", "54325")
        done = kubelet.world.run("pkill", "-KILL", "-f", f"containerd-shim-runc-v2 .*-id {made.id} ")
        assert done.code == 0, done
        eventually(lambda: lost.status()["state"], cri.EXITED)
        eventually(lambda: kubelet.trace(lost.id), [])
        eventually(lambda: processes("sleep 54325"), [])
    eventually(lambda: kubelet.trace(made.id), [])


def test_pods_come_and_go_at_the_same_time(kubelet: Kubelet, handler: str) -> None:
    def live(number: int) -> list[str]:
        own = copy.copy(kubelet)  # with a connection of its own
        own.call = Cri(kubelet.at / "socket")
        with Pod(own, handler) as made:
            waits = made.start("sleep", "100")
            assert made.out("echo", str(number)) == f"{number}\n"
            assert waits.exec("sh", "-c", f"exit {number}")[0] == number
            assert waits.stop() == 137
        own.call.channel.close()
        return [made.id, waits.id]

    with ThreadPoolExecutor(4) as threads:
        lived = list(threads.map(live, range(4)))
    eventually(lambda: kubelet.trace(*(one for numbers in lived for one in numbers)), [])


def test_stopping_a_pod_ends_all_that_is_in_it_and_nothing_is_left(kubelet: Kubelet, handler: str) -> None:
    with Pod(kubelet, handler) as made:
        one = made.start("sleep", "54324")
        ended = made.run("true")
        waits = made.create("true")
        made.call("StopPodSandbox", pod_sandbox_id=made.id)
        assert made.status()["state"] == cri.NOT_READY
        assert one.wait() == 137
    eventually(lambda: kubelet.trace(made.id, one.id, ended.id, waits.id), [])
    with pytest.raises(CallFailed, match="not found"):
        made.status()
    look = ("find", "/sys/fs/cgroup", "-mindepth", "1", "-path", f"*{made.cgroup}/*", "-type", "d")
    eventually(lambda: kubelet.world.run(*look).out, "")
