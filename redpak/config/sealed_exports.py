"""Sealed merge of exports: what the sandbox shows, and what descendants may not show more openly."""

from __future__ import annotations

from redpak.config.expand import expand
from redpak.config.model import MergedExport
from redpak.config.mountpath import is_at_or_beneath, normalise, parents
from redpak.config.sealed_sources import binding_files, clean, how, may_touch, reach
from redpak.record import Record
from redpak.text import text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.config.model import Export
    from redpak.config.sealed_ledger import Layer, Ledger
    from redpak.text import Text

WRITABLE = frozenset(("Public", "Private", "PublicFile", "PrivateFile"))
READONLY = frozenset(("Restricted", "PrivateRestricted", "RestrictedFile"))
BINDS = WRITABLE | READONLY
OWN = frozenset(("Private", "PrivateFile", "PrivateRestricted"))  # not inherited
NEED_PATH = {
    "Symlink": "the link's target",
    "Execfd": "the command",
    "Internal": "the number of a descriptor that the caller leaves open",
}


class Held(Record):
    """An export of one file, expanded."""

    export: MergedExport
    warn: str = ""

    @property
    def mount(self) -> str:
        """Where it appears."""
        return self.export.mount


def exports(ledger: Ledger) -> tuple[MergedExport, ...]:
    """Return the exports in force, sorted by mount."""
    force: dict[str, Held] = {}  # inherited from the nodes visited so far, by mount
    sealed = ledger.sealed
    for layers in ledger.nodes:
        asks = [held for layer in layers for held in _of_file(layer, ledger)]
        allowed = [(held, _allowed(held.export, force, sealed, ledger)) for held in asks]
        own = _own(allowed, force, ledger)
        leaf = layers[0].owner == ledger.leaf
        for held in own.values():
            if held.export.mode in READONLY and not leaf:
                sealed.append(held.export)
                ledger.seals(f"mount {held.mount}", words(held.export), held.export.origin)
            if leaf or held.export.mode not in OWN:
                force[held.mount] = held
            else:
                why = f"private to {ledger.who(held.export.owner)}"
                ledger.lost(f"mount {held.mount}", words(held.export), held.export.origin, why)
    _fault_links(force, ledger)
    _add_defaults(force, ledger)
    return tuple(force[mount].export for mount in sorted(force))


def words(export: MergedExport) -> str:
    """Return what was asked for, for a person."""
    if export.mode == "Execfd":
        return f"Execfd {export.command}"
    return export.mode if export.path is None else f"{export.mode} {export.path}"


def _of_file(layer: Layer, ledger: Ledger) -> list[Held]:
    """Return the exports of one file, expanded, each mount once."""
    found: dict[str, Held] = {}
    for ask in layer.doc.exports:
        export = _expanded(ask, layer, ledger)
        if export is None:
            continue
        first = found.setdefault(export.mount, Held(export=export, warn=ask.warn)).export
        if not _same(first, export):
            ledger.fault(
                export.origin,
                f"mount '{export.mount}' is given twice, differently, first at {first.origin}",
                "Remove one of them.",
            )
    return list(found.values())


def _expanded(ask: Export, layer: Layer, ledger: Ledger) -> MergedExport | None:
    """Expand an entry; None, after a fault, when it makes no sense."""
    scope = ledger.scope_of(layer.owner).but(place=True)
    where = expand(ask.mount, scope, commands=False, origin=ask.origin)
    if where.literal is None:
        hint = "A mount point must be known before the start."
        ledger.fault(ask.origin, f"mount '{ask.mount}' is only known at the start: '{where}'", hint)
        return None
    try:
        mount = normalise(where.literal)
    except ValueError as wrong:
        ledger.fault(ask.origin, f"mount '{where.literal}' {wrong}")
        return None
    if mount == "/" and ask.mode not in BINDS and ask.mode != "Tmpfs":
        ledger.fault(ask.origin, f"{ask.mode} cannot be mounted at '/'", "Use a bind or Tmpfs there.")
        return None
    source: Text | None = None
    command = ""
    if ask.mode in NEED_PATH and not ask.path:
        ledger.fault(
            ask.origin, f"{ask.mode} export '{mount}' has no path", f"Write {NEED_PATH[ask.mode]} there."
        )
        return None
    if ask.mode == "Execfd":
        command = ask.path or ""
    elif ask.mode in BINDS or ask.mode in NEED_PATH:
        source = text(mount) if ask.path is None else expand(ask.path, scope, origin=ask.origin)
        try:
            source = clean(source) if ask.mode in BINDS else _target(source, ask)
        except ValueError as wrong:
            ledger.fault(ask.origin, f"path '{source}' of export '{mount}' {wrong}")
            return None
    if "\0" in command:
        ledger.fault(ask.origin, f"the command of export '{mount}' holds a NUL character")
        return None
    return MergedExport(
        mode=ask.mode, mount=mount, path=source, command=command, owner=layer.owner, origin=ask.origin
    )


def _target(path: Text, ask: Export) -> Text:
    """Check the target of a Symlink and the descriptor number of an Internal. Raises ValueError."""
    said = path.literal
    if said is None:
        raise ValueError("is only known at the start")
    if not said:
        raise ValueError("is empty")
    if "\0" in said:
        raise ValueError("holds a NUL character")
    if ask.mode == "Internal" and not (said.isascii() and said.isdigit() and len(said) < 10):
        raise ValueError("is no descriptor number")
    return path


def _same(one: MergedExport, other: MergedExport) -> bool:
    return (one.mode, one.path, one.command) == (other.mode, other.path, other.command)


