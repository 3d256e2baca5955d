"""The solver's pool behind plain numbers: nobody outside of this room holds an object of the C library.

An object of the `solv` module that outlives its pool crashes the interpreter, so packages are numbers here, and
whoever has one also has the `Pool`. What is in a pool is never taken out again; what must not be chosen is hidden.
Source: libsolv, doc/libsolv-bindings.txt.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from redpak.errors import RedpakError
from redpak.packages.header_tags import EQUAL, GREATER, KINDS, LESS, RPMLIB
from redpak.packages.solved import Solved

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from redpak.packages.header import Header

    Dependency = tuple[str, int, str]

PREREQ = 1 << 6 | 1 << 9 | 1 << 10  # needed before the installation itself (rpmds.h)

# A solver flag that the binding has no name for (solver.h).
URPM_REORDER = 23


class Pool:
    """Repositories of packages, their dependencies, and the question whether they fit."""

    def __init__(self, arch: str = "x86_64", *, installed: str = "") -> None:
        import solv

        self.solv: Any = solv
        self.raw: Any = solv.Pool()
        self.raw.setdisttype(solv.Pool.DISTTYPE_RPM)
        self.raw.setarch(arch)
        self.raw.set_flag(solv.Pool.POOL_FLAG_WHATPROVIDESWITHDISABLED, 1)
        self.raw.set_flag(solv.Pool.POOL_FLAG_IMPLICITOBSOLETEUSESCOLORS, 1)  # i686 beside x86_64
        self.arch = arch
        self.repos: dict[str, Any] = {}
        self.keys = {kind: int(getattr(solv, f"SOLVABLE_{kind.upper()}")) for kind in KINDS}
        self._relations = {
            LESS: solv.REL_LT,
            GREATER: solv.REL_GT,
            EQUAL: solv.REL_EQ,
            LESS | EQUAL: solv.REL_LT | solv.REL_EQ,
            GREATER | EQUAL: solv.REL_GT | solv.REL_EQ,
            LESS | GREATER: solv.REL_LT | solv.REL_GT,
        }
        self._ready = False
        self._dep_names: dict[bool, list[str]] = {}
        self._names: dict[str, list[int]] | None = None
        self._with_any: dict[str, list[int]] = {}
        if installed:
            self.raw.installed = self.add_repo(installed)

    # ---- filling ----

    def add_repo(self, name: str, *, priority: int = 0, cost: int = 0) -> Any:
        """Make a repository. A higher priority goes first, then a lower cost."""
        repo = self.raw.add_repo(name)
        repo.priority, repo.subpriority = priority, -cost
        self.repos[name] = repo
        return repo

    @property
    def end(self) -> int:
        """The number that the next package gets."""
        return len(self.raw.solvables)

    def add_headers(self, repo: str, headers: Iterable[Header], *, files: bool = True) -> range:
        """Add packages by their headers, in order; `files`: with the names of their files."""
        start = self.end
        into = self.repos[repo]
        data = into.add_repodata()
        for header in headers:
            self._add_header(into, data, header, files=files)
        data.internalize()
        self._ready = False
        return range(start, self.end)

    def _add_header(self, repo: Any, data: Any, header: Header, *, files: bool) -> None:
        solv, raw = self.solv, self.raw
        solvable = repo.add_solvable()
        number = solvable.id
        name, arch, evr = header.name, header.arch or "noarch", header.evr
        solvable.nameid, solvable.archid, solvable.evrid = raw.str2id(name), raw.str2id(arch), raw.str2id(evr)
        if header.vendor:
            solvable.vendorid = raw.str2id(header.vendor)
        for kind, key in self.keys.items():
            for dependency in getattr(header, kind):
                if dependency[1] & RPMLIB or dependency[0].startswith("rpmlib("):
                    continue
                marker = solv.SOLVABLE_PREREQMARKER if dependency[1] & PREREQ and kind == "requires" else -1
                solvable.add_deparray(key, self.dep(*dependency), marker)
        itself = raw.rel2id(solvable.nameid, solvable.evrid, solv.REL_EQ)
        if arch != "src" and itself not in (d.id for d in solvable.lookup_deparray(self.keys["provides"])):
            solvable.add_deparray(self.keys["provides"], itself)
        data.set_num(number, solv.SOLVABLE_BUILDTIME, header.buildtime)
        data.set_num(number, solv.SOLVABLE_INSTALLSIZE, header.size)
        if files:
            directories: dict[str, int] = {}
            for path in header.paths():
                directory, _, base = path.rpartition("/")
                at = directories.get(directory)
                if at is None:
                    at = directories[directory] = data.str2dir(directory or "/")
                data.add_dirstr(number, solv.SOLVABLE_FILELIST, at, base)

    def dep(self, name: str, flags: int = 0, evr: str = "") -> int:
        """Return the number of a dependency, rich ones included."""
        if name.startswith("("):
            rich = self.raw.parserpmrichdep(name)
            if rich is not None:
                return int(rich.id)
        number = int(self.raw.str2id(name))
        relation = self._relations.get(flags & (LESS | GREATER | EQUAL))
        if relation and evr:
            return int(self.raw.rel2id(number, self.raw.str2id(evr), relation))
        return number

    def prepare(self) -> None:
        """Index what is provided; to be called after anything was added, before anything is asked."""
        if not self._ready:
            self.raw.addfileprovides()
            self.raw.createwhatprovides()
            self._dep_names.clear()
            self._with_any.clear()
            self._names = None
            self._ready = True

    def changed(self) -> None:
        """Say that something was added behind the back of `add_headers`."""
        self._ready = False

    def wanted_files(self) -> list[str]:
        """Return the paths that dependencies ask for and that only a complete list of files can answer."""
        self._ready = False
        return [self.raw.id2str(number) for number in self.raw.addfileprovides_queue()]

    def hide(self, packages: Iterable[int]) -> None:
        """Hide these packages and no others."""
        self.raw.set_disabled_list(sorted(packages))

    # ---- asking ----

    def show(self, package: int) -> str:
        """Return a package as messages write it: name-[epoch:]version-release.arch."""
        return str(self.raw.solvid2str(package))

    def repo_of(self, package: int) -> str:
        """Return the name of a package's repository."""
        return str(self.raw.id2solvable(package).repo.name)

    def name(self, package: int) -> str:
        """Return a package's name."""
        return str(self.raw.id2solvable(package).name)

    def dep_str(self, dep: int) -> str:
        """Return a dependency as packages write it."""
        return str(self.raw.dep2str(dep))

    def deps(self, package: int, kind: str) -> list[int]:
        """Return a package's dependencies of one of the `KINDS`; provides come without files."""
        lookup = self.raw.id2solvable(package).lookup_deparray
        found = [int(dep.id) for dep in lookup(self.keys[kind], -1)]
        return found + self.prereqs(package) if kind == "requires" else found

    def prereqs(self, package: int) -> list[int]:
        """Return what a package requires before or after its own installation."""
        lookup = self.raw.id2solvable(package).lookup_deparray
        return [int(dep.id) for dep in lookup(self.keys["requires"], 1)]

    def providers(self, dep: int) -> list[int]:
        """Return the packages that provide a dependency, hidden ones included."""
        self.prepare()
        return [int(solvable.id) for solvable in self.raw.whatprovides(dep)]

    def is_called(self, package: int, dep: int) -> bool:
        """Whether a dependency means a package by its own name and version, whatever it provides."""
        return bool(self.raw.id2solvable(package).matchesdep(self.solv.SOLVABLE_NAME, dep))

    def dep_names(self, *, asked: bool = False) -> list[str]:
        """Return all names that packages provide, or those that they ask for."""
        kinds = [kind for kind in KINDS if kind != "provides"] if asked else ["provides"]
        self.prepare()
        if asked not in self._dep_names:
            found: set[str] = set()
            for solvable in self.raw.solvables_iter():
                for kind in kinds:
                    for dep in solvable.lookup_deparray(self.keys[kind], 0 if asked else -1):
                        text = dep.str()
                        found.add(text if text.startswith("(") else text.partition(" ")[0])
            self._dep_names[asked] = sorted(found)
        return self._dep_names[asked]

    def named(self, name: str) -> list[int]:
        """Return the packages of a name, those of foreign architectures and sources included."""
        selection = self.solv.Selection
        flags = selection.SELECTION_NAME | selection.SELECTION_WITH_ALL
        self.prepare()
        return [int(solvable.id) for solvable in self.raw.select(name, flags).solvables()]

    def matching(self, kind: str, dep: int) -> list[int]:
        """Return the packages with a dependency of a kind that overlaps with this one."""
        self.prepare()
        return [int(solvable.id) for solvable in self.raw.whatmatchesdep(self.keys[kind], dep)]

    def by_name(self) -> dict[str, list[int]]:
        """Return all packages by name."""
        self.prepare()
        if self._names is None:
            ids: dict[int, list[int]] = {}
            for solvable in self.raw.solvables_iter():
                ids.setdefault(solvable.nameid, []).append(int(solvable.id))
            self._names = {self.raw.id2str(name): numbers for name, numbers in ids.items()}
        return self._names

    def with_any(self, kind: str) -> list[int]:
        """Return the packages that have any dependency of a kind."""
        self.prepare()
        if kind not in self._with_any:
            selection = self.solv.Selection
            flags = selection.SELECTION_GLOB | selection.SELECTION_WITH_ALL | selection.SELECTION_MATCH_DEPSTR
            found = self.raw.matchdeps("*", flags, self.keys[kind]).solvables()
            self._with_any[kind] = [int(solvable.id) for solvable in found]
        return self._with_any[kind]

    def members(self, repo: str) -> list[int]:
        """Return a repository's packages."""
        if repo not in self.repos:
            return []
        return [int(solvable.id) for solvable in self.repos[repo].solvables_iter()]

    def compare(self, one: int, other: int) -> int:
        """Compare two packages' versions: negative, zero or positive, as rpm sorts."""
        return int(self.raw.id2solvable(one).evrcmp(self.raw.id2solvable(other)))

    def job(self, how: int, what: int | Sequence[int]) -> tuple[int, int]:
        """Return a job; several packages become "one of them"."""
        if isinstance(what, int):
            return how, what
        return how | self.solv.Job.SOLVER_SOLVABLE_ONE_OF, int(self.raw.towhatprovides(list(what)))

    def solve(self, jobs: Iterable[tuple[int, int]], flags: Mapping[int, int] | None = None) -> Solved:
        """Solve; the answer is asked for its problems or its steps."""
        self.prepare()
        solver = self.raw.Solver()
        for flag, value in (flags or {}).items():
            solver.set_flag(flag, value)
        job_list = [self.raw.Job(how, what) for how, what in jobs]
        try:
            problems = solver.solve(job_list)
        except MemoryError:
            raise RedpakError("the solver ran out of memory") from None
        return Solved(self, solver, problems)
