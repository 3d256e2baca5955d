"""From what is asked for to what is written into the kernel's files, for version 2 and for version 1. Pure.

`now` answers what a file of a group in use says (update); it is None for a new group, where the kernel's defaults are
known. Conversions:

* shares → cpu.weight: 10^((l² + 125·l)/612 − 7/34) with l = log2(shares), as runc 1.3 and crun 1.23 do, so that 1024
  is 100 (the older, linear formula made it 39: a container with the usual shares lost against its siblings).
* weight → cpu.shares: 1024/100 of it: among siblings only the proportion counts.
* OCI's `swap` is memory and swap together, as memory.memsw.limit_in_bytes; memory.swap.max is the difference.
* blkio weight w (10 … 1000) → io.weight: 1 + (w − 10)·9999/990, as runc and crun; io.weight w (1 … 10000) → BFQ's:
  w up to 100, above it 100 + (w − 100)·900/9900, as systemd, so that 100 stays 100.
"""

from __future__ import annotations

from redpak.cgroup.resources import CONTROLLER, NO_LIMIT, CannotLimit, Impossible, Resources

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Container

    Now = Callable[[str], str]

PERIOD_US = 100_000  # the kernel's own default of cpu.max and cpu.cfs_period_us
# sched_prio_to_weight[] of kernel/sched/core.c: what a nice value from -20 to 19 weighs, 0 being 1024
NICE_SHARES = (
    88761, 71755, 56483, 46273, 36291, 29154, 23254, 18705, 14949, 11916, 9548, 7620, 6100, 4904, 3906, 3121, 2501,
    1991, 1586, 1277, 1024, 820, 655, 526, 423, 335, 272, 215, 172, 137, 110, 87, 70, 56, 45, 36, 29, 23, 18, 15,
)  # fmt: skip


def shares_to_weight(shares: int) -> int:
    """Return the cpu.weight (1 … 10000) of version 1's shares (2 … 262144)."""
    from math import ceil, log2

    if shares <= 2:
        return 1
    if shares >= 262_144:
        return 10_000
    logarithm = log2(shares)
    return ceil(10 ** ((logarithm * logarithm + 125 * logarithm) / 612 - 7 / 34) - 1e-9)


