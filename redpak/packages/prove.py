"""Prove a tree of databases: one pool of the solver for all of them, every database against those above it.

Nothing counts as installed: the solver is asked to install everything of a path into an empty system, with nothing
else to choose from. (Packages that are installed already make no rules: such a proof would always succeed.) The
solver decides, the walk over the edges says what is broken; where they disagree, that is a finding too.
"""

from __future__ import annotations

from redpak.errors import RedpakError
from redpak.packages import chains, edges, richdep
from redpak.packages.facts import EQUAL, GREATER, LESS, SENSE, chain
from redpak.packages.finding import Finding
from redpak.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from redpak.packages.edges import Broken, Tree
    from redpak.packages.facts import Dep, Facts, Place

MOST_RULES = 20  # of the solver's reasons for one database; more do not help anybody


class Verdict(Record):
    """What was found out about one database. Its own faults only; it stands on those above it as well."""

    satisfiable: bool  # what the solver says about it together with all above it
    findings: tuple[Finding, ...]


class Pool:
    """The solver's pool of a whole tree. Objects of the solver never leave it: they die with the pool."""

    def __init__(self, tree: Tree, arch: str) -> None:
        import solv

        self.tree = tree
        self.solv = solv
        self.pool = solv.Pool()
        self.pool.setarch(arch)
        self.repo = self.pool.add_repo("tree")
        self.known: dict[Dep, int] = {}
        self.ids: list[int] = []  # the solver's number of each package
        paths = needed_paths(tree)
        for package in tree.packages:
            self.ids.append(self._add(package, paths))
        self.repo.internalize()
        self.pool.createwhatprovides()

    def _add(self, package: Facts, paths: frozenset[str]) -> int:
        solv, pool = self.solv, self.pool
        solvable = self.repo.add_solvable()
        solvable.nameid = pool.str2id(package.name)
        solvable.evrid = pool.str2id(package.evr)
        solvable.archid = pool.str2id(package.arch)
        dep, add = self._dep, solvable.add_deparray
        for provide in package.provides:
            add(solv.SOLVABLE_PROVIDES, dep(provide))
        add(solv.SOLVABLE_PROVIDES, pool.rel2id(solvable.nameid, solvable.evrid, solv.REL_EQ))
        if paths:
            for file in package.files:
                if file[0] in paths:
                    add(solv.SOLVABLE_PROVIDES, pool.str2id(file[0]))
        for require in package.requires:
            add(solv.SOLVABLE_REQUIRES, dep(require))
        for conflict in package.conflicts:
            add(solv.SOLVABLE_CONFLICTS, dep(conflict))
        for obsolete in package.obsoletes:
            add(solv.SOLVABLE_OBSOLETES, dep(obsolete))
        return int(solvable.id)

    def _dep(self, dep: Dep) -> int:
        """Return the solver's number of a dependency."""
        found = self.known.get(dep)
        if found is None:
            name, flags, evr = dep
            if richdep.is_rich(name):
                parsed = self.pool.parserpmrichdep(name)
                if parsed is None:
                    raise RedpakError(f"'{name}' is no dependency", hint="Rebuild the package that says so.")
                found = int(parsed.id)
            else:
                found = int(self.pool.str2id(name))
                if flags & SENSE:
                    solv = self.solv
                    sense = (
                        (solv.REL_LT if flags & LESS else 0)
                        | (solv.REL_GT if flags & GREATER else 0)
                        | (solv.REL_EQ if flags & EQUAL else 0)
                    )
                    found = int(self.pool.rel2id(found, self.pool.str2id(evr), sense))
            self.known[dep] = found
        return found

    def prove(self, place: int) -> list[str]:
        """Return why the packages of a database and of all above it cannot be together; [] when they can."""
        solv, pool, tree = self.solv, self.pool, self.tree
        wanted = [at for level in chain(tree.places, place) for at in tree.own(level)]
        if not wanted:
            return []
        numbers = [self.ids[at] for at in wanted]
        pool.set_considered_list(numbers)
        install = solv.Job.SOLVER_INSTALL | solv.Job.SOLVER_SOLVABLE
        jobs = [pool.Job(install, number) for number in numbers]
        for number in self._many(wanted):
            jobs.append(pool.Job(solv.Job.SOLVER_MULTIVERSION | solv.Job.SOLVER_SOLVABLE, number))
        solver = pool.Solver()
        solver.set_flag(solv.Solver.SOLVER_FLAG_IGNORE_RECOMMENDED, 1)
        problems = solver.solve(jobs)
        said: dict[str, None] = {}
        for problem in problems[:MOST_RULES]:
            for rule in problem.findallproblemrules():
                for info in rule.allinfos():
                    if info.type != solv.Solver.SOLVER_RULE_JOB:
                        said[info.problemstr()] = None
        return list(said) or (["the solver found no way"] if problems else [])

    def _many(self, wanted: Iterable[int]) -> list[int]:
        """Return the solver's numbers of packages that may be there in several versions."""
        names: dict[str, list[int]] = {}
        for at in wanted:
            names.setdefault(self.tree.packages[at].name, []).append(at)
        return [
            self.ids[at]
            for twins in names.values()
            if len(twins) > 1
            and all(self.tree.side_by_side(one, two) for one in twins for two in twins if one != two)
            for at in twins
        ]


