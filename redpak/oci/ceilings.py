"""The limits of a family as those of one container: below all members' groups it has one, so the smallest count.

Red-pak nests a group for each member, and what lies in the innermost obeys all of them. Where the specification has
a member of its own for a limit it is used, so that hosts with version 1 can apply it; all else is `unified`, which a
runtime refuses there. Source: runtime-spec, config-linux.md, Control groups; cgroup-v2.rst.
"""

from __future__ import annotations

from redpak.cgroup.resources import NO_LIMIT, Resources, from_plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from redpak.plan.model import Limit

TYPED = ("memory.max", "memory.swap.max", "pids.max", "cpu.max", "cpuset.cpus", "cpuset.mems", "io.max")
THROTTLES = {
    "rbps": "throttleReadBpsDevice",
    "wbps": "throttleWriteBpsDevice",
    "riops": "throttleReadIOPSDevice",
    "wiops": "throttleWriteIOPSDevice",
}


def resources(limits: tuple[Limit, ...]) -> dict[str, Any]:
    """Return `linux.resources` for the limits of a plan, oldest member first. Raises BadConfig for a wrong limit."""
    asked = [one for _, one in from_plan(limits)]
    found: dict[str, Any] = {}
    memory: dict[str, int] = {}
    unified = {limit.key: limit.value for limit in limits if limit.key not in TYPED}  # the innermost one's
    most = _smallest(asked, "memory_max")
    swap = _smallest(asked, "swap_max")
    if most is not None:
        memory["limit"] = most
    if swap is not None:
        if most is None or NO_LIMIT in (most, swap):
            unified["memory.swap.max"] = "max" if swap == NO_LIMIT else str(swap)
        else:
            memory["swap"] = most + swap  # both together, as version 1 counts
    if memory:
        found["memory"] = memory
    high = _smallest(asked, "memory_high")
    if high is not None:
        unified["memory.high"] = "max" if high == NO_LIMIT else str(high)
    pids = _smallest(asked, "pids_max")
    if pids is not None:
        found["pids"] = {"limit": pids}
    if cpu := _cpu(asked):
        found["cpu"] = cpu
    if io := _io(asked):
        found["blockIO"] = io
    if unified:
        found["unified"] = unified
    return found


def _smallest(asked: list[Resources], field: str) -> int | None:
    said = [value for one in asked if (value := getattr(one, field)) is not None]
    return min((value for value in said if value != NO_LIMIT), default=NO_LIMIT) if said else None


def _cpu(asked: list[Resources]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    shares = [(one.cpu_quota, one.cpu_period or 100_000) for one in asked if one.cpu_quota is not None]
    if shares:
        real = [(quota, period) for quota, period in shares if quota != NO_LIMIT]
        quota, period = min(real, key=lambda pair: pair[0] / pair[1]) if real else shares[-1]
        found |= {"quota": quota, "period": period}
    for key in ("cpus", "mems"):
        said = [value for one in asked if (value := getattr(one, key))]
        if said:
            both = set.intersection(*(_numbers(value) for value in said))
            found[key] = ",".join(str(number) for number in sorted(both)) or said[-1]
    return found


def _numbers(words: str) -> set[int]:
    found: set[int] = set()
    for word in words.split(","):
        first, _, last = word.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return found


def _io(asked: list[Resources]) -> dict[str, Any]:
    rates: dict[tuple[str, str], int] = {}
    for one in asked:
        for device, kind, rate in one.io_max:
            old = rates.get((device, kind), NO_LIMIT)
            if rate != NO_LIMIT:
                rates[device, kind] = rate if old == NO_LIMIT else min(rate, old)
    found: dict[str, Any] = {}
    for (device, kind), rate in rates.items():
        major, _, minor = device.partition(":")
        found.setdefault(THROTTLES[kind], []).append({"major": int(major), "minor": int(minor), "rate": rate})
    return found
