"""The `linux` section of a configuration: namespaces, id maps, devices, sysctls, paths (config-linux.md)."""

from __future__ import annotations

import os

from redpak.engine.native.box import (
    IdMap,
    MakeDir,
    MakeNode,
    MakeSymlink,
    MaskPath,
    Process,
    ReadonlyPath,
    Space,
)
from redpak.oci.mounts import PROPAGATION, clean, id_map
from redpak.oci.parts import I64, U32, Part

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from redpak.engine.native.box import Filter, SpaceKind
    from redpak.oci.mounts import IdMaps, Step

    Kinds = dict[str, Space]

SPACES: dict[str, SpaceKind] = {
    "cgroup": "cgroup",
    "ipc": "ipc",
    "mount": "mount",
    "network": "net",
    "pid": "pid",
    "time": "time",
    "user": "user",
    "uts": "uts",
}
DEFAULT_DEVICES = (
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
)
DEV_LINKS = (
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
)
PERSONALITIES = {"LINUX": 0x0000, "LINUX32": 0x0008}
NODE_FILTER = "org.redpak.node.seccomp"  # no member of the specification: other runtimes ignore it
CLOCKS = ("monotonic", "boottime")
ROOT_PROPAGATION = {word: value for word, value in PROPAGATION.items() if word}
SYSCTL_IPC = (
    "kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall", "kernel.shmmax",
    "kernel.shmmni", "kernel.shm_rmid_forced", "kernel.auto_msgmni", "kernel.sem_next_id", "kernel.msg_next_id",
    "kernel.shm_next_id",
)  # fmt: skip


def spaces(section: Part) -> tuple[Space, ...]:
    """Return the namespaces, each kind once."""
    found: Kinds = {}
    for part in section.parts("namespaces"):
        word = part.text("type", required=True)
        path = part.path_text("path")
        if not word:
            continue
        if word not in SPACES:
            part.bad("type", f"'{word}' is none of {', '.join(SPACES)}")
            continue
        kind = SPACES[word]
        if kind in found:
            part.bad("type", f"a namespace of type '{word}' is there twice")
        found[kind] = Space(kind=kind, path=path)
    return tuple(found.values())


def id_maps(section: Part, kinds: Kinds, euid: int) -> IdMaps:
    """Return the maps of uids and gids; both are needed with a new user namespace, none without one.

    An ordinary user who says neither is root inside, and nobody else is there, as crun has it.
    """
    uids, gids = id_map(section, "uidMappings"), id_map(section, "gidMappings")
    own = "user" in kinds and not kinds["user"].path
    if own and euid and not section.data.get("uidMappings") and not section.data.get("gidMappings"):
        return (IdMap(inside=0, outside=euid, count=1),), (IdMap(inside=0, outside=os.getegid(), count=1),)
    for key, there in (("uidMappings", uids), ("gidMappings", gids)):
        if there and "user" not in kinds:
            section.bad(key, "is there without a namespace of type 'user'")
        elif not there and own and not section.data.get(key):
            section.bad(key, "is missing: a new user namespace has no ids without it")
    return uids, gids


def _mapped(number: int, maps: tuple[IdMap, ...]) -> bool:
    return any(one.inside <= number < one.inside + one.count for one in maps)


def check_ids(program: Part, process: Process, maps: IdMaps, kinds: Kinds) -> None:
    """Refuse ids that a new user namespace does not have."""
    if "user" not in kinds or kinds["user"].path or not (maps[0] and maps[1]) or not program.data:
        return
    for key, number, where in (("uid", process.uid, maps[0]), ("gid", process.gid, maps[1])):
        if not _mapped(number, where):
            program.bad(f"user.{key}", f"{number} is not mapped into the user namespace")
    for at, number in enumerate(process.groups):
        if not _mapped(number, maps[1]):
            program.bad(f"user.additionalGids[{at}]", f"{number} is not mapped into the user namespace")


