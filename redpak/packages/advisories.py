"""What a repository says about its updates (updateinfo.xml): which packages, why, how severe."""

from __future__ import annotations

import xml.etree.ElementTree as Xml
from typing import TYPE_CHECKING, Any

from redpak.errors import RedpakError, doing
from redpak.packages import evr
from redpak.packages.query import Query
from redpak.record import Record

if TYPE_CHECKING:
    from typing import IO


class Reference(Record):
    """Something that an advisory points at."""

    kind: str  # bugzilla, cve, vendor, …
    id: str
    title: str = ""
    href: str = ""


class Fixed(Record):
    """A package that an advisory brings."""

    name: str
    evr: str
    arch: str
    filename: str = ""
    reboot: bool = False

    @property
    def nevra(self) -> str:
        """name-[epoch:]version-release.arch."""
        return f"{self.name}-{self.evr}.{self.arch}"


class Advisory(Record):
    """One advisory. Dates are as the repository writes them."""

    id: str
    repo: str
    kind: str  # security, bugfix, enhancement, newpackage, or what the repository invents
    severity: str = ""
    status: str = ""
    title: str = ""
    description: str = ""
    rights: str = ""
    issued: str = ""
    updated: str = ""
    vendor: str = ""
    references: tuple[Reference, ...] = ()
    packages: tuple[Fixed, ...] = ()

    def mentions(self, kind: str, name: str) -> bool:
        """Whether it has a reference of a kind and name."""
        return any(one.kind == kind and one.id == name for one in self.references)


class Wanted(Record):
    """Which advisories count; an advisory counts when one of these speaks of it."""

    advisories: tuple[Advisory, ...]
    kinds: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    bugs: tuple[str, ...] = ()
    cves: tuple[str, ...] = ()
    severities: tuple[str, ...] = ()
    minimal: bool = False  # the oldest package that is new enough, not the newest

    def chosen(self) -> list[Advisory]:
        """Return the advisories that count."""
        return [
            one
            for one in self.advisories
            if one.kind in self.kinds
            or one.id in self.ids
            or one.severity in self.severities
            or any(one.mentions("bugzilla", bug) for bug in self.bugs)
            or any(one.mentions("cve", cve) for cve in self.cves)
        ]

    def of(self, query: Query, *, upgrade: bool) -> Query:
        """Return the packages that bring what the advisories ask for: these versions or newer ones.

        `upgrade`: only of advisories that are newer than what the layer that may change has.
        """
        own = query.universe.query().own().by_name_arch()
        offered = query.by_name_arch()
        found: set[int] = set()
        for advisory in self.chosen():
            for fixed in advisory.packages:
                here = own.get((fixed.name, fixed.arch), ())
                if upgrade and (not here or any(evr.compare(p.evr, fixed.evr) >= 0 for p in here)):
                    continue
                fits = [
                    package
                    for package in offered.get((fixed.name, fixed.arch), ())
                    if evr.compare(package.evr, fixed.evr) >= 0
                ]
                if self.minimal and fits:
                    lowest = min(fits)
                    fits = [package for package in fits if evr.compare(package.evr, lowest.evr) == 0]
                found.update(package.id for package in fits)
        return Query(query.universe, [number for number in query.numbers if number in found])


def read(path: str, repo: str) -> list[Advisory]:
    """Read updateinfo.xml. Raises RedpakError when it is damaged."""
    with doing("read the advisories"), open(path, "rb") as file:
        try:
            return [_advisory(update, repo) for update in _updates(file)]
        except Xml.ParseError as error:
            raise RedpakError(f"cannot read '{path}': {error}") from None


def _updates(file: IO[bytes]) -> Any:
    for _, element in Xml.iterparse(file):
        if element.tag == "update":
            yield element
            element.clear()


def _advisory(update: Xml.Element, repo: str) -> Advisory:
    def text(tag: str) -> str:
        return (update.findtext(tag) or "").strip()

    def date(tag: str) -> str:
        found = update.find(tag)
        return found.get("date", "") if found is not None else ""

    return Advisory(
        id=text("id"),
        repo=repo,
        kind=update.get("type", ""),
        severity=text("severity"),
        status=update.get("status", ""),
        vendor=update.get("from", ""),
        title=text("title"),
        description=text("description"),
        rights=text("rights"),
        issued=date("issued"),
        updated=date("updated"),
        references=tuple(
            Reference(
                kind=one.get("type", ""),
                id=one.get("id", ""),
                title=one.get("title", ""),
                href=one.get("href", ""),
            )
            for one in update.iter("reference")
        ),
        packages=tuple(_fixed(one) for one in update.iter("package")),
    )


def _fixed(package: Xml.Element) -> Fixed:
    shown = f"{package.get('version', '')}-{package.get('release', '')}"
    epoch = package.get("epoch", "0") or "0"
    return Fixed(
        name=package.get("name", ""),
        evr=shown if epoch == "0" else f"{epoch}:{shown}",
        arch=package.get("arch", ""),
        filename=(package.findtext("filename") or "").strip(),
        reboot=(package.findtext("reboot_suggested") or "").lower() in ("1", "true"),
    )
