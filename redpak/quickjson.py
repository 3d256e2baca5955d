"""JSON without the price of `import json`: that costs 17 ms on a small machine, more than a whole sandbox.

The work is done by `_json`, the C half of Python's own module, so what is accepted is what `json` accepts, but for:

* NaN and Infinity are refused: they are no JSON (RFC 8259, section 6), and no other reader takes them.
* A key that is there twice is refused. Readers differ in which one counts (Go's takes the last, yajl's tree the
  first), so what one program checked could be another thing than what the next one runs.
* Bytes are UTF-8 without a byte order mark, and nothing is nested deeper than DEPTH.

Where an interpreter has no `_json`, `json` itself is taken. `locate` is slower and also tells the line of each value.
"""

from __future__ import annotations

from redpak.errors import BadConfig, Fault, doing
from redpak.origin import Origin

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Where = dict[str, tuple[int, int]]

DEPTH = 128  # levels of objects and lists; a configuration of a container has seven
SIZE_BYTES = 16 << 20
BLANKS = " \t\n\r"
HINT = "Make it a JSON document (RFC 8259)."


class _Twice(Exception):
    """A key is there twice."""


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen = set()
        for key, _ in pairs:
            if key in seen:
                raise _Twice(key)
            seen.add(key)
    return found


def _no_constant(word: str) -> Any:
    raise ValueError(f"'{word}' is no JSON number")


class _Context:
    """What the scanner asks for; the names are those of json.JSONDecoder."""

    strict = True
    object_hook = None
    object_pairs_hook = staticmethod(_no_duplicates)
    parse_float = float
    parse_int = int
    parse_constant = staticmethod(_no_constant)
    memo: dict[str, str] = {}  # noqa: RUF012 - for the scanner written in Python, which empties it


def _make_scanner(context: Any) -> Callable[[str, int], tuple[Any, int]]:
    try:
        from _json import make_scanner
    except ImportError:
        from json import decoder, scanner

        # The half that is written in Python: typeshed knows only the names that both halves have.
        context.parse_object = decoder.JSONObject  # type: ignore[attr-defined]
        context.parse_array = decoder.JSONArray  # type: ignore[attr-defined]
        context.parse_string = decoder.scanstring  # type: ignore[attr-defined]
        return scanner.py_make_scanner(context)  # type: ignore[attr-defined, no-any-return]
    return make_scanner(context)


def loads(data: str | bytes, *, file: str = "", depth: int = DEPTH) -> Any:
    """Return the value that a JSON text stands for; raises BadConfig with `file`, line and column."""
    text = _text(data, file)
    try:
        value, end = _make_scanner(_Context())(text, _skip(text, 0))
        end = _skip(text, end)
    except StopIteration as error:
        raise _bad(file, text, error.value, "a value is missing") from None
    except _Twice:
        locate(text, file=file)  # finds it again, and where
        raise _bad(file, text, 0, "a key is there twice") from None
    except (
        SystemError
    ):  # before 3.12 it raises nothing where json.decoder, which has the exception, is not there yet
        locate(text, file=file)
        raise _bad(file, text, 0, "it is wrong") from None
    except RecursionError:
        raise _bad(file, text, 0, f"it is nested deeper than {depth} levels") from None
    except ValueError as error:
        at = getattr(error, "pos", None)
        if at is None:  # a number: the scanner does not tell where
            locate(text, file=file)
            at = 0
        raise _bad(file, text, at, _why(error)) from None
    if end != len(text):
        raise _bad(file, text, end, "something follows the value")
    level, deep = [value], 0
    while level := [
        inner
        for outer in level
        if outer.__class__ is dict or outer.__class__ is list
        for inner in (outer.values() if outer.__class__ is dict else outer)
    ]:
        deep += 1
        if deep > depth:
            raise _bad(file, text, 0, f"it is nested deeper than {depth} levels")
    return value


def load(path: str, *, size_bytes: int = SIZE_BYTES) -> Any:
    """Return the value in a JSON file.

    Raises BadConfig if it is no JSON or longer than `size_bytes`, RedpakError if it cannot be read.
    """
    return loads(read(path, size_bytes=size_bytes), file=path)


def read(path: str, *, size_bytes: int = SIZE_BYTES) -> bytes:
    """Return the bytes of a file of at most `size_bytes`; raises BadConfig if it is longer."""
    with doing(f"read '{path}'"), open(path, "rb", buffering=0) as file:
        data = bytearray()
        while more := file.read(min(1 << 18, size_bytes + 1 - len(data))):
            data += more
    if len(data) > size_bytes:
        raise _bad(path, "", 0, f"it is longer than {size_bytes} bytes")
    return bytes(data)


def locate(data: str | bytes, *, file: str = "", depth: int = DEPTH) -> tuple[Any, Where]:
    """Return the value, and (line, column) of each value in it by its path: '' is the whole, 'process.args[0]'.

    Raises BadConfig as `loads` does.
    """
    text = _text(data, file)
    return _Locator(text, file, depth).read()


