"""`redpak-oci ps ID`: the processes of a container, by its control group."""

from __future__ import annotations

import os

from redpak.errors import RedpakError, Usage
from redpak.oci import life, members, store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.oci.main import Call


def ps(call: Call) -> None:
    """Print the pids as JSON, or what ps(1) says of them."""
    form = call.asked.text("format", "table")
    if form not in ("table", "json"):
        raise Usage(f"unknown format '{form}'", hint="Take 'table' or 'json'.")
    container = store.load(call.root, call.words[0])
    found = list(members.pids(container)) if life.status(container) != life.STOPPED else []
    if form == "json":
        from redpak import quickjson

        os.write(1, quickjson.dumps(found).encode() + b"\n")
        return
    from redpak import run

    options = call.words[1:] or ["-ef"]
    told = run.tool(["ps", *options], timeout_s=30, hint="Install the package that has ps(1).")
    lines = told.text.splitlines()
    words = lines[0].split() if lines else []
    if "PID" not in words:
        raise RedpakError(
            "ps did not print a column 'PID'", hint="Give it options that show one, such as -ef."
        )
    at = words.index("PID")
    wanted = {str(pid) for pid in found}
    kept = [line for line in lines[1:] if (line.split() + [""] * (at + 1))[at] in wanted]
    os.write(1, "".join(f"{line}\n" for line in (lines[0], *kept)).encode(errors="replace"))
