"""What a group of processes may use: one form for red-pak's limits and for those of an OCI configuration. Pure.

A field that is None was not asked for; -1 is "no limit". What a field means is what the kernel's documents say of the
file that it is named after; where versions 1 and 2 count differently (shares and weights, swap alone or together with
memory, the two scales of device weights) there is a field for each, and `writes_v1` and `writes_v2` convert.
Sources: cgroup-v2.rst, cgroup-v1/*.rst; runtime-spec config-linux.md.
"""

from __future__ import annotations

from redpak.errors import BadConfig, Fault, Refused
from redpak.origin import DEFAULT, Origin
from redpak.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from redpak.cgroup.devices import DeviceRule
    from redpak.plan.model import Limit

NO_LIMIT = -1


class Resources(Record):
    """Limits of one group. Sizes are bytes, times microseconds, unless the name says otherwise."""

    memory_max: int | None = None
    memory_high: int | None = None
    memory_low: int | None = None
    memory_min: int | None = None
    memory_soft: int | None = None  # version 1's soft limit; version 2: memory.low
    memory_oom_group: bool | None = None
    swap_max: int | None = None  # swap alone
    swap_high: int | None = None
    memory_swap: int | None = None  # memory and swap together
    swappiness: int | None = None
    kernel_max: int | None = None  # kernel memory, which memory_max counts as well
    kernel_tcp_max: int | None = None
    oom_killer_off: bool | None = None
    check_before_update: bool = False  # do not set memory_max below what is in use
    cpu_weight: int | None = None  # 1 … 10000, 100 is usual
    cpu_weight_nice: int | None = None  # -20 … 19
    cpu_shares: int | None = None  # 2 … 262144, 1024 is usual
    cpu_quota: int | None = None  # of each period
    cpu_period: int | None = None
    cpu_burst: int | None = None
    cpu_rt_runtime: int | None = None
    cpu_rt_period: int | None = None
    cpu_idle: int | None = None
    cpus: str | None = None  # "0-2,4"
    mems: str | None = None
    cpus_partition: str | None = None  # member, root, isolated
    pids_max: int | None = None
    io_weight: tuple[tuple[str, int], ...] = ()  # ("" or "8:0", 1 … 10000; 0: as the default)
    io_max: tuple[
        tuple[str, str, int], ...
    ] = ()  # ("8:0", "rbps" "wbps" "riops" or "wiops", number a second)
    io_cost_qos: tuple[str, ...] = ()
    io_cost_model: tuple[str, ...] = ()
    blkio_weight: tuple[tuple[str, int], ...] = ()  # ("" or "8:0", 10 … 1000)
    blkio_leaf_weight: tuple[tuple[str, int], ...] = ()
    hugetlb: tuple[tuple[str, int], ...] = ()  # ("2MB", bytes)
    net_classid: int | None = None
    net_priorities: tuple[tuple[str, int], ...] = ()  # (interface, priority)
    rdma: tuple[tuple[str, int, int], ...] = ()  # (device, handles, objects); -1: not limited
    unified: tuple[tuple[str, str], ...] = ()  # (file of version 2, content)
    devices: tuple[DeviceRule, ...] | None = None  # in order, on top of "nothing is allowed"
    asked: tuple[tuple[str, str, Origin], ...] = ()  # (field, what the asker calls it, where)

    def said(self, field: str) -> tuple[str, Origin]:
        """Return what who asked for a field calls it, and where that stands."""
        for name, words, origin in self.asked:
            if name == field:
                return words, origin
        return OCI_NAMES.get(field, field), DEFAULT

    def given(self) -> tuple[str, ...]:
        """Return the names of the fields that ask for something, in order of declaration."""
        mine = self.__dict__
        return tuple(name for name in ASKING if name in mine and mine[name] is not None and mine[name] != ())


ASKING = tuple(name for name in Resources.__fields__ if name not in ("check_before_update", "asked"))

CONTROLLER = {
    # field: controller, as version 2 names it (version 1: io is blkio)
    **{name: "memory" for name in ASKING if name.startswith(("memory", "swap", "kernel", "oom"))},
    **{name: "cpu" for name in ASKING if name.startswith("cpu_")},
    "cpus": "cpuset", "mems": "cpuset", "cpus_partition": "cpuset", "pids_max": "pids",
    **{name: "io" for name in ASKING if name.startswith(("io_", "blkio_"))},
    "hugetlb": "hugetlb", "net_classid": "net_cls", "net_priorities": "net_prio", "rdma": "rdma",
    "devices": "devices",
}  # fmt: skip
"""`unified` has none of its own: each of its files names one."""

