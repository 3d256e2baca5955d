"""How rpm is called, and what its lines mean."""

from __future__ import annotations

import functools
import glob
import os
import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from redpak.packages.model import Item

PLACE = ("--root", "/view", "--dbpath", "/var/lib/rpm", "--noplugins", "--define", "_db_backend sqlite")
KEYS_IN_FILES = ("--define", "_keyring fs", "--define", "_keyringpath /var/lib/rpm/pubkeys/")
MOST_TALK = 1 << 20  # characters that are kept of what scriptlets say
MOST_SAID = 4000  # lines in which rpm's reasons are looked for
NOISE = (
    "Verifying packages...",
    "Preparing...",
    "Preparing packages...",
    "Updating / installing...",
    "Cleaning up / removing...",
)


@functools.cache
def program() -> tuple[str, ...]:
    """Return the start of rpm's command line on this host: Debian's rpm wants to be told that it is meant."""
    path = shutil.which("rpm", path="/usr/bin:/bin") or "/usr/bin/rpm"
    libraries = [*glob.glob("/usr/lib/*/librpm.so.?*"), *glob.glob("/usr/lib64/librpm.so.?*")]
    for library in libraries[:1]:
        try:
            with open(library, "rb") as file:
                if b"force-debian" in file.read():
                    return (path, "--force-debian")
        except OSError:
            continue
    return (path,)


def start(*, gpgcheck: bool, keys: bool, arch: str, own_tmp: bool) -> list[str]:
    """Return rpm's command line up to the action, for the tree at /view.

    `keys`: the trusted keys are files beside the database, not in it. `own_tmp`: the sandbox has a /tmp of its own.
    """
    words = [*program(), *PLACE, *(("--define", "_tmppath /tmp") if own_tmp else ())]
    if gpgcheck:
        words += ["--define", "_pkgverify_level all", *(KEYS_IN_FILES if keys else ())]
    else:
        words += ["--define", "_pkgverify_level digest", "--nosignature"]
    if arch and arch != os.uname().machine:
        words += ["--ignorearch"]
    return words


class Listener:
    """Hears rpm's lines and tells of steps: which package is worked on, and what scriptlets say."""

    def __init__(
        self, items: Sequence[Item], progress: Callable[[str, str, str], None], talk: list[str]
    ) -> None:
        # Some versions of rpm print the epoch, others do not.
        self.items = {name: one for one in items for name in (plain(one.nevra), one.nevra)}
        self.replaced = {
            name: (nevra, nevra in one.obsoletes)
            for one in items
            for nevra in one.replaces
            for name in (plain(nevra), nevra)
        }
        self.progress = progress
        self.talk = talk
        self.said: list[str] = []
        self.left = MOST_TALK
        self.removing = False

    def begin(self, words: Sequence[str]) -> None:
        """Note that rpm is called."""
        self.said = []
        self.removing = "-e" in words

    def line(self, line: str) -> None:
        """Hear one line."""
        bare = line.strip()
        if bare in NOISE or not bare:
            return
        item = self.items.get(bare)
        if item is not None and (item.action == "remove") == self.removing:
            self.progress(item.action, item.nevra, "")
        elif bare in self.replaced and item is None:
            nevra, obsolete = self.replaced[bare]
            self.progress("obsolete" if obsolete else "cleanup", nevra, "")
        else:
            self.said.append(line)
            if len(self.said) > MOST_SAID:
                del self.said[MOST_SAID // 4 : MOST_SAID // 2]  # rpm's own words come first and last
            self.left -= len(line) + 1
            if self.left < 0:
                line = "… (the rest is left out)"
                if self.talk and self.talk[-1] == line:
                    return
            self.talk.append(line)
            self.progress("output", "", line)


def plain(nevra: str) -> str:
    """Return name-version-release.arch of a nevra that may have an epoch."""
    name, colon, rest = nevra.rpartition(":")
    if not colon:
        return nevra
    return f"{name.rpartition('-')[0]}-{rest}"
