"""Does the dynamic loader take the libraries that the packages promise? For every program and library, in one view."""

from __future__ import annotations

import os

from redpak.errors import RedpakError
from redpak.packages import elf
from redpak.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from redpak.packages.facts import Facts, File
    from redpak.packages.ldso import Loader, Loading


class Object(Record):
    """An ELF file of a package, as a view shows it."""

    at: str  # path in the view
    file: str  # path as the package writes it
    package: Facts
    owner: int


class Wrong(Record):
    """One library that is not as promised."""

    kind: str  # missing-library, missing-version, wrong-library, missing-symbol, unloadable-file
    text: str  # of what the object does not get; the caller puts the object in front


def candidates(packages: Iterable[Facts]) -> list[tuple[File, Facts]]:
    """Return the files that may be programs or libraries: those with an ELF colour, executable or named so."""
    return [
        (file, package)
        for package in packages
        for file in package.files
        if file[1] >> 12 == 0o10 and (file[5] or file[1] & 0o111 or ".so" in os.path.basename(file[0]))
    ]


def judge(
    made: Loading,
    *,
    providers: Callable[[str], set[str]],
    owner: Callable[[str], str | None],
    elsewhere: Callable[[str], bool],
) -> list[Wrong]:
    """Return what is wrong with one loading.

    `providers` returns the packages (nevra) that provide a capability, `owner` the package of a file of this host
    ('' when no package has it, None when it cannot be told), `elsewhere` whether a core OS that is not here provides
    a capability.
    """
    found: list[Wrong] = [Wrong(kind="unloadable-file", text=fault) for fault in made.faults]
    program = made.objects[0]
    marker = program.elf.marker
    for missing in made.missing:
        if elsewhere(f"{missing.name}(){marker}") or any(
            f"/{missing.name}'" in fault for fault in made.faults
        ):
            continue
        by = made.objects[missing.by]
        through = "" if missing.by == 0 else f", which '{by.path}' needs,"
        found.append(Wrong(kind="missing-library", text=f"library '{missing.name}'{through} is not found"))
    absent = {missing.name for missing in made.missing}
    for need in program.elf.needs:
        if need.weak:
            continue
        library = made.found(need.library)
        capability = f"{need.library}({need.version}){marker}"
        if library is None:
            if (
                need.library in absent
                and elsewhere(f"{need.library}(){marker}")
                and not elsewhere(capability)
            ):
                text = f"version '{need.version}' of '{need.library}' is not in the core OS"
                found.append(Wrong(kind="missing-version", text=text))
        elif need.version not in library.elf.versions:
            text = f"version '{need.version}' of '{need.library}' is not in '{library.path}', which the loader takes"
            found.append(Wrong(kind="missing-version", text=text))
    for name in program.elf.needed:
        library = made.found(name)
        promised = providers(f"{name}(){marker}")
        if library is None or not promised:
            continue
        taken = owner(library.file)
        if taken is not None and taken not in promised:
            whose = f"of {taken}" if taken else "of no package"
            text = f"library '{name}' is promised by {', '.join(sorted(promised))}, but the loader takes "
            found.append(Wrong(kind="wrong-library", text=f"{text}'{library.path}' {whose}"))
    return found


def undefined(made: Loading, symbols: Callable[[str], elf.Symbols]) -> list[Wrong]:
    """Return the symbols of a program that no loaded object defines; of libraries, whoever loads them may."""
    program = made.objects[0].elf
    if not program.interp or made.missing or made.faults:
        return []
    try:
        wanted = [one for one in symbols(made.objects[0].file).undefined if not one.weak]
        if not wanted:
            return []
        defined: set[str] = set()
        for one in made.objects:
            defined.update(symbols(one.file).defined)
    except RedpakError as error:
        return [Wrong(kind="unloadable-file", text=error.message)]
    lost = sorted({one.name for one in wanted if one.name not in defined})
    shown = ", ".join(f"'{name}'" for name in lost[:4]) + (" …" if len(lost) > 4 else "")
    return (
        [Wrong(kind="missing-symbol", text=f"symbol {shown} is defined by no loaded library")] if lost else []
    )


def taken(made: Loading) -> dict[str, str]:
    """Return which file stands for each library that a program needs, by whatever way it comes in."""
    return {one.name: one.file for one in made.objects[1:]}


def load(loader: Loader, at: str) -> Loading | None:
    """Return what is loaded for a file of the view; None when it is no ELF file, or none that is loaded so."""
    file = loader.place(at)
    if file is None:
        return None
    try:
        read = loader.elf(file)
    except RedpakError:
        return None
    return loader.load(at) if read is not None and read.dynamic else None


def differences(own: dict[str, str], leaf: dict[str, str]) -> Sequence[tuple[str, str, str]]:
    """Return the libraries that come from another file in a leaf's view: name, own file, leaf's file."""
    return [(name, own[name], leaf[name]) for name in sorted(own) if name in leaf and own[name] != leaf[name]]
