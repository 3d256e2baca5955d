"""Capabilities of this process: the five sets, and what decides over them at a change of user or program.

A set is a mask of bits (caps.bit). The order for a program's start: `drop_bounding`, `keep_over_setuid` or securebits,
setgroups, setresgid, setresuid (all in os), `set_caps`, `set_ambient`, exec. Source: capabilities(7).
"""

from __future__ import annotations

import ctypes
import struct

from redpak.kernel.libc import syscall
from redpak.kernel.process import PR_CAP_AMBIENT, clear_ambient, prctl

VERSION_3 = 0x20080522
PR_SET_KEEPCAPS, PR_CAPBSET_READ, PR_CAPBSET_DROP, PR_GET_SECUREBITS, PR_SET_SECUREBITS = 8, 23, 24, 27, 28
PR_CAP_AMBIENT_RAISE = 2


def caps(pid: int = 0) -> tuple[int, int, int]:
    """Return the effective, permitted and inheritable set of a process (0: ourselves).

    Raises OSError ESRCH. Needs no right. Source: capget(2), _LINUX_CAPABILITY_VERSION_3; Linux 2.6.26.
    """
    room = ctypes.create_string_buffer(24)
    syscall("capget", struct.pack("=Ii", VERSION_3, pid), ctypes.byref(room))
    low_e, low_p, low_i, high_e, high_p, high_i = struct.unpack("=6I", room)
    return low_e | high_e << 32, low_p | high_p << 32, low_i | high_i << 32


def set_caps(effective: int, permitted: int, inheritable: int) -> None:
    """Set those three sets of ourselves.

    Raises OSError EPERM when `permitted` would grow, `effective` is not in it, or `inheritable` leaves the bounding
    set or (without CAP_SETPCAP) the old permitted and inheritable set. Source: capset(2).
    """
    sets = (effective, permitted, inheritable)
    words = [one & 0xFFFFFFFF for one in sets] + [one >> 32 for one in sets]
    syscall("capset", struct.pack("=Ii", VERSION_3, 0), struct.pack("=6I", *words))


def last_cap() -> int:
    """Return the number of the kernel's last capability. Source: PR_CAPBSET_READ(2const)."""
    low, high = 0, 63  # known, not known
    while high - low > 1:
        middle = (low + high) // 2
        try:
            prctl(PR_CAPBSET_READ, middle)
            low = middle
        except OSError:
            high = middle
    return low


def bounding() -> int:
    """Return our bounding set: what no exec of a file with capabilities can exceed."""
    return sum(1 << one for one in range(last_cap() + 1) if prctl(PR_CAPBSET_READ, one))


def drop_bounding(keep: int) -> None:
    """Take every capability that is not in `keep` out of the bounding set, for good.

    Raises OSError EPERM without CAP_SETPCAP (when there is something to drop). Source: PR_CAPBSET_DROP(2const).
    """
    for one in range(last_cap() + 1):
        if not keep >> one & 1 and prctl(PR_CAPBSET_READ, one):
            prctl(PR_CAPBSET_DROP, one)


def set_ambient(wanted: int) -> None:
    """Make the ambient set exactly `wanted`, which must be permitted and inheritable.

    Raises OSError EPERM when it is not, or SECBIT_NO_CAP_AMBIENT_RAISE is set. Source: PR_CAP_AMBIENT(2const).
    """
    clear_ambient()
    for one in range(wanted.bit_length()):
        if wanted >> one & 1:
            prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, one)


def keep_over_setuid(*, yes: bool) -> None:
    """Keep the permitted set when no id of ours stays 0. Raises OSError EPERM. Source: PR_SET_KEEPCAPS(2const)."""
    prctl(PR_SET_KEEPCAPS, int(yes))


def securebits() -> int:
    """Return how far user id 0 means capabilities here. Source: PR_GET_SECUREBITS(2const)."""
    return prctl(PR_GET_SECUREBITS)


def set_securebits(bits: int) -> None:
    """Set the securebits (linux/securebits.h). Raises OSError EPERM without CAP_SETPCAP, or for a locked bit."""
    prctl(PR_SET_SECUREBITS, bits)


def of_process(pid: int | str = "self") -> dict[str, int]:
    """Return a process's five sets by their names in /proc: CapInh, CapPrm, CapEff, CapBnd, CapAmb.

    Raises OSError as open(2). Source: proc_pid_status(5).
    """
    with open(f"/proc/{pid}/status", "rb") as file:
        return {line[:6].decode(): int(line[7:], 16) for line in file if line.startswith(b"Cap")}
