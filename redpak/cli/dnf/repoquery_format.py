"""What `repoquery --queryformat` understands: %{tag}, %20{tag} (right), %-20{tag} (left), in dnf 4's own way.

dnf 4 pads the other way round than rpm does: a number without sign fills up on the right. That is kept.
"""

from __future__ import annotations

import re
import time

from redpak.cli.dnf import described
from redpak.packages import facts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from redpak.cli.dnf.session import Session
    from redpak.packages.package import Package

    Tag = Callable[[Session, Package], object]

DEFAULT = "%{name}-%{epoch}:%{version}-%{release}.%{arch}"
NVR = "%{name}-%{version}-%{release}"
ENVRA = "%{epoch}:%{name}-%{version}-%{release}.%{arch}"
TAG = re.compile(r"%(-?\d*?)\{([:.\w]+?)\}")
NONE = "(none)"
KINDS = (
    "provides", "requires", "requires_pre", "obsoletes", "conflicts", "recommends", "suggests", "supplements",
    "enhances",
)  # fmt: skip

TAGS_HELP = """\
name, arch, epoch, version, release, reponame (repoid), from_repo, evr,
debug_name, source_name, source_debug_name,
installtime, buildtime, size, downloadsize, installsize,
provides, requires, obsoletes, conflicts, sourcerpm,
description, summary, license, url, reason"""


class UnknownTag(Exception):
    """There is no such tag; the message is the one that dnf gives."""


def _day(seconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(seconds)) if seconds > 0 else ""


def _source_name(package: Package) -> str | None:
    """Return the name of the source package, None when it is unknown."""
    return package.sourcerpm.rsplit("-", 2)[0] if package.sourcerpm.count("-") >= 2 else None


def _debug(name: str) -> str:
    """Return what the package with the debugging symbols of `name` is called."""
    return name if name.endswith("-debuginfo") else f"{name}-debuginfo"


def _reason(package: Package) -> str | None:
    words = {
        "dependency": "dependency",
        "weak": "weak-dependency",
        "clean": "clean",
        "user": "user",
        "group": "group",
    }
    return words.get(package.reason) if package.installed else None


def _from_repo(session: Session, package: Package) -> str:
    own = package.installed and not package.locked
    return described.came_from(session, package).removeprefix("@") if own else ""


def dependencies(package: Package, kind: str) -> list[str]:
    """Return dependencies of one kind; of an installed package also what it requires of rpm itself."""
    found = package.dependencies(kind)
    if kind != "requires" or package.header is None:
        return found
    rpmlib = [dep for dep in package.header.requires if dep[1] & facts.RPMLIB]
    return [*found, *(facts.spelled((name, flags & facts.SENSE, evr)) for name, flags, evr in rpmlib)]


def _of_kind(kind: str) -> Tag:
    return lambda _, package: dependencies(package, kind)


TAGS: dict[str, Tag] = {
    "name": lambda _, p: p.name,
    "arch": lambda _, p: p.arch,
    "epoch": lambda _, p: p.epoch,
    "version": lambda _, p: p.version,
    "release": lambda _, p: p.release,
    "evr": lambda _, p: p.evr,
    "reponame": lambda _, p: described.repository(p),
    "repoid": lambda _, p: described.repository(p),
    "ui_from_repo": lambda _, p: described.repository(p),
    "from_repo": _from_repo,
    "layer": lambda _, p: p.layer.name if p.layer else "",
    "debug_name": lambda _, p: _debug(p.name),
    "source_name": lambda _, p: _source_name(p),
    "source_debug_name": lambda _, p: _debug(_source_name(p) or p.name),
    "installtime": lambda _, p: _day(p.installtime),
    "buildtime": lambda _, p: _day(p.buildtime),
    "size": lambda _, p: described.size_bytes(p),
    "downloadsize": lambda _, p: p.downloadsize,
    "installsize": lambda _, p: p.installsize,
    "sourcerpm": lambda _, p: p.sourcerpm or None,
    "description": lambda _, p: p.description,
    "summary": lambda _, p: p.summary,
    "license": lambda _, p: p.license,
    "url": lambda _, p: p.url or None,
    "vendor": lambda _, p: p.vendor or None,
    "packager": lambda _, p: p.packager or None,
    "group": lambda _, p: p.group or None,
    "location": lambda _, p: p.location or None,
    "baseurl": lambda _, p: p.base_url or None,
    "medianr": lambda _, __: 0,
    "files": lambda _, p: p.files,
    "reason": lambda _, p: _reason(p),
}  # fmt: skip


TAGS.update((kind, _of_kind(kind)) for kind in KINDS)


def written(value: object) -> str:
    """Return a value as text: lists one a line, sorted."""
    if value is None:
        return NONE
    if isinstance(value, list):
        return "\n".join(sorted(set(value)))
    return str(value)


def compiled(form: str) -> list[tuple[str, str, int]]:
    r"""Return a query format as pieces: text before a tag, the tag, and its width (below 0: text on the right).

    `\n` and `\t` stand for newline and tab. The last piece has tag ''.
    """
    form = form.replace("\\n", "\n").replace("\\t", "\t").replace("requires-pre", "requires_pre")
    pieces, at = [], 0
    for found in TAG.finditer(form):
        sign = found.group(1)
        width = -int(sign[1:] or 0) if sign.startswith("-") else int(sign or 0)
        pieces.append((form[at : found.start()], found.group(2).lower(), width))
        at = found.end()
    return [*pieces, (form[at:], "", 0)]


def filled(session: Session, pieces: list[tuple[str, str, int]], package: Package) -> str:
    """Return a package in a compiled query format. Raises UnknownTag."""
    line = []
    for text, tag, width in pieces:
        line.append(text)
        if not tag:
            continue
        if tag not in TAGS:
            raise UnknownTag(f"'Package' object has no attribute '{tag}'")
        value = written(TAGS[tag](session, package))
        line.append(value.rjust(-width) if width < 0 else value.ljust(width))
    return "".join(line)
