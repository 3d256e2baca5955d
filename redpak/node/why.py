"""Why a package is there, over a node's whole family and the nodes beneath it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from redpak.errors import NotFound
from redpak.packages import core, why
from redpak.packages.model import Site
from redpak.packages.needs import Network

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redpak.packages.model import Layer
    from redpak.packages.why import Reasoned


def explain(site: Site, spec: str) -> list[Reasoned]:
    """Return the answer for each installed package of the family that a word means. Raises NotFound."""
    layers: list[tuple[Layer, int]] = [(layer, at - 1) for at, layer in enumerate(site.layers)]
    if site.is_node:
        layers += list(_beneath(site, len(layers) - 1))
    network = Network([(layer.name, layer.path, parent, core.headers(layer)) for layer, parent in layers])
    wanted = [at for at in why.find(network, spec) if network.owner[at] < len(site.layers)]
    if not wanted:
        raise NotFound(
            f"no package '{spec}' is installed in the family of '{site.path}'",
            hint=f"Ask who has it: redpak who-provides '{spec}' {site.path}",
        )
    reasons = [_reasons(layer) for layer, _ in layers]
    needed = {need.provider for need in network.needs}

    def reason(at: int) -> str:
        package = network.tree.packages[at]
        return reasons[network.owner[at]].get(f"{package.name}.{package.arch}", "unknown")

    def asked(at: int) -> bool:
        # where nobody wrote reasons down, what nobody needs must have been wanted for itself
        return reason(at) in ("user", "group") or (reason(at) == "unknown" and at not in needed)

    return why.explain(network, wanted, asked, reason)


def _beneath(site: Site, parent: int) -> Iterator[tuple[Layer, int]]:
    """Yield the layers of the nodes beneath a site, with the number of the layer above each."""
    from redpak.node import tree
    from redpak.node.change import flat
    from redpak.node.site import site_of

    numbers = {site.path: parent}
    for branch in flat(tree.branch(site.path)):
        if branch.path in numbers:
            continue
        layers = site_of(branch.path, any_state=True).layers
        numbers[branch.path] = parent + len(numbers)
        yield layers[-1], numbers[layers[-2].path]


def _reasons(layer: Layer) -> dict[str, str]:
    """Return why the packages of a node are there, {} where nobody wrote it down."""
    from redpak.node import history

    is_node = layer.kind == "node" and layer.name != layer.path
    if layer.kind != "node":
        return {}
    return history.reasons(Site(path=layer.path, is_node=is_node, layers=(layer,), arch=""))
