"""The packages of a layer, whatever kind of database it has: always rpm headers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from redpak.record import assert_never

if TYPE_CHECKING:
    from redpak.packages.header import Header
    from redpak.packages.model import Layer


def headers(layer: Layer) -> list[Header]:
    """Return a layer's packages, without the public keys that an rpm database also holds. Raises RedpakError."""
    match layer.database:
        case "rpm":
            from redpak.packages import rpmdb

            return [header for header in rpmdb.read(layer.rpmdb) if not header.is_key]
        case "dpkg":
            from redpak.packages import dpkg

            return dpkg.headers(layer.path)
        case "manifest":
            from redpak.packages import manifest

            return manifest.read(layer.path).headers
        case "none":
            from redpak.packages import pseudo

            return pseudo.of_files(layer.tree) if layer.kind == "core" and layer.tree else []
        case _:
            assert_never(layer.database)


def stamp(layer: Layer) -> str:
    """Return what changes whenever `headers` does, cheaply: for caches."""
    from redpak import fs

    match layer.database:
        case "rpm":
            from redpak.packages import rpmdb

            return rpmdb.stamp(layer.rpmdb)
        case "dpkg":
            from redpak.packages import dpkg

            return dpkg.stamp(layer.path)
        case "manifest":
            return fs.stamp(layer.path)
        case "none":
            from redpak.packages import offers

            return offers.stamp(layer.tree) if layer.kind == "core" and layer.tree else ""
        case _:
            assert_never(layer.database)
