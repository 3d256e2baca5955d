"""Which directories are nodes: the family above a redpath, and the nodes beneath a directory.

Every launch comes through `family`, so it asks the kernel as little as it can: one look for a status file in
each directory above.
"""

from __future__ import annotations

import os

from redpak import paths
from redpak.config.model import Family, Node
from redpak.errors import BadConfig, Fault, NotFound, RedpakError, Refused, doing
from redpak.node import status as status_file
from redpak.origin import Origin
from redpak.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from redpak.config.model import NodeDoc
    from redpak.node.status import Status


class Branch(Record):
    """A node on disk with the nodes beneath it, sorted by name."""

    path: str
    name: str  # last component of the path
    alias: str  # '?' when the configuration cannot be read
    state: str  # '?' when the status cannot be read
    faults: tuple[Fault, ...] = ()
    children: tuple[Branch, ...] = ()


def family(
    path: str,
    *,
    admin: bool = False,
    lenient: bool = False,
    defaults: bool = True,
    may_write: bool = False,
    any_state: bool = False,
) -> Family:
    """Return the node at `path` with all its ancestors, oldest first, and the core OS's defaults.

    `lenient` reads files as red-pak 2.5 does (and leaves the defaults out, which it never reads). `may_write`
    lets the cache of parsed files grow. `any_state` also takes nodes that are not enabled. Raises NotFound
    when `path` is no node, BadConfig with the faults of all files at once, Refused when a member is not
    enabled.
    """
    members = spelled(path, lenient=lenient)
    if not is_node(members[-1]):
        raise no_node(path, members[-1])
    faults: list[Fault] = []
    nodes = []
    for directory in members[:-1]:
        if is_node(directory):
            nodes.append(load(directory, admin=admin, lenient=lenient, may_write=may_write, faults=faults))
    nodes.append(load(members[-1], admin=admin, lenient=lenient, may_write=may_write, faults=faults))
    main = None
    if defaults and not lenient:
        main = document(
            paths.main_config(), lenient=lenient, defaults=True, may_write=may_write, faults=faults
        )
    if faults:
        raise BadConfig(faults)
    found = tuple(node for node in nodes if node is not None)
    if not any_state:
        for node in found:
            if node.state != "Enable":
                raise Refused(
                    f"node '{node.alias}' at '{node.real}' is not enabled: its state is {node.state}",
                    hint=f"Type: redpak node enable {typed(node.real)}",
                )
    return Family(nodes=found, defaults=main, admin=admin)


def inputs(path: str, *, admin: bool = False) -> list[str]:
    """Return every file whose change could change the family at `path`, also those that are absent now.

    These are the status file of each directory from the root down to the node, each node's configuration
    (with the older name while the newer is absent) and the core OS's defaults.
    """
    main, system = paths.main_config(), f"{paths.SYSTEM_CONFIG}/main.yaml"
    found = [main] if main == system else [main, system]
    for directory in spelled(path):
        found.append(os.path.join(directory, paths.STATUS))
        if not is_node(directory):
            continue
        for names in (paths.NORMAL_CONFIGS, paths.ADMIN_CONFIGS if admin else ()):
            for name in names:
                file = os.path.join(directory, name)
                found.append(file)
                if os.path.exists(file):
                    break
    return found


def spelled(path: str, *, lenient: bool = False) -> list[str]:
    """Return the directories from below '/' to `path`, ancestors with a trailing slash, the last as given.

    A way that leads through a symbolic link or `..` is replaced by the canonical one, so that no other name
    of a node leaves out its ancestors; `lenient` keeps absolute paths as they are typed, as red-pak does.
    """
    if "\0" in path or not path:
        raise NotFound(f"'{path}' is no path", hint="Give the path of a node's directory.")
    full = path if path.startswith("/") else os.path.join(os.getcwd(), path)
    if not (lenient and path.startswith("/")):
        with doing("find the node"):
            real = os.path.realpath(full)
        if full.rstrip("/") != real:
            full = real
    found = []
    at = full.find("/", 1)
    last = len(full.rstrip("/"))
    while 0 < at < last:
        if full[at - 1] != "/":
            found.append(full[: at + 1])
        at = full.find("/", at + 1)
    found.append(full)
    return found


def is_node(directory: str) -> bool:
    """Tell whether a directory has a status file. Raises RedpakError when we may not look."""
    with doing("look for a node"):
        try:
            os.stat(os.path.join(directory, paths.STATUS))
        except (FileNotFoundError, NotADirectoryError):
            return False
    return True


def no_node(path: str, full: str, *, to_make: bool = True) -> NotFound:
    """Return the error for a path that is no node, with the likeliest thing that was meant.

    `to_make` offers to make it.
    """
    folder = os.path.normpath(full)
    if os.path.lexists(folder) and not os.path.isdir(folder):
        return NotFound(f"'{path}' is not a directory", hint="Name a node's directory.")
    there = os.path.isdir(folder)
    above = next((up for up in ascending(os.path.dirname(folder)) if is_node(up)), "")
    if near := similar(folder):
        hint = f"Did you mean '{near}'?"
    elif there and (below := first_beneath(folder)):
        hint = f"There is a node beneath it: '{below}'."
    elif not to_make:
        hint = f"The nearest node above is '{above}'." if above else ""
    elif above:
        hint = f"The nearest node above is '{above}'; make this one with: redpak node create {typed(path)}"
    else:
        hint = f"Make it with: redpak node create {typed(path)}"
    what = "is not a node (it has no .rednode.yaml)" if there else "does not exist"
    return NotFound(f"'{path}' {what}", hint=hint)


