"""A Debian system as the core OS of rpm packages: one package `core-os` that provides what the system offers.

Its own packages appear as `deb(name) = version`, never by their plain names: what another distribution calls the same
is something else. An rpm package that is made for such a core OS can ask for `deb(libssl3) >= 3.0`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from redpak import fs
from redpak.errors import doing
from redpak.packages import ldconf
from redpak.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redpak.packages.header import Header
    from redpak.packages.offers import Capability

STATUS = "var/lib/dpkg/status"


class Package(Record):
    """An installed Debian package."""

    name: str
    version: str
    arch: str
    foreign: bool = False  # of another architecture than dpkg's own

    @property
    def capability(self) -> Capability:
        """What the package is called among rpm packages."""
        return (f"deb({self.name}:{self.arch})" if self.foreign else f"deb({self.name})", self.version)


def headers(root: str) -> list[Header]:
    """Return the package that stands for the Debian system in a root directory, from the cache while it is true."""
    from redpak.packages import pseudo

    return [pseudo.kept(root, stamp(root), lambda: made(root))]


def stamp(root: str) -> str:
    """Return what changes when `headers` does."""
    from redpak.packages import offers

    with doing("read the core OS"):
        status = fs.stamp(os.path.join(root, STATUS))
    return f"{status}/{offers.stamp(root)}"


def made(root: str) -> bytes:
    """Return the header of the package that stands for a Debian system."""
    from redpak.packages import offers
    from redpak.packages.pseudo import encode_core

    found = packages(root)
    return encode_core(
        "a Debian system",
        version_of(root),
        [*offers.offered(root), *sorted(package.capability for package in found)],
    )


def packages(root: str) -> list[Package]:
    """Return the packages that dpkg has installed, in its order. Raises RedpakError."""
    text = _status(root)
    native = _native(text)
    found = []
    for stanza in _stanzas(text):
        state = stanza.get("Status", "").split()
        name, version, arch = (stanza.get(key, "") for key in ("Package", "Version", "Architecture"))
        if state[-1:] == ["installed"] and name and version:
            foreign = arch not in (native, "all", "")
            found.append(Package(name=name, version=version, arch=arch, foreign=foreign))
    return found


def arch(root: str) -> str:
    """Return dpkg's own architecture ("amd64"); '' when it does not tell."""
    return _native(_status(root))


def _status(root: str) -> str:
    """Return dpkg's status; links in the root directory lead nowhere else."""
    file = ldconf.rooted(root)(f"/{STATUS}") or os.path.join(root, STATUS)
    with doing("read dpkg's status"), open(file, encoding="utf-8", errors="surrogateescape") as opened:
        return opened.read()


def version_of(root: str) -> str:
    """Return the version in /etc/debian_version, '0' without one."""
    said = (ldconf.text_of(ldconf.rooted(root), "/etc/debian_version", 100) or "").strip()
    kept = "".join(char if char.isascii() and (char.isalnum() or char in "._~+") else "." for char in said)
    return kept or "0"


def _native(text: str) -> str:
    """Return the architecture of dpkg itself."""
    at = text.find("Package: dpkg\n")
    stanza = text[at : text.find("\n\n", at)] if at >= 0 else ""
    return next((line[14:].strip() for line in stanza.splitlines() if line.startswith("Architecture: ")), "")


def _stanzas(text: str) -> Iterator[dict[str, str]]:
    """Yield the fields of each paragraph; continued lines, which we do not need, are left out."""
    for paragraph in text.split("\n\n"):
        fields = {}
        for line in paragraph.splitlines():
            key, colon, value = line.partition(": ")
            if colon and not line.startswith((" ", "\t")):
                fields[key] = value.strip()
        if fields:
            yield fields
