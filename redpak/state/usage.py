"""What processes use, summed up from /proc: for sandboxes without a control group of their own."""

from __future__ import annotations

import os

from redpak.record import Record
from redpak.state import proc, sandboxes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.state.sandboxes import Sandbox


class Usage(Record):
    """What a sandbox uses. Sums of /proc miss what processes used that have ended; a control group counts them."""

    source: str  # "cgroup" or "proc"
    cpu_s: float = 0.0  # processor time since the start
    memory_bytes: int = 0  # resident; from /proc, memory that processes share counts once for each
    memory_limit_bytes: int | None = None
    pids: int = 0
    pids_limit: int | None = None
    read_bytes: int = 0  # from storage
    write_bytes: int = 0
    oom_kills: int = 0
    pressure: dict[str, float] = {}  # noqa: RUF012 - {"cpu.some.avg10": 0.0, …}, percent of time


class Process(Record):
    """One process of a sandbox."""

    pid: int  # in our numbering
    inner_pid: int  # in the sandbox's, 0 where it has no numbering of its own
    parent: int
    uid: int
    state: str
    cpu_s: float
    memory_bytes: int
    threads: int
    started: float  # seconds since 1970
    command: tuple[str, ...]


def of(one: Sandbox) -> Usage:
    """Return what the processes of a sandbox use."""
    cpu = memory = reads = writes = count = 0
    for pid in sandboxes.processes(one):
        at = proc.stat(pid)
        if at is None:
            continue
        count += 1
        cpu += at.user_ticks + at.system_ticks
        memory += at.rss_pages * proc.PAGE
        said = dict(line.split(": ") for line in proc.read(f"/proc/{pid}/io").decode().splitlines())
        reads += int(said.get("read_bytes", 0))
        writes += int(said.get("write_bytes", 0))
    return Usage(
        source="proc",
        cpu_s=cpu / proc.TICKS,
        memory_bytes=memory,
        pids=count,
        read_bytes=reads,
        write_bytes=writes,
    )


def processes(one: Sandbox) -> list[Process]:
    """Return the processes of a sandbox, parents before children."""
    found: list[Process] = []
    for pid in sandboxes.processes(one):
        at, more = proc.stat(pid), proc.status(pid)
        if at is None or "Uid" not in more:
            continue
        inner = more.get("NSpid", "").split()
        found.append(
            Process(
                pid=pid,
                inner_pid=int(inner[1]) if len(inner) > 1 else 0,
                parent=at.parent,
                uid=int(more["Uid"].split()[1]),
                state=at.state,
                cpu_s=(at.user_ticks + at.system_ticks) / proc.TICKS,
                memory_bytes=at.rss_pages * proc.PAGE,
                threads=at.threads,
                started=proc.since_epoch(at.start),
                command=tuple(proc.words(pid, "cmdline")) or (f"[{at.name}]",),
            )
        )
    return found


def pressure() -> dict[str, float]:
    """Return the host's pressure (PSI): {"memory.some.avg10": percent of time}; {} where the kernel has none."""
    found: dict[str, float] = {}
    for what in ("cpu", "memory", "io"):
        found.update(parse_pressure(what, proc.read(f"/proc/pressure/{what}").decode()))
    return found


def parse_pressure(what: str, said: str) -> dict[str, float]:
    """Return the averages of a pressure file (Documentation/accounting/psi.rst)."""
    found: dict[str, float] = {}
    for line in said.splitlines():
        kind, *pairs = line.split()
        for pair in pairs:
            key, _, value = pair.partition("=")
            if key.startswith("avg"):
                found[f"{what}.{kind}.{key}"] = float(value)
    return found


def cores() -> int:
    """Return how many processors we may use."""
    return len(os.sched_getaffinity(0))
