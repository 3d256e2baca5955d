"""What a sealed merge works on and what it collects on the way: files in order, faults, warnings, contests."""

from __future__ import annotations

from redpak.config.expand import Notes, Scope
from redpak.config.model import Contest, MergedTag
from redpak.errors import Fault
from redpak.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.config.model import Context, Family, MergedExport, NodeDoc, Value
    from redpak.origin import Origin

CORE_OS = -1  # owner of what main.yaml says


class Layer(Record):
    """One file of the family."""

    owner: int  # index in Family.nodes; CORE_OS for main.yaml
    admin: bool = False
    doc: NodeDoc


class Ledger:
    """The files of a family and what merging them finds. Grows while the merge runs."""

    def __init__(self, family: Family, context: Context) -> None:
        self.family = family
        self.leaf = len(family.nodes) - 1
        self.notes = Notes()
        self.scope = Scope(family=family, owner=self.leaf, context=context, notes=self.notes)
        self.contests: list[Contest] = []
        self.sealed: list[
            MergedExport
        ] = []  # read-only exports of the nodes visited so far, their own ones too
        self.nodes = tuple(layers_of(family, owner) for owner in range(len(family.nodes)))
        defaults = family.defaults
        self.core: Layer | None = Layer(owner=CORE_OS, doc=defaults) if defaults is not None else None

    def scope_of(self, owner: int) -> Scope:
        """Return the scope in which entries of one node are expanded."""
        return self.scope.but(owner=owner)

    def who(self, owner: int) -> str:
        """Name a node to a person."""
        return "the core OS" if owner == CORE_OS else f"node '{self.family.nodes[owner].alias}'"

    def fault(self, origin: Origin, message: str, hint: str = "") -> None:
        """Note what is wrong; the merge goes on and fails at its end. NULs become visible."""
        fault = Fault(origin=origin, message=message.replace("\0", "\\0"), hint=hint)
        if fault not in self.notes.faults:
            self.notes.faults.append(fault)

    def warn(self, origin: Origin, message: str, hint: str = "") -> None:
        """Note what is ignored."""
        fault = Fault(origin=origin, message=message.replace("\0", "\\0"), hint=hint)
        if fault not in self.notes.warnings:
            self.notes.warnings.append(fault)

    def lost(self, thing: str, asked: str, origin: Origin, why: str) -> None:
        """Note who asked for a thing and does not get it."""
        self.contests.append(Contest(thing=thing, kind="lost", asked=asked, why=why, origin=origin))

    def seals(self, thing: str, asked: str, origin: Origin) -> None:
        """Note who binds the descendants."""
        self.contests.append(Contest(thing=thing, kind="seals", asked=asked, origin=origin))

    def kept(
        self, thing: str, asked: str, origin: Origin, winner: Origin, *, by: int, warn: str = ""
    ) -> None:
        """Note a plain redefinition: the ancestor's value stays, and a warning names both places.

        `warn` is what the ancestor wanted to be said then.
        """
        self.lost(thing, asked, origin, f"{self.who(by)} comes first ({winner})")
        self.warn(
            origin,
            f"{thing} is set by {self.who(by)} at {winner} already, ignoring '{asked}'",
            warn or "Remove it here, or change it there.",
        )

    def tag(self, key: str, *, absent: tuple[object, ...] = ()) -> list[tuple[int, Value]]:
        """Return (owner, value) for each node that sets a tag, oldest first; the admin file goes first.

        Values in `absent` (lower case) count as not set.
        """
        found = []
        for layers in self.nodes:
            chosen: tuple[int, Value] | None = None
            for layer in layers:
                value = layer.doc.tags.get(key)
                if value is None or str(value.value).lower() in absent:
                    continue
                if chosen is None:
                    chosen = (layer.owner, value)
                elif chosen[1].value != value.value:
                    why = f"the node's admin file comes first ({chosen[1].origin})"
                    self.lost(thing_of(key), str(value.value), value.origin, why)
            if chosen is not None:
                found.append(chosen)
        return found

    def core_tag(self, key: str, *, absent: tuple[object, ...] = ()) -> Value | None:
        """Return what the core OS says about a tag."""
        value = self.core.doc.tags.get(key) if self.core else None
        return None if value is None or str(value.value).lower() in absent else value

    def overridden(self, thing: str, asked: str, origin: Origin, winner: Origin) -> None:
        """Note that a default of the core OS gives way to a node."""
        self.lost(thing, asked, origin, f"a default of the core OS; {winner} overrides it")


def layers_of(family: Family, owner: int) -> tuple[Layer, ...]:
    """Return a node's files: the admin file, where admin mode is on, goes first."""
    node = family.nodes[owner]
    normal = Layer(owner=owner, doc=node.normal)
    if family.admin and node.admin is not None:
        return (Layer(owner=owner, admin=True, doc=node.admin), normal)
    return (normal,)


def thing_of(key: str) -> str:
    """Return what a tag is called in contests."""
    return f"namespace {key[6:]}" if key.startswith("share_") else f"setting {key}"


def merged(owner: int, value: Value) -> MergedTag:
    """Return a tag in force that is not expanded."""
    return MergedTag(value=value.value, owner=owner, origin=value.origin)
