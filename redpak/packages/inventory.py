"""What a bill of materials lists: packages with their layers, and who needs whom. The formats are made from it.

Everything in it is content: the same packages give the same inventory, whatever the day and the machine.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

from redpak.errors import Usage
from redpak.packages.needs import Network
from redpak.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from redpak.packages.header import Header
    from redpak.packages.model import Layer


class Origin(Record):
    """Where a package file came from; '' for what nobody wrote down."""

    checksum: str = ""  # of the whole file: "sha256:…"
    location: str = ""  # URL, or path beneath the repository
    repo: str = ""
    reason: str = ""


class Component(Record):
    """One installed package."""

    header: Header
    layer: str  # what messages call the layer that it lives in
    origin: Origin = Origin()

    @property
    def key(self) -> str:
        """What tells it from all others: name, version, architecture and layer."""
        return f"{self.header.nevra}@{self.layer}"

    @property
    def digest(self) -> str:
        """SHA-256 of the signed header, hexadecimal."""
        return self.header.digest

    @property
    def purl(self) -> str:
        """The package URL (github.com/package-url: type rpm)."""
        from packageurl import PackageURL

        head = self.header
        told = {"arch": head.arch, "epoch": str(head.epoch or ""), "upstream": head.sourcerpm}
        version = f"{head.version}-{head.release}" if head.release else head.version
        return PackageURL("rpm", None, head.name, version, {k: v for k, v in told.items() if v}).to_string()


class Edge(Record):
    """One package needs another, or would like to have it. Indexes among the components."""

    user: int
    provider: int
    weak: bool = False


class Inventory(Record):
    """The packages of one node, or of its whole family."""

    name: str  # the node's alias
    components: tuple[Component, ...]  # sorted by layer (oldest first), name, version
    edges: tuple[Edge, ...]
    layers: tuple[str, ...]  # oldest first
    own: str  # the layer that the document is about
    created: int  # seconds since 1970
    tool: str  # "redpak-1.2"

    @property
    def digest(self) -> str:
        """SHA-256 over all that the inventory says: what document names and serial numbers are derived from."""
        said = hashlib.sha256()
        for part in (self.name, self.own, self.tool, str(self.created), *self.layers):
            said.update(part.encode("utf-8", "surrogateescape") + b"\0")
        for one in self.components:
            line = f"{one.key}\0{one.digest}\0{one.origin.checksum}\0{one.origin.location}\0{one.origin.reason}\0"
            said.update(line.encode("utf-8", "surrogateescape"))
        for edge in self.edges:
            said.update(f"{edge.user} {edge.provider} {edge.weak}\0".encode())
        return said.hexdigest()


def take(
    layers: Sequence[tuple[Layer, Sequence[Header]]],
    *,
    name: str,
    tool: str,
    origins: Mapping[str, Origin],
    family: bool = False,
) -> Inventory:
    """Return the inventory of the last layer, or of all of them with `family`.

    `origins` is by "name-evr.arch" and belongs to the last layer. Packages of ancestors that own packages need are
    listed in any case, since an edge must lead somewhere.
    """
    order = [
        Component(
            header=header, layer=layer.name, origin=origins.get(header.nevra, Origin()) if own else Origin()
        )
        for layer, headers, own in _marked(layers)
        for header in sorted(headers, key=lambda one: (one.name, one.nevra, one.sha256))
    ]
    own = layers[-1][0].name
    edges = _edges([layer for layer, _ in layers], order)
    if not family:
        order, edges = _around(order, edges, own)
    return Inventory(
        name=name,
        components=tuple(order),
        edges=tuple(edges),
        layers=tuple(layer.name for layer, _ in layers),
        own=own,
        created=moment(order),
        tool=tool,
    )


def _marked(
    layers: Sequence[tuple[Layer, Sequence[Header]]],
) -> Iterator[tuple[Layer, Sequence[Header], bool]]:
    for at, (layer, headers) in enumerate(layers):
        yield layer, headers, at == len(layers) - 1


def _edges(layers: Sequence[Layer], order: Sequence[Component]) -> list[Edge]:
    """Return who needs whom. A package may rely on its own layer and on older ones."""
    places = [
        (layer.name, layer.path, at - 1, [one.header for one in order if one.layer == layer.name])
        for at, layer in enumerate(layers)
    ]
    return [Edge(user=need.user, provider=need.provider, weak=need.weak) for need in Network(places).needs]


def _around(
    order: Sequence[Component], edges: Sequence[Edge], own: str
) -> tuple[list[Component], list[Edge]]:
    """Keep the own packages, and those of ancestors that they need themselves."""
    mine = {at for at, one in enumerate(order) if one.layer == own}
    kept = sorted(mine | {edge.provider for edge in edges if edge.user in mine})
    now = {old: new for new, old in enumerate(kept)}
    return (
        [order[at] for at in kept],
        [edge.but(user=now[edge.user], provider=now[edge.provider]) for edge in edges if edge.user in mine],
    )


def moment(components: Sequence[Component]) -> int:
    """Return what counts as the time of the document: $SOURCE_DATE_EPOCH, else that of the newest installation."""
    told = os.environ.get("SOURCE_DATE_EPOCH", "")
    if told:
        if not told.isdecimal() or len(told) > 11:
            raise Usage(f"SOURCE_DATE_EPOCH is '{told}'", hint="Give it in seconds since 1970.")
        return int(told)
    return max((max(one.header.installtime, one.header.buildtime) for one in components), default=0)


def licence(text: str) -> tuple[str, str]:
    """Return a licence as an SPDX expression, or as ('LicenseRef-…', the text) where it is none.

    Packages from before 2023 use words of their distribution, 'GPLv2+', which are no SPDX names.
    """
    from license_expression import ExpressionError, ExpressionParseError, get_spdx_licensing

    words = text.strip()
    if not words:
        return "", ""
    try:
        parsed = get_spdx_licensing().parse(words, validate=True)
    except (ExpressionError, ExpressionParseError):
        parsed = None
    if parsed is not None:
        return str(parsed), ""
    safe = "".join(sign if sign.isascii() and sign.isalnum() else "-" for sign in words)[:60].strip("-")
    return (
        f"LicenseRef-{safe or 'unknown'}-{hashlib.sha256(words.encode('utf-8', 'replace')).hexdigest()[:8]}",
        words,
    )


def is_link(url: str) -> bool:
    """Tell whether a home page is one that every reader of documents takes for a link."""
    return (
        url.startswith(("http://", "https://")) and url.isascii() and not any(c in url for c in ' <>"{}|\\^`')
    )


def clean(text: str) -> str:
    """Return text that JSON of any reader takes: bytes that are no UTF-8 become the replacement character."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
