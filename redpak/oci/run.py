"""`redpak-oci run ID`: create and start; stay until the program ends and delete the container, or leave (--detach)."""

from __future__ import annotations

from redpak.errors import NotFound
from redpak.oci import create, delete, store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.oci.main import Call


def run(call: Call) -> int:
    """Return the program's exit code, 0 with --detach."""
    from redpak.oci.start import begin, open_gate, tell

    detached = call.asked.flag("detach")
    if not detached and not call.asked.flag("no-subreaper"):
        from redpak.kernel.process import adopt_orphans

        adopt_orphans()
    container, running, master = create.make(call, detached=detached)
    try:
        if detached:
            tell(call, begin(container))
            return 0
        from redpak.oci.foreground import Attached

        attached = Attached(running, master)
        if container.data.get("notify"):
            from redpak.oci import notify

            attached.watch(*notify.watched(container))
        tell(call, open_gate(container))
        container.unlock()
        code = attached.wait()
    except BaseException:
        _end(call, container)
        raise
    if not call.asked.flag("keep"):
        _end(call, container)
    return code


def _end(call: Call, container: store.Container) -> None:
    from redpak.oci.main import warn

    if container.lock_fd < 0:
        try:
            container.lock()
        except NotFound:
            return  # somebody else has deleted it
    for wrong in delete.remove(container):
        warn(call.common, wrong)
