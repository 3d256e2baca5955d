"""What a process says about itself: prctl(2), and its session keyring."""

from __future__ import annotations

import ctypes

from redpak.kernel.libc import LIBC, check, syscall

PR_SET_PDEATHSIG = 1
PR_SET_SECCOMP = 22
PR_SET_NO_NEW_PRIVS = 38
PR_GET_NO_NEW_PRIVS = 39
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4
KEYCTL_JOIN_SESSION_KEYRING = 1
SECCOMP_MODE_FILTER = 2


def _prctl(option: int, *arguments: int) -> int:
    given = [ctypes.c_ulong(one) for one in (*arguments, 0, 0, 0, 0)[:4]]
    return check(int(LIBC.prctl(ctypes.c_int(option), *given)))


def die_with_parent(signal: int) -> None:
    """Have the kernel send us `signal` when the thread that forked us ends; survives exec of an ordinary program.

    A parent that is already gone sends nothing: compare getppid afterwards. Raises OSError EINVAL for a bad signal.
    Needs no right. Source: PR_SET_PDEATHSIG(2const).
    """
    _prctl(PR_SET_PDEATHSIG, signal)


def no_new_privileges() -> None:
    """Let no exec of this process or its children ever raise its rights (set-uid, file capabilities).

    Cannot be undone. Needs no right. Source: PR_SET_NO_NEW_PRIVS(2const); Linux 3.5.
    """
    _prctl(PR_SET_NO_NEW_PRIVS, 1)


def has_no_new_privileges() -> bool:
    """Tell whether no_new_privileges is in force. Source: PR_GET_NO_NEW_PRIVS(2const); Linux 3.5."""
    return _prctl(PR_GET_NO_NEW_PRIVS) == 1


class _Program(ctypes.Structure):
    """struct sock_fprog of linux/filter.h."""

    _fields_ = (("count", ctypes.c_ushort), ("code", ctypes.c_char_p))


def filter_calls(program: bytes) -> None:
    """Have the kernel judge every later system call of this process and its children by an assembled filter (bpf.py).

    Cannot be undone. Raises OSError: EACCES without no_new_privileges or CAP_SYS_ADMIN, EINVAL for a bad program.
    Source: PR_SET_SECCOMP(2const), SECCOMP_MODE_FILTER; Linux 3.5.
    """
    what = _Program(len(program) // 8, program)
    check(
        int(
            LIBC.prctl(
                ctypes.c_int(PR_SET_SECCOMP),
                ctypes.c_ulong(SECCOMP_MODE_FILTER),
                ctypes.byref(what),
                ctypes.c_ulong(0),
                ctypes.c_ulong(0),
            )
        )
    )


def clear_ambient() -> None:
    """Empty the ambient capability set, so that an ordinary user's exec gives the program no capability.

    Needs no right. Raises OSError EINVAL before Linux 4.3. Source: PR_CAP_AMBIENT(2const).
    """
    _prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)


def new_session_keyring() -> None:
    """Join a new, empty, anonymous session keyring: the caller's keys stay behind.

    Raises OSError: EDQUOT when the user holds too many keys, ENOSYS in a kernel without keyrings. Needs no right.
    Source: keyctl(2), KEYCTL_JOIN_SESSION_KEYRING with a null name.
    """
    syscall("keyctl", KEYCTL_JOIN_SESSION_KEYRING, None)
