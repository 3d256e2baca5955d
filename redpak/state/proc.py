"""What /proc says about processes (proc(5)). A process that is gone is None or an empty answer, never an error."""

from __future__ import annotations

import os

from redpak.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

TICKS = os.sysconf("SC_CLK_TCK")  # of the clock in /proc/PID/stat, in a second
PAGE = os.sysconf("SC_PAGE_SIZE")
GONE = (FileNotFoundError, ProcessLookupError, PermissionError)


class Pid(Record):
    """One process: a number alone may be another process's tomorrow, with the start time it is this one's."""

    pid: int
    start: int  # clock ticks after boot


class Stat(Record):
    """What /proc/PID/stat says."""

    name: str
    state: str  # R S D T t Z X I
    parent: int
    user_ticks: int
    system_ticks: int
    start: int
    rss_pages: int
    threads: int


def read(path: str) -> bytes:
    """Return the content of a file of /proc, b'' where the process is gone or not ours."""
    try:
        with open(path, "rb", buffering=0) as file:
            parts = []
            while part := file.read(1 << 16):
                parts.append(part)
            return b"".join(parts)
    except GONE:
        return b""


def stat(pid: int) -> Stat | None:
    """Return what the kernel says about a process, None where it is gone. Zombies are still there (state 'Z')."""
    said = read(f"/proc/{pid}/stat")
    if not said:
        return None
    head, _, tail = said.decode(errors="replace").rpartition(") ")
    words = tail.split()
    return Stat(
        name=head.partition(" (")[2],
        state=words[0],
        parent=int(words[1]),
        user_ticks=int(words[11]),
        system_ticks=int(words[12]),
        threads=int(words[17]),
        start=int(words[19]),
        rss_pages=int(words[21]),
    )


def known(pid: int) -> Pid | None:
    """Return a process with its start time, None where it is gone."""
    at = stat(pid)
    return Pid(pid=pid, start=at.start) if at else None


def alive(one: Pid | None) -> bool:
    """Tell whether it is still this process that runs; a zombie does not."""
    if one is None or one.pid <= 0:
        return False
    at = stat(one.pid)
    return at is not None and at.start == one.start and at.state not in "ZX"


def opened(one: Pid) -> int:
    """Return a pidfd of just this process; the caller closes it. Raises ProcessLookupError where it is gone."""
    fd = os.pidfd_open(one.pid)
    at = stat(one.pid)
    if at is None or at.start != one.start:
        os.close(fd)
        raise ProcessLookupError
    return fd


def children(pid: int) -> tuple[int, ...]:
    """Return the children of a process, of all its threads (proc_pid_children(5)), oldest first."""
    found: list[int] = []
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except GONE:
        return ()
    for thread in threads:
        found += map(int, read(f"/proc/{pid}/task/{thread}/children").split())
    return tuple(found)


def hidden(pid: int) -> bool:
    """Tell whether a process is there that /proc does not show us, as it cannot be traced (hidepid, proc(5))."""
    if os.path.exists(f"/proc/{pid}/stat") and os.access(f"/proc/{pid}/task", os.R_OK | os.X_OK):
        return False
    try:
        os.close(os.pidfd_open(pid))
    except OSError:
        return False
    return True


def numbers(pid: int) -> list[int]:
    """Return a process's numbers from our pid namespace inwards, also of one that is hidden; [] where it is gone."""
    try:
        fd = os.pidfd_open(pid)
    except OSError:
        return []
    try:
        said = read(f"/proc/self/fdinfo/{fd}").decode()
    finally:
        os.close(fd)
    lines = dict(line.partition(":")[::2] for line in said.splitlines())
    return [int(one) for one in lines.get("NSpid", "").split() if int(one) > 0]


def seen_children(pid: int) -> tuple[int, ...]:
    """Return the children of a hidden process that are shown themselves, lowest number first."""
    return tuple(one for one in sorted(every()) if (at := stat(one)) is not None and at.parent == pid)


def tree(roots: Iterable[int]) -> tuple[int, ...]:
    """Return processes and all that descends from them, parents first."""
    found: dict[int, None] = {}
    ask = list(roots)
    while ask:
        pid = ask.pop(0)
        if pid not in found:
            found[pid] = None
            ask += children(pid)
    return tuple(found)


def namespace(pid: int, kind: str) -> str:
    """Return a process's namespace ("mnt", "pid", …) as 'pid:[4026531836]', '' where it may not be asked."""
    try:
        return os.readlink(f"/proc/{pid}/ns/{kind}")
    except GONE:
        return ""


def status(pid: int) -> dict[str, str]:
    """Return /proc/PID/status as words: {"Uid": "0\\t0\\t0\\t0", "NSpid": "12\\t1", …}."""
    lines = read(f"/proc/{pid}/status").decode(errors="replace").splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def words(pid: int, what: str) -> list[str]:
    """Return /proc/PID/cmdline or /proc/PID/environ as words; bytes that are no text become surrogates."""
    said = read(f"/proc/{pid}/{what}")
    return [os.fsdecode(word) for word in said.removesuffix(b"\0").split(b"\0")] if said else []


def program(pid: int) -> str:
    """Return what a process executes: the path of its file, '' where it may not be asked."""
    try:
        return os.readlink(f"/proc/{pid}/exe")
    except GONE:
        return ""


def owner(pid: int) -> int:
    """Return the user a process runs as, -1 where it is gone."""
    uids = status(pid).get("Uid", "").split()
    return int(uids[1]) if len(uids) > 1 else -1


def every() -> list[int]:
    """Return the number of every process that we can see."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def boot() -> str:
    """Return what names this start of the host (random(4))."""
    return read("/proc/sys/kernel/random/boot_id").decode().strip()


def name(one: Pid, since: str = "") -> str:
    """Return what a launch in the foreground is called: its process, of this start of the host unless `since` says."""
    import binascii

    return f"{binascii.crc32(f'{since or boot()}.{one.pid}.{one.start}'.encode()):08x}"


def since_epoch(start: int) -> float:
    """Return when a process started, in seconds since 1970, from its start time in ticks after boot."""
    import time

    return round(time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + start / TICKS, 2)
