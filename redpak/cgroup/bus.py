"""What is said to systemd's manager over D-Bus: methods, properties, and limits in its words. Version 2 only.

D-Bus is spoken by busctl(1), which every host has that systemd runs. Limits are told as properties as well as written:
whenever it reloads or changes one of a controller's limits, systemd writes all that it knows, and so undoes the rest.
"""

from __future__ import annotations

import os

from redpak.cgroup import apply, layout
from redpak.cgroup.resources import NO_LIMIT, Resources
from redpak.errors import RedpakError

TYPE_CHECKING = False
if TYPE_CHECKING:
    Property = tuple[str, str, list[str]]  # name, signature, and its words as busctl(1) wants them

BUS = ("org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager")
INFINITY = (1 << 64) - 1
TIMEOUT_S = 30.0
MICRO = 1_000_000
PERCENT = MICRO // 100
# what `properties` has no word for: `in_force` finds it in the files
UNTOLD = frozenset({"unified", "cpu_idle", "cpu_weight_nice", "blkio_weight"})
_MEMORY = (
    ("MemoryMin", "memory.min"),
    ("MemoryLow", "memory.low"),
    ("MemoryHigh", "memory.high"),
    ("MemoryMax", "memory.max"),
    ("MemorySwapMax", "memory.swap.max"),
)


def _environ(*, user: bool) -> dict[str, str]:
    """Return the variables by which the user's bus is found."""
    names = ("DBUS_SESSION_BUS_ADDRESS", "XDG_RUNTIME_DIR")
    found = {name: os.environ[name] for name in names if name in os.environ}
    if user:
        found.setdefault("XDG_RUNTIME_DIR", f"/run/user/{os.geteuid()}")
    return found


def _busctl(words: tuple[str, ...], *, user: bool, hint: str = "") -> tuple[int, str, str]:
    """Return (code, output, the last line that it complained) of busctl; words that begin with "-" are no options."""
    from redpak.run import tool

    argv = ["busctl", "--user" if user else "--system", "--json=short", "--", *words]
    done = tool(argv, timeout_s=TIMEOUT_S, ok=(0, 1), environ=_environ(user=user), hint=hint)
    said = done.err.decode(errors="replace").strip().splitlines()
    return done.code, done.text, said[-1].removeprefix("Call failed: ") if said else "no reason given"


def call(member: str, signature: str, *words: str, user: bool) -> str:
    """Call a method of systemd's manager and return the answer's first value. Raises RedpakError with what it said."""
    from json import loads

    hint = "Log in so that a user manager runs (loginctl enable-linger), or choose cgroupfs." if user else ""
    code, out, why = _busctl(("call", *BUS, member, signature, *words), user=user, hint=hint)
    if code:
        raise RedpakError(f"systemd does not {member}: {why}", hint=hint)
    return str((loads(out) if out.strip() else {}).get("data", [""])[0])


def unit_at(name: str, *, user: bool) -> str:
    """Return the object of a unit that systemd has in memory, "" where it has none. Raises RedpakError."""
    try:
        return call("GetUnit", "s", name, user=user)
    except RedpakError as error:
        if "not loaded" not in error.message:
            raise
        return ""


def get(unit: str, kind: str, key: str, *, user: bool) -> str:
    """Return a property of a unit's object, "" where it has none."""
    from json import loads

    words = ("get-property", BUS[0], unit, f"{BUS[0]}.{kind}", key)
    code, out, _ = _busctl(words, user=user)
    return str(loads(out)["data"]) if code == 0 else ""


def told(said: list[Property]) -> list[str]:
    """Return properties as the words of an a(sv). Pure."""
    words = [str(len(said))]
    for key, signature, value in said:
        words += [key, signature, *value]
    return words


def _number(name: str, value: int) -> Property:
    return name, "t", [str(INFINITY if value < 0 else value)]


