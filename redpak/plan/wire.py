"""Plans as JSON and back, and their digest.

    {"redpak-plan": 1, "node": "/nodes/app", …, "mounts": [{"op": "bind", "dst": "/usr", …, "origin": …}, …]}

* An origin is {"file": …, "line": …} (and "column", "note" where there is one), or a word such as "default".
* A text is a string; when parts of it are computed at start it is a list of strings, {"run": "a command"} and
  {"ask": "PID"}. A setting's value that is a text is always such a list, so that it differs from a string.
* Canonical: keys sorted, no blanks, ASCII only. The digest covers the canonical bytes without "warnings".
  Stamps of input files are not in the JSON (they differ between machines that hold the same files).

The fields of an item are those of its class, by their annotations: a field added there is added here.
"""

from __future__ import annotations

from redpak.errors import BadConfig, Fault
from redpak.origin import Origin
from redpak.plan import model, ops
from redpak.record import Record
from redpak.text import Ask, Run, Text, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeVar

    R = TypeVar("R", bound=Record)

KEY = "redpak-plan"

# The classes that share a list, by what "op" says.
MOUNTS: dict[str, type[Record]] = {
    "bind": ops.Bind,
    "dev": ops.Dev,
    "dir": ops.Dir,
    "file": ops.File,
    "inherit-fd": ops.InheritFd,
    "lock": ops.Lock,
    "mqueue": ops.Mqueue,
    "proc": ops.Proc,
    "symlink": ops.Symlink,
    "tmpfs": ops.Tmpfs,
}
VARIABLES: dict[str, type[Record]] = {"set": model.SetVar, "unset": model.UnsetVar}
UNIONS: dict[str, dict[str, type[Record]]] = {"Op": MOUNTS, "SetVar | UnsetVar": VARIABLES}
ITEMS: dict[str, type[Record]] = {
    "Member": model.Member,
    "Namespace": model.Namespace,
    "Capability": model.Capability,
    "Rlimit": model.Rlimit,
    "Limit": model.Limit,
    "Choice": model.Choice,
    "FileInput": model.FileInput,
    "EnvInput": model.EnvInput,
    "Rival": model.Rival,
}
# Annotations that are words, with the words that they allow (None: any).
WORDS: dict[str, tuple[str, ...] | None] = {
    "str": None,
    "Kind": ("any", "file"),
    "Missing": ("refuse", "create", "skip"),
    "NamespaceKind": ("cgroup", "ipc", "mount", "net", "pid", "time", "user", "uts"),
    "NamespaceMode": ("new", "host", "join"),
    "RivalKind": ("lost", "seals"),
}
RENAMED = {"because": "origin"}
ABSENT = {("FileInput", "stamp")}


class Broken(Exception):
    """The document is no plan; the message says where and why."""


def document(plan: model.Plan) -> dict[str, Any]:
    """Return the JSON document of a plan, keys in reading order, the digest last."""
    shown = _document(plan)
    return {**shown, "digest": _digest(shown)}


def _document(plan: model.Plan) -> dict[str, Any]:
    return {KEY: model.VERSION, **_put_record(plan)}


def canonical(plan: model.Plan) -> bytes:
    """Return the canonical JSON of a plan, warnings included, without the digest."""
    return _canonical(_document(plan))


def digest(plan: model.Plan) -> str:
    """Return 'sha256:' and the sha256 of the canonical JSON without the warnings, in hexadecimal."""
    return _digest(_document(plan))


def _digest(shown: dict[str, Any]) -> str:
    import hashlib

    covered = {key: value for key, value in shown.items() if key != "warnings"}
    return f"sha256:{hashlib.sha256(_canonical(covered)).hexdigest()}"


def read(data: str | bytes, *, file: str = "") -> model.Plan:
    """Return the plan that `document` or `canonical` made; raises BadConfig naming `file`.

    A digest in the document must be right; a document without one is read as well.
    """
    import json

    try:
        try:
            given = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise Broken(f"is no JSON: {error}") from None
        if not isinstance(given, dict) or KEY not in given:
            raise Broken(f"is no plan: '{KEY}' is missing")
        version = given.pop(KEY)
        if version != model.VERSION or isinstance(version, bool):
            raise Broken(f"is a plan of version {version!r}; this redpak reads version {model.VERSION}")
        claimed = given.pop("digest", None)
        plan = _get_record(model.Plan, given, "plan")
        if claimed is not None and claimed != digest(plan):
            raise Broken("was changed: the digest in it is that of another plan")
        return plan
    except Broken as error:
        message = f"the document {error}"
        hint = "Make it with 'redpak plan PATH --json'."
        raise BadConfig([Fault(origin=Origin(file=file, note="plan"), message=message, hint=hint)]) from None


def _canonical(shown: dict[str, Any]) -> bytes:
    import json

    return json.dumps(shown, sort_keys=True, separators=(",", ":")).encode("ascii")


def fields(cls: type[Record]) -> list[tuple[str, str, str]]:
    """Return (name, annotation, JSON key) of every field that is in the JSON."""
    return [
        (name, cls.__annotations__[name], RENAMED.get(name, name))
        for name in cls.__fields__
        if (cls.__name__, name) not in ABSENT
    ]


