"""Which devices a group may use: an ordered list of rules, as files of version 1 and as a program of version 2.

The meaning is the runtime specification's: rules are applied in order, a later one changes what earlier ones said,
and an access (read, write, mknod, or several at once) is granted when each part of it is. Nothing is allowed at the
start. Pure. Sources: config-linux.md "Allowed Device list"; cgroup-v1/devices.rst; linux/bpf.h (bpf_cgroup_dev_ctx).
"""

from __future__ import annotations

from redpak.record import Record

MKNOD, READ, WRITE = 1, 2, 4  # BPF_DEVCG_ACC_*
ALL = MKNOD | READ | WRITE
BLOCK, CHAR = 1, 2  # BPF_DEVCG_DEV_*
ANY = -1
_KINDS = {"a": ANY, "b": BLOCK, "c": CHAR, "u": CHAR}
_LETTERS = {BLOCK: "b", CHAR: "c"}
_ACCESS = ((READ, "r"), (WRITE, "w"), (MKNOD, "m"))


class DeviceRule(Record):
    """Allow or deny some kinds of access to the devices of a type, with numbers that may be ANY."""

    allow: bool
    kind: str = "a"  # "a", "b" or "c"; for "a" the numbers do not matter
    major: int = ANY
    minor: int = ANY
    access: int = ALL

    def __str__(self) -> str:
        return f"{'allow' if self.allow else 'deny'} {entry((_KINDS[self.kind], self.major, self.minor), self.access)}"


DEFAULTS = (
    DeviceRule(allow=True, kind="c", access=MKNOD),  # a node may be made: to use it is another thing
    DeviceRule(allow=True, kind="b", access=MKNOD),
    *(DeviceRule(allow=True, kind="c", major=1, minor=minor) for minor in (3, 5, 7, 8, 9)),
    *(DeviceRule(allow=True, kind="c", major=5, minor=minor) for minor in (0, 1, 2)),
    DeviceRule(allow=True, kind="c", major=136),
)
"""null zero full random urandom, tty console ptmx, the pseudo-terminals of devpts."""

Where = tuple[int, int, int]  # kind, major, minor


def entry(where: Where, access: int) -> str:
    """Return a rule as version 1's files have it: 'c 1:3 rwm'."""
    kind, major, minor = where
    numbers = ":".join("*" if number == ANY else str(number) for number in (major, minor))
    return f"{_LETTERS.get(kind, 'a')} {numbers} {''.join(letter for bit, letter in _ACCESS if access & bit)}"


def _split(rule: DeviceRule) -> tuple[Where, ...]:
    if rule.kind == "a":
        return (BLOCK, ANY, ANY), (CHAR, ANY, ANY)
    return ((_KINDS[rule.kind], rule.major, rule.minor),)


def _covers(outer: Where, inner: Where) -> bool:
    return outer[0] == inner[0] and outer[1] in (ANY, inner[1]) and outer[2] in (ANY, inner[2])


def _meet(one: Where, other: Where) -> bool:
    return all(ANY in (a, b) or a == b for a, b in zip(one, other, strict=True))


def allowed(rules: tuple[DeviceRule, ...], kind: int, major: int, minor: int, access: int) -> bool:
    """Tell what the rules mean for one access: the definition that both versions are tested against."""
    granted = 0
    for rule in rules:
        if any(_covers(where, (kind, major, minor)) for where in _split(rule)):
            granted = granted | rule.access if rule.allow else granted & ~rule.access
    return access & ~granted == 0


class Unsayable(ValueError):
    """Version 1 cannot express a list of rules: one thing is allowed and a part of it denied."""


def folded(rules: tuple[DeviceRule, ...]) -> tuple[bool, dict[Where, int]]:
    """Return (whether a device is allowed by default, {exception: access}), which is all that version 1 knows.

    Raises Unsayable.
    """
    default = False
    exceptions: dict[Where, int] = {}
    for rule in rules:
        if rule.access == ALL and rule.kind == "a":
            default, exceptions = rule.allow, {}
            continue
        for where in _split(rule):
            if rule.allow != default:
                exceptions[where] = exceptions.get(where, 0) | rule.access
                continue
            for other, access in list(exceptions.items()):
                if not access & rule.access or not _meet(where, other):
                    continue
                if not _covers(where, other):
                    raise Unsayable(
                        f"'{rule}' takes a part of '{entry(other, access)}' back, which version 1 cannot"
                    )
                exceptions[other] = access & ~rule.access
    exceptions = {where: access for where, access in exceptions.items() if access}
    if default:
        return default, exceptions
    # The kernel wants one entry to grant all parts of an access: give narrow ones what wide ones grant anyway. But a
    # node is never made and opened in one (linux/device_cgroup.h), and a list says what was asked for.
    for wide, access in [one for one in exceptions.items() if ANY in one[0]]:
        for where in exceptions:
            if _covers(wide, where):
                exceptions[where] |= access & ~MKNOD
    return default, exceptions


