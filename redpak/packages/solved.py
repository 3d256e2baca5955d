"""What the solver answered, in plain numbers: problems with their chains, or steps with their reasons."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

from redpak.errors import RedpakError, doing

if TYPE_CHECKING:
    from redpak.packages.pool import Pool


class Rule(NamedTuple):
    """One reason why something does not fit: what the solver calls a rule."""

    kind: int  # solv.Solver.SOLVER_RULE_*
    source: int  # the package that speaks; 0: none
    target: int  # the package that it speaks about; 0: none
    dep: int  # the dependency that it speaks about; 0: none


class Change(NamedTuple):
    """One thing that would make a problem go away."""

    kind: int  # solv.Solver.SOLVER_SOLUTION_*, ERASE and REPLACE included
    package: int  # 0: none
    replacement: int  # 0: none
    job: int  # index of the job that would have to be dropped; -1: none


class Step(NamedTuple):
    """One package that comes or goes."""

    kind: int  # solv.Transaction.SOLVER_TRANSACTION_*
    package: int
    others: tuple[int, ...]  # the installed packages that it takes the place of


class Solved:
    """One answer. It keeps its pool, and dies before it."""

    def __init__(self, pool: Pool, solver: Any, problems: Any) -> None:
        self.pool = pool
        self._solver = solver
        self._problems = list(problems)

    @property
    def fits(self) -> bool:
        """Whether there is a solution."""
        return not self._problems

    def write(self, folder: str) -> None:
        """Write the whole question and its answer as a test case (see testcase.py) into a directory."""
        with doing("write the solver's question"):
            os.makedirs(folder, exist_ok=True)
        if not self._solver.write_testcase(folder):
            raise RedpakError(f"cannot write the solver's question into '{folder}'")

    def problems(self) -> list[list[Rule]]:
        """Return for each problem all the rules that contradict each other, in the solver's order."""
        return [self._rules(problem.findallproblemrules(1)) for problem in self._problems]

    def _rules(self, rules: Any) -> list[Rule]:
        return [self._rule(info) for rule in rules for info in rule.allinfos()]

    @staticmethod
    def _rule(info: Any) -> Rule:
        source, target = info.solvable, info.othersolvable
        return Rule(info.type, source.id if source else 0, target.id if target else 0, int(info.dep_id))

    def solutions(self) -> list[list[list[Change]]]:
        """Return for each problem its solutions, each of one or more changes."""
        return [
            [[self._change(element) for element in solution.elements(1)] for solution in problem.solutions()]
            for problem in self._problems
        ]

    @staticmethod
    def _change(element: Any) -> Change:
        package, replacement = element.solvable, element.replacement
        job = int(element.jobidx)
        return Change(
            int(element.type), package.id if package else 0, replacement.id if replacement else 0, job
        )

    def kept(self) -> set[int]:
        """Return all packages that are installed in the end."""
        return {number for number in self._solver.raw_decisions(1) if number > 0}

    def reason(self, package: int) -> tuple[int, int]:
        """Return why a package was chosen or dropped: solver reason, and kind of rule (0: none)."""
        reason, rule = self._solver.describe_decision(self.pool.raw.id2solvable(package))
        return int(reason), int(rule.type) if rule is not None else 0

    def causes(self, package: int) -> list[Rule]:
        """Return the rules by which a package was chosen or dropped."""
        decision = self._solver.get_decision(self.pool.raw.id2solvable(package))
        return [self._rule(info) for info in decision.allinfos()]

    def steps(self) -> list[Step]:
        """Return what comes and what goes, in no particular order."""
        kinds = self.pool.solv.Transaction
        mode = kinds.SOLVER_TRANSACTION_SHOW_OBSOLETES | kinds.SOLVER_TRANSACTION_CHANGE_IS_REINSTALL
        active = mode | kinds.SOLVER_TRANSACTION_SHOW_ACTIVE | kinds.SOLVER_TRANSACTION_SHOW_ALL
        transaction = self._solver.transaction()
        found = []
        for solvable in transaction.steps():
            new = not solvable.isinstalled()
            kind = transaction.steptype(solvable, active if new else mode)
            others = tuple(int(other.id) for other in transaction.allothersolvables(solvable)) if new else ()
            found.append(Step(int(kind), int(solvable.id), others))
        return found
