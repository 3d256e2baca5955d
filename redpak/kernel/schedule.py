"""How the kernel shares a processor and a disk with a process: policy, priority, input and output class."""

from __future__ import annotations

import struct

from redpak.kernel.libc import syscall

POLICIES = {
    f"SCHED_{name}": number
    for number, name in enumerate(("OTHER", "FIFO", "RR", "BATCH", "ISO", "IDLE", "DEADLINE"))
}
FLAGS = {
    f"SCHED_FLAG_{name}": 1 << bit
    for bit, name in enumerate(
        "RESET_ON_FORK RECLAIM DL_OVERRUN KEEP_POLICY KEEP_PARAMS UTIL_CLAMP_MIN UTIL_CLAMP_MAX".split()  # noqa: SIM905
    )
}
IO_CLASSES = {f"IOPRIO_CLASS_{name}": number for number, name in enumerate(("NONE", "RT", "BE", "IDLE"))}


def set_scheduler(
    policy: int, *, pid: int = 0, flags: int = 0, nice: int = 0, priority: int = 0, runtime_ns: int = 0,
    deadline_ns: int = 0, period_ns: int = 0, util_min: int = 0, util_max: int = 0,
) -> None:  # fmt: skip
    """Set every field of struct sched_attr of a thread (0: ourselves).

    Raises OSError: EPERM without CAP_SYS_NICE for a real-time policy, a lower nice value or leaving SCHED_IDLE;
    EBUSY when the deadlines cannot all be kept; EINVAL for values that do not fit the policy; E2BIG for utilisation
    before Linux 5.3. Source: sched_setattr(2); Linux 3.14.
    """
    clamps = flags & (FLAGS["SCHED_FLAG_UTIL_CLAMP_MIN"] | FLAGS["SCHED_FLAG_UTIL_CLAMP_MAX"])
    size = 56 if clamps else 48
    attr = struct.pack("=IIQiIQQQ", size, policy, flags, nice, priority, runtime_ns, deadline_ns, period_ns)
    syscall("sched_setattr", pid, attr + struct.pack("=II", util_min, util_max), 0)


def io_priority(io_class: int, level: int) -> int:
    """Return the number that set_io_priority takes: class 0 to 3, level 0 (first) to 7. Source: ioprio_set(2)."""
    return io_class << 13 | level


def set_io_priority(priority: int, *, pid: int = 0) -> None:
    """Set the input and output priority of a thread (0: ourselves).

    Raises OSError: EPERM without CAP_SYS_NICE or CAP_SYS_ADMIN for class IOPRIO_CLASS_RT, EINVAL.
    Source: ioprio_set(2), IOPRIO_WHO_PROCESS; Linux 2.6.13.
    """
    syscall("ioprio_set", 1, pid, priority)
