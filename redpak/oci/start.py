"""`redpak-oci start ID`: open the gate of a created container, and run the poststart hooks when its program runs."""

from __future__ import annotations

import os

from redpak.errors import NotFound, RedpakError
from redpak.oci import life, store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.oci.main import Call

TOLD = "REDPAK_OCI_TOLD"  # see quick.py


def start(call: Call) -> None:
    """Start a created container, once."""
    container = store.load(call.root, call.words[0])
    container.lock()
    if TOLD in os.environ:
        _told()
    tell(call, begin(container))


def _told() -> None:
    """Raise what redpak-quick was told by the gate, which answers once."""
    from redpak.engine.native import wire
    from redpak.oci import quick

    packet = quick.told()
    if packet[:1] == wire.FAILED:
        raise wire.error_of(packet, store.GATE)


def tell(call: Call, warnings: list[str]) -> None:
    """Pass on what did not go as asked and does not stop us."""
    from redpak.oci.main import warn

    for warning in warnings:
        warn(call.common, warning)


def begin(container: store.Container) -> list[str]:
    """Open the gate, let go of the lock, and stay until the program is ready where somebody wants to know that.

    Return what poststart hooks failed.
    """
    if not container.data.get("notify"):
        warnings = open_gate(container)
        container.unlock()
        return warnings
    from redpak.oci import notify

    listener, heard = notify.watched(container)
    warnings = open_gate(container)
    container.unlock()
    notify.relay(container, listener, heard)
    return warnings


def open_gate(container: store.Container) -> list[str]:
    """Let the program run, then the poststart hooks; return which of those failed. We hold the lock.

    Raises RedpakError when the program is not there to be started, or fails.
    """
    status = life.status(container)
    if status != life.CREATED:
        refused = {
            life.RUNNING: "cannot start an already running container",
            life.STOPPED: "cannot start a container that has stopped",
        }.get(status, f"cannot start a container in the {status} state")
        raise RedpakError(
            f"{refused}: '{container.name}'", hint="Create another one, or start one that is created."
        )
    from redpak.engine.native.gate import release

    try:
        release(container.gate)
    except NotFound:
        if life.alive(container):  # whoever started it was killed before the gate was taken away
            _unlink(container.gate)
            raise RedpakError(f"cannot start an already running container: '{container.name}'") from None
        raise RedpakError(f"cannot start a container that has stopped: '{container.name}'") from None
    _unlink(container.gate)
    return _poststart(container) if container.data.get("poststart") else []


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def _poststart(container: store.Container) -> list[str]:
    """Run the hooks. A failure is a warning, and the rest goes on (runtime-spec 1.2.0, lifecycle, step 9)."""
    from redpak.oci import hooks
    from redpak.oci.state import encoded

    found = hooks.from_list(container.data["poststart"])
    return hooks.run_all("poststart", found, encoded(container, life.RUNNING, container.pid))
