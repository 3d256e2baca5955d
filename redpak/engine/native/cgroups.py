"""A mount of 'cgroup' as the runtime specification wants it: the container's own groups, on version 1, hybrid and 2."""

from __future__ import annotations

import os

from redpak.engine.native import tree
from redpak.kernel import newmount
from redpak.kernel.mount import MS_PRIVATE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.engine.native.box import NewMount
    from redpak.engine.native.root import Root

QUIET = newmount.MOUNT_ATTR_NOSUID | newmount.MOUNT_ATTR_NODEV | newmount.MOUNT_ATTR_NOEXEC


def ours() -> tuple[tuple[str, str], ...]:
    """Return (name of the hierarchy's mount point, directory of our own group) of each; name "" for version 2 alone.

    To be asked before a new cgroup namespace makes our own group the root. Source: cgroups(7), proc_pid_mountinfo(5).
    """
    from redpak.kernel import mountinfo

    groups: dict[str, str] = {}  # "memory" or "name=systemd" or "" → path
    with open("/proc/self/cgroup", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            _, controllers, path = line.rstrip("\n").split(":", 2)
            for one in controllers.split(","):
                groups[one] = path
    found: list[tuple[str, str]] = []
    hierarchies = [one for one in mountinfo.mounts() if one.fstype in ("cgroup", "cgroup2")]
    seen: set[str] = set()
    for mounted in hierarchies:
        words = mounted.super_options.split(",")
        names = [""] if mounted.fstype == "cgroup2" else [word for word in words if word in groups and word]
        path = next((groups[name] for name in names if name in groups), "")
        if not path or mounted.device in seen:
            continue
        seen.add(mounted.device)
        root = mounted.root.rstrip("/")
        if root and path != root and not path.startswith(root + "/"):
            continue  # a part of the hierarchy that our group does not lie in
        name = (
            "" if mounted.fstype == "cgroup2" and len(hierarchies) == 1 else mounted.point.rpartition("/")[2]
        )
        found.append((name, mounted.point.rstrip("/") + (path[len(root) :] if path != "/" else "")))
    return tuple(found)


def show(root: Root, step: NewMount, groups: tuple[tuple[str, str], ...]) -> None:
    """Mount our own groups at the step's destination. `groups` as `ours` returned them."""
    doing = root.doing
    doing.now("mount the cgroups at", step.dst, step.because)
    if len(groups) == 1 and groups[0][0] == "":
        if any(space.kind == "cgroup" for space in root.box.spaces):
            try:
                with tree.new_filesystem("cgroup2", "cgroup", (), step.attr_set) as made:
                    root.put(made, step.dst, directory=True, links=False)
                return
            except PermissionError:
                pass  # a user namespace that does not own the hierarchy: its directory will do
        _bind(root, groups[0][1], step.dst, step.attr_set)
        return
    read_only = step.attr_set & newmount.MOUNT_ATTR_RDONLY
    with tree.new_filesystem(
        "tmpfs", "tmpfs", (("mode", "0755"),), QUIET | step.attr_set & ~read_only
    ) as made:
        root.put(made, step.dst, directory=True, links=False)
        for name, directory in groups:
            _bind(root, directory, f"{step.dst.rstrip('/')}/{name}", step.attr_set)
            for alias in name.split(",") if "," in name else ():
                os.symlink(name, alias, dir_fd=made.fd)
        if read_only:
            tree.set_attributes(made.fd, read_only)


def _bind(root: Root, directory: str, dst: str, attributes: int) -> None:
    source = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with tree.clone_tree(source, recursive=False) as made:
        os.close(source)
        made.set(attributes, propagation=MS_PRIVATE)
        root.put(made, dst, directory=True, links=False)
