"""The processes of a container: those of its control group, or without one its first process and all below that."""

from __future__ import annotations

import os

from redpak.oci import life

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal

    from redpak.oci.store import Container
else:
    import _signal  # as in life.py

KILL, STOP = 9, 19
ROUNDS = 100


def pids(container: Container) -> tuple[int, ...]:
    """Return the pids, in our numbering. Without a group, processes whose parent has ended are not found."""
    if container.data.get("cgroup"):
        from redpak.cgroup import group as groups

        return tuple(sorted(groups.load(container.data["cgroup"]).pids(recursive=True)))
    from redpak.state import proc

    return proc.tree((container.pid,)) if life.alive(container) else ()


def send(container: Container, number: int) -> None:
    """Send a signal to every process. Raises NotRunning without a group when the first one has ended."""
    if container.data.get("cgroup"):
        from redpak.cgroup import group as groups

        groups.load(container.data["cgroup"]).kill(number)
        return
    if number != KILL or not container.data.get("shares_pid"):  # with its pid namespace all end
        life.send(container, number)
        return
    held: dict[int, int] = {}  # first stopped, so that none makes another or leaves its parent meanwhile
    try:
        life.send(container, STOP)
        for _ in range(ROUNDS):
            new = [pid for pid in pids(container) if pid not in held and pid != container.pid]
            for pid in new:
                held[pid] = _stopped(pid)
            if not new:
                break
        life.send(container, KILL)
    finally:
        for fd in held.values():
            _give(fd, KILL)


def _stopped(pid: int) -> int:
    """Stop a process; return a descriptor of it, -1 when it has ended."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return -1
    _give(fd, STOP, close=False)
    return fd


def _give(fd: int, number: int, *, close: bool = True) -> None:
    if fd < 0:
        return
    try:
        _signal.pidfd_send_signal(fd, number)
    except OSError:
        pass  # it has ended
    if close:
        os.close(fd)
