"""What the launches of a tree make of its packages: files that hide others, libraries that the loader takes."""

from __future__ import annotations

import os
import stat

from redpak.node import prove_cache
from redpak.node.view import View
from redpak.packages.finding import Finding, of_data
from redpak.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from redpak.node.prove_plan import Launch
    from redpak.node.prove_tree import Forest
    from redpak.packages.elf import Elf, Symbols
    from redpak.packages.elfproof import Object
    from redpak.packages.facts import Facts
    from redpak.packages.ldso import Loader, Loading
    from redpak.packages.model import Layer
    from redpak.packages.shadow import Search, Shelf

# Where a loader looks when nobody tells it (ld.so(8)); which of them a system has is seen at its files.
LIBRARY_PLACES = ("/lib64", "/usr/lib64", "/lib", "/usr/lib")


def core_root(forest: Forest, at: int) -> str:
    """Return the root of the core OS that a member stands on, '' where it is not here."""
    first = forest.members[forest.chain(at)[0]]
    if first.launch is not None:
        return "/"
    return first.layer.tree


# ---- files ----


def files(forest: Forest, found: dict[int, list[Finding]]) -> None:
    """Find what each node hides of those above it."""
    shelves: dict[int, Shelf] = {}
    for at in forest.nodes():
        member = forest.members[at]
        launch = member.launch
        if launch is None:
            continue
        surveys = [forest.surveys.get(up, "") for up in forest.chain(at)]
        key = prove_cache.digest(forest.keys(at), forest.launch_key(at), surveys)
        known = forest.cache.get("files", member.path, key)
        if known is not None:
            found[at] += [of_data(one) for one in known]
            continue
        shadows = _of_member(forest, at, launch, shelves, found)
        found[at] += shadows
        if not any(up in forest.wrong for up in forest.chain(at)):
            forest.cache.put("files", member.path, key, [one.data() for one in shadows])


def _of_member(
    forest: Forest, at: int, launch: Launch, shelves: dict[int, Shelf], found: dict[int, list[Finding]]
) -> list[Finding]:
    from redpak.packages import shadow
    from redpak.packages.integrity import Ground

    chain = forest.chain(at)
    for up in chain:
        if up not in shelves:
            layer = forest.members[up].layer
            ground = Ground(layer, [forest.members[one].layer for one in forest.chain(up)[:-1]])
            links = linked(forest, up)
            shelves[up] = shadow.shelf(
                layer.name, forest.members[up].path, (*forest.facts(up), of_nobody(layer, found[up])),
                lambda folder, ground=ground, links=links: through(links, ground.folder(folder)),  # type: ignore[misc]
            )  # fmt: skip
    view = View(launch, core_root(forest, at))
    ordered = [shelves.get(one) for one in range(len(forest.members))]
    searches = [
        search(forest, at, view, shadow.PROGRAM, launch.search),
        search(forest, at, view, shadow.LIBRARY, (*launch.libraries, *LIBRARY_PLACES)),
    ]
    return shadow.shadowed(at, chain[:-1], ordered, searches)  # type: ignore[arg-type]


def of_nobody(layer: Layer, found: list[Finding]) -> Facts:
    """Return the files of a member that belong to no package, as one that has them all: they hide others as well."""
    from redpak.packages import shadow, treewalk

    files = []
    for one in found:
        if one.kind != "unowned-file":
            continue
        path = treewalk.on_disk(layer, one.file)
        try:
            at = os.lstat(path)
            link = os.readlink(path) if stat.S_ISLNK(at.st_mode) else ""
        except OSError:
            continue
        content = treewalk.file_digest(path, at, "sha256") if stat.S_ISREG(at.st_mode) else ""
        files.append((one.file, at.st_mode, content, link, 0, 0))
    return shadow.of_nobody(files)


def linked(forest: Forest, at: int) -> dict[str, str]:
    """Return the links of '/' that the packages of a member, or of one above it, bring: /lib64 and its like."""
    found: dict[str, str] = {}
    for up in forest.chain(at):
        for package in forest.facts(up):
            for path, mode, _, link, _, _ in package.files:
                if path.count("/") == 1 and stat.S_ISLNK(mode):
                    found[path] = os.path.normpath(os.path.join("/", link))
    return found


def through(links: dict[str, str], folder: str) -> str:
    """Return a directory with the first part of its path replaced, where that is a link."""
    top, _, rest = folder[1:].partition("/")
    target = links.get(f"/{top}")
    if target is None:
        return folder
    return f"{target}/{rest}" if rest else target


def search(forest: Forest, at: int, view: View, kind: str, folders: tuple[str, ...]) -> Search:
    """Return where a launch looks, as directories of members."""
    from redpak.packages.shadow import Search

    places: dict[tuple[int, str], None] = {}
    for folder in folders:
        disk, inside = view.resolve(folder)
        owner, path = holder(forest, at, disk or through(linked(forest, at), inside))
        if owner >= 0:
            places[owner, path] = None
    return Search(kind=kind, places=tuple(places))


