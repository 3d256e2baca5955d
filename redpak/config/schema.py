"""The JSON Schema (draft 2020-12) of configuration files, made from the table of settings; editors complete with it.

An editor's YAML reader turns `027` and `no` into numbers and booleans, which redpak does not; so the schema admits
them wherever redpak reads text. It is a help while typing; `redpak` itself checks more.
"""

from __future__ import annotations

import re

from redpak.config import kinds, settings
from redpak.config.kinds_words import NO, YES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from redpak.config.setting import Setting

    Schema = dict[str, Any]

IDENTIFIER = "https://json-schema.org/draft/2020-12/schema"
ANY_TEXT: Schema = {"type": ["string", "number", "boolean", "null"]}
WHOLE: Schema = {"type": "integer"}


def schema(*, defaults: bool = False) -> Schema:
    """Return the schema of a node's file, or with `defaults` of the core OS's main.yaml, whose headers are optional."""
    found = section("")
    if defaults:
        found.pop("required", None)
        found["properties"]["headers"].pop("required", None)
    title = "redpak: the core OS's defaults" if defaults else "redpak: a node's configuration"
    return {"$schema": IDENTIFIER, "title": title, **found}


def section(name: str) -> Schema:
    """Return the schema of a mapping: the settings directly in a section."""
    members = settings.children(name)
    found: Schema = {
        "type": "object",
        "additionalProperties": False,
        "properties": {setting.name: described(setting) for setting in members},
    }
    required = [setting.name for setting in members if setting.required]
    if required:
        found["required"] = required
    return found


def described(setting: Setting) -> Schema:
    """Return the schema of one setting, with what an editor shows about it."""
    found = content(setting)
    found["description"] = setting.help
    if setting.default:
        found["default"] = setting.default
    if setting.example:
        found["examples"] = [setting.example]
    if setting.kind == "ignored":
        found["deprecated"] = True
    return found


def content(setting: Setting) -> Schema:
    """Return what a setting's value may be."""
    match setting.kind:
        case "mapping":
            inner = section(setting.full)
            return {**inner, "type": ["object", "null"]} if not setting.required else inner
        case "sequence":
            return {"type": ["array", "null"], "items": section(setting.full)}
        case "ignored":
            return {}
        case "bool":
            return {"anyOf": [{"type": "boolean"}, {"enum": [0, 1]}, words(YES + NO)]}
        case "flag":
            return {"anyOf": [{"enum": [0, 1]}, {"type": "boolean"}, words(YES + NO)]}
        case "int":
            return {
                "anyOf": [
                    WHOLE,
                    {"type": "string", "pattern": r"^-?(0|[1-9][0-9]*|0[xX][0-9a-fA-F]+|0[oO][0-7]+)$"},
                ]
            }
        case "tri":
            return words(settings.TRI)
        case "choice":
            return words(setting.words + tuple(spelling for spelling, _ in setting.aliases))
        case "share":
            return {"anyOf": [words(settings.SHARING), {"type": "string", "pattern": "^/"}]}
        case "octal":
            return {"anyOf": [{**WHOLE, "minimum": 0, "maximum": 777}, pattern("^(0[oO])?0*[0-7]{1,3}$")]}
        case "alias":
            return {"anyOf": [pattern(f"^{kinds.ALIAS}$"), {"type": ["integer", "boolean"]}]}
        case "place" | "mount":
            return pattern("^[/$]")
        case "variable":
            return pattern("^[A-Za-z_][A-Za-z0-9_.-]*$")
        case "capability":
            names = tuple(name.removeprefix("CAP_") for name in settings.CAPABILITIES)
            return words((*settings.CAPABILITIES, *names, "ALL"), shown=(*settings.CAPABILITIES, "ALL"))
        case "weight":
            return {"anyOf": [{**WHOLE, "minimum": 1, "maximum": 10_000}, pattern("^[0-9]+$")]}
        case "nice":
            return {"anyOf": [{**WHOLE, "minimum": -20, "maximum": 19}, pattern("^-?[0-9]+$")]}
        case "size":
            return {"anyOf": [{**WHOLE, "minimum": 0}, pattern("^([0-9]+[KMGTPEkmgtpe]?|[mM][aA][xX])$")]}
        case "count":
            return {"anyOf": [{**WHOLE, "minimum": 0}, pattern("^([0-9]+|[mM][aA][xX])$")]}
        case "oom":
            return {"anyOf": [{**WHOLE, "minimum": 0}, {"type": "boolean"}, words(YES + NO)]}
        case "io-max" | "io-weight" | "io-line":
            return {
                "anyOf": [
                    {"type": ["string", "integer"]},
                    {"type": "array", "items": {"type": ["string", "integer"]}},
                ]
            }
        case _:
            return dict(ANY_TEXT)


def pattern(expression: str) -> Schema:
    """Return the schema of text that looks like `expression`."""
    return {"type": "string", "pattern": expression}


def words(possible: tuple[str, ...], *, shown: tuple[str, ...] = ()) -> Schema:
    """Return the schema of words in whatever case; editors offer `shown`, else all of them."""
    either = "|".join("".join(either_case(c) for c in word) for word in possible)
    return {"anyOf": [{"enum": list(shown or possible)}, {"type": "string", "pattern": f"^({either})$"}]}


def either_case(c: str) -> str:
    """Return a regular expression for one character in both cases: JSON Schema has no flag for it."""
    return f"[{c.upper()}{c.lower()}]" if c.isalpha() else re.escape(c)


def comment() -> str:
    """Return the line that tells an editor's YAML language server where the schema is."""
    return "# yaml-language-server: $schema=redpak.schema.json"
