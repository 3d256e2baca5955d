"""Sealed merge of the tags of `config`: plain ones, one-way switches, search paths and namespaces."""

from __future__ import annotations

from redpak.config.expand import expand
from redpak.config.model import MergedPath, MergedShare, MergedTag
from redpak.config.sealed_ledger import CORE_OS, merged, thing_of
from redpak.config.settings import BY_NAME, SHARES
from redpak.origin import DEFAULT
from redpak.text import Text, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.config.model import MergedVariable, Value
    from redpak.config.sealed_ledger import Layer, Ledger
    from redpak.config.setting import Setting
    from redpak.origin import Origin

# The value of a one-way switch that binds descendants.
TIGHT: dict[str, str | bool] = {
    "tri": "enabled",
    "seal-true": True,
    "seal-false": False,
    "seal-default": "default",
}
UNSET = ("unset", "")
VARIABLES = {"path": "PATH", "ldpath": "LD_LIBRARY_PATH"}
OPENNESS = {"disabled": 0, "path": 1, "enabled": 2}


def identity(ledger: Ledger) -> dict[str, MergedTag]:
    """Return set-user, set-group and smack, which are never expanded; $UID and $GID depend on them."""
    return {key: tag for key in ("set-user", "set-group", "smack") if (tag := _plain(BY_NAME[key], ledger))}


def tags(ledger: Ledger) -> dict[str, MergedTag]:
    """Return every plain tag and one-way switch that somebody set, but those of `identity`."""
    found = {}
    for key, setting in BY_NAME.items():
        if key in ("set-user", "set-group", "smack"):
            continue
        if setting.merge == "plain":
            tag = _plain(setting, ledger)
        elif setting.merge in TIGHT:
            tag = _switch(setting, ledger)
        else:
            continue
        if tag is not None:
            found[key] = tag
    return found


def _plain(setting: Setting, ledger: Ledger) -> MergedTag | None:
    """Return what the oldest node that says it says, else the core OS's default."""
    key = setting.name
    kept: MergedTag | None = None
    for owner, value in ledger.tag(key):
        tag = _expanded(setting, owner, value, ledger)
        if kept is None:
            kept = tag
        elif tag.value != kept.value:
            ledger.kept(thing_of(key), str(tag.value), tag.origin, kept.origin, by=kept.owner)
    return _or_default(setting, kept, ledger)


def _or_default(setting: Setting, kept: MergedTag | None, ledger: Ledger) -> MergedTag | None:
    absent = UNSET if setting.merge == "tri" else ()
    core = ledger.core_tag(setting.name, absent=absent)
    if core is None:
        return kept
    if kept is None:
        return _expanded(setting, CORE_OS, core, ledger)
    if core.value != kept.value:
        ledger.overridden(thing_of(setting.name), str(core.value), core.origin, kept.origin)
    return kept


def _expanded(setting: Setting, owner: int, value: Value, ledger: Ledger) -> MergedTag:
    if not setting.expanded or not isinstance(value.value, str):
        return merged(owner, value)
    done = expand(value.value, ledger.scope_of(owner), commands=setting.commands, origin=value.origin)
    return MergedTag(value=done, owner=owner, origin=value.origin)


def _switch(setting: Setting, ledger: Ledger) -> MergedTag | None:
    """Walk from the oldest node: anybody may set the tight value, nobody below may take it back."""
    key, tight = setting.name, TIGHT[setting.merge]
    kept: tuple[int, Value] | None = None
    for owner, value in ledger.tag(key, absent=UNSET if setting.merge == "tri" else ()):
        if _plainly(value) == tight and owner < ledger.leaf:
            ledger.seals(thing_of(key), str(value.value), value.origin)
        if kept is None:
            kept = (owner, value)
        elif _plainly(value) == _plainly(kept[1]):
            continue
        elif _plainly(value) == tight:
            ledger.lost(thing_of(key), str(kept[1].value), kept[1].origin, f"tightened at {value.origin}")
            kept = (owner, value)
        else:
            by, bound = kept
            ledger.fault(
                value.origin,
                f"{key} '{_word(value)}' loosens '{_word(bound)}', which {ledger.who(by)} set at {bound.origin}",
                f"Remove '{key}' here.",
            )
    return _or_default(setting, merged(*kept) if kept else None, ledger)