def holder(forest: Forest, at: int, disk: str) -> tuple[int, str]:
    """Return the member that has a path of this host, and the path as its packages write it; -1 when none has."""
    chain = forest.chain(at)
    for up in reversed(chain):
        layer = forest.members[up].layer
        if forest.members[up].launch is None:
            break
        for base in (layer.tree, layer.path):
            if base and (disk == base or disk.startswith(base + "/")):
                return up, disk[len(base) :] or "/"
    first = chain[0]
    if forest.members[first].launch is not None:
        return -1, ""
    root = forest.members[first].layer.tree.rstrip("/")
    if root and disk.startswith(root + "/"):
        return first, disk[len(root) :]
    return (first, disk) if not root else (-1, "")


# ---- loader ----


class Seen(Record):
    """What the loader does with an object in one view."""

    object: Object
    made: Loading


class Loaders:
    """The loaders of all launches; ELF files are read once for all of them."""

    def __init__(self, forest: Forest) -> None:
        self.forest = forest
        self.elves: dict[str, Elf | None] = {}
        self.tables: dict[str, Symbols] = {}
        self.made: dict[int, tuple[View, Loader]] = {}
        self.own: dict[int, list[Seen]] = {}

    def of(self, at: int) -> tuple[View, Loader]:
        """Return the view of a node's launch and its loader."""
        from redpak.packages.ldso import Loader

        if at not in self.made:
            launch = self.forest.members[at].launch
            if launch is None:
                raise ValueError("a core OS has no launch")
            view = View(launch, core_root(self.forest, at))
            # the levels of another machine's processor are not known: the plain files are looked at
            self.made[at] = (
                view, Loader(view.look, library_path=launch.libraries, hwcaps=(), read=self.read),
            )  # fmt: skip
        return self.made[at]

    def read(self, path: str) -> Elf | None:
        """Return what a loader reads of a file."""
        from redpak.packages import elf

        if path not in self.elves:
            self.elves[path] = elf.read(path)
        return self.elves[path]

    def symbols(self, path: str) -> Symbols:
        """Return a file's symbols."""
        from redpak.packages import elf

        if path not in self.tables:
            self.tables[path] = elf.symbols(path)
        return self.tables[path]

    def seen(self, at: int) -> list[Seen]:
        """Return what happens to each object of a node in the node's own launch."""
        if at not in self.own:
            view, loader = self.of(at)
            self.own[at] = [
                Seen(object=one, made=made)
                for one in objects(self.forest, at, view)
                if (made := _load(loader, one.at)) is not None
            ]
        return self.own[at]


def _load(loader: Loader, at: str) -> Loading | None:
    from redpak.packages import elfproof

    return elfproof.load(loader, at)


def objects(forest: Forest, at: int, view: View) -> list[Object]:
    """Return the programs and libraries of a node that its launch shows."""
    from redpak.packages.elfproof import Object, candidates
    from redpak.packages.integrity import Ground

    layer = forest.members[at].layer
    ground = Ground(layer, [forest.members[up].layer for up in forest.chain(at)[:-1]])
    found = []
    for file, package in candidates(forest.facts(at)):
        disk = os.path.realpath(ground.disk(file[0]))
        shown = view.shown(disk)
        if shown:
            found.append(Object(at=shown, file=file[0], package=package, owner=at))
    return found


def loader(forest: Forest, found: dict[int, list[Finding]]) -> None:
    """Find where the loader does not take what packages promise: in a node's own launch, and in each leaf's."""
    made = Loaders(forest)
    for at in forest.nodes():
        if any(forest.members[up].trouble for up in forest.chain(at)):
            continue
        found[at] += _cached(forest, at, "loader", lambda at=at: own_view(forest, at, made))  # type: ignore[misc]
    for leaf in forest.leaves():
        if any(forest.members[up].trouble for up in forest.chain(leaf)):
            continue
        for one in _cached(forest, leaf, "leaf views", lambda leaf=leaf: leaf_view(forest, leaf, made)):  # type: ignore[misc]
            found[forest.at_path(one.place)].append(one)


def _cached(forest: Forest, at: int, part: str, make: Callable[[], list[Finding]]) -> list[Finding]:
    member = forest.members[at]
    key = prove_cache.digest([
        (forest.members[up].key, forest.surveys.get(up, ""), forest.launch_key(up))
        for up in forest.chain(at)
    ])  # fmt: skip
    known = forest.cache.get(part, member.path, key)
    if known is not None:
        return [of_data(one) for one in known]
    made = make()
    if not any(up in forest.wrong for up in forest.chain(at)):
        forest.cache.put(part, member.path, key, [one.data() for one in made])
    return made


