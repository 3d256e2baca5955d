"""What a system without an rpm database really offers to rpm packages: libraries, programs, files, interpreters.

Names of packages are not among them: another distribution's `libssl3` is not what an rpm package means by it. What is
offered is what can be seen to work: a library under the name that the loader looks for, a file at its path.
"""

from __future__ import annotations

import hashlib
import os
import re
from typing import TYPE_CHECKING

from redpak import fs
from redpak.errors import RedpakError
from redpak.packages import elf, ldconf

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from redpak.packages.ldconf import Look

# Directories whose files packages require by path. Each is listed under all its names: /bin may be /usr/bin.
PROGRAMS = ("/usr/bin", "/usr/sbin", "/bin", "/sbin")
LIBEXEC = ("/usr/libexec", "/usr/lib/systemd")  # their own files, not those beneath
SETTINGS = ("/etc",)  # likewise, directories included
LOADERS = ("/lib64", "/lib", "/libx32", "/lib32")  # in them only what is a loader
OTHERS = (
    "/usr/lib/os-release", "/usr/lib/sendmail", "/usr/share/fonts", "/usr/share/icons/hicolor", "/usr/share/zoneinfo",
    "/usr/share/dbus-1", "/usr/share/dbus-1/services", "/usr/share/dbus-1/system-services", "/usr/share/applications",
    "/usr/share/bash-completion", "/usr/share/man", "/usr/share/mime", "/usr/share/terminfo", "/var/lib/dbus",
)  # fmt: skip
PERL = (
    "/usr/share/perl5",
    "/usr/lib/*/perl5/*",
    "/usr/share/perl/*",
    "/usr/lib/*/perl/*",
    "/usr/lib/*/perl-base",
)
PYTHON = (
    "/usr/lib/python3/dist-packages",
    "/usr/lib/python3.*/site-packages",
    "/usr/lib64/python3.*/site-packages",
)

_LIBRARY = re.compile(r"[^/]*\.so(\.[^/]*)?")
_LOADER = re.compile(r"ld(-linux[^/]*|64)?\.so\.[0-9]+")

Capability = tuple[str, str]  # what is provided, and its version or ''


def offered(root: str) -> list[Capability]:
    """Return everything that the system in a root directory offers, sorted. Raises RedpakError."""
    look = ldconf.rooted(root)
    found: set[Capability] = set()
    found.update((path, "") for path in files(look))
    for folder in library_folders(look):
        found.update((name, "") for name in libraries(look, folder))
    found.update(pythons(look))
    found.update((name, "") for name in perls(look))
    if any(_LOADER.fullmatch(os.path.basename(path)) for path, _ in found if path.startswith("/lib")):
        found.add(("rtld(GNU_HASH)", ""))
    return sorted(found)


def stamp(root: str) -> str:
    """Return what changes when `offered` may: the stamps of all directories that it lists itself."""
    look = ldconf.rooted(root)
    marks = []
    folders = [*PROGRAMS, *LIBEXEC, *LOADERS, *PYTHON[:1], "/etc/ld.so.conf.d", *library_folders(look)]
    for name in dict.fromkeys(folders):
        there = look(name)
        marks.append(fs.stamp(there) if there else "")
    for name in ("/etc/ld.so.conf", "/etc/ld.so.cache"):
        there = look(name)
        marks.append(fs.stamp(there) if there else "")
    # Programs write into /etc all the time; what counts is which names it has.
    marks.extend(_names(look, "/etc"))
    return hashlib.sha256("\n".join(marks).encode("utf-8", "surrogateescape")).hexdigest()


# ---- files ----


def files(look: Look) -> Iterator[str]:
    """Yield the paths that packages may require. Links that lead nowhere are not there."""
    for folder in (*PROGRAMS, *LIBEXEC):
        yield from (path for path in _paths(look, folder) if _is_file(look(path)))
    for folder in SETTINGS:
        yield from (path for path in _paths(look, folder) if look(path))
    for folder in LOADERS:
        yield from (
            path
            for path in _paths(look, folder)
            if _LOADER.fullmatch(os.path.basename(path)) and _is_file(look(path))
        )
    yield from (path for path in OTHERS if look(path))


