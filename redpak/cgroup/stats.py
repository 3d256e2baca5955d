"""What a group has used so far, read from its files: one shape for both versions, that of runc's `events --stats`.

Times are nanoseconds, sizes bytes. What the kernel does not tell is left out, or 0 where clients expect a number.
Sources: cgroup-v2.rst, cgroup-v1/{memory,cpuacct,blkio-controller}.rst, accounting/psi.rst.
"""

from __future__ import annotations

import os

from redpak.cgroup.layout import read

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

UNLIMITED = (1 << 64) - 1  # how runc says "no limit"


def _text(path: str) -> str:
    try:
        return read(path)
    except OSError:
        return ""


def _number(path: str) -> int:
    """Return the number in a file: 0 when it is not there, UNLIMITED for "max"."""
    word = _text(path).strip()
    if word == "max":
        return UNLIMITED
    return int(word) if word.lstrip("-").isdigit() else 0


def _table(path: str) -> dict[str, int]:
    """Return the lines "name number" of a file."""
    found = {}
    for line in _text(path).splitlines():
        name, _, value = line.partition(" ")
        if value.strip().isdigit():
            found[name] = int(value)
    return found


def stats(paths: dict[str, str]) -> dict[str, Any]:
    """Return everything; `paths` are those of a Group."""
    v2 = paths.get("", "")
    told: dict[str, Any] = {
        "cpu": _cpu_v1(paths) if "cpuacct" in paths or "cpu" in paths else _cpu_v2(v2),
        "cpuset": _cpuset(paths.get("cpuset", ""), v2),
        "memory": _memory_v1(paths["memory"]) if "memory" in paths else _memory_v2(v2),
        "pids": _pids(paths.get("pids") or v2),
        "blkio": _blkio_v1(paths["blkio"]) if "blkio" in paths else _blkio_v2(v2),
        "hugetlb": _hugetlb(paths.get("hugetlb", ""), v2),
        "rdma": _rdma(paths.get("rdma") or v2),
        "intel_rdt": {},
        "network_interfaces": None,
    }
    waited = pressure(paths)
    for name, where in (("cpu", "cpu"), ("memory", "memory"), ("io", "blkio")):
        if name in waited:
            told[where]["psi"] = waited[name]
    return told


def _cpu_v1(paths: dict[str, str]) -> dict[str, Any]:
    at = paths.get("cpuacct", "")
    usage: dict[str, Any] = {"total": _number(f"{at}/cpuacct.usage"), "kernel": 0, "user": 0}
    usage["percpu"] = [int(word) for word in _text(f"{at}/cpuacct.usage_percpu").split()]
    user, kernel = [], []
    for line in _text(f"{at}/cpuacct.usage_all").splitlines()[1:]:
        _, own, system = line.split()
        user.append(int(own))
        kernel.append(int(system))
    if user:
        usage.update(percpu_kernel=kernel, percpu_user=user, kernel=sum(kernel), user=sum(user))
    said = _table(f"{paths.get('cpu', '')}/cpu.stat")
    return {
        "usage": usage,
        "throttling": {
            "periods": said.get("nr_periods", 0),
            "throttledPeriods": said.get("nr_throttled", 0),
            "throttledTime": said.get("throttled_time", 0),
        },
    }


def _cpu_v2(at: str) -> dict[str, Any]:
    said = _table(f"{at}/cpu.stat")
    return {
        "usage": {
            "total": said.get("usage_usec", 0) * 1000,
            "kernel": said.get("system_usec", 0) * 1000,
            "user": said.get("user_usec", 0) * 1000,
        },
        "throttling": {
            "periods": said.get("nr_periods", 0),
            "throttledPeriods": said.get("nr_throttled", 0),
            "throttledTime": said.get("throttled_usec", 0) * 1000,
        },
    }


def _cpuset(at: str, v2: str) -> dict[str, Any]:
    from redpak.cgroup.apply import numbers

    if not at:
        found = {key: _text(f"{v2}/cpuset.{key}.effective").strip() for key in ("cpus", "mems")}
        return {key: sorted(numbers(words)) for key, words in found.items() if words}
    told: dict[str, Any] = {
        key: sorted(numbers(_text(f"{at}/cpuset.{key}").strip())) for key in ("cpus", "mems")
    }
    for key in (
        "cpu_exclusive", "mem_exclusive", "mem_hardwall", "memory_migrate", "memory_pressure", "memory_spread_page",
        "memory_spread_slab", "sched_load_balance", "sched_relax_domain_level",
    ):  # fmt: skip
        told[key] = _number(f"{at}/cpuset.{key}")
    return told


def _memory_v1(at: str) -> dict[str, Any]:
    raw = _table(f"{at}/memory.stat")
    told: dict[str, Any] = {"cache": raw.get("cache", 0), "raw": raw}
    for key, middle in (("usage", ""), ("swap", "memsw."), ("kernel", "kmem."), ("kernelTCP", "kmem.tcp.")):
        told[key] = {
            "limit": _number(f"{at}/memory.{middle}limit_in_bytes"),
            "usage": _number(f"{at}/memory.{middle}usage_in_bytes"),
            "max": _number(f"{at}/memory.{middle}max_usage_in_bytes"),
            "failcnt": _number(f"{at}/memory.{middle}failcnt"),
        }
    return told