OCI_NAMES = {
    "memory_max": "memory.limit", "memory_soft": "memory.reservation", "memory_swap": "memory.swap",
    "swappiness": "memory.swappiness", "kernel_max": "memory.kernel", "kernel_tcp_max": "memory.kernelTCP",
    "oom_killer_off": "memory.disableOOMKiller", "cpu_shares": "cpu.shares", "cpu_quota": "cpu.quota",
    "cpu_period": "cpu.period", "cpu_burst": "cpu.burst", "cpu_rt_runtime": "cpu.realtimeRuntime",
    "cpu_rt_period": "cpu.realtimePeriod", "cpu_idle": "cpu.idle", "cpus": "cpu.cpus", "mems": "cpu.mems",
    "pids_max": "pids.limit", "blkio_weight": "blockIO.weight", "blkio_leaf_weight": "blockIO.leafWeight",
    "io_max": "blockIO.throttle", "hugetlb": "hugepageLimits", "net_classid": "network.classID",
    "net_priorities": "network.priorities",
}  # fmt: skip


class Impossible(Record):
    """One limit that cannot be had here, and why."""

    message: str
    hint: str = ""
    because: Origin = DEFAULT

    def __str__(self) -> str:
        where = f"{self.because}: " if self.because != DEFAULT else ""
        return f"{where}{self.message}" + (f" ({self.hint})" if self.hint else "")


class CannotLimit(Refused):
    """Limits were asked for that cannot be had here: carries all of them (exit code 3)."""

    def __init__(self, reasons: Iterable[Impossible]) -> None:
        self.reasons = tuple(reasons)
        if len(self.reasons) == 1:
            one = self.reasons[0]
            super().__init__(str(one.but(hint="")), hint=one.hint)
        else:
            told = "".join(f"\n  {one}" for one in self.reasons)
            super().__init__(f"{len(self.reasons)} limits cannot be had here:{told}")


def from_oci(given: Mapping[str, object] | None, *, default_devices: bool = True) -> Resources:
    """Return what `linux.resources` of an OCI configuration asks for. Raises BadConfig with every fault.

    `default_devices` allows, after the configuration's own rules, the devices that the specification has every
    container supplied with (null, zero, full, random, urandom, tty, ptmx, pts), and to make nodes that cannot be used.
    """
    from redpak.cgroup.fromoci import read

    return read(given or {}, default_devices=default_devices)


def from_plan(limits: Iterable[Limit]) -> tuple[tuple[str, Resources], ...]:
    """Return (path of the member, what it asks for) in the order of the plan. Raises BadConfig with every fault."""
    asks: dict[str, dict[str, object]] = {}
    origins: dict[str, list[tuple[str, str, Origin]]] = {}
    faults: list[Fault] = []
    for limit in limits:
        fields = asks.setdefault(limit.node, {})
        reader = _KEYS.get(limit.key)
        if reader is None:
            hint = f"Write one of: {', '.join(_KEYS)}."
            message = f"there is no control group limit '{limit.key}'"
            faults.append(Fault(origin=limit.because, message=message, hint=hint))
            continue
        try:
            new = reader(limit.value)
        except ValueError as error:
            faults.append(Fault(origin=limit.because, message=f"limit {limit.key} '{limit.value}' {error}"))
            continue
        fields.update(new)
        origins.setdefault(limit.node, []).extend((field, limit.key, limit.because) for field in new)
    if faults:
        raise BadConfig(faults)
    return tuple(
        (node, Resources(**fields, asked=tuple(origins[node])))  # type: ignore[arg-type]
        for node, fields in asks.items()
        if fields
    )


def size(word: str) -> int:
    """Return bytes; 'max' is -1. K, M, G, T, P and E are powers of 1024, as for the kernel. Raises ValueError."""
    word = word.strip()
    if word.lower() == "max":
        return NO_LIMIT
    power = "KMGTPE".find(word[-1:].upper()) + 1 if word else 0
    return number(word[:-1] if power else word) << (10 * power)


