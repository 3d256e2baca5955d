"""Write a repository's metadata for package files, by createrepo_c's library."""

from __future__ import annotations

import bz2
import gzip
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.rpmfile import BUILT

ENDINGS = {"modules": "yaml", "updateinfo": "xml", "group": "xml"}


def write_metadata(
    folder: Path,
    files: Sequence[Path],
    *,
    compression: str = "gz",
    revision: str = "",
    timestamp: int = 0,
    others: Mapping[str, str] | None = None,
) -> None:
    """Write repodata/ for package files beneath `folder`. compression: gz, zst, xz, bz2 or '' for none.

    others: the texts of {"updateinfo", "modules", "group"}. timestamp: seconds, of every record.
    """
    import createrepo_c as cr

    data = folder / "repodata"
    dot = f".{compression}" if compression else ""
    kinds = {"gz": cr.GZ, "zst": cr.ZSTD, "xz": cr.XZ, "bz2": cr.BZ2, "": cr.NO_COMPRESSION}
    tables: dict[str, Any] = {
        "primary": cr.PrimaryXmlFile,
        "filelists": cr.FilelistsXmlFile,
        "other": cr.OtherXmlFile,
    }
    repomd = cr.Repomd()

    def enter(name: str, path: Path | str) -> None:
        record = cr.RepomdRecord(name, str(path))
        record.fill(cr.SHA256)
        record.timestamp = timestamp or BUILT
        repomd.set_record(record)

    written = {name: make(f"{data}/{name}.xml{dot}", kinds[compression]) for name, make in tables.items()}
    for table in written.values():
        table.set_num_of_pkgs(len(files))
    for path in files:
        found = cr.package_from_rpm(str(path), location_href=str(path.relative_to(folder)))
        found.time_file = BUILT
        for table in written.values():
            table.add_pkg(found)
    for name, table in written.items():
        table.close()
        enter(name, f"{data}/{name}.xml{dot}")
    for name, text in (others or {}).items():
        if text:
            how = "" if name == "group" or compression not in ("gz", "bz2") else compression
            path = data / f"{name}.{ENDINGS[name]}{f'.{how}' if how else ''}"
            raw = text.encode()
            path.write_bytes({"": raw, "gz": gzip.compress(raw, mtime=0), "bz2": bz2.compress(raw)}[how])
            enter(name, path)
    repomd.set_revision(revision or str(timestamp or BUILT))
    (data / "repomd.xml").write_text(repomd.xml_dump())