def _plainly(value: Value) -> str | int | bool:
    return value.value.lower() if isinstance(value.value, str) else value.value


def _word(value: Value) -> str:
    return str(value.value).lower() if isinstance(value.value, bool) else str(value.value)


def search_path(key: str, environ: tuple[MergedVariable, ...], ledger: Ledger) -> tuple[MergedPath, ...]:
    """Return the elements of `path` or `ldpath`: leaf first, oldest last, then the core OS; no duplicates.

    They make the variable PATH or LD_LIBRARY_PATH, unless an older node has set that variable itself: the oldest
    wins here too.
    """
    ordered = [layer for layers in reversed(ledger.nodes) for layer in layers if key in layer.doc.tags]
    variable = next((entry for entry in environ if entry.key == VARIABLES[key] and entry.owner >= 0), None)
    if variable is not None and all(layer.owner > variable.owner for layer in ordered):
        for layer in ordered:
            said = layer.doc.tags[key]
            thing, asked = f"variable {variable.key}", f"{key}: {said.value}"
            ledger.kept(thing, asked, said.origin, variable.origin, by=variable.owner)
        core = ledger.core_tag(key)
        if core is not None:
            asked = f"{key}: {core.value}"
            ledger.overridden(f"variable {variable.key}", asked, core.origin, variable.origin)
        return ()
    if ledger.core is not None and key in ledger.core.doc.tags:
        ordered.append(ledger.core)
    elements: dict[Text, Origin] = {}
    for layer in ordered:
        said = layer.doc.tags[key]
        scope = ledger.scope_of(layer.owner)
        for element in split(expand(str(said.value), scope, commands=False, origin=said.origin)):
            elements.setdefault(element, said.origin)
    if variable is not None:
        _warn_of_variable(key, variable, ordered, ledger)
    return tuple(MergedPath(element=element, origin=origin) for element, origin in elements.items())


def _warn_of_variable(key: str, variable: MergedVariable, ordered: list[Layer], ledger: Ledger) -> None:
    """Warn of a variable that an older node's search path replaces."""
    oldest = [layer for layer in ordered if layer.owner >= 0][-1]
    if oldest.owner < variable.owner:
        said = oldest.doc.tags[key]
        ledger.warn(
            variable.origin,
            f"variable {variable.key} is made of '{key}', which {ledger.who(oldest.owner)} set at {said.origin}, "
            f"ignoring '{variable.value or variable.mode}'",
            f"Use '{key}' here.",
        )


def split(whole: Text) -> list[Text]:
    """Cut a text at its literal colons. Empty elements, which would mean the current directory, are dropped."""
    elements = [text()]
    for part in whole.parts:
        first, *others = part.split(":") if isinstance(part, str) else [part]
        elements[-1] = text(*elements[-1].parts, first)
        elements.extend(text(other) for other in others)
    return [element for element in elements if element.parts]


def shares(ledger: Ledger) -> dict[str, MergedShare]:
    """Return what happens to the six kinds of namespaces, as 'enabled', 'disabled' or a path: never 'unset'.

    What a node says about one kind goes before what anybody says about all. Where nobody says anything, the
    sandbox has its own namespaces and the host's clocks.
    """
    alls = _share_all(ledger)
    found = {}
    for kind in SHARES:
        kept = _share(kind, [] if kind == "time" else alls, ledger)
        if kept is None and alls and kind != "time":
            kept = alls[-1]
        default = _share_default(kind, ledger)
        if kept is not None:
            value, origin = _sharing(kept[1]), kept[1].origin
            if default.origin != DEFAULT and default.value != value:
                ledger.overridden(f"namespace {kind}", default.value, default.origin, origin)
            found[kind] = MergedShare(value=value, origin=origin)
        else:
            found[kind] = default
    return found


