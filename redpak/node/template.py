"""Templates of node configurations: found by name, fitted to this host, given their own headers.

A template is an ordinary configuration file. Lines that start with `#:` are for this module alone:

    #:if CONDITION     keep what follows only where the condition holds
    #:else             keep what follows only where it does not
    #:end

    CONDITION = 'exists PATH' | 'same PATH PATH' (two names of one directory) | 'not CONDITION'

They fit a node to the host that it is made on, since an export cannot be optional. Blocks may nest. All the
rest, comments and `$NAMES` included, comes through as it is written; only the headers are replaced.
"""

from __future__ import annotations

import os

from redpak import paths
from redpak.errors import BadConfig, Fault, NotFound, RedpakError, doing
from redpak.origin import Origin
from redpak.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Literal

    from redpak.config.model import NodeDoc

    Kind = Literal["normal", "admin"]
    Model = Literal["full", "root", "leaf"]

LARGEST = 1 << 20  # bytes of a template


class Headers(Record):
    """The headers that a node gets."""

    alias: str
    name: str
    info: str

    def text(self) -> str:
        """Return the section as YAML, without a newline at its end."""
        from redpak.node.status import scalar

        return f"headers:\n  alias: {scalar(self.alias)}\n  name: {scalar(self.name)}\n  info: {scalar(self.info)}"


class Template(Record):
    """A template as found, fitted to this host."""

    file: str
    lines: tuple[str | None, ...]  # None where a line was left out

    @property
    def text(self) -> str:
        """The text that the node gets."""
        return "\n".join(line for line in self.lines if line is not None)

    @property
    def numbered(self) -> str:
        """The text with empty lines for those left out: faults found in it have the template's line numbers."""
        return "\n".join(line or "" for line in self.lines)


def find(name: str, kind: Kind, directories: tuple[str, ...] = ()) -> str:
    """Return the file of a template; a name with '/' is a file, others are looked for where templates are.

    Raises NotFound with the names that there are.
    """
    if "/" in name:
        if os.path.isfile(name):
            return os.path.abspath(name)
        raise NotFound(f"template '{name}' does not exist", hint="Give the path of a configuration file.")
    places = directories or paths.template_directories()
    for place in places:
        for suffix in ("", ".yaml", f"-{kind}.yaml"):
            file = os.path.join(place, name + suffix)
            if os.path.isfile(file):
                return os.path.abspath(file)
    raise NotFound(
        f"there is no template '{name}' in {', '.join(places)}",
        hint=f"Choose one of {', '.join(names(kind, places)) or 'none: there are no templates'}.",
    )


def names(kind: Kind, places: tuple[str, ...]) -> list[str]:
    """Return the names of all templates of a kind."""
    found: set[str] = set()
    for place in places:
        try:
            entries = os.listdir(place)
        except OSError:
            continue
        found.update(
            entry.removesuffix(f"-{kind}.yaml") for entry in entries if entry.endswith(f"-{kind}.yaml")
        )
    return sorted(found)


def read(file: str) -> Template:
    """Return a template fitted to this host. Raises RedpakError, BadConfig when its `#:` lines are wrong."""
    with doing("read the template"), open(file, "rb") as stream:
        data = stream.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise RedpakError(f"template '{file}' is larger than {LARGEST} bytes")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RedpakError(f"template '{file}' is not UTF-8: {error.reason} at byte {error.start}") from None
    faults: list[Fault] = []
    lines = fit(text, file, faults)
    if faults:
        raise BadConfig(faults)
    return Template(file=file, lines=lines)


def fit(
    text: str, file: str, faults: list[Fault], holds: Callable[[str], bool] | None = None
) -> tuple[str | None, ...]:
    """Return the lines of `text`, None for `#:` lines and for blocks whose condition does not hold."""
    holds = holds or on_this_host
    lines: list[str | None] = []
    blocks: list[tuple[bool, bool, int]] = []  # (what is kept, has had its else, line of the if)

    def wrong(line: int, message: str, hint: str = "Write #:if CONDITION, #:else or #:end.") -> None:
        faults.append(Fault(origin=Origin(file=file, line=line, column=1), message=message, hint=hint))

    for number, line in enumerate(text.split("\n"), 1):
        if not line.startswith("#:"):
            lines.append(line if all(kept for kept, _, _ in blocks) else None)
            continue
        lines.append(None)
        word, _, rest = line[2:].strip().partition(" ")
        match word:
            case "if":
                try:
                    blocks.append((holds(rest.strip()), False, number))
                except ValueError as error:
                    wrong(number, str(error), "Write 'exists PATH', 'same PATH PATH' or 'not CONDITION'.")
                    blocks.append((False, False, number))
            case "else" if blocks and not blocks[-1][1] and not rest:
                kept, _, start = blocks[-1]
                blocks[-1] = (not kept, True, start)
            case "end" if blocks and not rest:
                blocks.pop()
            case _:
                wrong(number, f"'{line.strip()}' has no place here")
    for _, _, start in blocks:
        wrong(start, "this block has no end", "Write #:end after it.")
    return tuple(lines)


def on_this_host(condition: str) -> bool:
    """Tell whether a condition holds here. Raises ValueError when it is none."""
    match condition.split():
        case ["not", *rest] if rest:
            return not on_this_host(" ".join(rest))
        case ["exists", path]:
            return os.path.exists(path)
        case ["same", one, other]:
            try:
                return os.path.samefile(one, other)
            except OSError:
                return False
        case _:
            raise ValueError(f"'{condition}' is no condition")


def checked(text: str, file: str, faults: list[Fault]) -> NodeDoc | None:
    """Return the document that a configuration text makes, as if read from `file`; None when it has faults."""
    from redpak.config.load import load_bytes

    return load_bytes(text.encode(), file, lenient=False, defaults=False, faults=faults)


def with_headers(text: str, headers: Headers) -> str:
    """Return a configuration text with its headers replaced and all else kept, comments too.

    `text` must be valid (`checked`); what is written in braces, like JSON, becomes indented blocks.
    """
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    node = yaml.compose(text, Loader=loader)
    if isinstance(node, yaml.MappingNode) and node.flow_style:
        unfold(node)
        text = str(yaml.serialize(node, allow_unicode=True, width=10_000))
        node = yaml.compose(text, Loader=loader)
    start, end = span(node)
    if start == end:  # there were none
        return f"{headers.text()}\n\n{text}"
    tail = text[end:].lstrip(" ")
    return text[:start] + headers.text() + ("" if tail.startswith("\n") else "\n") + tail


def unfold(node: object) -> None:
    """Make a YAML node and all in it blocks."""
    import yaml

    match node:
        case yaml.MappingNode():
            node.flow_style = False
            for _, value in node.value:
                unfold(value)
        case yaml.SequenceNode():
            node.flow_style = False
            for value in node.value:
                unfold(value)


def span(node: object) -> tuple[int, int]:
    """Return where the section `headers` of a composed document begins and ends, (0, 0) when there is none."""
    import yaml

    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if str(key.value).lower() == "headers":
                return key.start_mark.index, last(value)
    return 0, 0


def last(node: object) -> int:
    """Return where a YAML node's text ends; a block's own end mark lies behind the comments that follow it."""
    import yaml

    if isinstance(node, yaml.MappingNode) and not node.flow_style and node.value:
        return last(node.value[-1][1])
    if isinstance(node, yaml.SequenceNode) and not node.flow_style and node.value:
        return last(node.value[-1])
    assert isinstance(node, yaml.Node)
    return int(node.end_mark.index)
