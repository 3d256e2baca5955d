"""An assembler for seccomp filters (classic BPF), without ctypes, and the numbers that they compare with.

    rules.when((Condition(1, "==", 0x5412),), RET_ERRNO | 1)                # each a Program
    rules.answer(RET_ALLOW)
    inner.load(NUMBER)
    inner.by_number({0: RET_ALLOW, 16: rules}, RET_ERRNO | 1, beyond=((X32_BIT, RET_KILL_PROCESS),))
    outer.load(ARCH)
    outer.only_for(ARCHITECTURES["x86_64"], inner)
    outer.answer(RET_KILL_PROCESS)
    outer.assemble()

Source: linux/filter.h, linux/seccomp.h, linux/audit.h; struct seccomp_data is {int nr; u32 arch; u64 ip; u64 args[6]},
and every architecture that we know is little-endian.
"""

from __future__ import annotations

import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

RET_KILL_PROCESS, RET_KILL_THREAD, RET_ALLOW, RET_LOG = 0x80000000, 0x00000000, 0x7FFF0000, 0x7FFC0000
RET_TRAP, RET_ERRNO, RET_TRACE = 0x00030000, 0x00050000, 0x7FF00000  # | 16 bits of data, the errno
RET_USER_NOTIF = 0x7FC00000

# AUDIT_ARCH_*; x32 calls come as x86_64 with X32_BIT in their number.
ARCHITECTURES = {"x86_64": 0xC000003E, "x86": 0x40000003, "aarch64": 0xC00000B7, "arm": 0x40000028}
X32_BIT = 0x40000000

_LOAD, _AND, _JA, _JEQ, _JGT, _JGE, _JSET, _RET = 0x20, 0x54, 0x05, 0x15, 0x25, 0x35, 0x45, 0x06
NUMBER, ARCH = 0, 4  # offsets
MAX_INSTRUCTIONS = 4096
_LOW = 0xFFFFFFFF
_instruction = struct.Struct("<HBBI").pack


def argument(index: int) -> int:
    """Return the offset of the low 32 bits of an argument: the kernel's own tables look at no more of a command."""
    return 16 + 8 * index


class Condition:
    """argument `index` (0 to 5) `op` `value`, unsigned, 64 bits: "==" "!=" "<" "<=" ">" ">=".

    "&=": the argument's bits in `mask` are `value`.
    """

    __slots__ = ("index", "mask", "op", "value")

    def __init__(self, index: int, op: str, value: int, mask: int = (1 << 64) - 1) -> None:
        if not (0 <= index < 6 and op in ("==", "!=", "<", "<=", ">", ">=", "&=")):
            raise ValueError(f"no condition: argument {index} '{op}'")
        self.index, self.op, self.value, self.mask = index, op, value, mask


class Program:
    """Instructions in order. Every piece is laid out so that no jump of a condition is too far."""

    def __init__(self) -> None:
        self._code: list[bytes] = []

    def _add(self, code: int, operand: int, taken: int = 0, otherwise: int = 0) -> None:
        self._code.append(_instruction(code, taken, otherwise, operand))

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
            self._add(_JEQ, value, 1, 0)
            self._add(_JA, len(inner))
        else:
            self._add(_JEQ, value, 0, len(inner))
        self._code += inner._code

    def when(self, conditions: Iterable[Condition], action: int, *, wide: bool = True) -> None:
        """End with `action` when all conditions hold; afterwards another word is loaded.

        `wide`: the architecture has arguments of 64 bits; else only the low 32 of both sides count.
        """
        steps = [one for condition in conditions for one in _steps(condition, wide=wide)]
        end = len(steps) + 1  # behind the answer
        for at, (code, operand, taken, otherwise) in enumerate(steps):
            self._add(
                code, operand, *(end - at - 1 if jump == _FAIL else jump for jump in (taken, otherwise))
            )
        self.answer(action)

    def by_number(
        self, choices: Mapping[int, int | Program], otherwise: int, *, beyond: Iterable[tuple[int, int]] = ()
    ) -> None:
        """End as `choices` says for the loaded number, found by halving; `otherwise` is for all other numbers.

        A choice is an answer, or a program that ends. `beyond`: (first, action) pairs, ascending, each
        the `otherwise` from number `first` on.
        """
        default = [*reversed((*beyond,)), (0, otherwise)]
        starts: dict[int, int | Program] = dict(default)  # from a number on, up to the next one
        for number in choices:
            if number + 1 not in choices and number < _LOW:
                starts[number + 1] = next(action for first, action in default if first <= number + 1)
        starts.update(choices)
        spans: list[tuple[int, list[bytes]]] = []
        for number in sorted(starts):
            leaf = starts[number]
            code = [_instruction(_RET, 0, 0, leaf)] if isinstance(leaf, int) else leaf._code
            if not spans or spans[-1][1] != code:
                spans.append((number, code))
        self._code += _halved(spans)

    def __len__(self) -> int:
        return len(self._code)

    def assemble(self) -> bytes:
        """Return the filter as the kernel and bwrap read it: an array of struct sock_filter."""
        if len(self._code) > MAX_INSTRUCTIONS:
            raise ValueError(f"a filter has at most {MAX_INSTRUCTIONS} instructions")
        return b"".join(self._code)


