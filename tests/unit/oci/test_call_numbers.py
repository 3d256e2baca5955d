"""The numbers of system calls against the headers of this machine's C library."""

from __future__ import annotations

import os
import re
import subprocess

import pytest

from redpak.kernel.libc import NUMBERS
from redpak.oci import calls_arm, calls_x86

TABLES = (calls_x86, calls_arm)
LAST_OF_6_1 = 450  # set_mempolicy_home_node; the headers are never older
LAST = 469  # file_setattr, Linux 6.17
SAME_EVERYWHERE = 424  # pidfd_send_signal, Linux 5.1: later calls have one number on every machine


def from_headers(header: str, *defines: str) -> dict[str, int]:
    """Return the numbers that a header defines."""
    source = "".join(f"#define {one}\n" for one in defines) + f"#include <{header}>\n"
    argv = ["cc", "-E", "-P", "-dM", "-x", "c", "-"]
    names = subprocess.run(argv, input=source, capture_output=True, text=True, check=True).stdout
    lines = source + "".join(
        f"@ {one} __NR_{one}\n" for one in sorted(set(re.findall(r" __NR_(\w+)", names)))
    )
    argv.remove("-dM")
    said = subprocess.run(argv, input=lines, capture_output=True, text=True, check=True).stdout
    return {
        name: int(number)
        for name, number in re.findall(r"^@ (\w+) +\(?(?:0 *\+ *)?(\d+)\)?$", said, re.MULTILINE)
    }


@pytest.mark.needs("cc")
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the headers are those of x86_64")
@pytest.mark.parametrize(
    ("column", "header", "defines"),
    [
        (0, "asm/unistd_64.h", ()),
        (1, "asm/unistd_32.h", ()),
        (2, "asm/unistd_x32.h", ("__X32_SYSCALL_BIT 0",)),
    ],
)
def test_the_table_of_x86_is_what_the_headers_say(column: int, header: str, defines: tuple[str, ...]) -> None:
    said = from_headers(header, *defines)
    assert len(said) > 340
    ours = {name: numbers[column] for name, numbers in calls_x86.CALLS.items() if numbers[column] >= 0}
    known = {name: number for name, number in said.items() if number <= LAST or number >= 512}
    assert {name: ours.get(name) for name in known} == known
    assert all(LAST_OF_6_1 < number <= LAST for name, number in ours.items() if name not in said)


@pytest.mark.needs("cc")
@pytest.mark.skipif(os.uname().machine != "aarch64", reason="the headers are those of aarch64")
def test_the_table_of_aarch64_is_what_the_headers_say() -> None:
    said = from_headers("asm/unistd.h")
    del said["arch_specific_syscall"], said["syscalls"]  # where such calls begin, and how many there are
    assert len(said) > 300
    ours = {name: numbers[0] for name, numbers in calls_arm.CALLS.items() if numbers[0] >= 0}
    known = {name: number for name, number in said.items() if number <= LAST}
    assert {name: ours.get(name) for name in known} == known
    assert all(LAST_OF_6_1 < number <= LAST for name, number in ours.items() if name not in said)


@pytest.mark.parametrize("table", TABLES, ids=["x86", "arm"])
def test_a_call_has_a_number_for_each_architecture_and_no_other_call_has_it(table: object) -> None:
    columns, calls = table.COLUMNS, table.CALLS  # type: ignore[attr-defined]
    assert all(len(numbers) == len(columns) and max(numbers) >= 0 for numbers in calls.values())
    aliases = {"arm_sync_file_range": "sync_file_range2"}
    for column in range(len(columns)):
        taken = [
            numbers[column] for name, numbers in calls.items() if name not in aliases and numbers[column] >= 0
        ]
        assert len(taken) == len(set(taken))


def test_new_calls_have_one_number_on_every_machine() -> None:
    for name in calls_x86.CALLS.keys() & calls_arm.CALLS.keys():
        numbers = {*calls_x86.CALLS[name], *calls_arm.CALLS[name]} - {-1}
        if SAME_EVERYWHERE <= min(numbers) < 512:
            assert len(numbers) == 1, name


def test_the_kernel_rooms_own_numbers_are_in_the_tables() -> None:
    calls, column = (calls_x86.CALLS, 0) if os.uname().machine == "x86_64" else (calls_arm.CALLS, 0)
    assert {name: calls[name][column] for name in NUMBERS} == NUMBERS