def devices(section: Part, *, setup: bool) -> list[Step]:
    """Return the nodes and links of /dev. Without `setup`, /dev is somebody else's: only what is asked for by name."""
    asked: dict[str, MakeNode] = {}
    for part in section.parts("devices"):
        kind = part.text("type", required=True)
        path = part.path_text("path", required=True)
        if kind and kind not in ("b", "c", "u", "p"):
            part.bad("type", f"'{kind}' is none of b, c, u, p")
            continue
        numbered = kind in ("b", "c", "u")
        node = MakeNode(
            dst=clean(path),
            kind="c" if kind == "u" else kind,  # type: ignore[arg-type]
            major=part.integer("major", 0, (1 << 12) - 1, required=numbered) if numbered else 0,
            minor=part.integer("minor", 0, (1 << 20) - 1, required=numbered) if numbered else 0,
            mode=part.integer("fileMode", 0, U32, default=0o666) & 0o7777,
            uid=part.integer("uid", 0, U32 - 1),
            gid=part.integer("gid", 0, U32 - 1),
        )
        if path:
            asked[node.dst] = node
    if not setup:
        return []
    made: list[Step] = [
        MakeNode(dst=path, kind="c", major=major, minor=minor)
        for path, major, minor in DEFAULT_DEVICES
        if path not in asked
    ]
    made += asked.values()
    core = (("/dev/core", "/proc/kcore"),) if os.path.lexists("/proc/kcore") else ()
    made += [MakeSymlink(dst=path, target=target) for path, target in (*DEV_LINKS, *core)]
    made.append(MakeSymlink(dst="/dev/ptmx", target="pts/ptmx", replace=True))
    return made


def cwd(process: Process) -> list[Step]:
    """Return the step that makes the working directory if it is not there, as other runtimes do."""
    path = clean(process.cwd)
    return [] if path == "/" else [MakeDir(dst=path)]


def readonly_paths(section: Part) -> list[Step]:
    """Return the steps for what must not be written to, but for the root: see `readonly_root`."""
    return [ReadonlyPath(dst=path) for path in _paths(section, "readonlyPaths") if path != "/"]


def readonly_root(section: Part) -> bool:
    """Tell whether the root is one of the read-only paths: the mount of it alone, as with root.readonly."""
    paths = section.data.get("readonlyPaths")
    return isinstance(paths, list) and any(
        isinstance(one, str) and one and clean(one) == "/" for one in paths
    )


def masked_paths(section: Part, label: str = "") -> list[Step]:
    """Return the steps for what must not be seen; `label` is SELinux's for what is shown instead."""
    paths = _paths(section, "maskedPaths")
    if "/" in paths:
        section.bad(f"maskedPaths[{paths.index('/')}]", "is the root itself: nothing would be left to run")
    return [MaskPath(dst=path, label=label) for path in paths]


def _paths(section: Part, key: str) -> list[str]:
    paths = section.texts(key)
    for number, path in enumerate(paths):
        if not path.startswith("/"):
            section.bad(f"{key}[{number}]", f"'{path}' is no absolute path")
    return [clean(path) for path in paths]


def host_name(top: Part, key: str, kinds: Kinds) -> str:
    """Return the host or domain name: it needs a UTS namespace."""
    name = top.text(key)
    if name and "uts" not in kinds:
        top.bad(key, f"'{name}' cannot be set without a namespace of type 'uts'")
    elif name and _is_ours(kinds["uts"].path, "uts"):
        top.bad(key, f"'{name}' cannot be set: the namespace of type 'uts' is the host's own")
    if len(name.encode(errors="replace")) > 64:
        top.bad(key, "is longer than 64 bytes")
    return name


def sysctls(section: Part, kinds: Kinds) -> tuple[tuple[str, str], ...]:
    """Return kernel parameters as dotted names, a '/' in them standing for a dot: only such as a namespace has."""
    found = []
    for asked, value in section.strings("sysctl").items():
        name = dotted(asked)
        where = f"sysctl.{asked}"
        pieces = name.split(".")
        if not all(pieces) or any(piece in ("/", "//") or piece.strip("/") != piece for piece in pieces):
            section.bad(where, f"'{asked}' is no kernel parameter")
        elif name in SYSCTL_IPC or name.startswith("fs.mqueue."):
            _needs(section, where, kinds, "ipc", "ipc")
        elif name.startswith("net."):
            if _needs(section, where, kinds, "net", "network") and _is_ours(kinds["net"].path, "net"):
                section.bad(where, "the namespace of type 'network' is the host's own")
        elif name == "kernel.domainname":
            _needs(section, where, kinds, "uts", "uts")
        elif name == "kernel.hostname":
            section.bad(where, "'hostname' of the configuration is for that")
        elif name.startswith("user."):
            _needs(section, where, kinds, "user", "user")
        else:
            section.bad(where, f"'{name}' is the whole host's: it belongs to no namespace")
        found.append((name, value))
    return tuple(found)


def dotted(name: str) -> str:
    """Return a kernel parameter's name with dots between its parts (sysctl.d(5): the first of '.' and '/' divides)."""
    slash, dot = name.find("/"), name.find(".")
    if slash >= 0 and (dot < 0 or slash < dot):
        return name.translate({ord("/"): ".", ord("."): "/"})
    return name


