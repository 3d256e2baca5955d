"""The solver's jobs of one goal, in the order in which they were asked for, and the call that solves them."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from redpak.packages import problems
from redpak.packages.model import SYSTEM
from redpak.packages.pool import URPM_REORDER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redpak.packages.problems import Problem
    from redpak.packages.query import Query
    from redpak.packages.solved import Solved
    from redpak.packages.universe import Universe


class Jobs:
    """What is asked for, and what holds beside it. Fields are set by the goal before it calls `solve`."""

    def __init__(self, universe: Universe) -> None:
        self.universe = universe
        self.asked: list[tuple[int, int | tuple[int, ...], str]] = []  # how, what, words for a person
        self.erased: set[int] = set()  # what was asked to go
        self.wanted: set[int] = set()  # what was asked to come, or be upgraded
        self.optional = False  # whether one of them may fail
        self.user_installed: list[int] | None = None
        self.protected: set[int] = set()
        self.not_weak: tuple[int, ...] = ()
        self.many_versions: tuple[str, ...] = ()

    # ---- asking ----

    def _add(self, how: int, packages: int | Sequence[int], words: str) -> None:
        job = self.universe.pool.solv.Job
        if not isinstance(packages, int):
            # These and no others: an installed one may be an obstacle by version or architecture.
            how |= job.SOLVER_SETARCH | job.SOLVER_SETEVR
        # One of several is written down for the solver only at the end: loading more moves such lists.
        self.asked.append((how, packages if isinstance(packages, int) else tuple(packages), words))

    def install(self, packages: Query, words: str, *, weak: bool = False) -> None:
        """Ask for one of these. A name that a locked layer already has is met by that one."""
        job = self.universe.pool.solv.Job
        held = self._held(packages)
        numbers = [p.id for p in packages if p.locked or p.name not in held]
        if not numbers:
            return
        self.optional = self.optional or weak
        self.wanted.update(numbers)
        self._add(job.SOLVER_INSTALL | (job.SOLVER_WEAK if weak else 0), numbers, words)

    @staticmethod
    def _held(packages: Query) -> set[str]:
        return {package.name for package in packages if package.locked}

    def install_exactly(self, package: int, words: str) -> None:
        """Ask for this one."""
        job = self.universe.pool.solv.Job
        self.wanted.add(package)
        self._add(job.SOLVER_INSTALL | job.SOLVER_SOLVABLE, package, words)

    def erase(self, package: int, words: str, *, clean: bool) -> None:
        """Ask that this one goes, and with `clean` what only it needed."""
        job = self.universe.pool.solv.Job
        self.erased.add(package)
        how = job.SOLVER_ERASE | job.SOLVER_SOLVABLE | (job.SOLVER_CLEANDEPS if clean else 0)
        self._add(how, package, words)

    def upgrade(self, packages: Query, words: str) -> None:
        """Ask for upgrades to one of these: installed ones, and what may take their place."""
        numbers = [package.id for package in packages if not package.locked]
        self.wanted.update(numbers)
        job = self.universe.pool.solv.Job
        self._add(job.SOLVER_UPDATE | job.SOLVER_TARGETED, numbers, words)

    def sync(self, packages: Query | None, words: str) -> None:
        """Ask for what repositories offer, of these or (None) of everything."""
        job = self.universe.pool.solv.Job
        if packages is None:
            self.asked.append((job.SOLVER_DISTUPGRADE | job.SOLVER_SOLVABLE_ALL, 0, words))
            return
        numbers = [package.id for package in packages if not package.locked]
        self.wanted.update(numbers)
        self._add(job.SOLVER_DISTUPGRADE, numbers, words)

    # ---- solving ----

    def solve(
        self,
        *,
        best: bool,
        allow_erasing: bool,
        optional: bool,
        demand: bool,
        weak_deps: bool,
        vendor_change: bool,
        keep: int,
        running_kernel: str,
        debug: str = "",
    ) -> tuple[Solved, list[Problem]]:
        """Return the answer, and its problems in words.

        `optional`: what is to be installed may be left out; `demand`: it may not, whoever said so.
        """
        pool, job, solver = self.universe.pool, self.universe.pool.solv.Job, self.universe.pool.solv.Solver
        pool.prepare()
        jobs, words = [], []
        for how, what, text in self.asked:
            if optional and how & job.SOLVER_JOBMASK == job.SOLVER_INSTALL:
                how |= job.SOLVER_WEAK
            if demand:
                how &= ~job.SOLVER_WEAK
            jobs.append(pool.job(how | (job.SOLVER_FORCEBEST if best else 0), what))
            words.append(text)
        jobs += self._conditions(allow_erasing=allow_erasing)
        flags = {
            solver.SOLVER_FLAG_ALLOW_VENDORCHANGE: int(vendor_change),
            solver.SOLVER_FLAG_BEST_OBEY_POLICY: 1,
            solver.SOLVER_FLAG_YUM_OBSOLETES: 1,
            solver.SOLVER_FLAG_KEEP_ORPHANS: 1,
            solver.SOLVER_FLAG_ALLOW_DOWNGRADE: 1,
            URPM_REORDER: 1,
            solver.SOLVER_FLAG_IGNORE_RECOMMENDED: int(not weak_deps),
        }
        solved = pool.solve(jobs, flags)
        if solved.fits and keep:
            more = self._old_versions(solved, keep, running_kernel)
            if more:
                # What depends on a version that goes may go too.
                jobs += more + ([] if allow_erasing else self._may_go())
                solved = pool.solve(jobs, flags)
        if debug:
            solved.write(debug)
        if not solved.fits:
            return solved, self._guarded(solved) or problems.explain(self.universe, solved, words)
        return solved, self._forbidden(solved, running_kernel)

    def _conditions(self, *, allow_erasing: bool) -> list[tuple[int, int]]:
        pool, job = self.universe.pool, self.universe.pool.solv.Job
        conditions = [(job.SOLVER_LOCK | job.SOLVER_SOLVABLE, number) for number in self.universe.locked()]
        for name in self.many_versions:
            how = job.SOLVER_MULTIVERSION | job.SOLVER_SOLVABLE_PROVIDES
            conditions.append((how, pool.dep(name)))
        if self.user_installed is not None:
            numbers = [*self.user_installed, *self.universe.locked()]
            conditions += [(job.SOLVER_USERINSTALLED | job.SOLVER_SOLVABLE, number) for number in numbers]
        if self.not_weak:
            conditions.append(pool.job(job.SOLVER_EXCLUDEFROMWEAK, self.not_weak))
        return conditions + (self._may_go() if allow_erasing else [])

    def _may_go(self) -> list[tuple[int, int]]:
        job = self.universe.pool.solv.Job
        how = job.SOLVER_ALLOWUNINSTALL | job.SOLVER_SOLVABLE
        untouchable = self.protected | self.universe.hidden
        return [(how, number) for number in self.universe.own() if number not in untouchable]

    def _old_versions(self, solved: Solved, keep: int, running_kernel: str) -> list[tuple[int, int]]:
        """Return jobs that keep so many versions of packages that may be there more than once, the newest ones."""
        pool, job = self.universe.pool, self.universe.pool.solv.Job
        installed, there = set(pool.members(SYSTEM)), solved.kept()
        locked = set(self.universe.locked())
        jobs = []

        def newer(one: int, other: int) -> int:
            running = [pool.show(number) == running_kernel for number in (one, other)]
            return running[1] - running[0] or pool.compare(other, one)

        for name in self.many_versions:
            found = [n for n in pool.providers(pool.dep(name)) if n in there and n not in locked]
            if len(found) <= keep or installed.issuperset(found):
                continue
            same: dict[str, list[int]] = {}
            for number in sorted(found, key=functools.cmp_to_key(newer)):
                same.setdefault(pool.name(number), []).append(number)
            for numbers in same.values():
                if len(numbers) > keep:
                    jobs += [
                        (
                            (job.SOLVER_INSTALL if at < keep else job.SOLVER_ERASE) | job.SOLVER_SOLVABLE,
                            number,
                        )
                        for at, number in enumerate(numbers)
                    ]
        return jobs

    def _guarded(self, solved: Solved) -> list[Problem]:
        """Return the one problem that counts when a protected package would lose what it requires."""
        solver, pool = self.universe.pool.solv.Solver, self.universe.pool
        broken = (solver.SOLVER_RULE_PKG_NOTHING_PROVIDES_DEP, solver.SOLVER_RULE_PKG_REQUIRES)
        rules = [rule for chain in solved.problems() for rule in chain if rule.kind in broken]
        hurt = sorted({rule.source for rule in rules if rule.source in self.protected}, key=pool.name)
        return [self._no_removal(hurt)] if hurt else []

    def _no_removal(self, packages: Sequence[int]) -> Problem:
        names = ", ".join(sorted({self.universe.pool.name(number) for number in packages}))
        text = f"The operation would result in removing the following protected packages: {names}"
        return problems.of_text(text, [problems.place(self.universe, number) for number in packages])

    def _forbidden(self, solved: Solved, running_kernel: str) -> list[Problem]:
        """Return what the solver allowed and we do not."""
        pool, kinds = self.universe.pool, self.universe.pool.solv.Transaction
        gone = [
            step.package
            for step in solved.steps()
            if step.kind in (kinds.SOLVER_TRANSACTION_ERASE, kinds.SOLVER_TRANSACTION_OBSOLETED)
        ]
        found = []
        locked = set(self.universe.locked())
        touched = [number for step in solved.steps() for number in (step.package, *step.others)]
        hurt = dict.fromkeys(number for number in touched if number in locked)
        if hurt:
            places = [problems.place(self.universe, number) for number in hurt]
            names = ", ".join(place.nevra for place in places)
            text = f"The operation would result in changing packages of other layers: {names}"
            found.append(problems.of_text(text, places))
        guarded = [number for number in gone if number in self.protected]
        if guarded:
            found.append(self._no_removal(guarded))
        for number in gone:
            if pool.show(number) == running_kernel:
                text = f"The operation would result in removing of running kernel: {running_kernel}"
                found.append(problems.of_text(text, [problems.place(self.universe, number)]))
        return found
