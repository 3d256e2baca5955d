"""The words of the solver's test cases: dependencies, flags and job names as they are written there.

Source: libsolv, ext/testcase.c and ext/testcase_depstr.c (the format; the reader here is our own).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

# Longest first: '<=' must not be read as '<'.
_SIGNS = {
    "<=>": ("REL_LT", "REL_EQ", "REL_GT"), "<NAMESPACE>": ("REL_NAMESPACE",), "<ARCH>": ("REL_ARCH",),
    "<FILECONFLICT>": ("REL_FILECONFLICT",), "<IF>": ("REL_COND",), "<UNLESS>": ("REL_UNLESS",),
    "<ELSE>": ("REL_ELSE",), "<KIND>": ("REL_KIND",), "<MULTIARCH>": ("REL_MULTIARCH",),
    "<ERROR>": ("REL_ERROR",), "compat >=": ("REL_COMPAT",), "<=": ("REL_LT", "REL_EQ"),
    ">=": ("REL_GT", "REL_EQ"), "<>": ("REL_LT", "REL_GT"), "<": ("REL_LT",), ">": ("REL_GT",),
    "=": ("REL_EQ",), "&": ("REL_AND",), "|": ("REL_OR",), "+": ("REL_WITH",), "-": ("REL_WITHOUT",),
    ".": ("REL_ARCH",),
}  # fmt: skip
_CHAINED = ("REL_AND", "REL_OR", "REL_WITH", "REL_WITHOUT", "REL_COND", "REL_UNLESS", "REL_ELSE")
_HEX = re.compile(r"\\([0-9a-fA-F]{2})")
_NAMESPACE = re.compile(r"(namespace:[^\s()]+|\S+)\(([^()]*)\)")

JOBS = {
    "noop": 0x0000, "install": 0x0100, "erase": 0x0200, "update": 0x0300, "weakendeps": 0x0400,
    "multiversion": 0x0500, "noobsoletes": 0x0500, "lock": 0x0600, "distupgrade": 0x0700, "verify": 0x0800,
    "droporphaned": 0x0900, "userinstalled": 0x0A00, "allowuninstall": 0x0B00, "favor": 0x0C00,
    "disfavor": 0x0D00, "blacklist": 0x0E00, "excludefromweak": 0x1000,
}  # fmt: skip
JOB_FLAGS = {
    "weak": 0x010000, "essential": 0x020000, "cleandeps": 0x040000, "orupdate": 0x080000,
    "forcebest": 0x100000, "targeted": 0x200000, "notbyuser": 0x400000, "setev": 0x01000000,
    "setevr": 0x02000000, "setarch": 0x04000000, "setvendor": 0x08000000, "setrepo": 0x10000000,
    "noautoset": 0x20000000, "setname": 0x40000000,
}  # fmt: skip
SELECTION_FLAGS = {
    "name": 1 << 0, "provides": 1 << 1, "filelist": 1 << 2, "canon": 1 << 3, "dotarch": 1 << 4, "rel": 1 << 5,
    "installedonly": 1 << 8, "glob": 1 << 9, "flat": 1 << 10, "nocase": 1 << 11, "sourceonly": 1 << 12,
    "withsource": 1 << 13, "skipkind": 1 << 14, "depstr": 1 << 15, "withdisabled": 1 << 16,
    "withbadarch": 1 << 17, "add": 1 << 28, "subtract": 2 << 28, "filter": 3 << 28,
}  # fmt: skip
POOL_FLAGS = {
    "promoteepoch": 1, "forbidselfconflicts": 2, "obsoleteusesprovides": 3, "implicitobsoleteusesprovides": 4,
    "obsoleteusescolors": 5, "noinstalledobsoletes": 6, "havedistepoch": 7, "noobsoletesmultiversion": 8,
    "addfileprovidesfiltered": 9, "implicitobsoleteusescolors": 10, "nowhatprovidesaux": 11,
    "whatprovideswithdisabled": 12,
}  # fmt: skip
SOLVER_FLAGS = {
    "allowdowngrade": 1, "allowarchchange": 2, "allowvendorchange": 3, "allowuninstall": 4,
    "noupdateprovide": 5, "splitprovides": 6, "ignorerecommended": 7, "addalreadyrecommended": 8,
    "noinfarchcheck": 9, "allownamechange": 10, "keepexplicitobsoletes": 11, "bestobeypolicy": 12,
    "noautotarget": 13, "dupallowdowngrade": 14, "dupallowarchchange": 15, "dupallowvendorchange": 16,
    "dupallownamechange": 17, "keeporphans": 18, "breakorphans": 19, "focusinstalled": 20, "yumobsoletes": 21,
    "needupdateprovide": 22, "urpmreorder": 23, "focusbest": 24, "strongrecommends": 25,
    "installalsoupdates": 26, "onlynamespacerecommended": 27, "strictrepopriority": 28, "focusnew": 29,
}  # fmt: skip
NOTHING = "<NULL>"  # in a namespace's brackets: whatever it is of
SYSTEM_SOLVABLE = 1  # what '@SYSTEM' stands for
# Those that are set in a case that says nothing.
USUAL_SOLVER_FLAGS = frozenset((
    "allownamechange", "dupallowdowngrade", "dupallowarchchange", "dupallowvendorchange", "dupallownamechange",
))  # fmt: skip
DISTRIBUTIONS = {
    "rpm": "DISTTYPE_RPM", "deb": "DISTTYPE_DEB", "arch": "DISTTYPE_ARCH", "haiku": "DISTTYPE_HAIKU",
    "conda": "DISTTYPE_CONDA", "apk": "DISTTYPE_APK",
}  # fmt: skip


class BadWord(ValueError):
    """A word that the format does not have."""


def flags(words: str, table: Mapping[str, int]) -> dict[str, bool]:
    """Read 'one,!other' or 'one !other'. Raises BadWord."""
    found = {}
    for word in words.replace(",", " ").split():
        name = word.removeprefix("!")
        if name not in table:
            raise BadWord(f"unknown flag '{name}'")
        found[name] = name == word
    return found


def added(words: str, table: Mapping[str, int]) -> int:
    """Read 'one,other' as one number. Raises BadWord."""
    total = 0
    for name in flags(words, table):
        total |= table[name]
    return total


def unquote(text: str) -> str:
    """Undo the format's quoting of signs: a backslash and two hexadecimal digits."""
    return _HEX.sub(lambda found: chr(int(found[1], 16)), text) if "\\" in text else text


