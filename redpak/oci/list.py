"""`redpak-oci list`: every container of the root."""

from __future__ import annotations

import os

from redpak.errors import NotFound, RedpakError, Usage
from redpak.oci import store
from redpak.oci.state import listed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from redpak.oci.main import Call

COLUMNS = ("ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER")


def list_all(call: Call) -> None:
    """Print a table, JSON, or the ids alone."""
    form = call.asked.text("format", "table")
    if form not in ("table", "json"):
        raise Usage(f"unknown format '{form}'", hint="Take 'table' or 'json'.")
    root = call.root
    store.sweep(root)
    names = store.names(root)
    if call.asked.flag("quiet"):
        _print("".join(f"{name}\n" for name in names))
        return
    found: list[dict[str, Any]] = []
    for name in names:
        try:
            found.append(listed(store.load(root, name)))
        except NotFound:
            continue  # deleted meanwhile
        except RedpakError as error:
            os.write(2, f"redpak-oci: container '{name}': {error.message}\n".encode(errors="replace"))
    if form == "json":
        from redpak import quickjson

        _print(quickjson.dumps(found) + "\n")
        return
    rows = [COLUMNS, *(tuple(str(one[name.lower()]) for name in COLUMNS) for one in found)]
    widths = [max(12, *(len(row[at]) + 3 for row in rows)) for at in range(len(COLUMNS))]
    _print("".join("".join(map(str.ljust, row, widths)).rstrip() + "\n" for row in rows))


def _print(text: str) -> None:
    data = memoryview(text.encode(errors="replace"))
    while data:
        data = data[os.write(1, data) :]
