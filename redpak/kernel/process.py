"""What a process says about itself: prctl(2), personality, its session keyring, and the program that it becomes."""

from __future__ import annotations

import ctypes
import os
from errno import ENOSYS

from redpak.kernel.libc import LIBC, check, syscall

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_NAME, PR_SET_CHILD_SUBREAPER = 1, 4, 15, 36
PR_SET_NO_NEW_PRIVS, PR_GET_NO_NEW_PRIVS, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 38, 39, 47, 4
KEYCTL_JOIN_SESSION_KEYRING, KEYCTL_SETPERM, KEYCTL_DESCRIBE = 1, 5, 6
AT_EMPTY_PATH = 0x1000
F_ADD_SEALS, SEALED = 1033, 0x0F  # F_SEAL_SEAL | _SHRINK | _GROW | _WRITE

LIBC.prctl.argtypes = (ctypes.c_int,) + (ctypes.c_void_p,) * 4
LIBC.personality.argtypes = (ctypes.c_ulong,)


def prctl(option: int, a: object = 0, b: object = 0, c: object = 0, d: object = 0) -> int:
    """Call prctl(2); the functions of this room say what for. Raises OSError EINVAL, EPERM."""
    return check(LIBC.prctl(option, a, b, c, d))


def die_with_parent(signal: int) -> None:
    """Have the kernel send us `signal` when the thread that forked us ends; survives exec of an ordinary program.

    A parent that is already gone sends nothing: compare getppid afterwards. Raises OSError EINVAL for a bad signal.
    Needs no right. Source: PR_SET_PDEATHSIG(2const).
    """
    prctl(PR_SET_PDEATHSIG, signal)


def no_new_privileges() -> None:
    """Let no exec of us or our children raise rights, for good. Source: PR_SET_NO_NEW_PRIVS(2const); Linux 3.5."""
    prctl(PR_SET_NO_NEW_PRIVS, 1)


def has_no_new_privileges() -> bool:
    """Tell whether no_new_privileges is in force. Source: PR_GET_NO_NEW_PRIVS(2const); Linux 3.5."""
    return prctl(PR_GET_NO_NEW_PRIVS) == 1


def clear_ambient() -> None:
    """Empty the ambient capability set, so that an ordinary user's exec gives the program no capability.

    Needs no right. Raises OSError EINVAL before Linux 4.3. Source: PR_CAP_AMBIENT(2const).
    """
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)


def dumpable(*, yes: bool) -> None:
    """Let others of our user read our memory and /proc files; exec says yes. Source: PR_SET_DUMPABLE(2const)."""
    prctl(PR_SET_DUMPABLE, int(yes))


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent ends. Source: PR_SET_CHILD_SUBREAPER(2const); Linux 3.4."""
    prctl(PR_SET_CHILD_SUBREAPER, 1)


def rename(name: str) -> None:
    """Give this thread a name of at most 15 bytes for ps(1). Source: PR_SET_NAME(2const)."""
    prctl(PR_SET_NAME, os.fsencode(name)[:15])


def retitle(area: tuple[int, int], name: bytes) -> None:
    """Put `name` where our command line lies (proc_pid_stat(5), arg_start and arg_end), which others may read."""
    size = area[1] - area[0]
    ctypes.memmove(area[0], name[: size - 1].ljust(size, b"\0"), size)


def new_session_keyring(name: str = "") -> int:
    """Join a new session keyring and return its number: anonymous, or `name` (then one that we own may be reused).

    The caller's keys stay behind. Raises OSError: EDQUOT when the user holds too many keys, ENOSYS in a kernel
    without keyrings, EACCES when a keyring of that name does not let us join. Needs no right.
    Source: keyctl(2), KEYCTL_JOIN_SESSION_KEYRING; KEYCTL_JOIN_SESSION_KEYRING(2const).
    """
    return syscall("keyctl", KEYCTL_JOIN_SESSION_KEYRING, os.fsencode(name) if name else None)


def keyring_permissions(keyring: int, mask: int, add: int) -> None:
    """Change the permissions of a keyring that we own: those in `mask` stay, those in `add` come on top.

    A container's other users need search (0x80000 for the user that owns it). Raises OSError: EACCES without setattr
    permission, ENOKEY. Source: KEYCTL_DESCRIBE(2const), KEYCTL_SETPERM(2const).
    """
    room = ctypes.create_string_buffer(4096)
    syscall("keyctl", KEYCTL_DESCRIBE, keyring, ctypes.byref(room), len(room))
    has = int(room.value.split(b";")[3], 16)  # type;uid;gid;permissions;description
    syscall("keyctl", KEYCTL_SETPERM, keyring, has & mask | add)


def personality(persona: int) -> int:
    """Set the execution domain (PER_LINUX32 8, …), return the former. Raises OSError EINVAL. Source: personality(2)."""
    return check(LIBC.personality(persona))


def sealed_copy(name: str, content: bytes) -> int:
    """Return a descriptor, close-on-exec, of a file in memory with `content` that nobody can ever change.

    Its position is 0. Raises OSError ENOMEM. Source: memfd_create(2), F_ADD_SEALS(2const); Linux 3.17.
    """
    fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(fd, view) :]
        os.lseek(fd, 0, os.SEEK_SET)
        check(LIBC.fcntl(fd, F_ADD_SEALS, SEALED))
    except BaseException:
        os.close(fd)
        raise
    return fd


def execute(fd: int, argv: list[str], environ: list[str]) -> None:
    """Become the program whose file is open as `fd` (O_PATH is enough), which may be close-on-exec.

    `environ`: "KEY=value". A script needs `fd` open afterwards, so not close-on-exec, and /proc. Returns only by
    raising OSError: ENOENT for a script whose `fd` is close-on-exec, EACCES, ENOEXEC, E2BIG, ETXTBSY, as execve(2).
    Source: execveat(2), AT_EMPTY_PATH; Linux 3.19. Falls back to execve(2) of /proc/self/fd.
    """
    words, variables = (
        (ctypes.c_char_p * (len(one) + 1))(*map(os.fsencode, one), None) for one in (argv, environ)
    )
    try:
        syscall("execveat", fd, b"", ctypes.byref(words), ctypes.byref(variables), AT_EMPTY_PATH)
    except OSError as error:
        if error.errno != ENOSYS:
            raise
    os.execve(f"/proc/self/fd/{fd}", argv, dict(one.partition("=")[::2] for one in environ))