def v1_writes(rules: tuple[DeviceRule, ...], now: str | None = None) -> tuple[tuple[str, str], ...]:
    """Return (file, content) that bring version 1's devices group to `rules`. Raises Unsayable.

    `now` is what `devices.list` says: a group in use goes there without a moment in which everything is forbidden,
    where that can be done.
    """
    default, exceptions = folded(rules)
    opposite = "devices.deny" if default else "devices.allow"
    same = "devices.allow" if default else "devices.deny"
    if now is not None and not default:
        has = dict(_parsed(line) for line in now.splitlines() if line.strip())
        if all(kind != ANY for kind, _, _ in has):
            more = {where: access & ~has.get(where, 0) for where, access in exceptions.items()}
            less = {where: access & ~exceptions.get(where, 0) for where, access in has.items()}
            return (
                *(("devices.allow", entry(where, access)) for where, access in more.items() if access),
                *(("devices.deny", entry(where, access)) for where, access in less.items() if access),
            )
    return ((same, "a"), *((opposite, entry(*one)) for one in exceptions.items()))


def _parsed(line: str) -> tuple[Where, int]:
    """Return a line of `devices.list` as (kind, major, minor) and access."""
    kind, numbers, letters = line.split()
    major, _, minor = numbers.partition(":")
    found = tuple(ANY if word == "*" else int(word) for word in (major, minor))
    access = sum(bit for bit, letter in _ACCESS if letter in letters)
    return (_KINDS[kind], found[0], found[1]), access


# eBPF, of which a program for devices needs very little (linux/bpf.h; instruction-set.rst).
_LOAD_WORD, _MOVE, _RIGHT, _AND = 0x61, 0xB7, 0x77, 0x57
_MOVE_REGISTER, _JUMP_EQUAL, _JUMP_UNEQUAL, _EXIT = 0xBF, 0x15, 0x55, 0x95
_ANSWER, _CONTEXT, _WANTED, _TYPE, _MAJOR, _MINOR = 0, 1, 2, 3, 4, 5


def _instruction(code: int, target: int, source: int = 0, offset: int = 0, number: int = 0) -> bytes:
    return (
        bytes((code, target | source << 4))
        + offset.to_bytes(2, "little", signed=True)
        + (number & 0xFFFFFFFF).to_bytes(4, "little")
    )


def program(rules: tuple[DeviceRule, ...]) -> bytes:
    """Return the BPF_PROG_TYPE_CGROUP_DEVICE program for `rules`: answers 1 to allow, 0 to deny.

    Rules are looked at from the last to the first. A rule that denies a part of what is still wanted ends with no; one
    that allows takes its part off what is wanted, and nothing left is a yes.
    """
    code = [
        _instruction(_LOAD_WORD, _WANTED, _CONTEXT, 0),
        _instruction(_MOVE_REGISTER, _TYPE, _WANTED),
        _instruction(_RIGHT, _WANTED, number=16),
        _instruction(_AND, _TYPE, number=0xFFFF),
        _instruction(_LOAD_WORD, _MAJOR, _CONTEXT, 4),
        _instruction(_LOAD_WORD, _MINOR, _CONTEXT, 8),
    ]
    for rule in reversed(rules):
        if rule.allow:
            body = [
                _instruction(_AND, _WANTED, number=ALL & ~rule.access),
                _instruction(_JUMP_UNEQUAL, _WANTED, offset=2),
                _instruction(_MOVE, _ANSWER, number=1),
                _instruction(_EXIT, 0),
            ]
        else:
            body = [
                _instruction(_MOVE_REGISTER, _ANSWER, _WANTED),
                _instruction(_AND, _ANSWER, number=rule.access),
                _instruction(_JUMP_EQUAL, _ANSWER, offset=2),
                _instruction(_MOVE, _ANSWER, number=0),
                _instruction(_EXIT, 0),
            ]
        tests = []
        if rule.kind != "a":
            named = ((_TYPE, _KINDS[rule.kind]), (_MAJOR, rule.major), (_MINOR, rule.minor))
            tests = [(register, number) for register, number in named if number != ANY]
        for index, (register, number) in enumerate(tests):
            over = len(tests) - index - 1 + len(body)
            code.append(_instruction(_JUMP_UNEQUAL, register, offset=over, number=number))
        code += body
        if rule.kind == "a" and rule.access == ALL:
            break  # it decides everything: what stood before it does not matter
    code += [_instruction(_MOVE, _ANSWER, number=0), _instruction(_EXIT, 0)]
    return b"".join(code)
