"""Pods whose cgroups systemd makes, as kubeadm sets up a kubelet. It takes a guest: here systemd has to be there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients import image
from tests.clients.kubelet import HANDLERS, Kubelet, Pod
from tests.clients.world import Guest
from tests.patience import eventually

pytestmark = [pytest.mark.needs("root", "vm", "systemd", "cgroup-v2", "containerd", "cni"), pytest.mark.slow]
SLICE = "kubepods-besteffort-podtested.slice"
FOLDER = Path("/sys/fs/cgroup/kubepods.slice/kubepods-besteffort.slice", SLICE)
LIMITS = {"memory_limit_in_bytes": 64 << 20, "cpu_period": 100000, "cpu_quota": 25000, "cpu_shares": 512}


@pytest.fixture
def kubelet() -> Iterator[Kubelet]:
    """Return containerd as a kubelet sees it that has systemd make cgroups."""
    guest = Guest()
    image.write(guest.at / "image.tar")
    made = Kubelet(guest, systemd=True)
    yield made
    made.close()


def test_systemd_knows_a_pods_containers_and_their_limits(kubelet: Kubelet) -> None:
    def told(unit: str) -> list[str]:
        words = ["systemctl", "show", "--property=MemoryMax", "--property=CPUQuotaPerSecUSec", unit]
        return sorted(kubelet.world.run(*words).out.split())

    with Pod(kubelet, HANDLERS[0], slice_name=SLICE) as made:
        limited = made.start(
            "sh", "-c", "trap 'exit 3' TERM; echo up; while :; do sleep 0.3; done", resources=LIMITS
        )
        limited.prints("up")
        unit = f"cri-containerd-{limited.id}.scope"
        assert told(unit) == ["CPUQuotaPerSecUSec=250ms", f"MemoryMax={64 << 20}"]
        assert (FOLDER / unit / "memory.max").read_text() == f"{64 << 20}\n"
        assert limited.exec("echo", "joined") == (0, "joined\n", "")
        limited.call("UpdateContainerResources", linux={"memory_limit_in_bytes": 96 << 20})
        assert told(unit) == ["CPUQuotaPerSecUSec=250ms", f"MemoryMax={96 << 20}"]
        assert (FOLDER / unit / "memory.max").read_text() == f"{96 << 20}\n"
        assert limited.stop(grace_s=60) == 3
    eventually(lambda: kubelet.trace(made.id, limited.id), [])
    listed = ("systemctl", "list-units", "--all", "--plain", "--no-legend", "cri-containerd-*")
    eventually(lambda: kubelet.world.run(*listed).out, "")
