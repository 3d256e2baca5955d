"""The merge of red-pak 2.5, holes and all, for trees that were written for it (profile upstream-2.5).

Nodes are visited from the leaf to the oldest ancestor; inside a node the admin file comes before the normal
one. The youngest wins among files of a kind, and any admin file beats every normal one. Nothing here is safe
against a node's author: the sealed profile is.
"""

from __future__ import annotations

from redpak.config.expand import Notes, Scope, expand, expand_again
from redpak.config.model import (
    UPSTREAM,
    Contest,
    Merged,
    MergedExport,
    MergedPath,
    MergedShare,
    MergedTag,
    MergedVariable,
)
from redpak.config.upstream_walk import Forbidden, Visit, visits_of
from redpak.errors import BadConfig, Fault, RedpakError
from redpak.origin import DEFAULT, Origin
from redpak.text import Run, Text, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from redpak.config.model import (
        CapabilityAsk,
        CgroupValue,
        Context,
        Export,
        Family,
        RlimitAsk,
        Value,
    )
    from redpak.config.model import Variable as VariableAsk
    from redpak.text import Asked

# Expanded in the leaf's context, whoever wrote them; the second set is expanded twice.
EXPANDED = frozenset(("rpmdir", "persistdir", "cachedir", "hostname", "chdir", "umask", "cgrouproot"))
EXPANDED_TWICE = frozenset(("hostname", "chdir"))
TRISTATE = frozenset(("die-with-parent", "new-session"))
SHARES = ("user", "cgroup", "net", "pid", "ipc", "time")
NOT_TAGS = frozenset(("path", "ldpath", "profile", "share_all", *(f"share_{kind}" for kind in SHARES)))
NO_SOURCE = frozenset(("Anonymous", "Tmpfs", "Procfs", "Devfs", "Mqueue", "Lock", "Execfd"))


def merge(
    family: Family,
    context: Context,
    *,
    run: Callable[[str], str] | None = None,
    ask: Callable[[Asked], str] | None = None,
) -> Merged:
    """Merge a family as red-pak 2.5 does. Raises BadConfig, and Forbidden with red-pak's own words.

    With `run` and `ask`, commands and PID, UUID, TODAY are evaluated here, else they stay parts of the texts.
    """
    notes = Notes()
    visits = visits_of(family)
    contests: list[Contest] = []
    tags = _plain(visits, contests)
    leaf = Scope(
        family=family,
        owner=len(family.nodes) - 1,
        context=context,
        uid=_number(tags.get("set-user"), "user"),
        gid=_number(tags.get("set-group"), "group"),
        upstream=True,
        run=run,
        ask=ask,
        notes=notes,
    )
    merged = Merged(
        profile=UPSTREAM,
        family=family,
        exports=_exports(visits, leaf, contests),
        environ=_environ(visits, leaf, contests),
        tags={key: _expanded(key, tag, leaf) for key, tag in tags.items()},
        shares=_shares(visits, contests),
        capabilities=_capabilities(visits, notes, contests),
        path=_paths("path", visits, leaf),
        ldpath=_paths("ldpath", visits, leaf),
        cgroups=_cgroups(visits, contests),
        rlimits=_rlimits(visits, contests),
        reads=notes.sorted_reads(),
        contests=tuple(contests),
        warnings=tuple(notes.warnings),
    )
    if notes.faults:
        raise BadConfig(notes.faults)
    return merged


def _plain(visits: list[Visit], contests: list[Contest]) -> dict[str, MergedTag]:
    """Return the plain tags, not yet expanded: the youngest admin file's, else the youngest normal file's."""
    won: dict[str, MergedTag] = {}
    for visit in sorted(visits, key=lambda visit: not visit.admin):
        for key, value in visit.doc.tags.items():
            if key in NOT_TAGS or _absent(key, value):
                continue
            if key not in won:
                won[key] = MergedTag(value=value.value, owner=visit.owner, origin=value.origin)
            elif won[key].value != value.value:
                contests.append(_lost(f"setting {key}", f"{value.value}", won[key].origin, value.origin))
    return won


