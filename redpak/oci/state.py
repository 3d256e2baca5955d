"""`redpak-oci state ID`: the state of a container as the runtime specification writes it, and what runc adds."""

from __future__ import annotations

import os

from redpak.oci import life, store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from redpak.oci.main import Call


def document(container: store.Container, status: str, *, pid: int | None = None) -> dict[str, Any]:
    """Return what hooks, seccomp agents and `state` are told of a container."""
    data = container.data
    if pid is None:
        pid = 0 if status == life.STOPPED else container.pid
    told: dict[str, Any] = {
        "ociVersion": data.get("ociVersion", ""),
        "id": container.name,
        "status": status,
        "pid": pid,
        "bundle": data.get("bundle", ""),
    }
    if data.get("annotations"):
        told["annotations"] = data["annotations"]
    return told


def encoded(container: store.Container, status: str, pid: int) -> bytes:
    """Return what a hook reads on its standard input."""
    from redpak import quickjson

    return quickjson.dumps(document(container, status, pid=pid)).encode()


def listed(container: store.Container) -> dict[str, Any]:
    """Return the same with what runc's clients also read."""
    told = document(container, life.status(container))
    for name in ("rootfs", "created", "owner"):
        told[name] = container.data.get(name, "")
    return told


def state(call: Call) -> None:
    """Print the state of one container."""
    from redpak import quickjson

    told = listed(store.load(call.root, call.words[0]))
    os.write(1, quickjson.dumps(told, indent="  ").encode() + b"\n")
