"""From a `NodeDoc` back to the text of a configuration file, as red-pak writes it: blocks, plain scalars, one order.

Comments are not kept: a document has none. Reading the text gives an equal document, places aside.
"""

from __future__ import annotations

from redpak.config import settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from redpak.config.model import CapabilityAsk, Export, NodeDoc, RlimitAsk, Variable

    Field = tuple[str, str | int | bool | list[Any] | dict[str, Any]]


def dump(doc: NodeDoc, *, upstream: bool = False) -> str:
    """Return the YAML of a document.

    `upstream` writes what red-pak 2.5 writes: also `verbose: 0`, `gpgcheck: false` and the like that nobody said.
    (Under the sealed profile those words would bind descendants.)
    """
    import yaml

    dumper: Any = getattr(yaml, "CSafeDumper", None) or yaml.SafeDumper
    events = [
        yaml.StreamStartEvent(),
        yaml.DocumentStartEvent(explicit=False),
        *_events(tree(doc, upstream=upstream), upstream=upstream),
        yaml.DocumentEndEvent(explicit=False),
        yaml.StreamEndEvent(),
    ]
    return str(yaml.emit(events, Dumper=dumper, allow_unicode=True, width=1 << 30))


def tree(doc: NodeDoc, *, upstream: bool = False) -> dict[str, Any]:
    """Return a document as plain mappings, lists and values, in written order."""
    said = {
        "headers": dict(_headers(doc)),
        "exports": [dict(_export(export)) for export in doc.exports],
        "environ": [dict(_variable(variable)) for variable in doc.environ],
        "config": dict(_config(doc, upstream=upstream)),
    }
    return {name: content for name, content in said.items() if content}


def _headers(doc: NodeDoc) -> Iterator[Field]:
    for name in ("alias", "name", "info"):
        if text := getattr(doc, name):
            yield name, text


def _export(export: Export) -> Iterator[Field]:
    yield "mode", export.mode
    yield "mount", export.mount
    if export.path is not None:
        yield "path", export.path
    yield from _remarks(export)


def _variable(variable: Variable) -> Iterator[Field]:
    yield "mode", variable.mode
    yield "key", variable.key
    if variable.value is not None:
        yield "value", variable.value
    yield from _remarks(variable)


def _capability(ask: CapabilityAsk) -> Iterator[Field]:
    yield "cap", ask.cap
    yield "add", ask.add
    yield from _remarks(ask)


def _remarks(entry: Export | Variable | CapabilityAsk) -> Iterator[Field]:
    if entry.info:
        yield "info", entry.info
    if entry.warn:
        yield "warn", entry.warn


def _config(doc: NodeDoc, *, upstream: bool) -> Iterator[Field]:
    for setting in settings.CONFIG:
        if setting.name == "cgroups":
            if doc.cgroups:
                yield setting.name, _cgroups(doc)
        elif setting.name == "capabilities":
            if doc.capabilities:
                yield setting.name, [dict(_capability(ask)) for ask in doc.capabilities]
        elif setting.name == "rlimits":
            if doc.rlimits:
                yield setting.name, {ask.name: _rlimit(ask) for ask in doc.rlimits}
        elif setting.name in doc.tags:
            yield setting.name, doc.tags[setting.name].value
        elif upstream and setting.always:
            yield setting.name, setting.default


def _cgroups(doc: NodeDoc) -> dict[str, dict[str, str]]:
    groups: dict[str, dict[str, str]] = {}
    for setting in settings.CGROUP_FIELDS:
        group = setting.section.rpartition(".")[2]
        for value in doc.cgroups:
            if (value.group, value.key) == (group, setting.name):
                groups.setdefault(group, {})[setting.name] = value.value
    return groups


def _rlimit(ask: RlimitAsk) -> str:
    soft, hard = ("unlimited" if limit == -1 else str(limit) for limit in (ask.soft, ask.hard))
    return soft if soft == hard else f"{soft}:{hard}"


def _events(value: Any, *, upstream: bool) -> Iterator[Any]:
    import yaml

    if isinstance(value, dict):
        yield yaml.MappingStartEvent(anchor=None, tag=None, implicit=True, flow_style=False)
        for key, inner in value.items():
            yield from _events(key, upstream=upstream)
            yield from _events(inner, upstream=upstream)
        yield yaml.MappingEndEvent()
    elif isinstance(value, list):
        yield yaml.SequenceStartEvent(anchor=None, tag=None, implicit=True, flow_style=False)
        for inner in value:
            yield from _events(inner, upstream=upstream)
        yield yaml.SequenceEndEvent()
    else:
        text = str(value).lower() if isinstance(value, bool) else str(value)
        # Bytes of the caller's environment that are no UTF-8 cannot be written in YAML.
        text = text.encode(errors="surrogateescape").decode(errors="replace")
        style = None if upstream else style_of(text)
        yield yaml.ScalarEvent(anchor=None, tag=None, implicit=(True, True), value=text, style=style)


def style_of(text: str) -> str | None:
    """Return how a scalar is written: quoted when empty, as a block when it has lines, else as YAML likes it."""
    if not text:
        return "'"
    plain = all(line and line[0] not in " \t" and line.isprintable() for line in text.split("\n"))
    return "|" if "\n" in text and plain else None
