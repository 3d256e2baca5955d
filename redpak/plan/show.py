"""What a plan shows at a path inside the sandbox, by the plan alone: the host's own symlinks are not followed."""

from __future__ import annotations

import os.path

from redpak.plan import words
from redpak.plan.answer import Explanation, Fact, Located
from redpak.plan.ops import Bind, Dev, Lock, Mqueue, Proc, Symlink
from redpak.plan.tidy import leaf_kind, parents
from redpak.record import Record
from redpak.text import Text, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.plan.model import Op, Plan

LINKS = 40  # symlinks in a row, as the kernel has it (path_resolution(7))


class Shown(Record):
    """What is at a path inside the sandbox."""

    path: str  # with the plan's own symlinks followed
    op: Op | None  # the mount that shows it, None when there is none
    via: tuple[Symlink, ...] = ()


def beneath(path: str, above: str) -> bool:
    """Tell whether `path` is `above` or lies beneath it (both normalised)."""
    return path == above or path.startswith(above.rstrip("/") + "/")


def shown_at(plan: Plan, path: str) -> Shown:
    """Return what a plan shows at a path, following the symlinks that the plan itself makes."""
    at = {op.dst: op for op in plan.mounts if not isinstance(op, Lock)}
    via: list[Symlink] = []
    while len(via) < LINKS:
        covering = [above for above in (path, *parents(path)) if above in at]
        if not covering:
            return Shown(path=path, op=None, via=tuple(via))
        op = at[covering[0]]
        if not isinstance(op, Symlink) or op.dst == path:
            return Shown(path=path, op=op, via=tuple(via))
        via.append(op)
        here = op.dst.rpartition("/")[0] or "/"
        path = os.path.normpath(os.path.join(here, op.target) + path[len(op.dst) :])
        path = "/" + path.lstrip("/")
    return Shown(path=path, op=None, via=tuple(via))


def source_of(op: Bind, path: str) -> Text:
    """Return the host path behind `path`, which `op` shows."""
    rest = path[len(op.dst.rstrip("/")) :].rstrip("/")
    base = op.src.parts
    if rest and base and isinstance(base[-1], str):
        base = (*base[:-1], base[-1].rstrip("/"))
    return text(*base, rest) if rest else op.src


def path_answer(plan: Plan, path: str, located: Located | None = None) -> Explanation:
    """Explain what is at a path inside the sandbox; who contests it is added by `explain`."""
    seen = shown_at(plan, path)
    facts = [_link_fact(link) for link in seen.via]
    if located is not None and located.real != seen.path:
        if isinstance(seen.op, Symlink):
            facts.append(_link_fact(seen.op))
        facts.append(Fact(label="leads to", value=f"{located.real}, following symlinks"))
        seen = shown_at(plan, located.real)
    below = [op for op in plan.mounts if op.dst != seen.path and beneath(op.dst, seen.path)]
    host = ""
    if seen.op is None:
        answer = _nothing(plan, seen, below, facts)
    else:
        answer, source = _covered(seen.op, seen.path, below)
        host = (source.literal or "") if source else ""
        if isinstance(seen.op, Bind):
            facts += _bind_facts(seen.op)
        if seen.path != seen.op.dst:
            facts.append(Fact(label="mount point", value=seen.op.dst, because=seen.op.because))
        facts += _hidden(plan, seen.op)
    if located is not None and located.what:
        facts.append(Fact(label="on the host", value=f"'{located.host}' is {located.what}"))
    facts += [Fact(label="locked", value=op.dst, because=op.because) for op in _locks(plan, seen.path)]
    facts += [Fact(label="mounted below", value=words.said(op), because=op.because) for op in below[:20]]
    if len(below) > 20:
        facts.append(Fact(label="mounted below", value=f"… and {len(below) - 20} more"))
    return Explanation(
        thing=f"path {path}",
        answer=answer,
        because=seen.op.because if seen.op else None,
        host=host,
        facts=tuple(facts),
    )


def _link_fact(link: Symlink) -> Fact:
    return Fact(label="through", value=f"symlink '{link.dst}' to '{link.target}'", because=link.because)


def _locks(plan: Plan, path: str) -> list[Lock]:
    return [op for op in plan.mounts if isinstance(op, Lock) and op.dst == path]


def _covered(op: Op, path: str, below: list[Op]) -> tuple[str, Text | None]:
    """Return what is at a path that lies at or beneath a mount, and its host path."""
    if isinstance(op, Bind):
        source = source_of(op, path)
        if path != op.dst and op.kind == "file":
            return f"not there: it lies beneath the file '{op.dst}'", None
        how = "read-only" if op.readonly else "writable"
        return f"the host's '{source}', {how}", source
    if path == op.dst:
        return words.said(op).removeprefix(f"{op.dst}: "), None
    if leaf := leaf_kind(op):
        return f"not there: it lies beneath {leaf} '{op.dst}'", None
    if any(beneath(other.dst, path) for other in below):
        return f"a directory made for the mount points below it, in {words.kind_said(op)} '{op.dst}'", None
    if isinstance(op, (Proc, Dev, Mqueue)):
        return f"what the kernel has there, in {words.kind_said(op)} '{op.dst}'", None
    return f"not there when the program starts: {words.kind_said(op)} '{op.dst}' is empty", None


def _bind_facts(op: Bind) -> list[Fact]:
    facts = [Fact(label="mode", value=op.mode or ("Restricted" if op.readonly else "Public"))]
    if op.beneath:
        facts.append(Fact(label="in node", value=op.beneath))
    if op.missing != "refuse":
        what = {"create": "is made as a directory", "skip": "is left out"}[op.missing]
        facts.append(Fact(label="if missing", value=what))
    return facts


def _hidden(plan: Plan, op: Op) -> list[Fact]:
    """Return what a mount covers up: what would be seen at its mount point without it."""
    under = shown_at(plan.but(mounts=tuple(other for other in plan.mounts if other.dst != op.dst)), op.dst)
    if isinstance(under.op, Bind) and under.op.kind != "file":
        value = f"'{source_of(under.op, under.path)}' of mount '{under.op.dst}', if it is there"
        return [Fact(label="hides", value=value, because=under.op.because)]
    return []


def _nothing(plan: Plan, seen: Shown, below: list[Op], facts: list[Fact]) -> str:
    """Say why nothing is at a path, and add what is near."""
    if len(seen.via) >= LINKS:
        return "not there: too many levels of symbolic links"
    if below or seen.path == "/":
        return "a directory of the sandbox itself, made for the mount points below it"
    near: list[Op] = []
    for above in parents(seen.path):
        near = [op for op in plan.mounts if beneath(op.dst, above)]
        if near:
            break
    facts += [Fact(label="nearest mount", value=words.said(op), because=op.because) for op in near[:5]]
    return "not there: no mount shows it"
