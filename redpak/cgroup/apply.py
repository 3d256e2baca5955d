"""Write limits into the files of a group, and say clearly which of them the kernel refuses, and why."""

from __future__ import annotations

import errno
import os

from redpak.cgroup import writes
from redpak.cgroup.layout import read
from redpak.cgroup.resources import CONTROLLER, CannotLimit, Impossible, Resources
from redpak.origin import DEFAULT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.cgroup.group import Group
    from redpak.cgroup.layout import Layout

    Write = tuple[str, str, str]  # directory, file, content

FIELDS = {
    # what a file limits, by the start of its name, the longest first
    "memory.limit_in_bytes": "memory_max", "memory.memsw": "memory_swap", "memory.soft_limit": "memory_soft",
    "memory.kmem.tcp": "kernel_tcp_max", "memory.kmem": "kernel_max", "memory.swappiness": "swappiness",
    "memory.oom_control": "oom_killer_off", "memory.oom.group": "memory_oom_group", "memory.swap.max": "swap_max",
    "memory.swap.high": "swap_high", "memory.max": "memory_max", "memory.high": "memory_high",
    "memory.low": "memory_low", "memory.min": "memory_min", "cpu.rt_runtime": "cpu_rt_runtime",
    "cpu.rt_period": "cpu_rt_period", "cpu.cfs_burst": "cpu_burst", "cpu.max.burst": "cpu_burst",
    "cpu.cfs_period": "cpu_period", "cpu.cfs": "cpu_quota", "cpu.max": "cpu_quota", "cpu.idle": "cpu_idle",
    "cpu.weight.nice": "cpu_weight_nice", "cpu.weight": "cpu_weight", "cpu.shares": "cpu_shares",
    "cpuset.cpus.partition": "cpus_partition", "cpuset.cpus": "cpus", "cpuset.mems": "mems", "pids": "pids_max",
    "blkio.throttle": "io_max", "io.max": "io_max", "blkio": "blkio_weight", "io.weight": "io_weight",
    "io.bfq": "io_weight", "hugetlb": "hugetlb", "net_cls": "net_classid", "net_prio": "net_priorities",
    "rdma": "rdma", "devices": "devices",
}  # fmt: skip
_OTHERS = {
    "swap_max": ("memory_swap",), "memory_swap": ("swap_max",), "memory_low": ("memory_soft",),
    "cpu_weight": ("cpu_shares",), "cpu_shares": ("cpu_weight", "cpu_weight_nice"), "io_weight": ("blkio_weight",),
    "blkio_weight": ("io_weight",), "cpu_quota": ("cpu_period",),
}  # fmt: skip


def field_of(asked: Resources, file: str) -> str:
    """Return the field of `asked` that a file stands for."""
    for start, field in FIELDS.items():
        if file.startswith(start):
            given = asked.given()
            return next((one for one in (field, *_OTHERS.get(field, ())) if one in given), "unified")
    return "unified"


def planned(asked: Resources, group: Group, found: Layout, *, fresh: bool) -> list[Write]:
    """Return what is to be written where. Raises CannotLimit with every reason for which something cannot be had."""
    reasons: list[Impossible] = []
    out: list[Write] = []
    first, second = set[str](), set[str]()
    for name in sorted(writes.controllers(asked) - {"devices"}):
        version = found.version(name)
        by_file = any(file.startswith(f"{name}.") for file, _ in asked.unified)
        if version == 1 and ("blkio" if name == "io" else name) in group.paths:
            first.add(name)
        elif (version == 2 and "" in group.paths) or (name in ("net_cls", "net_prio") and found.pure):
            second.add(name)
        elif by_file or version == 0 or not group.paths:
            reasons += _missing(asked, name, found)
        else:
            reasons += _missing(asked, name, found, outside=True)
    now = None if fresh else _now(group)
    try:
        weight = _weight_file(group, asked) if "io" in first else ""
        for controller, file, value in writes.writes_v1(
            asked.but(unified=()) if not first else asked, only=first, now=now, blkio_weight=weight
        ):
            out.append((group.paths[controller], file, value))
    except CannotLimit as error:
        reasons += error.reasons
    at = group.paths.get("", "")
    if second or (at and not first and asked.unified):
        try:
            bfq = False
            if asked.io_weight or asked.blkio_weight:  # a blkio weight is BFQ's own measure
                bfq = os.path.exists(f"{at}/io.bfq.weight")
                bfq = bfq and (bool(asked.blkio_weight) or not os.path.exists(f"{at}/io.weight"))
            out += [
                (at, file, value) for file, value in writes.writes_v2(asked, only=second, now=now, bfq=bfq)
            ]
        except CannotLimit as error:
            reasons += error.reasons
    if reasons:
        raise CannotLimit(reasons)
    return out


