"""Change logs of packages: from the header of an installed one, else from the repository's other.xml."""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.packages.package import Package

    Entry = tuple[int, str, str]  # seconds since 1970, who, what


def entries(package: Package) -> list[Entry]:
    """Return the entries of a package, the newest first. Raises RedpakError for a repository's damaged list."""
    if package.header is not None:
        head = package.header
        when, who, what = (
            head.integers("changelogtime"),
            head.texts("changelogname"),
            head.texts("changelogtext"),
        )
        return list(zip(when, who, what, strict=False))
    from redpak.packages.otherdata import changelogs

    source = package.universe.metadata.get(package.repo)
    path = source.file("other") if source else ""
    if not path:
        return []
    known = changelogs(path, {package.checksum.partition(":")[2]})
    return sorted(known.get(package.checksum.partition(":")[2], ()), key=lambda entry: -entry[0])


def text(entry: Entry, *, clock: bool = False) -> str:
    """Return an entry as a spec file has it; `clock`: with a time of day."""
    when, who, what = entry
    form = "%a %b %d 00:00:00 %Y" if clock else "%a %b %d %Y"  # what is kept is a day
    return f"* {time.strftime(form, time.gmtime(when))} {who}\n{what}\n"
