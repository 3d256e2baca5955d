"""Sealed merge of limits: resource limits of processes, and control groups. Nobody gets more than an ancestor."""

from __future__ import annotations

from redpak.config.settings import RLIMITS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.config.model import CgroupValue, RlimitAsk
    from redpak.config.sealed_ledger import Layer, Ledger

UNLIMITED = float("inf")
MOST_DIGITS = 20  # what a 64 bit number can have
PERIOD_US = 100_000  # cpu.max's period when none is written (kernel: cgroup-v2.rst)
FILES = {"mem": "memory"}
SIZES = frozenset(
    (("mem", "max"), ("mem", "high"), ("mem", "swap_max"), ("mem", "swap_high"), ("pids", "max"))
)
SETS = frozenset((("cpuset", "cpus"), ("cpuset", "mems")))
IO_KEYS = ("rbps", "wbps", "riops", "wiops")


def rlimits(ledger: Ledger) -> tuple[tuple[RlimitAsk, int], ...]:
    """Return the resource limits in force with their owners, sorted by name."""
    kept: dict[str, tuple[RlimitAsk, int]] = {}
    for layers in ledger.nodes:
        own: dict[str, RlimitAsk] = {}
        for layer in layers:
            for name, ask in _rlimits_of_file(layer, ledger).items():
                first = own.setdefault(name, ask)
                if _numbers(first) != _numbers(ask):
                    why = f"the node's admin file comes first ({first.origin})"
                    ledger.lost(f"rlimit {name}", _rlimit_words(ask), ask.origin, why)
        for name, ask in own.items():
            _lower(name, ask, layers[0].owner, kept, ledger)
    if ledger.core is not None:
        for name, ask in _rlimits_of_file(ledger.core, ledger).items():
            won = kept.setdefault(name, (ask, ledger.core.owner))[0]
            if _numbers(won) != _numbers(ask):
                ledger.overridden(f"rlimit {name}", _rlimit_words(ask), ask.origin, won.origin)
    return tuple(kept[name] for name in sorted(kept))


def _rlimits_of_file(layer: Layer, ledger: Ledger) -> dict[str, RlimitAsk]:
    asks: dict[str, RlimitAsk] = {}
    for ask in layer.doc.rlimits:
        name = ask.name.lower()
        if name not in RLIMITS:
            ledger.fault(ask.origin, f"there is no resource limit '{ask.name}'", "See setrlimit(2).")
            continue
        soft, hard = _numbers(ask)
        if soft > hard:
            ledger.fault(
                ask.origin, f"rlimit '{name}' has a soft limit above its hard limit: {_rlimit_words(ask)}"
            )
            continue
        ask = ask.but(name=name)
        first = asks.setdefault(name, ask)
        if _numbers(first) != _numbers(ask):
            ledger.fault(ask.origin, f"rlimit '{name}' is given twice, differently, first at {first.origin}")
    return asks


def _lower(
    name: str, ask: RlimitAsk, owner: int, kept: dict[str, tuple[RlimitAsk, int]], ledger: Ledger
) -> None:
    """Put a limit in force if no ancestor has a smaller one."""
    words = _rlimit_words(ask)
    if owner < ledger.leaf:
        ledger.seals(f"rlimit {name}", words, ask.origin)
    if name not in kept:
        kept[name] = (ask, owner)
        return
    old, by = kept[name]
    (soft, hard), (old_soft, old_hard) = _numbers(ask), _numbers(old)
    if soft > old_soft or hard > old_hard:
        ledger.fault(
            ask.origin,
            f"rlimit {name} '{words}' is larger than '{_rlimit_words(old)}', "
            f"which {ledger.who(by)} set at {old.origin}",
            "Lower it, or remove it here.",
        )
    elif (soft, hard) != (old_soft, old_hard):
        ledger.lost(f"rlimit {name}", _rlimit_words(old), old.origin, f"lowered at {ask.origin}")
        kept[name] = (ask, owner)


def _numbers(ask: RlimitAsk) -> tuple[float, float]:
    return (UNLIMITED if ask.soft < 0 else ask.soft, UNLIMITED if ask.hard < 0 else ask.hard)


def _rlimit_words(ask: RlimitAsk) -> str:
    soft, hard = ("unlimited" if number < 0 else str(number) for number in (ask.soft, ask.hard))
    return soft if soft == hard else f"{soft}:{hard}"


def cgroups(ledger: Ledger) -> tuple[tuple[CgroupValue, int], ...]:
    """Return every node's own values, oldest node first, then by group and key.

    Nothing is merged between nodes, because their groups lie inside each other and the kernel takes the smallest;
    but a value above an ancestor's would be a promise that cannot be kept, so it is a fault. Defaults of the core
    OS that no node mentions are there with the core OS as owner.
    """
    kept: list[tuple[CgroupValue, int]] = []
    for layers in ledger.nodes:
        own = _cgroups_of_node(layers, ledger)
        for value in own.values():
            _compare(value, layers[0].owner, kept, ledger)
        kept += [(own[key], layers[0].owner) for key in sorted(own)]
    if ledger.core is None:
        return tuple(kept)
    said = {(value.group, value.key): value for value, _ in kept}
    core = []
    for key, value in sorted(_cgroups_of_node((ledger.core,), ledger).items()):
        if key not in said:
            core.append((value, ledger.core.owner))
        elif said[key].value != value.value:
            ledger.overridden(limit_thing(value), value.value, value.origin, said[key].origin)
    return (*core, *kept)


