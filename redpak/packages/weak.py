"""Which packages weak dependencies must not bring: excluded ones, and those that somebody once decided against."""

from __future__ import annotations

from typing import TYPE_CHECKING

from redpak.packages.model import SYSTEM
from redpak.packages.select import select

if TYPE_CHECKING:
    from collections.abc import Iterable

    from redpak.packages.universe import Universe


def excluded(universe: Universe, specs: Iterable[str], *, detect: bool) -> tuple[int, ...]:
    """Return packages that come only when somebody requires or asks for them.

    `detect`: also what installed packages recommend, or what supplements them, and is not there: it was
    removed, or left out, on purpose.
    """
    found: set[int] = set()
    for spec in specs:
        found.update(select(universe, spec, provides=False, files=False).query.available().numbers)
    if detect:
        found.update(_unmet(universe))
    return tuple(sorted(found))


def _unmet(universe: Universe) -> set[int]:
    pool = universe.pool
    installed = pool.members(SYSTEM)
    here = set(installed)
    names = {pool.name(number) for number in installed}
    found: set[int] = set()
    for number in installed:
        for dep in pool.deps(number, "recommends"):
            providers = pool.providers(dep)
            if here.isdisjoint(providers):
                found.update(n for n in providers if n not in universe.hidden)
    met: dict[int, bool] = {}
    for number in pool.with_any("supplements") if installed else ():
        if number in here or number in universe.hidden or pool.name(number) in names:
            continue
        for dep in pool.deps(number, "supplements"):
            if dep not in met:
                met[dep] = not here.isdisjoint(pool.providers(dep))
            if met[dep]:
                found.add(number)
    return found