def _put_record(record: Record) -> dict[str, Any]:
    return {key: _put(kind, getattr(record, name)) for name, kind, key in fields(type(record))}


def _put(kind: str, value: Any) -> Any:
    if kind.startswith("tuple["):
        inner = kind[6:-1].removesuffix(", ...")
        return [_put(inner, item) for item in value]
    if kind in UNIONS:
        for word, cls in UNIONS[kind].items():
            if type(value) is cls:
                return {"op": word, **_put_record(value)}
    if kind in ITEMS:
        return _put_record(value)
    if kind == "Origin":
        return put_origin(value)
    if kind == "Text":
        return put_text(value)
    if isinstance(value, Text):  # a choice's value
        return _parts(value)
    return value


def put_origin(origin: Origin) -> dict[str, Any] | str:
    """Return the JSON form of an origin."""
    if not origin.file and not origin.line and not origin.column:
        return origin.note
    shown: dict[str, Any] = {"file": origin.file, "line": origin.line}
    if origin.column:
        shown["column"] = origin.column
    if origin.note:
        shown["note"] = origin.note
    return shown


def put_text(value: Text) -> str | list[Any]:
    """Return the JSON form of a text."""
    literal = value.literal
    return _parts(value) if literal is None else literal


def _parts(value: Text) -> list[Any]:
    shown: list[Any] = []
    for part in value.parts:
        match part:
            case str():
                shown.append(part)
            case Run(command=command):
                shown.append({"run": command})
            case Ask(name=name):
                shown.append({"ask": name})
    return shown


def _get_record(cls: type[R], given: Any, where: str) -> R:
    if not isinstance(given, dict):
        raise Broken(f"is wrong at {where}: an object was expected")
    known = fields(cls)
    for key in given:
        if key not in [name for _, _, name in known]:
            raise Broken(f"is wrong at {where}: unknown key '{key}'")
    found = {}
    for name, kind, key in known:
        if key not in given:
            raise Broken(f"is wrong at {where}: '{key}' is missing")
        found[name] = _get(kind, given[key], f"{where}.{key}")
    return cls(**found)


def _get(kind: str, given: Any, where: str) -> Any:
    if kind.startswith("tuple["):
        inner = kind[6:-1].removesuffix(", ...")
        if not isinstance(given, list):
            raise Broken(f"is wrong at {where}: a list was expected")
        return tuple(_get(inner, item, f"{where}[{at}]") for at, item in enumerate(given))
    if kind in UNIONS:
        classes = UNIONS[kind]
        if not isinstance(given, dict) or given.get("op") not in classes:
            raise Broken(f"is wrong at {where}: 'op' must be one of {', '.join(classes)}")
        return _get_record(classes[given["op"]], {k: v for k, v in given.items() if k != "op"}, where)
    if kind in ITEMS:
        return _get_record(ITEMS[kind], given, where)
    if kind == "Origin":
        return _get_origin(given, where)
    if kind == "Text":
        return text(given) if isinstance(given, str) else _get_parts(given, where)
    return _get_plain(kind, given, where)


def _get_plain(kind: str, given: Any, where: str) -> Any:
    if kind in WORDS:
        if not isinstance(given, str):
            raise Broken(f"is wrong at {where}: a string was expected")
        allowed = WORDS[kind]
        if allowed is not None and given not in allowed:
            raise Broken(f"is wrong at {where}: '{given}' is none of {', '.join(allowed)}")
        return given
    if kind == "int":
        if not isinstance(given, int) or isinstance(given, bool):
            raise Broken(f"is wrong at {where}: a number was expected")
        return given
    if kind == "bool":
        if not isinstance(given, bool):
            raise Broken(f"is wrong at {where}: true or false was expected")
        return given
    if kind == "str | None" and (given is None or isinstance(given, str)):
        return given
    if kind == "str | int | bool | Text":
        if isinstance(given, (str, int)):  # bool is an int
            return given
        return _get_parts(given, where)
    raise Broken(f"is wrong at {where}: a value of another type was expected")


def _get_origin(given: Any, where: str) -> Origin:
    if isinstance(given, str):
        return Origin(file="", note=given)
    if not isinstance(given, dict) or not {"file", "line"} <= set(given) <= {
        "file",
        "line",
        "column",
        "note",
    }:
        raise Broken(f"is wrong at {where}: a word or an object with 'file' and 'line' was expected")
    return Origin(
        file=_get_plain("str", given["file"], f"{where}.file"),
        line=_get_plain("int", given["line"], f"{where}.line"),
        column=_get_plain("int", given.get("column", 0), f"{where}.column"),
        note=_get_plain("str", given.get("note", ""), f"{where}.note"),
    )


def _get_parts(given: Any, where: str) -> Text:
    if not isinstance(given, list):
        raise Broken(f"is wrong at {where}: a string or a list of parts was expected")
    parts: list[str | Run | Ask] = []
    for part in given:
        match part:
            case str():
                parts.append(part)
            case {"run": str(command), **rest} if not rest:
                parts.append(Run(command=command))
            case {"ask": ("PID" | "UUID" | "TODAY") as name, **rest} if not rest:
                parts.append(Ask(name=name))
            case _:
                raise Broken(f"is wrong at {where}: a part is a string, {{'run': …}} or {{'ask': …}}")
    return text(*parts)
