"""Why a package is installed: the shortest way from a package that somebody asked for, and who would miss it."""

from __future__ import annotations

from collections import deque
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from redpak.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from redpak.packages.needs import Need, Network


class Step(Record):
    """One link: a package, and the words by which the one before it asks for it ('' for the first)."""

    nevra: str
    layer: str
    kind: str = ""  # requires, recommends, suggests, supplements
    dep: str = ""


class User(Record):
    """A package that needs another one."""

    nevra: str
    layer: str
    dep: str
    kind: str
    misses: bool  # nobody else there has what it needs


class Reasoned(Record):
    """The answer about one package."""

    nevra: str
    layer: str
    reason: str  # what the history says: user, dependency, weak …; 'unknown' when it says nothing
    steps: tuple[Step, ...]  # from the one that was asked for down to this one; () when nobody asked for it
    users: tuple[User, ...]  # direct ones: those that would miss it first
    lost: tuple[str, ...]  # nevra of all that could not stay without it, sorted


def explain(
    network: Network, wanted: Sequence[int], asked: Callable[[int], bool], reason: Callable[[int], str]
) -> list[Reasoned]:
    """Return the answer for each package. `asked` tells whether somebody wanted a package for itself."""
    into: dict[int, list[Need]] = {}
    for need in network.needs:
        into.setdefault(need.provider, []).append(need)
    return [_reasoned(network, at, into, asked, reason) for at in wanted]


def find(network: Network, spec: str) -> list[int]:
    """Return the packages that a word means: name, name.arch, name-version, nevra; globs are allowed."""
    found = []
    for at, package in enumerate(network.tree.packages):
        names = (
            package.name,
            f"{package.name}.{package.arch}",
            f"{package.name}-{package.version}",
            f"{package.name}-{package.evr}",
            package.nevra,
        )
        if any(fnmatchcase(name, spec) for name in names):
            found.append(at)
    return found


def _reasoned(
    network: Network,
    at: int,
    into: dict[int, list[Need]],
    asked: Callable[[int], bool],
    reason: Callable[[int], str],
) -> Reasoned:
    package = network.tree.packages[at]
    direct = sorted(into.get(at, ()), key=lambda need: (need.weak, not need.alone, need.user))
    return Reasoned(
        nevra=package.nevra,
        layer=network.names[network.owner[at]],
        reason=reason(at),
        steps=_way(network, at, into, asked),
        users=tuple(
            User(
                nevra=network.tree.packages[need.user].nevra,
                layer=network.names[network.owner[need.user]],
                dep=need.dep,
                kind=need.kind,
                misses=need.alone,
            )
            for need in direct
        ),
        lost=_lost(network, at, into),
    )


def _way(
    network: Network, at: int, into: dict[int, list[Need]], asked: Callable[[int], bool]
) -> tuple[Step, ...]:
    """Return the shortest way from a package that was asked for; of equal ones that with the fewest weak links."""
    best: dict[int, tuple[int, int]] = {at: (0, 0)}  # links, weak ones among them
    came: dict[int, Need] = {}
    queue = deque([at])
    goal = at if asked(at) else -1
    while queue and goal < 0:
        level = sorted(queue, key=lambda one: best[one])
        queue.clear()
        for one in level:
            for need in sorted(into.get(one, ()), key=lambda need: (need.weak, need.user)):
                cost = (best[one][0] + 1, best[one][1] + need.weak)
                if need.user not in best:
                    queue.append(need.user)
                elif best[need.user] <= cost:
                    continue
                best[need.user], came[need.user] = cost, need
        found = [one for one in queue if asked(one)]
        goal = min(found, key=lambda one: (best[one], one)) if found else -1
    if goal < 0:
        return ()
    steps = [_step(network, goal)]
    while goal != at:
        need = came[goal]
        goal = need.provider
        steps.append(_step(network, goal, need))
    return tuple(steps)


def _step(network: Network, at: int, need: Need | None = None) -> Step:
    package, layer = network.tree.packages[at], network.names[network.owner[at]]
    if need is None:
        return Step(nevra=package.nevra, layer=layer)
    return Step(nevra=package.nevra, layer=layer, kind=need.kind, dep=need.dep)


def _lost(network: Network, at: int, into: dict[int, list[Need]]) -> tuple[str, ...]:
    """Return the packages that could not stay without this one, nor without those that go with it."""
    gone = {at}
    queue = [at]
    for one in queue:
        for need in into.get(one, ()):
            if need.alone and need.user not in gone:
                gone.add(need.user)
                queue.append(need.user)
    return tuple(sorted(network.tree.packages[one].nevra for one in gone - {at}))
