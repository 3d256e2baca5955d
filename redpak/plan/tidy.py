"""Canonical order, and what can be known to be wrong by looking at the plan alone.

Under the upstream-2.5 profile only the order is made: what it accepts is bubblewrap's to refuse.
"""

from __future__ import annotations

from redpak.errors import BadConfig, Fault
from redpak.origin import COMMAND_LINE, DEFAULT
from redpak.plan.model import CHOICES, Choice, Namespace, SetVar
from redpak.plan.ops import Bind, File, InheritFd, Lock, Symlink
from redpak.text import Run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import TypeVar

    from redpak.origin import Origin
    from redpak.plan.model import NamespaceKind, NamespaceMode, Op, Plan, UnsetVar
    from redpak.text import Text

    T = TypeVar("T")

KINDS: tuple[NamespaceKind, ...] = ("cgroup", "ipc", "mount", "net", "pid", "time", "user", "uts")


def tidy(plan: Plan) -> Plan:
    """Return the plan in canonical order; raises BadConfig with every fault at once (sealed profile)."""
    if plan.profile != "upstream-2.5":
        found = faults(plan)
        if found:
            raise BadConfig(found)
    rank = {member.path: at for at, member in enumerate(plan.family)}
    return plan.but(
        mounts=tuple(sorted(plan.mounts, key=lambda op: (op.dst, isinstance(op, Lock)))),
        environ=_sorted_once(plan.environ, lambda entry: entry.key),
        namespaces=_namespaces(plan.namespaces),
        capabilities=_sorted_once(plan.capabilities, lambda capability: capability.name),
        rlimits=_sorted_once(plan.rlimits, lambda rlimit: rlimit.name),
        limits=tuple(sorted(plan.limits, key=lambda limit: (rank.get(limit.node, -1), limit.key))),
        choices=_choices(plan.choices),
        files=_sorted_once(plan.files, lambda file: file.path),
        reads=_sorted_once(plan.reads, lambda read: read.name),
        rivals=tuple(dict.fromkeys(plan.rivals)),
        warnings=tuple(dict.fromkeys(plan.warnings)),
    )


def faults(plan: Plan) -> list[Fault]:
    """Return everything that is wrong with a plan whatever the host looks like."""
    found = []
    for op in plan.mounts:
        if wrong := _destination(op.dst):
            found.append(_fault(op.because, f"mount point '{op.dst}' {wrong}"))
    found += _collisions(sorted(plan.mounts, key=lambda op: op.dst))
    seen: dict[str, SetVar | UnsetVar] = {}
    for entry in plan.environ:
        if not entry.key or "=" in entry.key:
            found.append(_fault(entry.because, f"'{entry.key}' cannot be the name of a variable"))
        if entry.key in seen and seen[entry.key] != entry:
            message = f"variable '{entry.key}' is set twice, first by {seen[entry.key].because}"
            found.append(_fault(entry.because, message))
        seen.setdefault(entry.key, entry)
    for what, value, because in _strings(plan):
        if "\0" in value:
            found.append(_fault(because, f"{what} holds a NUL character", "The kernel cannot pass it on."))
    return found


def _destination(path: str) -> str:
    """Say what keeps a mount point from being absolute and normalised; '' when nothing does."""
    if not path.startswith("/"):
        return "is not absolute"
    if path == "/":
        return ""
    parts = path[1:].split("/")
    if ".." in parts:
        return "goes up with '..'"
    return "is not normalised" if "" in parts or "." in parts else ""


def _collisions(ops: list[Op]) -> Iterable[Fault]:
    """Find what is mounted twice, and what is mounted where no directory can be. A lock is no mount."""
    at: dict[str, Op] = {}
    for op in ops:
        if isinstance(op, Lock):
            continue
        if op.dst in at:
            message = f"mount point '{op.dst}' is already taken by {at[op.dst].because}"
            yield _fault(op.because, message, "Remove one of them.")
            continue
        at[op.dst] = op
        for above in parents(op.dst):
            holder = at.get(above)
            if holder is not None and (leaf := leaf_kind(holder)):
                message = f"mount point '{op.dst}' lies beneath {leaf} '{above}' ({holder.because})"
                yield _fault(op.because, message, "Nothing can be mounted there.")


def parents(path: str) -> list[str]:
    """Return the directories above an absolute path, innermost first, '/' last."""
    found = []
    while path != "/":
        path = path.rpartition("/")[0] or "/"
        found.append(path)
    return found


def leaf_kind(op: Op) -> str:
    """Say what an operation makes when that is no directory, else ''."""
    match op:
        case Symlink():
            return "the symlink"
        case File() | InheritFd():
            return "the file"
        case Bind(kind="file"):
            return "the file"
        case _:
            return ""


def _strings(plan: Plan) -> Iterable[tuple[str, str, Origin]]:
    """Walk over every string that reaches the kernel."""
    for op in plan.mounts:
        yield f"mount point '{op.dst}'", op.dst, op.because
        match op:
            case Bind(src=src):
                yield f"the source of '{op.dst}'", _flat(src), op.because
            case Symlink(target=target):
                yield f"the target of '{op.dst}'", target, op.because
            case File(content=content):
                commands = "".join(part.command for part in content.parts if isinstance(part, Run))
                yield f"the command for '{op.dst}'", commands, op.because  # a file may well hold NUL
            case _:
                pass
    for entry in plan.environ:
        yield f"variable '{entry.key}'", entry.key, entry.because
        if isinstance(entry, SetVar):
            yield f"variable '{entry.key}'", _flat(entry.value), entry.because
    for namespace in plan.namespaces:
        yield f"namespace '{namespace.kind}'", namespace.path, namespace.because
    for choice in plan.choices:
        if not isinstance(choice.value, (bool, int)):
            value = choice.value if isinstance(choice.value, str) else _flat(choice.value)
            yield f"setting '{choice.name}'", value, choice.because
    for word in plan.command:
        yield "the command", word, COMMAND_LINE


def _flat(value: Text) -> str:
    """Return all that is written in a text, the commands included."""
    written = ""
    for part in value.parts:
        match part:
            case str():
                written += part
            case Run(command=command):
                written += command
            case _:
                pass
    return written


def _fault(because: Origin, message: str, hint: str = "") -> Fault:
    return Fault(origin=because, message=message.replace("\0", "\\0"), hint=hint)


def _sorted_once(items: tuple[T, ...], key: Callable[[T], str]) -> tuple[T, ...]:
    """Sort, and keep the first of those with the same key."""
    first: dict[str, T] = {}
    for item in items:
        first.setdefault(key(item), item)
    return tuple(first[name] for name in sorted(first))


def _namespaces(given: tuple[Namespace, ...]) -> tuple[Namespace, ...]:
    by_kind = {namespace.kind: namespace for namespace in given}
    for kind in KINDS:
        mode: NamespaceMode = "host" if kind == "time" else "new"
        by_kind.setdefault(kind, Namespace(kind=kind, mode=mode, because=DEFAULT))
    return tuple(by_kind[kind] for kind in KINDS)


def _choices(given: tuple[Choice, ...]) -> tuple[Choice, ...]:
    by_name = {choice.name: choice for choice in given}
    for name, value in CHOICES.items():
        by_name.setdefault(name, Choice(name=name, value=value, because=DEFAULT))
    return tuple(by_name[name] for name in sorted(by_name))
