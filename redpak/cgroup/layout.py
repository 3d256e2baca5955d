"""Which hierarchies of control groups this host has, and where in each of them we are. Reads three files, once.

Pure version 2 is one tree; version 1 is one tree a controller (or several controllers together); hybrid is version 1
with a version 2 tree beside it, which has those controllers that version 1 left. Sources: cgroups(7), cgroup-v2.rst.
"""

from __future__ import annotations

import os

from redpak.errors import NotFound

_V1 = (
    "cpuset", "cpu", "cpuacct", "blkio", "memory", "devices", "freezer", "net_cls", "perf_event", "net_prio",
    "hugetlb", "pids", "rdma", "misc", "debug",
)  # fmt: skip
V1_CONTROLLERS = frozenset(_V1)
TOP = "/sys/fs/cgroup"
LEAF = "redpak-leaf"  # where processes of a group are put that has to become an inner one


class Layout:
    """What was found. Directories are absolute, in our own view of the file system."""

    __slots__ = ("controllers", "own", "own_v2", "v1", "v2")

    def __init__(self) -> None:
        self.v1: dict[str, str] = {}  # controller or "name=systemd": where its hierarchy is mounted
        self.own: dict[str, str] = {}  # the same: the directory of our own group
        self.v2 = ""  # where version 2 is mounted; "": nowhere
        self.own_v2 = ""
        self.controllers: frozenset[str] = frozenset()  # what version 2 has to offer

    @property
    def pure(self) -> bool:
        """Whether version 2 is all there is."""
        return bool(self.v2) and not self.v1

    def version(self, controller: str) -> int:
        """Return which version has a controller (named as version 2 does), 0 for neither."""
        if ("blkio" if controller == "io" else controller) in self.v1:
            return 1
        return 2 if controller in self.controllers or (controller == "devices" and self.pure) else 0

    def words(self) -> str:
        """Say what there is, for messages."""
        if self.pure:
            return "version 2"
        return ("version 1 and 2 (hybrid)" if self.v2 else "version 1") if self.v1 else "no control groups"


def read(path: str) -> str:
    """Return the content of a file of /proc or of a control group. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = b""
        while more := os.read(fd, 65536):  # pieces of whole lines, each less than a page
            data += more
    finally:
        os.close(fd)
    return os.fsdecode(data)


def parse(mountinfo: str, own: str, there: object = os.path.exists) -> Layout:
    """Return the layout that /proc/self/mountinfo and /proc/self/cgroup tell of.

    `there(path)` tells whether a path exists: a hierarchy may be hidden by what is mounted over it.
    """
    found = Layout()
    ours: dict[str, str] = {}
    for line in own.splitlines():
        _, names, path = line.split(":", 2)
        for name in names.split(","):
            ours[name] = path
    for line in mountinfo.splitlines():
        if " - cgroup" not in line:
            continue
        left, _, right = line.partition(" - ")
        kind, _, options = right.split(" ", 2)
        _, _, _, root, point, _ = left.split(" ", 5)
        if "\\" in point or not there(f"{point}/cgroup.procs"):  # type: ignore[operator]
            continue
        if kind == "cgroup2":
            if not found.v2 or (point.startswith(TOP) and not found.v2.startswith(TOP)):
                found.v2, found.own_v2 = point, _inside(point, root, ours.get("", "/"))
            continue
        for name in options.split(" ")[-1].split(","):
            known = name in V1_CONTROLLERS or name.startswith("name=")
            if known and (name not in found.v1 or not found.v1[name].startswith(TOP)):
                found.v1[name] = point
                found.own[name] = _inside(point, root, ours.get(name, "/"))
    return found


def _inside(point: str, root: str, own: str) -> str:
    """Return where group `own` is, under a mount at `point` that shows the tree from `root` on."""
    if root != "/":
        own = own[len(root) :] if own == root or own.startswith(root + "/") else "/"
    if own.startswith("/../") or own == "/..":  # outside of our cgroup namespace
        own = "/"
    return point if own in ("", "/") else point + own


_FOUND: list[Layout] = []


def look(*, again: bool = False) -> Layout:
    """Return this host's layout; the files are read once a process, unless `again`.

    Raises NotFound where no control groups are mounted.
    """
    if _FOUND and not again:
        return _FOUND[0]
    try:
        found = parse(read("/proc/self/mountinfo"), read("/proc/self/cgroup"))
        if found.v2:
            found.controllers = frozenset(read(f"{found.v2}/cgroup.controllers").split()) - found.v1.keys()
    except OSError as error:
        raise NotFound(f"cannot find the control groups: {error.filename}: {error.strerror}") from error
    if not found.v1 and not found.v2:
        hint = f"Mount them: mount -t cgroup2 none {TOP}."
        raise NotFound("no control groups are mounted here", hint=hint)
    _FOUND[:] = [found]
    return found


def base_v2(found: Layout) -> str:
    """Return the group of version 2 under which groups for what we start belong: our own, or that above our leaf."""
    at = found.own_v2
    while os.path.basename(at) == LEAF and at != found.v2:
        at = os.path.dirname(at)
    return at
