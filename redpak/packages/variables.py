"""Variables of repository files: $releasever, $basearch, those of vars directories and of the environment.

Source: dnf.conf(5), "Variables"; the forms with ':-' and ':+' are those of newer libdnf.
"""

from __future__ import annotations

import os

from redpak import fs
from redpak.errors import doing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

DEEPEST = 8  # `${a:-${b:-…}}`
LONGEST = 4096  # characters that a variable's file may have in its first line
_ARM_SOFT = ("armv5tejl", "armv5tel", "armv5tl", "armv6l", "armv7l", "armv8l")
_BASE = {
    "x86_64": ("amd64", "ia32e"),
    "i386": ("i486", "i586", "i686", "athlon", "geode"),
    "arm": _ARM_SOFT,
    "armhfp": ("armv6hl", "armv7hl", "armv7hnl", "armv8hl"),
    "ppc64": ("ppc64iseries", "ppc64p7", "ppc64pseries"),
    "sh4": ("sh4a",),
    "sparc": ("sparc64", "sparc64v", "sparcv8", "sparcv9", "sparcv9v"),
    "alpha": ("alphaev4", "alphaev45", "alphaev5", "alphaev56", "alphaev6", "alphaev67", "alphaev68", "alphaev7"),
}  # fmt: skip


def basearch(arch: str) -> str:
    """Return what $basearch is on a machine of `arch`: its family's name."""
    return next((base for base, members in _BASE.items() if arch in members), arch)


def read(directories: Iterable[str]) -> dict[str, str]:
    """Return the variables of vars directories: file name and first line. Later directories win.

    A directory that does not exist has none. Raises RedpakError for what is there and cannot be read.
    """
    found: dict[str, str] = {}
    for directory in directories:
        with doing("read the variables"):
            try:
                names = sorted(os.listdir(directory))
            except (FileNotFoundError, NotADirectoryError):
                continue
            for name in names:
                path = os.path.join(directory, name)
                if os.path.isfile(path):
                    with open(path, encoding="utf-8", errors="replace", opener=fs.regular) as file:
                        found[name] = file.readline(LONGEST).rstrip("\n")
    return found


def from_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return $DNF0 … $DNF9 under their own names, and $DNF_VAR_x as x."""
    found = {}
    for key, value in environ.items():
        if key.startswith("DNF_VAR_") and _is_name(key[8:]):
            found[key[8:]] = value
        elif len(key) == 4 and key.startswith("DNF") and key[3].isdigit():
            found[key] = value
    return found


def substitute(text: str, variables: Mapping[str, str]) -> str:
    """Replace $name, ${name}, ${name:-when unset or empty} and ${name:+when set}.

    What names no known variable, or is no well-formed expression, stays as it is written.
    """
    if "$" not in text:
        return text
    return _run(text, 0, variables, 0, closing=False)[0]


def _run(text: str, at: int, variables: Mapping[str, str], depth: int, *, closing: bool) -> tuple[str, int]:
    """Return the expanded text from `at` and where it ended: at the unescaped '}' when `closing`, -1 if none."""
    out: list[str] = []
    while at < len(text):
        char = text[at]
        if closing and char == "}":
            return "".join(out), at
        if closing and char == "\\" and at + 1 < len(text):
            out.append(text[at + 1])
            at += 2
        elif char == "$":
            value, at = _expression(text, at, variables, depth)
            out.append(value)
        else:
            out.append(char)
            at += 1
    return "".join(out), -1 if closing else at


def _expression(text: str, at: int, variables: Mapping[str, str], depth: int) -> tuple[str, int]:
    """Return the value of the expression that starts with the '$' at `at`, and the position behind it."""
    braced = text.startswith("{", at + 1)
    start = at + 2 if braced else at + 1
    end = start
    while end < len(text) and (text[end] == "_" or (text[end].isascii() and text[end].isalnum())):
        end += 1
    name = text[start:end]
    if not name or depth >= DEEPEST:
        return "$", at + 1
    if not braced:
        return variables.get(name, text[at:end]), end
    if text.startswith("}", end):
        return variables.get(name, text[at : end + 1]), end + 1
    kind = text[end : end + 2]
    if kind not in (":-", ":+"):
        return "$", at + 1
    word, close = _run(text, end + 2, variables, depth + 1, closing=True)
    if close < 0:
        return "$", at + 1
    value = variables.get(name, "")
    if kind == ":-":
        return value or word, close + 1
    return word if value else "", close + 1


def _is_name(text: str) -> bool:
    return bool(text) and all(char == "_" or (char.isascii() and char.isalnum()) for char in text)
