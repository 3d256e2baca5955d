"""The `mounts` of a configuration as steps (config.md, Mounts; config-linux.md, Default Filesystems)."""

from __future__ import annotations

import os

from redpak.engine.native.box import Attributes, Bind, IdMap, NewMount
from redpak.oci.parts import U32, Part

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.engine.native.box import MakeDir, MakeFile, MakeNode, MakeSymlink, MaskPath, ReadonlyPath

    Step = (
        Bind | NewMount | MakeDir | MakeFile | MakeSymlink | MakeNode | MaskPath | ReadonlyPath | Attributes
    )
    IdMaps = tuple[tuple[IdMap, ...], tuple[IdMap, ...]]

# mount_setattr(2), mount(2)
RDONLY, NOSUID, NODEV, NOEXEC, ATIME, NOATIME, STRICTATIME, NODIRATIME = 1, 2, 4, 8, 0x70, 0x10, 0x20, 0x80
NOSYMFOLLOW = 0x200000
MS_REC, MS_UNBINDABLE, MS_PRIVATE, MS_SLAVE, MS_SHARED = 1 << 14, 1 << 17, 1 << 18, 1 << 19, 1 << 20

# Attributes of a mount by word: what is set, what is cleared. With an "r" before it: also of all mounts below.
ATTRIBUTES = {
    "ro": (RDONLY, 0),
    "rw": (0, RDONLY),
    "nosuid": (NOSUID, 0),
    "suid": (0, NOSUID),
    "nodev": (NODEV, 0),
    "dev": (0, NODEV),
    "noexec": (NOEXEC, 0),
    "exec": (0, NOEXEC),
    "nodiratime": (NODIRATIME, 0),
    "diratime": (0, NODIRATIME),
    "nosymfollow": (NOSYMFOLLOW, 0),
    "symfollow": (0, NOSYMFOLLOW),
    "relatime": (0, ATIME),
    "atime": (0, ATIME),
    "norelatime": (STRICTATIME, ATIME),
    "nostrictatime": (0, ATIME),
    "noatime": (NOATIME, ATIME),
    "strictatime": (STRICTATIME, ATIME),
}
PROPAGATION = {
    "private": MS_PRIVATE,
    "rprivate": MS_PRIVATE | MS_REC,
    "shared": MS_SHARED,
    "rshared": MS_SHARED | MS_REC,
    "slave": MS_SLAVE,
    "rslave": MS_SLAVE | MS_REC,
    "unbindable": MS_UNBINDABLE,
    "runbindable": MS_UNBINDABLE | MS_REC,
}
# Words for the file system that every one of them takes, and what is said to it; None: nothing.
FILESYSTEM = {
    "sync": "sync",
    "async": None,
    "dirsync": "dirsync",
    "lazytime": "lazytime",
    "nolazytime": None,
    "mand": None,  # mandatory locks are gone since Linux 5.15
    "nomand": None,
    "silent": None,
    "loud": None,
    "acl": None,
    "noacl": None,
    "iversion": None,
    "noiversion": None,
}
OTHERS = ("bind", "rbind", "defaults", "remount", "idmap", "ridmap", "tmpcopyup")
# Below /proc nothing else is mounted: what a program reads there has to be the kernel's word (CVE-2019-19921).
IN_PROC = (
    "/proc/cpuinfo", "/proc/diskstats", "/proc/meminfo", "/proc/stat", "/proc/swaps", "/proc/uptime",
    "/proc/loadavg", "/proc/slabinfo", "/proc/net/dev", "/proc/sys/kernel/ns_last_pid",
    "/proc/sys/crypto/fips_enabled",
)  # fmt: skip
UNLABELLED = ("proc", "sysfs", "cgroup", "cgroup2")  # the policy has labels for these, as runc has it
KEEPS_MADE = ("tmpfs",)  # file systems of the sandbox's own, in which later steps make places


def words() -> list[str]:
    """Return every option that is known, sorted."""
    return sorted([*ATTRIBUTES, *("r" + word for word in ATTRIBUTES), *PROPAGATION, *FILESYSTEM, *OTHERS])


