"""Landlock: keep a process tree from talking to processes outside it by abstract sockets and signals.

Not for file access rules: the sandbox's mounts do that.
"""

from __future__ import annotations

import errno
import os
import struct

from redpak.kernel.libc import syscall
from redpak.kernel.process import no_new_privileges

CREATE_RULESET_VERSION = 1
SCOPE_ABSTRACT_UNIX_SOCKET, SCOPE_SIGNAL = 1 << 0, 1 << 1
SCOPE_ABI = 6  # the first version of the interface that has scopes


def abi() -> int:
    """Return the version of the interface that the kernel offers, 0 when there is none or it is switched off.

    Needs no right. Source: landlock_create_ruleset(2); Linux 5.13.
    """
    try:
        return syscall("landlock_create_ruleset", None, 0, CREATE_RULESET_VERSION)
    except OSError as error:
        if error.errno in (errno.ENOSYS, errno.EOPNOTSUPP):
            return 0
        raise


def scope() -> bool:
    """Confine abstract sockets and signals of this process and its children to themselves, for good.

    False, and nothing done, where the kernel cannot (ABI below 6). Sets no_new_privs, which the call needs.
    Raises OSError: E2BIG above 16 layers. Source: landlock_restrict_self(2), landlock(7); Linux 6.12.
    """
    if abi() < SCOPE_ABI:
        return False
    asked = struct.pack(
        "=QQQ", 0, 0, SCOPE_ABSTRACT_UNIX_SOCKET | SCOPE_SIGNAL
    )  # struct landlock_ruleset_attr
    ruleset = syscall("landlock_create_ruleset", asked, len(asked), 0)
    try:
        no_new_privileges()
        syscall("landlock_restrict_self", ruleset, 0)
    finally:
        os.close(ruleset)
    return True
