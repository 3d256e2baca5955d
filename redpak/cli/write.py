"""Write a document to standard output, or as a whole to a file."""

from __future__ import annotations

from redpak import fs, log
from redpak.cli import output
from redpak.errors import doing


def write_out(path: str, text: str, *, what: str) -> None:
    """Write `text` to a file, which is there as a whole or not at all; to standard output when `path` is '' or '-'.

    `what` it is, for the line that says so.
    """
    if path in ("", "-"):
        output.write(text)
        return
    with doing("write the document"):
        fs.write_atomically(path, text.encode("utf-8", "surrogateescape"))
    if log.level > log.ERROR:
        output.lines([f"wrote {what} '{path}'"])