def _cgroups_of_node(layers: tuple[Layer, ...], ledger: Ledger) -> dict[tuple[str, str], CgroupValue]:
    own: dict[tuple[str, str], CgroupValue] = {}
    for layer in layers:
        in_file: dict[tuple[str, str], CgroupValue] = {}
        for value in layer.doc.cgroups:
            try:
                parsed(value)
            except ValueError as wrong:
                ledger.fault(value.origin, f"limit {value.group}.{value.key} '{value.value}' {wrong}")
                continue
            first = in_file.setdefault((value.group, value.key), value)
            if first.value != value.value:
                thing = f"limit {value.group}.{value.key}"
                ledger.fault(value.origin, f"{thing} is given twice, differently, first at {first.origin}")
        for key, value in in_file.items():
            first = own.setdefault(key, value)
            if first.value != value.value:
                why = f"the node's admin file comes first ({first.origin})"
                ledger.lost(limit_thing(value), value.value, value.origin, why)
    return own


def _compare(value: CgroupValue, owner: int, older: list[tuple[CgroupValue, int]], ledger: Ledger) -> None:
    """Fault a value that is above an ancestor's, and note one that binds."""
    if (value.group, value.key) not in BINDING:
        return
    if owner < ledger.leaf:
        ledger.seals(limit_thing(value), value.value, value.origin)
    for bound, by in older:
        if (bound.group, bound.key) == (value.group, value.key) and exceeds(value, bound):
            ledger.fault(
                value.origin,
                f"{limit_thing(value)} '{value.value}' exceeds '{bound.value}', "
                f"which {ledger.who(by)} set at {bound.origin}",
                "Lower it, or remove it here.",
            )
            return


def limit_thing(value: CgroupValue) -> str:
    """Return what a value is called in contests: 'limit memory.swap.max'."""
    return f"limit {FILES.get(value.group, value.group)}.{value.key.replace('_', '.')}"


def parsed(value: CgroupValue) -> object:
    """Return a value that binds descendants in a form that `exceeds` compares; None for the other keys.

    Raises ValueError, whose text completes the sentence "'VALUE' …".
    """
    key = (value.group, value.key)
    if "\0" in value.value:
        raise ValueError("holds a NUL character")
    if key in SIZES:
        return size(value.value, suffixes=key[0] == "mem")
    if key in SETS:
        return ranges(value.value)
    if key == ("cpu", "max"):
        return bandwidth(value.value)
    if key == ("io", "max"):
        return io_limits(value.value)
    return None


BINDING = SIZES | SETS | {("cpu", "max"), ("io", "max")}


def exceeds(value: CgroupValue, bound: CgroupValue) -> bool:
    """Tell whether a value allows anything that `bound`, of the same key, does not."""
    match parsed(value), parsed(bound):
        case (int() | float() as new, int() | float() as old):
            return new > old
        case (
            (int() | float() as quota, int() as period),
            (int() | float() as old_quota, int() as old_period),
        ):
            return quota * old_period > old_quota * period
        case (dict() as devices, dict() as old_devices):
            return any(number > old_devices.get(key, UNLIMITED) for key, number in devices.items())
        case (list() as spans, list() as old_spans):
            return not all(any(low <= a and b <= high for low, high in old_spans) for a, b in spans)
    return False


def number(word: str) -> int:
    """Return a decimal number. Raises ValueError."""
    if not (word.isascii() and word.isdigit() and len(word) <= MOST_DIGITS):
        raise ValueError(f"is wrong: '{word}' is no number" if word else "is no number")
    return int(word)


def size(word: str, *, suffixes: bool = True) -> int | float:
    """Return bytes, or a count; 'max' is infinite. K, M, G and T are powers of 1024. Raises ValueError."""
    word = word.strip()
    if word == "max":
        return UNLIMITED
    power = "KMGT".find(word[-1:].upper()) + 1 if suffixes and word else 0
    return number(word[:-1] if power else word) << (10 * power)


def bandwidth(word: str) -> tuple[int | float, int]:
    """Return cpu.max as (quota, period) in microseconds. Raises ValueError."""
    quota, *more = word.split() or [""]
    if len(more) > 1:
        raise ValueError("is not 'QUOTA PERIOD'")
    period = number(more[0]) if more else PERIOD_US
    if period == 0:
        raise ValueError("has a period of 0")
    return (UNLIMITED if quota == "max" else number(quota)), period


def ranges(word: str) -> list[tuple[int, int]]:
    """Return a list of processors or memory nodes ('0-2,5') as ranges, in order and joined. Raises ValueError."""
    found: list[tuple[int, int]] = []
    for item in sorted(_range(part.strip()) for part in word.split(",")):
        if found and item[0] <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], item[1]))
        else:
            found.append(item)
    return found


def _range(word: str) -> tuple[int, int]:
    first, dash, last = word.partition("-")
    low, high = number(first), number(last if dash else first)
    if high < low:
        raise ValueError(f"is wrong: '{word}' goes backwards")
    return low, high


def io_limits(word: str) -> dict[tuple[str, str], int | float]:
    """Return io.max, one device a line, as {(device, key): number a second}. Raises ValueError."""
    found: dict[tuple[str, str], int | float] = {}
    for line in word.strip().splitlines():
        device, *settings = line.split() or [""]
        major, _, minor = device.partition(":")
        device = f"{number(major)}:{number(minor)}"
        if not settings:
            raise ValueError("limits nothing")
        for setting in settings:
            key, _, amount = setting.partition("=")
            if key not in IO_KEYS:
                raise ValueError(f"is wrong: '{key}' is none of {', '.join(IO_KEYS)}")
            if (device, key) in found:
                raise ValueError(f"says '{key}' twice for device {device}")
            found[device, key] = size(amount, suffixes=False)
    if not found:
        raise ValueError("limits nothing")
    return found
