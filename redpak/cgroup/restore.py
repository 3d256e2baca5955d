"""Take back limits that a group in use still has and that nobody asks for any more: its configuration has changed."""

from __future__ import annotations

import os

from redpak.cgroup.layout import read

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.cgroup.resources import Resources

V2 = {
    # file: what a new group says; the shortest form of it
    "memory.max": "max", "memory.high": "max", "memory.low": "0", "memory.min": "0", "memory.oom.group": "0",
    "memory.swap.max": "max", "memory.swap.high": "max", "cpu.weight": "100", "cpu.max": "max 100000",
    "pids.max": "max", "cpuset.cpus.partition": "member", "cpuset.cpus": "", "cpuset.mems": "",
    "io.weight": "default 100", "io.max": "",
}  # fmt: skip
V1 = {
    # (controller, file): what a new group says ("-1" reads as a very large number)
    ("memory", "memory.memsw.limit_in_bytes"): "-1", ("memory", "memory.limit_in_bytes"): "-1",
    ("cpu", "cpu.shares"): "1024", ("cpu", "cpu.cfs_quota_us"): "-1", ("cpu", "cpu.cfs_period_us"): "100000",
    ("pids", "pids.max"): "max", ("blkio", "blkio.bfq.weight"): "100",
}  # fmt: skip
RATES = ("rbps", "wbps", "riops", "wiops")
THROTTLES = {"rbps": "read_bps", "wbps": "write_bps", "riops": "read_iops", "wiops": "write_iops"}


def defaults(
    paths: dict[str, str], written: set[tuple[str, str]], asked: Resources
) -> list[tuple[str, str, str]]:
    """Return (directory, file, content) for what is not in `written` and differs from a new group's content.

    Rates of disks are compared one by one with what `asked` has.
    """
    out: list[tuple[str, str, str]] = []
    v2 = paths.get("", "")
    if v2:
        for file, plain in V2.items():
            now = _now(v2, file)
            if now is None or (v2, file) in written or now == plain:
                continue
            if file != "io.max":
                out.append((v2, file, plain or "\n"))
        out += [(v2, "io.max", f"{device} {key}=max") for device, key in _rates_v2(v2, asked)]
    for (name, file), plain in V1.items():
        at = paths.get(name, "")
        if not at or (at, file) in written:
            continue
        now = _now(at, file)
        if now is not None and now != plain and not (plain == "-1" and len(now) > 18):
            out.append((at, file, plain))
    if "cpuset" in paths:
        at = paths["cpuset"]
        for file in ("cpuset.cpus", "cpuset.mems"):
            whole = _now(os.path.dirname(at), file)
            if (at, file) not in written and whole and _now(at, file) != whole:
                out.append((at, file, whole))
    if "blkio" in paths:
        at, kept = paths["blkio"], {(device, key) for device, key, _ in asked.io_max}
        for key, word in THROTTLES.items():
            file = f"blkio.throttle.{word}_device"
            devices = [line.split()[0] for line in (_now(at, file) or "").splitlines() if line.split()]
            out += [(at, file, f"{device} 0") for device in devices if (device, key) not in kept]
    return out


def _now(at: str, file: str) -> str | None:
    try:
        return read(f"{at}/{file}").strip()
    except OSError:
        return None


def _rates_v2(at: str, asked: Resources) -> list[tuple[str, str]]:
    kept = {(device, key) for device, key, _ in asked.io_max}
    found = []
    for line in (_now(at, "io.max") or "").splitlines():
        device, *words = line.split()
        for word in words:
            key, _, value = word.partition("=")
            if key in RATES and value != "max" and (device, key) not in kept:
                found.append((device, key))
    return found
