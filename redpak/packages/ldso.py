"""Which libraries the dynamic loader takes for a program, in its real order. Nothing is started.

For each library that an object needs, unless one of that name is loaded already (elf/dl-load.c, _dl_map_object):
the RPATH of the object and of those that loaded it, unless the object has a RUNPATH; LD_LIBRARY_PATH; its RUNPATH;
/etc/ld.so.cache; the loader's own directories. In each directory the subdirectories for the processor come first.
A file for another machine is passed over.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from redpak.errors import RedpakError
from redpak.packages import elf as elf_file
from redpak.packages import ldconf

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Literal

    from redpak.packages.elf import Elf
    from redpak.packages.ldconf import Look

    How = Literal[
        "program", "preload", "loader", "path", "rpath", "LD_LIBRARY_PATH", "runpath", "cache", "default"
    ]

MOST_OBJECTS = 4096


class Loaded(NamedTuple):
    """An object in memory. `by` is the number of the one that needed it first, -1 for the program."""

    name: str  # as it was asked for
    path: str  # in the view, as the loader spells it
    file: str  # on this host
    elf: Elf
    by: int
    how: How


class Missing(NamedTuple):
    """A library that is not found."""

    name: str
    by: int


class Loading(NamedTuple):
    """What happens when a program is started: all objects in the loader's order, the program first."""

    objects: tuple[Loaded, ...]
    missing: tuple[Missing, ...]
    faults: tuple[str, ...]  # files at which the loader gives up

    def found(self, name: str) -> Loaded | None:
        """Return the object that stands for a name that somebody needs."""
        for one in self.objects:
            if name in (one.name, one.elf.soname):
                return one
        return None


class Loader:
    """The loader of one view in one environment.

    `look` leads from a path of the view to the file of this host, directories included. `hwcaps` are the processor's
    levels, best first: this machine's when None. `platform` is what $PLATFORM stands for.
    """

    def __init__(
        self,
        look: Look,
        *,
        library_path: Sequence[str] = (),
        preload: Sequence[str] = (),
        hwcaps: Sequence[str] | None = None,
        platform: str = "",
        cwd: str = "/",
        read: Callable[[str], Elf | None] = elf_file.read,
    ) -> None:
        self.look = look
        self.library_path = tuple(library_path)
        self.preload = tuple(preload)
        self.hwcaps = ldconf.levels() if hwcaps is None else tuple(hwcaps)
        self.platform = platform
        self.cwd = cwd
        self.read = read
        self._elves: dict[str, Elf | None] = {}
        self._places: dict[str, str | None] = {}
        self._systems: dict[tuple[str, int, int], ldconf.System] = {}
        self._cache: dict[str, tuple[ldconf.Cached, ...]] | None = None

    def load(self, path: str) -> Loading:
        """Return what is loaded for a program or a library of the view. Raises RedpakError when it is no ELF file."""
        return _Walk(self, path).run()

    def elf(self, file: str) -> Elf | None:
        """Return what the loader reads of a file of this host; read once."""
        if file not in self._elves:
            self._elves[file] = self.read(file)
        return self._elves[file]

    def place(self, path: str) -> str | None:
        """Return the file of this host behind a path of the view; looked at once."""
        if path not in self._places:
            self._places[path] = self.look(path)
        return self._places[path]

    def system(self, elf: Elf) -> ldconf.System:
        """Return how the loader of an object is built."""
        usual = ldconf.LOADERS.get((elf.machine, elf.bits), "")
        key = (elf.interp or usual, elf.machine, elf.bits)
        if key not in self._systems:
            self._systems[key] = ldconf.system(key[0], self.look, elf.machine, elf.bits)
        return self._systems[key]

    def cached(self, name: str) -> list[str]:
        """Return the paths that the cache has for a name: the best level that the processor can use, then the plain."""
        if self._cache is None:
            self._cache = ldconf.read_cache(self.look)
        lines = self._cache.get(name, ())
        ranked = [line for level in self.hwcaps for line in lines if line.level == level]
        return [line.path for line in [*ranked, *(line for line in lines if not line.level)]]


