"""Repositories of test cases: lines of '=Tag: value', packages one after the other.

Source: libsolv, ext/testcase.c (testcase_add_testtags); the reader here is our own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from redpak.packages.testwords import BadWord, unquote

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from redpak.packages.testwords import Dependencies

_DEPENDENCIES = {
    "Req": "REQUIRES", "Prq": "REQUIRES", "Prv": "PROVIDES", "Obs": "OBSOLETES", "Con": "CONFLICTS",
    "Rec": "RECOMMENDS", "Sup": "SUPPLEMENTS", "Sug": "SUGGESTS", "Enh": "ENHANCES",
}  # fmt: skip
_LISTS = {"Flv": "BUILDFLAVOR", "Trf": "TRACK_FEATURES", "Ipr": "PREREQ_IGNOREINST", "Cns": "CONSTRAINS"}
LOCALES = 2  # the version of the format in which languages are provided, not supplemented
_NUMBERS = {"Tim": "BUILDTIME", "Itm": "INSTALLTIME"}
_TEXTS = {"Sum": "SUMMARY", "Bvr": "BUILDVERSION"}


def read(repo: Any, lines: Iterable[str], dependencies: Dependencies) -> list[str]:
    """Add the packages of these lines to a repository; return what is wrong with them."""
    reader = _Reader(repo, dependencies)
    for tag, value in _tagged(lines):
        try:
            reader.tag(tag, value)
        except BadWord as error:
            reader.faults.append(str(error))
    reader.finish()
    reader.close()
    return reader.faults


def _tagged(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield every tag with its value; '+Tag:' opens a list of values that ends with '-Tag:'."""
    inside = ""
    for line in lines:
        text = line.rstrip("\n")
        if inside:
            if text.startswith(f"-{inside}:"):
                inside = ""
            else:
                yield inside, text.strip()
        elif text.startswith("+") and text[4:5] == ":":
            inside = text[1:4]
        elif text.startswith("=") and text[4:5] == ":":
            yield text[1:4], text[5:].strip()


class _Reader:
    def __init__(self, repo: Any, dependencies: Dependencies) -> None:
        self.repo, self.dependencies = repo, dependencies
        self.raw, self.solv = dependencies.raw, dependencies.solv
        self.data = repo.add_repodata()
        self.solvable: Any = None
        self.version = 0
        self.faults: list[str] = []

    def tag(self, tag: str, value: str) -> None:
        """Take one line."""
        if tag == "Ver":
            self.version = int(value.split(".")[0]) if value[:1].isdigit() else 0
        elif tag == "Pkg":
            self._package(value.split())
        elif self.solvable is not None:
            self._attribute(tag, value)

    def _package(self, words: list[str]) -> None:
        if len(words) != 4:
            return  # the format's own reader passes such a line over
        self.finish()
        name, version, release, arch = words
        self.solvable = solvable = self.repo.add_solvable()
        solvable.nameid = self.raw.str2id(name)
        evr = version if release == "-" else f"{version}-{release}"
        if evr.startswith("0:") and len(evr) > 2:
            evr = evr[2:]
        solvable.evrid = self.raw.str2id(evr)
        solvable.archid = self.raw.str2id(arch) if arch != "-" else 0

    def _attribute(self, tag: str, value: str) -> None:
        solv, solvable = self.solv, self.solvable
        if tag in _DEPENDENCIES:
            key = getattr(solv, f"SOLVABLE_{_DEPENDENCIES[tag]}")
            if tag == "Prv" and value.startswith("/") and self.version < 3:
                self._file(value)
                return
            marker = solv.SOLVABLE_PREREQMARKER if tag == "Prq" else -1
            solvable.add_deparray(key, self.dependencies.read(value), marker)
        elif tag == "Fls":
            self._file(value)
        elif tag == "Vnd":
            solvable.vendorid = self.raw.str2id(value)
        elif tag in _LISTS:
            dep = self.dependencies.read(value) if tag in ("Ipr", "Cns") else self.raw.str2id(unquote(value))
            self.data.add_idarray(solvable.id, getattr(solv, f"SOLVABLE_{_LISTS[tag]}"), dep)
        elif tag in _NUMBERS:
            number = int(value) if value.isdigit() else 0
            self.data.set_num(solvable.id, getattr(solv, f"SOLVABLE_{_NUMBERS[tag]}"), number)
        elif tag in _TEXTS:
            self.data.set_str(solvable.id, getattr(solv, f"SOLVABLE_{_TEXTS[tag]}"), value)

    def _file(self, path: str) -> None:
        folder, _, base = path.rpartition("/")
        at = self.data.str2dir(folder or "/")
        self.data.add_dirstr(self.solvable.id, self.solv.SOLVABLE_FILELIST, at, base)

    def finish(self) -> None:
        """End the package: it provides itself."""
        solvable, self.solvable = self.solvable, None
        if solvable is None:
            return
        if self.version == LOCALES:
            self._languages(solvable)
        if solvable.archid not in (self.solv.ARCH_SRC, self.solv.ARCH_NOSRC):
            itself = self.raw.rel2id(solvable.nameid, solvable.evrid, self.solv.REL_EQ)
            if all(dep.id != itself for dep in solvable.lookup_deparray(self.solv.SOLVABLE_PROVIDES)):
                solvable.add_deparray(self.solv.SOLVABLE_PROVIDES, itself)

    def _languages(self, solvable: Any) -> None:
        """Let who provides 'locale(PACKAGE:de;en)' supplement that package where such a language is wanted."""
        for provided in [dep.str() for dep in solvable.lookup_deparray(self.solv.SOLVABLE_PROVIDES)]:
            if not provided.startswith("locale(") or not provided.endswith(")"):
                continue
            package, colon, languages = provided[len("locale(") : -1].rpartition(":")
            wanted = [f"namespace:language({one})" for one in languages.split(";") if one]
            if wanted:
                either = f"({' | '.join(wanted)})"
                text = f"{package} & {either}" if colon and package else either
                solvable.add_deparray(self.solv.SOLVABLE_SUPPLEMENTS, self.dependencies.read(text))

    def close(self) -> None:
        """Make what was read visible."""
        self.data.internalize()
