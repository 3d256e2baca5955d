"""What redpak-oci needs to know of nodes: imported only for a container that names one (redpak.oci.node_handler)."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from redpak.engine.host import Host
    from redpak.oci.bundle import Bundle
    from redpak.oci.node_handler import Composed


def host() -> Host:
    """Return this host for a launch by another runtime, which needs no bubblewrap."""
    from redpak.engine.host import Host
    from redpak.oci.process import own_caps
    from redpak.paths import cache

    return Host(
        bwrap="",
        version=(0, 0, 0),
        uid=os.geteuid(),
        gid=os.getegid(),
        namespaces=frozenset(os.listdir("/proc/self/ns")),
        smack=os.path.isdir("/sys/fs/smackfs"),
        cache=cache(),
        bounding=own_caps(),
    )


def compose(client: dict[str, Any], node: str) -> Composed:
    """Return the configuration of a container that is to be the node at a path. Raises RedpakError."""
    import sys

    from redpak.oci import node_handler

    if sys.flags.no_site:  # redpak-oci starts without; reading a node may take other packages (YAML)
        import site

        site.main()
    path = node_handler.check_allowed(node, euid=os.geteuid())
    return node_handler.merge(client, node_bundle(client, path))


def node_bundle(client: dict[str, Any], path: str) -> Bundle:
    """Return the node's bundle, for the user that the client asks for, with the client's variables as the caller's."""
    from redpak.node.plan import plan_of
    from redpak.oci import bundle

    process = client.get("process") or {}
    user = process.get("user") or {}
    environ = dict(one.partition("=")[::2] for one in process.get("env") or () if isinstance(one, str))
    made = plan_of(path, command=tuple(process.get("args") or ()))
    uid, gid = (user.get(key) for key in ("uid", "gid"))
    if os.geteuid() == 0 and isinstance(uid, int) and isinstance(gid, int):
        made = made.but(uid=uid, gid=gid)
    return bundle.make(made, host(), environ)
