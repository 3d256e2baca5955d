"""An inventory as SPDX 2.3 JSON, made by spdx-tools. The same inventory gives the same bytes."""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import stat
import uuid
from typing import TYPE_CHECKING

from redpak.packages.inventory import clean, is_link, licence

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from redpak.packages.inventory import Component, Inventory

    Roots = Mapping[str, tuple[str, str]]  # layer -> (directory with usr …, directory with etc …)

STATE = ("/etc/", "/var/", "/srv/", "/home/", "/root/")  # what lives in the second directory


def document(inventory: Inventory, *, files: bool = False, roots: Roots | None = None) -> str:
    """Return the document as text.

    `files`: with the files of each package. SPDX wants their SHA-1, which no package knows, so they are read from
    disk beneath `roots`; a file that is not there, or not what the package brought, is left out.
    """
    from spdx_tools.spdx.jsonschema import document_converter

    library: Any = document_converter  # its own functions have no types
    data = library.DocumentConverter().convert(_document(inventory, roots or {} if files else None))
    return json.dumps(data, indent=2, sort_keys=True) + "\n"


def _document(inventory: Inventory, roots: Roots | None) -> Any:
    model = _model()
    root = "SPDXRef-Node"
    names = [_identifier("Package", one.key) for one in inventory.components]
    serial = uuid.UUID(hex=inventory.digest[:32], version=5)
    packages = [
        model.Package(
            spdx_id=root, name=inventory.name, download_location=model.SpdxNoAssertion(), files_analyzed=False,
            primary_package_purpose=model.PackagePurpose.CONTAINER,
            comment=f"layers, oldest first: {', '.join(inventory.layers)}",
        )
    ]  # fmt: skip
    links = [model.Relationship("SPDXRef-DOCUMENT", model.RelationshipType.DESCRIBES, root)]
    listed: list[Any] = []
    licences: dict[str, str] = {}
    for name, one in zip(names, inventory.components, strict=True):
        found = _files(one, name, roots) if roots is not None else []
        packages.append(_package(one, name, licences, found if roots is not None else None))
        if one.layer == inventory.own:
            links.append(model.Relationship(root, model.RelationshipType.CONTAINS, name))
        links += [model.Relationship(name, model.RelationshipType.CONTAINS, file.spdx_id) for file in found]
        listed += found
    kinds = model.RelationshipType
    for edge in inventory.edges:
        user, provider = names[edge.user], names[edge.provider]
        if edge.weak:
            links.append(model.Relationship(provider, kinds.OPTIONAL_DEPENDENCY_OF, user))
        else:
            links.append(model.Relationship(user, kinds.DEPENDS_ON, provider))
    info = model.CreationInfo(
        spdx_version="SPDX-2.3",
        spdx_id="SPDXRef-DOCUMENT",
        name=inventory.name,
        document_namespace=f"urn:uuid:{serial}",
        creators=[model.Actor(model.ActorType.TOOL, inventory.tool)],
        # the library writes what it is given and adds the Z of UTC itself
        created=datetime.datetime.fromtimestamp(inventory.created, datetime.UTC).replace(tzinfo=None),
    )
    return model.Document(
        creation_info=info, packages=packages, files=listed, relationships=links,
        extracted_licensing_info=_extracted(licences),
    )  # fmt: skip


def _model() -> Any:
    """Return the library's classes. It does not say which of them it means to export, so no checker knows them."""
    from spdx_tools.spdx import model

    return model


def _identifier(kind: str, key: str) -> str:
    """Return an identifier that SPDX allows and that two keys never share."""
    safe = "".join(sign if sign.isascii() and (sign.isalnum() or sign in ".-") else "-" for sign in key)
    return (
        f"SPDXRef-{kind}-{safe[:80]}-{hashlib.sha256(key.encode('utf-8', 'surrogateescape')).hexdigest()[:8]}"
    )


