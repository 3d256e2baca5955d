"""Packages that are not here yet, as a proof sees them: from a repository's metadata, or from a package file."""

from __future__ import annotations

from redpak.errors import NotFound
from redpak.packages import evr, richdep
from redpak.packages.facts import SENSE, Facts, facts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from redpak.packages.facts import Dep
    from redpak.packages.model import Item
    from redpak.packages.package import Package
    from redpak.packages.universe import Universe


def of_file(path: str) -> Facts:
    """Return a package file. Raises RedpakError."""
    from redpak.packages.header import from_rpm

    return facts(from_rpm(path)[1])


def of_package(package: Package, *, with_files: bool) -> Facts:
    """Return a package of a repository. Lists of files are loaded only `with_files`; they have no digests."""
    if package.header is not None:
        return facts(package.header)
    said = evr.split(package.evr)
    files = tuple((path, 0, "", "", 0, 0) for path in package.files) if with_files else ()
    return Facts((
        package.name, said.epoch or 0, said.version, said.release, package.arch,
        deps(package.provides), deps(package.requires), deps(package.conflicts), deps(package.obsoletes), files, "",
    ))  # fmt: skip


def deps(texts: Iterable[str]) -> tuple[Dep, ...]:
    """Return dependencies from their texts: 'name >= 1.2', '(a if b)'."""
    found = []
    for text in texts:
        name, _, rest = text.partition(" ")
        sign, _, version = rest.partition(" ")
        if text.startswith("(") or not rest:
            found.append((text, 0, ""))
        else:
            found.append((name, richdep.SIGNS.get(sign, 0) & SENSE, version))
    return tuple(dict.fromkeys(found))


def of_items(items: Iterable[Item], universe: Universe, *, with_files: bool) -> list[Facts]:
    """Return the packages that items bring. Raises NotFound when the universe has one of them not."""
    found = []
    for item in items:
        if item.action == "remove":
            continue
        named = universe.query(excluded=True).named([item.name])
        fitting = [one for one in named if one.repo == item.repo and one.nevra == item.nevra]
        if not fitting:
            raise NotFound(
                f"package '{item.nevra}' is not in repository '{item.repo}'", hint="Refresh the metadata."
            )
        found.append(of_package(fitting[0], with_files=with_files))
    return found
