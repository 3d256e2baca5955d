"""Configurations to test with: a small one to change, and those that real programs wrote (in `configs/`)."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

from redpak.errors import BadConfig
from redpak.oci import config

FOLDER = Path(__file__).with_name("unit") / "oci" / "configs"
REAL = sorted(path.stem for path in FOLDER.glob("*.json") if "process" not in path.stem)
EVERY = (1 << 41) - 1

SMALL: dict[str, Any] = {
    "ociVersion": "1.2.0",
    "process": {"args": ["/bin/true"], "cwd": "/", "user": {"uid": 0, "gid": 0}},
    "root": {"path": "rootfs"},
    "linux": {"namespaces": [{"type": "mount"}, {"type": "pid"}]},
}


def real(name: str) -> dict[str, Any]:
    """Return what a program wrote."""
    found: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
    return found


def small(**changes: Any) -> dict[str, Any]:
    """Return SMALL with members set by their path: small(linux__hostname="x")."""
    found = copy.deepcopy(SMALL)
    for path, value in changes.items():
        *parents, last = path.split("__")
        at = found
        for name in parents:
            at = at.setdefault(name, {})
        at[last] = value
    return found


def spaces(*kinds: str) -> list[dict[str, str]]:
    """Return namespaces that are new."""
    return [{"type": kind} for kind in kinds]


def read(data: object, *, euid: int = 0, grantable: int = EVERY, has: bool = False) -> config.Config:
    """Return a configuration as a whole system's root would run it."""
    return config.parse(data, bundle="/bundle", euid=euid, grantable=grantable, has=lambda _: has)


def faults(data: object, *, euid: int = 0, has: bool = False) -> list[str]:
    """Return what is wrong with a configuration."""
    try:
        read(data, euid=euid, has=has)
    except BadConfig as error:
        return [fault.message for fault in error.faults]
    return []