def weight_to_shares(weight: int) -> int:
    """Return version 1's shares of a cpu.weight."""
    return max(2, min(262_144, weight * 1024 // 100))


def blkio_to_io_weight(weight: int) -> int:
    """Return the io.weight (1 … 10000) of a blkio weight (10 … 1000)."""
    return 1 + (max(10, weight) - 10) * 9999 // 990


def io_to_bfq_weight(weight: int) -> int:
    """Return BFQ's weight (1 … 1000) of an io.weight (1 … 10000)."""
    return weight if weight <= 100 else 100 + (weight - 100) * 900 // 9900


def _max(value: int) -> str:
    return "max" if value < 0 else str(value)


class _Refusals:
    """What one hierarchy cannot do of what was asked."""

    def __init__(self, asked: Resources) -> None:
        self.asked = asked
        self.found: list[Impossible] = []

    def __call__(self, field: str, why: str, hint: str) -> None:
        name, where = self.asked.said(field)
        self.found.append(
            Impossible(message=f"limit '{name}' cannot be had: {why}", hint=hint, because=where)
        )

    def end(self) -> None:
        """Raise CannotLimit if there was anything."""
        if self.found:
            raise CannotLimit(self.found)


COST_HINT = "Set it once for the machine, in /sys/fs/cgroup/{} of the root group, and remove it here."


def writes_v2(
    asked: Resources,
    *,
    only: Container[str] | None = None,
    now: Now | None = None,
    bfq: bool = False,
) -> tuple[tuple[str, str], ...]:
    """Return (file, content) for a version 2 group, in the order in which they are to be written.

    `only` names the controllers that are meant (all by default); `bfq`: the group has io.bfq.weight and no other
    weight. Devices are not written but a program: `devices.program`. Raises CannotLimit with every reason.
    """
    out: list[tuple[str, str]] = []
    cannot = _Refusals(asked)
    if only is None or "cpuset" in only:
        for field, file in (
            ("cpus", "cpuset.cpus"),
            ("mems", "cpuset.mems"),
            ("cpus_partition", "cpuset.cpus.partition"),
        ):
            value = getattr(asked, field)
            if value is not None:
                out.append((file, value))
    if only is None or "cpu" in only:
        _cpu_v2(asked, out, cannot, now)
    if only is None or "memory" in only:
        _memory_v2(asked, out, cannot, now)
    if only is None or "io" in only:
        _io_v2(asked, out, cannot, bfq=bfq)
    if asked.pids_max is not None and (only is None or "pids" in only):
        out.append(("pids.max", _max(asked.pids_max)))
    if only is None or "hugetlb" in only:
        out += [(f"hugetlb.{page}.max", _max(limit)) for page, limit in asked.hugetlb]
    if only is None or "rdma" in only:
        out += [("rdma.max", _rdma(one)) for one in asked.rdma]
    for field, what in (("net_classid", "net_cls"), ("net_priorities", "net_prio")):
        if getattr(asked, field) and (only is None or what in only):
            cannot(
                field, f"version 2 has no {what} controller", "Match the group by path in nftables instead."
            )
    out += asked.unified
    cannot.end()
    return tuple(out)


def _cpu_v2(asked: Resources, out: list[tuple[str, str]], cannot: _Refusals, now: Now | None) -> None:
    if asked.cpu_weight is not None:
        out.append(("cpu.weight", str(asked.cpu_weight)))
    elif asked.cpu_weight_nice is not None:
        out.append(("cpu.weight.nice", str(asked.cpu_weight_nice)))
    elif asked.cpu_shares is not None:
        out.append(("cpu.weight", str(shares_to_weight(asked.cpu_shares))))
    if asked.cpu_quota is not None or asked.cpu_period is not None:
        before = (now("cpu.max").split() if now else []) or ["max"]
        quota = before[0] if asked.cpu_quota is None else _max(asked.cpu_quota)
        out.append(("cpu.max", quota if asked.cpu_period is None else f"{quota} {asked.cpu_period}"))
    if asked.cpu_burst is not None:
        out.append(("cpu.max.burst", str(asked.cpu_burst)))
    if asked.cpu_idle is not None:
        out.append(("cpu.idle", str(asked.cpu_idle)))
    for field in ("cpu_rt_runtime", "cpu_rt_period"):
        if getattr(asked, field) is not None:
            cannot(field, "version 2 does not divide real time among groups", "Remove it.")


def _memory_v2(asked: Resources, out: list[tuple[str, str]], cannot: _Refusals, now: Now | None) -> None:
    swap, limit = asked.swap_max, asked.memory_max
    if asked.memory_swap is not None:
        known = limit
        if known is None and now is not None:
            said = now("memory.max").strip()
            known = int(said) if said.isdigit() else NO_LIMIT
        if asked.memory_swap < 0:
            swap = NO_LIMIT
        elif known is None or known < 0:
            cannot("memory_swap", "memory and swap together need a memory limit", "Set the memory limit too.")
        elif asked.memory_swap < known:
            cannot("memory_swap", f"it is less than the memory limit ({known})", "Raise it.")
        else:
            swap = asked.memory_swap - known
    elif limit == NO_LIMIT and swap is None and now is not None:
        swap = NO_LIMIT  # as version 1 had it: whoever takes the limit back takes that of swap back
    low = asked.memory_low if asked.memory_low is not None else asked.memory_soft
    for file, value in (
        ("memory.swap.max", swap),
        ("memory.swap.high", asked.swap_high),
        ("memory.min", asked.memory_min),
        ("memory.low", low),
        ("memory.high", asked.memory_high),
        ("memory.max", limit),
    ):
        if value is not None:
            out.append((file, _max(value)))
    if asked.memory_oom_group is not None:
        out.append(("memory.oom.group", str(int(asked.memory_oom_group))))
    if asked.swappiness is not None:
        cannot("swappiness", "version 2 has none per group", "Limit swap instead.")
    if asked.oom_killer_off:
        cannot("oom_killer_off", "version 2 always kills", "Remove it, or set memory.high by 'unified'.")
    for field in ("kernel_max", "kernel_tcp_max"):
        value = getattr(asked, field)
        if value is not None and not _within(value, limit):
            cannot(
                field, "version 2 counts kernel memory as memory", "Set the memory limit to it, or remove it."
            )


def _within(kernel: int, limit: int | None) -> bool:
    """Tell whether a limit of kernel memory is kept by that of all memory, of which it is a part."""
    return kernel < 0 or (limit is not None and 0 <= limit <= kernel)


def _io_v2(asked: Resources, out: list[tuple[str, str]], cannot: _Refusals, *, bfq: bool) -> None:
    for field, file in (("io_cost_qos", "io.cost.qos"), ("io_cost_model", "io.cost.model")):
        if getattr(asked, field):
            cannot(field, "it belongs to a device, and only the root group has it", COST_HINT.format(file))
    if asked.blkio_leaf_weight:
        cannot("blkio_leaf_weight", "no kernel since 5.0 has leaf weights", "Remove it.")
    for device, weight in asked.io_weight:
        value = "default" if not weight else str(io_to_bfq_weight(weight) if bfq else weight)
        out.append(("io.bfq.weight" if bfq else "io.weight", f"{device or 'default'} {value}"))
    for device, weight in asked.blkio_weight:
        value = str(weight if bfq else blkio_to_io_weight(weight))
        out.append(("io.bfq.weight" if bfq else "io.weight", f"{device or 'default'} {value}"))
    rates: dict[str, list[str]] = {}
    for device, key, rate in asked.io_max:
        rates.setdefault(device, []).append(f"{key}={_max(rate)}")
    out += [("io.max", f"{device} {' '.join(words)}") for device, words in rates.items()]


def _rdma(one: tuple[str, int, int]) -> str:
    device, handles, objects = one
    return f"{device} hca_handle={_max(handles)} hca_object={_max(objects)}"


def writes_v1(
    asked: Resources,
    *,
    only: Container[str] | None = None,
    now: Now | None = None,
    blkio_weight: str = "blkio.bfq.weight",
) -> tuple[tuple[str, str, str], ...]:
    """Return (controller, file, content) for groups of version 1's hierarchies, in the order of writing.

    `only` names the controllers that are meant, as version 2 names them; `blkio_weight` is the file that the kernel
    has for weights (blkio.weight before Linux 5.0). Device rules are left to `devices.v1_writes`.
    Raises CannotLimit with every reason.
    """
    out: list[tuple[str, str, str]] = []
    cannot = _Refusals(asked)
    if only is None or "cpuset" in only:
        out += [
            ("cpuset", f"cpuset.{f}", getattr(asked, f))
            for f in ("cpus", "mems")
            if getattr(asked, f) is not None
        ]
        if asked.cpus_partition not in (None, "member"):
            cannot("cpus_partition", "only version 2 has partitions", NEEDS_V2)
    if only is None or "cpu" in only:
        _cpu_v1(asked, out)
    if only is None or "memory" in only:
        _memory_v1(asked, out, cannot, now)
    if only is None or "io" in only:
        _io_v1(asked, out, cannot, blkio_weight)
    if asked.pids_max is not None and (only is None or "pids" in only):
        out.append(("pids", "pids.max", _max(asked.pids_max)))
    if only is None or "hugetlb" in only:
        out += [("hugetlb", f"hugetlb.{page}.limit_in_bytes", str(limit)) for page, limit in asked.hugetlb]
    if only is None or "rdma" in only:
        out += [("rdma", "rdma.max", _rdma(one)) for one in asked.rdma]
    if asked.net_classid is not None and (only is None or "net_cls" in only):
        out.append(("net_cls", "net_cls.classid", str(asked.net_classid)))
    if only is None or "net_prio" in only:
        out += [("net_prio", "net_prio.ifpriomap", f"{name} {n}") for name, n in asked.net_priorities]
    for file, _ in asked.unified:
        if only is None or file.partition(".")[0] in only:
            cannot("unified", f"'{file}' is a file of version 2", NEEDS_V2)
    cannot.end()
    return tuple(out)


NEEDS_V2 = "Boot with systemd.unified_cgroup_hierarchy=1 (control groups version 2), or remove it."


def _cpu_v1(asked: Resources, out: list[tuple[str, str, str]]) -> None:
    shares = asked.cpu_shares
    if asked.cpu_weight is not None:
        shares = weight_to_shares(asked.cpu_weight)
    elif asked.cpu_weight_nice is not None:
        shares = NICE_SHARES[asked.cpu_weight_nice + 20]
    for file, value in (
        ("cpu.rt_period_us", asked.cpu_rt_period),
        ("cpu.rt_runtime_us", asked.cpu_rt_runtime),
        ("cpu.shares", shares),
        ("cpu.cfs_period_us", asked.cpu_period),
        ("cpu.cfs_quota_us", asked.cpu_quota),
        ("cpu.cfs_burst_us", asked.cpu_burst),
        ("cpu.idle", asked.cpu_idle),
    ):
        if value is not None:
            out.append(("cpu", file, str(value)))


def _memory_v1(asked: Resources, out: list[tuple[str, str, str]], cannot: _Refusals, now: Now | None) -> None:
    for field in ("memory_high", "memory_low", "memory_min", "memory_oom_group", "swap_high"):
        if getattr(asked, field) not in (None, False) and not (
            field in ("memory_high", "swap_high") and getattr(asked, field) < 0
        ):
            cannot(field, "version 1 of control groups has nothing like it", NEEDS_V2)
    limit, both = asked.memory_max, asked.memory_swap
    if asked.swap_max is not None:
        if asked.swap_max < 0:
            both = NO_LIMIT
        elif limit is None or limit < 0:
            cannot("swap_max", "version 1 limits memory and swap only together", "Limit the memory too.")
        else:
            both = limit + asked.swap_max
    if limit == NO_LIMIT and both is None and now is not None and now("memory.memsw.limit_in_bytes"):
        both = NO_LIMIT  # else the memory could not be raised above it
    first = ("memory", "memory.limit_in_bytes", str(limit))
    second = ("memory", "memory.memsw.limit_in_bytes", str(both))
    pair = [one for one, value in ((first, limit), (second, both)) if value is not None]
    # The kernel keeps limit <= memsw at any moment: raise memsw first, lower it last. A new group has no limit at all.
    if len(pair) == 2 and now is not None and both is not None:
        said = now("memory.memsw.limit_in_bytes").strip()
        if both < 0 or (said.isdigit() and both > int(said)):
            pair.reverse()
    out += pair
    for file, value in (
        ("memory.soft_limit_in_bytes", asked.memory_soft),
        (
            "memory.kmem.limit_in_bytes",
            asked.kernel_max if not _within(asked.kernel_max or 0, limit) else None,
        ),
        ("memory.kmem.tcp.limit_in_bytes", asked.kernel_tcp_max),
        ("memory.swappiness", asked.swappiness),
        ("memory.oom_control", None if asked.oom_killer_off is None else int(asked.oom_killer_off)),
    ):
        if value is not None:
            out.append(("memory", file, str(value)))


def _io_v1(asked: Resources, out: list[tuple[str, str, str]], cannot: _Refusals, weight_file: str) -> None:
    for field in ("io_cost_qos", "io_cost_model"):
        if getattr(asked, field):
            hint = "Remove it: also on version 2 it belongs to a disk of the machine, not to a group."
            cannot(field, "version 1 of control groups has nothing like it", hint)
    if asked.blkio_leaf_weight:
        cannot("blkio_leaf_weight", "no kernel since 5.0 has leaf weights", "Remove it.")
    weights = [(device, weight) for device, weight in asked.blkio_weight]
    weights += [(device, io_to_bfq_weight(weight)) for device, weight in asked.io_weight]
    for device, weight in weights:
        file = f"{weight_file}_device" if device else weight_file
        out.append(("blkio", file, f"{device} {weight or 'default'}" if device else str(weight)))
    operations = {"rbps": "read_bps", "wbps": "write_bps", "riops": "read_iops", "wiops": "write_iops"}
    for device, key, rate in asked.io_max:
        out.append(("blkio", f"blkio.throttle.{operations[key]}_device", f"{device} {max(rate, 0)}"))


def controllers(asked: Resources) -> set[str]:
    """Return which controllers what is asked for needs, as version 2 names them; "devices" and "net_…" are others."""
    wanted = {CONTROLLER[field] for field in asked.given() if field != "unified"}
    names = {file.partition(".")[0] for file, _ in asked.unified}
    return wanted | {name for name in names if name != "cgroup"}
