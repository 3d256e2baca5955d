"""A container's control group: which one, when it may be missing, and what the state file needs to know of it."""

from __future__ import annotations

import os

from redpak.errors import Busy, RedpakError, Usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.cgroup.group import Group
    from redpak.oci.config import Config
    from redpak.oci.main import Call
    from redpak.oci.store import Container

PROPERTY = "org.systemd.property."  # annotations that begin so are for the scope


def named(call: Call, found: Config, name: str) -> tuple[str, str]:
    """Return who is to make a container's group, and its path as that one understands it."""
    common = call.common
    kind = "systemd" if common.flag("systemd-cgroup") else common.text("cgroup-manager") or "cgroupfs"
    if kind == "systemd" and not found.cgroups_path:
        return kind, f"{'system' if os.geteuid() == 0 else 'user'}.slice:redpak-oci:{name}"
    return kind, found.cgroups_path or name  # relative: below the caller's own, as runc has it


def make(container: Container, found: Config) -> Group | None:
    """Make the group that the configuration asks for; the state file has named it before it exists.

    Who is not root on the host goes without where no limit and no scope was asked for. Raises RedpakError.
    """
    from redpak.cgroup import manager

    kind, path = container.data["cgroup_kind"], container.data["cgroup_path"]
    if kind in ("none", "disabled"):
        return None
    boss = manager.find(kind)
    if kind == "systemd" and any(name.startswith(PROPERTY) for name in found.annotations):
        from redpak.oci import unit

        boss.more = unit.properties(found.annotations)
    try:
        group = boss.create(path, *([found.resources] if found.resources else []))
    except Busy:
        container.data["cgroup_kind"] = "none"  # it is somebody else's: there is nothing of ours to undo
        raise
    except (RedpakError, OSError):
        if not rootless() or limits(found) or kind == "systemd":
            raise
        return None
    if not group.paths:  # who is not root may be allowed none, and asked for no limit
        return None
    container.data["cgroup"] = group.to_dict()
    container.save()
    return group


def inner(group: Group | None, asked: list[str], name: str) -> Group:
    """Return the groups below a container's own that `exec --cgroup` names: "path" or "controller,…:path".

    Raises Usage for one that is not there or leads elsewhere.
    """
    from redpak.cgroup.group import Group as Groups

    if group is None or not group.paths:
        raise RedpakError(f"container '{name}' has no control group", hint="Leave --cgroup out.")
    paths = dict(group.paths)
    for word in asked:
        kinds, colon, path = word.rpartition(":")
        wanted = kinds.split(",") if colon else list(paths)
        for kind in wanted:
            folder = f"{group.paths.get(kind, '')}/{path.strip('/')}".rstrip("/")
            if kind not in paths or ".." in path.split("/") or not os.path.isdir(folder):
                raise Usage(
                    f"container '{name}' has no control group '{word}'", hint="Name one below its own group."
                )
            paths[kind] = folder
    return Groups(paths, group.made, group.unit, user=group.user)


def joinable(group: Group, pid: int) -> Group:
    """Return where one more program can go: the container's group, or where its first process is by now.

    What runs inside may have made groups in its own. On version 2 that one then takes no process (cgroup-v2.rst, "No
    Internal Process Constraint").
    """
    from redpak.cgroup.folders import tree
    from redpak.cgroup.group import Group as Groups
    from redpak.cgroup.layout import read

    top = group.paths.get("", "")
    try:
        if not top or not read(f"{top}/cgroup.subtree_control").strip():
            return group
        for folder in tree(top):
            if str(pid) in read(f"{folder}/cgroup.procs").split():
                paths = {kind: folder if path == top else path for kind, path in group.paths.items()}
                return Groups(paths, group.made, group.unit, user=group.user)
    except OSError:
        pass  # then entering it will tell
    return group


def rootless() -> bool:
    """Tell whether we are no root, or root of a user namespace only."""
    from redpak.oci.store import mapped

    return os.geteuid() != 0 or mapped()


def limits(found: Config) -> bool:
    """Tell whether a limit was asked for. Rules for devices do not count: who is not root can make no device."""
    section = found.data.get("linux") or {}
    asked = section.get("resources") or {}
    return any(value not in (None, {}, []) for name, value in asked.items() if name != "devices")


def freezer(group: Group | None) -> str:
    """Return the file that tells whether the group is frozen, and the word it has then ("path\\nword")."""
    paths = group.paths if group is not None else {}
    if "freezer" in paths:
        return f"{paths['freezer']}/freezer.state\nFROZEN"
    return f"{paths['']}/cgroup.freeze\n1" if paths.get("") else ""


def leave_none(container: Container) -> None:
    """Remove the empty directories that a `create` made which was killed before it could note their names."""
    kind, path = container.data.get("cgroup_kind"), container.data.get("cgroup_path")
    if not kind or kind in ("none", "disabled"):
        return
    from redpak.cgroup import manager

    try:
        if kind == "systemd":
            from redpak.cgroup import systemd

            systemd.left_alone(str(path))
            return
        group = manager.find(str(kind)).create(str(path), exclusive=False)
        if not group.pids():  # else it is somebody else's: ours had no process yet
            group.remove()
    except (RedpakError, OSError):
        pass  # what cannot be made now could not be made then
