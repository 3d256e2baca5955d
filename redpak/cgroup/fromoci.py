"""Read `linux.resources` of an OCI configuration (runtime-spec, config-linux.md). Pure; every fault at once.

A key that the specification does not know is left alone, as it asks; a value of a wrong type or out of range is a
fault. As with other runtimes, 0 is "not asked" where the kernel has no use for it.
"""

from __future__ import annotations

from redpak.cgroup.devices import ANY, DEFAULTS, MKNOD, READ, WRITE, DeviceRule
from redpak.cgroup.resources import NO_LIMIT, Resources, cpu_list
from redpak.errors import BadConfig, Fault
from redpak.origin import Origin

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

HERE = "linux.resources"
INT64 = (-(1 << 63), (1 << 63) - 1)
UINT64 = (0, (1 << 64) - 1)
INT63 = (0, (1 << 63) - 1)
UINT32 = (0, (1 << 32) - 1)
_BITS = {"r": READ, "w": WRITE, "m": MKNOD}
_RATES = (
    ("throttleReadBpsDevice", "rbps"),
    ("throttleWriteBpsDevice", "wbps"),
    ("throttleReadIOPSDevice", "riops"),
    ("throttleWriteIOPSDevice", "wiops"),
)


class _Reader:
    """One object of the configuration, and the list of faults that all of them share."""

    def __init__(self, given: object, at: str, faults: list[Fault]) -> None:
        self.at = at
        self.faults = faults
        self.given: Mapping[str, Any] = {}
        if isinstance(given, dict):
            self.given = given
        elif given is not None:
            self.fault("", "must be an object")

    def fault(self, key: str, words: str) -> None:
        """Note a fault of a key of this object."""
        name = f"{self.at}.{key}" if key else self.at
        self.faults.append(Fault(origin=Origin(file="", note="config.json"), message=f"'{name}' {words}"))

    def integer(self, key: str, limits: tuple[int, int], *, must: bool = False) -> int | None:
        """Return a number between `limits`, None where there is none or it is wrong."""
        value = self.given.get(key)
        if value is None:
            if must:
                self.fault(key, "is missing")
            return None
        if isinstance(value, bool) or not isinstance(value, int):
            self.fault(key, "must be a whole number")
            return None
        if not limits[0] <= value <= limits[1]:
            self.fault(key, f"must be between {limits[0]} and {limits[1]}, not {value}")
            return None
        return value

    def truth(self, key: str) -> bool | None:
        """Return a truth value, None where there is none or it is wrong."""
        value = self.given.get(key)
        if value is not None and not isinstance(value, bool):
            self.fault(key, "must be true or false")
            return None
        return value

    def words(self, key: str) -> str:
        """Return a string, '' where there is none or it is wrong."""
        value = self.given.get(key)
        if value is None:
            return ""
        if not isinstance(value, str) or "\0" in value or "\n" in value:
            self.fault(key, "must be a string of one line")
            return ""
        return value

    def inner(self, key: str) -> _Reader:
        """Return an object in this one."""
        return _Reader(self.given.get(key), f"{self.at}.{key}", self.faults)

    def every(self, key: str) -> list[_Reader]:
        """Return the objects of a list in this one."""
        value = self.given.get(key)
        if value is None:
            return []
        if not isinstance(value, list):
            self.fault(key, "must be a list")
            return []
        return [_Reader(one, f"{self.at}.{key}[{i}]", self.faults) for i, one in enumerate(value)]

    def device(self) -> str:
        """Return the device that major and minor of this object name."""
        major, minor = (
            self.integer("major", (0, 4095), must=True),
            self.integer("minor", (0, 1048575), must=True),
        )
        return f"{major}:{minor}"


def read(given: Mapping[str, object], *, default_devices: bool = True) -> Resources:
    """See `resources.from_oci`."""
    faults: list[Fault] = []
    top = _Reader(given, HERE, faults)
    fields: dict[str, object] = {}
    if given.get("memory") is not None:
        _memory(top.inner("memory"), fields)
    if given.get("cpu") is not None:
        _cpu(top.inner("cpu"), fields)
    pids = top.inner("pids").integer("limit", INT64) if given.get("pids") is not None else None
    if pids:
        fields["pids_max"] = NO_LIMIT if pids < 0 else pids
    if given.get("blockIO") is not None:
        _block(top.inner("blockIO"), fields)
    fields["hugetlb"] = tuple(_pages(top))
    if given.get("network") is not None:
        _network(top.inner("network"), fields)
    fields["rdma"] = tuple(_rdma(top))
    fields["unified"] = tuple(_unified(top))
    fields["devices"] = (*_devices(top), *(DEFAULTS if default_devices else ()))
    if faults:
        raise BadConfig(faults)
    return Resources(**fields)  # type: ignore[arg-type]


def _memory(at: _Reader, fields: dict[str, object]) -> None:
    for key, field in (
        ("limit", "memory_max"),
        ("reservation", "memory_soft"),
        ("swap", "memory_swap"),
        ("kernel", "kernel_max"),
        ("kernelTCP", "kernel_tcp_max"),
    ):
        value = at.integer(key, INT64)
        if value:
            fields[field] = NO_LIMIT if value < 0 else value
    fields["swappiness"] = at.integer("swappiness", (0, 100)) if at.given.get("swappiness") != -1 else None
    fields["oom_killer_off"] = at.truth("disableOOMKiller")
    at.truth("useHierarchy")  # kernels since 5.11 always do, and version 2 always did
    fields["check_before_update"] = bool(at.truth("checkBeforeUpdate"))
    limit, swap = fields.get("memory_max"), fields.get("memory_swap")
    if isinstance(limit, int) and isinstance(swap, int) and swap >= 0 and (limit < 0 or swap < limit):
        at.fault(
            "swap", f"is memory and swap together, so it cannot be below the memory limit: {swap} < {limit}"
        )


