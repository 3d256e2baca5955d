"""The databases of a tree of nodes: which there are, who stands on whom, what each of them holds."""

from __future__ import annotations

import os

from redpak.errors import NotFound, RedpakError
from redpak.node import prove_cache, prove_plan, site, tree
from redpak.packages.facts import Facts, Place
from redpak.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from redpak.node.prove_cache import Cache
    from redpak.node.prove_plan import Launch
    from redpak.packages.keys import Key
    from redpak.packages.model import Layer

CHUNK = 1 << 20  # bytes


class Member(Record):
    """A core OS or a node. `parent` is an index among the members, -1 for none."""

    path: str
    name: str
    parent: int
    layer: Layer
    launch: Launch | None = None  # None: a core OS
    key: str = ""  # digest of the database
    trouble: str = ""  # why the database cannot be read, '' when it can


class Forest:
    """All members of a tree: core first, parents before their children."""

    def __init__(self, members: Sequence[Member], cache: Cache) -> None:
        self.members = tuple(members)
        self.cache = cache
        self.known: dict[int, tuple[Facts, ...]] = {}
        self.wrong: dict[int, str] = {}  # why a member's packages cannot be read
        self.counts: dict[int, int] = {}  # packages, where they were not read
        self.launch_keys: dict[int, str] = {}
        self.surveys: dict[int, str] = {}  # what changes when a member's files do
        self.imported: dict[int, tuple[Key, ...]] = {}  # keys that rpm has of each member
        self.arch = os.uname().machine

    def nodes(self) -> list[int]:
        """Return the indexes of the nodes."""
        return [at for at, member in enumerate(self.members) if member.launch is not None]

    def leaves(self) -> list[int]:
        """Return the nodes that nothing stands on."""
        parents = {member.parent for member in self.members}
        return [at for at in self.nodes() if at not in parents]

    def chain(self, at: int) -> list[int]:
        """Return the members from the core OS down to one."""
        found: list[int] = []
        while at >= 0:
            found.append(at)
            at = self.members[at].parent
        return found[::-1]

    def at_path(self, path: str) -> int:
        """Return the index of the member at a path."""
        return next(at for at, member in enumerate(self.members) if member.path == path)

    def keys(self, at: int) -> str:
        """Return what changes when the packages of a member, or of any above it, do."""
        return prove_cache.digest([(self.members[up].name, self.members[up].key) for up in self.chain(at)])

    def facts(self, at: int) -> tuple[Facts, ...]:
        """Return the packages of a member; () when they cannot be read, and `wrong` says why."""
        if at not in self.known:
            self.known[at] = self._facts(self.members[at], at)
        return self.known[at]

    def _facts(self, member: Member, at: int) -> tuple[Facts, ...]:
        from redpak.packages import core, whatif

        if member.trouble:
            self.wrong[at] = member.trouble
            return ()
        if member.layer.database == "none":
            return ()
        name = "facts-" + prove_cache.digest(self.cache.code, member.layer.database, member.key)[:32]
        kept = prove_cache.load(name) if member.key else None
        if kept is not None:
            return tuple(Facts(values) for values in kept)
        try:
            found = whatif.facts_of(core.headers(member.layer))
        except RedpakError as error:
            self.wrong[at] = error.message
            return ()
        if member.key:
            prove_cache.store(name, [package.values() for package in found])
        return found

    def launch_key(self, at: int) -> str:
        """Return what changes when the mounts or search paths of a member's launch do; '' for a core OS."""
        launch = self.members[at].launch
        if at not in self.launch_keys:
            shown = (launch.mounts, launch.search, launch.libraries) if launch else ()
            self.launch_keys[at] = prove_cache.digest(shown) if launch else ""
        return self.launch_keys[at]

    def count(self, at: int) -> int:
        """Return how many packages a member has."""
        return len(self.known[at]) if at in self.known else self.counts.get(at, 0)

    def places(self) -> tuple[Place, ...]:
        """Return the tree for a proof."""
        return tuple(
            Place(
                name=member.name,
                path=member.path,
                parent=member.parent,
                packages=self.facts(at),
                key=member.key,
            )
            for at, member in enumerate(self.members)
        )


