"""Nodes under OCI runtimes: as a bundle under each of them, and by name under podman."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY, Program
from tests.patience import PATIENCE_S

LOOK = (
    "echo id $(id -u):$(id -g); echo host $(hostname); echo var $HOME $PATH; cd /; echo root $(ls -x -w 200 /);"
    " grep -E 'Cap|NoNew|Seccomp:' /proc/self/status; touch /usr/share/x 2>&1 | sed 's/^[^:]*: //';"
    " echo hello >/var/local/hello && cat /var/local/hello; ls /nodes; unshare -U true 2>&1; exit 7"
)
# crun refuses a host with hierarchies of both versions, even when it is to make no group
HIDE = "[ ! -d /sys/fs/cgroup/unified ] || mount -t tmpfs none /sys/fs/cgroup/unified;"
RUNTIMES = {
    "redpak-oci": ("redpak-oci", str(REPOSITORY / "scripts" / "redpak-oci")),
    "runc": ("runc", "runc"),
    "crun": ("crun", f"{HIDE} crun --cgroup-manager=disabled"),
}


def in_private(
    script: str, *words: str | Path, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a shell script as root in mount, network, IPC and UTS namespaces of its own: nothing of it stays mounted."""
    argv = [
        "unshare",
        "-m",
        "-n",
        "-i",
        "-u",
        "--propagation",
        "private",
        "bash",
        "-euc",
        script,
        "bash",
        *map(str, words),
    ]
    path = "/usr/sbin:/usr/bin:/sbin:/bin"
    return subprocess.run(
        argv, capture_output=True, text=True, timeout=PATIENCE_S, check=False, stdin=subprocess.DEVNULL,
        env={"PATH": path, "HOME": "/root", **(env or {})},
    )  # fmt: skip


@pytest.fixture
def node(redpak: Program, pool: Path) -> Path:
    """Return a node below another one."""
    for path in (pool / "base", pool / "base" / "app"):
        made = redpak("node", "create", path)
        assert made.code == 0, made
    return pool / "base" / "app"


@pytest.mark.needs("root", "runc", "crun", "redpak-oci")
@pytest.mark.parametrize("runtime", sorted(RUNTIMES))
def test_a_nodes_bundle_is_the_same_sandbox_under_every_runtime(
    runtime: str, redpak: Program, node: Path, tmp_path: Path
) -> None:
    wanted = redpak("run", node, "--", "sh", "-c", LOOK)
    bundle = tmp_path / "bundle"
    made = redpak("oci", "bundle", node, bundle, "--", "sh", "-c", LOOK)
    assert made.code == 0, made
    config = json.loads((bundle / "config.json").read_text())
    if runtime != "crun":
        config["linux"]["cgroupsPath"] = f"/redpak-nodes-{os.getpid()}"
    (bundle / "config.json").write_text(json.dumps(config))
    program = RUNTIMES[runtime][1]
    ran = in_private(
        f'{program} --root "$1" run --bundle "$2" node-{os.getpid()}', tmp_path / "states", bundle
    )
    assert ran.returncode == 7, ran

    def told(text: str) -> list[str]:
        lines = text.splitlines()
        return [" ".join(line.split()) for line in lines if not line.startswith("Seccomp_filters")]

    assert told(ran.stdout) == told(wanted.out), ran.stderr
    assert (wanted.code, sorted(os.listdir(bundle))) == (7, ["config.json", "rootfs"])


def test_without_a_directory_the_configuration_is_printed_and_nothing_written(
    redpak: Program, node: Path, tmp_path: Path
) -> None:
    shown = redpak("oci", "bundle", node)
    assert json.loads(shown.out)["root"] == {"path": "rootfs", "readonly": True}
    assert not (tmp_path / "rootfs").exists()


def test_a_bundle_is_explained_with_the_lines_of_the_node(
    redpak: Program, node: Path, tmp_path: Path
) -> None:
    assert redpak("oci", "bundle", node, tmp_path / "b", "--", "true").code == 0
    asked = redpak("explain", node, "/usr/share", "net")
    told = redpak("oci", "explain", tmp_path / "b", "/usr/share", "net")
    assert told.code == 0
    assert [line for line in asked.out.splitlines() if line[:1] != " "] == [
        line for line in told.out.splitlines() if line[:1] != " "
    ]
    every = redpak("oci", "explain", tmp_path / "b")
    assert (every.code, "etc/redpak.yaml:" in every.out) == (0, True)
    assert redpak("oci", "bundle", node, tmp_path / "b").code == 1
    assert redpak("oci", "explain", tmp_path / "nothing").code == 4


