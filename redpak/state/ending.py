"""Signals for running sandboxes, their end, and the code that they end with."""

from __future__ import annotations

import os
import select
import signal
import time

from redpak.errors import NotFound, RedpakError, Refused, Usage
from redpak.state import proc, records, sandboxes, seen, truth

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.state.sandboxes import Sandbox

LONGEST_MS = 2**31 - 1  # that poll(2) can wait: 24 days
ROUNDS = 200  # of killing what goes on forking
PIDFD_GET_INFO = 0xC048FF0B  # _IOWR(0xff, 11, 72 bytes); linux/pidfd.h, Linux 6.13
PIDFD_INFO_EXIT = 1 << 3  # Linux 6.15
INFO_BYTES = 72
EXIT_AT = 60  # where exit_code lies in struct pidfd_info


def number(said: str) -> int:
    """Return the signal that 'TERM', 'SIGTERM', 'term' or '15' means. Raises Usage."""
    word = said.upper().removeprefix("SIG")
    if word.isascii() and word.isdigit() and 1 <= int(word) <= 64:
        return int(word)
    found = signal.Signals.__members__.get(f"SIG{word}")
    for base, step in (("RTMIN+", 1), ("RTMAX-", -1)):
        if word.startswith(base) and word[6:].isdigit():
            chosen = getattr(signal, f"SIG{base[:5]}") + step * int(word[6:])
            if signal.SIGRTMIN <= chosen <= signal.SIGRTMAX:
                return int(chosen)
    if found is None:
        raise Usage(f"'{said}' is no signal", hint="Write a name such as TERM, or a number; see signal(7).")
    return int(found)


def send(one: Sandbox, what: int) -> None:
    """Send a signal to the program of a sandbox. Raises Refused where it does not run."""
    gone = Refused(f"the program of {one.called} does not run", hint="Run 'redpak ps'.")
    if one.main is None:
        raise gone
    try:
        fd = proc.opened(one.main)
    except ProcessLookupError:
        raise gone from None
    try:
        signal.pidfd_send_signal(fd, what)
    except ProcessLookupError:
        raise gone from None
    except PermissionError:
        raise Refused(f"you may not send signals to {one.called}", hint="Ask who started it.") from None
    finally:
        os.close(fd)


def kill(one: Sandbox) -> None:
    """Kill all of a sandbox. With a pid namespace of its own its first process takes everything with it.

    Its launcher is then left alone: it ends by itself, after it has removed the control groups.
    """
    if one.own_pids and one.init is not None:
        _kill(one.init.pid, one.init.start)
        return
    launcher = (one.launcher.pid,) if one.launcher is not None and proc.alive(one.launcher) else ()
    for _ in range(
        ROUNDS
    ):  # without one, what forks meanwhile is found in the next round: it cannot outrun SIGKILL
        left = [pid for pid in (*sandboxes.processes(one), *proc.tree(launcher)) if _lives(pid)]
        if not left:
            return
        for pid in left:
            _kill(pid)
        time.sleep(0.001)
    raise RedpakError(
        f"{one.called} could not be killed: {len(left)} of its processes are stuck in the kernel"
    )


def _lives(pid: int) -> bool:
    at = proc.stat(pid)
    return at is not None and at.state not in "ZX"


def _kill(pid: int, start: int = -1) -> None:
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        at = proc.stat(pid)
        if at is not None and start in (-1, at.start):
            signal.pidfd_send_signal(fd, signal.SIGKILL)
    except ProcessLookupError:
        pass
    finally:
        os.close(fd)


def opened(one: Sandbox) -> int:
    """Return a pidfd that becomes readable when a sandbox has ended; -1 where it has. The caller closes it."""
    for who in (one.supervisor, one.launcher, one.main, one.init):
        if who is not None and proc.alive(who):
            try:
                return proc.opened(who)
            except ProcessLookupError:
                continue
    return -1


def _ms(timeout_s: float | None) -> float | None:
    return None if timeout_s is None else min(max(0, timeout_s * 1000), LONGEST_MS)


def wait(one: Sandbox, timeout_s: float | None = None) -> bool:
    """Wait until a sandbox has ended; tell whether it did in time."""
    if not one.lives:
        return True
    fd = opened(one)
    if fd < 0:
        return True
    try:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        return bool(poll.poll(_ms(timeout_s)))
    finally:
        os.close(fd)


def code(one: Sandbox, timeout_s: float | None = None) -> int | None:
    """Wait until a sandbox has ended and return the code that its program ended with; None when nobody can know.

    What runs detached has it in its record; of what runs in the foreground the kernel tells it (Linux 6.15).
    Raises TimeoutError.
    """
    if one.entry is not None and one.detached:
        if not wait(one, timeout_s):
            raise TimeoutError
        return _recorded(one)
    fd = opened(one)
    if fd < 0:
        return one.code
    try:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        if not poll.poll(_ms(timeout_s)):
            raise TimeoutError
        found = of_pidfd(fd)
        if one.entry is None:
            seen.ended(one.id, found, "" if found is not None else seen.UNTOLD)
        return found
    finally:
        os.close(fd)


def _recorded(one: Sandbox) -> int | None:
    """Return the code in a record, once its supervisor has let go of it."""
    import fcntl

    assert one.entry is not None
    try:
        entry = records.again(one.entry)
        if entry.stage in records.LIVING:  # its supervisor is writing, or was killed
            fd = os.open(os.path.join(entry.path, "lock"), os.O_RDONLY | os.O_CLOEXEC)
            try:
                fcntl.flock(fd, fcntl.LOCK_SH)
            finally:
                os.close(fd)
            entry = records.again(entry)
        settled = truth.settle(entry)
    except (NotFound, FileNotFoundError):
        return None
    return settled.exit.code if settled is not None and settled.exit is not None else None


def of_pidfd(fd: int) -> int | None:
    """Return the exit code of a process that ended, from its pidfd; None before Linux 6.15."""
    import fcntl
    import struct

    info = bytearray(INFO_BYTES)
    struct.pack_into("<Q", info, 0, PIDFD_INFO_EXIT)
    for _ in range(
        ROUNDS
    ):  # readable as soon as it is a zombie; the code is told when its parent has collected it
        try:
            fcntl.ioctl(fd, PIDFD_GET_INFO, info)
        except OSError:
            return None
        if struct.unpack_from("<Q", info, 0)[0] & PIDFD_INFO_EXIT:
            ended = os.waitstatus_to_exitcode(struct.unpack_from("<i", info, EXIT_AT)[0])
            return 128 - ended if ended < 0 else ended
        struct.pack_into("<Q", info, 0, PIDFD_INFO_EXIT)
        time.sleep(0.005)
    return None


def send_all(one: Sandbox, what: int) -> None:
    """Send a signal to every process of a sandbox but the one that only stands above the program."""
    above = one.init.pid if one.init is not None and one.main is not None and one.init != one.main else 0
    for pid in sandboxes.processes(one):
        if pid != above:
            try:
                fd = os.pidfd_open(pid)
            except ProcessLookupError:
                continue
            try:
                signal.pidfd_send_signal(fd, what)
            except ProcessLookupError:
                continue
            finally:
                os.close(fd)
