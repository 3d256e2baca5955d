"""The status file: its presence makes a directory a node, its state says whether the node may be launched.

It is read at every launch for every member of the family, so the form that redpak and red-pak write is read
without a YAML library; any other YAML is read with one.
"""

from __future__ import annotations

import os

from redpak import paths
from redpak.errors import Fault, doing
from redpak.origin import Origin
from redpak.record import Record

STATES = ("Disable", "Enable", "Unknown", "Error")  # also by number, as red-pak reads them
KEYS = ("realpath", "info", "timestamp", "state")
REQUIRED = ("realpath", "timestamp", "state")
LARGEST = 65536  # bytes; redpak writes about 150
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PLAIN_START = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/_.")


class Status(Record):
    """What a status file says."""

    file: str
    realpath: str
    info: str = ""
    timestamp_ms: int
    state: str


def file_of(node: str) -> str:
    """Return the path of a node's status file."""
    return os.path.join(node, paths.STATUS)


def read(node: str, faults: list[Fault]) -> Status | None:
    """Return the status of the directory `node`; None when it is no node or when the file is wrong.

    What is wrong is added to `faults`. Raises RedpakError when the file cannot be read.
    """
    file = file_of(node)
    with doing("read the node's status"):
        try:
            # O_NONBLOCK: a FIFO put in the place of the file must not hang a launch.
            fd = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        except (FileNotFoundError, NotADirectoryError):
            return None
        try:
            if os.fstat(fd).st_mode & 0o170000 != 0o100000:
                faults.append(Fault(origin=Origin(file=file), message="the status is not a regular file"))
                return None
            data = os.read(fd, LARGEST + 1)
        finally:
            os.close(fd)
    if len(data) > LARGEST:
        faults.append(Fault(origin=Origin(file=file), message=f"the status is larger than {LARGEST} bytes"))
        return None
    return parse(data, file, faults)


def parse(data: bytes, file: str, faults: list[Fault]) -> Status | None:
    """Return what the bytes of a status file say; None when they are wrong, with the reasons in `faults`."""
    before = len(faults)
    found: dict[str, tuple[str, Origin]] = {}
    for key, value, origin in plain_items(data, file) or yaml_items(data, file, faults):
        name = key.lower()
        if name not in KEYS:
            hint = f"Known keys are {', '.join(KEYS)}."
            faults.append(Fault(origin=origin, message=f"unknown key '{key}' in the status", hint=hint))
        elif name in found:
            faults.append(Fault(origin=origin, message=f"key '{key}' is there twice (also {found[name][1]})"))
        else:
            found[name] = (value, origin)
    if len(faults) == before:
        missing = [name for name in REQUIRED if name not in found]
        if missing:
            hint = "Repair it with 'redpak node enable'."
            message = f"the status lacks {', '.join(repr(name) for name in missing)}"
            faults.append(Fault(origin=Origin(file=file), message=message, hint=hint))
    if len(faults) > before:
        return None
    state, origin = found["state"]
    if state.isascii() and state.isdigit() and int(state) < len(STATES):
        state = STATES[int(state)]
    if state not in STATES:
        hint = f"Write one of {', '.join(STATES)}."
        faults.append(Fault(origin=origin, message=f"unknown state '{state}'", hint=hint))
    number, origin = found["timestamp"]
    if not (number.isascii() and number.isdigit()):
        hint = "Write milliseconds since 1970."
        faults.append(Fault(origin=origin, message=f"timestamp '{number}' is not a number", hint=hint))
    if len(faults) > before:
        return None
    info = found["info"][0] if "info" in found else ""
    return Status(file=file, realpath=found["realpath"][0], info=info, timestamp_ms=int(number), state=state)


def plain_items(data: bytes, file: str) -> list[tuple[str, str, Origin]]:
    """Return (key, value, origin) of lines 'key: plain value'; [] as soon as anything else is in the file."""
    try:
        lines = data.decode().splitlines()
    except UnicodeDecodeError:
        return []
    items: list[tuple[str, str, Origin]] = []
    for number, line in enumerate(lines, 1):
        if not line or line.startswith("#") or (line == "---" and not items):
            continue
        key, colon, value = line.partition(": ")
        value = value.strip(" ")
        easy = (
            colon
            and key.isalpha()
            and key.isascii()
            and value[:1] in _PLAIN_START
            and value.isprintable()
            and ": " not in value
            and " #" not in value
            and not value.endswith(":")
        )
        if not easy or not value:
            return []
        items.append((key, value, Origin(file=file, line=number, column=1)))
    return items