def _halved(spans: list[tuple[int, list[bytes]]]) -> list[bytes]:
    if len(spans) == 1:
        return spans[0][1]
    middle = len(spans) // 2
    low, high = _halved(spans[:middle]), _halved(spans[middle:])
    if len(low) > 255:
        head = [_instruction(_JGE, 0, 1, spans[middle][0]), _instruction(_JA, 0, 0, len(low))]
    else:
        head = [_instruction(_JGE, len(low), 0, spans[middle][0])]
    return head + low + high


_FAIL = -1  # a jump to where the conditions are known not to hold


def _steps(one: Condition, *, wide: bool) -> list[tuple[int, int, int, int]]:
    """Return (code, operand, jump if so, jump if not) of one condition; it falls off its end when it holds."""
    at = argument(one.index)
    low, high = one.value & _LOW, one.value >> 32 & _LOW
    fails = one.op in ("!=", "<", "<=")  # the comparison of the low words must not be so
    code = {"==": _JEQ, "&=": _JEQ, "!=": _JEQ, "<": _JGE, ">=": _JGE, "<=": _JGT, ">": _JGT}[one.op]
    last = [(_LOAD, at, 0, 0), (code, low, _FAIL, 0) if fails else (code, low, 0, _FAIL)]
    if one.op == "&=":
        last.insert(1, (_AND, one.mask & _LOW, 0, 0))
    if not wide:
        return last
    first = [(_LOAD, at + 4, 0, 0)]
    match one.op:
        case "==":
            return [*first, (_JEQ, high, 0, _FAIL), *last]
        case "&=":
            return [*first, (_AND, one.mask >> 32 & _LOW, 0, 0), (_JEQ, high, 0, _FAIL), *last]
        case "!=":
            return [*first, (_JEQ, high, 0, len(last)), *last]
        case "<" | "<=":
            return [*first, (_JGT, high, _FAIL, 0), (_JEQ, high, 0, len(last)), *last]
        case _:
            return [*first, (_JGT, high, len(last) + 1, 0), (_JEQ, high, 0, _FAIL), *last]


def run(program: bytes, number: int, arch: int, arguments: tuple[int, ...] = ()) -> int:
    """Interpret an assembled filter for one system call and return its action (for tests and `redpak doctor`)."""
    data = struct.pack("<IIQ6Q", number & _LOW, arch, 0, *(*arguments, 0, 0, 0, 0, 0, 0)[:6])
    word = at = 0
    while True:
        code, taken, otherwise, operand = struct.unpack_from("<HBBI", program, at * 8)
        at += 1
        match code:
            case 0x20:
                (word,) = struct.unpack_from("<I", data, operand)
            case 0x06:
                return int(operand)
            case 0x05:
                at += operand
            case 0x54:
                word &= operand
            case 0x15:
                at += taken if word == operand else otherwise
            case 0x25:
                at += taken if word > operand else otherwise
            case 0x35:
                at += taken if word >= operand else otherwise
            case 0x45:
                at += taken if word & operand else otherwise
            case _:
                raise ValueError(f"unknown instruction {code:#x}")
