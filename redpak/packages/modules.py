"""Module metadata: which packages belong to streams that are not active, and are therefore not to be chosen.

redpak has no module commands. What it does is what is needed to be right about repositories that have modules:
the default streams are active, as in dnf; packages of other streams are hidden, and so are plain packages that
an active stream replaces, unless their repository is marked module_hotfixes. Every hidden package has a reason.
Source: dnf's documentation, "Modularity"; libmodulemd's document formats.
"""

from __future__ import annotations

import json
import os

from redpak.errors import RedpakError, doing
from redpak.fs import write_atomically
from redpak.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any

    from redpak.packages.metadata import Metadata

DEEPEST = 16  # levels of a document
BIGGEST = 256 << 20  # bytes of a module file
MOST_DOCUMENTS = 200_000


class Stream(Record):
    """One build of one stream of a module."""

    module: str
    stream: str
    version: int
    context: str
    packages: tuple[str, ...]  # name-epoch:version-release.arch, the epoch only when it is not 0

    @property
    def label(self) -> str:
        """What people call it: 'nodejs:18'."""
        return f"{self.module}:{self.stream}"


class Modules(Record):
    """What one repository says about modules."""

    streams: tuple[Stream, ...] = ()
    defaults: tuple[tuple[str, str], ...] = ()  # module, stream


class Filter:
    """Which packages are hidden, and why."""

    def __init__(self, hidden: Mapping[str, str], replaced: Mapping[str, str], shown: Iterable[str]) -> None:
        self._hidden = dict(hidden)  # nevra: why
        self._replaced = dict(replaced)  # name: why
        self._shown = frozenset(shown)

    def __bool__(self) -> bool:
        return bool(self._hidden or self._replaced)

    def why(self, name: str, nevra: str, *, hotfix: bool = False) -> str:
        """Return why a package is hidden, '' when it is not. `hotfix`: of a repository with module_hotfixes."""
        if nevra in self._shown or hotfix:
            return ""
        return self._hidden.get(nevra) or self._replaced.get(name, "")


def filter_of(metadata: Iterable[Metadata]) -> Filter:
    """Return the filter that the modules of all repositories make together. Raises RedpakError."""
    return _filter([_of(one) for one in metadata if one.listed("modules") is not None])


def _filter(found: list[Modules]) -> Filter:
    defaults: dict[str, set[str]] = {}
    for one in found:
        for module, name in one.defaults:
            defaults.setdefault(module, set()).add(name)
    # a module with two defaults has none
    active = {(module, *names) for module, names in defaults.items() if len(names) == 1}
    streams = [stream for one in found for stream in one.streams]
    newest: dict[tuple[str, str], int] = {}
    for stream in streams:
        key = (stream.module, stream.stream)
        newest[key] = max(newest.get(key, 0), stream.version)
    shown: set[str] = set()
    hidden: dict[str, str] = {}
    replaced: dict[str, str] = {}
    for stream in streams:
        key = (stream.module, stream.stream)
        if key in active and stream.version == newest[key]:
            shown.update(stream.packages)
            for nevra in stream.packages:
                package = nevra.rpartition("-")[0].rpartition("-")[0]
                replaced.setdefault(package, f"module stream {stream.label} takes its place")
        elif key in active:
            for nevra in stream.packages:
                hidden[nevra] = f"it belongs to an older build of module stream {stream.label}"
        else:
            for nevra in stream.packages:
                hidden[nevra] = f"it belongs to module stream {stream.label}, which is not enabled"
    return Filter(hidden, replaced, shown)


def _of(one: Metadata) -> Modules:
    """Return a repository's modules; what was read once is kept beside the file, since YAML is slow."""
    path = one.file("modules")
    kept = f"{path}.json"
    try:
        with open(kept, encoding="utf-8") as file:
            return _from_json(json.load(file))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        pass
    with doing("read the module metadata"), open(path, "rb") as raw:
        data = raw.read(BIGGEST + 1)
    found = parse(data, what=f"module metadata of repository '{one.id}'")
    try:
        write_atomically(kept, json.dumps(_as_json(found)).encode(), durable=False)
    except RedpakError:
        if not os.path.exists(path):
            raise
    return found


def _as_json(found: Modules) -> dict[str, Any]:
    return {"streams": [list(one.values()) for one in found.streams], "defaults": list(found.defaults)}


def _from_json(said: dict[str, Any]) -> Modules:
    streams = tuple(
        Stream(module=str(m), stream=str(s), version=int(v), context=str(c), packages=tuple(map(str, p)))
        for m, s, v, c, p in said["streams"]
    )
    return Modules(streams=streams, defaults=tuple((str(m), str(s)) for m, s in said["defaults"]))


def parse(data: bytes, *, what: str) -> Modules:
    """Return the streams and defaults of a modules.yaml. Raises RedpakError when it is none."""
    if len(data) > BIGGEST:
        raise RedpakError(f"{what} has more than {BIGGEST} bytes")
    streams = []
    defaults = []
    for document in _documents(data, what):
        if not isinstance(document, dict) or not isinstance(document.get("data"), dict):
            continue
        body = document["data"]
        kind = document.get("document")
        if kind in ("modulemd", "modulemd-stream"):
            streams.append(_stream(body))
        elif kind == "modulemd-defaults" and body.get("stream"):
            defaults.append((str(body.get("module", "")), str(body["stream"])))
    return Modules(streams=tuple(streams), defaults=tuple(defaults))


def _stream(body: dict[str, Any]) -> Stream:
    artifacts = body.get("artifacts")
    rpms = artifacts.get("rpms") if isinstance(artifacts, dict) else None
    version = str(body.get("version", "0"))
    return Stream(
        module=str(body.get("name", "")),
        stream=str(body.get("stream", "")),
        version=int(version) if version.isascii() and version.isdigit() and len(version) < 30 else 0,
        context=str(body.get("context", "")),
        packages=tuple(str(one).replace("-0:", "-", 1) for one in rpms) if isinstance(rpms, list) else (),
    )


def _documents(data: bytes, what: str) -> Iterator[Any]:
    """Yield the documents as mappings, lists and strings. Built from events: no tags, aliases or deep nesting."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    stack: list[Any] = []
    keys: list[Any] = []
    count = 0
    try:
        for event in yaml.parse(data, Loader=loader):
            value: Any
            match event:
                case yaml.DocumentStartEvent():
                    count += 1
                    stack, keys = [], []
                    if count > MOST_DOCUMENTS:
                        raise RedpakError(f"{what} has too many documents")
                    continue
                case yaml.AliasEvent():
                    raise RedpakError(f"{what} uses aliases, which are refused")
                case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                    stack.append({} if isinstance(event, yaml.MappingStartEvent) else [])
                    keys.append(None)
                    if len(stack) > DEEPEST:
                        raise RedpakError(f"{what} is nested too deeply")
                    continue
                case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                    value = stack.pop()
                    keys.pop()
                case yaml.ScalarEvent():
                    value = event.value
                case _:
                    continue
            if not stack:
                yield value
            elif isinstance(stack[-1], list):
                stack[-1].append(value)
            elif keys[-1] is None:
                keys[-1] = str(value)
            else:
                stack[-1][keys[-1]] = value
                keys[-1] = None
    except yaml.YAMLError as error:
        told = " ".join(str(error).split())
        raise RedpakError(f"{what} is no YAML: {told}") from None
