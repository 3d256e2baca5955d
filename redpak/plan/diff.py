"""What differs between two plans, item by item."""

from __future__ import annotations

from redpak.plan import words
from redpak.plan.model import SetVar
from redpak.plan.ops import Bind
from redpak.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    from redpak.origin import Origin
    from redpak.plan.model import Plan

    ChangeKind = Literal["added", "removed", "changed"]


class Item(Record):
    """One thing of a plan, in words."""

    value: str
    because: Origin | None = None


class Change(Record):
    """One difference; `before` is None where the thing was added, `after` where it was removed."""

    thing: str  # "mount /usr", "variable PATH", …
    before: Item | None
    after: Item | None

    @property
    def kind(self) -> ChangeKind:
        """What happened to the thing."""
        if self.before is None:
            return "added"
        return "removed" if self.after is None else "changed"


def diff(before: Plan, after: Plan, *, everything: bool = False) -> list[Change]:
    """Return the differences, in the order of the plans.

    What does not change the launch is left out: who asked, input files and variables, who lost. With `everything`
    these count as well.
    """
    old, new = items(before, everything=everything), items(after, everything=everything)
    changes = []
    for thing in [*old, *(thing for thing in new if thing not in old)]:
        was, now = old.get(thing), new.get(thing)
        same = was == now if everything else (was and was.value) == (now and now.value)
        if not same:
            changes.append(Change(thing=thing, before=was, after=now))
    return changes


def items(plan: Plan, *, everything: bool = False) -> dict[str, Item]:
    """Return every thing of a plan by its name, in the order of the plan."""
    found = {
        "node": Item(value=plan.node),
        "profile": Item(value=plan.profile),
        "admin": Item(value="yes" if plan.admin else "no"),
        "uid": Item(value=str(plan.uid)),
        "gid": Item(value=str(plan.gid)),
        "command": Item(value=" ".join(plan.command)),
    }
    for member in plan.family:
        found[f"member {member.path}"] = Item(value=" ".join((member.alias, member.name)).rstrip())
    for op in plan.mounts:
        mode, source = words.columns(op)
        rest = f", {op.mode}" if isinstance(op, Bind) and op.mode else ""
        if isinstance(op, Bind) and op.missing != "refuse":
            rest += f", {op.missing} it when missing"
        if isinstance(op, Bind) and op.beneath:
            rest += f", in node {op.beneath}"
        kind = "lock" if mode == "lock" else "mount"
        found[f"{kind} {op.dst}"] = Item(value=f"{mode} {source}{rest}", because=op.because)
    for entry in plan.environ:
        value = "removed"
        if isinstance(entry, SetVar):
            value = "the caller's" if entry.inherited else f"'{entry.value}'"
        found[f"variable {entry.key}"] = Item(value=value, because=entry.because)
    for namespace in plan.namespaces:
        said = words.namespace_said(namespace)
        found[f"namespace {namespace.kind}"] = Item(value=said, because=namespace.because)
    for capability in plan.capabilities:
        found[f"capability {capability.name}"] = Item(value="kept", because=capability.because)
    for rlimit in plan.rlimits:
        value = f"{words.number_said(rlimit.soft)}:{words.number_said(rlimit.hard)}"
        found[f"rlimit {rlimit.name}"] = Item(value=value, because=rlimit.because)
    for limit in plan.limits:
        found[f"limit {limit.key} of {limit.node}"] = Item(value=limit.value, because=limit.because)
    for choice in plan.choices:
        value = words.choice_said(choice)
        found[f"setting {choice.name}"] = Item(value=value, because=choice.because)
    if everything:
        for file in plan.files:
            found[f"input {file.path}"] = Item(value=f"sha256 {file.sha256}" if file.sha256 else "absent")
        for read in plan.reads:
            found[f"input ${read.name}"] = Item(value="unset" if read.value is None else f"'{read.value}'")
        for rival in plan.rivals:
            found[f"{rival.kind} {rival.thing}: {rival.asked}"] = Item(value=rival.why, because=rival.because)
    return found


def lines(changes: list[Change]) -> list[str]:
    """Return differences as lines for a person: '+' added, '-' removed, '~' changed."""
    shown = []
    for change in changes:
        match change.kind:
            case "added" | "removed" as kind:
                item = change.after if kind == "added" else change.before
                shown.append(f"{'+' if kind == 'added' else '-'} {change.thing}: {_said(item)}")
            case _:
                shown.append(f"~ {change.thing}")
                shown += [f"    was {_said(change.before)}", f"    now {_said(change.after)}"]
    return shown


def _said(item: Item | None) -> str:
    if item is None:
        return ""
    return item.value + (f"   [{item.because}]" if item.because else "")


def document(changes: list[Change]) -> list[dict[str, object]]:
    """Return differences as a JSON document."""
    from redpak.plan.wire import put_origin

    def shown(item: Item | None) -> object:
        if item is None:
            return None
        return {"value": item.value, "origin": None if item.because is None else put_origin(item.because)}

    return [
        {"change": one.kind, "thing": one.thing, "before": shown(one.before), "after": shown(one.after)}
        for one in changes
    ]
