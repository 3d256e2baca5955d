"""A node of redpak in a pod of Kubernetes: a runtime handler, as a RuntimeClass names it, and an annotation."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.clients import cri
from tests.clients.grpc import CallFailed
from tests.clients.kubelet import PLAIN, Kubelet, Pod, documented
from tests.clients.stream import STDOUT, Stream
from tests.clients.world import runtime
from tests.conftest import REPOSITORY
from tests.patience import eventually

pytestmark = [
    pytest.mark.needs("root", "containerd", "cni", "podman"),
    pytest.mark.slow,
    pytest.mark.skipif(runtime().name != "redpak-oci", reason="a control: only redpak-oci knows nodes"),
]
HANDLER = "redpak"
ANNOTATION = "org.redpak.node"
# What a kubelet asks to be hidden and read-only in each container that is not privileged.
MASKED = ["/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats",
          "/proc/sched_debug", "/proc/scsi", "/sys/firmware"]  # fmt: skip
READ_ONLY = ["/proc/asound", "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]


@pytest.fixture(scope="module")
def nodes(kubelet: Kubelet) -> Path:
    """Return a directory of nodes, of which one, 'app' below 'base', may be named by containers."""
    at = kubelet.at / "nodes"
    at.mkdir()
    redpak = [sys.executable, str(REPOSITORY / "scripts" / "redpak")]
    for name in ("base", "base/app", "hidden"):
        done = kubelet.world.run(*redpak, "node", "create", str(at / name))
        assert done.code == 0, done
    (at / "base/app/private/greeting").write_text("of the node\n")
    program = at / "base/app/usr/bin/app"
    program.write_text("#!/bin/sh\necho serving $1\n")
    program.chmod(0o755)
    script = f"mkdir -p /etc/redpak && echo {at}/base >/etc/redpak/oci-nodes"
    assert kubelet.world.run("sh", "-c", script).code == 0
    return at


@pytest.fixture(scope="module")
def app(kubelet: Kubelet, nodes: Path) -> Iterator[Pod]:
    """Return a pod whose containers are a node."""
    with Pod(kubelet, HANDLER, annotations={ANNOTATION: str(nodes / "base/app")}) as made:
        yield made


def as_kubelets_ask(pod: Pod) -> dict[str, Any]:
    """Return the options of a container with all that a kubelet gives each one by itself."""
    given = pod.kubelet.at / f"given-{pod.name}"
    if not given.exists():
        (given / "secret").mkdir(parents=True)
        (given / "secret/token").write_text("secret\n")
        (given / "hosts").write_text("127.0.0.1 localhost\n10.0.0.1 written-by-the-kubelet\n")
        (given / "termination-log").touch()
    mounts = [
        {"container_path": "/var/run/secrets/kubernetes.io/serviceaccount", "host_path": f"{given}/secret",
         "readonly": True},
        {"container_path": "/etc/hosts", "host_path": f"{given}/hosts"},
        {"container_path": "/dev/termination-log", "host_path": f"{given}/termination-log"},
    ]  # fmt: skip
    return {
        "mounts": mounts,
        "envs": [{"key": "KUBERNETES_SERVICE_HOST", "value": "10.0.0.1"}],
        "annotations": {"io.kubernetes.container.restartCount": "0"},
        "resources": {
            "memory_limit_in_bytes": 256 << 20,
            "cpu_period": 100000,
            "cpu_quota": 50000,
            "cpu_shares": 102,
            "oom_score_adj": 990,
        },
        "rights": {
            "masked_paths": MASKED,
            "readonly_paths": READ_ONLY,
            "seccomp": {"profile_type": cri.RUNTIME_DEFAULT},
        },
    }


def test_a_container_is_the_node_that_its_pod_names(app: Pod, nodes: Path) -> None:
    script = (
        "echo $HOME; ls /nodes; cat /home/app/greeting; ls -d /etc/plain;"
        " grep -E 'CapEff|CapBnd|NoNew' /proc/self/status; touch /usr/share/x 2>/dev/null || exit 9"
    )
    done = app.run("sh", "-c", script, **as_kubelets_ask(app))
    assert done.status()["exit_code"] == 9, done
    assert done.log().split() == [
        "/home/app", "_private", "app", "base", "system", "of", "the", "node",
        "CapEff:", "0" * 16, "CapBnd:", "0" * 16, "NoNewPrivs:", "1",
    ]  # fmt: skip


def test_a_node_has_the_place_that_kubernetes_gives_it(app: Pod) -> None:
    script = (
        "hostname; cat /etc/resolv.conf /etc/hosts /var/run/secrets/kubernetes.io/serviceaccount/token;"
        " echo $KUBERNETES_SERVICE_HOST; echo done >/dev/termination-log; cat /proc/self/oom_score_adj;"
        " readlink /proc/self/ns/net; echo shared >/dev/shm/file"
    )
    done = app.run("sh", "-c", script, **as_kubelets_ask(app))
    assert done.status()["exit_code"] == 0, done
    seen = done.log().splitlines()
    assert seen[0] == app.name
    for line in ("nameserver 192.0.2.53", "10.0.0.1 written-by-the-kubelet", "secret", "10.0.0.1", "990"):
        assert line in seen
    network = app.kubelet.world.run("readlink", f"/proc/{app.first()}/ns/net").out.strip()
    assert network in seen
    assert (app.kubelet.at / f"given-{app.name}/termination-log").read_text() == "done\n"


def test_a_node_has_the_limits_of_its_pod(app: Pod) -> None:
    made = app.start("sleep", "100", **as_kubelets_ask(app))
    assert made.cgroup("memory/memory.limit_in_bytes", "memory.max") == str(256 << 20)
    made.call("UpdateContainerResources", linux={"memory_limit_in_bytes": 128 << 20})
    assert made.cgroup("memory/memory.limit_in_bytes", "memory.max") == str(128 << 20)
    assert made.call("ContainerStats")["stats"]["memory"]["working_set_bytes"]["value"] > 0
    assert made.stop() == 137


def test_a_probe_runs_in_the_node_and_a_stop_is_heard(app: Pod) -> None:
    made = app.start(
        "sh", "-c", "trap 'exit 3' TERM; echo up; while :; do sleep 0.1; done", **as_kubelets_ask(app)
    )
    made.prints("up")
    assert made.exec("sh", "-c", "cat /home/app/greeting; exit 7") == (7, "of the node\n", "")
    assert made.exec("grep", "CapBnd", "/proc/self/status")[1].split() == ["CapBnd:", "0" * 16]
    assert made.stop(grace_s=60) == 3


def test_a_program_of_the_node_is_found_by_its_name_and_may_have_a_terminal(app: Pod) -> None:
    assert app.out("app", args=["--all"], **as_kubelets_ask(app)) == "serving --all\n"
    made = app.start("sleep", "100", **as_kubelets_ask(app))
    program = ["sh", "-c", "tty; read word; app $word"]
    url = made.call("Exec", cmd=program, stdin=True, stdout=True, tty=True)["url"]
    stream = Stream(app.kubelet.world, url)
    stream.until(STDOUT, b"/dev/pts/")
    stream.send(b"it\n")
    stream.until(STDOUT, b"serving it")
    assert stream.end() == 0
    made.stop()


def test_the_documented_manifests_run_a_node(kubelet: Kubelet, nodes: Path) -> None:
    at = kubelet.at
    prepared = (
        f'cd {at}; ctr() {{ command ctr --address {at}/socket "$@"; }}\n'
        f'podman() {{ command podman --root {at}/podman --runroot {at}/podman-run "$@"; }}\n'
    )
    done = kubelet.world.run("sh", "-euc", prepared + documented("sh", "podman import"))
    assert done.code == 0, done
    text = documented("yaml", "RuntimeClass").replace("/srv/nodes/app", str(nodes / "base/app"))
    sort, pod = yaml.safe_load_all(text)
    (asked,) = pod["spec"]["containers"]
    assert pod["spec"]["runtimeClassName"] == sort["metadata"]["name"]
    assert asked["resources"] == {"limits": {"memory": "256Mi"}}
    kubelet.has(f"{asked['image']}:latest")
    # as a kubelet says it
    with Pod(kubelet, sort["handler"], annotations=pod["metadata"]["annotations"]) as made:
        options = as_kubelets_ask(made) | {"image_name": f"{asked['image']}:latest"}
        served = made.run(*asked["command"], **options)
        assert served.log() == "serving --serve\n", served


def test_a_pod_may_name_a_user_and_bring_volumes(app: Pod) -> None:
    options = as_kubelets_ask(app)
    options["rights"] |= {"run_as_user": {"value": 1000}, "run_as_group": {"value": 1000}}
    options["mounts"] += [{"container_path": "/data", "host_path": str(app.logs)}]
    app.logs.chmod(0o777)
    assert app.out("sh", "-c", "id -u; id -g; echo kept >/data/kept", **options).split() == ["1000", "1000"]
    assert (app.logs / "kept").stat().st_uid == 1000


@pytest.mark.parametrize(("node", "why"), [("hidden", "may not be named"), ("base/none", "does not exist")])
def test_a_node_that_is_not_offered_is_refused(kubelet: Kubelet, nodes: Path, node: str, why: str) -> None:
    with Pod(kubelet, HANDLER, annotations={ANNOTATION: str(nodes / node)}) as made:
        waits = made.create("true", **as_kubelets_ask(made))
        with pytest.raises(CallFailed, match=why):
            waits.call("StartContainer")
        assert waits.status()["reason"] == "StartError"


def test_what_a_node_does_not_give_is_refused(kubelet: Kubelet, nodes: Path) -> None:
    security = {"privileged": True}
    with Pod(kubelet, HANDLER, annotations={ANNOTATION: str(nodes / "base/app")}, security=security) as made:
        waits = made.create("true", rights=security)
        with pytest.raises(CallFailed, match="the node has no devices"):
            waits.call("StartContainer")
        folder = [{"container_path": "/usr/share", "host_path": str(made.logs)}]
        waits = made.create("true", mounts=folder)
        with pytest.raises(CallFailed, match="would cover the node's '/usr/share'"):
            waits.call("StartContainer")


def test_the_annotation_says_nothing_to_a_handler_that_does_not_pass_it_on(
    kubelet: Kubelet, nodes: Path
) -> None:
    with Pod(kubelet, PLAIN, annotations={ANNOTATION: str(nodes / "base/app")}) as made:
        assert made.out("cat", "/etc/plain") == "not a program\n"  # the image's


def test_nothing_is_left_of_a_pod_of_a_node(kubelet: Kubelet, nodes: Path) -> None:
    with Pod(kubelet, HANDLER, annotations={ANNOTATION: str(nodes / "base/app")}) as made:
        one = made.start("sleep", "100", **as_kubelets_ask(made))
        assert kubelet.trace(one.id)
    eventually(lambda: kubelet.trace(made.id, one.id), [])
