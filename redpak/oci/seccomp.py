"""The `seccomp` section of a configuration, compiled to a filter (config-linux.md, Seccomp).

    {"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86_64"],
     "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW",
                   "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]}]}

* A call's rules count in the order in which they are written; one without arguments counts before all that have some.
  All arguments of a rule must fit, unless one index is there twice: then each is a rule of its own, as runc has it.
* A name that no architecture has is ignored, so that a profile can name calls of newer kernels. Where the rest is
  answered with EPERM, a call beyond the last that the profile names is answered with ENOSYS: libraries then take an
  older call, where EPERM would make them fail.
* The calls of an architecture that is not listed end the process. This machine's own is always listed.

The numbers of a filter are found by halving: about ten comparisons a system call.
"""

from __future__ import annotations

import os

from redpak.engine.native.box import Filter
from redpak.kernel.bpf import (
    ARCH,
    NUMBER,
    RET_ALLOW,
    RET_ERRNO,
    RET_KILL_PROCESS,
    RET_KILL_THREAD,
    RET_LOG,
    RET_TRACE,
    RET_TRAP,
    RET_USER_NOTIF,
    X32_BIT,
    Condition,
    Program,
)
from redpak.kernel.bpf import (
    ARCHITECTURES as AUDIT,
)
from redpak.oci.parts import U64, Part

TYPE_CHECKING = False
if TYPE_CHECKING:
    Rule = tuple[list[str], list[tuple[Condition, ...]], int]  # names, alternatives, answer
    Chain = list[tuple[tuple[Condition, ...], int]]  # (conditions, answer) in order

EPERM, ENOSYS = 1, 38
# seccomp(2), linux/seccomp.h
ACTIONS = {
    "SCMP_ACT_ALLOW": RET_ALLOW,
    "SCMP_ACT_ERRNO": RET_ERRNO,
    "SCMP_ACT_KILL": RET_KILL_THREAD,
    "SCMP_ACT_KILL_PROCESS": RET_KILL_PROCESS,
    "SCMP_ACT_KILL_THREAD": RET_KILL_THREAD,
    "SCMP_ACT_LOG": RET_LOG,
    "SCMP_ACT_NOTIFY": RET_USER_NOTIF,
    "SCMP_ACT_TRACE": RET_TRACE,
    "SCMP_ACT_TRAP": RET_TRAP,
}
WITH_NUMBER = {"SCMP_ACT_ERRNO": 4095, "SCMP_ACT_TRACE": 0xFFFF}
OPERATORS = {
    "SCMP_CMP_EQ": "==",
    "SCMP_CMP_GE": ">=",
    "SCMP_CMP_GT": ">",
    "SCMP_CMP_LE": "<=",
    "SCMP_CMP_LT": "<",
    "SCMP_CMP_MASKED_EQ": "&=",
    "SCMP_CMP_NE": "!=",
}
FLAGS = {
    "SECCOMP_FILTER_FLAG_TSYNC": 1,
    "SECCOMP_FILTER_FLAG_LOG": 2,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": 4,
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV": 32,
}
WAIT_KILLABLE = 32
# Architectures that we can compile for: AUDIT_ARCH_* (linux/audit.h), and whether arguments have 64 bits.
ARCHITECTURES = {
    "SCMP_ARCH_X86_64": (AUDIT["x86_64"], True),
    "SCMP_ARCH_X86": (AUDIT["x86"], False),
    "SCMP_ARCH_X32": (AUDIT["x86_64"], True),  # a bit in the numbers of x86_64
    "SCMP_ARCH_AARCH64": (AUDIT["aarch64"], True),
    "SCMP_ARCH_ARM": (AUDIT["arm"], False),
}
# Others that profiles list: no program of theirs can run on a machine that we compile for.
FOREIGN = frozenset(
    "SCMP_ARCH_" + name
    for name in (
        "LOONGARCH64", "M68K", "MIPS", "MIPS64", "MIPS64N32", "MIPSEL", "MIPSEL64", "MIPSEL64N32", "PARISC",
        "PARISC64", "PPC", "PPC64", "PPC64LE", "RISCV64", "S390", "S390X", "SH", "SHEB",
    )
)  # fmt: skip
MACHINES = {
    "x86_64": "SCMP_ARCH_X86_64",
    "amd64": "SCMP_ARCH_X86_64",
    "aarch64": "SCMP_ARCH_AARCH64",
    "arm64": "SCMP_ARCH_AARCH64",
}
# Calls that x86 also has behind one number, which takes what is meant as its first argument (socketcall(2), ipc(2)).
BEHIND = {
    "socketcall": (
        "socket", "bind", "connect", "listen", "accept", "getsockname", "getpeername", "socketpair", "send",
        "recv", "sendto", "recvfrom", "shutdown", "setsockopt", "getsockopt", "sendmsg", "recvmsg", "accept4",
        "recvmmsg", "sendmmsg",
    ),
    "ipc": (
        "semop", "semget", "semctl", "semtimedop", "", "", "", "", "", "", "msgsnd", "msgrcv", "msgget",
        "msgctl", "", "", "", "", "", "", "shmat", "shmdt", "shmget", "shmctl",
    ),
}  # fmt: skip
NONE = -1  # in the tables: no such call
X86_COLUMN = 1
BEHIND_MASK = 0xFFFF  # the version is above it (ipc(2))
NO_CALL = 0xFFFFFFFF  # what a tracer puts in to have a call left out
MAX_METADATA_BYTES = 1 << 16