def _missing(asked: Resources, name: str, found: Layout, *, outside: bool = False) -> list[Impossible]:
    """Say that a controller is not there, once for each thing that needs it."""
    if outside:
        why = f"we have no group of the {name} controller"
        hint = "Start as root, or let systemd delegate one: systemd-run --user --scope -p Delegate=yes …."
    else:
        why = f"this host has no {name} controller ({found.words()})"
        hint = "Boot a kernel that has it enabled (/proc/cgroups), or remove it."
    fields = [one for one in asked.given() if CONTROLLER.get(one) == name]
    if not fields:
        fields = ["unified"]
    reasons = []
    for field in fields:
        said, where = asked.said(field)
        reasons.append(Impossible(message=f"limit '{said}' cannot be had: {why}", hint=hint, because=where))
    return reasons


def _now(group: Group) -> writes.Now:
    def now(file: str) -> str:
        name = file.partition(".")[0]
        at = group.paths.get("blkio" if name == "io" else name) or group.paths.get("", "")
        try:
            return read(f"{at}/{file}")
        except OSError:
            return ""

    return now


def _weight_file(group: Group, asked: Resources) -> str:
    old = "blkio.weight"
    if not (asked.io_weight or asked.blkio_weight):
        return old
    return old if os.path.exists(f"{group.paths['blkio']}/{old}") else "blkio.bfq.weight"


def write_all(asked: Resources, out: list[Write]) -> None:
    """Write, and again what the kernel refused because of another value that was not yet there.

    Raises CannotLimit with every value that it refuses for good.
    """
    left = out
    while left:
        failed: list[tuple[Write, OSError]] = []
        for one in left:
            try:
                put(*one)
            except OSError as error:
                failed.append((one, error))
        if len(failed) == len(left) or any(error.errno == errno.ENOENT for _, error in failed):
            raise CannotLimit(_explained(asked, *one) for one in failed)
        left = [one for one, _ in failed]


def put(at: str, file: str, value: str) -> None:
    """Write one value. Raises OSError."""
    fd = os.open(f"{at}/{file}", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, value.encode())
    finally:
        os.close(fd)


def _explained(asked: Resources, one: Write, error: OSError) -> Impossible:
    at, file, value = one
    name, where = asked.said(field_of(asked, file))
    code = error.errno
    why, hint = (error.strerror or "").lower(), "See Documentation/admin-guide/cgroup-v2.rst of the kernel."
    if code == errno.ENOENT and os.path.isdir(at):
        why = f"this kernel has no '{file}' here"
        hint = "Enable the controller in the groups above (cgroup.subtree_control), or boot a kernel that has it."
        if "memsw" in file or "swap" in file:
            hint = "Boot with swapaccount=1, or remove it."
    elif code in (errno.EACCES, errno.EPERM, errno.EROFS):
        why, hint = denied(at, why)
        if file.startswith("cpuset."):
            why, hint = f"the group above has not all of '{value}' ({above(at, file)})", "Ask for less."
    elif code == errno.ENODEV and file.startswith(("io.", "blkio.")):
        why, hint = f"there is no disk {value.split()[0]}", "Name a whole disk: see MAJ:MIN in lsblk."
    elif code == errno.EBUSY:
        why, hint = "more than that is in use", "Ask for more, or stop what uses it."
    elif code in (errno.EINVAL, errno.ERANGE, errno.ENOSPC):
        why = f"the kernel does not take '{value}' for '{file}'"
        if file.startswith("cpuset."):
            why, hint = f"{why}: the group above has '{above(at, file)}'", "Ask for what there is."
        elif file.startswith("cpu.rt_"):
            hint = "Give the groups above real time first (cpu.rt_runtime_us)."
    return Impossible(message=f"limit '{name}' cannot be had: {why}", hint=hint, because=where)


