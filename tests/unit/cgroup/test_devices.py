"""Device rules mean the same as an ordered list, as version 1's files, and as version 2's program."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from redpak.cgroup import devices
from redpak.cgroup.devices import ALL, ANY, BLOCK, CHAR, MKNOD, READ, WRITE, DeviceRule

DENY = DeviceRule(allow=False)
numbers = st.sampled_from((ANY, 0, 1, 5))
rules = st.lists(
    st.builds(
        DeviceRule,
        allow=st.booleans(),
        kind=st.sampled_from("abc"),
        major=numbers,
        minor=numbers,
        access=st.integers(1, ALL),
    ),
    max_size=6,
).map(tuple)
accesses = st.tuples(
    st.sampled_from((BLOCK, CHAR)),
    st.sampled_from((0, 1, 5, 7)),
    st.sampled_from((0, 1, 5, 7)),
    st.integers(1, ALL),
)


def version_1(writes: tuple[tuple[str, str], ...], kind: int, major: int, minor: int, access: int) -> bool:
    """Answer as the kernel's devices group does after these writes (security/device_cgroup.c)."""
    default, listed = True, dict[str, int]()
    for file, line in writes:
        allow = file == "devices.allow"
        if line == "a":
            default, listed = allow, {}
            continue
        name, mask = devices._parsed(line)
        key = str(name)
        listed[key] = listed.get(key, 0) | mask if allow != default else listed.get(key, 0) & ~mask
    for key, mask in listed.items():
        its_kind, its_major, its_minor = map(int, key.strip("()").split(","))
        if its_kind == kind and its_major in (ANY, major) and its_minor in (ANY, minor):
            if default and access & mask:
                return False
            if not default and access & ~mask == 0:
                return True
    return default


@given(rules, accesses)
def test_the_program_of_version_2_answers_as_the_list_does(
    given_rules: tuple[DeviceRule, ...], asked: tuple[int, int, int, int]
) -> None:
    assert run_64(devices.program(given_rules), *asked) == devices.allowed(given_rules, *asked)


@given(rules, accesses)
def test_the_files_of_version_1_never_allow_more_than_the_list(
    given_rules: tuple[DeviceRule, ...], asked: tuple[int, int, int, int]
) -> None:
    try:
        writes = devices.v1_writes(given_rules)
    except devices.Unsayable:
        assume(False)
    if version_1(writes, *asked):
        assert devices.allowed(given_rules, *asked)
    _, exceptions = devices.folded(given_rules)
    if devices.allowed(given_rules, *asked) and len(exceptions) <= 1:
        assert version_1(writes, *asked)


def run_64(program: bytes, kind: int, major: int, minor: int, access: int) -> bool:
    """Interpret a program: the instructions that `devices` makes, 64 bits wide (instruction-set.rst)."""
    context = {0: access << 16 | kind, 4: major, 8: minor}
    registers = [0] * 11
    at = 0
    while True:
        code, both = program[at * 8], program[at * 8 + 1]
        offset = int.from_bytes(program[at * 8 + 2 : at * 8 + 4], "little", signed=True)
        number = int.from_bytes(program[at * 8 + 4 : at * 8 + 8], "little", signed=True)
        to, source = both & 15, both >> 4
        at += 1
        match code:
            case 0x61:
                registers[to] = context[offset]
            case 0xB7:
                registers[to] = number
            case 0xBF:
                registers[to] = registers[source]
            case 0x57:
                registers[to] &= number
            case 0x77:
                registers[to] >>= number
            case 0x15:
                at += offset if registers[to] == number else 0
            case 0x55:
                at += offset if registers[to] != number else 0
            case 0x95:
                return registers[0] == 1
            case _:
                raise AssertionError(f"unknown instruction {code:#x}")


def test_a_containers_usual_list_is_one_denial_and_its_exceptions() -> None:
    writes = devices.v1_writes((DENY, *devices.DEFAULTS))
    assert writes[0] == ("devices.deny", "a")
    assert {line for _, line in writes[1:]} == {
        "c *:* m", "b *:* m", "c 1:3 rwm", "c 1:5 rwm", "c 1:7 rwm", "c 1:8 rwm", "c 1:9 rwm",
        "c 5:0 rwm", "c 5:1 rwm", "c 5:2 rwm", "c 136:* rwm",
    }  # fmt: skip


def test_everything_allowed_at_last_is_everything() -> None:
    every = (DENY, DeviceRule(allow=True))
    assert devices.v1_writes(every) == (("devices.allow", "a"),)
    assert devices.allowed(every, BLOCK, 8, 0, ALL)


def test_a_part_of_what_was_allowed_cannot_be_taken_back_on_version_1() -> None:
    listed = (DENY, DeviceRule(allow=True, kind="c"), DeviceRule(allow=False, kind="c", major=1, minor=5))
    with pytest.raises(devices.Unsayable, match="deny c 1:5 rwm"):
        devices.v1_writes(listed)
    assert not devices.allowed(listed, CHAR, 1, 5, READ)
    assert devices.allowed(listed, CHAR, 1, 3, READ | WRITE)


def test_a_group_in_use_goes_from_list_to_list_without_forbidding_everything_between() -> None:
    listed = "c 1:3 rwm\nc 1:5 rw\nb *:* m\n"
    wanted = (
        DENY,
        DeviceRule(allow=True, kind="c", major=1, minor=3, access=READ),
        DeviceRule(allow=True, kind="c", major=1, minor=7),
        DeviceRule(allow=True, kind="b", access=MKNOD),
    )
    assert set(devices.v1_writes(wanted, listed)) == {
        ("devices.allow", "c 1:7 rwm"),
        ("devices.deny", "c 1:3 wm"),
        ("devices.deny", "c 1:5 rw"),
    }
    assert devices.v1_writes(wanted, "a *:* rwm\n")[0] == ("devices.deny", "a")
