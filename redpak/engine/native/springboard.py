"""The last step before a program inside: a program of some forty bytes that does nothing but execute another.

Between a look at a script and its execution the sandbox can write another one, whose interpreter is /proc/self/exe:
that would be the host's Python, run with a loader of the sandbox's own, which then holds a handle on the host's file
(CVE-2019-5736). So we first become a sealed file in memory. Whatever /proc/self/exe leads to from then on belongs to
nobody. Where that cannot be done (another architecture, a filter without execveat(2), memory that may not be executed)
the caller executes directly: then only the look protects.

The program is machine code: execve(argv[0], argv + 1, envp), and exit code 127 for ENOENT, else 126.
"""

from __future__ import annotations

import fcntl
import os
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.engine.native.box import Filter

MFD_EXEC = 0x10  # memfd_create(2), Linux 6.3
F_ADD_SEALS, SEALS = 1033, 0x1 | 0x2 | 0x4 | 0x8  # fcntl(2): no seal, shrink, grow or write any more
ALLOWED = (0x7FFF0000, 0x7FFC0000)  # SECCOMP_RET_ALLOW, SECCOMP_RET_LOG
LOAD, AND, RETURN, JUMP = (
    0x20,
    0x54,
    0x06,
    0x05,
)  # opcodes of classic BPF (linux/filter.h), as our filters use them
EQUAL, GREATER, NOT_LESS, ANY_BIT = 0x15, 0x25, 0x35, 0x45
X86_64 = bytes.fromhex(
    "488b0424"  # mov rax, [rsp]             argc
    "488b7c2408"  # mov rdi, [rsp + 8]         argv[0]: the path
    "488d742410"  # lea rsi, [rsp + 16]        argv + 1
    "488d54c410"  # lea rdx, [rsp + 8 rax + 16]  envp
    "b83b000000"  # mov eax, 59                execve
    "0f05"  # syscall
    "bf7e000000"  # mov edi, 126
    "83f8fe"  # cmp eax, -ENOENT
    "7502"  # jne +2
    "ffc7"  # inc edi
    "b8e7000000"  # mov eax, 231               exit_group
    "0f05"  # syscall
)
AARCH64 = bytes.fromhex(
    "e90340f9"  # ldr x9, [sp]              argc
    "e00740f9"  # ldr x0, [sp, #8]          argv[0]: the path
    "e1430091"  # add x1, sp, #16           argv + 1
    "220c098b"  # add x2, x1, x9, lsl #3    envp
    "a81b80d2"  # mov x8, #221              execve
    "010000d4"  # svc #0
    "1f080031"  # cmn w0, #2                is it -ENOENT?
    "c00f8052"  # mov w0, #126
    "0014801a"  # cinc w0, w0, eq
    "c80b80d2"  # mov x8, #94               exit_group
    "010000d4"  # svc #0
)
# machine: code, elf(5)'s name for it, AUDIT_ARCH_*, the number of execveat(2)
MACHINES = {"x86_64": (X86_64, 62, 0xC000003E, 322), "aarch64": (AARCH64, 183, 0xC00000B7, 281)}
HERE = os.uname().machine  # before the program's personality changes what the kernel says
BASE, HEADERS, PAGE = 0x400000, 64 + 56, 0x10000  # the largest page that one of them has


def program(machine: str) -> bytes:
    """Return the ELF file for a machine of MACHINES: one header, one segment (elf(5))."""
    code, name, _, _ = MACHINES[machine]
    size = HEADERS + len(code)
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    head = struct.pack("<HHIQQQIHHHHHH", 2, name, 1, BASE + HEADERS, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, BASE, BASE, size, size, PAGE)
    return ident + head + segment + code


def make() -> int:
    """Return a sealed file with the program in it, -1 where there can be none."""
    if HERE not in MACHINES:
        return -1
    try:
        try:
            fd = os.memfd_create("run", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING | MFD_EXEC)
        except OSError:
            fd = os.memfd_create("run", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.write(fd, program(HERE))
        os.fchmod(fd, 0o555)
        fcntl.fcntl(fd, F_ADD_SEALS, SEALS)
    except OSError:
        return -1
    return fd


def passes(filters: tuple[Filter, ...]) -> bool:
    """Tell whether all filters let execveat(2) through here, whatever its arguments are."""
    _, _, arch, execveat = MACHINES[HERE]
    return all(_passes(one.program, arch, execveat) for one in filters)


def _passes(code: bytes, arch: int, execveat: int) -> bool:
    steps = list(struct.iter_unpack("<HBBI", code))
    at, word = 0, 0
    while at < len(steps):
        opcode, yes, no, value = steps[at]
        at += 1
        if opcode == LOAD:
            if value not in (0, 4):  # it looks at an argument
                return False
            word = execveat if value == 0 else arch
        elif opcode == AND:
            word &= value
        elif opcode == JUMP:
            at += value
        elif opcode in (EQUAL, GREATER, NOT_LESS, ANY_BIT):
            answers = {EQUAL: word == value, GREATER: word > value, NOT_LESS: word >= value}
            at += yes if answers.get(opcode, bool(word & value)) else no
        elif opcode == RETURN:
            return value in ALLOWED
        else:
            return False
    return False
