"""Dependencies as people write them: 'name', 'name >= 1:2-3', 'libc.so*', '(a if b)', '/usr/bin/sh'."""

from __future__ import annotations

import fnmatch
import re
from typing import TYPE_CHECKING

from redpak.packages import richdep

if TYPE_CHECKING:
    from redpak.packages.pool import Pool

# Source: libdnf 0.69, dependency-splitter: NAME, then a comparison and a version, or neither.
_PARTS = re.compile(r"^(\S+)(?:\s*(<=|>=|<|>|==|=)\s*(\S+))?\s*$")


def meant(pool: Pool, text: str, *, icase: bool = False, asked: bool = False) -> list[int]:
    """Return the dependencies that a text means; several when it is a glob. [] for nonsense.

    `asked`: the text is compared with what packages ask for, so a glob stands for names that somebody asks for.
    """
    text = text.strip()
    if text.startswith("("):
        rich = pool.raw.parserpmrichdep(text)
        return [int(rich.id)] if rich is not None else []
    found = _PARTS.match(text)
    if found is None:
        return []
    name, sign, version = found.groups()
    flags = richdep.SIGNS.get(sign or "", 0)
    if not icase and not any(letter in name for letter in "*[?"):
        return [pool.dep(name, flags, version or "")]
    fits = re.compile(fnmatch.translate(name), re.IGNORECASE if icase else 0).match
    return [pool.dep(one, flags, version or "") for one in pool.dep_names(asked=asked) if fits(one)]
