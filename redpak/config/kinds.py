"""How each kind of value is read from its text and refused with a hint. Off the launch path: see cache.py.

`strict(setting, text)` is the sealed profile's reading: what is not clearly meant is refused. `lenient(setting, text)`
is libcyaml's, which red-pak 2.5 uses: every word that is not a known "false" is true, `027` is 23.
"""

from __future__ import annotations

import re

from redpak.config.kinds_limits import LIMITS
from redpak.config.kinds_words import NO, YES, BadValue, control, hint_of, nearest, word
from redpak.config.settings import CAPABILITIES, SHARING, TRI
from redpak.config.yamlfile import clip

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from redpak.config.setting import Setting

    Decoded = str | int | bool
    Reader = Callable[[Setting, str], Decoded]

LENIENT_NO = ("false", "no", "off", "disable", "0")

ALIAS = r"[A-Za-z0-9+_@:-]+"


def strict(setting: Setting, text: str) -> Decoded:
    """Decode as the sealed profile does. Raises BadValue."""
    if setting.kind != "command" and (bad := control(text, lines=setting.kind in LONG)):
        raise BadValue(
            f"'{setting.name}' contains the control character U+{ord(bad):04X}", "Remove the character."
        )
    return STRICT[setting.kind](setting, text)


def lenient(setting: Setting, text: str) -> Decoded:
    """Decode as libcyaml does. Raises BadValue."""
    match setting.kind:
        case "bool":
            return text.lower() not in LENIENT_NO
        case "int" | "flag":
            return strtol(setting, text)
        case "tri":
            return word(TRI, text) or numbered(setting, text)
        case "choice" if not setting.section.startswith("config.cgroups"):
            return choice(setting, text)
        case "share":
            return word(SHARING, text) or text
        case "alias":
            return alias(setting, text)
        case _:
            return text


def as_text(_: Setting, text: str) -> str:
    """Take anything."""
    return text


def alias(setting: Setting, text: str) -> str:
    """Take what may stand in file names, variables and host names."""
    if not re.fullmatch(ALIAS, text):
        raise BadValue(
            f"'{clip(text)}' is not an alias" if text else f"'{setting.name}' is empty",
            "Use letters, digits and the characters + _ @ : - only.",
        )
    return text


def boolean(setting: Setting, text: str) -> bool:
    """Take the usual words."""
    low = text.lower()
    if low in YES:
        return True
    if low in NO:
        return False
    raise BadValue(f"'{setting.name}' must be true or false, not '{clip(text)}'", "Write true or false.")


def integer(setting: Setting, text: str) -> int:
    """Take decimal, 0x and 0o."""
    if re.fullmatch(r"-?(0|[1-9][0-9]{0,18}|0[xX][0-9a-fA-F]{1,15}|0[oO][0-7]{1,20})", text):
        number = int(text, 0)
        if -(1 << 31) <= number < 1 << 31:
            return number
        raise BadValue(f"'{setting.name}' is too large: {text}", "Use a number of 32 bits.")
    if re.fullmatch(r"0[0-7]+", text):
        raise BadValue(
            f"'{setting.name}' has a leading zero: '{clip(text)}'",
            f"Write {int(text)} if it is decimal, 0o{text.lstrip('0') or '0'} if it is octal.",
        )
    raise BadValue(
        f"'{setting.name}' must be a whole number, not '{clip(text)}'", "Write a decimal, 0x… or 0o… number."
    )


def strtol(setting: Setting, text: str) -> int:
    """Read a number as strtol(3) does with base 0: what follows the digits is ignored."""
    found = re.match(r"[ \t\n\v\f\r]*([+-]?)(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)", text)
    if not found:
        raise BadValue(f"'{setting.name}' must be a whole number, not '{clip(text)}'")
    sign, digits = found.groups()
    base = 16 if digits[:2] in ("0x", "0X") else 8 if digits.startswith("0") else 10
    number = int(digits[:40], base) if base != 8 else int(digits[:40] or "0", 8)
    number = -number if sign == "-" else number
    if not -(1 << 31) <= number < 1 << 31:
        raise BadValue(f"'{setting.name}' is too large: {clip(text)}")
    return number


def numbered(setting: Setting, text: str) -> str:
    """Take the number of a word of TRI, as libcyaml's enumerations that are not strict do."""
    if re.fullmatch(r"\s*\+?(0[xX])?0*[0-2]", text):
        return ("Unset", "Disabled", "Enabled")[int(text[-1])]  # not the order in which red-pak writes them
    raise BadValue(
        f"'{setting.name}' must be Unset, Enabled or Disabled, not '{clip(text)}'", hint_of(TRI, text)
    )


def tri(setting: Setting, text: str) -> str:
    """Take Unset, Enabled and Disabled."""
    found = word(TRI, text)
    if found:
        return found
    hint = hint_of(TRI, text)
    if text.lower() in YES + NO:
        hint = f"Write {'Enabled' if text.lower() in YES else 'Disabled'}."
    raise BadValue(f"'{setting.name}' must be Unset, Enabled or Disabled, not '{clip(text)}'", hint)


