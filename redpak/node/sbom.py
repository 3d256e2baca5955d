"""The bill of materials of a node: its packages, where they came from, and what they need of its family."""

from __future__ import annotations

from typing import TYPE_CHECKING

from redpak.packages import core
from redpak.packages.inventory import Inventory, Origin, take

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from redpak.packages.model import Site

FORMATS = ("spdx", "cyclonedx")


def document(
    site: Site,
    form: str,
    *,
    family: bool = False,
    files: bool = False,
    bases: Mapping[str, Sequence[str]] | None = None,
) -> str:
    """Return the document in one of FORMATS. The same packages give the same bytes. Raises RedpakError.

    `family`: with all packages of ancestors and core OS, not only those that the node's own ones need. `files`: with
    the files of each package. `bases`: base URLs of repositories by id, to say where packages can be had.
    """
    inventory = inventory_of(site, family=family, bases=bases or {})
    if form == "cyclonedx":
        from redpak.packages import sbom_cyclonedx

        return sbom_cyclonedx.document(inventory, files=files)
    from redpak.packages import sbom_spdx

    roots = {layer.name: (layer.tree, layer.state) for layer in site.layers}
    return sbom_spdx.document(inventory, files=files, roots=roots)


def inventory_of(site: Site, *, family: bool = False, bases: Mapping[str, Sequence[str]]) -> Inventory:
    """Return what a bill of materials lists of a site."""
    from redpak import __version__

    return take(
        [(layer, core.headers(layer)) for layer in site.layers],
        name=site.own.name if site.is_node else "root",
        tool=f"redpak-{__version__}",
        origins=origins(site, bases),
        family=family,
    )


def origins(site: Site, bases: Mapping[str, Sequence[str]]) -> dict[str, Origin]:
    """Return where the packages of a site came from, as its history knows: {nevra: origin}."""
    from redpak.node import history

    reasons = history.reasons(site)
    found = {}
    for entry in history.entries(site):
        for item in entry.items:
            if item.action != "remove":
                base = next(iter(bases.get(item.repo, ())), "")
                beneath = item.location and "://" not in item.location and not item.location.startswith("/")
                found[item.nevra] = Origin(
                    checksum=item.checksum,
                    location=f"{base.rstrip('/')}/{item.location}" if base and beneath else item.location,
                    repo=item.repo,
                    reason=reasons.get(f"{item.name}.{item.arch}", ""),
                )
    return found
