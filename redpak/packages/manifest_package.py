"""One package in a manifest: from its header to JSON and back.

Dependencies are written as people write them ("bash >= 5.2"), with rpm's other flags in front where there are any
([1280, "/bin/sh"]). Files are rows beneath their directory: name, mode, size, digest, link, flags, user, group,
color, capabilities; what has its usual value at the end of a row is left out.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from redpak.packages.header_tags import EQUAL, GREATER, KINDS, LESS, RPMLIB, SENSE
from redpak.packages.header_write import encode

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from redpak.packages.header import Dependency, FileEntry, Header
    from redpak.packages.header_write import Value

TEXTS = ("name", "version", "release", "arch", "vendor", "sourcerpm", "digest")
NEEDED = ("name", "version", "release", "arch")
NUMBERS = ("epoch", "size", "digest_algorithm")
USUAL: tuple[Any, ...] = ("", 0, 0, "", "", 0, "root", "root", 0, "")
OPERATORS = {LESS: "<", GREATER: ">", EQUAL: "=", LESS | EQUAL: "<=", GREATER | EQUAL: ">="}
SENSES = {sign: sense for sense, sign in OPERATORS.items()}
MOST_NUMBER = (1 << 64) - 1


def packed(header: Header) -> dict[str, Any]:
    """Return a package for JSON. What is absent or empty is left out."""
    row: dict[str, Any] = {
        "name": header.name,
        "epoch": header.epoch,
        "version": header.version,
        "release": header.release,
        "arch": header.arch,
        "vendor": header.vendor,
        "sourcerpm": header.sourcerpm,
        "size": header.size,
        "digest": header.digest,
        "digest_algorithm": header.integer("filedigestalgo"),
        "files": _folders(header.files()),
    }
    for kind in KINDS:
        row[kind] = [_written(one) for one in getattr(header, kind) if not one[1] & RPMLIB]
    return {key: value for key, value in row.items() if value or key in NEEDED}


def order(row: dict[str, Any]) -> tuple[str, int, str, str, str]:
    """Return what tells packages apart, and sorts them."""
    return row["name"], row.get("epoch", 0), row["version"], row["release"], row["arch"]


def blob(row: dict[str, Any]) -> bytes:
    """Return the header of a package that `faults` has nothing against."""
    tags: dict[str, Value] = {key: row[key] for key in NEEDED}
    tags.update(
        os="linux", summary=row["name"], description=row["name"], group="Unspecified", license="unknown"
    )
    tags["size"] = min(row.get("size", 0), 0xFFFFFFFF)
    tags["sourcerpm"] = row.get("sourcerpm") or f"{row['name']}-{row['version']}-{row['release']}.src.rpm"
    for key in ("epoch", "vendor"):
        if row.get(key):
            tags[key] = row[key]
    for kind in KINDS:
        if items := [_read(item) for item in row.get(kind, ())]:
            tag = kind[:-1]
            tags[f"{tag}name"] = [name for name, _, _ in items]
            tags[f"{tag}flags"] = [flags for _, flags, _ in items]
            tags[f"{tag}version"] = [evr for _, _, evr in items]
    if row.get("files"):
        tags.update(_file_tags(row["files"], row.get("digest_algorithm", 0)))
    return encode(tags)


def _written(dependency: Dependency) -> str | list[Any]:
    name, flags, evr = dependency
    sense, more = flags & SENSE, flags & ~SENSE
    sign = OPERATORS.get(sense, "")
    shown = f"{name} {sign} {evr}" if sign else name
    if (
        (" " in name and not name.startswith("("))
        or " " in evr
        or bool(sign) != bool(evr)
        or (sense and not sign)
    ):
        return [flags, name, evr]
    return [more, shown] if more else shown


def _read(item: str | list[Any]) -> Dependency:
    if isinstance(item, list) and len(item) == 3:
        return str(item[1]), int(item[0]), str(item[2])
    more, shown = (int(item[0]), str(item[1])) if isinstance(item, list) else (0, item)
    parts = shown.rsplit(" ", 2)
    if not shown.startswith("(") and len(parts) == 3 and parts[1] in SENSES:
        return parts[0], more | SENSES[parts[1]], parts[2]
    return shown, more, ""


def _folders(files: Iterator[FileEntry]) -> dict[str, list[list[Any]]]:
    found: dict[str, list[list[Any]]] = {}
    for one in files:
        folder, name = os.path.split(one.path)
        row: list[Any] = [name, one.mode, one.size, one.digest, one.link, one.flags]
        row += [one.user, one.group, one.color, one.caps]
        while len(row) > 2 and row[-1] == USUAL[len(row) - 1]:
            row.pop()
        found.setdefault(folder.rstrip("/") + "/", []).append(row)
    for rows in found.values():
        rows.sort(key=lambda row: str(row[0]))
    return found


def _file_tags(folders: dict[str, list[list[Any]]], algorithm: int) -> dict[str, Value]:
    """Return the file tags of a header: by path, as rpm sorts them."""
    names = sorted(folders)
    files = [
        (folder + row[0], number, [*row, *USUAL[len(row) :]])
        for number, folder in enumerate(names)
        for row in folders[folder]
    ]
    files.sort(key=lambda file: file[0].encode("utf-8", "surrogateescape"))
    count = len(files)
    columns: list[Sequence[Any]] = list(zip(*(row for _, _, row in files), strict=True))
    tags: dict[str, Value] = {
        "dirnames": names,
        "dirindexes": [number for _, number, _ in files],
        "basenames": columns[0],
        "filemodes": columns[1],
        "filedigests": columns[3],
        "filelinktos": columns[4],
        "fileflags": columns[5],
        "fileusername": columns[6],
        "filegroupname": columns[7],
        "filecolors": columns[8],
        "filerdevs": [0] * count,
        "filemtimes": [0] * count,
        "fileverifyflags": [0xFFFFFFFF] * count,
        "filedevices": [1] * count,
        "fileinodes": list(range(1, count + 1)),
        "filestates": [0] * count,
    }
    tags["longfilesizes" if max(columns[2]) > 0xFFFFFFFF else "filesizes"] = columns[2]
    if any(columns[9]):
        tags["filecaps"] = columns[9]
    if algorithm:
        tags["filedigestalgo"] = algorithm
    return tags


# ---- checking ----


def is_text(value: object) -> bool:
    """Tell whether a value is a text that a header can hold."""
    return isinstance(value, str) and "\0" not in value


def faults(row: object) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with a package: where in it, and what."""
    if not isinstance(row, dict):
        yield "", "it is no object"
        return
    for key in NEEDED:
        if not row.get(key):
            yield "", f"'{key}' is missing"
    for key, value in row.items():
        if key in TEXTS:
            if not is_text(value):
                yield f".{key}", "it is no text"
        elif key in NUMBERS:
            most = MOST_NUMBER if key == "size" else 0xFFFFFFFF
            if not _is_number(value, most):
                yield f".{key}", "it is no number, or too large"
        elif key in KINDS:
            yield from _dependency_faults(key, value)
        elif key == "files":
            yield from _file_faults(value)
        else:
            yield "", f"'{key}' is unknown"