def yaml_items(data: bytes, file: str, faults: list[Fault]) -> list[tuple[str, str, Origin]]:
    """Return (key, value, origin) of one flat YAML mapping of scalars; anything else becomes a fault."""
    import yaml

    items: list[tuple[str, str, Origin]] = []
    depth, seen = 0, 0
    key: tuple[str, Origin] | None = None

    def at(mark: Any) -> Origin:
        return Origin(file=file, line=mark.line + 1, column=mark.column + 1) if mark else Origin(file=file)

    def wrong(mark: Any, message: str) -> list[tuple[str, str, Origin]]:
        hint = "Write one mapping of realpath, info, timestamp and state."
        faults.append(Fault(origin=at(mark), message=message, hint=hint))
        return []

    try:
        for event in yaml.parse(data, Loader=yaml.SafeLoader):
            match event:
                case yaml.MappingStartEvent() if depth == 0:
                    depth = 1
                case yaml.MappingEndEvent():
                    depth = 0
                case yaml.ScalarEvent() if depth == 1:
                    if key is None:
                        key = event.value, at(event.start_mark)
                    else:
                        items.append((key[0], event.value, key[1]))
                        key = None
                case yaml.DocumentStartEvent():
                    seen += 1
                    if seen > 1:
                        return wrong(event.start_mark, "the status holds more than one document")
                case yaml.StreamStartEvent() | yaml.StreamEndEvent() | yaml.DocumentEndEvent():
                    pass
                case _:
                    return wrong(event.start_mark, "the status is not a flat mapping")
    except yaml.MarkedYAMLError as error:
        return wrong(error.problem_mark, f"the status is not YAML: {error.problem}")
    except (yaml.YAMLError, UnicodeDecodeError, ValueError) as error:
        return wrong(None, f"the status is not YAML: {str(error).splitlines()[0]}")
    return items


def text_of(status: Status) -> str:
    """Return the file content for a status, keys in red-pak's order."""
    return (
        f"realpath: {scalar(status.realpath)}\n"
        f"info: {scalar(status.info)}\n"
        f"timestamp: {status.timestamp_ms}\n"
        f"state: {status.state}\n"
    )


def scalar(value: str) -> str:
    """Return a string as a YAML scalar: plain where that is unmistakable, else double-quoted.

    >>> scalar("/var/redpak/a"), scalar("a: b")
    ('/var/redpak/a', '"a: b"')
    """
    words = {"", "true", "false", "yes", "no", "on", "off", "null", "y", "n"}
    easy = (
        value[:1] in _PLAIN_START
        and value.isprintable()
        and ": " not in value
        and " #" not in value
        and not value.endswith((":", " "))
        and value.lower() not in words
        and not value[:1].isdigit()
        and value[:1] != "."
    )
    if easy:
        return value
    return '"' + "".join(escaped(c) for c in value) + '"'


def escaped(c: str) -> str:
    """Return a character as it stands in a double-quoted scalar: one that could steer a terminal as its number."""
    if c in '"\\':
        return "\\" + c
    if c.isprintable():
        return c
    number = ord(c)
    return (
        f"\\x{number:02x}"
        if number < 0x100
        else f"\\u{number:04x}"
        if number < 0x10000
        else f"\\U{number:08x}"
    )


def new(node: str, *, state: str = "Enable", by: str = "redpak") -> Status:
    """Return the status of a node that is made now at canonical path `node`."""
    import time

    when = time.strftime("%d-%b-%Y %H:%M (%Z)")
    return Status(
        file=file_of(node),
        realpath=node,
        info=f"created by {by} the {when}",
        timestamp_ms=time.time_ns() // 1_000_000,
        state=state,
    )


def write(status: Status) -> None:
    """Write a status file in one step. Raises RedpakError."""
    from redpak.fs import write_atomically

    write_atomically(status.file, text_of(status).encode())
