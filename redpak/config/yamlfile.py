"""YAML as a small tree whose every node knows its place. Not for general YAML: configuration files only.

A hostile file must cost little and crash nothing, so the tree is built from parser events, without recursion, under
limits of size, depth and number of nodes; constructors of YAML libraries are never used (100,000 nested brackets crash
the C ones, and they silently let the last of two equal keys win). Scalars stay text: what `no` or `027` means is the
setting's business.
"""

from __future__ import annotations

from redpak.errors import Fault
from redpak.origin import Origin

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Tree = "Scalar | Sequence | Mapping"

MAX_BYTES = 1 << 20
MAX_DEPTH = 32
MAX_NODES = 50_000  # with every alias counted as often as it is used
MAX_FAULTS = 200  # of one file; nobody reads more, and a hostile file could have 50,000

STANDARD_TAGS = frozenset(
    "tag:yaml.org,2002:" + name for name in ("str", "int", "bool", "float", "null", "map", "seq")
) | {"!"}  # old libyaml writes "! 'text'"
BIDIRECTIONAL = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
"""Characters that make text look like other text."""


class Scalar:
    """One value, as written. `broken` stands for something that was refused with a fault already."""

    __slots__ = ("broken", "file", "line", "column", "quoted", "text")  # noqa: RUF023 - line, then column

    def __init__(
        self, file: str, line: int, column: int, text: str, *, quoted: bool = False, broken: bool = False
    ) -> None:
        self.file, self.line, self.column = file, line, column
        self.text, self.quoted, self.broken = text, quoted, broken

    @property
    def origin(self) -> Origin:
        """Where it stands."""
        return Origin(file=self.file, line=self.line, column=self.column)

    @property
    def blank(self) -> bool:
        """Nothing was written where a value belongs."""
        return not self.text and not self.quoted and not self.broken


class Sequence:
    """A list of nodes."""

    __slots__ = ("file", "line", "column", "items")  # noqa: RUF023

    def __init__(self, file: str, line: int, column: int) -> None:
        self.file, self.line, self.column = file, line, column
        self.items: list[Scalar | Sequence | Mapping] = []

    @property
    def origin(self) -> Origin:
        """Where its first item stands."""
        return Origin(file=self.file, line=self.line, column=self.column)


class Mapping:
    """Keys, as written, and their nodes, in the order of the file. No two keys are equal, whatever their case."""

    __slots__ = ("file", "line", "column", "items")  # noqa: RUF023

    def __init__(self, file: str, line: int, column: int) -> None:
        self.file, self.line, self.column = file, line, column
        self.items: list[tuple[Scalar, Scalar | Sequence | Mapping]] = []

    @property
    def origin(self) -> Origin:
        """Where its first key stands."""
        return Origin(file=self.file, line=self.line, column=self.column)


def parse(
    data: bytes, file: str, faults: list[Fault], *, aliases: bool = False
) -> Scalar | Sequence | Mapping | None:
    """Return the tree of the only document in `data`, None when there is none or it cannot be used.

    Every fault that is found is appended to `faults`. `aliases` admits `&anchor` and `*alias` (red-pak's files may
    have them). A tree may be returned although there were faults: their places hold broken scalars.
    """
    if len(data) > MAX_BYTES:
        faults.append(
            Fault(origin=Origin(file=file), message=f"the file is larger than {MAX_BYTES >> 20} MiB")
        )
        return None
    if not readable(data, file, faults):
        return None
    return _Builder(file, faults, aliases=aliases).build(data)


def readable(data: bytes, file: str, faults: list[Fault]) -> bool:
    """Tell whether `data` is text that looks like what it says."""
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = len(data[data.rfind(b"\n", 0, error.start) + 1 : error.start].decode(errors="replace")) + 1
        faults.append(
            Fault(
                origin=Origin(file=file, line=line, column=column),
                message=f"byte 0x{data[error.start]:02x} is not UTF-8",
                hint="Save the file as UTF-8.",
            )
        )
        return False
    found = [at for at in (text.find(mark) for mark in BIDIRECTIONAL) if at >= 0]
    if found:
        at = min(found)
        where = Origin(file=file, line=text.count("\n", 0, at) + 1, column=at - text.rfind("\n", 0, at))
        faults.append(
            Fault(
                origin=where,
                message=f"character U+{ord(text[at]):04X} changes the direction of text",
                hint="Remove it: it makes the file look like something else.",
            )
        )
        return False
    return True


