"""What rpm sees: core OS, ancestors and node as one file tree, of which every change lands in a directory of ours.

    WORK/upper/usr …   what was changed beneath /usr …
    WORK/aside/…       overlayfs's own
    WORK/view          the tree: overlays where there is something below, plain directories where there is not
    WORK/memory        in memory, gone with the namespace: the scratch database, short names
    WORK/packages      the package files

One overlay a top directory: an overlay of whole roots would show a node's children, and its own work directory.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from redpak import paths
from redpak.errors import Refused
from redpak.kernel import mount
from redpak.packages import hidden, overlay
from redpak.packages.overlay import Stack
from redpak.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

STATE_TOPS, TREE_TOPS, PASSING = paths.STATE_TOPS, paths.TREE_TOPS, paths.PASSING_TOPS
PRIVATE_TOPS = frozenset(("home", "root", "srv"))  # people's, not the system's
DATABASE = "var/lib/rpm"
MOST_LINKS = 40
NOBODY = 65534  # whom a user namespace shows for everybody that it does not know (user_namespaces(7))


class Place(Record):
    """Where a layer has its files. '' = it has none of these."""

    tree: str  # a directory that holds usr, opt … and nothing else that is not to be shown
    state: str  # a directory that holds etc, var …
    spare: str = ""  # a node's directory: what it has of TREE_TOPS, and `tree` has not
    host: bool = False  # this very system: what is not for everybody's eyes is not shown

    def of(self, top: str) -> str:
        """Return the path for a top name; '' when the layer cannot have it."""
        if self.host and top in PRIVATE_TOPS:
            return ""
        if top in STATE_TOPS:
            return f"{self.state.rstrip('/')}/{top}" if self.state else ""
        path = f"{self.tree.rstrip('/')}/{top}" if self.tree else ""
        if self.spare and top in TREE_TOPS and not (path and os.path.lexists(path)):
            return f"{self.spare.rstrip('/')}/{top}"
        return path


class View(Record):
    """A tree that is ready for rpm."""

    work: str
    root: str
    stacks: tuple[Stack, ...]
    links: tuple[
        tuple[str, str, bool], ...
    ]  # symbolic links of '/': name, target, whether it is the node's own
    made: frozenset[str]  # directories made in upper only so that they can be written, '/usr/lib'


def build(work: str, places: Sequence[Place], folders: Iterable[str], *, user: bool) -> View:
    """Lay out the tree beneath `work`, in a namespace of our own. `places`: topmost (the node's) first.

    `folders` are the directories that packages write to ('/usr/lib'); an ordinary user (`user`) gets those that the
    lower layers have as somebody else's. Raises RedpakError, OSError.
    """
    # Everything that is mounted lies in one mount, so that it can be taken off at once: each time takes milliseconds.
    mount.bind(work, work)
    wanted = {f"/{DATABASE}"}
    if user:
        wanted |= {"/var/tmp", "/var/log", "/var/lib", "/etc", *folders}
    real = {resolved(folder, places) for folder in sorted(wanted)}
    for name in ("upper", "aside", "view", "memory"):
        os.mkdir(f"{work}/{name}", 0o755)
    memory = f"{work}/memory"
    mount.tmpfs(memory)
    for name in ("links", "database", "own"):
        os.mkdir(f"{memory}/{name}")
    root = f"{work}/view"
    for name in PASSING:
        os.mkdir(f"{root}/{name}")
    if f"/{DATABASE}" not in real:  # what is mounted there would be mounted where the link leads to
        raise Refused(
            "'/var/lib' of the node or of what it stands on is a symbolic link", hint="Remove the link."
        )
    os.mkdir(f"{memory}/hidden")
    stacks: list[Stack] = []
    links: list[tuple[str, str, bool]] = []
    for top in tops(places, real):
        target, own, lowers = layers_of(top, places, work)
        if not user:
            lowers = hide(top, places, lowers, f"{memory}/hidden/{top}")
        if target:
            os.symlink(target, f"{root}/{top}")
            links.append((top, target, own))
        elif lowers:
            stacks.append(
                Stack(name=top, lowers=lowers, upper=f"{work}/upper/{top}", aside=f"{work}/aside/{top}")
            )
    made: set[str] = set()
    layered = {stack.name for stack in stacks}
    for stack in stacks:
        os.mkdir(stack.upper, 0o755)
        os.mkdir(stack.aside, 0o755)
        like(stack.lowers[0], stack.upper)
    for folder in sorted(real):
        top = folder.split("/")[1]
        base = f"{work}/upper" if top in layered else root if folder == f"/{DATABASE}" else ""
        if base:
            made |= make(base, folder, places, forced=folder == f"/{DATABASE}")
    for stack in stacks:
        at = f"{root}/{stack.name}"
        os.mkdir(at)
        overlay.show(stack, at, f"{memory}/links", user=user)
    mount.bind(f"{memory}/database", f"{root}/{DATABASE}")
    return View(work=work, root=root, stacks=tuple(stacks), links=tuple(links), made=frozenset(made))


def hide(top: str, places: Sequence[Place], lowers: tuple[str, ...], at: str) -> tuple[str, ...]:
    """Return the layers with one before the host's that hides what is not for everybody's eyes."""
    for place in places:
        path = place.of(top)
        if place.host and path in lowers and top in hidden.DEPTH:
            hidden.mask(top, path, at)
            number = lowers.index(path)
            return (*lowers[:number], at, *lowers[number:])
    return lowers


def show(work: str, places: Sequence[Place], *, user: bool) -> View:
    """Lay out the tree beneath the directory `work`, in memory, for reading only. See build."""
    mount.tmpfs(work)
    for name in ("view", "memory"):
        os.mkdir(f"{work}/{name}")
    for name in ("links", "database"):
        os.mkdir(f"{work}/memory/{name}")
    root = f"{work}/view"
    for name in PASSING:
        os.mkdir(f"{root}/{name}")
    links: list[tuple[str, str, bool]] = []
    stacks: list[Stack] = []
    for top in tops(places, ()):
        target, own, lowers = layers_of(top, places, work)
        if top == "var":  # the database has a place whatever the layers have
            os.makedirs(f"{work}/memory/top/lib/rpm")
            lowers = (f"{work}/memory/top", *lowers)
        if target and not lowers:
            os.symlink(target, f"{root}/{top}")
            links.append((top, target, own))
        elif lowers:
            stacks.append(Stack(name=top, lowers=lowers))
            os.mkdir(f"{root}/{top}")
            overlay.show(stacks[-1], f"{root}/{top}", f"{work}/memory/links", user=user)
    mount.bind(f"{work}/memory/database", f"{root}/{DATABASE}")
    return View(work=work, root=root, stacks=tuple(stacks), links=tuple(links), made=frozenset())


def tops(places: Sequence[Place], folders: Iterable[str]) -> list[str]:
    """Return the names in '/' that have to be there."""
    found = {*STATE_TOPS, *TREE_TOPS}
    for place in places:
        if place.tree and place.spare:
            found.update(os.listdir(place.tree))
    found.update(folder.split("/")[1] for folder in folders)
    return sorted(found - {"", *PASSING})


def layers_of(top: str, places: Sequence[Place], work: str) -> tuple[str, bool, tuple[str, ...]]:
    """Return what a name in '/' is: (target of a symbolic link, whether that is the node's own, directories).

    The topmost layer that has it decides. A directory that holds our work directory cannot be a layer.
    """
    lowers: list[str] = []
    for number, place in enumerate(places):
        path = place.of(top)
        if not path:
            continue
        try:
            at = os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            continue
        if stat.S_ISLNK(at.st_mode):
            if lowers:
                break
            return os.readlink(path), number == 0, ()
        if not stat.S_ISDIR(at.st_mode):
            continue
        if not f"{work}/".startswith(path + "/") and path not in lowers:
            lowers.append(path)
    return "", False, tuple(lowers)


def resolved(folder: str, places: Sequence[Place]) -> str:
    """Return a directory of the view with the symbolic links on its way followed, as rpm will find it."""
    rest = [part for part in reversed(folder.split("/")) if part and part != "."]
    here: list[str] = []
    links = 0
    while rest:
        part = rest.pop()
        if part == "..":
            here = here[:-1]
            continue
        inner = "/".join([*here, part])
        target = link_at(inner, places)
        links += bool(target)
        if target and links <= MOST_LINKS and inner != DATABASE:
            here = [] if target.startswith("/") else here
            rest += [one for one in reversed(target.split("/")) if one and one != "."]
        else:
            here.append(part)
    return "/" + "/".join(here)


def link_at(inner: str, places: Sequence[Place]) -> str:
    """Return the target of the symbolic link at a path of the view, '' where there is none."""
    top, _, rest = inner.partition("/")
    for place in places:
        base = place.of(top)
        if not base:
            continue
        path = f"{base}/{rest}" if rest else base
        try:
            return os.readlink(path)
        except FileNotFoundError:
            continue
        except OSError:
            return ""  # there, and no link (or beneath a file)
    return ""


def make(base: str, folder: str, places: Sequence[Place], *, forced: bool) -> set[str]:
    """Make a directory in the upper layer where the layers below have it as somebody else's, or not at all.

    `forced` makes it whatever they have. Returns what was made.
    """
    parts = folder.strip("/").split("/")
    chain = ["/" + "/".join(parts[: number + 1]) for number in range(len(parts))]
    below = {inner: shown(inner, places) for inner in chain}
    if not forced and all(os.lstat(path).st_uid == os.geteuid() for path in below.values() if path):
        return set()
    made = set()
    for inner in chain:
        if not os.path.isdir(base + inner):
            os.mkdir(base + inner, 0o755)
            made.add(inner)
            if below[inner]:
                like(below[inner], base + inner)
    return made


def shown(inner: str, places: Sequence[Place]) -> str:
    """Return the topmost layer's directory behind a path of the view ('/usr/lib'), '' when there is none."""
    _, top, *rest = inner.split("/")
    for place in places:
        base = place.of(top)
        path = "/".join([base, *rest])
        if base and os.path.isdir(path) and not os.path.islink(path):
            return path
    return ""


def like(below: str, folder: str) -> None:
    """Give a directory the mode of the one that it covers, as far as its owner can still write, and its owner."""
    at = os.stat(below)
    os.chmod(folder, stat.S_IMODE(at.st_mode) | 0o700)
    if NOBODY not in (at.st_uid, at.st_gid):
        try:
            os.chown(folder, at.st_uid, at.st_gid)
        except OSError:
            pass  # another user's: then it is ours


def unmount(work: str) -> None:
    """Take off everything that is mounted in the work directory, so that what is in it can be moved. Raises OSError."""
    mount.detach(work)
