"""What has the launch helper tell the journal of events that a launch began, and how it ended (launch.h)."""

from __future__ import annotations

import os

from redpak import log
from redpak.paths import RUNTIME, runtime

SPECIAL = frozenset('\\"$`}')  # in a default value between a shell's double quotes


def words(node: str) -> tuple[str, ...]:
    """Return the helper's words for that; the runtime directory is made where it is not there."""
    folder = runtime()
    if not os.path.isdir(folder):
        from redpak.errors import RedpakError
        from redpak.state import place

        try:
            place.ready()
        except RedpakError as error:
            log.debug(f"no events: {error.message}")
    return ("-j", folder, in_json(node))


def in_shell(quoted: str) -> str:
    """Return the same for a script: it may be started where there is another runtime directory.

    `quoted` is the node, `in_json` and quoted for a shell.
    """
    default = "".join(f"\\{c}" if c in SPECIAL else c for c in runtime())
    return f'-j "${{{RUNTIME}:-{default}}}" {quoted}'


def in_json(path: str) -> str:
    """Return a path as a JSON string."""
    if path.isascii() and path.isprintable() and '"' not in path and "\\" not in path:
        return f'"{path}"'
    import json

    return json.dumps(path)