def _needs(section: Part, where: str, kinds: Kinds, kind: str, word: str) -> bool:
    if kind in kinds:
        return True
    section.bad(where, f"cannot be set without a namespace of type '{word}'")
    return False


def _is_ours(path: str, kind: str) -> bool:
    """Tell whether a namespace that is to be joined is the one that we are in."""
    if not path:
        return False
    try:
        theirs, ours = os.stat(path), os.stat(f"/proc/self/ns/{kind}")
    except OSError:
        return False  # joining it will tell
    return (theirs.st_dev, theirs.st_ino) == (ours.st_dev, ours.st_ino)


def offsets(section: Part, kinds: Kinds) -> tuple[tuple[str, int, int], ...]:
    """Return the offsets of clocks in a new time namespace (time_namespaces(7))."""
    asked = section.part("timeOffsets")
    found = []
    for clock in asked.data:
        if clock not in CLOCKS:
            asked.bad(clock, f"is none of {', '.join(CLOCKS)}")
            continue
        part = asked.part(clock)
        found.append((clock, part.integer("secs", -I64, I64), part.integer("nanosecs", 0, 999_999_999)))
    if asked.data and "time" not in kinds:
        section.bad("timeOffsets", "cannot be set without a namespace of type 'time'")
    elif asked.data and kinds["time"].path:
        section.bad("timeOffsets", "cannot be set in a time namespace that is there already")
    return tuple(found)


def root_propagation(section: Part, kinds: Kinds) -> int:
    """Return how mounts at the root spread, as flags of mount(2), for all mounts below as well; 0: not said.

    In a mount namespace of others the root is private, whatever that namespace's own root is.
    """
    value = section.word("rootfsPropagation", ROOT_PROPAGATION)
    if value & ~PROPAGATION["rprivate"] and not _new(kinds, "mount"):
        section.bad("rootfsPropagation", "can only be 'private' without a new namespace of type 'mount'")
    return value | PROPAGATION["rprivate"] & ~PROPAGATION["private"] if value else 0


def personality(section: Part) -> int:
    """Return the execution domain (personality(2)); -1: the caller's."""
    if not section.has("personality"):
        return -1
    part = section.part("personality")
    if part.texts("flags"):
        part.bad("flags", "the specification has none yet")
    return part.word("domain", PERSONALITIES, required=True)


def filters(section: Part, cache: str = "") -> tuple[Filter, ...]:
    """Return the system call filters: that of the specification, and before it one that a node adds (node_handler)."""
    if not (section.has("seccomp") or section.has(NODE_FILTER)):
        return ()
    from redpak.oci import filtercache

    found = [
        filtercache.read(section.part(key), cache) for key in (NODE_FILTER, "seccomp") if section.has(key)
    ]
    return tuple(one for one in found if one)


def shared_mounts(top: Part, kinds: Kinds, rootfs: str) -> None:
    """Note what cannot be where the mount namespace is that of others."""
    if _new(kinds, "mount"):
        return
    if os.path.realpath(rootfs) == "/":
        top.bad(
            "root.path", "is the host's own root, and without a new namespace of type 'mount' it would change"
        )
    if _new(kinds, "user"):
        top.bad(
            "linux.namespaces",
            "a new one of type 'user' has no right to mount in others': it needs a new one of type 'mount'",
        )


def _new(kinds: Kinds, kind: str) -> bool:
    return kind in kinds and not kinds[kind].path


def mount_label(section: Part, has: Callable[[str], bool]) -> str:
    """Return SELinux's label for the file systems that are made, "" for none.

    Without SELinux it is only a warning: it says what others may do with the files, and nobody there asks for it.
    """
    label = section.text("mountLabel")
    if label and not has("selinux"):
        section.faults.warn(section.at("mountLabel"), f"'{label}' has no effect: this kernel has no SELinux")
        return ""
    return label


def refused(section: Part, kinds: Kinds, euid: int, has: Callable[[str], bool]) -> None:
    """Note what cannot be put into force here."""
    if section.data.get("intelRdt") is not None and not has("resctrl"):
        section.bad("intelRdt", "cannot be put into force: this kernel has no resctrl")
    elif section.data.get("intelRdt") is not None:
        section.bad("intelRdt", "is not supported")
    for key in ("netDevices", "memoryPolicy"):
        if section.data.get(key):
            section.bad(key, "is not supported")
    section.text("cgroupsPath")
    if euid and "user" not in kinds:
        section.bad("namespaces", "an ordinary user needs one of type 'user'")
