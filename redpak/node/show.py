"""Telling what a node says itself and what its family says together, every value with its file and line."""

from __future__ import annotations

import os

from redpak.node import status, tree
from redpak.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from redpak.config.model import Merged, Node, NodeDoc
    from redpak.node.status import Status
    from redpak.node.tree import Branch


class Shown(Record):
    """A node, and what holds in it."""

    node: Node
    status: Status
    merged: Merged


def show(path: str, *, admin: bool = False, environ: Mapping[str, str] | None = None) -> Shown:
    """Return all there is to know of the node at `path`. Raises NotFound, BadConfig."""
    from redpak.config.merge import merge
    from redpak.node.family import context, family_of

    family, profile = family_of(path, admin=admin, any_state=True, environ=environ)
    now = status.read(family.leaf.path, [])
    if now is None:
        raise tree.no_node(path, family.leaf.path)
    return Shown(node=family.leaf, status=now, merged=merge(family, profile, context(environ)))


def as_data(shown: Shown) -> dict[str, Any]:
    """Return it for JSON."""
    node, merged = shown.node, shown.merged
    return {
        "path": node.real,
        "alias": node.alias,
        "name": node.normal.name,
        "info": node.normal.info,
        "state": node.state,
        "created_ms": shown.status.timestamp_ms,
        "files": [doc.file for doc in (node.normal, node.admin) if doc],
        "profile": merged.profile,
        "family": [{"path": one.real, "alias": one.alias, "state": one.state} for one in merged.family.nodes],
        "own": {key: rows for key, rows in own(node)},
        "merged": {key: rows for key, rows in together(merged)},
    }


def own(node: Node) -> Iterable[tuple[str, list[dict[str, Any]]]]:
    """Yield the sections of a node's own files, as written: rows of what, value, origin."""
    sections: dict[str, list[dict[str, Any]]] = {"exports": [], "environ": [], "config": []}
    for doc in (node.admin, node.normal):
        if doc is not None:
            for section, rows in written(doc):
                sections[section].extend(rows)
    yield from sections.items()


def written(doc: NodeDoc) -> Iterable[tuple[str, list[dict[str, Any]]]]:
    """Yield what one file says."""
    yield (
        "exports",
        [row(e.mount, e.mode, e.path if e.path is not None else e.mount, e.origin) for e in doc.exports],
    )
    yield (
        "environ",
        [row(v.key, v.mode, v.value if v.value is not None else "", v.origin) for v in doc.environ],
    )
    yield (
        "config",
        [
            *(row(key, "", said.value, said.origin) for key, said in doc.tags.items()),
            *(
                row(f"capability {c.cap}", "", "keep" if c.add else "drop", c.origin)
                for c in doc.capabilities
            ),
            *(row(f"cgroups.{c.group}.{c.key}", "", c.value, c.origin) for c in doc.cgroups),
            *(row(f"rlimits.{r.name}", "", limit(r.soft, r.hard), r.origin) for r in doc.rlimits),
        ],
    )


def together(merged: Merged) -> Iterable[tuple[str, list[dict[str, Any]]]]:
    """Yield the sections of the merged configuration; each row has the alias of the node that it comes from."""
    aliases = [node.alias for node in merged.family.nodes]

    def by(owner: int) -> str:
        return aliases[owner] if owner >= 0 else "core OS"

    yield (
        "exports",
        [
            row(
                e.mount,
                e.mode,
                e.command or (str(e.path) if e.path is not None else ""),
                e.origin,
                by(e.owner),
            )
            for e in merged.exports
        ],
    )
    yield (
        "environ",
        [
            row(v.key, v.mode, str(v.value) if v.value is not None else "", v.origin, by(v.owner))
            for v in merged.environ
        ],
    )
    yield (
        "config",
        [
            *(row("path", "", str(p.element), p.origin) for p in merged.path),
            *(row("ldpath", "", str(p.element), p.origin) for p in merged.ldpath),
            *(row(key, "", plain(tag.value), tag.origin, by(tag.owner)) for key, tag in merged.tags.items()),
            *(row(f"share_{kind}", "", share.value, share.origin) for kind, share in merged.shares.items()),
            *(
                row(f"capability {c.cap}", "", "keep" if c.add else "drop", c.origin, by(owner))
                for c, owner in merged.capabilities
            ),
            *(row(f"cgroups.{c.group}.{c.key}", "", c.value, c.origin, by(o)) for c, o in merged.cgroups),
            *(
                row(f"rlimits.{r.name}", "", limit(r.soft, r.hard), r.origin, by(o))
                for r, o in merged.rlimits
            ),
        ],
    )
    yield (
        "contests",
        [row(c.thing, c.kind, c.asked, c.origin, c.why) for c in merged.contests if c.kind == "lost"],
    )