def _paths(look: Look, folder: str) -> list[str]:
    return [f"{folder}/{name}" for name in _names(look, folder)]


def _names(look: Look, folder: str) -> list[str]:
    """Return the names in a directory of the view, sorted; [] when there is none or we may not look."""
    there = look(folder)
    if there is None:
        return []
    try:
        return sorted(os.listdir(there))
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return []


def _is_file(path: str | None) -> bool:
    return path is not None and os.path.isfile(path)


# ---- libraries ----


def library_folders(look: Look) -> list[str]:
    """Return the directories in which the loaders of a system find libraries, each directory once."""
    found = list(ldconf.configured(look))
    for (machine, bits), loader in ldconf.LOADERS.items():
        file = look(loader)
        if file is not None:
            found.extend(ldconf.system(loader, look, machine, bits).defaults)
    once: dict[str, str] = {}
    for folder in found:
        there = look(folder)
        if there is not None and os.path.isdir(there):
            once.setdefault(os.path.realpath(there), folder)
    return list(once.values())


def libraries(look: Look, folder: str) -> Iterator[str]:
    """Yield what the libraries in a directory provide, in rpm's words.

    A library counts under the name that programs ask for: that of a file or link which is also its soname. What is
    damaged or not readable is not offered.
    """
    for name in _names(look, folder):
        if not _LIBRARY.fullmatch(name):
            continue
        file = look(f"{folder}/{name}")
        if not _is_file(file):
            continue
        try:
            read = elf.read(str(file))
        except RedpakError:
            continue
        if read is not None and read.kind == elf.DYN and read.soname in (name, ""):
            yield from elf.provided(read, name)


# ---- Python and Perl ----


def pythons(look: Look) -> Iterator[Capability]:
    """Yield the ABI of python3 and the distributions that it finds, as rpm's generators name them."""
    there = look("/usr/bin/python3")
    version = re.fullmatch(r"python(3\.[0-9]+)", os.path.basename(there or ""))
    if version is None:
        return
    yield "python(abi)", version[1]
    for pattern in PYTHON:
        for folder in _expanded(look, pattern):
            if "python3." in folder and f"python{version[1]}/" not in folder + "/":
                continue
            for entry in _names(look, folder):
                if found := re.fullmatch(
                    r"([A-Za-z0-9._]+)-([0-9][0-9.]*)(?:-py3[0-9.]*)?\.(?:dist|egg)-info", entry
                ):
                    name = re.sub(r"[-_.]+", "-", found[1]).lower()
                    release = re.sub(r"(\.0+)+$", "", found[2])
                    yield f"python3dist({name})", release
                    yield f"python{version[1]}dist({name})", release


def perls(look: Look) -> Iterator[str]:
    """Yield the modules that perl finds, without versions: those stand in the files."""
    if not _is_file(look("/usr/bin/perl")):
        return
    for pattern in PERL:
        for folder in _expanded(look, pattern):
            there = look(folder)
            if there is None:
                continue
            for top, folders, names in os.walk(there):
                folders[:] = [name for name in folders if name.isidentifier()]
                inside = os.path.relpath(top, there)
                prefix = "" if inside == "." else inside.replace("/", "::") + "::"
                for name in names:
                    if name.endswith(".pm") and name[:-3].isidentifier():
                        yield f"perl({prefix}{name[:-3]})"


def _expanded(look: Look, pattern: str) -> list[str]:
    """Return the directories of the view that a pattern with '*' names."""
    from fnmatch import fnmatch

    found = [""]
    for part in pattern.strip("/").split("/"):
        if "*" in part:
            found = [
                f"{at}/{name}" for at in found for name in _names(look, at or "/") if fnmatch(name, part)
            ]
        else:
            found = [f"{at}/{part}" for at in found]
    return [path for path in found if (there := look(path)) and os.path.isdir(there)]


def in_order(capabilities: Iterable[Capability]) -> tuple[list[str], list[int], list[str]]:
    """Return names, flags and versions as a header holds them."""
    from redpak.packages.header_tags import EQUAL

    rows = list(capabilities)
    return [name for name, _ in rows], [EQUAL if evr else 0 for _, evr in rows], [evr for _, evr in rows]
