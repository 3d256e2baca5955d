"""From the solver's answer to a transaction: what comes and goes, why, and in whose place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from redpak.packages.model import SYSTEM, Item, Skipped, Transaction
from redpak.packages.reasons import better, pulled_in

if TYPE_CHECKING:
    from collections.abc import Collection

    from redpak.packages.jobs import Jobs
    from redpak.packages.model import Action, Reason
    from redpak.packages.solved import Solved, Step
    from redpak.packages.universe import Universe

# dnf's order of adding, which is the order of its tables.
_ORDER: tuple[Action, ...] = ("downgrade", "reinstall", "install", "upgrade", "remove")


def transaction_of(
    universe: Universe, solved: Solved, jobs: Jobs, many_versions: Collection[str]
) -> Transaction:
    """Return the steps of an answer as a transaction."""
    steps = solved.steps()
    kinds = universe.pool.solv.Transaction
    actions: dict[int, Action] = {
        kinds.SOLVER_TRANSACTION_DOWNGRADE: "downgrade",
        kinds.SOLVER_TRANSACTION_REINSTALL: "reinstall",
        kinds.SOLVER_TRANSACTION_CHANGE: "reinstall",
        kinds.SOLVER_TRANSACTION_INSTALL: "install",
        kinds.SOLVER_TRANSACTION_OBSOLETES: "install",
        kinds.SOLVER_TRANSACTION_UPGRADE: "upgrade",
        kinds.SOLVER_TRANSACTION_ERASE: "remove",
    }
    replaced = {s.package for s in steps if s.kind == kinds.SOLVER_TRANSACTION_OBSOLETED}
    found: dict[Action, list[Item]] = {action: [] for action in _ORDER}
    many = {number for name in many_versions for number in universe.pool.providers(universe.pool.dep(name))}
    for step in sorted(steps, key=lambda step: step.package):
        action = actions.get(step.kind)
        if action is None:
            continue
        if action == "upgrade" and step.package in many:
            action = "install"
        found[action].append(_item(universe, solved, jobs, step, action, replaced, many))
    return Transaction(items=tuple(item for action in _ORDER for item in found[action]))


def _item(
    universe: Universe,
    solved: Solved,
    jobs: Jobs,
    step: Step,
    action: Action,
    replaced: set[int],
    many: set[int],
) -> Item:
    package = universe.package(step.package)
    others = [universe.package(number) for number in step.others]
    if action in ("install", "upgrade"):
        # A package may obsolete one that another step upgrades: that one is not gone in its favour.
        others = [other for other in others if other.id in replaced or other.name == package.name] or [
            other for other in others if action == "upgrade"
        ][:1]
    same = [other for other in others if other.name == package.name]
    if action == "remove":
        reason = _removed(solved, jobs, step.package, universe)
    elif action == "install":
        reason = _installed(universe, solved, step.package, same_name=step.package in many)
        for other in others:
            reason = better(reason, other.reason)
    else:
        reason = (same or others)[0].reason if others else "user"
    return Item(
        action=action,
        name=package.name,
        epoch=package.epoch,
        version=package.version,
        release=package.release,
        arch=package.arch,
        repo=package.repo,
        reason=reason,
        because=_because(universe, solved, step.package, reason),
        location=package.location,
        base=package.base_url,
        checksum=package.checksum or universe.local_checksum(step.package),
        download_size=package.downloadsize,
        install_size=package.installsize,
        replaces=tuple(other.nevra for other in same + [o for o in others if o not in same]),
        obsoletes=tuple(other.nevra for other in others if other.name != package.name),
    )


def _installed(universe: Universe, solved: Solved, number: int, *, same_name: bool) -> Reason:
    """Return why a package comes (libdnf, Goal::getReason)."""
    solver = universe.pool.solv.Solver
    if same_name:
        name = universe.pool.name(number)
        before = [p for p in universe.query(excluded=True).own() if p.name == name]
        if before:
            return before[-1].reason
    reason, rule = solved.reason(number)
    by_rule = reason in (solver.SOLVER_REASON_UNIT_RULE, solver.SOLVER_REASON_RESOLVE_JOB)
    if by_rule and rule in (solver.SOLVER_RULE_JOB, solver.SOLVER_RULE_BEST):
        return "user"
    return "weak" if reason == solver.SOLVER_REASON_WEAKDEP else "dependency"


def _because(universe: Universe, solved: Solved, number: int, reason: Reason) -> str:
    """Return what made the solver choose a package, for a person; '' when it is plain from the rest."""
    solver, pool = universe.pool.solv.Solver, universe.pool
    verbs = {
        solver.SOLVER_RULE_PKG_REQUIRES: "requires",
        solver.SOLVER_RULE_PKG_RECOMMENDS: "recommends",
        solver.SOLVER_RULE_PKG_SUPPLEMENTS: "supplements",
        solver.SOLVER_RULE_PKG_CONFLICTS: "conflicts with",
        solver.SOLVER_RULE_PKG_OBSOLETES: "obsoletes",
    }
    if reason == "clean":
        return "nobody needs it any more"
    for rule in solved.causes(number):
        if rule.kind in verbs and rule.source > 1:
            return f"{pool.show(rule.source)} {verbs[rule.kind]} {pool.dep_str(rule.dep)}"
    return "asked for" if reason == "user" else ""


def _removed(solved: Solved, jobs: Jobs, number: int, universe: Universe) -> Reason:
    """Return why a package goes: asked for, no longer used, or because it needs what goes."""
    if number in jobs.erased:
        return "user"
    solver = universe.pool.solv.Solver
    reason, rule = solved.reason(number)
    if reason == solver.SOLVER_REASON_CLEANDEPS_ERASE:
        return "clean"
    if rule == solver.SOLVER_RULE_JOB:  # an old version of a package of which only so many are kept
        return "user"
    if not jobs.erased or not pulled_in(universe.package(number).reason):
        return "dependency"  # what nobody needs goes with what somebody wants to be gone, not otherwise
    if number in _beneath(jobs.erased, universe):
        return "clean"
    there = solved.kept()
    pool = universe.pool
    alive = all(not there.isdisjoint(pool.providers(dep)) for dep in pool.deps(number, "requires"))
    return "clean" if alive else "dependency"


def _beneath(erased: Collection[int], universe: Universe) -> set[int]:
    """Return the packages that were pulled in and that the erased ones, or each other, require."""
    pool = universe.pool
    own = set(universe.own())
    waiting, found = sorted(erased), set[int]()
    while waiting:
        for dep in pool.deps(waiting.pop(), "requires"):
            for number in own.intersection(pool.providers(dep)) - found:
                if pulled_in(universe.package(number).reason):
                    found.add(number)
                    waiting.append(number)
    return found


def skipped(universe: Universe, solved: Solved, chosen: Collection[str]) -> tuple[Skipped, ...]:
    """Return the packages that a failed answer would have brought: conflicting ones first, then broken ones."""
    solver, pool = universe.pool.solv.Solver, universe.pool
    conflicting: dict[int, None] = {}
    broken: dict[int, None] = {}
    for rules in solved.problems():
        for rule in rules:
            if rule.kind in (
                solver.SOLVER_RULE_PKG_CONFLICTS,
                solver.SOLVER_RULE_PKG_SELF_CONFLICT,
                solver.SOLVER_RULE_PKG_SAME_NAME,
            ):
                conflicting[rule.source] = conflicting[rule.target] = None
            elif rule.kind in (
                solver.SOLVER_RULE_PKG_NOTHING_PROVIDES_DEP,
                solver.SOLVER_RULE_PKG_REQUIRES,
            ):
                broken[rule.source] = None

    def entry(number: int, *, conflict: bool) -> Skipped:
        package = universe.package(number)
        return Skipped(
            nevra=package.nevra, name=package.name, evr=package.evr, arch=package.arch, repo=package.repo,
            size=package.downloadsize, why="conflict" if conflict else "broken",
        )  # fmt: skip

    installed = {pool.show(number) for number in pool.members(SYSTEM)}

    def left_out(number: int) -> bool:
        return number > 1 and pool.show(number) not in installed and pool.show(number) not in chosen

    first = [entry(number, conflict=True) for number in conflicting if left_out(number)]
    rest = [
        entry(number, conflict=False) for number in broken if left_out(number) and number not in conflicting
    ]
    return tuple(first + rest)