def typed(path: str) -> str:
    """Return a path as it is typed in a shell, so that a hint can be pasted."""
    from shlex import quote

    return quote(f"./{path}" if path.startswith("-") else path)


def first_beneath(folder: str) -> str:
    """Return the first node directly in a directory, '' when there is none."""
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return ""
    here = (os.path.join(folder, name) for name in names)
    return next((path for path in here if os.path.exists(os.path.join(path, paths.STATUS))), "")


def similar(folder: str) -> str:
    """Return a sibling node whose name looks like that of `folder`, '' when there is none."""
    from difflib import get_close_matches

    parent, name = os.path.split(folder)
    try:
        names = os.listdir(parent)
    except OSError:
        return ""
    for match in get_close_matches(name, names, n=3, cutoff=0.6):
        if match != name and os.path.exists(os.path.join(parent, match, paths.STATUS)):
            return os.path.join(parent, match)
    return ""


def ascending(folder: str) -> Iterator[str]:
    """Yield a directory and those above it, up to but without '/'."""
    while folder not in ("", "/"):
        yield folder
        folder = os.path.dirname(folder)


def load(directory: str, *, admin: bool, lenient: bool, may_write: bool, faults: list[Fault]) -> Node | None:
    """Return the node in a directory; None when its files are wrong, with the reasons in `faults`."""
    status: Status | None = status_file.read(directory, faults)
    normal_file = first_file(directory, paths.NORMAL_CONFIGS)
    normal = None
    if normal_file:
        normal = document(normal_file, lenient=lenient, defaults=False, may_write=may_write, faults=faults)
    else:
        missing = os.path.join(directory, paths.NORMAL_CONFIGS[0])
        hint = "Write it anew with: redpak node create --update " + typed(directory.rstrip("/"))
        faults.append(Fault(origin=Origin(file=missing), message="the node has no configuration", hint=hint))
    above = None
    if admin and (admin_file := first_file(directory, paths.ADMIN_CONFIGS)):
        above = document(admin_file, lenient=lenient, defaults=False, may_write=may_write, faults=faults)
    if status is None or normal is None:
        return None
    return Node(
        path=directory, real=os.path.realpath(directory), normal=normal, admin=above, state=status.state
    )


def first_file(directory: str, names: tuple[str, ...]) -> str:
    """Return the first of a node's files that exists, '' when none does."""
    for name in names:
        file = os.path.join(directory, name)
        if os.path.exists(file):
            return file
    return ""


def either(file: str, faults: list[Fault]) -> NodeDoc | None:
    """Return one parsed configuration file, read strictly, else as red-pak 2.5 reads it."""
    doc = document(file, lenient=False, defaults=False, may_write=False, faults=faults)
    if doc is None and (doc := document(file, lenient=True, defaults=False, may_write=False, faults=[])):
        faults.clear()
    return doc


def document(
    file: str, *, lenient: bool, defaults: bool, may_write: bool, faults: list[Fault]
) -> NodeDoc | None:
    """Return one parsed configuration file, from the cache when it is fresh; None when it has faults."""
    from redpak.config.cache import load_cached

    return load_cached(file, lenient=lenient, defaults=defaults, faults=faults, may_write=may_write)


def beneath(top: str) -> Branch:
    """Return the node at `top` and all nodes beneath it.

    Only directories are entered, no symbolic links and no names that start with '.'; directories between that
    are no nodes are passed through, as `family` does. Raises NotFound when `top` is no node.
    """
    top = os.path.realpath(top)
    if not is_node(top):
        raise no_node(top, top)
    return branch(top)


def branch(path: str) -> Branch:
    """Return one node with its children; what cannot be read shows as '?'."""
    faults: list[Fault] = []
    state = alias = "?"
    try:
        status = status_file.read(path, faults)
        state = status.state if status else "?"
        file = first_file(path, paths.NORMAL_CONFIGS)
        if file:
            doc = either(file, faults)
            alias = doc.alias if doc else "?"
        else:
            message = "the node has no configuration"
            missing = Origin(file=os.path.join(path, paths.NORMAL_CONFIGS[0]))
            faults.append(Fault(origin=missing, message=message))
    except RedpakError as error:
        faults.append(Fault(origin=Origin(file=path), message=error.message))
    return Branch(
        path=path,
        name=os.path.basename(path) or "/",
        alias=alias,
        state=state,
        faults=tuple(faults),
        children=tuple(branch(child) for child in child_nodes(path)),
    )


# Directories of a node's own content: nodes are not looked for in them.
CONTENT = frozenset(("usr", "etc", "var", "private", "bin", "lib", "lib64", "sbin", "proc", "sys", "dev"))
GAP = 4  # how many directories that are no nodes may lie between two nodes, looking down


def child_nodes(path: str, gap: int = GAP) -> list[str]:
    """Return the nearest nodes beneath a directory, sorted by path."""
    found: list[str] = []
    if gap < 0 or path.count("/") > 200:
        return found
    try:
        with os.scandir(path) as entries:
            names = sorted(
                entry.name
                for entry in entries
                if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False)
            )
    except PermissionError:
        return []
    node = os.path.exists(os.path.join(path, paths.STATUS))
    for name in names:
        child = os.path.join(path, name)
        try:
            here = is_node(child)
        except RedpakError:
            continue
        if here:
            found.append(child)
        elif not (node and name in CONTENT):
            found.extend(child_nodes(child, gap - 1))
    return found
