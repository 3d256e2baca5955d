"""Binds: a host file or directory as a detached mount, with its attributes, spread and owners."""

from __future__ import annotations

import errno
import os

from redpak.engine.native import tree
from redpak.kernel import mount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.engine.native.box import Bind
    from redpak.engine.native.tree import Tree
    from redpak.engine.native.wire import Doing

PRIVATE = mount.MS_PRIVATE


def open_bind(step: Bind, doing: Doing) -> Tree | None:
    """Return a detached copy of a bind's source; None where it may be missing and is. Raises OSError."""
    doing.now("open the mount source", step.source, step.because)
    try:
        source = _source(step)
    except FileNotFoundError:
        if step.missing == "skip":
            return None
        raise
    try:
        return tree.clone_tree(source, recursive=step.recursive)
    finally:
        os.close(source)


def _source(step: Bind) -> int:
    from redpak.kernel.files import open_plain

    if step.fd < 0:
        if step.plain:
            return open_plain(step.source, os.O_PATH)
        return os.open(step.source, os.O_PATH | os.O_CLOEXEC)
    # a descriptor is on a mount of its opener's namespace: find the same file in ours
    there = os.fstat(step.fd)
    path = os.readlink(f"/proc/self/fd/{step.fd}")
    found = open_plain(path, os.O_PATH)
    here = os.fstat(found)
    if (here.st_dev, here.st_ino) != (there.st_dev, there.st_ino):
        os.close(found)
        raise OSError(errno.ESTALE, "it was moved since it was opened", path)
    return found


def configure(made: Tree, step: Bind) -> None:
    """Give a bind its attributes, propagation and owners."""
    if any(step.idmap):
        if not tree.have("open_tree", "mount_setattr"):
            raise OSError(errno.ENOSYS, "this kernel has no idmapped mounts")
        from redpak.kernel import ns

        users, groups = ([(one.inside, one.outside, one.count) for one in ids] for ids in step.idmap)
        space = ns.userns_with(users, groups)
        try:
            made.set(userns=space, recursive=step.idmap_recursive)
        finally:
            os.close(space)
    propagation = (step.propagation or PRIVATE) & ~mount.MS_REC
    made.set(step.rec_set, step.rec_clear, propagation, recursive=step.recursive)
    if step.attr_set or step.attr_clear:
        made.set(step.attr_set, step.attr_clear)
