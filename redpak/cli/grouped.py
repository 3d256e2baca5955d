"""Control groups of sandboxes: made for what starts detached, found again for all, and read for what they use."""

from __future__ import annotations

import os

from redpak import log
from redpak.errors import RedpakError
from redpak.state import proc, usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from redpak.cgroup.group import Group
    from redpak.engine.detached import Group as Held
    from redpak.plan.model import Plan
    from redpak.state.records import Entry
    from redpak.state.sandboxes import Sandbox
    from redpak.state.usage import Usage

TOP = "redpak"  # our groups lie below one of this name
UNLIMITED = 1 << 62


def confine(entry: Entry, plan: Plan, pid: int) -> Held | None:
    """Put the launcher of a detached start into a group of its own, None where its limits bring one.

    Raises RedpakError where this user may make none.
    """
    if plan.limits:
        return None
    from redpak.cgroup import manager
    from redpak.engine.detached import Group as Held

    group = manager.find("auto").create(f"{TOP}/{entry.id}", pid=pid)
    if not group.paths:
        return None
    return Held(saved=group.to_dict(), oom=lambda: killed(group), remove=group.remove)


def killed(group: Group) -> bool:
    """Tell whether the kernel killed something in a group for want of memory."""
    try:
        return group.oom_killed() > 0
    except (RedpakError, OSError):
        return False  # nothing counts that here


def of(one: Sandbox) -> Group | None:
    """Return the control group of a running sandbox, None where it has none of its own."""
    if not one.lives:
        return None
    from redpak.cgroup import manager

    if one.entry is not None and one.entry.cgroup:
        return manager.load(one.entry.cgroup) if one.entry.cgroup.get("paths") else None
    return limited(one)


def limited(one: Sandbox) -> Group | None:
    """Return the group that the limits of a plan made for this launch, as its first process says; None without."""
    if one.init is None:
        return None
    from redpak.cgroup import apply, layout
    from redpak.cgroup.family import LEAF, PREFIX
    from redpak.cgroup.group import Group

    paths: dict[str, str] = {}
    found = layout.look()
    for line in proc.read(f"/proc/{one.init.pid}/cgroup").decode(errors="replace").splitlines():
        _, names, path = line.split(":", 2)
        if f"/{PREFIX}" not in path or not os.path.basename(path).startswith(LEAF):
            continue
        for name in names.split(","):
            at = found.v1.get(name, "") if name else found.v2
            if at:
                paths[name] = f"{at}{path}"
    parts = paths.get("", "").split("/")
    unit = next((part for part in parts if part.startswith(PREFIX) and part.endswith(".scope")), "")
    return Group(paths, (), unit, user=bool(unit) and not apply.in_initial()) if paths else None


def tidy() -> None:
    """Remove what killed supervisors and launches left: bubblewraps that wait for ever, and groups that are empty.

    Raises nothing.
    """
    from redpak.cgroup import family
    from redpak.state import records, stuck

    if stuck.end():
        log.debug("a bubblewrap whose parent was killed was ended")
    for entry in records.everything():
        if entry.stage == "ended":
            forget(entry)
    try:
        family.sweep()
    except (RedpakError, OSError) as error:
        log.debug(f"control groups are not swept: {error}")


def forget(entry: Entry) -> None:
    """Remove the group of a record that ended, where its supervisor could not. What cannot be removed is said."""
    if not entry.cgroup:
        return
    from redpak.cgroup import manager

    group = manager.load(entry.cgroup)
    try:
        if group.exists() and not group.pids(recursive=True):
            group.remove()
    except (RedpakError, OSError) as error:
        log.warn(f"the control group of {entry.id} is left behind: {error}")


def used(one: Sandbox) -> Usage:
    """Return what a sandbox uses: by its control group where it has one, else summed up from /proc."""
    group = of(one)
    summed = usage.of(one)
    if group is None:
        return summed
    said = group.stats()
    memory = said.get("memory", {}).get("usage", {})
    spent = said.get("cpu", {}).get("usage", {}).get("total")  # 0 where nothing counts it
    read, written = _io(said.get("blkio", {}))
    return summed.but(
        source="cgroup",
        cpu_s=spent / 1e9 if spent else summed.cpu_s,
        memory_bytes=memory.get("usage") or summed.memory_bytes,
        memory_limit_bytes=tightest(group.paths, "memory", ("memory.max", "memory.limit_in_bytes")),
        pids_limit=tightest(group.paths, "pids", ("pids.max",)),
        read_bytes=summed.read_bytes if read is None else read,
        write_bytes=summed.write_bytes if written is None else written,
        oom_kills=group.oom_killed(),
        pressure={
            f"{what}.{kind}.{key}": value
            for what, kinds in group.pressure().items()
            for kind, values in kinds.items()
            for key, value in values.items()
            if key.startswith("avg")
        },
    )


def tightest(paths: dict[str, str], controller: str, files: tuple[str, ...]) -> int | None:
    """Return the smallest limit of a launch's group and of its family's groups above it, None without one."""
    from redpak.cgroup.family import PREFIX

    at = paths.get(controller) or paths.get("", "")
    least: int | None = None
    while at:
        for file in files:
            said = proc.read(f"{at}/{file}").decode(errors="replace").strip()
            if said.isdecimal() and int(said) < UNLIMITED:
                least = int(said) if least is None else min(least, int(said))
        at = os.path.dirname(at)
        if not os.path.basename(at).startswith(PREFIX):
            break
    return least


def _io(said: dict[str, Any]) -> tuple[int | None, int | None]:
    rows = said.get("ioServiceBytesRecursive") or []
    if not rows:
        return None, None
    sums = {"read": 0, "write": 0}
    for row in rows:
        if row.get("op", "").lower() in sums:
            sums[row["op"].lower()] += row.get("value", 0)
    return sums["read"], sums["write"]
