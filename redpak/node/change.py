"""Changing nodes that exist: enable, disable, move, delete."""

from __future__ import annotations

import errno
import os

from redpak.config.model import Family, Node
from redpak.errors import Fault, NotFound, RedpakError, Refused, doing
from redpak.node import generations, guard, status, tree
from redpak.node.create import canonical, merges

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    from redpak.node.tree import Branch

    State = Literal["Enable", "Disable"]


def set_state(path: str, state: State) -> bool:
    """Enable or disable a node; tells whether that changed anything. A status that cannot be read is written anew.

    Raises NotFound when there is no node, Busy.
    """
    node = node_at(path)
    with guard.holding(os.path.dirname(node) or "/", f"change node '{path}'"):
        faults: list[Fault] = []
        now = status.read(node, faults)
        if now is not None and now.state == state and now.realpath == node:
            return False
        if now is None:
            now = status.new(node, state=state)
        status.write(now.but(realpath=node, state=state))
    return True


def move(path: str, to: str) -> list[str]:
    """Rename a node's directory, with all nodes beneath it; return their new paths.

    Raises NotFound, Busy, BadConfig when the new family and a moved node contradict each other, Refused when
    there is something at `to`, when it lies inside the node, on another file system, or where an alias is
    taken.
    """
    source, target = node_at(path), canonical(to)
    if (target + "/").startswith(source + "/"):
        raise Refused(f"'{path}' cannot be moved into itself", hint="Name a place outside of it.")
    parents = sorted({os.path.dirname(source), os.path.dirname(target)})
    folder = os.path.dirname(target)
    if not os.path.lexists(folder):
        raise NotFound(f"'{folder}' does not exist", hint=f"Type: mkdir -p {tree.typed(folder)}")
    if not os.path.isdir(folder):
        raise Refused(f"'{folder}' is not a directory", hint="Name another place.")
    with guard.holding(parents[0], f"move node '{path}'"):
        if len(parents) == 2:
            with guard.holding(parents[1], f"move node '{path}'"):
                return moved(source, target)
        return moved(source, target)


def moved(source: str, target: str) -> list[str]:
    """Move a node while the locks are held."""
    from redpak.fs import sync_directory
    from redpak.node.writing import unchanging

    if os.path.lexists(target):
        raise Refused(f"'{target}' exists already", hint="Choose another path, or delete it first.")
    subtree = tree.branch(source)
    agree_at(subtree, source, target)
    try:
        with unchanging(locked_by_packages(subtree), alone=True), doing("move the node"):
            os.rename(source, target)
            sync_directory(os.path.dirname(target))
            sync_directory(os.path.dirname(source))
    except RedpakError as error:
        if isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.EXDEV:
            hint = "Make a new node there and copy the content."
            raise Refused(f"'{target}' is on another file system", hint=hint) from None
        raise
    paths = []
    for branch in flat(subtree):
        here = target + branch.path.removeprefix(source)
        faults: list[Fault] = []
        now = status.read(here, faults)
        if now is not None:
            status.write(now.but(file=status.file_of(here), realpath=here))
        paths.append(here)
    return paths


def agree_at(subtree: Branch, source: str, target: str) -> None:
    """Raise what would stop the moved nodes from being launched at their new place, and did not before."""
    above = next((up for up in tree.ascending(os.path.dirname(target)) if tree.is_node(up)), "")
    if not above:
        return
    older = tree.family(above, admin=True, any_state=True)
    taken = {node.alias: node.real for node in older.nodes if not (node.real + "/").startswith(source + "/")}
    for branch in flat(subtree):
        if branch.alias in taken:
            raise Refused(
                f"alias '{branch.alias}' is taken there, by the node at '{taken[branch.alias]}'",
                hint="Change the alias in the node's configuration first.",
            )
    for branch in flat(subtree):
        if branch.faults:
            continue
        members = tree.family(branch.path, admin=True, any_state=True, defaults=False).nodes
        own = tuple(
            there(node, source, target) for node in members if (node.real + "/").startswith(source + "/")
        )
        merges(Family(nodes=(*older.nodes, *own), defaults=older.defaults, admin=True))


def there(node: Node, source: str, target: str) -> Node:
    """Return a node as it will be after the move."""
    real = target + node.real.removeprefix(source)
    return node.but(path=real, real=real)


def delete(path: str, *, recursive: bool = False) -> list[str]:
    """Delete a node with all its content; return the paths of the nodes that went.

    It vanishes at once (renamed aside), its files after that. Symbolic links are removed, never followed.
    Raises NotFound when there is no node, Refused when there are nodes beneath it and not `recursive`, or
    when something is mounted in it, Busy.
    """
    from redpak.node.writing import unchanging

    node = node_at(path)
    folder, name = os.path.split(node)
    with guard.holding(folder, f"delete node '{path}'") as fd:
        subtree = tree.branch(node)
        going = flat(subtree)
        if len(going) > 1 and not recursive:
            noun = "node" if len(going) == 2 else "nodes"
            raise Refused(
                f"node '{path}' has {len(going) - 1} {noun} beneath it: {going[1].path}"
                + (", …" if len(going) > 2 else ""),
                hint="Delete them first, or give --recursive.",
            )
        busy = mounts_in(node)
        if busy:
            raise Refused(f"something is mounted at '{busy[0]}'", hint=f"Type: umount {tree.typed(busy[0])}")
        with (
            unchanging(locked_by_packages(subtree), alone=True),
            doing("delete the node", hint=f"Make sure that you may write in '{folder}'."),
        ):
            aside = guard.aside_name()
            os.rename(name, aside, src_dir_fd=fd, dst_dir_fd=fd)
            os.fsync(fd)
            try:
                guard.remove(fd, aside)
            except PermissionError:
                if os.geteuid() == 0:
                    raise
                from redpak.packages.inside import inside

                inside(lambda _: guard.remove(fd, aside))  # files of our sub-ids, which packages have made
    return [branch.path for branch in going]


def node_at(path: str) -> str:
    """Return the canonical path of the node at `path`; raises NotFound, Refused for a symbolic link."""
    full = canonical(path)
    if os.path.islink(full):
        raise Refused(f"'{path}' is a symbolic link", hint=f"Name the node itself: {os.path.realpath(full)}")
    if full == "/" or not tree.is_node(full):
        raise tree.no_node(path, full, to_make=False)
    return full


def flat(branch: Branch) -> list[Branch]:
    """Return a node and all nodes beneath it, parents first."""
    found = [branch]
    for child in branch.children:
        found.extend(flat(child))
    return found


def locked_by_packages(branch: Branch) -> list[str]:
    """Return the topmost nodes with a package lock: whoever changes packages beneath them holds it as well."""
    if os.path.lexists(f"{branch.path}/{generations.LOCK}"):
        return [branch.path]
    return [node for child in branch.children for node in locked_by_packages(child)]


def mounts_in(folder: str) -> list[str]:
    """Return the mount points at and beneath a directory (proc_pid_mountinfo(5))."""
    found = []
    with (
        doing("read the mounts"),
        open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as lines,
    ):
        for line in lines:
            point = line.split(" ")[4]
            for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
                point = point.replace(code, character)
            if point == folder or point.startswith(folder + "/"):
                found.append(point)
    return found