def clean(path: str) -> str:
    """Return a path from the root without '.', '..' and doubled slashes; a relative one counts from the root."""
    return "/" + os.path.normpath("/" + path).lstrip("/")


class _Asked:
    """What the options of one mount come to."""

    def __init__(self) -> None:
        self.set = self.clear = self.rec_set = self.rec_clear = 0
        self.propagation: list[int] = []
        self.data: list[str] = []
        self.flags: set[str] = set()
        self.fs_words: list[str] = []

    def attribute(self, set_: int, clear: int, *, recursive: bool) -> None:
        """Add a change; the last word about a thing counts."""
        if recursive:
            self.rec_set = self.rec_set & ~clear | set_
            self.rec_clear = self.rec_clear & ~set_ | clear
        else:
            self.set = self.set & ~clear | set_
            self.clear = self.clear & ~set_ | clear


def _options(part: Part) -> _Asked:
    asked = _Asked()
    for number, word in enumerate(part.texts("options")):
        if word in ATTRIBUTES:
            asked.attribute(*ATTRIBUTES[word], recursive=False)
        elif word[:1] == "r" and word[1:] in ATTRIBUTES:
            asked.attribute(*ATTRIBUTES[word[1:]], recursive=True)
        elif word in PROPAGATION:
            asked.propagation.append(PROPAGATION[word])
        elif word in FILESYSTEM:
            asked.fs_words.append(word)
            if said := FILESYSTEM[word]:
                asked.data.append(said)
        elif word in OTHERS:
            asked.flags.add(word)
        elif "," in word and "=" not in word:
            part.bad(f"options[{number}]", f"'{word}' is no single option")
        elif word:
            asked.data.append(
                word
            )  # also several for the file system with commas between them, as mount(2) has it
    return asked


def steps(top: Part, maps: IdMaps, bundle: str = "", label: str = "") -> tuple[list[Step], list[Step]]:
    """Return the steps for `mounts` in order, and those for the end, when nothing more is made inside of them.

    The source of a bind mount may be relative to the bundle. `label` is SELinux's for new file systems.
    """
    made: list[Step] = []
    late: list[Step] = []
    for part in top.parts("mounts"):
        asked_dst = part.text("destination", required=True)
        if not asked_dst:
            continue
        dst = clean(asked_dst)
        if not asked_dst.startswith("/"):
            part.faults.warn(part.at("destination"), f"'{asked_dst}' is no absolute path, taking '{dst}'")
        if dst == "/":
            part.bad("destination", "is the root itself, which 'root' is for")
            continue
        kind, asked = part.text("type"), _options(part)
        bind = bool(asked.flags & {"bind", "rbind"}) or kind in ("bind", "")
        _check_proc(part, dst, kind, bind=bind)
        if "remount" in asked.flags:
            made.append(_attributes(dst, asked))
        elif bind:
            made.append(_bind(part, dst, asked, maps, bundle, recursive="rbind" in asked.flags))
        else:
            made.append(_new(part, dst, kind, asked, late, label))
        made += [Attributes(dst=dst, propagation=more) for more in asked.propagation[1:]]
    return made, late


def _attributes(dst: str, asked: _Asked) -> Attributes:
    first = asked.propagation[0] if asked.propagation else 0
    return Attributes(dst=dst, attr_set=asked.set, attr_clear=asked.clear, propagation=first)


def _bind(part: Part, dst: str, asked: _Asked, maps: IdMaps, bundle: str, *, recursive: bool) -> Bind:
    source = part.text("source", required=True)
    if source and not source.startswith("/"):
        if not bundle:
            part.bad("source", f"'{source}' is no absolute path")
        source = f"{bundle}/{source}"
    own = [word for word in asked.data if word not in FILESYSTEM]
    if own:
        part.bad("options", f"a bind mount has no file system of its own to take '{','.join(own)}'")
    elif asked.fs_words:
        told = ",".join(asked.fs_words)
        part.faults.warn(
            part.at("options"), f"'{told}' is for a file system, not for a bind mount, ignoring it"
        )
    if "tmpcopyup" in asked.flags:
        part.bad("options", "'tmpcopyup' is for a mount of type tmpfs")
    return Bind(
        dst=dst,
        source=source,
        plain=False,
        recursive=recursive,
        attr_set=asked.set,
        attr_clear=asked.clear,
        rec_set=asked.rec_set,
        rec_clear=asked.rec_clear,
        propagation=asked.propagation[0] if asked.propagation else 0,
        idmap=_idmap(part, asked, maps),
        idmap_recursive="ridmap" in asked.flags,
    )


