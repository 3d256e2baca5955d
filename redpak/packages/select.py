"""What a spec on the command line means, as dnf 4 reads it: NEVRA in its forms, then provides, then files.

Source: libdnf 0.69, nevra.cpp and Query::filterSubject (the order of forms, and where globs are allowed).
"""

from __future__ import annotations

import fnmatch
import re
from typing import TYPE_CHECKING

from redpak.packages.query import Query
from redpak.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Literal

    from redpak.packages.universe import Universe

    Matcher = Callable[[str], bool]
    Form = Literal["nevra", "nevr", "nev", "na", "name"]

_NAME, _EPOCH, _PART, _ARCH = r"([^:(/=<> ]+)", r"(?:([0-9]+):)?", r"([^-:(/=<> ]+)", r"([^-:.(/=<> ]+)"
_FORMS = {
    "nevra": re.compile(rf"^{_NAME}-{_EPOCH}{_PART}-{_PART}\.{_ARCH}$"),
    "nevr": re.compile(rf"^{_NAME}-{_EPOCH}{_PART}-{_PART}()$"),
    "nev": re.compile(rf"^{_NAME}-{_EPOCH}{_PART}()()$"),
    "na": re.compile(rf"^{_NAME}()()()\.{_ARCH}$"),
    "name": re.compile(rf"^{_NAME}()()()()$"),
}
MOST_SPECIFIC_FIRST: tuple[Form, ...] = ("nevra", "na", "name", "nevr", "nev")


class Nevra(Record):
    """A spec in one of its forms; what it does not say is ''. Each part may be a glob."""

    name: str
    epoch: str = ""
    version: str = ""
    release: str = ""
    arch: str = ""

    @property
    def just_name(self) -> bool:
        """Whether it says nothing but a name."""
        return bool(self.name) and not (self.epoch or self.version or self.release or self.arch)


class Selected(Record):
    """The packages that a spec means, and how it was understood."""

    spec: str
    query: Query
    nevra: Nevra | None = None  # None: as a whole NEVRA with globs, as something provided, or as a file


def is_glob(text: str) -> bool:
    """Whether a text has wildcards."""
    return any(sign in text for sign in "*[?")


def is_file(spec: str) -> bool:
    """Whether a spec looks like a path."""
    return spec.startswith(("/", "*/"))


def parse(spec: str, form: Form) -> Nevra | None:
    """Read a spec in one form; None when it has not that form."""
    found = _FORMS[form].match(spec)
    if found is None:
        return None
    name, epoch, version, release, arch = (part or "" for part in found.groups())
    return Nevra(name=name, epoch=epoch, version=version, release=release, arch=arch)


def select(
    universe: Universe,
    spec: str,
    *,
    within: Query | None = None,
    forms: Sequence[Form] = (),
    icase: bool = False,
    nevra: bool = True,
    provides: bool = True,
    files: bool = True,
    source: bool = True,
) -> Selected:
    """Find what a spec means among `within` (everything that is not hidden).

    The first reading that finds a package counts. `source`: source packages may be meant.
    """
    query = universe.query() if within is None else within

    def wanted(found: Query) -> Query:
        return found if source else found.without_source()

    if nevra:
        for form in forms or MOST_SPECIFIC_FIRST:
            meant = parse(spec, form)
            if meant is not None and (found := wanted(by_nevra(query, meant, icase=icase))):
                return Selected(spec=spec, query=found, nevra=meant)
        if not forms and is_glob(spec):
            pattern = matcher(spec, icase=icase)
            if found := wanted(query.where(lambda package: pattern(package.nevra))):
                return Selected(spec=spec, query=found)
    if provides and (found := wanted(query.providing([spec], icase=icase))):
        return Selected(spec=spec, query=found)
    if files and is_file(spec) and (found := wanted(query.with_file([spec], icase=icase))):
        return Selected(spec=spec, query=found)
    return Selected(spec=spec, query=Query(universe, ()))


def by_nevra(query: Query, nevra: Nevra, *, icase: bool = False) -> Query:
    """Narrow a query down to the packages that a parsed spec means."""
    if nevra.name != "*":
        query = query.named([nevra.name], icase=icase)
    if nevra.arch and nevra.arch != "*":
        arch = matcher(nevra.arch)
        query = query.where(lambda package: arch(package.arch))
    if nevra.epoch:
        query = query.where(lambda package: package.epoch == int(nevra.epoch))
    if nevra.version and nevra.version != "*":
        version = matcher(nevra.version)
        query = query.where(lambda package: version(package.version))
    if nevra.release and nevra.release != "*":
        release = matcher(nevra.release)
        query = query.where(lambda package: release(package.release))
    return query


def matcher(pattern: str, *, icase: bool = False) -> Matcher:
    """Return a test whether a text fits a glob; plain texts are compared."""
    if icase:
        compiled = re.compile(fnmatch.translate(pattern), re.IGNORECASE)
        return lambda text: compiled.match(text) is not None
    if not is_glob(pattern):
        return lambda text: text == pattern
    compiled = re.compile(fnmatch.translate(pattern))
    return lambda text: compiled.match(text) is not None


def names(universe: Universe, specs: Iterable[str], among: set[int]) -> set[int]:
    """Return which of these packages excludes or includes name: by NEVRA only."""
    found: set[int] = set()
    if not among:
        return found
    query = Query(universe, sorted(among))
    for spec in specs:
        found.update(select(universe, spec, within=query, provides=False, files=False).query.numbers)
    return found
