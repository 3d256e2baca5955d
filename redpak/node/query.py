"""Ask rpm about a node: `rpm -qa`, `rpm -V` … with the node's database, or the family's, and its files."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from typing import TYPE_CHECKING

from redpak.errors import doing
from redpak.kernel import mount
from redpak.packages import inside, rpmline, sandbox, scratchdb, view

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redpak.packages.model import Site


def verifies(words: Sequence[str]) -> bool:
    """Tell whether rpm is asked to verify packages: --verify, -V, or -Va as one word."""
    for word in words:
        if word == "--":
            return False
        if word == "--verify" or (word.startswith("-") and not word.startswith("--") and "V" in word):
            return True
    return False


def unseen(site: Site, *, everything: bool) -> list[str]:
    """Return what tells rpm to leave out of a verification all that it cannot see here."""
    more = [] if everything else ["--nodeps"]  # ancestors meet what the node needs
    own = os.geteuid() == os.stat(site.path).st_uid
    if os.geteuid() != 0 and (everything or not own):  # to a user, other users' files belong to nobody
        more += ["--nouser", "--nogroup"]
    return more


def rpm(site: Site, words: Sequence[str], *, everything: bool = False) -> int:
    """Run `rpm words…` in a read-only view of the site and return its exit code; what it says goes where ours goes.

    `everything` shows it the packages of the core OS and the ancestors, too; without, `rpm -V` looks at files only,
    since nobody's requirements are met by the node alone. Raises RedpakError.
    """
    from redpak import paths
    from redpak.engine import host
    from redpak.node import install, make_generation

    ready = host.look()
    base = install.base_headers(site) if everything else ()
    own = install.database_file(site)
    cache = os.path.join(site.cachedir or paths.cache(), "databases")
    more = unseen(site, everything=everything) if verifies(words) else ()
    places = tuple(make_generation.place_of(layer) for layer in reversed(site.layers))
    user = os.geteuid() != 0

    def ask(_: inside.Tell) -> int:
        from redpak.packages.header import Header

        with doing("look at the packages"), tempfile.TemporaryDirectory(prefix="redpak-rpm-") as work:
            try:
                shown = view.show(work, places, user=user)
                database = f"{work}/memory/database"
                scratchdb.fill(database, [Header(blob) for blob in base], own, cache)
                if not base and not own:  # nobody has installed anything yet
                    scratchdb.empty(database)
                room = sandbox.Room(view=shown.root, writable=False)
                rpm = rpmline.program()[0]  # alone: who only asks need not say that this is no RPM system
                return sandbox.run(ready, room, [rpm, *rpmline.PLACE, *more, *words])
            finally:
                with suppress(OSError):  # EINVAL: nothing was mounted yet
                    mount.detach(work)

    return inside.inside(ask)
