"""An assembler for seccomp filters (classic BPF), without ctypes, and the numbers that they compare with.

Source: linux/filter.h, linux/seccomp.h, linux/audit.h; struct seccomp_data is {int nr; u32 arch; u64 ip; u64 args[6]}.
"""

from __future__ import annotations

import struct

RET_KILL_PROCESS = 0x80000000
RET_ERRNO = 0x00050000
RET_ALLOW = 0x7FFF0000

ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}  # AUDIT_ARCH_*
X32_BIT = 0x40000000

_LOAD, _JEQ, _JGE, _JSET, _RET = 0x20, 0x15, 0x35, 0x45, 0x06
NUMBER = 0  # offset of nr
ARCH = 4
MAX_INSTRUCTIONS = 4096


def argument(index: int) -> int:
    """Return the offset of the low 32 bits of an argument: the kernel's own tables look at no more of a command.

    Both architectures that we know are little-endian.
    """
    return 16 + 8 * index


class Program:
    """Instructions in order. Jumps are always over the next instruction, so none is ever too far."""

    def __init__(self) -> None:
        self._code: list[bytes] = []

    def _add(self, code: int, operand: int, taken: int = 0, otherwise: int = 0) -> None:
        self._code.append(struct.pack("<HBBI", code, taken, otherwise, operand))

    def load(self, offset: int) -> None:
        """Load the 32-bit word at `offset` of struct seccomp_data."""
        self._add(_LOAD, offset)

    def answer(self, action: int) -> None:
        """End with `action`."""
        self._add(_RET, action)

    def if_equal(self, value: int, action: int) -> None:
        """End with `action` when the loaded word is `value`."""
        self._add(_JEQ, value, 0, 1)
        self.answer(action)

    def unless_equal(self, value: int, action: int) -> None:
        """End with `action` when the loaded word is not `value`."""
        self._add(_JEQ, value, 1, 0)
        self.answer(action)

    def if_at_least(self, value: int, action: int) -> None:
        """End with `action` when the loaded word is `value` or more, unsigned."""
        self._add(_JGE, value, 0, 1)
        self.answer(action)

    def if_any_bit(self, mask: int, action: int) -> None:
        """End with `action` when the loaded word has a bit of `mask`."""
        self._add(_JSET, mask, 0, 1)
        self.answer(action)

    def only_for(self, value: int, inner: Program) -> None:
        """Run `inner`, which must end, when the loaded word is `value`."""
        if len(inner) > 255:
            raise ValueError("too long for a conditional jump")
        self._add(_JEQ, value, 0, len(inner))
        self._code += inner._code

    def __len__(self) -> int:
        return len(self._code)

    def assemble(self) -> bytes:
        """Return the filter as the kernel and bwrap read it: an array of struct sock_filter."""
        if len(self._code) > MAX_INSTRUCTIONS:
            raise ValueError(f"a filter has at most {MAX_INSTRUCTIONS} instructions")
        return b"".join(self._code)


def run(program: bytes, number: int, arch: int, arguments: tuple[int, ...] = ()) -> int:
    """Interpret an assembled filter for one system call and return its action (for tests and `redpak doctor`)."""
    data = struct.pack("<iIQ6Q", number, arch, 0, *(*arguments, 0, 0, 0, 0, 0, 0)[:6])
    word = at = 0
    while True:
        code, taken, otherwise, operand = struct.unpack_from("<HBBI", program, at * 8)
        at += 1
        match code:
            case 0x20:
                (word,) = struct.unpack_from("<I", data, operand)
            case 0x06:
                return int(operand)
            case 0x15:
                at += taken if word == operand else otherwise
            case 0x35:
                at += taken if word >= operand else otherwise
            case 0x45:
                at += taken if word & operand else otherwise
            case _:
                raise ValueError(f"unknown instruction {code:#x}")
