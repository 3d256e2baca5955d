"""What configuration files say (`NodeDoc`, `Node`, `Family`), and what a family says together (`Merged`)."""

from __future__ import annotations

from redpak.errors import Fault
from redpak.origin import Origin
from redpak.record import Record
from redpak.text import Text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Literal

    Profile = Literal["sealed", "upstream-2.5"]
    ExportMode = Literal[
        "Public", "Private", "Restricted", "PrivateRestricted", "PublicFile", "PrivateFile", "RestrictedFile",
        "Anonymous", "Tmpfs", "Procfs", "Devfs", "Mqueue", "Lock", "Symlink", "Execfd", "Internal",
    ]  # fmt: skip
    EnvironMode = Literal["Default", "Static", "Execfd", "Remove", "Inherit"]

SEALED: Profile = "sealed"
UPSTREAM: Profile = "upstream-2.5"


class Value(Record):
    """One scalar as decoded by its setting's kind, and where it stands."""

    value: str | int | bool
    origin: Origin


class Export(Record):
    """An entry of `exports`, as written."""

    mode: ExportMode
    mount: str
    path: str | None = None  # None: the same as mount
    info: str = ""
    warn: str = ""
    origin: Origin


class Variable(Record):
    """An entry of `environ`, as written. `Expanded` is read as Default."""

    mode: EnvironMode = "Default"
    key: str
    value: str | None = None
    info: str = ""
    warn: str = ""
    origin: Origin


class CapabilityAsk(Record):
    """An entry of `config.capabilities`, as written."""

    cap: str
    add: int
    info: str = ""
    warn: str = ""
    origin: Origin


class CgroupValue(Record):
    """A leaf of `config.cgroups`: group 'mem', key 'max', value '512M'."""

    group: str
    key: str
    value: str
    origin: Origin


class RlimitAsk(Record):
    """A leaf of `config.rlimits` (redpak's own key): numbers, -1 is unlimited."""

    name: str
    soft: int
    hard: int
    origin: Origin


class NodeDoc(Record):
    """One configuration file."""

    file: str
    alias: str
    name: str = ""
    info: str = ""
    alias_origin: Origin
    exports: tuple[Export, ...] = ()
    environ: tuple[Variable, ...] = ()
    tags: Mapping[str, Value]  # plain values of `config`, by key; only what the file says
    capabilities: tuple[CapabilityAsk, ...] = ()
    cgroups: tuple[CgroupValue, ...] = ()
    rlimits: tuple[RlimitAsk, ...] = ()


class Node(Record):
    """A node on disk with its configuration. `path` is as spelled (upstream's dumps show it), `real` is canonical."""

    path: str
    real: str
    normal: NodeDoc
    admin: NodeDoc | None = None  # only read in admin mode
    state: str = "Enable"

    @property
    def alias(self) -> str:
        """The alias in the normal configuration."""
        return self.normal.alias


class Family(Record):
    """Nodes from the oldest ancestor to the leaf, and the core OS's defaults."""

    nodes: tuple[Node, ...]
    defaults: NodeDoc | None = None  # main.yaml; None under upstream-2.5, which never reads it
    admin: bool = False

    @property
    def leaf(self) -> Node:
        """The node that was asked for."""
        return self.nodes[-1]


class Context(Record):
    """Everything outside the files that expansion may ask for."""

    environ: Mapping[str, str]
    uid: int
    gid: int
    pid: int = 0
    today: str = ""  # "DD-Mon-YYYY HH:MM (TZ)", only used where upstream-2.5 wants it at once


class MergedExport(Record):
    """An export that is in force. `owner` indexes Family.nodes, -1 is the core OS."""

    mode: ExportMode
    mount: str  # expanded
    path: Text | None  # expanded; None where the mode has no source (Anonymous, Tmpfs, …)
    command: str = ""  # Execfd: what bash runs, unexpanded
    owner: int
    origin: Origin


class MergedVariable(Record):
    """A variable that is in force; value is None for Remove and Inherit."""

    mode: EnvironMode
    key: str
    value: Text | None = None
    owner: int
    origin: Origin


class MergedTag(Record):
    """A plain setting that is in force. Strings that are expanded are Text, all others as decoded."""

    value: str | int | bool | Text
    owner: int
    origin: Origin


class MergedShare(Record):
    """A namespace's sharing: 'enabled', 'disabled', 'unset' or the path of a namespace to join."""

    value: str
    origin: Origin


class MergedPath(Record):
    """An element of PATH or LD_LIBRARY_PATH."""

    element: Text
    origin: Origin


class Contest(Record):
    """Somebody who asked for a thing and lost, or who seals it. Becomes a plan's Rival."""

    thing: str
    kind: Literal["lost", "seals"]
    asked: str
    why: str = ""
    origin: Origin


class Merged(Record):
    """What a family says together."""

    profile: Profile
    family: Family
    exports: tuple[MergedExport, ...]  # sorted by mount
    sealed: tuple[
        MergedExport, ...
    ] = ()  # what the leaf's ancestors show read-only, also to themselves alone
    environ: tuple[MergedVariable, ...]
    tags: Mapping[str, MergedTag]  # hostname, chdir, umask, set-user, …: those that somebody set
    shares: Mapping[str, MergedShare]  # user cgroup net pid ipc time, all six
    capabilities: tuple[tuple[CapabilityAsk, int], ...] = ()  # in force, with owner
    path: tuple[MergedPath, ...] = ()
    ldpath: tuple[MergedPath, ...] = ()
    cgroups: tuple[tuple[CgroupValue, int], ...] = ()  # oldest owner first
    rlimits: tuple[tuple[RlimitAsk, int], ...] = ()
    reads: tuple[tuple[str, str | None], ...] = ()  # variables of the caller that expansion used
    contests: tuple[Contest, ...] = ()
    warnings: tuple[Fault, ...] = ()
