"""Who is still needed: what people asked for, and all that it requires or recommends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from redpak.packages.model import SYSTEM

if TYPE_CHECKING:
    from redpak.packages.model import Reason
    from redpak.packages.universe import Universe

# The better one wins when packages are merged into one.
_WORTH: dict[Reason, int] = {"clean": 0, "weak": 1, "dependency": 2, "unknown": 3, "group": 4, "user": 5}


def better(one: Reason, other: Reason) -> Reason:
    """Return the reason that keeps a package longer."""
    return other if _WORTH[other] > _WORTH[one] else one


def pulled_in(reason: Reason) -> bool:
    """Whether a package was not asked for by anybody; what nobody recorded counts as asked for."""
    return reason in ("dependency", "weak")


def needed(universe: Universe) -> set[int]:
    """Return the installed packages that somebody asked for, those of locked layers, and all that these need."""
    pool = universe.pool
    installed = set(pool.members(SYSTEM))
    asked = [n for n in universe.own() if not pulled_in(universe.package(n).reason)]
    found = {*universe.locked(), *asked}
    supplements = [(n, dep) for n in installed - found for dep in pool.deps(n, "supplements")]
    waiting = sorted(found)
    while waiting:
        while waiting:
            number = waiting.pop()
            for kind in ("requires", "recommends"):
                for dep in pool.deps(number, kind):
                    new = installed.intersection(pool.providers(dep)) - found
                    found |= new
                    waiting.extend(sorted(new))
        for number, dep in supplements:
            if number not in found and not found.isdisjoint(pool.providers(dep)):
                found.add(number)
                waiting.append(number)
    return found