def _absent(key: str, value: Value) -> bool:
    """Tell whether red-pak takes a value for not set: 0, false and Unset."""
    if key in TRISTATE:
        return str(value.value).lower() in ("unset", "0", "")
    return not isinstance(value.value, str) and not value.value


def _expanded(key: str, tag: MergedTag, leaf: Scope) -> MergedTag:
    if key not in EXPANDED or not isinstance(tag.value, str):
        return tag
    value = expand(tag.value, leaf, origin=tag.origin)
    if key in EXPANDED_TWICE:
        value = expand_again(value, leaf, origin=tag.origin)
    return tag.but(value=value)


def _number(tag: MergedTag | None, kind: str) -> str:
    """Return the number of a set-user or set-group, '' when there is none. Raises RedpakError."""
    if tag is None:
        return ""
    name = str(tag.value)
    if name.isdecimal():
        return name
    try:
        if kind == "user":
            import pwd

            return str(pwd.getpwnam(name).pw_uid)
        import grp

        return str(grp.getgrnam(name).gr_gid)
    except KeyError:
        raise RedpakError(f"there is no {kind} '{name}' on this host ({tag.origin})") from None


def _paths(key: str, visits: list[Visit], leaf: Scope) -> tuple[MergedPath, ...]:
    """Return the elements of PATH or LD_LIBRARY_PATH; the first of equal ones stays."""
    elements: dict[Text, Origin] = {}
    for visit in visits:
        said = visit.doc.tags.get(key)
        if said is None:
            continue
        whole = expand(str(said.value), leaf.but(owner=visit.owner), commands=False, origin=said.origin)
        for element in _split(whole):
            elements.setdefault(element, said.origin)
    return tuple(MergedPath(element=element, origin=origin) for element, origin in elements.items())


def _split(whole: Text) -> list[Text]:
    """Cut a text at its literal colons; empty elements are dropped."""
    elements: list[Text] = [text()]
    for part in whole.parts:
        first, *others = part.split(":") if isinstance(part, str) else [part]
        elements[-1] = text(*elements[-1].parts, first)
        elements.extend(text(other) for other in others)
    return [element for element in elements if element.parts]


def _shares(visits: list[Visit], contests: list[Contest]) -> Mapping[str, MergedShare]:
    kept = {kind: _share(kind, visits, contests) for kind in (*SHARES, "all")}
    default = kept.pop("all")
    for kind, share in kept.items():
        if share.value == "unset" and kind != "time":
            kept[kind] = default
    return kept


def _share(kind: str, visits: list[Visit], contests: list[Contest]) -> MergedShare:
    """Walk from the leaf up: the descendant's choice stays, unless an ancestor forbids it."""
    kept: tuple[str, Visit, Origin] | None = None
    for visit in visits:
        said = visit.doc.tags.get(f"share_{kind}")
        value = _share_value(said)
        if said is None or value == "unset":
            continue
        if kept is None:
            kept = (value, visit, said.origin)
            continue
        was, who, where = kept
        if visit.admin and not who.admin:
            kept = (value, visit, said.origin)
            contests.append(_lost(f"namespace {kind}", was, said.origin, where))
            continue
        if visit.admin == who.admin and value == "disabled" and was != "disabled":
            raise Forbidden(f"Can't share {kind} in {who} because forbidden in {visit}", where, said.origin)
        if value != was:
            contests.append(_lost(f"namespace {kind}", value, where, said.origin))
    if kept is None:
        return MergedShare(value="unset", origin=DEFAULT)
    return MergedShare(value=kept[0], origin=kept[2])


def _share_value(said: Value | None) -> str:
    """Return enabled, disabled, unset or the path of a namespace."""
    if said is None:
        return "unset"
    value = str(said.value)
    return value.lower() if value.lower() in ("enabled", "disabled", "unset") else value