def read(part: Part, machine: str = "") -> Filter | None:
    """Return the filter that `part` ("linux.seccomp") describes; None if it has faults, which are noted there.

    `machine` is the one to compile for, as uname(2) has it; "" is this one.
    """
    before = len(part.faults.found)
    default = _action(part, "defaultAction", "defaultErrnoRet")
    if default == RET_USER_NOTIF:
        part.bad(
            "defaultAction", "'SCMP_ACT_NOTIFY' cannot be for every call: the listener needs some itself"
        )
    machine = machine or os.uname().machine
    if machine not in MACHINES:
        part.bad("architectures", f"there is no table of system calls for '{machine}'")
        return None
    names = _architectures(part, MACHINES[machine])
    flags = 0
    for number, word in enumerate(part.texts("flags")):
        if word in FLAGS:
            flags |= FLAGS[word]
        else:
            part.bad(f"flags[{number}]", f"'{word}' is none of {', '.join(FLAGS)}")
    rules, notifies = _rules(part)
    listener, metadata = part.path_text("listenerPath"), part.text("listenerMetadata")
    if notifies and not listener:
        part.bad("listenerPath", "is missing: 'SCMP_ACT_NOTIFY' has nobody to notify")
    if metadata and not listener:
        part.bad("listenerMetadata", "is there without 'listenerPath'")
    if len(metadata) > MAX_METADATA_BYTES:
        part.bad("listenerMetadata", f"is longer than {MAX_METADATA_BYTES} bytes")
    if flags & WAIT_KILLABLE and not notifies:
        flags &= ~WAIT_KILLABLE  # the kernel takes it only with a listener
    if len(part.faults.found) != before:
        return None
    try:
        program = _compile(names, rules, default)
    except ValueError as error:  # more instructions than the kernel takes
        part.bad("syscalls", f"cannot be compiled: {error}")
        return None
    return Filter(
        program=program,
        flags=flags,
        listener=listener if notifies else "",
        listener_metadata=metadata if notifies else "",
    )


def _architectures(part: Part, native: str) -> list[str]:
    names = [native]
    for number, word in enumerate(part.texts("architectures")):
        if word in ARCHITECTURES:
            if word not in names and _runs_on(word, native):
                names.append(word)
        elif word not in FOREIGN:
            part.bad(f"architectures[{number}]", f"'{word}' is no architecture")
    return names


def _runs_on(word: str, native: str) -> bool:
    return ("ARM" in native or "AARCH" in native) == ("ARM" in word or "AARCH" in word)


def _action(part: Part, key: str, errno_key: str) -> int:
    word = part.text(key, required=True)
    if not word:
        return 0
    if word not in ACTIONS:
        part.bad(key, f"'{word}' is none of {', '.join(ACTIONS)}")
        return 0
    action = ACTIONS[word]
    if word in WITH_NUMBER:
        return action | part.integer(errno_key, 0, WITH_NUMBER[word], default=EPERM)
    if part.has(errno_key):
        part.bad(errno_key, f"is there, but '{word}' returns no error")
    return action


