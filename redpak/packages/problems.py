"""Why nothing fits: dnf's sentences, the layer of every package in them, and what would help."""

from __future__ import annotations

from typing import TYPE_CHECKING

from redpak.errors import RedpakError
from redpak.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from redpak.packages.solved import Change, Rule, Solved
    from redpak.packages.universe import Universe


class Place(Record):
    """A package that a sentence names, and where it lives."""

    nevra: str
    where: str  # the layer's name, or the repository's id
    layer: str = ""  # the layer's name, '' when it is not installed
    locked: bool = False  # whether that layer does not change here


class Link(Record):
    """One sentence of a chain."""

    text: str  # dnf's words
    places: tuple[Place, ...] = ()

    def __str__(self) -> str:
        notes = [f"{place.nevra}: {place.where}" for place in self.places]
        return self.text + (f" [{'; '.join(notes)}]" if notes else "")


class Problem(Record):
    """Sentences that cannot all hold."""

    chain: tuple[Link, ...]
    helps: tuple[str, ...] = ()  # each of these alone would make it fit

    @property
    def locked(self) -> tuple[Place, ...]:
        """The packages of layers that do not change here: these stand in the way."""
        found = dict.fromkeys(place for link in self.chain for place in link.places if place.locked)
        return tuple(found)


class Unsolvable(RedpakError):
    """What was asked for does not fit together. `message` is what dnf prints after 'Error:'."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        in_the_way = dict.fromkeys(
            f"'{place.nevra}' of {place.layer}" for one in self.problems for place in one.locked
        )
        hint = ""
        if in_the_way:
            hint = "Change the layer that stands in the way first: " + ", ".join(in_the_way) + "."
        super().__init__(sentences(self.problems), hint=hint)

    @property
    def chain(self) -> tuple[Link, ...]:
        """All links of all problems."""
        return tuple(link for problem in self.problems for link in problem.chain)

    @property
    def helps(self) -> tuple[str, ...]:
        """What would help, for all problems."""
        return tuple(dict.fromkeys(help for problem in self.problems for help in problem.helps))


def sentences(problems: Sequence[Problem], *, layers: bool = False) -> str:
    """Return the problems as dnf prints them; `layers`: with the place of every package behind each line."""
    text = ""
    for number, problem in enumerate(problems, start=1):
        shown = f" {number}" if len(problems) > 1 else ""
        lines = [str(link) if layers else link.text for link in problem.chain]
        text += f"\n Problem{shown}: " + "\n  - ".join(lines)
    return text


def of_text(text: str, places: Iterable[Place] = ()) -> Problem:
    """Return a problem that is one sentence."""
    return Problem(chain=(Link(text=text, places=tuple(places)),))


def explain(universe: Universe, solved: Solved, jobs: Sequence[str]) -> list[Problem]:
    """Put the solver's answer into words. `jobs`: what each of its jobs asked for, '' for our own ones."""
    found: list[Problem] = []
    for rules, solutions in zip(solved.problems(), solved.solutions(), strict=True):
        chain: dict[str, Link] = {}
        for rule in rules:
            link = _link(universe, rule)
            chain.setdefault(link.text, link)
        helps = [text for changes in solutions if (text := _help(universe, changes, jobs)) is not None]
        helps += _other_names(universe, rules)
        helps += [text for rule in rules if (text := _supply(universe, rule))]
        problem = Problem(chain=tuple(chain.values()), helps=tuple(dict.fromkeys(helps)))
        if all(problem.chain != other.chain for other in found):
            found.append(problem)
    return found


def _other_names(universe: Universe, rules: Iterable[Rule]) -> Iterator[str]:
    """Yield what would help where a Debian core OS has a package of the name that nothing provides."""
    solver, pool = universe.pool.solv.Solver, universe.pool
    kinds = (
        solver.SOLVER_RULE_PKG_NOTHING_PROVIDES_DEP,
        solver.SOLVER_RULE_JOB_NOTHING_PROVIDES_DEP,
        solver.SOLVER_RULE_JOB_UNKNOWN_PACKAGE,
    )
    for rule in rules:
        if rule.kind in kinds and rule.dep:
            name = pool.dep_str(rule.dep).partition(" ")[0]
            if pool.providers(pool.dep(f"deb({name})")):
                yield f"ask for 'deb({name})': that is what the Debian core OS calls its own '{name}'"


def place(universe: Universe, package: int) -> Place:
    """Say where a package lives."""
    layer = universe.layer_of(package)
    return Place(
        nevra=universe.pool.show(package),
        where=layer.name if layer else universe.pool.repo_of(package),
        layer=layer.name if layer else "",
        locked=layer.locked if layer else False,
    )


def _link(universe: Universe, rule: Rule) -> Link:
    text = _sentence(universe, rule)
    named = [place(universe, number) for number in (rule.source, rule.target) if number > 1]
    # A rule made of a job comes with a package that has nothing to do with it.
    return Link(text=text, places=tuple(dict.fromkeys(one for one in named if one.nevra in text)))