def _each_second(quota: int, period: int) -> int:
    """Return a quota of each period as one of each second, rounded up to whole percents, as runc does.

    systemd notes whole percents, rounded down, for its next reload: 1.5 would be 1, and 0.5 no limit at all.
    """
    return NO_LIMIT if quota < 0 else max(1, -(-quota * MICRO // (period * PERCENT))) * PERCENT


def _mask(name: str, words: str) -> Property:
    mask = sum(1 << one for one in apply.numbers(words))
    data = mask.to_bytes((mask.bit_length() + 7) // 8, "little")
    return name, "ay", [str(len(data)), *map(str, data)]


def properties(asked: Resources) -> list[Property]:
    """Return (property, signature, words) that say what `asked` says; what systemd has no word for is left out. Pure.

    Source: systemd.resource-control(5), org.freedesktop.systemd1(5).
    """
    from redpak.cgroup.writes import PERIOD_US, shares_to_weight

    swap = asked.swap_max
    if asked.memory_swap is not None and asked.memory_max is not None:
        swap = NO_LIMIT if asked.memory_swap < 0 else asked.memory_swap - asked.memory_max
    weight = asked.cpu_weight
    if weight is None and asked.cpu_shares is not None:
        weight = shares_to_weight(asked.cpu_shares)
    quota = asked.cpu_quota
    if quota is not None:
        quota = _each_second(quota, asked.cpu_period or PERIOD_US)
    numbers = (
        ("MemoryMax", asked.memory_max),
        ("MemoryHigh", asked.memory_high),
        ("MemoryLow", asked.memory_low if asked.memory_low is not None else asked.memory_soft),
        ("MemoryMin", asked.memory_min),
        ("MemorySwapMax", swap),
        ("CPUWeight", weight),
        ("CPUQuotaPerSecUSec", quota),
        ("CPUQuotaPeriodUSec", asked.cpu_period),
        ("TasksMax", asked.pids_max),
        ("IOWeight", dict(asked.io_weight).get("")),
    )
    found = [_number(name, value) for name, value in numbers if value is not None]
    for name, words in (("AllowedCPUs", asked.cpus), ("AllowedMemoryNodes", asked.mems)):
        if words:
            found.append(_mask(name, words))
    return found


def in_force(at: str, which: set[str]) -> list[Property]:
    """Return the properties that say what the files of a group at `at` say now, of some controllers.

    What its files do not say (the controller is not there) is left out. Source as of `properties`.
    """

    def said(file: str) -> str:
        try:
            return layout.read(f"{at}/{file}").strip()
        except OSError:
            return ""

    def amount(word: str) -> int:
        return int(word) if word.isdigit() else NO_LIMIT

    files = (
        *(_MEMORY if "memory" in which else ()),
        *((("TasksMax", "pids.max"),) if "pids" in which else ()),
    )
    found = [_number(name, amount(word)) for name, file in files if (word := said(file))]
    if "cpu" in which and (words := said("cpu.max").split()):
        period = int(words[1])
        found.append(_number("CPUQuotaPerSecUSec", _each_second(amount(words[0]), period)))
        found.append(_number("CPUQuotaPeriodUSec", period))
        weight = "0" if said("cpu.idle") == "1" else said("cpu.weight")  # 0: its word for an idle one
        found.append(_number("CPUWeight", int(weight)))
    if "cpuset" in which:
        for name, file in (("AllowedCPUs", "cpuset.cpus"), ("AllowedMemoryNodes", "cpuset.mems")):
            if word := said(file):
                found.append(_mask(name, word))
    if "io" in which:
        plain = said("io.weight").split()[1:2]
        scaled = said("io.bfq.weight").split()[
            1:2
        ]  # what systemd has of BFQ's range: writes.io_to_bfq_weight
        if plain:
            found.append(_number("IOWeight", int(plain[0])))
        elif scaled:
            weight_bfq = int(scaled[0])
            found.append(
                _number("IOWeight", weight_bfq if weight_bfq <= 100 else 100 + (weight_bfq - 100) * 11)
            )
    return found