class _Locator:
    """Reads containers itself, so that it knows where each value begins; the scanner reads all else."""

    def __init__(self, text: str, file: str, depth: int) -> None:
        import json.decoder  # noqa: F401 - the scanner looks for its exception there

        self.text = text
        self.file = file
        self.depth = depth
        self.scan = _make_scanner(_Context())
        self.where: Where = {}
        self.line, self.line_at, self.seen = 1, 0, 0

    def read(self) -> tuple[Any, Where]:
        value, end = self.value(_skip(self.text, 0), "", 0)
        end = _skip(self.text, end)
        if end != len(self.text):
            raise self.bad(end, "something follows the value")
        return value, self.where

    def bad(self, at: int, why: str) -> BadConfig:
        return _bad(self.file, self.text, at, why)

    def note(self, at: int, path: str) -> None:
        """Positions are asked for in rising order, so newlines are counted once."""
        more = self.text.count("\n", self.seen, at)
        if more:
            self.line += more
            self.line_at = self.text.rfind("\n", self.seen, at) + 1
        self.seen = at
        self.where[path] = (self.line, at - self.line_at + 1)

    def value(self, at: int, path: str, deep: int) -> tuple[Any, int]:
        self.note(at, path)
        first = self.text[at : at + 1]
        if first not in ("{", "["):
            return self.plain(at)
        if deep >= self.depth:
            raise self.bad(at, f"it is nested deeper than {self.depth} levels")
        return self.object(at, path, deep + 1) if first == "{" else self.list(at, path, deep + 1)

    def plain(self, at: int) -> tuple[Any, int]:
        try:
            return self.scan(self.text, at)
        except StopIteration:
            raise self.bad(at, "a value is missing") from None
        except ValueError as error:
            raise self.bad(getattr(error, "pos", at), _why(error)) from None

    def object(self, at: int, path: str, deep: int) -> tuple[dict[str, Any], int]:
        found: dict[str, Any] = {}
        at = _skip(self.text, at + 1)
        if self.text[at : at + 1] == "}":
            return found, at + 1
        while True:
            if self.text[at : at + 1] != '"':
                raise self.bad(at, "a key in double quotes is missing")
            key_at = at
            key, at = self.plain(at)
            if key in found:
                raise self.bad(key_at, f"the key '{key}' is there twice")
            at = _skip(self.text, at)
            if self.text[at : at + 1] != ":":
                raise self.bad(at, "':' is missing")
            value_path = f"{path}.{key}" if path else key
            found[key], at = self.value(_skip(self.text, at + 1), value_path, deep)
            at = _skip(self.text, at)
            end = self.text[at : at + 1]
            if end == "}":
                return found, at + 1
            if end != ",":
                raise self.bad(at, "',' or '}' is missing")
            at = _skip(self.text, at + 1)

    def list(self, at: int, path: str, deep: int) -> tuple[list[Any], int]:
        found: list[Any] = []
        at = _skip(self.text, at + 1)
        if self.text[at : at + 1] == "]":
            return found, at + 1
        while True:
            value, at = self.value(at, f"{path}[{len(found)}]", deep)
            found.append(value)
            at = _skip(self.text, at)
            end = self.text[at : at + 1]
            if end == "]":
                return found, at + 1
            if end != ",":
                raise self.bad(at, "',' or ']' is missing")
            at = _skip(self.text, at + 1)


def dumps(value: Any, *, indent: str = "", ascii_only: bool = True, sort_keys: bool = False) -> str:
    """Return the JSON text of a value: in one line without blanks, or with `indent` ("\\t") a line a member.

    Keys must be strings. Raises TypeError for what JSON does not have, ValueError for NaN and infinities.
    """
    try:
        from _json import encode_basestring, encode_basestring_ascii, make_encoder
    except ImportError:
        import json

        return json.dumps(
            value,
            indent=indent or None,
            ensure_ascii=ascii_only,
            sort_keys=sort_keys,
            allow_nan=False,
            separators=(",", ": " if indent else ":"),
        )
    quote = encode_basestring_ascii if ascii_only else encode_basestring
    skip_keys = allow_nan = False
    encoder = make_encoder({}, _unknown, quote, None, ":", ",", sort_keys, skip_keys, allow_nan)
    if indent:
        chunks: list[str] = []
        _indented(value, "\n", indent, sort_keys, quote, encoder, chunks.append)
        return "".join(chunks)
    return "".join(encoder(value, 0))


def _indented(
    value: Any,
    margin: str,
    indent: str,
    sort_keys: bool,  # noqa: FBT001 - one of the seven things that stay the same all the way down
    quote: Callable[[str], str],
    encoder: Callable[[Any, int], tuple[str, ...]],
    put: Callable[[str], None],
) -> None:
    inner = margin + indent
    if isinstance(value, dict) and value:
        before = "{"
        for key, member in sorted(value.items()) if sort_keys else value.items():
            if not isinstance(key, str):
                raise TypeError(f"a key is no string: {key!r}")
            put(f"{before}{inner}{quote(key)}: ")
            _indented(member, inner, indent, sort_keys, quote, encoder, put)
            before = ","
        put(margin + "}")
    elif isinstance(value, (list, tuple)) and value:
        before = "["
        for member in value:
            put(before + inner)
            _indented(member, inner, indent, sort_keys, quote, encoder, put)
            before = ","
        put(margin + "]")
    else:
        put("".join(encoder(value, 0)))


def _unknown(value: object) -> Any:
    raise TypeError(f"a {type(value).__name__} has no JSON form")


def _text(data: str | bytes, file: str) -> str:
    if isinstance(data, str):
        return data
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        good = data[: error.start].decode()
        raise _bad(file, good, len(good), "it is not UTF-8") from None


def _skip(text: str, at: int) -> int:
    while text[at : at + 1] in BLANKS and at < len(text):
        at += 1
    return at


def _why(error: ValueError) -> str:
    """Return what the scanner has to say, in our style."""
    said = str(getattr(error, "msg", error)).split(";")[0].removesuffix(" at")
    return said[:1].lower() + said[1:]


def _bad(file: str, text: str, at: int, why: str) -> BadConfig:
    line = text.count("\n", 0, at) + 1
    column = at - (text.rfind("\n", 0, at) + 1) + 1
    if file:
        origin, place = Origin(file=file, line=line, column=column), ""
    else:
        origin, place = Origin(file="", note="JSON"), f" (line {line}, column {column})"
    return BadConfig([Fault(origin=origin, message=f"it cannot be read as JSON: {why}{place}")], hint=HINT)
