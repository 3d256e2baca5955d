"""From the bytes of a configuration file to a `NodeDoc`, or to all of its faults at once.

Off the launch path: cache.py keeps the results.

Two ways to read: strictly (the sealed profile) and leniently (as libcyaml reads for red-pak 2.5: nearly everything is
true, `027` is 23, aliases are followed, nothing is compared with anything).
"""

from __future__ import annotations

import os
import stat

from redpak.config import coherence, kinds, settings, yamlfile
from redpak.config.kinds_limits import rlimit_pair
from redpak.config.kinds_words import BadValue, nearest
from redpak.config.model import CapabilityAsk, CgroupValue, Export, NodeDoc, RlimitAsk, Value, Variable
from redpak.config.yamlfile import Mapping, Scalar, Sequence, clip
from redpak.errors import Fault
from redpak.origin import Origin

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from redpak.config.setting import Setting

    Tree = Scalar | Sequence | Mapping
    Fields = dict[str, Tree]


def load(path: str, *, lenient: bool = False, defaults: bool = False, faults: list[Fault]) -> NodeDoc | None:
    """Read the file at `path`. Appends every fault to `faults`; returns None when there was one.

    `defaults` is for the core OS's main.yaml: headers are optional, so `alias` may be ''. A file that cannot be read
    is a fault too; callers that have to tell absence apart look first.
    """
    try:
        data = read(path)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        faults.append(Fault(origin=Origin(file=path), message=f"cannot read the file: {why}"))
        return None
    return load_bytes(data, path, lenient=lenient, defaults=defaults, faults=faults)