def row(what: str, mode: str, value: Any, origin: object, note: str = "") -> dict[str, Any]:
    """Return one line of a section."""
    return {"what": what, "mode": mode, "value": value, "from": str(origin), "note": note}


def plain(value: Any) -> Any:
    """Return a value that JSON knows."""
    return value if isinstance(value, (str, int, bool)) else str(value)


def limit(soft: int, hard: int) -> str:
    """Return a resource limit as it is written."""
    low, high = ("unlimited" if number < 0 else str(number) for number in (soft, hard))
    return low if low == high else f"{low}:{high}"


def as_text(shown: Shown) -> str:
    """Return it for a person."""
    node, merged = shown.node, shown.merged
    lines = [
        f"Node     {node.alias}  ({node.state})",
        f"Path     {node.real}",
        f"Name     {node.normal.name}",
        f"Info     {node.normal.info}",
        f"Profile  {merged.profile}",
        "Family   core OS → " + " → ".join(one.alias for one in merged.family.nodes),
    ]
    for title, sections in (("Own configuration", own(node)), ("Merged configuration", together(merged))):
        lines += ["", title]
        for section, rows in sections:
            if not rows:
                continue
            lines += ["", f"  {section}"]
            lines += table(rows, skip_owner=title.startswith("Own"))
    return "\n".join(lines) + "\n"


def table(rows: list[dict[str, Any]], *, skip_owner: bool) -> list[str]:
    """Return rows in columns: what, mode, value, node, file and line."""
    cells = []
    for one in rows:
        value = str(one["value"]).lower() if isinstance(one["value"], bool) else str(one["value"])
        if value == one["what"]:
            value = "(same path)"
        note = [] if skip_owner else [one["note"]]
        cells.append([one["what"], one["mode"], value, *note, one["from"]])
    used = [at for at in range(len(cells[0])) if any(line[at] for line in cells)]
    widths = [min(max(len(line[at]) for line in cells), 48) for at in used]
    return [
        "    " + "  ".join(line[at].ljust(width) for at, width in zip(used, widths, strict=True)).rstrip()
        for line in cells
    ]


def tree_lines(branch: Branch) -> list[str]:
    """Return a node and those beneath it as a drawing of text."""
    lines = [label(branch)]
    for at, child in enumerate(branch.children):
        last = at == len(branch.children) - 1
        inner = tree_lines(child)
        name = os.path.relpath(child.path, branch.path)
        lines.append(("└── " if last else "├── ") + label(child, name))
        lines += [("    " if last else "│   ") + line for line in inner[1:]]
    return lines


def label(branch: Branch, name: str = "") -> str:
    """Return one node of the drawing: its directory, its alias where that differs, its state unless enabled."""
    shown = name or branch.path
    words = [shown]
    if branch.alias != os.path.basename(shown):
        words.append(f"({branch.alias})")
    if branch.state != "Enable":
        words.append(f"[{branch.state}]")
    if branch.faults:
        words.append(f"[{branch.faults[0].message}]")
    return " ".join(words)


def branch_data(branch: Branch) -> dict[str, Any]:
    """Return a node and those beneath it for JSON."""
    return {
        "path": branch.path,
        "alias": branch.alias,
        "state": branch.state,
        "faults": [str(fault) for fault in branch.faults],
        "children": [branch_data(child) for child in branch.children],
    }