def _idmap(part: Part, asked: _Asked, maps: IdMaps) -> IdMaps:
    uids, gids = id_map(part, "uidMappings"), id_map(part, "gidMappings")
    if bool(uids) != bool(gids):
        part.bad("gidMappings" if uids else "uidMappings", "is missing: both mappings or none")
    if uids or gids:
        return uids, gids
    if not asked.flags & {"idmap", "ridmap"}:
        return (), ()
    if not (maps[0] and maps[1]):
        part.bad("options", "there are no mappings for 'idmap', neither here nor of the container")
    return maps


def _new(part: Part, dst: str, kind: str, asked: _Asked, late: list[Step], label: str) -> NewMount:
    if asked.flags & {"idmap", "ridmap"} or part.has("uidMappings") or part.has("gidMappings"):
        part.bad("type", f"'{kind}' cannot be mapped to other ids: only a bind mount can")
    if "tmpcopyup" in asked.flags and kind != "tmpfs":
        part.bad("options", "'tmpcopyup' is for a mount of type tmpfs")
    attributes = asked.set | asked.rec_set
    if kind in KEEPS_MADE and attributes & RDONLY:  # other mounts and devices go into it first
        attributes &= ~RDONLY
        late.append(Attributes(dst=dst, attr_set=RDONLY))
    return NewMount(
        dst=dst,
        fstype=kind,
        source=part.text("source"),
        data=",".join(asked.data),
        attr_set=attributes,
        propagation=asked.propagation[0] if asked.propagation else 0,
        copy_up="tmpcopyup" in asked.flags,
        label="" if kind in UNLABELLED else label,
    )


def _check_proc(part: Part, dst: str, kind: str, *, bind: bool) -> None:
    """Refuse what would put something else in the place of the kernel's own files, as runc does."""
    if dst == "/proc" and (bind or kind != "proc"):
        if not (bind and clean(part.text("source")) == "/proc"):
            part.bad("destination", "'/proc' can only be a mount of type proc, or the host's own")
    elif dst == "/sys" and not bind and kind not in ("sysfs", "tmpfs"):
        part.bad("destination", "'/sys' can only be a mount of type sysfs, or a bind mount")
    elif dst.startswith("/proc/") and dst not in IN_PROC:
        part.bad("destination", f"'{dst}' cannot be covered: what is in /proc is the kernel's to say")


def id_map(part: Part, key: str) -> tuple[IdMap, ...]:
    """Return a list of id mappings; they must not overlap."""
    found = []
    for entry in part.parts(key):
        inside, outside = (
            entry.integer(name, 0, U32 - 1, required=True) for name in ("containerID", "hostID")
        )
        count = entry.integer("size", 1, U32, required=True)
        if count and max(inside, outside) + count > U32:
            entry.bad("size", f"{count} ids go beyond {U32 - 1}")
        found.append(IdMap(inside=inside, outside=outside, count=count))
    for side in ("inside", "outside"):
        end = 0
        for first, count in sorted((getattr(one, side), one.count) for one in found):
            if first < end:
                part.bad(key, f"id {first} {side} is mapped twice")
                break
            end = first + count
    if len(found) > 340:
        part.bad(key, "has more than 340 entries, which is the kernel's limit")
    return tuple(found)


def binds_dev(top: Part) -> bool:
    """Tell whether /dev is somebody else's, in which nothing is to be made."""
    found = False
    for part in top.parts("mounts"):
        given = part.data.get("destination")
        if isinstance(given, str) and clean(given) == "/dev":
            options = part.data.get("options")
            words = options if isinstance(options, list) else []
            found = part.data.get("type") in ("bind", None, "") or "bind" in words or "rbind" in words
    return found
