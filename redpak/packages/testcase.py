"""Replay the solver's test cases: files of commands that make repositories, ask for something, and say the answer.

What the library offers no way to do or to ask is named, not passed over: see `Answer.unknown` and BadCase.
Source: libsolv, ext/testcase.c and tools/testsolv.c (the format; the reader here is our own).
"""

from __future__ import annotations

import gzip
import os
import tempfile
from typing import TYPE_CHECKING, Any

from redpak.errors import RedpakError, doing
from redpak.packages import testtags
from redpak.packages import testwords as words
from redpak.packages.testresult import COMPUTED, KINDS, Answer, BadCase
from redpak.packages.testwords import SYSTEM_SOLVABLE, BadWord, Dependencies

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def replay(path: str) -> list[Answer]:
    """Run a case and return the answer to each of its questions. Raises BadCase, RedpakError."""
    with doing("read the test case"), open(path, encoding="utf-8", errors="surrogateescape") as file:
        lines = file.read().splitlines()
    case = _Case(path, lines)
    answers = list(case.run())
    if case.faults:
        raise BadCase(path, case.faults)
    return answers


class _Case:
    def __init__(self, path: str, lines: list[str]) -> None:
        import solv

        self.solv: Any = solv
        self.raw: Any = solv.Pool()
        self.folder = os.path.dirname(os.path.abspath(path))
        self.lines = lines
        self.at = 0  # the next line
        self.faults: list[str] = []
        self.repos: dict[str, Any] = {}
        self.dependencies = Dependencies(self.raw, solv)
        self.dependencies.plain = _provided_namespaces(lines)
        self.classes: list[list[str]] = []  # vendors that may replace each other
        self.disabled: list[int] = []
        self.offered: list[tuple[int, int, bool]] = []  # namespaces that the system provides
        self.prepared = False
        self.solver: Any = None
        self.jobs: list[tuple[int, int]] = []
        self.kinds: tuple[str, ...] = ()
        self.expected: list[str] | None = None
        self.reuse = False
        self.commands: dict[str, Callable[[list[str]], None]] = {
            "repo": self._repo, "system": self._system, "job": self._job, "namespace": self._namespace,
            "poolflags": self._pool_flags, "solverflags": self._solver_flags, "result": self._result,
            "disable": self._disable, "feature": self._feature, "vendorclass": self._vendor_class,
            "evrcmp": self._compare,
        }  # fmt: skip

    # ---- commands ----

    def run(self) -> Iterator[Answer]:
        """Yield the answer to each question."""
        asked = True
        while self.at < len(self.lines):
            pieces = self._next()
            if not pieces or pieces[0].startswith("#"):
                continue
            if pieces[0] == "nextjob":
                yield self._answer()
                self.reuse = pieces[1:2] == ["reusesolver"]
                self.jobs, self.kinds, self.expected = [], (), None
                for name, evr, _ in self.offered:  # they hold for one question
                    self.raw.set_namespaceproviders(name, evr, False)  # noqa: FBT003 - takes no names
                self.offered = []
                if not self.reuse:
                    self.solver = None
                asked = False
                continue
            asked = True
            command = self.commands.get(pieces[0])
            where = f"line {self.at}"
            if command is None:
                self.faults.append(f"{where}: unknown command '{pieces[0]}'")
                continue
            try:
                command(pieces)
            except BadWord as error:
                self.faults.append(f"{where}: {error}")
        if asked and not self.faults:
            yield self._answer()

    def _next(self) -> list[str]:
        self.at += 1
        return self.lines[self.at - 1].split()

    def _inline(self) -> list[str]:
        found = []
        while self.at < len(self.lines) and self.lines[self.at].startswith("#>"):
            found.append(self.lines[self.at][2:])
            self.at += 1
        return found

    def _text(self, name: str) -> list[str]:
        """Return the lines of a file beside the case, or of the case itself."""
        if name == "<inline>":
            return self._inline()
        path = os.path.join(self.folder, name)
        try:
            with gzip.open(path, "rb") if name.endswith(".gz") else open(path, "rb") as file:
                return str(file.read(), "utf-8", "surrogateescape").splitlines()
        except (OSError, EOFError) as error:
            raise BadWord(f"cannot read '{name}': {error}") from None

    def _repo(self, pieces: list[str]) -> None:
        if len(pieces) < 4 or (pieces[3] != "empty" and len(pieces) < 5):
            raise BadWord("a repository needs a name, a priority, a kind and a file")
        if self.prepared or self.disabled:
            raise BadWord("repositories cannot be added after jobs")
        repo = self.raw.add_repo(pieces[1])
        self.repos.setdefault(pieces[1], repo)
        priority, _, sub = pieces[2].partition(".")
        try:
            repo.priority, repo.subpriority = int(priority or 0), int(sub or 0)
        except ValueError:
            raise BadWord(f"'{pieces[2]}' is no priority") from None
        kind = pieces[3]
        if kind == "empty":
            return
        if kind == "testtags":
            self.faults += testtags.read(repo, self._text(pieces[4]), self.dependencies)
            return
        readers = {"solv": repo.add_solv, "rpmmd": lambda file: repo.add_rpmmd(file, None)}
        if kind not in readers:
            raise BadWord(f"this library cannot read repositories of kind '{kind}'")
        file = self.solv.xfopen(os.path.join(self.folder, pieces[4]))
        if not file or not readers[kind](file):
            raise BadWord(f"cannot read '{pieces[4]}'")

    def _system(self, pieces: list[str]) -> None:
        if len(pieces) < 2 or self.prepared or self.jobs:
            raise BadWord("the system is named once, before all jobs")
        for name in pieces[2].split(",") if len(pieces) > 2 and pieces[2] != "*" else ():
            kind = words.DISTRIBUTIONS.get(name)
            if kind is None:
                raise BadWord(f"unknown distribution '{name}'")
            if name != "rpm" and self.raw.setdisttype(getattr(self.solv.Pool, kind)) == -1:
                raise BadWord(f"this library has no rules of '{name}'")
        if pieces[1].startswith(":"):
            raise BadWord("this library takes no policy of architectures")
        if pieces[1] not in ("unset", "-"):
            self.raw.setarch(pieces[1])
        if len(pieces) > 3:
            self.raw.installed = self._repository(pieces[3])

    def _repository(self, name: str) -> Any:
        for known, repo in self.repos.items():
            if name in (known, known.replace(" ", "_"), f"#{repo.id}"):
                return repo
        raise BadWord(f"unknown repository '{name}'")

    def _pool_flags(self, pieces: list[str]) -> None:
        for name, value in words.flags(",".join(pieces[1:]), words.POOL_FLAGS).items():
            self.raw.set_flag(words.POOL_FLAGS[name], int(value))

    def _solver_flags(self, pieces: list[str]) -> None:
        solver = self._solver()
        for name, value in words.flags(",".join(pieces[1:]), words.SOLVER_FLAGS).items():
            solver.set_flag(words.SOLVER_FLAGS[name], int(value))

    def _solver(self) -> Any:
        self._prepare()
        if self.solver is None:
            self.solver = self.raw.Solver()
            for name, flag in words.SOLVER_FLAGS.items():  # not the distribution's habits
                self.solver.set_flag(flag, int(name in words.USUAL_SOLVER_FLAGS))
        return self.solver

    def _prepare(self) -> None:
        if self.prepared:
            return
        for solvable in self.raw.solvables_iter() if self.classes else ():
            shared = self._vendor(str(solvable.vendor or ""))
            if shared:
                solvable.vendorid = self.raw.str2id(shared)
        self.raw.addfileprovides()
        self.raw.createwhatprovides()
        for namespace in self.offered:
            self.raw.set_namespaceproviders(*namespace)
        self.prepared = True

    def _vendor(self, vendor: str) -> str:
        """Return a name that all vendors of a class share: the library itself has no way to be told of classes."""
        import fnmatch

        for number, patterns in enumerate(self.classes):
            for pattern in patterns:
                if fnmatch.fnmatchcase(vendor.lower(), pattern.removeprefix("!").lower()):
                    if pattern.startswith("!"):
                        break
                    return f"class {number}"
        return ""

    def _vendor_class(self, pieces: list[str]) -> None:
        self.classes.append(pieces[1:])

    def _feature(self, pieces: list[str]) -> None:
        """Take what a library must be able to do: if this one cannot, its answer is another one."""

    def _namespace(self, pieces: list[str]) -> None:
        if len(pieces) < 2 or "(" not in pieces[1] or not pieces[1].endswith(")"):
            raise BadWord("a namespace is written as name(value)")
        name, _, evr = pieces[1][:-1].partition("(")
        by_system = len(pieces) == 2 or "@SYSTEM" in pieces[2:]
        if pieces[1] not in self.dependencies.plain:
            self.offered.append((self.raw.str2id(name), self.raw.str2id(evr), by_system))
            if self.prepared:
                self.raw.set_namespaceproviders(*self.offered[-1])
            return
        # Packages that provide it: they say so themselves, since the library cannot be told.
        for package in pieces[2:]:
            solvable = self.raw.id2solvable(self._package(package))
            solvable.add_deparray(self.solv.SOLVABLE_PROVIDES, self.dependencies.read(pieces[1]))
        if self.prepared and (self.jobs or self.solver is not None):
            raise BadWord("packages cannot provide a namespace after jobs")
        self.prepared = False

    def _disable(self, pieces: list[str]) -> None:
        if len(pieces) != 3 or pieces[1] != "pkg":
            raise BadWord("only packages can be disabled: disable pkg NAME")
        if self.jobs:
            raise BadWord("packages cannot be disabled after jobs")
        try:
            self.disabled.append(self._package(pieces[2]))
        except BadWord:
            return  # what is not there need not be disabled: published cases rely on it
        self.raw.set_disabled_list(self.disabled)
        self.prepared = False  # what they provide is gone too

    def _compare(self, pieces: list[str]) -> None:
        if len(pieces) != 3:
            raise BadWord("two versions are compared")
        scratch = self.solv.Pool()
        both = [scratch.add_repo("versions").add_solvable() for _ in (1, 2)]
        for solvable, version in zip(both, pieces[1:], strict=True):
            solvable.evrid = scratch.str2id(version)
        order = both[0].evrcmp(both[1])
        sign = "<" if order < 0 else ">" if order > 0 else "="
        self._prepare()
        dep = self.dependencies.read(f"{pieces[1]} {sign} {pieces[2]}")
        self.jobs.append((self.solv.Job.SOLVER_SOLVABLE_PROVIDES, dep))

    def _package(self, text: str) -> int:
        """Return the number of name-evr.arch@repository."""
        if text == "@SYSTEM":
            return SYSTEM_SOLVABLE
        for solvable in self.raw.solvables_iter():
            short = f"{solvable.name}-{solvable.evr}"
            full = f"{short}.{solvable.arch}"
            repo = str(solvable.repo.name).replace(" ", "_")
            flavors = "".join(
                f"-{dep.str()}" for dep in solvable.lookup_idarray(self.solv.SOLVABLE_BUILDFLAVOR)
            )
            if text in (f"{full}{flavors}@{repo}", f"{full}@{repo}", f"{short}@{repo}", full, short):
                return int(solvable.id)
        raise BadWord(f"unknown package '{text}'")

    # ---- jobs ----

    def _job(self, pieces: list[str]) -> None:
        self._prepare()
        if len(pieces) < 3:
            raise BadWord("a job needs a word, a kind and a name")
        if pieces[1] not in words.JOBS:
            raise BadWord(f"unknown job '{pieces[1]}'")
        how = words.JOBS[pieces[1]]
        rest = pieces[2:]
        if len(rest) > 2 and rest[-1].startswith("[") and rest[-1].endswith("]"):
            how |= words.added(rest.pop()[1:-1], words.JOB_FLAGS)
        kind, names = rest[0], rest[1:]
        if kind.startswith("selection"):
            self._selection(how, kind, names)
        else:
            self.jobs.append(self._one_job(how, kind, names))

    def _one_job(self, how: int, kind: str, names: list[str]) -> tuple[int, int]:
        job = self.solv.Job
        if kind == "pkg" and len(names) == 1:
            return how | job.SOLVER_SOLVABLE, self._package(names[0])
        if kind in ("name", "provides") and names:
            select = job.SOLVER_SOLVABLE_NAME if kind == "name" else job.SOLVER_SOLVABLE_PROVIDES
            return how | select, self.dependencies.read(" ".join(names))
        if kind == "oneof":
            numbers = [] if names == ["nothing"] else [self._package(name) for name in names]
            return how | job.SOLVER_SOLVABLE_ONE_OF, int(self.raw.towhatprovides(numbers))
        if kind == "repo" and len(names) == 1:
            return how | job.SOLVER_SOLVABLE_REPO, int(self._repository(names[0]).id)
        if kind == "all" and names == ["packages"]:
            return how | job.SOLVER_SOLVABLE_ALL, 0
        raise BadWord(f"cannot read job '{kind} {' '.join(names)}'")

    def _selection(self, how: int, kind: str, names: list[str]) -> None:
        key = 0
        if kind != "selection" and names:
            key, names = self.raw.str2id(names[0]), names[1:]  # which dependencies are looked at
        if len(names) < 2:
            raise BadWord("a selection needs flags")
        text, flags = " ".join(names[:-1]), words.added(names[-1], words.SELECTION_FLAGS)
        job = self.solv.Job
        if flags & words.SELECTION_FLAGS["filter"]:
            # It works on what was selected before, which becomes this job.
            start = self.raw.Selection()
            for before, what in self.jobs:
                start.add_raw(before & (job.SOLVER_SELECTMASK | job.SOLVER_SETMASK), what)
            self.jobs = []
        else:
            start = self.raw
        if kind == "selection":
            found = start.select(text, flags)
        elif kind == "selection_matchdeps":
            found = start.matchdeps(text, flags, key)
        elif kind == "selection_matchdepid":
            found = start.matchdepid(self.dependencies.read(text), flags, key)
        elif kind == "selection_matchsolvable":
            found = start.matchsolvable(self.raw.id2solvable(self._package(text)), flags, key)
        else:
            raise BadWord(f"unknown selection '{kind}'")
        selection = found if start is self.raw else start
        self.jobs += [(int(one.how), int(one.what)) for one in selection.jobs(how)]

    # ---- answers ----

    def _result(self, pieces: list[str]) -> None:
        kinds = pieces[1].split(",") if len(pieces) > 1 else []
        for kind in kinds:
            if kind not in KINDS:
                raise BadWord(f"unknown flag '{kind}' of results")
        self.kinds = tuple(kinds)
        if len(pieces) > 2:
            self.expected = self._text(pieces[2])

    def _answer(self) -> Answer:
        solver = self._solver()
        solver.solve([self.raw.Job(how, what) for how, what in self.jobs])
        kinds = self.kinds or ("transaction", "problems")
        lines: list[str] = []
        if {"transaction", "problems", "jobs"} & set(kinds):
            lines += self._written(solver, kinds)
        if "recommended" in kinds:
            lines += [f"recommended {self._show(found)}" for found in solver.get_recommended()]
            lines += [f"suggested {self._show(found)}" for found in solver.get_suggested()]
        if "order" in kinds:
            transaction = solver.transaction()
            transaction.order()
            for number, found in enumerate(transaction.steps(), start=1):
                act = "erase" if found.isinstalled() else "install"
                lines.append(f"order {number:4} {act} {self._show(found)}")
        unknown = tuple(kind for kind in kinds if kind not in COMPUTED)
        left_out = {word for kind in unknown for word in KINDS[kind]}
        expected = self.expected
        if expected is not None:
            expected = [line for line in expected if line and line.split()[0] not in left_out]
        return Answer(
            result=tuple(sorted(lines)),
            expected=tuple(sorted(expected)) if expected is not None else None,
            unknown=unknown,
        )

    def _show(self, solvable: Any) -> str:
        repo = str(solvable.repo.name).replace(" ", "_")
        return f"{solvable.name}-{solvable.evr}.{solvable.arch}@{repo}"

    def _written(self, solver: Any, kinds: tuple[str, ...]) -> list[str]:
        """Return the lines that the library itself writes about an answer."""
        with tempfile.TemporaryDirectory(prefix="redpak-solve-") as folder:
            if not solver.write_testcase(folder):
                raise RedpakError(f"the solver cannot write its answer into '{folder}'")
            with open(
                os.path.join(folder, "solver.result"), encoding="utf-8", errors="surrogateescape"
            ) as file:
                lines = file.read().splitlines()
            with open(os.path.join(folder, "testcase.t"), encoding="utf-8", errors="surrogateescape") as file:
                jobs = [line for line in file.read().splitlines() if line.startswith("job ")]
        wanted = {word for kind in kinds if kind != "jobs" for word in KINDS[kind]}
        return [line for line in lines if line.split(" ")[0] in wanted] + (jobs if "jobs" in kinds else [])


def _provided_namespaces(lines: list[str]) -> set[str]:
    """Return the namespaces that packages, not the system, provide."""
    found = set()
    for line in lines:
        pieces = line.split()
        if len(pieces) > 2 and pieces[0] == "namespace" and "@SYSTEM" not in pieces[2:]:
            found.add(pieces[1])
    return found