def _sentence(universe: Universe, rule: Rule) -> str:
    """Return dnf's words for a rule. Source: libdnf 0.69, goal/Goal.cpp."""
    solver, pool = universe.pool.solv.Solver, universe.pool
    source = pool.show(rule.source) if rule.source > 1 else ""
    target = pool.show(rule.target) if rule.target > 1 else ""
    dep = pool.dep_str(rule.dep) if rule.dep else ""
    words = {
        solver.SOLVER_RULE_DISTUPGRADE: f"{source} does not belong to a distupgrade repository",
        solver.SOLVER_RULE_INFARCH: f"{source} has inferior architecture",
        solver.SOLVER_RULE_UPDATE: f"problem with installed package {source}",
        solver.SOLVER_RULE_JOB: "conflicting requests",
        solver.SOLVER_RULE_JOB_UNSUPPORTED: "unsupported request",
        solver.SOLVER_RULE_JOB_NOTHING_PROVIDES_DEP: f"nothing provides requested {dep}",
        solver.SOLVER_RULE_JOB_UNKNOWN_PACKAGE: f"package {dep} does not exist",
        solver.SOLVER_RULE_JOB_PROVIDED_BY_SYSTEM: f"{dep} is provided by the system",
        solver.SOLVER_RULE_PKG_NOTHING_PROVIDES_DEP: f"nothing provides {dep} needed by {source}",
        solver.SOLVER_RULE_PKG_SAME_NAME: f"cannot install both {source} and {target}",
        solver.SOLVER_RULE_PKG_CONFLICTS: f"package {source} conflicts with {dep} provided by {target}",
        solver.SOLVER_RULE_PKG_OBSOLETES: f"package {source} obsoletes {dep} provided by {target}",
        solver.SOLVER_RULE_PKG_INSTALLED_OBSOLETES: (
            f"installed package {source} obsoletes {dep} provided by {target}"
        ),
        solver.SOLVER_RULE_PKG_IMPLICIT_OBSOLETES: (
            f"package {source} implicitly obsoletes {dep} provided by {target}"
        ),
        solver.SOLVER_RULE_PKG_REQUIRES: (
            f"package {source} requires {dep}, but none of the providers can be installed"
        ),
        solver.SOLVER_RULE_PKG_SELF_CONFLICT: f"package {source} conflicts with {dep} provided by itself",
        solver.SOLVER_RULE_YUMOBS: f"both package {source} and {target} obsolete {dep}",
    }
    if rule.kind == solver.SOLVER_RULE_BEST:
        if source:
            return f"cannot install the best update candidate for package {source}"
        return "cannot install the best candidate for the job"
    if rule.kind == solver.SOLVER_RULE_PKG_NOT_INSTALLABLE:
        if rule.source in universe.modular:
            return f"package {source} is filtered out by modular filtering: {universe.modular[rule.source]}"
        if rule.source in universe.hidden:
            return f"package {source} is filtered out by exclude filtering"
        if not pool.raw.isknownarch(pool.raw.id2solvable(rule.source).archid):
            return f"package {source} does not have a compatible architecture"
        return f"package {source} is not installable"
    return str(words.get(rule.kind, "some dependency problem"))


def _supply(universe: Universe, rule: Rule) -> str:
    """Return what would have to be offered; '' when nothing is missing."""
    solver, pool = universe.pool.solv.Solver, universe.pool
    if rule.kind in (
        solver.SOLVER_RULE_PKG_NOTHING_PROVIDES_DEP,
        solver.SOLVER_RULE_JOB_NOTHING_PROVIDES_DEP,
    ):
        return f"enable a repository that offers {pool.dep_str(rule.dep)}"
    if rule.kind == solver.SOLVER_RULE_PKG_NOT_INSTALLABLE and rule.source in universe.hidden:
        return f"do not exclude {pool.show(rule.source)}"
    return ""


def _help(universe: Universe, changes: Sequence[Change], jobs: Sequence[str]) -> str | None:
    """Return one way out as a sentence; None when it is none: it would drop one of our own conditions."""
    solver = universe.pool.solv.Solver
    parts = []
    only_wish = len({words for words in jobs if words}) == 1
    if only_wish and all(change.kind == solver.SOLVER_SOLUTION_JOB for change in changes):
        return None  # to give up is no help
    for change in changes:
        package = place(universe, change.package) if change.package > 1 else None
        if change.kind == solver.SOLVER_SOLUTION_JOB:
            asked = jobs[change.job] if 0 <= change.job < len(jobs) else ""
            if not asked:
                return None
            parts.append(f"do not {asked}")
        elif package is None or package.locked:
            return None
        elif change.kind == solver.SOLVER_SOLUTION_ERASE:
            parts.append(f"allow that {package.nevra} ({package.where}) is removed")
        elif change.kind == solver.SOLVER_SOLUTION_BEST:
            parts.append(f"do without the newest version ({package.nevra} stays)")
        elif change.replacement > 1:
            new = place(universe, change.replacement)
            parts.append(f"allow that {package.nevra} is replaced by {new.nevra} ({new.where})")
        else:
            return None
    return " and ".join(parts) or None
