"""repomd.xml: which files a repository's metadata is made of, with their digests; and where locations may lead."""

from __future__ import annotations

import urllib.parse

from redpak.errors import RedpakError, Refused
from redpak.packages import blobs, xmltree
from redpak.packages.access import origin
from redpak.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.packages.xmltree import Node

PLACE = "repodata/repomd.xml"  # beneath a base URL
BIGGEST = 16 << 20  # bytes of a repomd.xml
LATEST = 1 << 40  # seconds; a timestamp beyond is nonsense


class Listed(Record):
    """One file of the metadata, as repomd.xml describes it."""

    kind: str  # "primary", "filelists", "group_gz", …
    href: str
    base: str = ""  # xml:base, '' for the repository's own
    checksum: str  # "sha256:…"
    size: int = -1  # bytes; -1 where it is not said
    open_checksum: str = ""  # of the decompressed file
    open_size: int = -1
    timestamp: int = 0


class Repomd(Record):
    """A repomd.xml."""

    revision: str
    timestamp: int  # the latest of its files'
    files: tuple[Listed, ...]


def parse(data: bytes, *, what: str) -> Repomd:
    """Return what a repomd.xml says. Raises RedpakError when it is none, Refused for locations that lead away."""
    root = xmltree.parse(data, what=what)
    if root.name != "repomd":
        raise RedpakError(f"{what} is no repomd.xml: it starts with <{root.name}>")
    files = []
    for node in root.all("data"):
        kind = node.attributes.get("type", "")
        place = node.first("location")
        if not kind or place is None or kind.endswith("_zck"):
            continue
        if not node.value("checksum") and kind.endswith("_db"):
            continue
        files.append(_listed(kind, node, place, what))
    known = {one.kind for one in files}
    if len(known) != len(files):
        raise RedpakError(f"{what} lists a kind of file twice")
    if "primary" not in known:
        raise RedpakError(f"{what} lists no primary metadata")
    return Repomd(
        revision=root.value("revision"),
        timestamp=max(one.timestamp for one in files),
        files=tuple(files),
    )


def _listed(kind: str, node: Node, place: Node, what: str) -> Listed:
    href = place.attributes.get("href", "")
    digest = _digest(node, "checksum")
    if not digest:
        raise RedpakError(f"{what} has no digest of its {kind} file")
    return Listed(
        kind=kind,
        href=safe(href),
        base=safe_base(place.attributes.get("xml:base", "")),
        checksum=digest,
        size=_number(node.value("size")),
        open_checksum=_digest(node, "open-checksum"),
        open_size=_number(node.value("open-size")),
        timestamp=max(0, min(_number(node.value("timestamp").partition(".")[0]), LATEST)),
    )


def _digest(node: Node, name: str) -> str:
    found = node.first(name)
    if found is None:
        return ""
    kind, digits = blobs.checksum(f"{found.attributes.get('type', '')}:{found.text.strip()}")
    return f"{kind}:{digits}"


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else -1


def safe(href: str) -> str:
    """Return a location beneath a base URL as it is. Raises Refused when it could lead anywhere else."""
    plain = href
    for _ in range(3):  # %252e%252e is an attempt as well
        plain = urllib.parse.unquote(plain)
    wrong = (
        not plain
        or plain.startswith(("/", "\\"))
        or ".." in plain.replace("\\", "/").split("/")
        or any(ord(char) < 32 or ord(char) == 127 for char in plain)
    )
    if wrong:
        raise Refused(
            f"location '{href}' does not lie beneath the repository",
            hint="Tell who publishes the repository.",
        )
    return href


def safe_base(base: str) -> str:
    """Return an xml:base that may be followed: none, http(s) or file. Raises Refused."""
    if base and not origin(base) and not base.startswith("file:///"):
        raise Refused(
            f"base '{base}' is no http, https or file URL", hint="Tell who publishes the repository."
        )
    if ".." in urllib.parse.unquote(base).split("/"):
        raise Refused(f"base '{base}' leads upwards", hint="Tell who publishes the repository.")
    return base


def join(base: str, href: str) -> str:
    """Return the URL of a location beneath a base URL."""
    place = href.replace("#", "%23").replace("?", "%3F").replace(" ", "%20")
    return f"{base.rstrip('/')}/{place}"