PODMAN = r"""
runtime=$1 work=$2 node=$3; shift 3
ip link set lo up
mkdir "$work/layers"; mount -t tmpfs none "$work/layers"; mkdir "$work/layers/up" "$work/layers/tmp"
mount -t overlay none -o "lowerdir=/etc,upperdir=$work/layers/up,workdir=$work/layers/tmp" /etc
mkdir -p /etc/redpak "$work/empty" "$work/volume"; echo v >"$work/volume/file"
[ -z "${ALLOWED:-}" ] || echo "$ALLOWED" >/etc/redpak/oci-nodes
cat >"$work/containers.conf" <<C
[containers]
default_ulimits=["nofile=$(ulimit -Hn):$(ulimit -Hn)","nproc=32768:32768"]
[engine]
cgroup_manager="cgroupfs"
events_logger="file"
C
export CONTAINERS_CONF=$work/containers.conf
podman="podman --root $work/store --runroot $work/run --tmpdir $work/tmp --runtime $runtime"
code=0
$podman run --rm --network none --cgroup-parent "/redpak-nodes-$$" --annotation "org.redpak.node=$node" \
    -e GREETING=hello -v "$work/volume:/data" ${VOLUME:+-v "$work/volume:$VOLUME"} \
    --rootfs "$work/empty" "$@" || code=$?
for again in $(seq 300); do  # conmon leaves its groups a little later than podman ends
    find /sys/fs/cgroup -depth -type d -path "*/redpak-nodes-$$*" -exec rmdir {} + 2>/dev/null || true
    [ "$(find /sys/fs/cgroup -type d -path "*/redpak-nodes-$$*" | wc -l)" != 0 ] || break
    sleep 0.2
done
exit $code
"""


@pytest.fixture
def short() -> Iterator[Path]:
    """Return a directory for podman, which takes no runroot of more than 50 characters.

    All that it mounts in there is in a mount namespace that has gone when this is removed.
    """
    at = tempfile.mkdtemp(prefix="rp-", dir="/tmp")
    yield Path(at)
    shutil.rmtree(at)


def podman(work: Path, node: Path, *command: str, **env: str) -> subprocess.CompletedProcess[str]:
    return in_private(PODMAN, REPOSITORY / "scripts" / "redpak-oci", work, node, *command, env=env)


@pytest.mark.needs("root", "podman", "redpak-oci", "overlay")
def test_podman_runs_a_node_that_the_hosts_owner_offers(node: Path, short: Path) -> None:
    look = (
        "echo $GREETING $HOME; cat /data/file; ls /nodes; grep -E 'CapEff|CapBnd|NoNew' /proc/self/status;"
        " touch /usr/share/x /x 2>/dev/null || exit 9"
    )
    ran = podman(short, node, "sh", "-c", look, ALLOWED=str(node.parent.parent))
    assert ran.returncode == 9, ran
    assert ran.stdout.split() == [
        "hello", "/home/app", "v", "_private", "app", "base", "system",
        "CapEff:", "0" * 16, "CapBnd:", "0" * 16, "NoNewPrivs:", "1",
    ]  # fmt: skip


@pytest.mark.needs("root", "podman", "redpak-oci", "overlay")
@pytest.mark.parametrize(
    ("env", "why"),
    [
        ({}, "no node may be named"),
        ({"ALLOWED": "/somewhere/else"}, "may not be named"),
        ({"ALLOWED": "/", "VOLUME": "/usr/share"}, "would cover the node's '/usr/share'"),
    ],
)
def test_podman_cannot_run_a_node_that_is_not_offered_or_not_as_it_is(
    env: dict[str, str], why: str, node: Path, short: Path
) -> None:
    ran = podman(short, node, "true", **env)
    assert ran.returncode != 0
    assert why in ran.stderr