def _cpu(at: _Reader, fields: dict[str, object]) -> None:
    for key, field, limits in (
        ("shares", "cpu_shares", UINT64),
        ("quota", "cpu_quota", INT64),
        ("burst", "cpu_burst", UINT64),
        ("period", "cpu_period", UINT64),
        ("realtimeRuntime", "cpu_rt_runtime", INT64),
        ("realtimePeriod", "cpu_rt_period", UINT64),
    ):
        value = at.integer(key, limits)
        if value or (value == 0 and key == "burst"):
            fields[field] = value
    if isinstance(fields.get("cpu_quota"), int) and fields["cpu_quota"] < 0:  # type: ignore[operator]
        fields["cpu_quota"] = NO_LIMIT
    fields["cpu_idle"] = at.integer("idle", (0, 1))
    for key in ("cpus", "mems"):
        word = at.words(key)
        if word:
            try:
                fields[key] = cpu_list(word)
            except ValueError as error:
                at.fault(key, f"'{word}' {error}")


def _block(at: _Reader, fields: dict[str, object]) -> None:
    weights: dict[str, int] = {}
    leaves: dict[str, int] = {}
    for one in (at, *at.every("weightDevice")):
        device = "" if one is at else one.device()
        for key, found in (("weight", weights), ("leafWeight", leaves)):
            value = one.integer(key, (0, 1000))
            if value is not None and 0 < value < 10:
                one.fault(key, f"must be between 10 and 1000, not {value}")
            elif value:
                found[device] = value
    rates: dict[tuple[str, str], int] = {}
    for key, name in _RATES:
        for one in at.every(key):
            rate = one.integer("rate", UINT64, must=True)
            rates[one.device(), name] = rate or NO_LIMIT
    fields["blkio_weight"] = tuple(weights.items())
    fields["blkio_leaf_weight"] = tuple(leaves.items())
    fields["io_max"] = tuple((device, name, rate) for (device, name), rate in rates.items())


def _pages(top: _Reader) -> list[tuple[str, int]]:
    found = []
    for one in top.every("hugepageLimits"):
        name, limit = one.words("pageSize"), one.integer("limit", UINT64, must=True)
        if not (name[:-2].isdigit() and name[-2:] in ("KB", "MB", "GB")):
            one.fault("pageSize", f"must be a size as the kernel writes it, such as 2MB, not '{name}'")
        elif limit is not None:
            found.append((name, NO_LIMIT if limit > INT63[1] else limit))
    return found


def _network(at: _Reader, fields: dict[str, object]) -> None:
    fields["net_classid"] = at.integer("classID", UINT32) or None
    priorities = []
    for one in at.every("priorities"):
        name, priority = one.words("name"), one.integer("priority", UINT32, must=True)
        if not name or " " in name:
            one.fault("name", "must name an interface")
        elif priority is not None:
            priorities.append((name, priority))
    fields["net_priorities"] = tuple(priorities)


def _rdma(top: _Reader) -> list[tuple[str, int, int]]:
    at = top.inner("rdma")
    found = []
    for name in at.given:
        one = at.inner(name)
        handles, objects = one.integer("hcaHandles", UINT32), one.integer("hcaObjects", UINT32)
        if not name or any(c.isspace() for c in name) or (handles is None and objects is None):
            at.fault(name, "must limit hcaHandles or hcaObjects of a device")
        else:
            found.append((name, *(NO_LIMIT if value is None else value for value in (handles, objects))))
    return found  # type: ignore[return-value]


def _unified(top: _Reader) -> list[tuple[str, str]]:
    at = top.inner("unified")
    found = []
    for name, value in at.given.items():
        if not isinstance(value, str):
            at.fault(name, "must be a string")
        elif "/" in name or "\0" in name or "." not in name.strip("."):
            at.fault(name, "is no file of a control group: write such as memory.high")
        else:
            found.append((name, value))
    return found


def _devices(top: _Reader) -> list[DeviceRule]:
    rules = []
    for one in top.every("devices"):
        allow = one.truth("allow")
        if allow is None and "allow" not in one.given:
            one.fault("allow", "is missing")
        kind = one.words("type") or "a"
        if kind not in ("a", "b", "c", "u"):
            one.fault("type", f"must be a, b or c, not '{kind}'")
            continue
        letters = one.words("access") or "rwm"
        if not set(letters) <= set("rwm"):
            one.fault("access", f"must consist of r, w and m, not '{letters}'")
            continue
        numbers = [one.integer(key, (-1, top_)) for key, top_ in (("major", 4095), ("minor", 1048575))]
        major, minor = (ANY if number is None else number for number in numbers)
        access = 0
        for letter in letters:
            access |= _BITS[letter]
        if kind == "a":
            # "all devices": with numbers it would be both kinds of that number
            for each in ("b", "c") if (major, minor) != (ANY, ANY) else ("a",):
                rules.append(
                    DeviceRule(allow=bool(allow), kind=each, major=major, minor=minor, access=access)
                )
        else:
            kind = "c" if kind == "u" else kind
            rules.append(DeviceRule(allow=bool(allow), kind=kind, major=major, minor=minor, access=access))
    return rules