def above(at: str, file: str) -> str:
    """Return what the group above says of a cpuset file, '' where it says nothing."""
    folder = os.path.dirname(at)
    for name in (f"{file}.effective", file):
        try:
            return read(f"{folder}/{name}").strip()
        except OSError:
            continue
    return ""


def denied(at: str, why: str) -> tuple[str, str]:
    """Return why we may not write in a group, and what to do about it."""
    try:
        owner = os.stat(at).st_uid
        whose = "root" if owner == 0 else f"user {owner}"
        if os.statvfs(at).f_flag & os.ST_RDONLY:
            return f"'{at}' is mounted read-only", "Start it where control groups are writable."
    except OSError:
        return f"'{at}': {why}", "Look at the group's directory."
    if os.geteuid() == 0:
        return f"'{at}': {why}", "This root has not all rights: look at CapEff in /proc/self/status."
    if not os.path.exists(f"{at}/cgroup.controllers"):
        hint = "Start as root, or boot with systemd.unified_cgroup_hierarchy=1: version 1 is not delegated."
        return f"'{at}' belongs to {whose}", hint
    hint = "Have it delegated: systemd-run --user --scope -p Delegate=yes COMMAND, or set 'cgrouproot' to such a group."
    return f"'{at}' belongs to {whose} and is not delegated to us", hint


def check(asked: Resources, group: Group, found: Layout) -> None:
    """Look at what the kernel takes without complaint and does not do. Raises CannotLimit."""
    reasons = []

    def refuse(field: str, why: str, hint: str) -> None:
        name, where = asked.said(field)
        reasons.append(Impossible(message=f"limit '{name}' cannot be had: {why}", hint=hint, because=where))

    at = group.paths.get("", "")
    if asked.cpus_partition not in (None, "member") and found.version("cpuset") == 2:
        state = read(f"{at}/cpuset.cpus.partition").strip()
        if state != asked.cpus_partition:
            hint = "The group above must be a partition root too, and the processors nobody else's."
            refuse("cpus_partition", f"the kernel says '{state}'", hint)
    if found.version("cpuset") == 2:
        for field, file in (("cpus", "cpuset.cpus"), ("mems", "cpuset.mems")):
            value = getattr(asked, field)
            if value is not None:
                effective = read(f"{at}/{file}.effective").strip()
                if not numbers(effective) <= numbers(value):
                    refuse(
                        field,
                        f"none of '{value}' may be used here, only '{above(at, file)}'",
                        "Ask for these.",
                    )
    if asked.kernel_max is not None and "memory" in group.paths and not _kept(group, asked):
        hint = "Set the memory limit, which counts the kernel's memory as well, and remove this."
        refuse("kernel_max", "this kernel has no limit for kernel memory alone", hint)
    if reasons:
        raise CannotLimit(reasons)


def _kept(group: Group, asked: Resources) -> bool:
    value, limit = asked.kernel_max or 0, asked.memory_max
    if value < 0 or (limit is not None and 0 <= limit <= value):
        return True
    try:
        return int(read(f"{group.paths['memory']}/memory.kmem.limit_in_bytes")) <= value
    except (OSError, ValueError):
        return False


def numbers(word: str) -> set[int]:
    """Return the members of a list such as "0-2,4"."""
    found: set[int] = set()
    for part in word.split(","):
        first, _, last = part.strip().partition("-")
        if first.isdigit():
            found.update(range(int(first), int(last or first) + 1))
    return found


