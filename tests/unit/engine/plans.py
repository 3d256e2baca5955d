"""Plans and hosts made by hand for the engine's unit tests."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from redpak.engine.host import Host
from redpak.origin import Origin
from redpak.plan.model import Choice, Member, Namespace, Plan
from redpak.plan.ops import Bind
from redpak.plan.tidy import tidy
from redpak.text import Text, text

if TYPE_CHECKING:
    from redpak.plan.model import Op

HERE = Origin(file="etc/redpak.yaml", line=7)
KINDS = ("cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts")


def bind(dst: str, src: object, **more: object) -> Bind:
    """Return a read-only bind unless asked otherwise."""
    return Bind(dst=dst, src=src if isinstance(src, Text) else text(str(src)), because=HERE, **more)  # type: ignore[arg-type]


def host(**facts: object) -> Host:
    """Return a host on which everything works."""
    return Host(
        **{  # type: ignore[arg-type]
            "bwrap": "/usr/bin/bwrap",
            "version": (0, 8, 0),
            "uid": os.getuid(),
            "gid": os.getgid(),
            "namespaces": frozenset(KINDS),
            "cache": "/cache",
            **facts,
        }
    )


def plan(
    *mounts: Op,
    namespaces: dict[str, str] | None = None,
    choices: dict[str, object] | None = None,
    **more: object,
) -> Plan:
    """Return a plan for node /node."""
    modes = {**dict.fromkeys(("cgroup", "ipc", "mount", "net", "pid", "user", "uts"), "new"), "time": "host"}
    modes.update(namespaces or {})
    given: dict[str, object] = {
        "node": "/node",
        "profile": "sealed",
        "family": (Member(alias="test", name="test", path="/node"),),
        "mounts": mounts,
        "environ": (),
        "namespaces": tuple(
            Namespace(kind=kind, mode="join", path=mode, because=HERE)  # type: ignore[arg-type]
            if mode.startswith("/")
            else Namespace(kind=kind, mode=mode, because=HERE)  # type: ignore[arg-type]
            for kind, mode in modes.items()
        ),
        "choices": tuple(Choice(name=n, value=v, because=HERE) for n, v in (choices or {}).items()),  # type: ignore[arg-type]
        "command": ("true",),
        "uid": os.getuid(),
        "gid": os.getgid(),
        **more,
    }
    return tidy(Plan(**given))  # type: ignore[arg-type]
