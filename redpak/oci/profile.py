"""redpak's own system call filter (redpak.engine.seccomp) as a seccomp section, so that other runtimes apply it too.

What such a section cannot say: that calls which came after the newest one known are not there (ENOSYS). x32 calls,
which our filter answers with ENOSYS, end the process there: x32 is not listed.
"""

from __future__ import annotations

import os

from redpak.engine import seccomp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LOW = 0xFFFFFFFF  # the kernel looks at no more of these arguments
ARCHITECTURES = {"x86_64": "SCMP_ARCH_X86_64", "aarch64": "SCMP_ARCH_AARCH64"}


def section(
    kept: tuple[str, ...], *, no_sockets: tuple[int, ...] = (), machine: str = ""
) -> dict[str, Any] | None:
    """Return the section for a program that keeps the capabilities `kept`; None where there is no filter.

    `no_sockets` are address families that it can make no socket of, `machine` a name as uname(2) has it.
    """
    machine = machine or os.uname().machine
    if not seccomp.supported(machine):
        return None
    word = ARCHITECTURES[seccomp.MACHINES[machine]]
    have = frozenset(kept)
    refused = [name for name, (*_, opens) in seccomp.CALLS.items() if not seccomp.opened(opens, have)]
    absent = [name for name, (_, opens) in seccomp.NEWER.items() if not seccomp.opened(opens, have)]
    rules = [_errno(refused, seccomp.EPERM), _errno(absent, seccomp.ENOSYS)]
    for request in (seccomp.TIOCSTI, seccomp.TIOCLINUX):
        rules.append(_errno(["ioctl"], seccomp.EPERM, 1, LOW, request))
    rules.append(_errno(["clone"], seccomp.EPERM, 0, seccomp.CLONE_NEWUSER, seccomp.CLONE_NEWUSER))
    # Only 0 (a plain process) and 0xffffffff (asking) pass: in all other words two neighbouring bits differ.
    for bit in range(31):
        for low in (1, 2):
            rules.append(_errno(["personality"], seccomp.EPERM, 0, 3 << bit, low << bit))
    for family in no_sockets:
        rules.append(_errno(["socket"], seccomp.EPERM, 0, LOW, family))
    return {"defaultAction": "SCMP_ACT_ALLOW", "architectures": [word], "syscalls": rules}


def _errno(names: list[str], errno: int, index: int = -1, mask: int = 0, value: int = 0) -> dict[str, Any]:
    rule: dict[str, Any] = {"names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": errno}
    if index >= 0:
        rule["args"] = [{"index": index, "value": mask, "valueTwo": value, "op": "SCMP_CMP_MASKED_EQ"}]
    return rule
