"""The plan: everything that a launch will do, frozen, before anything is touched.

Field order and the order inside each tuple are canonical: two plans that mean the same compare equal, have the
same JSON (`wire.py`) and the same sha256. Nothing here reads, writes or runs anything.
"""

from __future__ import annotations

from redpak.origin import Origin
from redpak.plan.ops import Bind, Dev, Dir, File, InheritFd, Lock, Mqueue, Proc, Symlink, Tmpfs
from redpak.record import Record
from redpak.text import Text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    Op = Bind | Dir | Tmpfs | Proc | Dev | Mqueue | Lock | Symlink | File | InheritFd
    NamespaceKind = Literal["cgroup", "ipc", "mount", "net", "pid", "time", "user", "uts"]
    NamespaceMode = Literal["new", "host", "join"]
    RivalKind = Literal["lost", "seals"]

VERSION = 1


class Member(Record):
    """One node of the family."""

    alias: str
    name: str
    path: str  # absolute, canonical


class SetVar(Record):
    """Set an environment variable; `inherited` takes the caller's value at start ('' if unset)."""

    key: str
    value: Text
    inherited: bool = False
    because: Origin


class UnsetVar(Record):
    """Make sure that an environment variable is not there."""

    key: str
    because: Origin


class Namespace(Record):
    """Whether the program gets a namespace of its own, the host's, or joins the one at `path`."""

    kind: NamespaceKind
    mode: NamespaceMode
    path: str = ""
    because: Origin


class Capability(Record):
    """A capability that the program keeps (capabilities(7)); all others are dropped."""

    name: str  # "CAP_NET_ADMIN", upper case, or "ALL"
    because: Origin


class Rlimit(Record):
    """A resource limit (getrlimit(2)). -1 is unlimited."""

    name: str  # "nofile", lower case
    soft: int
    hard: int
    because: Origin


class Limit(Record):
    """A control group limit of one member of the family (kernel: cgroup-v2.rst)."""

    node: str  # path of the member whose group gets it
    key: str  # "memory.max"
    value: str
    because: Origin


class Choice(Record):
    """One of the remaining settings. `value` is a string, number, truth value or Text.

    Names: hostname chdir umask user group map-root die-with-parent new-session seccomp keyring scope
    inherit-env smack cgroup-root. See `CHOICES` for their types and defaults.
    """

    name: str
    value: str | int | bool | Text
    because: Origin


class Rival(Record):
    """Who else asked for a thing: lost against what the plan has, or seals it against descendants."""

    thing: str  # "mount /etc/passwd", "variable PATH", "namespace net", "capability CAP_X", "limit …", "setting …"
    kind: RivalKind
    asked: str  # what was written, for a person
    why: str = ""  # why it lost
    because: Origin


class FileInput(Record):
    """A file that the plan depends on; sha256 is '' when it was absent."""

    path: str
    sha256: str = ""
    stamp: str = ""  # "dev.ino.size.mtime_ns.ctime_ns", '' when absent; not part of the JSON or the digest


class EnvInput(Record):
    """A variable of the caller's environment that the plan depends on; None when it was unset."""

    name: str
    value: str | None


class Plan(Record):
    """One launch, written down."""

    node: str  # the redpath: absolute, canonical path of the leaf
    profile: str  # "sealed" or "upstream-2.5"
    admin: bool = False
    family: tuple[Member, ...]  # core OS side first, leaf last
    mounts: tuple[Op, ...]  # sorted by destination: a mount comes after everything it lies beneath
    environ: tuple[SetVar | UnsetVar, ...]  # sorted by key
    namespaces: tuple[Namespace, ...]  # sorted by kind, all eight
    capabilities: tuple[Capability, ...] = ()  # kept ones, sorted by name
    rlimits: tuple[Rlimit, ...] = ()  # sorted by name
    limits: tuple[Limit, ...] = ()  # oldest member first
    choices: tuple[Choice, ...] = ()  # sorted by name; every one of CHOICES is there
    command: tuple[str, ...] = ()  # () until somebody says what to run
    files: tuple[FileInput, ...] = ()  # sorted by path
    reads: tuple[EnvInput, ...] = ()  # sorted by name
    uid: int  # who launches (numbers in the host's user namespace)
    gid: int
    rivals: tuple[Rival, ...] = ()
    warnings: tuple[str, ...] = ()  # not part of the digest

    def choice(self, name: str) -> str | int | bool | Text:
        """Return the value of one of CHOICES."""
        for choice in self.choices:
            if choice.name == name:
                return choice.value
        return CHOICES[name]

    def namespace(self, kind: str) -> Namespace:
        """Return what happens to one kind of namespace."""
        for namespace in self.namespaces:
            if namespace.kind == kind:
                return namespace
        raise KeyError(kind)


# Each choice and its default. "" = not set.
CHOICES: dict[str, str | int | bool | Text] = {
    "cgroup-root": "",
    "chdir": "",
    "die-with-parent": True,
    "group": "",  # name or number to run as; "" = the launching group
    "hostname": "",  # Text or str
    "inherit-env": False,
    "keyring": "new",  # always a session keyring of its own
    "map-root": False,
    "new-session": False,
    "scope": False,  # Landlock scoping of abstract sockets and signals, True when the network is shared
    "seccomp": "default",  # "default" or "none"
    "smack": "",
    "umask": -1,  # -1 = the caller's
    "user": "",
}
