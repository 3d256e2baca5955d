"""The last step before a program inside: a program of some forty bytes that does nothing but execute another.

Between a look at a script and its execution the sandbox can write another one, whose interpreter is /proc/self/exe:
that would be the host's Python, run with a loader of the sandbox's own, which then holds a handle on the host's file
(CVE-2019-5736). So we first become a sealed file in memory. Whatever /proc/self/exe leads to from then on belongs to
nobody. Where that cannot be done (another architecture, a filter without execveat(2), memory that may not be executed)
the caller executes directly: then only the look protects.

The program's machine code is for x86_64: execve(argv[0], argv + 1, envp), and exit code 127 for ENOENT, else 126.
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
AUDIT_ARCH_X86_64, EXECVEAT = 0xC000003E, 322
ALLOWED = (0x7FFF0000, 0x7FFC0000)  # SECCOMP_RET_ALLOW, SECCOMP_RET_LOG
LOAD, AND, RETURN, JUMP = (
    0x20,
    0x54,
    0x06,
    0x05,
)  # opcodes of classic BPF (linux/filter.h), as our filters use them
EQUAL, GREATER, NOT_LESS, ANY_BIT = 0x15, 0x25, 0x35, 0x45
CODE = bytes.fromhex(
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
BASE, HEADERS = 0x400000, 64 + 56


def program() -> bytes:
    """Return the ELF file: one header, one segment (elf(5))."""
    size = HEADERS + len(CODE)
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    head = struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, BASE + HEADERS, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, BASE, BASE, size, size, 0x1000)
    return ident + head + segment + CODE


def make() -> int:
    """Return a sealed file with the program in it, -1 where there can be none."""
    if os.uname().machine != "x86_64":
        return -1
    try:
        try:
            fd = os.memfd_create("run", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING | MFD_EXEC)
        except OSError:
            fd = os.memfd_create("run", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.write(fd, program())
        os.fchmod(fd, 0o555)
        fcntl.fcntl(fd, F_ADD_SEALS, SEALS)
    except OSError:
        return -1
    return fd


def passes(filters: tuple[Filter, ...]) -> bool:
    """Tell whether all filters let execveat(2) through, whatever its arguments are."""
    return all(_passes(one.program) for one in filters)


def _passes(code: bytes) -> bool:
    steps = list(struct.iter_unpack("<HBBI", code))
    at, word = 0, 0
    while at < len(steps):
        opcode, yes, no, value = steps[at]
        at += 1
        if opcode == LOAD:
            if value not in (0, 4):  # it looks at an argument
                return False
            word = EXECVEAT if value == 0 else AUDIT_ARCH_X86_64
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
