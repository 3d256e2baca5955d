"""A core OS that is not here: its packages in a JSON file, for proving and solving on another machine.

The file is canonical: the same core OS gives the same bytes. What is read from it answers a solver as the core OS
itself does: names, versions, dependencies and files; scriptlets, texts and signatures are left out.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from redpak.errors import BadConfig, Fault, NotFound, doing
from redpak.origin import Origin
from redpak.packages import manifest_package as one
from redpak.packages.header import Header
from redpak.record import Record

if TYPE_CHECKING:
    from typing import Any

    from redpak.packages.model import Layer

SCHEMA = "redpak core OS 1"
KEYS = {"schema", "kind", "arch", "releasever", "database", "packages"}
KINDS = ("rpm", "dpkg", "none")
MOST_FAULTS = 50


class Manifest(Record):
    """What a manifest says."""

    kind: str  # of the database that it was made of
    arch: str
    releasever: str
    database: str  # SHA-256 of that database's content; '' for what is no rpm database
    headers: list[Header]
    digests: dict[str, str]  # nevra → Header.digest of the package that the entry was made of


def write(path: str, layer: Layer, *, arch: str = "", releasever: str = "") -> None:
    """Write the manifest of a core OS. Raises RedpakError."""
    from redpak import fs

    fs.write_atomically(path, text(layer, arch=arch, releasever=releasever).encode())


def text(layer: Layer, *, arch: str = "", releasever: str = "") -> str:
    """Return the manifest of a core OS. Raises RedpakError."""
    from redpak.packages import core, rpmdb

    if layer.database == "manifest":
        return _canonical(_valid(layer.path))
    headers = core.headers(layer)
    return _canonical(
        {
            "schema": SCHEMA,
            "kind": layer.database,
            "arch": arch,
            "releasever": releasever,
            "database": rpmdb.digest_of(headers) if layer.database == "rpm" else "",
            "packages": sorted((one.packed(header) for header in headers), key=one.order),
        }
    )


def _canonical(data: dict[str, Any]) -> str:
    return json.dumps(data, indent=1, sort_keys=True, ensure_ascii=True) + "\n"


def read(path: str) -> Manifest:
    """Return what a manifest says. Raises NotFound, RedpakError, and BadConfig with every fault of the file."""
    data = _valid(path)
    headers = []
    for number, row in enumerate(data["packages"]):
        headers.append(Header(one.blob(row), f"{os.path.basename(path)}: package {number}"))
    return Manifest(
        kind=data["kind"],
        arch=data["arch"],
        releasever=data["releasever"],
        database=data["database"],
        headers=headers,
        digests={
            header.nevra: row.get("digest", "") for header, row in zip(headers, data["packages"], strict=True)
        },
    )


def _valid(path: str) -> dict[str, Any]:
    """Return a manifest's data. Raises as `read` does."""
    with doing("read the manifest"):
        try:
            with open(path, "rb") as file:
                raw = file.read()
        except FileNotFoundError:
            raise NotFound(
                f"manifest '{path}' does not exist", hint="Write one with: redpak node manifest"
            ) from None
    faults = _Faults(path)
    data = _parsed(raw, faults)
    if data is not None:
        _check(data, faults)
    if faults.found or data is None:
        raise BadConfig(faults.found[:MOST_FAULTS], hint="Write it anew with: redpak node manifest")
    return data


class _Faults:
    """What is wrong with a file, so far."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.found: list[Fault] = []

    def add(self, where: str, message: str, line: int = 0, column: int = 0) -> None:
        origin = Origin(file=self.path, line=line, column=column)
        self.found.append(Fault(origin=origin, message=f"{where}: {message}" if where else message))


def _parsed(raw: bytes, faults: _Faults) -> dict[str, Any] | None:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) != len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            faults.add("", f"key '{twice}' stands twice in one object")
        return made

    try:
        data = json.loads(raw.decode(), object_pairs_hook=once)
    except json.JSONDecodeError as error:
        faults.add("", f"it is no JSON: {error.msg.lower()}", error.lineno, error.colno)
        return None
    except (UnicodeDecodeError, RecursionError, ValueError):
        faults.add("", "it is no JSON text")
        return None
    if not isinstance(data, dict):
        faults.add("", "it is no manifest")
        return None
    return data


def _check(data: dict[str, Any], faults: _Faults) -> None:
    if data.get("schema") != SCHEMA:
        faults.add("schema", f"it is not '{SCHEMA}'")
        return
    for key in sorted(KEYS - data.keys()):
        faults.add("", f"'{key}' is missing")
    for key in sorted(data.keys() - KEYS):
        faults.add("", f"'{key}' is unknown")
    for key in ("arch", "releasever", "database"):
        if key in data and not one.is_text(data[key]):
            faults.add(key, "it is no text")
    if "kind" in data and data["kind"] not in KINDS:
        faults.add("kind", f"it is none of {', '.join(KINDS)}")
    rows = data.get("packages", [])
    if not isinstance(rows, list):
        faults.add("packages", "it is no list")
        return
    seen: dict[str, int] = {}
    for number, row in enumerate(rows):
        where = f"packages[{number}]"
        wrong = list(one.faults(row))
        for place, message in wrong:
            faults.add(where + place, message)
        if not wrong:
            key = json.dumps(one.order(row))
            if key in seen:
                faults.add(where, f"it is packages[{seen[key]}] again: '{row['name']}'")
            seen.setdefault(key, number)
