"""`redpak-oci pause ID` and `resume ID`: freeze all processes of a container, and let them go on."""

from __future__ import annotations

from redpak.errors import RedpakError
from redpak.oci import life, store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.cgroup.group import Group
    from redpak.oci.main import Call


def _group(container: store.Container, act: str) -> Group:
    if not container.data.get("cgroup"):
        raise RedpakError(
            f"cannot {act} container '{container.name}': it has no control group",
            hint="Create it with a cgroupsPath that may be written to.",
        )
    from redpak.cgroup import group as groups

    return groups.load(container.data["cgroup"])


def pause(call: Call) -> None:
    """Freeze a created or running container."""
    container = store.load(call.root, call.words[0])
    container.lock()
    status = life.status(container)
    if status not in (life.RUNNING, life.CREATED):
        raise RedpakError(f"cannot pause container '{container.name}': container not running: {status}")
    _group(container, "pause").freeze()


def resume(call: Call) -> None:
    """Thaw a paused container."""
    container = store.load(call.root, call.words[0])
    container.lock()
    status = life.status(container)
    if status == life.STOPPED or not life.frozen(container):
        raise RedpakError(f"cannot resume container '{container.name}': container not paused: {status}")
    _group(container, "resume").thaw()