def _lost(thing: str, asked: str, winner: Origin, loser: Origin) -> Contest:
    why = "" if winner == loser else f"{winner} comes first (youngest, or admin)"
    return Contest(thing=thing, kind="lost", asked=asked, why=why, origin=loser)


def _capabilities(
    visits: list[Visit], notes: Notes, contests: list[Contest]
) -> tuple[tuple[CapabilityAsk, int], ...]:
    """Return the capabilities in red-pak's order: the oldest ancestor's last one first."""
    kept: dict[str, tuple[CapabilityAsk, Visit]] = {}
    for visit in visits:
        for new in visit.doc.capabilities:
            key = new.cap.lower()
            if key not in kept:
                kept[key] = (new, visit)
                continue
            old, who = kept[key]
            if who.owner == visit.owner and who.admin == visit.admin:
                _twice(
                    f"capability {new.cap}",
                    same=bool(old.add) == bool(new.add),
                    old=old.origin,
                    new=new,
                    notes=notes,
                )
            elif visit.admin and not who.admin:
                kept[key] = (new, visit)
                contests.append(_lost(f"capability {old.cap}", f"add: {old.add}", new.origin, old.origin))
            elif visit.admin == who.admin and old.add and not new.add:
                raise Forbidden(
                    f"Capability {new.cap} of {visit} badly redefined in {who}", old.origin, new.origin
                )
            else:
                _warn(new, f"capability {new.cap}", old.origin, notes)
                contests.append(_lost(f"capability {new.cap}", f"add: {new.add}", old.origin, new.origin))
    return tuple((ask, who.owner) for ask, who in reversed(kept.values()))


def _environ(visits: list[Visit], leaf: Scope, contests: list[Contest]) -> tuple[MergedVariable, ...]:
    """Return the variables in red-pak's order; names that differ in case only are one variable."""
    kept: dict[bytes, tuple[VariableAsk, Visit]] = {}
    for visit in visits:
        for new in visit.doc.environ:
            key = _folded(new.key)
            if key not in kept:
                kept[key] = (new, visit)
                continue
            old, who = kept[key]
            thing = f"variable {new.key}"
            if who.owner == visit.owner and who.admin == visit.admin:
                same = (old.mode, old.value) == (new.mode, new.value)
                _twice(thing, same=same, old=old.origin, new=new, notes=leaf.notes)
            elif visit.admin and not who.admin:
                kept[key] = (new, visit)
                contests.append(_lost(thing, _variable_words(old), new.origin, old.origin))
            else:
                _warn(new, thing, old.origin, leaf.notes)
                contests.append(_lost(thing, _variable_words(new), old.origin, new.origin))
    return tuple(_variable(ask, leaf.but(owner=who.owner)) for ask, who in reversed(kept.values()))


def _variable_words(ask: VariableAsk) -> str:
    return ask.mode if ask.value is None else f"{ask.mode} {ask.value}"


def _variable(ask: VariableAsk, scope: Scope) -> MergedVariable:
    raw = ask.value or ""
    value: Text | None = None
    if ask.mode == "Default":
        value = expand(raw, scope, origin=ask.origin)
    elif ask.mode == "Static":
        value = text(raw)
    elif ask.mode == "Execfd":
        value = text(Run(command=raw) if scope.run is None else scope.run(raw))
    return MergedVariable(mode=ask.mode, key=ask.key, value=value, owner=scope.owner, origin=ask.origin)