def number(word: str, low: int = 0, high: int = (1 << 63) - 1) -> int:
    """Return a decimal number between two others. Raises ValueError, whose text completes "limit x '…'"."""
    digits = word[1:] if word.startswith("-") else word
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 20):
        raise ValueError("is no number")
    if not low <= int(word) <= high:
        raise ValueError(f"is not between {low} and {high}")
    return int(word)


def cpu_list(word: str) -> str:
    """Return a list of processors or memory nodes without blanks ("0-2,4"). Raises ValueError."""
    parts = [part.strip() for part in word.split(",")]
    for part in parts:
        first, dash, last = part.partition("-")
        low = number(first, 0, 999_999)
        if dash and number(last, 0, 999_999) < low:
            raise ValueError("goes backwards")
    return ",".join(parts)


def _count(word: str) -> int:
    return NO_LIMIT if word.strip().lower() == "max" else number(word.strip())


def _bandwidth(word: str) -> dict[str, object]:
    quota, *more = word.split() or [""]
    if len(more) > 1:
        raise ValueError("is not 'QUOTA PERIOD'")
    found: dict[str, object] = {"cpu_quota": NO_LIMIT if quota == "max" else number(quota, 1000)}
    if more:
        found["cpu_period"] = number(more[0], 1000, 1_000_000)
    return found


def _device(word: str) -> str:
    major, colon, minor = word.partition(":")
    if not colon:
        raise ValueError(f"has no device: '{word}' is not MAJOR:MINOR")
    return f"{number(major, 0, 4095)}:{number(minor, 0, 1048575)}"


def _io_max(word: str) -> dict[str, object]:
    found: dict[tuple[str, str], int] = {}
    for line in word.lower().splitlines():
        if not line.strip():
            continue
        device, *settings = line.split()
        for setting in settings:
            key, _, amount = setting.partition("=")
            if key not in ("rbps", "wbps", "riops", "wiops"):
                raise ValueError(f"is wrong: '{key}' is none of rbps, wbps, riops, wiops")
            found[_device(device), key] = NO_LIMIT if amount == "max" else number(amount, 1)
        if not settings:
            raise ValueError("limits nothing")
    if not found:
        raise ValueError("limits nothing")
    return {"io_max": tuple((device, key, amount) for (device, key), amount in found.items())}


def _io_weight(word: str) -> dict[str, object]:
    found: dict[str, int] = {}
    for line in word.lower().splitlines():
        first, *more = line.split() or [""]
        if not first:
            continue
        if not more:
            first, more = "default", [first]
        device = "" if first == "default" else _device(first)
        found[device] = 0 if more == ["default"] and device else number(" ".join(more), 1, 10_000)
    if not found:
        raise ValueError("is empty")
    return {"io_weight": tuple(found.items())}


def _lines(field: str, word: str) -> dict[str, object]:
    lines = tuple(line.strip() for line in word.splitlines() if line.strip())
    for line in lines:
        _device(line.split()[0])
    if not lines:
        raise ValueError("is empty")
    return {field: lines}


def _partition(word: str) -> str:
    if word not in ("member", "root", "isolated"):
        raise ValueError("is none of member, root, isolated")
    return word


_KEYS: dict[str, Callable[[str], dict[str, object]]] = {
    "cpuset.cpus": lambda word: {"cpus": cpu_list(word)},
    "cpuset.mems": lambda word: {"mems": cpu_list(word)},
    "cpuset.cpus.partition": lambda word: {"cpus_partition": _partition(word)},
    "memory.max": lambda word: {"memory_max": size(word)},
    "memory.high": lambda word: {"memory_high": size(word)},
    "memory.min": lambda word: {"memory_min": size(word)},
    "memory.low": lambda word: {"memory_low": size(word)},
    "memory.oom.group": lambda word: {"memory_oom_group": bool(number(word))},
    "memory.swap.max": lambda word: {"swap_max": size(word)},
    "memory.swap.high": lambda word: {"swap_high": size(word)},
    "cpu.weight": lambda word: {"cpu_weight": number(word, 1, 10_000)},
    "cpu.weight.nice": lambda word: {"cpu_weight_nice": number(word, -20, 19)},
    "cpu.max": _bandwidth,
    "io.cost.qos": lambda word: _lines("io_cost_qos", word),
    "io.cost.model": lambda word: _lines("io_cost_model", word),
    "io.weight": _io_weight,
    "io.max": _io_max,
    "pids.max": lambda word: {"pids_max": _count(word)},
}
