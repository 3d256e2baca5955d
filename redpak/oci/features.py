"""`redpak-oci features`: what this runtime can do, for who calls it (runtime-spec, features.md, features-linux.md)."""

from __future__ import annotations

import os

from redpak.kernel.caps import NAMES
from redpak.oci import seccomp
from redpak.oci.commands import SPECIFICATION
from redpak.oci.config import PHASES
from redpak.oci.linux import SPACES
from redpak.oci.mounts import words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from redpak.oci.main import Call

OLDEST = "1.0.0"


def document() -> dict[str, Any]:
    """Return the features document. What the specification does not ask of the host is not looked up on it."""
    from redpak import __version__

    return {
        "ociVersionMin": OLDEST,
        "ociVersionMax": SPECIFICATION,
        "hooks": list(PHASES),
        "mountOptions": words(),
        "linux": {
            "namespaces": sorted(SPACES),
            "capabilities": list(NAMES),
            "cgroup": {"v1": True, "v2": True, "systemd": True, "systemdUser": True, "rdma": True},
            "seccomp": {
                "enabled": True,
                "actions": sorted(seccomp.ACTIONS),
                "operators": sorted(seccomp.OPERATORS),
                "archs": sorted((*seccomp.ARCHITECTURES, *seccomp.FOREIGN)),
                "knownFlags": sorted(seccomp.FLAGS),
                "supportedFlags": sorted(seccomp.FLAGS),
            },
            "apparmor": {"enabled": True},  # features-linux.md: whatever this host has
            "selinux": {"enabled": True},
            "intelRdt": {"enabled": False},
            "mountExtensions": {"idmap": {"enabled": True}},
        },
        "annotations": {
            "org.redpak.oci.version": __version__,
            "org.opencontainers.runc.checkpoint.enabled": "false",
        },
        "potentiallyUnsafeConfigAnnotations": ["org.systemd.property."],
    }


def features(call: Call) -> None:  # noqa: ARG001 - every command is given the call
    """Print the features document."""
    from redpak import quickjson

    os.write(1, quickjson.dumps(document(), indent="\t").encode() + b"\n")
