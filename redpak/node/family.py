"""A family, the profile that it is merged under, and what expansion may know about this process."""

from __future__ import annotations

import os
import time

from redpak import paths
from redpak.config.model import SEALED, UPSTREAM, Context
from redpak.errors import BadConfig
from redpak.node import tree, trust

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from redpak.config.model import Family, Profile


def family_of(
    path: str,
    *,
    admin: bool = False,
    any_state: bool = False,
    may_write: bool = False,
    environ: Mapping[str, str] | None = None,
    profile: Profile | None = None,
) -> tuple[Family, Profile]:
    """Return the family of the node at `path` and its profile: `profile`, else REDPAK_PROFILE, else what the files say.

    Files may choose upstream-2.5 and be such that only it can read them. Files that somebody else could have written
    are refused, unless the caller chose upstream-2.5, or only looks (`any_state`). Raises NotFound, BadConfig, Refused.
    """
    from redpak.config.merge import profile_named, profile_of

    def read(*, lenient: bool) -> Family:
        return tree.family(path, admin=admin, lenient=lenient, any_state=any_state, may_write=may_write)

    named = (os.environ if environ is None else environ).get("REDPAK_PROFILE", "")
    chosen = profile or (profile_named(named) if named else None)
    if chosen != UPSTREAM and not any_state:
        trust.check(path, admin=admin)
    if chosen:
        return read(lenient=chosen == UPSTREAM), chosen
    try:
        family = read(lenient=False)
        if profile_of(family, {}) == SEALED:
            return family, SEALED
    except BadConfig:
        if not chooses_upstream(path):
            raise
    return read(lenient=True), UPSTREAM


def chooses_upstream(path: str) -> bool:
    """Tell whether the oldest node, or the core OS, chooses upstream-2.5, whatever else is wrong with the files."""
    from redpak.config.load import said

    oldest = next(place for place in tree.spelled(path) if tree.is_node(place))
    for file in (tree.first_file(oldest, paths.NORMAL_CONFIGS), paths.main_config()):
        value = said(file, "profile") if file else None
        if value is not None:
            return value.value == UPSTREAM
    return False


def context(environ: Mapping[str, str] | None = None) -> Context:
    """Return what expansion may know about this process and its caller."""
    return Context(
        environ=os.environ if environ is None else environ,
        uid=os.getuid(),
        gid=os.getgid(),
        pid=os.getpid(),
        today=time.strftime("%d-%b-%Y %H:%M (%Z)"),
    )