def _share_default(kind: str, ledger: Ledger) -> MergedShare:
    for key in (f"share_{kind}", *(("share_all",) if kind != "time" else ())):
        core = ledger.core_tag(key, absent=UNSET)
        if core is not None and _valid(key, core, ledger):
            return MergedShare(value=_sharing(core), origin=core.origin)
    return MergedShare(value="enabled" if kind == "time" else "disabled", origin=DEFAULT)


def _share_all(ledger: Ledger) -> list[tuple[int, Value]]:
    """Return the values of share_all that took effect, oldest first; the last one is in force."""
    effective: list[tuple[int, Value]] = []
    for owner, value in ledger.tag("share_all", absent=UNSET):
        if not _valid("share_all", value, ledger):
            continue
        if effective and _sharing(value) == _sharing(effective[-1][1]):
            continue
        if effective and _sharing(value) == "enabled":
            _loosens("share_all", value, "share_all", *effective[-1], ledger)
            continue
        effective.append((owner, value))
    return effective


def _share(kind: str, alls: list[tuple[int, Value]], ledger: Ledger) -> tuple[int, Value] | None:
    """Walk from the oldest node: a descendant may only go from enabled over a path to disabled."""
    key, thing = f"share_{kind}", f"namespace {kind}"
    said = dict(ledger.tag(key, absent=UNSET))
    closers = {owner: value for owner, value in alls if _sharing(value) == "disabled"}
    kept: tuple[int, Value] | None = None
    closed: tuple[int, Value] | None = None
    for owner in range(len(ledger.nodes)):
        value = said.get(owner)
        if value is not None and _valid(key, value, ledger):
            bound, name = (kept, key) if kept is not None else (closed, "share_all")
            if bound is not None and _opens(_sharing(value), _sharing(bound[1])):
                _loosens(key, value, name, *bound, ledger)
            elif kept is None or _sharing(value) != _sharing(kept[1]):
                if kept is not None:
                    why = f"tightened at {value.origin}"
                    ledger.lost(thing, f"{key}: {kept[1].value}", kept[1].origin, why)
                kept = (owner, value)
            if owner < ledger.leaf and _sharing(value) != "enabled":
                ledger.seals(thing, f"{key}: {value.value}", value.origin)
        if owner in closers:
            closer = closers[owner]
            if kept is None:
                closed = (owner, closer)
                if owner < ledger.leaf:
                    ledger.seals(thing, "share_all: disabled", closer.origin)
            elif kept[0] < owner and _sharing(kept[1]) != "disabled":
                _not_closed(kind, closer, *kept, ledger)
    return kept


def _not_closed(kind: str, closer: Value, by: int, kept: Value, ledger: Ledger) -> None:
    """Warn that share_all does not touch what an ancestor says about one kind."""
    why = f"{ledger.who(by)} says share_{kind}: {kept.value} ({kept.origin}), which goes before share_all"
    ledger.lost(f"namespace {kind}", "share_all: disabled", closer.origin, why)
    ledger.warn(
        closer.origin, f"share_all: 'disabled' leaves {kind} alone: {why}", f"Say share_{kind}: disabled."
    )


def _sharing(value: Value) -> str:
    word = str(value.value)
    return word.lower() if word.lower() in ("enabled", "disabled") else word


def _opens(new: str, old: str) -> bool:
    """Tell whether going from `old` to `new` loosens; another namespace to join does."""
    if new == old:
        return False
    rank = OPENNESS.get(new, OPENNESS["path"]), OPENNESS.get(old, OPENNESS["path"])
    return rank[0] >= rank[1]


def _valid(key: str, value: Value, ledger: Ledger) -> bool:
    word = _sharing(value)
    if word in ("enabled", "disabled"):
        return True
    if key != "share_all" and word.startswith("/") and "\0" not in word:
        return True
    takes = "enabled, disabled or unset" + ("" if key == "share_all" else ", or an absolute path")
    ledger.fault(value.origin, f"{key} cannot be '{word}'", f"Write {takes}.")
    return False


def _loosens(key: str, value: Value, bound_by: str, by: int, bound: Value, ledger: Ledger) -> None:
    ledger.fault(
        value.origin,
        f"{key} '{value.value}' loosens {bound_by} '{bound.value}', which {ledger.who(by)} set at {bound.origin}",
        f"Remove '{key}' here.",
    )