def _exports(visits: list[Visit], leaf: Scope, contests: list[Contest]) -> tuple[MergedExport, ...]:
    """Return the exports sorted by mount; mounts that differ in case only are one mount."""
    kept: dict[bytes, tuple[Export, Visit, str]] = {}
    for visit in visits:
        scope = leaf.but(owner=visit.owner)
        for new in visit.doc.exports:
            if new.mode in ("Private", "PrivateFile") and visit.owner != leaf.owner:
                continue
            mount = _mount(new, scope)
            key = _folded(mount)
            thing = f"mount {mount}"
            if key not in kept:
                kept[key] = (new, visit, mount)
                continue
            old, who, _ = kept[key]
            if who.owner == visit.owner and who.admin == visit.admin:
                same = old.mode == new.mode and (None in (old.path, new.path) or old.path == new.path)
                _twice(thing, same=same, old=old.origin, new=new, notes=leaf.notes)
            elif visit.admin and not who.admin:
                kept[key] = (new, visit, mount)
                contests.append(_lost(thing, _export_words(old), new.origin, old.origin))
            else:
                _warn(new, thing, old.origin, leaf.notes)
                contests.append(_lost(thing, _export_words(new), old.origin, new.origin))
    found = sorted(kept.values(), key=lambda entry: entry[2].encode(errors="surrogateescape"))
    return tuple(_export(ask, mount, leaf.but(owner=who.owner)) for ask, who, mount in found)


def _mount(ask: Export, scope: Scope) -> str:
    mount = expand(ask.mount, scope, origin=ask.origin).literal
    if mount is None:
        message = f"mount point '{ask.mount}' is only known when the program starts"
        scope.notes.faults.append(Fault(origin=ask.origin, message=message))
        return ask.mount
    return mount


def _export_words(ask: Export) -> str:
    return ask.mode if ask.path is None else f"{ask.mode} {ask.path}"


def _export(ask: Export, mount: str, scope: Scope) -> MergedExport:
    raw = ask.mount if ask.path is None else ask.path
    path = None if ask.mode in NO_SOURCE else expand(raw, scope, origin=ask.origin)
    command = raw if ask.mode == "Execfd" else ""
    return MergedExport(
        mode=ask.mode, mount=mount, path=path, command=command, owner=scope.owner, origin=ask.origin
    )


def _cgroups(visits: list[Visit], contests: list[Contest]) -> tuple[tuple[CgroupValue, int], ...]:
    """Return every node's own values, oldest node first; inside a node the admin file wins."""
    kept: dict[tuple[int, str, str], CgroupValue] = {}
    for visit in visits:
        for new in visit.doc.cgroups:
            old = kept.setdefault((visit.owner, new.group, new.key), new)
            if old is not new:
                contests.append(_lost(f"limit {new.group}.{new.key}", new.value, old.origin, new.origin))
    return tuple((value, key[0]) for key, value in sorted(kept.items()))


def _rlimits(visits: list[Visit], contests: list[Contest]) -> tuple[tuple[RlimitAsk, int], ...]:
    """Return the resource limits, a key that red-pak does not have: like any plain tag, a name each."""
    kept: dict[str, tuple[RlimitAsk, int]] = {}
    for visit in sorted(visits, key=lambda visit: not visit.admin):
        for new in visit.doc.rlimits:
            old, _ = kept.setdefault(new.name, (new, visit.owner))
            if old is not new:
                asked = f"{new.soft}:{new.hard}"
                contests.append(_lost(f"limit {new.name}", asked, old.origin, new.origin))
    return tuple(kept[name] for name in sorted(kept))


def _folded(name: str) -> bytes:
    """Fold the case of ASCII letters, as strcasecmp(3) does."""
    return name.encode(errors="surrogateescape").lower()


def _twice(
    thing: str, *, same: bool, old: Origin, new: CapabilityAsk | VariableAsk | Export, notes: Notes
) -> None:
    """Note that a file says a thing twice: a fault when the second differs."""
    if same:
        notes.warnings.append(
            Fault(origin=new.origin, message=f"{thing} is given twice, ignoring the second")
        )
        return
    message = f"{thing} is given twice, differently"
    notes.faults.append(Fault(origin=new.origin, message=message, hint=f"The first is at {old}."))


def _warn(ask: CapabilityAsk | VariableAsk | Export, thing: str, winner: Origin, notes: Notes) -> None:
    """Note the `warn` of an ancestor's entry that a descendant redefines."""
    if ask.warn:
        notes.warnings.append(
            Fault(origin=ask.origin, message=f"{ask.warn} ({thing} is redefined at {winner})")
        )
