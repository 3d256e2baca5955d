"""Processes that descend from this one: find them, wait for them, kill them, and notice those that do not end."""

from __future__ import annotations

import ctypes
import os
import select
import signal
import time
from pathlib import Path

from tests.patience import PATIENCE_S

SUBREAPER = 36  # prctl(2): PR_SET_CHILD_SUBREAPER
STUCK_S = 1  # how long a child of bubblewrap may wait for its parent


class Wrong(Exception):
    """A node is in a state that must never be seen."""


def adopt_orphans() -> None:
    """Make processes that lose their parent children of this one."""
    ctypes.CDLL(None, use_errno=True).prctl(SUBREAPER, 1, 0, 0, 0)


def waited(pid: int, patience_s: float) -> bool:
    """Wait for a child to end, without collecting it; tell whether it did in time."""
    fd = os.pidfd_open(pid)
    try:
        return bool(select.select([fd], [], [], patience_s)[0])
    finally:
        os.close(fd)


def descendants(pid: int) -> list[int]:
    """Return the living processes that descend from one, itself left out."""
    found: list[int] = []
    ask = [pid]
    while ask:
        one = ask.pop()
        try:
            for thread in os.listdir(f"/proc/{one}/task"):
                with open(f"/proc/{one}/task/{thread}/children", encoding="ascii") as file:
                    ask += [int(word) for word in file.read().split()]
        except (FileNotFoundError, ProcessLookupError):
            continue
        found.append(one)
    return [one for one in found if one != pid]


def at_rest(pid: int) -> bool:
    """Tell whether a process and all that descends from it sleep: then everybody has asked to die with who made it.

    Bubblewrap's process 1 does so only after it has made the program (bubblewrap.c, `do_init`), which may be faster: a
    parent that is killed in between leaves both behind.
    """
    for one in (pid, *descendants(pid)):
        try:
            with open(f"/proc/{one}/stat", encoding="utf-8", errors="replace") as file:
                if file.read().rpartition(") ")[2][0] != "S":
                    return False
        except (FileNotFoundError, ProcessLookupError):
            return False
    return True


def describe(pid: int) -> str:
    """Return what a process is and waits for."""
    parts = [str(pid)]
    for name in ("cmdline", "wchan", "syscall"):
        try:
            parts.append(Path(f"/proc/{pid}/{name}").read_text(errors="replace").replace("\0", " ").strip())
        except OSError:
            parts.append("?")
    return " | ".join(parts)


def kill_all(pid: int) -> None:
    """Kill a child with all that it started, and collect them."""
    for one in (pid, *descendants(pid)):
        try:
            os.kill(one, signal.SIGKILL)
        except ProcessLookupError:
            continue
    all_end()


def all_end() -> int:
    """Collect all children, orphans included. Raises Wrong when one does not end by itself.

    One kind is forgiven, killed, and counted: bubblewrap's child waits for its parent without end when that was killed
    between clone(2) and the first word (bubblewrap.c, `read (child_wait_fd, …)`). It has run nothing and holds no lock.
    """
    begin = time.monotonic()
    stuck = 0
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return stuck
        if pid:
            continue
        alive = descendants(os.getpid())
        if time.monotonic() > begin + STUCK_S and (
            waiting := [one for one in alive if is_waiting_bwrap(one)]
        ):
            stuck += 1
            os.kill(waiting[0], signal.SIGKILL)
        if time.monotonic() > begin + PATIENCE_S:
            left = [describe(one) for one in alive]
            for one in alive:
                os.kill(one, signal.SIGKILL)
            raise Wrong(f"a killed command left processes running: {left}")
        for one in alive[:1]:
            try:
                waited(one, 0.2)
            except ProcessLookupError:
                continue


def is_waiting_bwrap(pid: int) -> bool:
    """Tell whether a process is bubblewrap's child before its parent's word: it reads 8 bytes (x86_64: call 0)."""
    try:
        program = Path(f"/proc/{pid}/cmdline").read_bytes().partition(b"\0")[0]
        call = Path(f"/proc/{pid}/syscall").read_text().split()
    except OSError:
        return False
    return program.endswith(b"bwrap") and call[0] == "0" and call[3] == "0x8"


def is_orphaned_bwrap(pid: int) -> bool:
    """Tell whether a process is bubblewrap's process 1 without the bubblewrap above that made it.

    That one was killed after its word to go on and before this one had asked to die with its parent (bubblewrap.c,
    `handle_die_with_parent`): then nobody tells it, and what it runs goes on.
    """
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        above = Path(f"/proc/{fields['PPid']}/cmdline").read_bytes().partition(b"\0")[0]
        program = Path(f"/proc/{pid}/cmdline").read_bytes().partition(b"\0")[0]
    except OSError:
        return False
    inner = fields["NSpid"].split()
    return program.endswith(b"bwrap") and len(inner) > 1 and inner[-1] == "1" and not above.endswith(b"bwrap")