def own_view(forest: Forest, at: int, loaders: Loaders) -> list[Finding]:
    """Return what is wrong with the objects of a node in its own launch."""
    from redpak.packages import elfproof

    member = forest.members[at]
    seen = loaders.seen(at)
    if not seen:
        return []
    providers, owner, elsewhere = promises(forest, at)
    found = []
    for one in seen:
        wrong = elfproof.judge(one.made, providers=providers, owner=owner, elsewhere=elsewhere)
        wrong = wrong or elfproof.undefined(one.made, loaders.symbols)
        for fault in wrong:
            found.append(
                Finding(
                    kind=fault.kind, place=member.path, name=member.name, package=one.object.package.nevra,
                    file=one.object.file,
                    text=f"'{one.object.file}' of {one.object.package.nevra} [{member.name}]: {fault.text}",
                    hint="Install the library that is promised, or look at 'ldpath' of the nodes.",
                )
            )  # fmt: skip
    return found


def promises(
    forest: Forest, at: int
) -> tuple[Callable[[str], set[str]], Callable[[str], str | None], Callable[[str], bool]]:
    """Return who provides a capability to a node, who owns a file of this host, and what an absent core OS has."""
    provides: dict[str, set[str]] = {}
    core: set[str] = set()
    chain = forest.chain(at)
    for up in chain:
        here = bool(forest.members[up].layer.tree)
        for package in forest.facts(up):
            for name, _, _ in package.provides:
                provides.setdefault(name, set()).add(package.nevra)
                if not here:
                    core.add(name)
    owners: dict[int, dict[str, str]] = {}

    def owner(file: str) -> str | None:
        up, path = holder(forest, at, file)
        if up < 0 or forest.members[up].layer.database != "rpm":
            return None
        if up not in owners:
            owners[up] = owned(forest, up)
        return owners[up].get(path, "")

    return (lambda name: provides.get(name, set())), owner, core.__contains__


def owned(forest: Forest, at: int) -> dict[str, str]:
    """Return the packages of a member's files, by path without links."""
    from redpak.packages.integrity import Ground

    layer = forest.members[at].layer
    ground = Ground(layer, [forest.members[up].layer for up in forest.chain(at)[:-1]])
    found: dict[str, str] = {}
    for package in forest.facts(at):
        for file in package.files:
            found.setdefault(ground.inside(file[0]), package.nevra)
    return found


def leaf_view(forest: Forest, leaf: int, loaders: Loaders) -> list[Finding]:
    """Return which objects of a leaf's ancestors get other libraries when they are started from the leaf."""
    from redpak.packages import elfproof

    _, loader = loaders.of(leaf)
    view, _ = loaders.of(leaf)
    found: dict[tuple[str, str], Finding] = {}
    for up in forest.chain(leaf)[:-1]:
        if forest.members[up].launch is None:
            continue
        mine = forest.members[up]
        for one in loaders.seen(up):
            at = view.shown(one.made.objects[0].file)
            made = elfproof.load(loader, at) if at else None
            if made is None:
                continue
            own, new = elfproof.taken(one.made), elfproof.taken(made)
            for name, theirs, instead in elfproof.differences(own, new):
                if same_content(theirs, instead):
                    continue
                thief, path = holder(forest, leaf, instead)
                if thief < 0:
                    continue
                line = f"'{one.object.file}' of {one.object.package.nevra} [{mine.name}] loads it"
                key = (name, instead)
                if key in found:
                    found[key] = found[key].but(chain=(*found[key].chain, line))
                    continue
                found[key] = stolen(forest, thief, path, name, theirs, line, leaf)
    return list(found.values())


def same_content(one: str, two: str) -> bool:
    """Tell whether two files have the same bytes."""
    import filecmp

    try:
        return filecmp.cmp(one, two, shallow=False)
    except OSError:
        return False


def stolen(forest: Forest, thief: int, path: str, name: str, theirs: str, line: str, leaf: int) -> Finding:
    """Return that a member's library takes the place of an ancestor's in a leaf's launch."""
    from redpak.packages.shadow import declares

    member = forest.members[thief]
    owner = next((p for p in forest.facts(thief) if any(file[0] == path for file in p.files)), None)
    whose = f" of {owner.nevra}" if owner else ""
    grade = "note" if owner is not None and declares(owner, (path,)) else "fault"
    return Finding(
        kind="shadowed-library", place=member.path, name=member.name, package=owner.nevra if owner else "", file=path,
        text=f"library '{path}'{whose} [{member.name}] is loaded as '{name}' instead of '{theirs}' in a launch of "
        f"'{forest.members[leaf].name}'",
        chain=(line,), grade=grade,  # type: ignore[arg-type]
        hint="" if grade == "note" else "Rename the library, or keep it out of 'ldpath'.",
    )  # fmt: skip
