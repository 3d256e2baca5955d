"""An inventory as CycloneDX 1.6 JSON, made by cyclonedx-python-lib. The same inventory gives the same bytes."""

from __future__ import annotations

import datetime
import uuid
from typing import TYPE_CHECKING

from redpak.packages.inventory import clean, is_link, licence

if TYPE_CHECKING:
    from cyclonedx.model import ExternalReference, HashType, Property, XsUri
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component as Part
    from cyclonedx.model.license import License

    from redpak.packages.inventory import Component, Inventory

NAMESPACE = "redpak"  # of the properties


def document(inventory: Inventory, *, files: bool = False) -> str:
    """Return the document as text. `files`: with the files of each package and their digests."""
    from cyclonedx.output.json import JsonV1Dot6

    text: str = JsonV1Dot6(_bom(inventory, files=files)).output_as_string(indent=2)
    return text.rstrip("\n") + "\n"


def _bom(inventory: Inventory, *, files: bool) -> Bom:
    from cyclonedx.model.bom import Bom, BomMetaData
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.model.dependency import Dependency
    from cyclonedx.model.tool import ToolRepository

    subject = Component(
        name=inventory.name, type=ComponentType.CONTAINER, bom_ref=f"node:{inventory.name}",
        properties=_properties(layers=" < ".join(inventory.layers)),
    )  # fmt: skip
    parts = [_part(one, files=files) for one in inventory.components]
    needs: dict[int, list[Dependency]] = {}
    for edge in inventory.edges:
        if not edge.weak:  # CycloneDX knows one kind of dependency: what must be there
            needs.setdefault(edge.user, []).append(Dependency(parts[edge.provider].bom_ref))
    own = [part for part, one in zip(parts, inventory.components, strict=True) if one.layer == inventory.own]
    edges = [Dependency(part.bom_ref, needs.get(at, ())) for at, part in enumerate(parts)]
    edges.append(Dependency(subject.bom_ref, [Dependency(part.bom_ref) for part in own]))
    program, _, version = inventory.tool.partition("-")
    tool = Component(name=program, version=version, type=ComponentType.APPLICATION)
    return Bom(
        components=parts,
        serial_number=uuid.UUID(hex=inventory.digest[:32], version=5),
        dependencies=edges,
        metadata=BomMetaData(
            component=subject,
            tools=ToolRepository(components=[tool]),
            timestamp=datetime.datetime.fromtimestamp(inventory.created, datetime.UTC),
        ),
    )


def _part(one: Component, *, files: bool) -> Part:
    from cyclonedx.model import XsUri
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.model.contact import OrganizationalEntity
    from packageurl import PackageURL

    head = one.header
    algorithm, _, digest = one.origin.checksum.partition(":")
    return Component(
        name=clean(head.name),
        type=ComponentType.LIBRARY,
        bom_ref=clean(one.key),
        version=clean(head.evr),
        purl=PackageURL.from_string(one.purl),
        description=clean(head.summary),
        supplier=OrganizationalEntity(name=clean(head.vendor)) if head.vendor else None,
        hashes=_hashes(algorithm, digest),
        licenses=_licences(head.license),
        external_references=_links(XsUri(head.url)) if is_link(head.url) else (),
        properties=_properties(
            layer=one.layer,
            reason=one.origin.reason,
            repository=one.origin.repo,
            location=one.origin.location,
            header_sha256=one.digest,
            source=head.sourcerpm,
        ),
        components=_files(one) if files else (),
    )


def _hashes(algorithm: str, digest: str) -> list[HashType]:
    """Return a digest, [] for one of an algorithm that CycloneDX has no name for."""
    from cyclonedx.model import HashAlgorithm, HashType

    name = algorithm.upper() if "_" in algorithm or algorithm == "md5" else f"SHA_{algorithm[3:]}"
    known = digest and name in HashAlgorithm.__members__
    return [HashType(alg=HashAlgorithm[name], content=digest)] if known else []


def _licences(text: str) -> list[License]:
    from cyclonedx.model.license import DisjunctiveLicense, LicenseExpression
    from cyclonedx.spdx import is_supported_id

    expression, words = licence(text)
    if not expression:
        return []
    if words:
        return [DisjunctiveLicense(name=clean(words))]
    return [
        DisjunctiveLicense(id=expression) if is_supported_id(expression) else LicenseExpression(expression)
    ]


def _links(url: XsUri) -> list[ExternalReference]:
    from cyclonedx.model import ExternalReference, ExternalReferenceType

    return [ExternalReference(type=ExternalReferenceType.WEBSITE, url=url)]


def _files(one: Component) -> list[Part]:
    import stat

    from cyclonedx.model.component import Component, ComponentType

    from redpak.packages.header_tags import DIGESTS

    name = DIGESTS.get(one.header.integer("filedigestalgo") or 1, "md5")
    return [
        Component(
            name=clean(file.path),
            type=ComponentType.FILE,
            bom_ref=clean(f"{one.key}#{file.path}"),
            hashes=_hashes(name, file.digest),
        )
        for file in one.header.files()
        if stat.S_ISREG(file.mode) or stat.S_ISLNK(file.mode)
    ]


def _properties(**values: str) -> list[Property]:
    from cyclonedx.model import Property

    return [
        Property(name=f"{NAMESPACE}:{name.replace('_', '-')}", value=clean(value))
        for name, value in values.items()
        if value
    ]