class _Builder:
    """Turns events into a tree; one use."""

    def __init__(self, file: str, faults: list[Fault], *, aliases: bool) -> None:
        self.file = file
        self.faults = faults
        self.aliases = aliases
        self.open: list[Sequence | Mapping] = []
        self.keys: list[Scalar | None] = []  # for each open node: the key that waits for its value
        self.seen: list[dict[str, int]] = []  # for each open node: keys in lower case, and their lines
        self.anchors: dict[
            str, tuple[Scalar | Sequence | Mapping, int, int]
        ] = {}  # node, its nodes, its depth
        self.names: list[
            tuple[str | None, int]
        ] = []  # for each open node: its anchor, and the count before it
        self.nodes = 0
        self.root: Scalar | Sequence | Mapping | None = None

    def build(self, data: bytes) -> Scalar | Sequence | Mapping | None:
        """Run through the events of `data`."""
        import yaml

        parser: Any = getattr(yaml, "CSafeLoader", None) or yaml.SafeLoader
        documents = 0
        try:
            events = parser(data)
            while (event := events.get_event()) is not None:
                kind = type(event).__name__
                if kind == "DocumentStartEvent":
                    documents += 1
                    if documents > 1:
                        self.fault(event, "a second document starts here", "Keep one document in a file.")
                        break
                elif not self.take(event, kind):
                    return None
        except yaml.MarkedYAMLError as error:
            self.broken(error)
            return None
        except yaml.YAMLError as error:
            self.unreadable(error, data)
            return None
        return self.root

    def take(self, event: Any, kind: str) -> bool:
        """Add what one event says; False when the limits are exceeded."""
        if kind in ("SequenceEndEvent", "MappingEndEvent"):
            self.close()
            return True
        if kind in ("StreamStartEvent", "StreamEndEvent", "DocumentEndEvent"):
            return True
        if len(self.faults) > MAX_FAULTS:
            return False
        self.nodes += 1
        mark = event.start_mark
        line, column = mark.line + 1, mark.column + 1
        if kind == "AliasEvent":
            self.add(self.alias(event, line, column))
        elif kind == "ScalarEvent":
            node = self.scalar(event, line, column)
            if event.anchor and self.may_anchor(event):
                self.anchors[event.anchor] = (node, 1, 0)
            self.add(node)
        elif len(self.open) >= MAX_DEPTH:
            self.fault(event, f"nested deeper than {MAX_DEPTH} levels", "Flatten the file.")
            return False
        else:
            self.check_tag(event)
            node_: Sequence | Mapping
            node_ = (
                Mapping(self.file, line, column)
                if kind == "MappingStartEvent"
                else Sequence(self.file, line, column)
            )
            name = event.anchor if event.anchor and self.may_anchor(event) else None
            self.add(node_)
            self.open.append(node_)
            self.keys.append(None)
            self.seen.append({})
            self.names.append((name, self.nodes - 1))
            if name:
                self.anchors.pop(name, None)
        if self.nodes > MAX_NODES:
            self.fault(event, f"more than {MAX_NODES} values", "Split the file, or write fewer aliases.")
            return False
        return True

    def scalar(self, event: Any, line: int, column: int) -> Scalar:
        """Return the node of a scalar event."""
        ok = self.check_tag(event)
        text: str = event.value
        if "\0" in text:
            self.fault(event, "a value contains a NUL character", "Remove it: no name or value can hold one.")
            ok = False
        return Scalar(
            self.file, line, column, text, quoted=event.style is not None and event.style != "", broken=not ok
        )

    def alias(self, event: Any, line: int, column: int) -> Scalar | Sequence | Mapping:
        """Return the node that an alias stands for, counted as if it were written out."""
        if not self.aliases:
            self.fault(
                event,
                f"alias '*{clip(event.anchor)}' is not allowed",
                "Write the value out: aliases hide who says what.",
            )
        elif event.anchor not in self.anchors:
            self.fault(event, f"alias '*{clip(event.anchor)}' has no anchor before it", "Define it first.")
        else:
            node, count, depth = self.anchors[event.anchor]
            self.nodes += count - 1
            if len(self.open) + depth <= MAX_DEPTH:
                return node
            self.fault(event, f"nested deeper than {MAX_DEPTH} levels by an alias", "Flatten the file.")
        return Scalar(self.file, line, column, "", broken=True)

    def add(self, node: Scalar | Sequence | Mapping) -> None:
        """Put a node where it belongs: in the open sequence, or as the key or value of the open mapping."""
        if not self.open:
            self.root = node
            return
        parent = self.open[-1]
        if isinstance(parent, Sequence):
            parent.items.append(node)
            return
        key = self.keys[-1]
        if key is not None:
            self.keys[-1] = None
            self.pair(parent, key, node)
        elif isinstance(node, Scalar):
            self.keys[-1] = node
        else:
            self.faults.append(Fault(origin=node.origin, message="a key must be a single word"))
            self.keys[-1] = Scalar(self.file, node.line, node.column, "", broken=True)

    def pair(self, parent: Mapping, key: Scalar, node: Scalar | Sequence | Mapping) -> None:
        """Add a key with its value, unless the mapping has that key already."""
        if key.broken:
            return
        name = key.text.lower()
        first = self.seen[-1].setdefault(name, key.line)
        if len(parent.items) >= len(self.seen[-1]):
            self.faults.append(
                Fault(
                    origin=key.origin,
                    message=f"key '{clip(key.text)}' stands here again; line {first} has it already",
                    hint="Keep one of the two.",
                )
            )
            return
        parent.items.append((key, node))

    def close(self) -> None:
        """Finish the innermost open node."""
        node = self.open.pop()
        self.keys.pop()
        self.seen.pop()
        name, before = self.names.pop()
        if name:
            self.anchors[name] = (node, self.nodes - before, height(node))

    def may_anchor(self, event: Any) -> bool:
        """Refuse an anchor where aliases are refused: it serves nothing else."""
        if not self.aliases:
            self.fault(
                event, f"anchor '&{clip(event.anchor)}' is not allowed", "Remove it and write values out."
            )
        return self.aliases

    def check_tag(self, event: Any) -> bool:
        """Refuse tags that mean more than a plain value."""
        if event.tag is None or event.tag in STANDARD_TAGS:
            return True
        self.fault(event, f"tag '{clip(event.tag)}' is not allowed", "Remove the tag.")
        return False

    def fault(self, event: Any, message: str, hint: str = "") -> None:
        """Report something at an event."""
        mark = event.start_mark
        self.faults.append(
            Fault(
                origin=Origin(file=self.file, line=mark.line + 1, column=mark.column + 1),
                message=message,
                hint=hint,
            )
        )

    def broken(self, error: Any) -> None:
        """Report a syntax error in the parser's words, at its place."""
        mark = error.problem_mark or error.context_mark
        where = Origin(file=self.file, line=mark.line + 1, column=mark.column + 1) if mark else None
        said = error.problem or error.context or "the text is not YAML"
        hint = "Indent with spaces." if "\\t" in said or "'\t'" in said else ""
        if "mapping values are not allowed" in said:
            hint = "Quote a value that contains ': ', and check the indentation of the line above."
        self.faults.append(
            Fault(origin=where or Origin(file=self.file), message=f"not YAML: {said}", hint=hint)
        )

    def unreadable(self, error: Any, data: bytes) -> None:
        """Report a character that YAML does not admit."""
        at = int(getattr(error, "position", 0) or 0)
        line, column = data.count(b"\n", 0, at) + 1, at - data.rfind(b"\n", 0, at)
        said = getattr(error, "reason", None) or "the text is not YAML"
        self.faults.append(
            Fault(origin=Origin(file=self.file, line=line, column=column), message=f"not YAML: {said}")
        )


def clip(text: str) -> str:
    """Return the beginning of `text`, for a message of one line."""
    return text if len(text) <= 60 else f"{text[:59]}…"


def height(node: Scalar | Sequence | Mapping) -> int:
    """Return how many levels `node` has, itself included; 0 for a scalar. Bounded by MAX_DEPTH at each step."""
    deepest = 0
    level: list[Scalar | Sequence | Mapping] = [node]
    while True:
        nested: dict[int, Scalar | Sequence | Mapping] = {}
        found = False
        for each in level:
            if isinstance(each, Scalar):
                continue
            found = True
            inner = each.items if isinstance(each, Sequence) else [value for _, value in each.items]
            for one in inner:
                nested[id(one)] = one
        if not found:
            return deepest
        deepest += 1
        level = list(nested.values())