def read(path: str) -> bytes:
    """Return the content of a regular file, cut off beyond the size that `yamlfile` refuses. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a FIFO must not make us wait
    with open(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(0, "not a regular file", path)
        return file.read(yamlfile.MAX_BYTES + 1)


def load_bytes(
    data: bytes, file: str, *, lenient: bool = False, defaults: bool = False, faults: list[Fault]
) -> NodeDoc | None:
    """Read `data` as the content of `file`; see `load`."""
    before = len(faults)
    tree = yamlfile.parse(data, file, faults, aliases=lenient)
    doc = None
    if tree is None and len(faults) == before and defaults:
        tree = Mapping(file, 0, 0)  # nothing but comments: nothing is asked for
    if tree is not None:
        doc = _Reader(file, faults, lenient=lenient, defaults=defaults).document(tree)
    elif len(faults) == before:
        faults.append(
            Fault(
                origin=Origin(file=file, line=1, column=1),
                message="the file is empty",
                hint="It needs 'headers:' with an 'alias:'.",
            )
        )
    faults[before:] = sorted(faults[before:], key=lambda fault: (fault.origin.line, fault.origin.column))
    if len(faults) - before > yamlfile.MAX_FAULTS:
        del faults[before + yamlfile.MAX_FAULTS :]
        faults.append(
            Fault(origin=Origin(file=file), message="more faults follow", hint="Repair these first.")
        )
    return doc if len(faults) == before else None


def said(path: str, name: str) -> Value | None:
    """Return one plain setting of `config`, whatever else is wrong with the file; None when it is not to be had.

    For `profile`: which way a file is to be read stands in the file.
    """
    try:
        data = read(path)
    except OSError:
        return None
    faults: list[Fault] = []
    tree = yamlfile.parse(data, path, faults, aliases=True)
    for key in ("config", name):
        if not isinstance(tree, Mapping):
            return None
        tree = next((value for at, value in tree.items if at.text.lower() == key), None)
    if not isinstance(tree, Scalar) or tree.broken:
        return None
    try:
        return Value(value=kinds.strict(settings.BY_NAME[name], tree.text), origin=tree.origin)
    except BadValue:
        return None


class _Reader:
    """Reads one tree; one use."""

    def __init__(self, file: str, faults: list[Fault], *, lenient: bool, defaults: bool) -> None:
        self.file = file
        self.faults = faults
        self.lenient = lenient
        self.defaults = defaults

    def document(self, tree: Tree) -> NodeDoc | None:
        """Read the top level. What has a fault is left out of the result."""
        top = self.mapping(tree, "", "the file")
        if top is None:
            return None
        headers: Fields = {}
        if "headers" in top:
            headers = self.mapping(top["headers"], "headers", "'headers'", optional=self.defaults) or {}
        config = self.section(top, "config")
        alias = headers.get("alias")
        return NodeDoc(
            file=self.file,
            alias=str(self.value(headers, "headers.alias") or ""),
            name=str(self.value(headers, "headers.name") or ""),
            info=str(self.value(headers, "headers.info") or ""),
            alias_origin=alias.origin if alias is not None else Origin(file=self.file),
            exports=tuple(self.exports(top)),
            environ=tuple(self.environ(top)),
            tags=self.tags(config),
            capabilities=tuple(self.capabilities(config)),
            cgroups=tuple(self.cgroups(config)),
            rlimits=tuple(self.rlimits(config)),
        )

    def tags(self, config: Fields) -> dict[str, Value]:
        """Read the plain settings of `config`, in the order of the table."""
        found = {}
        for setting in settings.PLAIN:
            value = self.value(config, setting.full)
            if value is not None:
                found[setting.name] = Value(value=value, origin=config[setting.name].origin)
        return found

    def exports(self, top: Fields) -> Iterator[Export]:
        """Read the entries of `exports`."""
        seen: dict[str, Export] = {}
        for entry, at in self.entries(top, "exports"):
            mode, mount = self.value(entry, "exports.mode"), self.value(entry, "exports.mount")
            path = self.value(entry, "exports.path")
            info, warn = self.value(entry, "exports.info"), self.value(entry, "exports.warn")
            if isinstance(mode, str) and ("path" not in entry or path is not None):
                self.coherent(coherence.of_export(mode, path, mount), entry)
            if not isinstance(mode, str) or not isinstance(mount, str):
                continue
            export = Export(
                mode=mode,  # type: ignore[arg-type] # one of the setting's words
                mount=mount,
                path=None if path is None else str(path),
                info=str(info or ""),
                warn=str(warn or ""),
                origin=at,
            )
            if not self.lenient:
                first = seen.setdefault(coherence.tidy(mount), export)
                if (first.mode, first.path or first.mount) != (export.mode, export.path or export.mount):
                    self.twice(at, f"mount '{clip(mount)}'", first.origin)
            yield export

    def environ(self, top: Fields) -> Iterator[Variable]:
        """Read the entries of `environ`."""
        seen: dict[str, Variable] = {}
        for entry, at in self.entries(top, "environ"):
            mode = self.value(entry, "environ.mode") if "mode" in entry else "Default"
            key, value = self.value(entry, "environ.key"), self.value(entry, "environ.value")
            info, warn = self.value(entry, "environ.info"), self.value(entry, "environ.warn")
            if not isinstance(mode, str) or not isinstance(key, str):
                continue
            variable = Variable(
                mode=mode,  # type: ignore[arg-type] # one of the setting's words
                key=key,
                value=None if value is None else str(value),
                info=str(info or ""),
                warn=str(warn or ""),
                origin=at,
            )
            if not self.lenient:
                if "value" not in entry or value is not None:
                    self.coherent(coherence.of_variable(variable), entry)
                first = seen.setdefault(key, variable)
                if (first.mode, first.value) != (variable.mode, variable.value):
                    self.twice(at, f"variable '{clip(key)}'", first.origin)
            yield variable

    def capabilities(self, config: Fields) -> Iterator[CapabilityAsk]:
        """Read the entries of `config.capabilities`."""
        seen: dict[str, CapabilityAsk] = {}
        section = "config.capabilities"
        for entry, at in self.entries(config, "capabilities", section):
            cap, add = self.value(entry, f"{section}.cap"), self.value(entry, f"{section}.add")
            info, warn = self.value(entry, f"{section}.info"), self.value(entry, f"{section}.warn")
            if cap is None or add is None:
                continue
            ask = CapabilityAsk(
                cap=str(cap), add=int(add), info=str(info or ""), warn=str(warn or ""), origin=at
            )
            first = seen.setdefault(ask.cap.upper().removeprefix("CAP_"), ask)
            if first.add != ask.add and not self.lenient:
                self.twice(at, f"capability '{clip(ask.cap)}'", first.origin)
            yield ask

    def cgroups(self, config: Fields) -> Iterator[CgroupValue]:
        """Read the leaves of `config.cgroups`."""
        groups = self.section(config, "cgroups", "config.cgroups")
        for group in settings.children("config.cgroups"):
            leaves = self.section(groups, group.name, group.full)
            for setting in settings.children(group.full):
                value = self.value(leaves, setting.full)
                if value is not None:
                    origin = leaves[setting.name].origin
                    yield CgroupValue(group=group.name, key=setting.name, value=str(value), origin=origin)

    def rlimits(self, config: Fields) -> Iterator[RlimitAsk]:
        """Read the leaves of `config.rlimits`."""
        leaves = self.section(config, "rlimits", "config.rlimits")
        for setting in settings.children("config.rlimits"):
            value = self.value(leaves, setting.full)
            if value is not None:
                soft, hard = rlimit_pair(setting.name, str(value))
                yield RlimitAsk(name=setting.name, soft=soft, hard=hard, origin=leaves[setting.name].origin)

    def section(self, parent: Fields, name: str, full: str = "") -> Fields:
        """Return the keys of a mapping that need not be there."""
        if name not in parent:
            return {}
        return self.mapping(parent[name], full or name, f"'{name}'", optional=True) or {}

    def entries(self, parent: Fields, name: str, full: str = "") -> Iterator[tuple[Fields, Origin]]:
        """Return the mappings in a sequence that need not be there, with their places."""
        tree = parent.get(name)
        if tree is None or broken(tree) or self.blank(tree):
            return
        if not isinstance(tree, Sequence):
            self.fault(tree, f"'{name}' must be a list", "Start each of its entries with '- '.")
            return
        for item in tree.items:
            fields = self.mapping(item, full or name, f"an entry of '{name}'")
            if fields is not None:
                yield fields, item.origin

    def mapping(self, tree: Tree, section: str, what: str, *, optional: bool = False) -> Fields | None:
        """Return the keys of a mapping, canonical; faults for those that `section` does not know or needs."""
        if broken(tree):
            return None
        found: Fields = {}
        if isinstance(tree, Mapping):
            known = {setting.name: setting for setting in settings.children(section)}
            for key, value in tree.items:
                name = key.text.lower()
                if name not in known or not self.knows(known[name]):
                    self.unknown(key, section, known)
                elif known[name].kind != "ignored":
                    found[name] = value
        elif not (optional and self.blank(tree)):
            self.fault(tree, f"{what} must be a mapping", "Write 'key: value' lines.")
            return None
        if not (self.defaults and section in ("", "headers")):
            self.complete(tree, section, what, found)
        return found

    def complete(self, tree: Tree, section: str, what: str, found: Fields) -> None:
        """Report the required keys that are missing."""
        for setting in settings.children(section):
            if setting.required and setting.name not in found:
                hint = (
                    f"Add '{setting.name}: {setting.example}'."
                    if setting.example
                    else f"Add '{setting.name}:'."
                )
                self.fault(tree, f"{what} has no '{setting.name}'", hint)

    def knows(self, setting: Setting) -> bool:
        """Tell whether this way of reading has the key. `profile` says which way that is, so both have it."""
        return setting.upstream or not self.lenient or setting.name == "profile"

    def unknown(self, key: Scalar, section: str, known: dict[str, Setting]) -> None:
        """Report a key that its section does not have."""
        name = key.text.lower()
        where = f" in '{section}'" if section else ""
        elsewhere = [s.section or "the top level" for s in settings.SETTINGS if s.name == name]
        near = nearest(name, list(known))
        if name in known:
            hint = "red-pak 2.5 does not have it; remove it, or use the sealed profile."
        elif near and near != name:
            hint = f"Did you mean '{near}'?"
        elif elsewhere:
            hint = f"It belongs in {' or '.join(dict.fromkeys(elsewhere))}."
        else:
            hint = f"Possible: {', '.join(known)}."
        self.fault(key, f"there is no key '{clip(key.text)}'{where}", hint)

    def value(self, fields: Fields, full: str) -> Any:
        """Return the decoded value of a setting; None when it is absent or faulty."""
        setting = settings.BY_FULL[full]
        tree = fields.get(setting.name)
        if tree is None or broken(tree):
            return None
        text = self.text(tree, setting)
        if text is None:
            return None
        try:
            return kinds.lenient(setting, text) if self.lenient else kinds.strict(setting, text)
        except BadValue as bad:
            self.fault(tree, bad.message, bad.hint)
            return None

    def text(self, tree: Tree, setting: Setting) -> str | None:
        """Return the text of a value; None, with a fault, when it is none."""
        if isinstance(tree, Sequence) and setting.kind.startswith("io-") and not self.lenient:
            lines = [item.text for item in tree.items if isinstance(item, Scalar)]
            if len(lines) == len(tree.items):
                return "\n".join(lines)
        if not isinstance(tree, Scalar):
            self.fault(
                tree, f"'{setting.name}' must be a single value", "Write it in one line after the colon."
            )
            return None
        if not tree.text and not self.lenient and not may_be_empty(setting):
            self.fault(tree, f"'{setting.name}' has no value", "Give one, or remove the key.")
            return None
        return tree.text

    def blank(self, tree: Tree) -> bool:
        """Tell whether a section was named and left empty, which red-pak refuses."""
        return isinstance(tree, Scalar) and tree.blank and not self.lenient

    def coherent(self, wrong: coherence.Wrong | None, entry: Fields) -> None:
        """Report what an entry's mode does not allow; red-pak allows everything."""
        if wrong and not self.lenient:
            field, message, hint = wrong
            self.fault(entry.get(field) or next(iter(entry.values())), message, hint)

    def twice(self, at: Origin, what: str, first: Origin) -> None:
        """Report that a file contradicts itself."""
        self.faults.append(
            Fault(
                origin=at,
                message=f"{what} stands here again, differently; line {first.line} has it already",
                hint="Keep one of the two.",
            )
        )

    def fault(self, tree: Tree, message: str, hint: str = "") -> None:
        """Report something at a node."""
        self.faults.append(Fault(origin=tree.origin, message=message, hint=hint))


def broken(tree: Tree) -> bool:
    """Tell whether a fault was reported for this node already."""
    return isinstance(tree, Scalar) and tree.broken


def may_be_empty(setting: Setting) -> bool:
    """Tell whether the empty text is a value."""
    return setting.kind in ("text", "command", "source")
