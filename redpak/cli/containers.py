"""Containers of redpak-oci, for `redpak ps`: they have their own state directory and are driven by `redpak-oci`."""

from __future__ import annotations

import os

from redpak.errors import RedpakError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


SHOWN_ID = 12  # characters of an id that `ps` shows; engines choose 64, and show as many


def meant(word: str) -> str:
    """Return the id of the container in redpak-oci's default state directory that `ps` shows as `word`, else ''."""
    from redpak.oci import store

    try:
        names = store.names(store.default_root())
    except (OSError, RedpakError):
        return ""
    return next((name for name in names if word in (name, name[:SHOWN_ID])), "")


def documents(*, ended: bool) -> list[dict[str, Any]]:
    """Return the containers in redpak-oci's default state directory, as `running.document` has sandboxes.

    Those that stopped only with `ended`. One that cannot be read is told with its reason.
    """
    from redpak.oci import store
    from redpak.oci.state import listed

    try:
        root = store.default_root()
        names = store.names(root) if os.path.isdir(root) and os.access(root, os.R_OK | os.X_OK) else []
    except (OSError, RedpakError):
        return []  # there is no place where they could be
    found: list[dict[str, Any]] = []
    for name in names:
        shown: dict[str, Any] = dict.fromkeys(
            ("code", "ended", "init_pid", "launcher_pid", "supervisor_pid", "started", "pid")
        )
        shown |= {"id": name, "name": name, "node": "?", "command": [], "status": "lost", "detached": True}
        shown |= {"engine": "redpak-oci", "user": os.geteuid(), "oom": False, "reason": ""}
        try:
            one = listed(store.load(root, name))
            shown |= {
                "node": one["bundle"], "status": one["status"], "pid": one["pid"] or None, "started": one["created"],
            }  # fmt: skip
        except (OSError, RedpakError, KeyError) as error:
            shown["reason"] = str(error)
        if ended or shown["status"] in ("creating", "created", "running", "paused"):
            found.append(shown)
    return found