def _memory_v2(at: str) -> dict[str, Any]:
    raw = _table(f"{at}/memory.stat")
    events = _table(f"{at}/memory.events")
    used, swapped = _number(f"{at}/memory.current"), _number(f"{at}/memory.swap.current")
    limit, swap_limit = _number(f"{at}/memory.max"), _number(f"{at}/memory.swap.max")
    both = UNLIMITED if UNLIMITED in (limit, swap_limit) else limit + swap_limit
    return {
        "cache": raw.get("file", 0),
        "usage": {
            "limit": limit,
            "usage": used,
            "max": _number(f"{at}/memory.peak"),
            "failcnt": events.get("max", 0),
        },
        "swap": {"limit": both, "usage": used + swapped, "max": 0, "failcnt": 0},
        "kernel": {"limit": 0, "usage": raw.get("kernel", 0), "max": 0, "failcnt": 0},
        "kernelTCP": {"limit": 0, "usage": raw.get("sock", 0), "max": 0, "failcnt": 0},
        "raw": raw,
    }


def _pids(at: str) -> dict[str, int]:
    limit = _number(f"{at}/pids.max")
    return {"current": _number(f"{at}/pids.current"), "limit": 0 if limit == UNLIMITED else limit}


def _entry(device: str, operation: str, value: int) -> dict[str, Any]:
    major, _, minor = device.partition(":")
    return {"major": int(major), "minor": int(minor), "op": operation, "value": value}


def _blkio_v1(at: str) -> dict[str, Any]:
    told = {}
    for key, file in (
        ("ioServiceBytesRecursive", "io_service_bytes"),
        ("ioServicedRecursive", "io_serviced"),
    ):
        found: list[dict[str, Any]] = []
        for way in ("bfq", "throttle"):
            for line in _text(f"{at}/blkio.{way}.{file}_recursive").splitlines():
                words = line.split()
                if len(words) == 3 and words[2].isdigit():
                    found.append(_entry(words[0], words[1], int(words[2])))
            if found:
                break
        told[key] = found
    return told


def _blkio_v2(at: str) -> dict[str, Any]:
    sizes: list[dict[str, Any]] = []
    counts: list[dict[str, Any]] = []
    names = {"rbytes": ("Read", sizes), "wbytes": ("Write", sizes), "dbytes": ("Discard", sizes)}
    names |= {"rios": ("Read", counts), "wios": ("Write", counts), "dios": ("Discard", counts)}
    for line in _text(f"{at}/io.stat").splitlines():
        device, *words = line.split()
        for word in words:
            key, _, value = word.partition("=")
            if key in names and value.isdigit():
                operation, found = names[key]
                found.append(_entry(device, operation, int(value)))
    return {"ioServiceBytesRecursive": sizes, "ioServicedRecursive": counts}


def _hugetlb(at: str, v2: str) -> dict[str, dict[str, int]]:
    top, old = (at, True) if at else (v2, False)
    found: dict[str, dict[str, int]] = {}
    try:
        files = os.listdir(top) if top else []
    except OSError:
        return found
    ending = ".usage_in_bytes" if old else ".current"
    for file in files:
        if not (file.startswith("hugetlb.") and file.endswith(ending)) or ".rsvd" in file:
            continue
        start = f"{top}/{file.removesuffix(ending)}"
        if old:
            numbers = [
                _number(f"{start}.{key}") for key in ("usage_in_bytes", "max_usage_in_bytes", "failcnt")
            ]
        else:
            numbers = [_number(f"{start}.current"), 0, _table(f"{start}.events").get("max", 0)]
        page = file.removeprefix("hugetlb.").removesuffix(ending)
        found[page] = dict(zip(("usage", "max", "failcnt"), numbers, strict=True))
    return found


def _rdma(at: str) -> dict[str, list[dict[str, Any]]]:
    told = {}
    for key, file in (("rdma_limit", "rdma.max"), ("rdma_current", "rdma.current")):
        found = []
        for line in _text(f"{at}/{file}").splitlines():
            device, *words = line.split()
            one: dict[str, Any] = {"device": device}
            for word in words:
                name, _, value = word.partition("=")
                one[name] = (1 << 32) - 1 if value == "max" else int(value)
            found.append(one)
        if found:
            told[key] = found
    return told


def pressure(paths: dict[str, str]) -> dict[str, dict[str, dict[str, float]]]:
    """Return {"cpu": {"some": {"avg10": …, "avg60": …, "avg300": …, "total": microseconds}, "full": …}, …}."""
    told: dict[str, dict[str, dict[str, float]]] = {}
    at = paths.get("", "")
    for name in ("cpu", "memory", "io") if at else ():
        lines: dict[str, dict[str, float]] = {}
        for line in _text(f"{at}/{name}.pressure").splitlines():
            kind, *words = line.split()
            pairs = (word.partition("=") for word in words)
            lines[kind] = {key: int(value) if key == "total" else float(value) for key, _, value in pairs}
        if lines:
            told[name] = lines
    return told


def oom_killed(paths: dict[str, str]) -> int:
    """Return how often the kernel has killed a process of the group for want of memory, whosever limit it was."""
    if "memory" in paths:
        return _table(f"{paths['memory']}/memory.oom_control").get("oom_kill", 0)
    return _table(f"{paths.get('', '')}/memory.events").get("oom_kill", 0)


def ran_full(paths: dict[str, str]) -> bool:
    """Tell whether the memory limit of this group itself was hit and could not be kept by reclaim."""
    if "memory" not in paths:
        return _table(f"{paths.get('', '')}/memory.events.local").get("oom", 0) > 0
    at = paths["memory"]
    if _number(f"{at}/memory.failcnt"):
        return True
    # Failures of the second counter are not counted by newer kernels: was it full?
    most, limit = (_number(f"{at}/memory.memsw.{key}_in_bytes") for key in ("max_usage", "limit"))
    return most * 32 >= limit * 31 > 0