def _is_number(value: object, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most


def _dependency_faults(key: str, items: object) -> Iterator[tuple[str, str]]:
    if not isinstance(items, list):
        yield f".{key}", "it is no list"
        return
    for number, item in enumerate(items):
        texts = item[1:] if isinstance(item, list) else [item]
        right = 1 <= len(texts) <= 2 and all(is_text(text) for text in texts) and bool(texts[0])
        if not right or (isinstance(item, list) and not _is_number(item[0], 0xFFFFFFFF)):
            yield f".{key}[{number}]", "it is no dependency"


def _file_faults(folders: object) -> Iterator[tuple[str, str]]:
    if not isinstance(folders, dict):
        yield ".files", "it is no object"
        return
    if not folders:
        yield ".files", "it is empty"
    for folder, rows in folders.items():
        where = f".files['{folder}']"
        if not (is_text(folder) and folder.startswith("/") and folder.endswith("/")):
            yield where, "it is no directory with '/' at both ends"
        if not isinstance(rows, list) or not rows:
            yield where, "it is no list of files"
            continue
        for number, row in enumerate(rows):
            if not _is_file_row(row):
                yield f"{where}[{number}]", "it is no file"


def _is_file_row(row: object) -> bool:
    if not isinstance(row, list) or not 2 <= len(row) <= len(USUAL):
        return False
    limits = {1: 0xFFFF, 2: MOST_NUMBER, 5: 0xFFFFFFFF, 8: 0xFFFFFFFF}
    return (
        all(_is_number(value, limits[at]) if at in limits else is_text(value) for at, value in enumerate(row))
        and "/" not in row[0]
    )
