"""Compare versions as rpm does. Source: rpm, rpmio/rpmvercmp.c and docs/manual/dependencies.md."""

from __future__ import annotations

import re
from typing import NamedTuple

_PIECES = re.compile(r"[0-9]+|[A-Za-z]+|~|\^")


class Evr(NamedTuple):
    """[epoch:]version[-release]. `epoch` None and `release` '': not said."""

    epoch: int | None
    version: str
    release: str


def compare_part(one: str, two: str) -> int:
    """Compare two versions, or two releases: negative, 0 or positive.

    Digits are numbers and newer than letters; ~ is older than the end, ^ newer than the end but older than more.
    Anything else only separates.
    """
    if one == two:
        return 0
    mine, other = _PIECES.findall(one), _PIECES.findall(two)
    for a, b in zip(mine, other, strict=False):
        if a == b:
            continue
        for mark in ("~", "^"):
            if mark in (a, b):
                # '~' is the oldest. '^' is only newer than the end, which zip does not reach.
                return -1 if a == mark else 1
        if a[0].isdigit() != b[0].isdigit():
            return 1 if a[0].isdigit() else -1
        if a[0].isdigit():
            a, b = a.lstrip("0"), b.lstrip("0")
            if len(a) != len(b):
                return 1 if len(a) > len(b) else -1
        if a != b:
            return 1 if a > b else -1
    if len(mine) == len(other):
        return 0
    longer, sign = (mine, 1) if len(mine) > len(other) else (other, -1)
    return -sign if longer[min(len(mine), len(other))] == "~" else sign


def split(evr: str) -> Evr:
    """Take [epoch:]version[-release] apart."""
    head, colon, rest = evr.partition(":")
    epoch: int | None = None
    if colon and (not head or _is_epoch(head)):
        epoch = int(head or "0")
    else:
        rest = evr
    version, _, release = rest.rpartition("-") if "-" in rest else (rest, "", "")
    return Evr(epoch, version, release)


def _is_epoch(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 10  # 32 bits


def compare(one: str, two: str) -> int:
    """Compare two [epoch:]version[-release]: negative, 0 or positive.

    A missing epoch is 0; a release that one of them does not say is not compared.
    """
    a, b = split(one), split(two)
    if (a.epoch or 0) != (b.epoch or 0):
        return 1 if (a.epoch or 0) > (b.epoch or 0) else -1
    by_version = compare_part(a.version, b.version)
    if by_version or not a.release or not b.release:
        return by_version
    return compare_part(a.release, b.release)