def devices(asked: Resources, group: Group, found: Layout, *, fresh: bool) -> None:
    """Bring the device rules into force. Raises CannotLimit.

    In a user namespace nothing is done: no node can be made there, and those that were bound are guarded by their
    permissions alone; the kernel takes no rules from there.
    """
    if asked.devices is None:
        return
    from redpak.cgroup import devices as rules

    try:
        if "devices" in group.paths:
            at = group.paths["devices"]
            _lines(at, rules.v1_writes(asked.devices, None if fresh else read(f"{at}/devices.list")))
        elif found.pure and group.paths:
            _program(asked.devices, group.paths[""])
    except rules.Unsayable as error:
        hint = (
            "Order the rules so that nothing is denied after a wider one allowed it, or boot with version 2."
        )
        raise CannotLimit(
            [Impossible(message=f"limit 'devices' cannot be had: {error}", hint=hint)]
        ) from None
    except OSError as error:
        if not in_initial() and error.errno in (errno.EPERM, errno.EACCES):
            return
        name, where = asked.said("devices")
        why = f"limit '{name}' cannot be had: {(error.strerror or '').lower()}"
        hint = "It takes CAP_SYS_ADMIN (version 1), CAP_BPF and CAP_NET_ADMIN (version 2)."
        raise CannotLimit([Impossible(message=why, hint=hint, because=where)]) from error


def _lines(at: str, lines: tuple[tuple[str, str], ...]) -> None:
    """Write lines into files of version 1's devices group, each file opened once. Raises OSError."""
    files: dict[str, int] = {}
    try:
        for file, line in lines:
            if file not in files:
                files[file] = os.open(f"{at}/{file}", os.O_WRONLY | os.O_CLOEXEC)
            os.write(files[file], line.encode())
    finally:
        for fd in files.values():
            os.close(fd)


def _program(asked: tuple[object, ...], at: str) -> None:
    from redpak.cgroup.devices import program
    from redpak.kernel import devices as kernel

    folder = os.open(at, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    before: list[int] = []
    new = -1
    try:
        before = kernel.attached(folder)
        new = kernel.load(program(asked))  # type: ignore[arg-type]
        kernel.attach(folder, new)
        for old in before:  # what forbids more than the new rules do would stay in force
            kernel.detach(folder, old)
    finally:
        for fd in (*before, folder, *((new,) if new >= 0 else ())):
            os.close(fd)


_INITIAL: list[bool] = []


def in_initial() -> bool:
    """Tell whether we are in the initial user namespace, and root there."""
    if not _INITIAL:
        try:
            line = read("/proc/self/uid_map").split()
        except OSError:
            line = []
        _INITIAL.append(os.geteuid() == 0 and line in ([], ["0", "0", "4294967295"]))
    return _INITIAL[0]


def fresh(group: Group, asked: Resources, found: Layout) -> None:
    """Write the limits of a new group. Raises CannotLimit."""
    if group.paths or writes.controllers(asked) - {"devices"}:
        write_all(asked, planned(asked, group, found, fresh=True))
        check(asked, group, found)
        devices(asked, group, found, fresh=True)


def update(group: Group, asked: Resources) -> None:
    """See Group.update."""
    from redpak.cgroup import layout
    from redpak.cgroup.devices import DEFAULTS

    if asked.devices == DEFAULTS:  # no rule was given (`from_oci`): they stay as they are
        asked = asked.but(devices=None)
    found = layout.look()
    out = planned(asked, group, found, fresh=False)
    if asked.check_before_update and asked.memory_max is not None and asked.memory_max >= 0:
        at = group.paths.get("memory") or group.paths.get("", "")
        file = "memory.usage_in_bytes" if "memory" in group.paths else "memory.current"
        used = int(read(f"{at}/{file}"))
        if used > asked.memory_max:
            message = (
                f"'checkBeforeUpdate': {used} bytes are in use, more than the new limit {asked.memory_max}"
            )
            raise CannotLimit([Impossible(message=message, hint="Ask for more.", because=DEFAULT)])
    write_all(asked, out)
    check(asked, group, found)
    devices(asked, group, found, fresh=False)
    if group.unit:
        from redpak.cgroup import systemd

        systemd.update(group, asked)