class _Walk:
    """One loading: breadth first, as the loader does it."""

    def __init__(self, loader: Loader, path: str) -> None:
        self.loader = loader
        file = loader.place(path)
        elf = loader.elf(file) if file is not None else None
        if file is None or elf is None:
            what = "does not exist" if file is None else "is no ELF file"
            raise RedpakError(f"'{path}' {what}", hint="Name a program or a library.")
        self.program = elf
        self.system = loader.system(elf)
        platform = loader.platform or ldconf.PLATFORMS.get((elf.machine, elf.bits), "")
        self.tags = {"LIB": self.system.lib, "PLATFORM": platform}
        self.below = ldconf.subdirectories(self.system, elf.machine, loader.hwcaps, platform)
        self.objects = [Loaded(path, path, file, elf, -1, "program")]
        self.names: dict[str, int] = {}
        self.files = {file: 0}
        self.missing: list[Missing] = []
        self.faults: list[str] = []
        self._register(0)
        self.rtld = loader.place(self.system.path)

    def run(self) -> Loading:
        """Load all."""
        if self.program.dynamic:
            for name in self.loader.preload:
                self._need(name, 0, preload=True)
            at = 0
            while at < len(self.objects) < MOST_OBJECTS:
                for name in self.objects[at].elf.needed:
                    self._need(name, at)
                at += 1
        return Loading(tuple(self.objects), tuple(self.missing), tuple(self.faults))

    def _register(self, number: int) -> None:
        one = self.objects[number]
        self.names.setdefault(one.name, number)
        if one.elf.soname:
            self.names.setdefault(one.elf.soname, number)

    def _need(self, name: str, by: int, *, preload: bool = False) -> None:
        if name in self.names:
            return
        found = self._find(name, by)
        if found is None:  # another object may still find it, by its own RUNPATH
            if not preload:  # the loader only warns of what it cannot preload
                self.missing.append(Missing(name, by))
            return
        path, file, elf, how = found
        if file in self.files:  # the same file under another name
            self.names[name] = self.files[file]
            return
        self.files[file] = len(self.objects)
        self.objects.append(Loaded(name, path, file, elf, by, "preload" if preload else how))
        self._register(len(self.objects) - 1)

    def _find(self, name: str, by: int) -> tuple[str, str, Elf, How] | None:
        for path, how in self._candidates(name, by):
            file = self.loader.place(path)
            if file is None:
                continue
            try:
                elf = self.loader.elf(file)
            except RedpakError as error:
                self.faults.append(error.message)
                return None
            if elf is None:
                if os.path.isdir(file):
                    continue
                self.faults.append(f"'{path}' is no ELF file")
                return None
            if (elf.bits, elf.little, elf.machine) == (
                self.program.bits, self.program.little, self.program.machine,
            ):  # fmt: skip
                return path, file, elf, how
        return None

    def _candidates(self, name: str, by: int) -> Iterator[tuple[str, How]]:
        """Yield every path at which the loader would look."""
        object_ = self.objects[by]
        if "/" in name:
            path = self._expanded(name, object_)
            if path is not None:
                yield os.path.join(self.loader.cwd, path), "path"
            return
        if self.rtld is not None and name == os.path.basename(self.system.path):
            yield self.system.path, "loader"
        if not object_.elf.runpath:
            at = by
            while at >= 0:
                yield from self._within(
                    self._split(self.objects[at].elf.rpath, self.objects[at]), name, "rpath"
                )
                at = self.objects[at].by
        own = [part for element in self.loader.library_path for part in element.replace(";", ":").split(":")]
        yield from self._within(self._split(":".join(own), self.objects[0]), name, "LD_LIBRARY_PATH")
        yield from self._within(self._split(object_.elf.runpath, object_), name, "runpath")
        defaults = self.system.defaults
        for path in self.loader.cached(name):
            if not (object_.elf.no_default_libraries and os.path.dirname(path) in defaults):
                yield path, "cache"
        if not object_.elf.no_default_libraries:
            yield from self._within(defaults, name, "default")

    def _within(self, folders: Sequence[str], name: str, how: How) -> Iterator[tuple[str, How]]:
        for folder in folders:
            if self.loader.place(folder) is None:
                continue
            for below in self.below:
                if self.loader.place(f"{folder}/{below}") is not None:
                    yield f"{folder}/{below}/{name}", how
            yield f"{folder}/{name}", how

    def _split(self, search: str, object_: Loaded) -> tuple[str, ...]:
        """Return the directories of a search path; an empty element is the current directory."""
        if not search:
            return ()
        found = []
        for element in search.split(":"):
            path = self._expanded(element or ".", object_)
            if path is not None:
                found.append(os.path.join(self.loader.cwd, path).rstrip("/") or "/")
        return tuple(dict.fromkeys(found))

    def _expanded(self, path: str, object_: Loaded) -> str | None:
        """Replace $ORIGIN, $LIB and $PLATFORM; None when one of them has no value. Source: ld.so(8)."""
        if "$" not in path:
            return path
        known = {"ORIGIN": self._origin(object_), **self.tags}
        for name, value in known.items():
            for written in (f"${{{name}}}", f"${name}"):
                if written in path and not value:
                    return None
                path = path.replace(written, value)
        return path

    def _origin(self, object_: Loaded) -> str:
        """Return the directory of an object: of the program's real file, of a library as it was found.

        The program's is what /proc/self/exe says, so links of the view count; of those we only know what `look`
        does: where it leads.
        """
        if object_.by < 0:
            return os.path.dirname(self._real(object_))
        return os.path.dirname(object_.path)

    def _real(self, object_: Loaded) -> str:
        """Return the program's path without a symbolic link as last component, as far as the view tells."""
        path = object_.path
        name = os.path.basename(object_.file)
        if os.path.basename(path) == name:
            return path
        return object_.file if self.loader.place(object_.file) == object_.file else path