def needed_paths(tree: Tree) -> frozenset[str]:
    """Return the paths that any dependency asks for: only those of all files are made known to the solver."""
    found = set()
    for package in tree.packages:
        for dep in (*package.requires, *package.conflicts):
            name = dep[0]
            if name.startswith("/"):
                found.add(name)
            elif richdep.is_rich(name):
                found.update(
                    leaf[0] for leaf in richdep.leaves(tree.formula(name)) if leaf[0].startswith("/")
                )
    return frozenset(found)


def prove(places: Sequence[Place], *, arch: str, only: Iterable[int] | None = None) -> dict[int, Verdict]:
    """Prove the databases `only` (all when None) and all above them; a parent comes before its children in `places`.

    What stands on a database that is broken is broken; the solver is not asked about it.
    Raises RedpakError when a package says something that is no dependency.
    """
    tree = edges.Tree(places)
    pool = Pool(tree, arch)
    found: dict[int, Verdict] = {}
    wanted = range(len(places)) if only is None else {up for one in only for up in chain(places, one)}
    for at in sorted(wanted):
        broken = tree.broken(at)
        findings = [finding(tree, edge) for edge in broken]
        up = places[at].parent
        if up >= 0 and not found[up].satisfiable:
            found[at] = Verdict(satisfiable=False, findings=tuple(findings))
            continue
        reasons = pool.prove(at)
        if bool(broken) != bool(reasons):
            findings.append(disagreement(places[at], reasons))
        found[at] = Verdict(satisfiable=not reasons, findings=tuple(findings))
    return found


def disagreement(place: Place, reasons: Sequence[str]) -> Finding:
    """Return the finding that solver and walk do not say the same.

    libsolv takes no notice of what a package itself provides where a rich dependency speaks of it, rpm does, and so
    does the walk. So it is a note where only the walk has found a fault, which is reported besides.
    """
    if reasons:
        text = f"two proofs disagree: the solver says: {reasons[0]}; the walk over the edges found nothing"
    else:
        text = "two proofs disagree: the walk over the edges found a fault, the solver none"
    return Finding(
        kind="disagreement", place=place.path, name=place.name, text=text, chain=tuple(reasons),
        hint="Report it, with the package databases." if reasons else "", grade="fault" if reasons else "note",
    )  # fmt: skip


def finding(tree: Tree, edge: Broken) -> Finding:
    """Return a broken edge with its chain and with what helps."""
    place = tree.places[edge.place]
    return Finding(
        kind=edge.kind,
        place=place.path,
        name=place.name,
        package=edge.package.nevra,
        text=tree.say(edge),
        chain=(*chains.near(tree, edge), *chains.users(tree, edge)),
        hint=chains.hint(tree, edge),
    )
