"""The springboard: executes what it is told, ends with 126 or 127, cannot be written, knows which filters stop it."""

from __future__ import annotations

import os
import struct

import pytest

from redpak.engine.native import springboard
from redpak.engine.native.box import Filter

HERE = springboard.MACHINES.get(os.uname().machine)
pytestmark = pytest.mark.skipif(HERE is None, reason="it has no code for this machine")
ARCHITECTURE, EXECVEAT = HERE[2:] if HERE else (0, 0)


def ends(*argv: str) -> int:
    """Execute the springboard in a child; return the child's exit code."""
    fd = springboard.make()
    assert fd >= 0
    pid = os.fork()
    if pid == 0:
        try:
            os.execve(fd, list(argv), {"WORD": "told"})
        finally:
            os._exit(99)
    os.close(fd)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_it_becomes_the_program_with_its_words_and_environment() -> None:
    test = '[ "$0 $1 $WORD" = "zero one told" ] && [ "$(readlink /proc/$$/exe)" != "" ] && exit 7'
    assert ends("/bin/sh", "called", "-c", test, "zero", "one") == 7


def test_what_is_not_there_is_127_and_what_cannot_be_run_126() -> None:
    assert ends("/no/such/program", "x") == 127
    assert ends("/etc/passwd", "x") == 126


@pytest.mark.parametrize("machine", springboard.MACHINES)
def test_it_is_a_program_of_its_machine_that_begins_with_its_code(machine: str) -> None:
    code, name, _, _ = springboard.MACHINES[machine]
    program = springboard.program(machine)
    assert program[:7] == b"\x7fELF\x02\x01\x01"
    kind, is_for, _, entry, table = struct.unpack_from("<HHIQQ", program, 16)  # elf(5)
    assert (kind, is_for) == (2, name)
    loads, _, at, address, _, in_file, in_memory = struct.unpack_from("<IIQQQQQ", program, table)
    assert (loads, at, in_file, in_memory) == (1, 0, len(program), len(program))
    assert program[entry - address :] == code


def test_it_cannot_be_written() -> None:
    fd = springboard.make()
    with pytest.raises(PermissionError):
        os.write(fd, b"x")
    with pytest.raises(PermissionError):
        os.ftruncate(fd, 0)
    os.close(fd)


def code(*steps: tuple[int, int, int, int]) -> Filter:
    """Return a filter of these instructions."""
    return Filter(program=b"".join(struct.pack("<HBBI", *step) for step in steps))


ALLOW, ERRNO = (0x06, 0, 0, 0x7FFF0000), (0x06, 0, 0, 0x00050001)
NUMBER, ARCH, ARGUMENT = (0x20, 0, 0, 0), (0x20, 0, 0, 4), (0x20, 0, 0, 16)


@pytest.mark.parametrize(
    ("filters", "wanted"),
    [
        ((), True),
        ((code(ALLOW),), True),
        ((code(ERRNO),), False),
        ((code(NUMBER, (0x15, 0, 1, EXECVEAT), ALLOW, ERRNO),), True),
        ((code(NUMBER, (0x15, 0, 1, EXECVEAT), ERRNO, ALLOW),), False),
        ((code(NUMBER, (0x35, 0, 1, EXECVEAT - 22), ERRNO, ALLOW),), False),
        ((code(ARCH, (0x15, 1, 0, ARCHITECTURE), ERRNO, ALLOW),), True),
        ((code(NUMBER, (0x25, 0, 1, EXECVEAT), ERRNO, ALLOW), code(ERRNO)), False),
        ((code(ARGUMENT, (0x15, 0, 0, 0), ALLOW),), False),
        ((code((0x05, 0, 0, 1), ERRNO, ALLOW),), True),
        ((code((0x87, 0, 0, 0), ALLOW),), False),
        ((code(),), False),
    ],
)
def test_a_filter_is_asked_whether_it_lets_the_springboard_through(
    filters: tuple[Filter, ...], wanted: bool
) -> None:
    assert springboard.passes(filters) is wanted