def forest(root: str, *, core: str = "", cache: Cache, beneath: bool = True) -> Forest:
    """Return the members of a tree: the nodes at and beneath `root`, those above it, and their core OS.

    `core` says what the core OS is, as `site_of` takes it; '' what each family says. Without `beneath`, the node at
    `root` is the last one. Raises NotFound when there is no node, and for a core OS that is not there.
    """
    members: list[Member] = []
    cores: dict[str, int] = {}
    at_path: dict[str, int] = {}
    seen: dict[str, str] = {}
    for path, parent in nodes_of(root, beneath=beneath):
        launch = prove_plan.launch_of(path, cache, seen)
        if parent:
            up = at_path[parent]
        else:
            which = core or launch.core
            if which not in cores:
                cores[which] = add_core(members, which)
            up = cores[which]
        at_path[path] = len(members)
        members.append(member_of(launch, members, up))
    made = Forest(members, cache)
    made.arch = arch_of(members)
    return made


def nodes_of(root: str, *, beneath: bool = True) -> Iterator[tuple[str, str]]:
    """Yield the nodes at, above and beneath a directory, parents first, each with its parent ('' for none)."""
    top = os.path.realpath(root)
    if not os.path.isdir(top):
        raise NotFound(
            f"'{root}' is not a directory" if os.path.lexists(root) else f"'{root}' does not exist",
            hint="Name a node, or a directory with nodes.",
        )
    above = [place.rstrip("/") for place in tree.spelled(top) if tree.is_node(place)]
    starts = [top] if tree.is_node(top) else tree.child_nodes(top)
    if not starts:
        raise NotFound(f"there is no node in '{root}'", hint="Name a node, or a directory with nodes.")
    parent = ""
    for place in above:
        if place != top:
            yield place, parent
            parent = place
    queue = [(place, parent) for place in starts]
    for path, up in queue:
        yield path, up
        if beneath:
            queue += [(child, path) for child in tree.child_nodes(path)]


def add_core(members: list[Member], which: str) -> int:
    """Add a core OS; return its index, -1 for none."""
    layer = site.core_layer(which)
    if layer is None:
        return -1
    key, trouble = key_of(layer)
    members.append(Member(path=layer.path, name=layer.name, parent=-1, layer=layer, key=key, trouble=trouble))
    return len(members) - 1


def member_of(launch: Launch, members: Sequence[Member], parent: int) -> Member:
    """Return the member for a node."""
    taken = []
    up = parent
    while up >= 0:
        taken.append(members[up].layer)
        up = members[up].parent
    layer = layer_of(launch, taken)
    key, trouble = key_of(layer)
    return Member(
        path=launch.path,
        name=launch.alias,
        parent=parent,
        layer=layer,
        launch=launch,
        key=key,
        trouble=trouble,
    )


def layer_of(launch: Launch, taken: Sequence[Layer]) -> Layer:
    """Return a node's layer as `site_of` makes it, without reading its configuration again."""
    from redpak.config.model import Node, NodeDoc, Value
    from redpak.origin import Origin

    origin = Origin(file=launch.path)
    tags = {"rpmdir": Value(value=launch.rpmdir, origin=origin)} if launch.rpmdir else {}
    doc = NodeDoc(file=launch.path, alias=launch.alias, alias_origin=origin, tags=tags)
    return site.node_layer(Node(path=launch.path, real=launch.path, normal=doc), locked=True, taken=taken)


def key_of(layer: Layer) -> tuple[str, str]:
    """Return a digest of a layer's database, and why there is none."""
    from redpak.packages import core, rpmdb

    try:
        if layer.database != "rpm":
            return core.stamp(layer), ""
        where = rpmdb.file_of(layer.rpmdb)
        return digest_of_files(where, where + "-wal") if where else "", ""
    except RedpakError as error:
        return "", error.message
    except OSError as error:
        return "", f"'{error.filename}': {(error.strerror or str(error)).lower()}"


def digest_of_files(*names: str) -> str:
    """Return SHA-256 over the content of files, those left out that are not there."""
    import hashlib

    made = hashlib.sha256()
    for name in names:
        try:
            with open(name, "rb", buffering=0) as file:
                made.update(hashlib.file_digest(file, "sha256").digest())
        except FileNotFoundError:
            made.update(b"-")
    return made.hexdigest()


def arch_of(members: Sequence[Member]) -> str:
    """Return the architecture of the first core OS that says one, else this machine's."""
    for member in members:
        if member.launch is None and member.path != "/":
            layer = member.layer
            said = site.facts_of(layer).arch if layer.database == "manifest" else site.arch_of(layer)
            if said:
                return said
    return os.uname().machine
