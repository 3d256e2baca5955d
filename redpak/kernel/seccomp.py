"""Give the kernel a filter of system calls that bpf.py assembled."""

from __future__ import annotations

import ctypes
import errno
import struct

from redpak.kernel.libc import syscall
from redpak.kernel.process import prctl

PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 22, 2
SECCOMP_SET_MODE_FILTER, SECCOMP_GET_ACTION_AVAIL = 1, 2
FLAG_TSYNC, FLAG_LOG, FLAG_SPEC_ALLOW, FLAG_NEW_LISTENER = 1, 2, 4, 8
FLAG_TSYNC_ESRCH, FLAG_WAIT_KILLABLE_RECV = 16, 32
FLAGS = {
    "SECCOMP_FILTER_FLAG_TSYNC": FLAG_TSYNC,
    "SECCOMP_FILTER_FLAG_LOG": FLAG_LOG,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": FLAG_SPEC_ALLOW,
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV": FLAG_WAIT_KILLABLE_RECV,
}


def load(program: bytes, flags: int = 0) -> int:
    """Have the kernel judge every later system call of this process and its children by `program`, for good.

    With FLAG_NEW_LISTENER in `flags` returns the descriptor (close-on-exec) that gets the calls which the filter
    answers with RET_USER_NOTIF; 0 else. Raises OSError: EACCES without no_new_privileges or CAP_SYS_ADMIN, EINVAL for
    a bad program or a flag that the kernel does not know, EBUSY when there is a listener already, ENOMEM when all
    filters together pass 32768 instructions, ENOSYS for flags on a kernel without seccomp(2).
    Source: seccomp(2); Linux 3.17, LOG 4.14, SPEC_ALLOW 4.17, NEW_LISTENER 5.0, WAIT_KILLABLE_RECV 5.19.
    """
    code = ctypes.create_string_buffer(program, len(program))
    what = struct.pack(
        "@HP", len(program) // 8, ctypes.addressof(code)
    )  # struct sock_fprog of linux/filter.h
    if flags & FLAG_NEW_LISTENER and flags & FLAG_TSYNC:
        flags |= FLAG_TSYNC_ESRCH  # or a descriptor and a failing thread's id could not be told apart
    try:
        return syscall("seccomp", SECCOMP_SET_MODE_FILTER, flags, what)
    except OSError as error:
        if error.errno != errno.ENOSYS or flags:
            raise
    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, what)
    return 0


def available(action: int) -> bool:
    """Tell whether the kernel knows a filter's answer (bpf.RET_*). Source: seccomp(2); Linux 4.14."""
    try:
        syscall("seccomp", SECCOMP_GET_ACTION_AVAIL, 0, ctypes.byref(ctypes.c_uint32(action)))
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
            raise
        return False
    return True