def _package(one: Component, name: str, licences: dict[str, str], files: list[Any] | None) -> Any:
    model = _model()
    head = one.header
    algorithm, _, digest = one.origin.checksum.partition(":")
    link = clean(one.origin.location)
    vendor = model.Actor(model.ActorType.ORGANIZATION, clean(head.vendor)) if head.vendor else None
    told = {
        "layer": one.layer,
        "reason": one.origin.reason,
        "repository": one.origin.repo,
        "location": link,
        "header-sha256": one.digest,
    }
    return model.Package(
        spdx_id=name,
        name=clean(head.name),
        version=clean(head.evr),
        download_location=link if is_link(link) else model.SpdxNoAssertion(),
        supplier=vendor or model.SpdxNoAssertion(),
        files_analyzed=bool(files),
        verification_code=_verification(files) if files else None,
        checksums=[model.Checksum(model.ChecksumAlgorithm[algorithm.upper()], digest)] if digest else [],
        homepage=head.url if is_link(head.url) else None,
        source_info=f"built from {clean(head.sourcerpm)}" if head.sourcerpm else None,
        license_concluded=model.SpdxNoAssertion(),
        license_declared=_declared(head.license, licences),
        copyright_text=model.SpdxNoAssertion(),
        summary=clean(head.summary) or None,
        comment="; ".join(f"{key}={clean(value)}" for key, value in told.items() if value),
        external_references=[
            model.ExternalPackageRef(model.ExternalPackageRefCategory.PACKAGE_MANAGER, "purl", one.purl)
        ],
        primary_package_purpose=model.PackagePurpose.INSTALL,
    )


def _declared(text: str, licences: dict[str, str]) -> Any:
    from spdx_tools.common.spdx_licensing import spdx_licensing

    model = _model()
    expression, words = licence(text)
    if not expression:
        return model.SpdxNoAssertion()
    if words:
        licences[expression] = clean(words)
    return spdx_licensing.parse(expression)


def _extracted(licences: dict[str, str]) -> list[Any]:
    model = _model()
    return [
        model.ExtractedLicensingInfo(license_id=key, license_name=text, extracted_text=text)
        for key, text in sorted(licences.items())
    ]


def _files(one: Component, name: str, roots: Roots) -> list[Any]:
    model = _model()
    from redpak.packages.header_tags import DIGESTS

    known = DIGESTS.get(one.header.integer("filedigestalgo") or 1, "md5")
    tree, state = roots.get(one.layer, ("", ""))
    found = []
    for file in one.header.files():
        root = state if file.path.startswith(STATE) else tree
        if not root or not stat.S_ISREG(file.mode) or not file.digest:
            continue
        digests = _digests(root + file.path, ("sha1", "sha256", known))
        if digests.get(known) != file.digest:
            continue
        sums = [
            model.Checksum(model.ChecksumAlgorithm.SHA1, digests["sha1"]),
            model.Checksum(model.ChecksumAlgorithm.SHA256, digests["sha256"]),
        ]
        found.append(
            model.File(
                name=f".{clean(file.path)}", spdx_id=_identifier("File", name + file.path), checksums=sums
            )
        )
    return found


def _digests(path: str, algorithms: tuple[str, ...]) -> dict[str, str]:
    """Return digests of a regular file, {} when it cannot be read. Links in its last name are not followed."""
    sums = {name: hashlib.new(name, usedforsecurity=False) for name in algorithms}
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return {}
            while chunk := file.read(1 << 20):
                for one in sums.values():
                    one.update(chunk)
    except OSError:
        return {}
    return {name: one.hexdigest() for name, one in sums.items()}


def _verification(files: list[Any]) -> Any:
    """Return SPDX's digest over the files of a package: SHA-1 of their sorted SHA-1."""
    model = _model()
    sums = sorted(file.checksums[0].value for file in files)
    return model.PackageVerificationCode(
        value=hashlib.sha1("".join(sums).encode(), usedforsecurity=False).hexdigest()
    )
