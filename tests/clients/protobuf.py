"""Messages of Protocol Buffers to dictionaries and back, by a table of their fields.

Source: "Encoding" of Protocol Buffers' documentation. What the table does not know is left out of what is decoded.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
PLAIN = {"int": 0, "bool": False, "str": "", "bytes": b""}  # kinds of values, and what is not sent is


class Field:
    """A field, written as 'name=number kind': a kind is one of PLAIN, a message, `map`, or one of them after '*'."""

    def __init__(self, written: str) -> None:
        said, _, kind = written.partition(" ")
        self.name, _, number = said.partition("=")
        self.number = int(number)
        self.many = kind.startswith("*")
        self.kind = kind.removeprefix("*")


class Messages:
    """A table of messages: their name and their fields, separated by commas."""

    def __init__(self, table: dict[str, str]) -> None:
        self.fields = {
            message: [Field(one.strip()) for one in fields.split(",") if one.strip()]
            for message, fields in table.items()
        }
        self.fields["map"] = [Field("key=1 str"), Field("value=2 str")]

    def encode(self, message: str, values: dict[str, Any]) -> bytes:
        """Return a message. Raises KeyError for a name that the table does not have."""
        found = bytearray()
        fields = {field.name: field for field in self.fields[message]}
        for name, value in values.items():
            field = fields[name]
            if field.kind == "map":
                items = [{"key": key, "value": text} for key, text in value.items()]
            else:
                items = value if field.many else [value]
            for one in items:
                found += self._one(field, one)
        return bytes(found)

    def _one(self, field: Field, value: Any) -> bytes:
        if field.kind in ("int", "bool"):
            return varint(field.number << 3 | VARINT) + varint(int(value))
        if field.kind == "str":
            value = value.encode()
        data: bytes = value if field.kind in ("str", "bytes") else self.encode(field.kind, value)
        return varint(field.number << 3 | BYTES) + varint(len(data)) + data

    def decode(self, message: str, data: bytes) -> dict[str, Any]:
        """Return the fields of a message, all plain ones, lists and maps with what they are when nothing is sent."""
        fields = {field.number: field for field in self.fields[message]}
        values: dict[str, Any] = {}
        for field in fields.values():
            if field.many or field.kind == "map":
                values[field.name] = {} if field.kind == "map" else []
            elif field.kind in PLAIN:
                values[field.name] = PLAIN[field.kind]
        for number, raw in parts(data):
            known = fields.get(number)
            if known is None:
                continue
            value = self._read(known, raw)
            if known.kind == "map":
                values[known.name][value["key"]] = value["value"]
            elif not known.many:
                values[known.name] = value
            elif isinstance(value, list):
                values[known.name] += value
            else:
                values[known.name].append(value)
        return values

    def _read(self, field: Field, raw: int | bytes) -> Any:
        if isinstance(raw, int):
            return bool(raw) if field.kind == "bool" else signed(raw)
        match field.kind:
            case "str":
                return raw.decode()
            case "bytes":
                return raw
            case "int" if field.many:  # many numbers in one
                return [signed(one) for one in varints(raw)]
            case _:
                return self.decode(field.kind, raw)


def varint(value: int) -> bytes:
    """Return a number, seven bits a byte, the lowest first; a negative one as its 64 bits."""
    value &= (1 << 64) - 1
    found = bytearray()
    while value >= 0x80:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


def signed(value: int) -> int:
    """Return a number of 64 bits as one with a sign."""
    return value - (1 << 64) if value >> 63 else value


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def varints(data: bytes) -> Iterator[int]:
    """Return numbers that follow each other."""
    at = 0
    while at < len(data):
        value, at = _read_varint(data, at)
        yield value


def parts(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Return the number and the raw value of each field that was sent."""
    at = 0
    while at < len(data):
        tag, at = _read_varint(data, at)
        kind = tag & 7
        if kind == VARINT:
            value, at = _read_varint(data, at)
            yield tag >> 3, value
            continue
        if kind == BYTES:
            size, at = _read_varint(data, at)
        else:
            size = {FIXED64: 8, FIXED32: 4}[kind]
        assert at + size <= len(data), "the message ends in the middle of a field"
        yield tag >> 3, data[at : at + size]
        at += size
