"""Let rpm install without the right to change owners: a filter that answers every chown(2) with success.

For an ordinary user whose namespace has one id only. The files then belong to that user; whom they ought to belong
to is in the rpm database, and `rpm -V` says so.
"""

from __future__ import annotations

import os

from redpak.kernel.bpf import ARCH, ARCHITECTURES, NUMBER, RET_ALLOW, RET_ERRNO, Program

# From asm/unistd_64.h and asm-generic/unistd.h: chown, fchown, lchown, fchownat; fchownat, fchown.
CALLS = {"x86_64": (92, 93, 94, 260), "aarch64": (54, 55)}
MACHINES = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}


def build(machine: str = "") -> bytes:
    """Return the filter for a machine (as uname(2) names it), b"" where its calls are not known."""
    known = MACHINES.get(machine or os.uname().machine)
    if known is None:
        return b""
    inner = Program()
    inner.load(NUMBER)
    for number in CALLS[known]:
        inner.if_equal(number, RET_ERRNO | 0)  # "failed with error 0": the call did nothing and says it did
    inner.answer(RET_ALLOW)
    program = Program()
    program.load(ARCH)
    program.only_for(ARCHITECTURES[known], inner)
    program.answer(RET_ALLOW)
    return program.assemble()
