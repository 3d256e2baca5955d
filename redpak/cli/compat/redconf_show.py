"""What redconf prints: configurations one by one, merged, and the tree of nodes."""

from __future__ import annotations

import os

from redpak.config.model import UPSTREAM, Export, NodeDoc, Value, Variable
from redpak.node.family import context, family_of
from redpak.origin import DEFAULT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.config.model import Family, Merged, MergedExport, MergedVariable, Node
    from redpak.node.status import Status
    from redpak.node.tree import Branch
    from redpak.origin import Origin

# (label, tag, what an absent one shows), in red-pak's order; umask stands there twice
TEXT_TAGS = (
    ("cachedir", "cachedir", "(null)"),
    ("hostname", "hostname", "(null)"),
    ("chdir", "chdir", "(null)"),
    ("umask", "umask", "(null)"),
    ("set-user", "set-user", ""),
    ("set-group", "set-group", ""),
    ("smack", "smack", ""),
    ("verbose", "verbose", "0"),
    ("diewithparent", "die-with-parent", "Unset"),
    ("umask", "umask", "(null)"),
    ("newsession", "new-session", "Unset"),
    ("share_all", "share_all", "unset"),
    ("share_user", "share_user", "unset"),
    ("share_cgroup", "share_cgroup", "unset"),
    ("share_ipc", "share_ipc", "unset"),
    ("share_pid", "share_pid", "unset"),
    ("share_net", "share_net", "unset"),
    ("share_time", "share_time", "unset"),
)


def config(path: str, *, yaml: bool) -> str:
    """Return the normal configurations of a node and its ancestors, the leaf's first."""
    family, profile = family_of(path, any_state=True)
    shown = []
    for node in reversed(family.nodes):
        if yaml:
            from redpak.config.dump import dump

            shown.append(f"# REDNODE CONFIG {node.path}\n{dump(node.normal, upstream=profile == UPSTREAM)}\n")
        else:
            shown.append(_text(node) + _status(node))
    return "".join(shown)


def _text(node: Node) -> str:
    doc = node.normal
    lines = ["---", f"headers=> alias={doc.alias} name={doc.name} info='{doc.info}'", "config:"]
    for label, tag, absent in TEXT_TAGS:
        value = doc.tags.get(tag)
        lines.append(f"\t{label}={absent if value is None else value.value}")
    lines.append("exports:")
    for number, export in enumerate(doc.exports):
        source = "(null)" if export.path is None else export.path
        lines += [
            f"  - [{number}] mode:  {export.mode}",
            f"         mount: {export.mount}",
            f"         path:  {source}",
        ]
    return "\n".join([*lines, "---", "", ""])


def _status(node: Node) -> str:
    from redpak.node import status

    found: Status | None = status.read(node.path, [])
    if found is None:
        return ""
    return (
        f"---\nstate={found.state}\nrealpath={found.realpath}\ntimestamp={found.timestamp_ms}\n"
        f"info={found.info}\n---\n\n"
    )


def mergeconfig(path: str, *, expand: bool) -> str:
    """Return what a family's normal configurations say together, as one YAML document.

    With `expand`, names and commands are replaced as a launch would do it (commands are shown, not run), and every
    entry's `info` tells the node and the line that it comes from.
    """
    from redpak.config.dump import dump
    from redpak.config.merge import merge

    family, profile = family_of(path, any_state=True)
    merged = merge(family, profile, context())
    yaml = dump(document(merged, expand=expand), upstream=profile == UPSTREAM)
    return f"----CONFIG {len(yaml.encode(errors='surrogateescape'))}\n{yaml}----\n"


def document(merged: Merged, *, expand: bool) -> NodeDoc:
    """Return a merged family as if it were one file, under the leaf's headers."""
    leaf = merged.family.leaf.normal
    docs = _docs(merged.family)
    exports = {(doc_index, e.origin): e for doc_index, doc in docs for e in doc.exports}
    variables = {(doc_index, v.origin): v for doc_index, doc in docs for v in doc.environ}
    tags = {key: Value(value=_plain(tag.value), origin=tag.origin) for key, tag in merged.tags.items()}
    for kind, share in merged.shares.items():
        if share.value != "unset":
            tags[f"share_{kind}"] = Value(value=share.value, origin=share.origin)
    for key, elements in (("path", merged.path), ("ldpath", merged.ldpath)):
        if elements:
            joined = ":".join(str(element.element) for element in elements)
            tags[key] = Value(value=joined, origin=elements[0].origin)
    return NodeDoc(
        file=leaf.file,
        alias=leaf.alias,
        name=leaf.name,
        info=leaf.info,
        alias_origin=leaf.alias_origin,
        exports=tuple(
            _expanded_export(e, merged.family)
            if expand
            else exports.get((e.owner, e.origin)) or _as_written(e)
            for e in merged.exports
        ),
        environ=tuple(
            _expanded_variable(v, merged.family)
            if expand
            else variables.get((v.owner, v.origin)) or _as_set(v)
            for v in merged.environ
        ),
        tags=tags,
        capabilities=tuple(ask for ask, _ in merged.capabilities),
        cgroups=tuple(value for value, owner in merged.cgroups if owner == len(merged.family.nodes) - 1),
        rlimits=tuple(ask for ask, _ in merged.rlimits),
    )


def _docs(family: Family) -> list[tuple[int, NodeDoc]]:
    docs = [(owner, node.normal) for owner, node in enumerate(family.nodes)]
    return [(-1, family.defaults), *docs] if family.defaults else docs


def _plain(value: object) -> str | int | bool:
    return value if isinstance(value, (str, int)) else str(value)


def _as_written(export: MergedExport) -> Export:
    path = export.command or (None if export.path is None else str(export.path))
    return Export(mode=export.mode, mount=export.mount, path=path, origin=export.origin)


def _as_set(variable: MergedVariable) -> Variable:
    value = None if variable.value is None else str(variable.value)
    return Variable(mode=variable.mode, key=variable.key, value=value, origin=variable.origin)


def _expanded_export(export: MergedExport, family: Family) -> Export:
    return _as_written(export).but(info=_from(export.owner, export.origin, family))


def _expanded_variable(variable: MergedVariable, family: Family) -> Variable:
    written = _as_set(variable)
    if variable.mode == "Execfd" and written.value is not None:
        written = written.but(value=written.value.removeprefix("$(").removesuffix(")"))
    return written.but(info=_from(variable.owner, variable.origin, family))


def _from(owner: int, origin: Origin, family: Family) -> str:
    who = family.nodes[owner].alias if owner >= 0 else "core OS"
    return who if origin == DEFAULT else f"{who} ({origin})"


def tree(path: str) -> str:
    """Return the nodes at and beneath a path as a drawing."""
    from redpak.node.tree import beneath

    top = beneath(path)
    lines = [os.path.dirname(top.path)]
    _draw(top, "", lines, last=True)
    return "\n".join(lines) + "\n"


def _draw(branch: Branch, prefix: str, lines: list[str], *, last: bool) -> None:
    lines.append(f"{prefix}  {'└──' if last else '├──'} {branch.name}  ({branch.alias})")
    below = f"{prefix}  {' ' if last else '│'} "
    for number, child in enumerate(branch.children, 1):
        _draw(child, below, lines, last=number == len(branch.children))
