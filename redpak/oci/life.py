"""What a container is doing, and signals to its first process: by pid and start time, so that no other is meant.

A pid is used again when its process is gone; the start time in /proc/PID/stat (proc_pid_stat(5), field 22) is not.
"""

from __future__ import annotations

import os

from redpak.errors import RedpakError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal

    from redpak.oci.store import Container
else:
    import _signal  # what `signal` is made of: that one imports enum, which takes longer than all the rest

LOOK_S = 0.1
CREATING, CREATED, RUNNING, PAUSED, STOPPED = "creating", "created", "running", "paused", "stopped"


class NotRunning(RedpakError):
    """The container's first process is gone."""


PF_EXITING = 0x4  # linux/sched.h


def start_time(pid: int) -> int:
    """Return when a process began, in clock ticks since the boot; 0 when it is gone or only waited for (zombie).

    The first process of a pid namespace that is on its way out waits until all others are collected, whoever their
    parents are: it runs nothing any more, so it counts as gone. One whose first thread alone has ended does not.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            words = file.read(1024).rpartition(b")")[2].split()
    except OSError:
        return 0
    ended = words[0] in (b"Z", b"X", b"x") or int(words[6]) & PF_EXITING
    return 0 if ended and int(words[17]) <= 1 else int(words[19])


def alive(container: Container) -> bool:
    """Tell whether the first process still runs."""
    pid = container.pid
    return pid > 0 and start_time(pid) == container.data.get("start_time")


def status(container: Container) -> str:
    """Return one of the five words of the runtime specification (and `paused`, which all runtimes have)."""
    if container.data.get("status") == CREATING and not container.pid:
        return CREATING if container.busy() else STOPPED
    if not alive(container):
        return STOPPED
    if container.data.get("status") == CREATING:
        return CREATING if container.busy() else STOPPED
    if os.path.lexists(container.gate):
        return CREATED
    return PAUSED if frozen(container) else RUNNING


def frozen(container: Container) -> bool:
    """Tell whether the container's control group is frozen, by the file that its creation named."""
    path, _, word = str(container.data.get("freezer", "")).partition("\n")
    if not path:
        return False
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read(20).split()[:1] == [word.encode()]
    except OSError:
        return False


def send(container: Container, number: int) -> None:
    """Send a signal to the first process. Raises NotRunning when it is gone, RedpakError when it is not allowed."""

    gone = NotRunning(f"cannot kill container '{container.name}': container not running")
    pid = container.pid
    if pid <= 0:
        raise gone
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        raise gone from None
    try:
        if start_time(pid) != container.data.get(
            "start_time"
        ):  # asked after the descriptor holds the process
            raise gone
        _signal.pidfd_send_signal(fd, number)
    except ProcessLookupError:
        raise gone from None
    except OSError as error:
        why = (error.strerror or "").lower()
        raise RedpakError(f"cannot send signal {number} to container '{container.name}': {why}") from None
    finally:
        os.close(fd)


def wait_gone(container: Container, timeout_s: float) -> bool:
    """Wait until the first process is gone or as good as gone; tell whether it is."""
    import select

    pid = container.pid
    if not alive(container):
        return True
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        looks = max(1, round(timeout_s / LOOK_S))
        return any(poll.poll(LOOK_S * 1000) or not alive(container) for _ in range(looks))
    finally:
        os.close(fd)


def now() -> str:
    """Return the time as RFC 3339 has it, in UTC, with nanoseconds."""
    import time

    moment = time.time_ns()
    at = time.gmtime(moment // 1_000_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", at) + f".{moment % 1_000_000_000:09}Z"
