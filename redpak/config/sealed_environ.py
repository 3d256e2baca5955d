"""Sealed merge of the environment: all variables of the family, the oldest node's value where two differ."""

from __future__ import annotations

from redpak.config.expand import expand
from redpak.config.model import MergedVariable
from redpak.text import Run, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.config.model import Variable
    from redpak.config.sealed_ledger import Layer, Ledger
    from redpak.text import Text


def environ(ledger: Ledger) -> tuple[MergedVariable, ...]:
    """Return the variables in force, sorted by name. Upper and lower case differ."""
    kept: dict[str, MergedVariable] = {}
    warns: dict[str, str] = {}
    for layers in ledger.nodes:
        for layer in layers:
            for ask, variable in _of_file(layer, ledger):
                old = kept.setdefault(variable.key, variable)
                if old is variable:
                    warns[old.key] = ask.warn
                elif _same(old, variable):
                    continue
                elif old.owner == layer.owner:
                    why = f"the node's admin file comes first ({old.origin})"
                    ledger.lost(f"variable {old.key}", _words(variable), variable.origin, why)
                else:
                    thing = f"variable {old.key}"
                    warn = warns[old.key]
                    ledger.kept(thing, _words(variable), ask.origin, old.origin, by=old.owner, warn=warn)
    if ledger.core is not None:
        for _, variable in _of_file(ledger.core, ledger):
            old = kept.setdefault(variable.key, variable)
            if old is not variable and not _same(old, variable):
                ledger.overridden(f"variable {old.key}", _words(variable), variable.origin, old.origin)
    return tuple(kept[key] for key in sorted(kept))


def _of_file(layer: Layer, ledger: Ledger) -> list[tuple[Variable, MergedVariable]]:
    """Return the variables of one file, expanded, each name once."""
    found: dict[str, tuple[Variable, MergedVariable]] = {}
    for ask in layer.doc.environ:
        if not ask.key or "=" in ask.key or "\0" in ask.key:
            ledger.fault(ask.origin, f"'{ask.key}' cannot be the name of a variable")
            continue
        if ask.value is None and ask.mode not in ("Remove", "Inherit"):
            hint = "Write a value ('' for an empty one), or use mode Remove or Inherit."
            ledger.fault(ask.origin, f"variable '{ask.key}' has no value", hint)
            continue
        variable = MergedVariable(
            mode=ask.mode, key=ask.key, value=_value(ask, layer, ledger), owner=layer.owner, origin=ask.origin
        )
        first = found.setdefault(ask.key, (ask, variable))[1]
        if not _same(first, variable):
            ledger.fault(
                ask.origin, f"variable '{ask.key}' is given twice, differently, first at {first.origin}"
            )
    return list(found.values())


def _value(ask: Variable, layer: Layer, ledger: Ledger) -> Text | None:
    raw = ask.value or ""
    if "\0" in raw:
        ledger.fault(
            ask.origin, f"variable '{ask.key}' holds a NUL character", "The kernel cannot pass it on."
        )
        return text()
    match ask.mode:
        case "Default":
            return expand(raw, ledger.scope_of(layer.owner), origin=ask.origin)
        case "Static":
            return text(raw)
        case "Execfd":
            return text(Run(command=raw))
        case _:
            return None


def _same(one: MergedVariable, other: MergedVariable) -> bool:
    return (one.mode, one.value) == (other.mode, other.value)


def _words(variable: MergedVariable) -> str:
    return variable.mode if variable.value is None else str(variable.value)
