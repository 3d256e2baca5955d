"""Sealed merge of capabilities: all are dropped unless added, and what an ancestor drops stays dropped."""

from __future__ import annotations

from redpak.config.settings import CAPABILITIES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.config.model import CapabilityAsk
    from redpak.config.sealed_ledger import Layer, Ledger

    Owned = tuple[CapabilityAsk, int]

ALL = "ALL"


def canonical(cap: str) -> str:
    """Return a capability's name as the kernel writes it, or ALL; '' when there is no such capability."""
    name = cap.strip().upper()
    if name == ALL:
        return ALL
    name = name if name.startswith("CAP_") else f"CAP_{name}"
    return name if name in CAPABILITIES else ""


def capabilities(ledger: Ledger) -> tuple[tuple[CapabilityAsk, int], ...]:
    """Return what is in force, adds and drops, one entry a name, sorted by name; `cap` is the kernel's name.

    What a node says about one capability goes before what anybody says about ALL.
    """
    kept: dict[str, Owned] = {}
    closed: Owned | None = None  # the oldest drop of ALL
    for layers in ledger.nodes:
        asks = _of_node(layers, ledger)
        accepted = {
            name: ask
            for name, ask in asks.items()
            if not ask[0].add or _may_add(name, ask, kept, closed, ledger)
        }
        for name, ask in accepted.items():
            _put(name, ask, kept, ledger)
        if ALL in accepted and not accepted[ALL][0].add:
            closed = closed or accepted[ALL]
            _warn_of_survivors(accepted, kept, ledger)
    _add_defaults(kept, ledger)
    return tuple(kept[name] for name in sorted(kept))


def _of_node(layers: tuple[Layer, ...], ledger: Ledger) -> dict[str, Owned]:
    """Return what one node asks for, by canonical name."""
    asks: dict[str, Owned] = {}
    for layer in layers:
        for name, ask in _of_file(layer, ledger).items():
            if name not in asks:
                asks[name] = (ask, layer.owner)
            elif bool(asks[name][0].add) != bool(ask.add):
                why = f"the node's admin file comes first ({asks[name][0].origin})"
                ledger.lost(f"capability {name}", f"add: {ask.add}", ask.origin, why)
    return asks


def _of_file(layer: Layer, ledger: Ledger) -> dict[str, CapabilityAsk]:
    asks: dict[str, CapabilityAsk] = {}
    for ask in layer.doc.capabilities:
        name = canonical(ask.cap)
        if not name:
            ledger.fault(ask.origin, f"there is no capability '{ask.cap}'", "See capabilities(7).")
            continue
        ask = ask.but(cap=name)
        first = asks.setdefault(name, ask)
        if bool(first.add) != bool(ask.add):
            ledger.fault(
                ask.origin, f"capability '{name}' is both added and dropped, first at {first.origin}"
            )
    return asks


def _may_add(name: str, ask: Owned, kept: dict[str, Owned], closed: Owned | None, ledger: Ledger) -> bool:
    """Tell whether the ancestors allow to add a capability; a fault says why not."""
    bound: Owned | None
    if name in kept:
        bound = None if kept[name][0].add else kept[name]
    elif closed is not None:
        bound = closed
    elif name == ALL:
        bound = next((other for other in kept.values() if not other[0].add), None)
    else:
        bound = None
    if bound is None:
        return True
    ledger.fault(
        ask[0].origin,
        f"capability '{name}' is added, but {ledger.who(bound[1])} drops {bound[0].cap} at {bound[0].origin}",
        "Remove it here.",
    )
    return False


def _put(name: str, ask: Owned, kept: dict[str, Owned], ledger: Ledger) -> None:
    """Put an allowed entry in force, unless an older one says the same."""
    old = kept.get(name)
    if not ask[0].add and ask[1] < ledger.leaf:
        ledger.seals(f"capability {name}", "add: 0", ask[0].origin)
    if old is not None and bool(old[0].add) == bool(ask[0].add):
        return
    if old is not None:
        why = f"dropped at {ask[0].origin}"
        ledger.lost(f"capability {name}", f"add: {old[0].add}", old[0].origin, why)
    kept[name] = ask


def _warn_of_survivors(asks: dict[str, Owned], kept: dict[str, Owned], ledger: Ledger) -> None:
    """Warn of capabilities that an ancestor adds by name: dropping ALL does not touch them."""
    drop, owner = asks[ALL]
    for name, (ask, by) in sorted(kept.items()):
        if ask.add and by < owner and name not in asks:
            ledger.warn(
                drop.origin,
                f"dropping ALL leaves {name} alone: {ledger.who(by)} adds it by name at {ask.origin}",
                f"Drop {name} by name.",
            )


def _add_defaults(kept: dict[str, Owned], ledger: Ledger) -> None:
    """Add what the core OS says about capabilities that no node has a say in."""
    if ledger.core is None:
        return
    said = dict(kept)
    for name, ask in _of_file(ledger.core, ledger).items():
        winner = said.get(name) or said.get(ALL)
        if winner is None:
            kept[name] = (ask, ledger.core.owner)
        elif bool(winner[0].add) != bool(ask.add):
            ledger.overridden(f"capability {name}", f"add: {ask.add}", ask.origin, winner[0].origin)
