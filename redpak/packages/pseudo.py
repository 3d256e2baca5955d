"""The one package that stands for a core OS without an rpm database."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

from redpak import fs, paths
from redpak.errors import RedpakError
from redpak.packages import offers
from redpak.packages.header import BadHeader, Header
from redpak.packages.header_tags import EQUAL
from redpak.packages.header_write import encode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

NAME = "core-os"
FORMAT = "1"  # of what is kept; another number makes older caches stale


def of_files(root: str) -> list[Header]:
    """Return the package that stands for a system of which only the files are known."""

    def made() -> bytes:
        return encode_core("a system without a package database", "0", offers.offered(root))

    return [kept(root, offers.stamp(root), made)]


def kept(root: str, mark: str, make: Callable[[], bytes]) -> Header:
    """Return what `make` made for a root directory under the same stamp, from the cache directory if it is there."""
    name = hashlib.sha256(os.path.realpath(root).encode("utf-8", "surrogateescape")).hexdigest()[:32]
    where = os.path.join(paths.cache(), "core", name)
    first = f"{FORMAT}/{mark}\n".encode()
    try:
        with open(where, "rb") as file:
            if file.readline(4096) == first:
                return Header(file.read(), NAME)
    except (OSError, BadHeader):
        pass  # what cannot be used is made anew
    blob = make()
    try:
        os.makedirs(os.path.dirname(where), mode=0o755, exist_ok=True)
        fs.write_atomically(where, first + blob, durable=False)
    except (OSError, RedpakError):
        pass  # who cannot write a cache does without
    return Header(blob, NAME)


def encode_core(what: str, version: str, capabilities: Iterable[offers.Capability]) -> bytes:
    """Return the header of `core-os`. It always is the same for the same capabilities: no time, no host."""
    names, flags, evrs = offers.in_order(capabilities)
    return encode(
        {
            "name": NAME,
            "version": version,
            "release": "0",
            "arch": "noarch",
            "os": "linux",
            "summary": f"What {what} offers to rpm packages",
            "description": f"Not a package: it stands for {what}, which has no rpm database.",
            "group": "System",
            "license": "none",
            "vendor": "redpak",
            "sourcerpm": f"{NAME}-{version}-0.src.rpm",
            "size": 0,
            "buildtime": 0,
            "providename": [NAME, *names],
            "provideflags": [EQUAL, *flags],
            "provideversion": [f"{version}-0", *evrs],
        }
    )
