"""The client ring: the container engines that people use, over this checkout's runtime (or REDPAK_RUNTIME=runc)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.clients import image
from tests.clients.kubelet import HANDLERS, Kubelet, Pod
from tests.clients.podman import Podman
from tests.clients.world import World


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    """Return the world in which the engines work; it ends with the session."""
    made = World()
    try:
        image.write(made.at / "image.tar")
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module", params=["root", "rootless"])
def podman(request: pytest.FixtureRequest, world: World) -> Iterator[Podman]:
    """Return podman with an image, as root and as an ordinary user."""
    made = Podman(world, rootless=request.param == "rootless")
    made.out("load", "--input", str(world.at / "image.tar"))
    yield made
    made("pod", "rm", "--all", "--force", "--time=0")
    made("rm", "--all", "--force", "--time=0")


@pytest.fixture
def root_podman(podman: Podman) -> Podman:
    """Return podman where it has limits: as root, or where cgroup v2 is delegated."""
    if podman.rootless:
        pytest.skip("a choice: limits are root's here")
    return podman


@pytest.fixture(scope="session")
def kubelet(world: World) -> Iterator[Kubelet]:
    """Return containerd as a kubelet sees it."""
    made = Kubelet(world)
    yield made
    made.close()


@pytest.fixture(scope="module", params=HANDLERS)
def handler(request: pytest.FixtureRequest) -> str:
    """Return the name of a runtime handler: what it says of a pod has to hold under runc as well."""
    return str(request.param)


@pytest.fixture(scope="module")
def pod(kubelet: Kubelet, handler: str) -> Iterator[Pod]:
    """Return a pod that a module's tests share."""
    with Pod(kubelet, handler) as made:
        yield made
