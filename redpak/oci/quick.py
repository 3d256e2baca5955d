"""What redpak-quick (engine/quick.c) needs to start and to delete a container without an interpreter.

A file `quick` in the container's directory, only where these two commands have nothing else to do:

    redpak-quick 1
    PID START_TIME          of the first process, as in the state file
    =DIRECTORY              of its control group: one line for every hierarchy
    -DIRECTORY              made for it above those: removed as well when nothing else is in there

Nothing in it changes in a container's life. `start` and `delete` of Python do the same without this file.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.oci.store import Container

NAME = "quick"


def note(container: Container) -> None:
    """Write the file for a container that is created, if it is one of the plain ones. Its lock is ours."""
    data = container.data
    group = data.get("cgroup") or {}
    if data.get("poststart") or data.get("poststop") or data.get("notify") or group.get("unit"):
        return
    lines = ["redpak-quick 1", f"{data['pid']} {data['start_time']}"]
    lines += [f"={path}" for path in dict.fromkeys(group.get("paths", {}).values())]
    lines += [f"-{path}" for path in group.get("made", ())]
    if any("\n" in line for line in lines):
        return
    from redpak.oci.store import put

    put(f"{container.path}/{NAME}", os.fsencode("\n".join(lines) + "\n"))


def told() -> bytes:
    """Return what the gate said to redpak-quick, where that was a failure; b"" = nothing of the kind."""
    from redpak.oci.start import TOLD

    number = os.environ.get(TOLD, "")
    if not number.isascii() or not number.isdigit():
        return b""
    try:
        return os.pread(int(number), 1 << 16, 0)
    except (OSError, OverflowError):
        return b""