def _own(allowed: list[tuple[Held, bool]], force: dict[str, Held], ledger: Ledger) -> dict[str, Held]:
    """Return what one node adds to its ancestors' exports; what it redefines is lost.

    A private entry of the admin file does not hide an inherited one of the normal file from descendants: for
    them the private one is not there.
    """
    own: dict[str, Held] = {}
    for held, good in allowed:
        export = held.export
        thing, said = f"mount {held.mount}", words(export)
        older = force.get(held.mount)
        if older is not None:
            if good and not _same(older.export, export):
                winner = older.export
                ledger.kept(thing, said, export.origin, winner.origin, by=winner.owner, warn=older.warn)
            continue
        mine = own.setdefault(held.mount, held)
        if mine is held or _same(mine.export, export):
            continue
        if export.owner < ledger.leaf and mine.export.mode in OWN and export.mode not in OWN:
            own[held.mount] = held
            mine, held = held, mine
        why = f"another file of the node comes first ({mine.export.origin})"
        ledger.lost(thing, words(held.export), held.export.origin, why)
    return own


def _allowed(
    export: MergedExport, force: dict[str, Held], sealed: list[MergedExport], ledger: Ledger
) -> bool:
    """Tell whether the ancestors allow an entry; faults say why not."""
    older = force.get(export.mount)
    if older is not None and _same(older.export, export):
        return True
    good = True
    if export.mode not in READONLY:
        holder = _holder(export.mount, force)
        if holder is not None and holder.mode in READONLY:
            at = "re-exports" if holder.mount == export.mount else f"lies beneath '{holder.mount}' and opens"
            ledger.fault(
                export.origin,
                f"mount '{export.mount}' ({export.mode}) {at} what {ledger.who(holder.owner)} shows read-only "
                f"at {holder.origin}",
                "Use mode Restricted, or another mount.",
            )
            good = False
    if export.mode in WRITABLE:
        good = _source_allowed(export, sealed, ledger) and _configuration_safe(export, force, ledger) and good
    return good


def _holder(mount: str, force: dict[str, Held]) -> MergedExport | None:
    """Return the innermost ancestors' mount that `mount` is or lies beneath."""
    for path in (mount, *parents(mount)):
        if path in force:
            return force[path].export
    return None


def _source_allowed(export: MergedExport, sealed: list[MergedExport], ledger: Ledger) -> bool:
    """Hold the seal on read-only sources, whatever mount they would be written through."""
    source = export.path or text(export.mount)
    mine = reach(source, writable=True)
    for bound in sealed:
        theirs = reach(bound.path or text(bound.mount), writable=False)
        if may_touch(mine, theirs):
            ledger.fault(
                export.origin,
                f"source '{source}' of writable export '{export.mount}' {how(mine, theirs)} '{bound.path}', "
                f"which {ledger.who(bound.owner)} shows read-only at {bound.origin}",
                "Use mode Restricted, or another source.",
            )
            return False
    return True


def _configuration_safe(export: MergedExport, force: dict[str, Held], ledger: Ledger) -> bool:
    """Keep a descendant from writing the files that bind it, unless an ancestor lets it."""
    source = export.path or text(export.mount)
    mine = reach(source, writable=True)
    opened = [
        held.export.path.literal
        for held in force.values()
        if held.export.mode in WRITABLE and held.export.path
    ]
    for node in ledger.family.nodes[: max(export.owner, 0)]:
        for file in binding_files(node):
            inside = is_at_or_beneath(file, mine.lead) if mine.exact else file.startswith(mine.lead)
            if inside and not any(top is not None and is_at_or_beneath(file, top) for top in opened):
                ledger.fault(
                    export.origin,
                    f"source '{source}' of writable export '{export.mount}' may hold '{file}', which binds "
                    f"this node: node '{node.alias}' ({node.normal.alias_origin})",
                    "Use mode Restricted, or another source.",
                )
                return False
    return True


def _fault_links(force: dict[str, Held], ledger: Ledger) -> None:
    """Fault what is mounted beneath a symbolic link: it would land where the link leads."""
    for mount in sorted(force):
        link = _link_above(mount, force)
        if link is None:
            continue
        beneath = force[mount].export
        first, second = sorted((link, beneath), key=lambda export: export.owner)
        whose = f"{ledger.who(first.owner)} ({first.origin})"
        if second is link:
            message = f"symlink '{link.mount}' hides '{mount}' of {whose}"
        else:
            message = f"mount '{mount}' lies beneath symlink '{link.mount}' of {whose}"
        ledger.fault(second.origin, message, "Nothing can be mounted beneath a symlink.")


def _link_above(mount: str, force: dict[str, Held]) -> MergedExport | None:
    for path in parents(mount):
        held = force.get(path)
        if held is not None and held.export.mode == "Symlink":
            return held.export
    return None


def _add_defaults(force: dict[str, Held], ledger: Ledger) -> None:
    """Add the core OS's exports where no node says otherwise; they bind nobody."""
    if ledger.core is None:
        return
    nodes = dict(force)
    for held in _of_file(ledger.core, ledger):
        export = held.export
        thing = f"mount {held.mount}"
        winner = nodes[held.mount].export if held.mount in nodes else _link_above(held.mount, nodes)
        if winner is None and export.mode == "Symlink":
            winner = next((nodes[at].export for at in sorted(nodes) if held.mount in parents(at)), None)
        if winner is not None:
            if not _same(winner, export) or winner.mount != export.mount:
                ledger.overridden(thing, words(export), export.origin, winner.origin)
        elif export.mode in OWN:
            ledger.lost(thing, words(export), export.origin, "private to the core OS")
        else:
            force[held.mount] = held
    _fault_links(force, ledger)