def share(setting: Setting, text: str) -> str:
    """Take a word, or the absolute path of a namespace file."""
    found = word(SHARING, text)
    if found:
        return found
    if text.startswith("/"):
        if ".." in text.split("/"):
            raise BadValue(
                f"'{setting.name}' has '..' in its path '{clip(text)}'", "Write the path without '..'."
            )
        return text
    if text.lower() in YES + NO:
        hint = f"Write {'enabled' if text.lower() in YES else 'disabled'}."
    else:
        hint = hint_of(SHARING, text) + " Or the absolute path of a namespace file."
    raise BadValue(f"'{setting.name}' cannot be '{clip(text)}'", hint)


def octal(setting: Setting, text: str) -> str:
    """Take up to three octal digits, with or without a leading 0 or 0o; return three."""
    found = re.fullmatch(r"(?:0[oO])?0*([0-7]{1,3})", text)
    if not found:
        raise BadValue(
            f"'{setting.name}' must be an octal number from 000 to 777, not '{clip(text)}'",
            "Write three digits from 0 to 7, such as 027.",
        )
    return found.group(1).rjust(3, "0")


def choice(setting: Setting, text: str) -> str:
    """Take one of the setting's words."""
    found = word(setting.words, text)
    if found:
        return found
    for spelling, canonical in setting.aliases:
        if text.lower() == spelling:
            return canonical
    raise BadValue(f"'{setting.name}' cannot be '{clip(text)}'", hint_of(setting.words, text))


def identity(setting: Setting, text: str) -> str:
    """Take a user's or group's name or number."""
    if re.fullmatch(r"[0-9]{1,10}", text) and int(text) < (1 << 32) - 1:
        return text
    if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]{0,30}\$?", text):
        return text
    raise BadValue(
        f"'{setting.name}' must be a name or a number, not '{clip(text)}'",
        "Write it as in /etc/passwd or /etc/group.",
    )


def label(setting: Setting, text: str) -> str:
    """Take a SMACK label (Documentation/admin-guide/LSM/Smack.rst)."""
    if re.fullmatch(r"(?!-)[!#-&(-.0-\[\]-~]{1,255}", text):
        return text
    raise BadValue(
        f"'{setting.name}' is not a SMACK label: '{clip(text)}'",
        "Use up to 255 ASCII characters, no quotes, slashes or blanks, no hyphen at the start.",
    )


def hostname(setting: Setting, text: str) -> str:
    """Take a host name, or text that becomes one when its variables are known."""
    if "$" in text or re.fullmatch(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,62}[A-Za-z0-9_])?", text):
        return text
    raise BadValue(
        f"'{setting.name}' is not a host name: '{clip(text)}'",
        "Use at most 64 letters, digits, dots and hyphens.",
    )


def place(setting: Setting, text: str) -> str:
    """Take an absolute path, or text that starts with a variable."""
    if text.startswith(("/", "$")):
        return text
    raise BadValue(
        f"'{setting.name}' must be an absolute path, not '{clip(text)}'",
        "Start it with / or with a variable such as $NODE_PATH.",
    )


def places(setting: Setting, text: str) -> str:
    """Take absolute paths, separated by colons; empty ones are dropped later."""
    for element in text.split(":"):
        if element:
            place(setting, element)
    return text


def mount(setting: Setting, text: str) -> str:
    """Take a place in the sandbox that is known before the launch."""
    place(setting, text)
    if ".." in text.split("/"):
        raise BadValue(f"'mount' has '..' in '{clip(text)}'", "Write the path without '..'.")
    if runs_command(text):
        raise BadValue(
            f"'mount' runs a command in '{clip(text)}'",
            "Use a variable: where it is must be known before the launch.",
        )
    return text


def runs_command(text: str) -> bool:
    r"""Tell whether `text` has a `$(` that is not written `\$(`."""
    at = text.find("$(")
    while at >= 0:
        if at == 0 or text[at - 1] != "\\":
            return True
        at = text.find("$(", at + 1)
    return False


def variable(_: Setting, text: str) -> str:
    """Take the name of an environment variable."""
    if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]*", text):
        return text
    hint = "Use letters, digits and underscores, no digit at the start."
    raise BadValue(f"'{clip(text)}' is not the name of a variable" if text else "'key' is empty", hint)


def capability(_: Setting, text: str) -> str:
    """Take a capability's name, as written."""
    name = text.upper()
    if name == "ALL" or name in CAPABILITIES or f"CAP_{name}" in CAPABILITIES:
        return text
    near = nearest(text if name.startswith("CAP_") else f"CAP_{text}", CAPABILITIES)
    hint = f"Did you mean '{near}'?" if near else "See capabilities(7) for the names."
    raise BadValue(f"there is no capability '{clip(text)}'", hint)


STRICT: dict[str, Reader] = {
    "text": as_text,
    "command": as_text,
    "source": as_text,  # what it must look like depends on the entry's mode: see load.py
    "alias": alias,
    "bool": boolean,
    "int": integer,
    "tri": tri,
    "share": share,
    "octal": octal,
    "choice": choice,
    "identity": identity,
    "label": label,
    "hostname": hostname,
    "place": place,
    "places": places,
    "mount": mount,
    "variable": variable,
    "capability": capability,
    **LIMITS,
}

LONG = frozenset(("text", "source", "io-max", "io-weight", "io-line"))
"""Kinds that may have several lines."""
