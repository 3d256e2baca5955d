"""The assembler for filters against the definition of what was asked, through the interpreter."""

from __future__ import annotations

import operator
import os
import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from redpak.kernel import bpf, process, seccomp
from redpak.kernel.bpf import RET_ALLOW, RET_ERRNO, RET_KILL_PROCESS, RET_LOG, Condition, Program

MEANING = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
# numbers whose halves are equal, off by one and at their ends
HALF = st.sampled_from((0, 1, 2, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF))
WORD = st.builds(lambda high, low: high << 32 | low, HALF, HALF)
ACTION = st.sampled_from((RET_ALLOW, RET_KILL_PROCESS, RET_LOG, RET_ERRNO | 1, RET_ERRNO | 38))


def holds(condition: Condition, value: int, *, wide: bool = True) -> bool:
    """Say what a condition means."""
    cut = (1 << (64 if wide else 32)) - 1
    if condition.op == "&=":
        return value & condition.mask & cut == condition.value & cut
    return bool(MEANING[condition.op](value & cut, condition.value & cut))


@st.composite
def conditions(draw: st.DrawFn) -> Condition:
    op = draw(st.sampled_from((*MEANING, "&=")))
    mask = draw(WORD)
    value = draw(WORD)
    return Condition(draw(st.integers(0, 5)), op, value & mask if op == "&=" else value, mask)


@given(st.lists(conditions(), max_size=6), st.tuples(*[WORD] * 6), st.booleans())
@example([Condition(2, "<=", 5)], (0, 0, 5, 0, 0, 0), True)
def test_conditions_are_compared_as_64_bits_without_a_sign(
    wanted: list[Condition], arguments: tuple[int, ...], wide: bool
) -> None:
    program = Program()
    program.when(wanted, RET_ALLOW, wide=wide)
    program.answer(RET_LOG)
    expected = all(holds(one, arguments[one.index], wide=wide) for one in wanted)
    assert bpf.run(program.assemble(), 0, 0, arguments) == (RET_ALLOW if expected else RET_LOG)


@given(st.lists(st.tuples(st.lists(conditions(), max_size=4), ACTION), max_size=6), st.tuples(*[WORD] * 6))
def test_the_first_rule_that_fits_answers(
    rules: list[tuple[list[Condition], int]], arguments: tuple[int, ...]
) -> None:
    program = Program()
    for wanted, action in rules:
        program.when(wanted, action)
    program.answer(RET_ERRNO)
    fitting = (action for wanted, action in rules if all(holds(one, arguments[one.index]) for one in wanted))
    assert bpf.run(program.assemble(), 0, 0, arguments) == next(fitting, RET_ERRNO)


NUMBERS = st.integers(0, 40) | st.integers(bpf.X32_BIT - 2, bpf.X32_BIT + 9) | st.just(0xFFFFFFFF)


@given(
    st.dictionaries(NUMBERS, ACTION, max_size=30),
    ACTION,
    st.lists(
        st.tuples(st.integers(1, 50) | st.just(bpf.X32_BIT), ACTION), max_size=3, unique_by=lambda one: one[0]
    ),
)
def test_every_number_has_its_own_answer(
    choices: dict[int, int], otherwise: int, beyond: list[tuple[int, int]]
) -> None:
    beyond.sort()
    program = Program()
    program.load(bpf.NUMBER)
    program.by_number(choices, otherwise, beyond=beyond)
    code = program.assemble()
    for number in (*range(55), *range(bpf.X32_BIT - 5, bpf.X32_BIT + 15), 0x7FFFFFFF, 0xFFFFFFFF):
        default = [otherwise, *(action for first, action in beyond if first <= number)][-1]
        assert bpf.run(code, number, 0) == choices.get(number, default)


def test_far_leaves_are_reached() -> None:
    def rules(answer: int) -> Program:
        one = Program()
        for value in range(40):
            one.when((Condition(0, "==", value), Condition(1, ">", 1 << 40)), RET_ERRNO | answer)
        one.answer(RET_ALLOW)
        return one

    inner = Program()
    inner.load(bpf.NUMBER)
    inner.by_number({number: rules(number) for number in range(1, 9)}, RET_KILL_PROCESS)
    assert len(inner) > 2000
    outer = Program()
    outer.load(bpf.ARCH)
    outer.only_for(7, inner)
    outer.only_for(8, rules(99))
    outer.answer(RET_LOG)
    code = outer.assemble()
    for number in range(1, 9):
        assert bpf.run(code, number, 7, (39, 1 << 41)) == RET_ERRNO | number
        assert bpf.run(code, number, 7, (39, 1 << 40)) == RET_ALLOW
    assert bpf.run(code, 9, 7) == RET_KILL_PROCESS
    assert bpf.run(code, 0, 8, (3, 1 << 50)) == RET_ERRNO | 99
    assert bpf.run(code, 0, 9) == RET_LOG


def test_calls_that_share_an_answer_share_a_comparison() -> None:
    program = Program()
    program.by_number(dict.fromkeys(range(400), RET_ALLOW), RET_ERRNO)
    assert len(program) == 3


@pytest.mark.parametrize("wrong", [(6, "=="), (-1, "=="), (0, "~"), (0, "=")])
def test_a_condition_that_means_nothing_is_refused(wrong: tuple[int, str]) -> None:
    with pytest.raises(ValueError, match="no condition"):
        Condition(*wrong, 0)


def test_the_kernel_takes_what_was_assembled() -> None:
    rules = Program()
    for op in (*MEANING, "&="):
        rules.when((Condition(0, op, 1 << 40 | 7, 7), Condition(5, op, 3)), RET_ERRNO | 1)
    rules.answer(RET_ALLOW)
    program = Program()
    program.load(bpf.NUMBER)
    program.by_number({100000 + 2 * number: rules for number in range(30)}, RET_ALLOW)
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            process.no_new_privileges()
            code = seccomp.load(program.assemble())
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_what_the_interpreter_does_not_know_it_says() -> None:
    with pytest.raises(ValueError, match="unknown instruction"):
        bpf.run(struct.pack("<HBBI", 0x94, 0, 0, 0), 0, 0)