class Dependencies:
    """Reads dependencies into one pool. `plain`: namespaces that some package provides, as their whole text."""

    def __init__(self, raw: Any, solv: Any) -> None:
        self.raw, self.solv = raw, solv
        self.plain: set[str] = set()
        self.known: dict[str, int] = {}

    def read(self, text: str) -> int:
        """Return the number of a dependency. Raises BadWord."""
        text = text.strip()
        found = self.known.get(text)
        if found is None:
            found, rest = self._chain(text)
            if rest:
                raise BadWord(f"cannot read dependency '{text}'")
            self.known[text] = found
        return found

    def _chain(self, text: str) -> tuple[int, str]:
        left, rest = self._one(text)
        sign, after = _sign(rest)
        if not sign:
            return left, rest
        if sign not in _CHAINED:
            right, rest = self._one(after)
            left = self._related(left, sign, right)
            sign, after = _sign(rest)
            if not sign:
                return left, rest
        right, rest = self._chain(after)
        return self._related(left, sign, right), rest

    def _related(self, left: int, sign: str, right: int) -> int:
        relation = 0
        for name in sign.split("|"):
            relation |= int(getattr(self.solv, name))
        return int(self.raw.rel2id(left, right, relation))

    def _one(self, text: str) -> tuple[int, str]:
        if text.startswith("("):
            found, rest = self._chain(text[1:].lstrip())
            if not rest.startswith(")"):
                raise BadWord("a bracket is not closed")
            return found, rest[1:].lstrip()
        end = _end(text)
        word, rest = text[:end], text[end:].lstrip()
        if not word:
            raise BadWord("a word is missing")
        return self._word(word), rest

    def _word(self, word: str) -> int:
        space = _NAMESPACE.fullmatch(word)
        if space and space[1].startswith("namespace:") and word not in self.plain:
            name = self.raw.str2id(unquote(space[1]))
            evr = 0 if space[2] == NOTHING else self.raw.str2id(unquote(space[2]))
            return int(self.raw.rel2id(name, evr, self.solv.REL_NAMESPACE))
        if word.endswith(":any"):
            name, evr = self.raw.str2id(unquote(word[:-4])), self.raw.str2id("any")
            return int(self.raw.rel2id(name, evr, self.solv.REL_MULTIARCH))
        return int(self.raw.str2id(unquote(word)))


def _end(text: str) -> int:
    """Return where a word ends: at a space, or at a bracket that it did not open."""
    depth = 0
    for at, letter in enumerate(text):
        if letter in " \t":
            return at
        if letter == "(":
            depth += 1
        elif letter == ")":
            depth -= 1
            if depth < 0:
                return at
    return len(text)


def _sign(text: str) -> tuple[str, str]:
    """Return the relation that a text starts with, and what follows; '' if there is none."""
    for sign, names in _SIGNS.items():
        if text.startswith(sign) and text[len(sign) : len(sign) + 1] in (" ", "\t", ""):
            return "|".join(names), text[len(sign) :].lstrip()
    return "", text