def _rules(part: Part) -> tuple[list[Rule], bool]:
    """Return (names, alternatives, answer) of each rule, and whether one of them notifies."""
    found: list[Rule] = []
    notifies = False
    for rule in part.parts("syscalls"):
        names = rule.data.get("names")
        if names.__class__ is not list or not names:
            rule.bad("names", "is missing or empty")
            continue
        if not all(name.__class__ is str for name in names):
            rule.texts("names")
            continue
        action = _action(rule, "action", "errnoRet")
        if action == RET_USER_NOTIF:
            notifies = True
            if "write" in names:
                rule.bad("names", "'write' cannot be notified of: the descriptor is sent with it")
        alternatives: list[tuple[Condition, ...]] = [()]
        if rule.has("args"):
            conditions = [_condition(argument) for argument in rule.parts("args")]
            if len({one.index for one in conditions}) < len(conditions):
                alternatives = [(one,) for one in conditions]
            else:
                alternatives = [tuple(conditions)]
        found.append((names, alternatives, action))
    return found, notifies


def _condition(part: Part) -> Condition:
    asked = part.text("op", required=True)
    if asked and asked not in OPERATORS:
        part.bad("op", f"'{asked}' is none of {', '.join(OPERATORS)}")
    operator = OPERATORS.get(asked, "==")
    index = part.integer("index", 0, 5, required=True)
    value, second = part.integer("value", 0, U64, required=True), part.integer("valueTwo", 0, U64)
    if operator == "&=":  # the mask comes first, as for libseccomp
        return Condition(index, operator, second & value, value)
    return Condition(index, operator, value)


def _numbered(rules: list[Rule], name: str, default: int) -> tuple[dict[int, int | Program], int]:
    """Return what is done by number on an architecture, and the highest number that any rule names."""
    column, table = _table(name)
    row_of = table.get
    plain: dict[int, int] = {}
    chains: dict[int, Chain] = {}
    last = -1
    for names, alternatives, action in rules:
        numbers = [row[column] for call in names if (row := row_of(call)) is not None]
        if numbers:
            last = max(last, *numbers)
        if action == default:
            continue
        if alternatives[0]:
            for number in numbers:
                chains.setdefault(number, []).extend((one, action) for one in alternatives)
            continue
        plain = dict.fromkeys(numbers, action) | plain  # what was said first stays
        if name == "SCMP_ARCH_X86":
            _add_behind(chains, table, set(names), action)
    found: dict[int, int | Program] = dict(plain)
    for number, chain in chains.items():
        if number not in plain:
            program = Program()
            for conditions, action in chain:
                program.when(conditions, action, wide=ARCHITECTURES[name][1])
            program.answer(default)
            found[number] = program
    found.pop(NONE, None)
    if name == "SCMP_ARCH_X32":
        return {number | X32_BIT: action for number, action in found.items()}, last | X32_BIT if found else -1
    return found, last


def _add_behind(
    chains: dict[int, Chain], table: dict[str, tuple[int, ...]], names: set[str], action: int
) -> None:
    for front, inner in BEHIND.items():
        for number, call in enumerate(inner, 1):
            if call in names:
                asks = Condition(0, "&=", number, BEHIND_MASK)
                chains.setdefault(table[front][X86_COLUMN], []).append(((asks,), action))


def _table(name: str) -> tuple[int, dict[str, tuple[int, ...]]]:
    """Return the column of an architecture, and the table that has it: only this machine's is read."""
    if "X86" in name or "X32" in name:
        from redpak.oci.calls_x86 import CALLS, COLUMNS
    else:
        from redpak.oci.calls_arm import CALLS, COLUMNS  # type: ignore[assignment]
    return COLUMNS.index(name), CALLS


def _compile(names: list[str], rules: list[Rule], default: int) -> bytes:
    """Return the instructions (struct sock_filter). Raises ValueError if they are too many for the kernel."""
    whole = Program()
    whole.load(ARCH)
    newer = RET_ERRNO | ENOSYS if default == RET_ERRNO | EPERM else default
    for name in names:
        if name == "SCMP_ARCH_X32":
            continue  # with x86_64
        choices, last = _numbered(rules, name, default)
        beyond = [(last + 1, newer)] if last >= 0 else []
        if name == "SCMP_ARCH_X86_64":
            if "SCMP_ARCH_X32" in names:
                more, last = _numbered(rules, "SCMP_ARCH_X32", default)
                choices |= more
                beyond += [(X32_BIT, default), (last + 1, newer)] if last >= 0 else [(X32_BIT, default)]
            else:
                beyond.append((X32_BIT, RET_KILL_PROCESS))
            beyond.append((NO_CALL, default))
        inner = Program()
        inner.load(NUMBER)
        inner.by_number(choices, default, beyond=beyond)
        whole.only_for(ARCHITECTURES[name][0], inner)
    whole.answer(RET_KILL_PROCESS)
    return whole.assemble()
