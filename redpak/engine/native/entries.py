"""Directories, files, links and device nodes that a sandbox's tree is given.

Their modes are exact from the first moment: one that is set later, by name, might be set on what a link leads to by
then, if somebody who can write to the tree is quick (CVE-2024-45310 was of that kind).
"""

from __future__ import annotations

import errno
import os
import stat

from redpak.engine.native import beneath, tree
from redpak.engine.native.wire import Failed
from redpak.kernel import mount, newmount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.engine.native.box import MakeDir, MakeFile, MakeNode, MakeSymlink
    from redpak.engine.native.root import Root

UMASK = 0o022  # while the tree is made
KINDS = {"b": stat.S_IFBLK, "c": stat.S_IFCHR, "u": stat.S_IFCHR, "p": stat.S_IFIFO}


def make_symlink(root: Root, step: MakeSymlink) -> None:
    """Make a symbolic link; what is there stays, unless the step replaces it."""
    folder, name = beneath.parent(root.fd, step.dst)
    try:
        if step.replace:
            _clear(folder, name)
        os.symlink(step.target, name, dir_fd=folder)
    except FileExistsError:
        pass  # the image has its own; a link is no mount, it leads nowhere that is not in the root
    finally:
        os.close(folder)


def _clear(folder: int, name: str) -> None:
    """Remove what is in a link's way, but no directory and no mount point."""
    try:
        os.unlink(name, dir_fd=folder)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.EISDIR, errno.EBUSY, errno.EROFS):
            raise


def make_dir(root: Root, step: MakeDir) -> None:
    """Make a directory with just the step's mode; one that is there stays."""
    folder, name = beneath.parent(root.fd, step.dst)
    try:
        os.umask(0)
        os.mkdir(name, step.mode, dir_fd=folder)
    except FileExistsError:
        pass
    finally:
        os.umask(UMASK)
        os.close(folder)


def make_file(root: Root, step: MakeFile) -> None:
    """Make a file, in the tree itself or in the memory file system that stays behind, and bind it."""
    if not step.mount:
        folder, name = beneath.parent(root.fd, step.dst)
        try:
            _fill(folder, name, step)
        finally:
            os.close(folder)
        return
    root.files += 1
    name = str(root.files)
    _fill(root.shop, name, step)
    source = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=root.shop)
    with tree.clone_tree(source, recursive=False) as made:
        os.close(source)
        flags = newmount.MOUNT_ATTR_RDONLY | newmount.MOUNT_ATTR_NOSUID | newmount.MOUNT_ATTR_NODEV
        made.set(flags, propagation=mount.MS_PRIVATE)
        root.put(made, step.dst, directory=False)


def make_node(root: Root, step: MakeNode) -> None:
    """Make a device node or pipe; where that is not allowed, bind the host's."""
    folder, name = beneath.parent(root.fd, step.dst)
    device = os.makedev(step.major, step.minor)
    kind = KINDS[step.kind]
    try:
        try:
            os.umask(0)
            os.mknod(name, kind | step.mode, device, dir_fd=folder)
        except FileExistsError:
            at = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if stat.S_IFMT(at.st_mode) != kind or (kind != stat.S_IFIFO and at.st_rdev != device):
                raise
            return  # it stays as it is: it may be the host's own, bound there
        except PermissionError:
            _host_node(root, step, kind, device)
            return
        os.chown(name, step.uid, step.gid, dir_fd=folder, follow_symlinks=False)
    finally:
        os.umask(UMASK)
        os.close(folder)


def _host_node(root: Root, step: MakeNode, kind: int, device: int) -> None:
    """Bind the host's node of that number: in a user namespace none can be made."""
    path = step.source or "/dev/" + step.dst.rpartition("/")[2]
    source = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        at = os.fstat(source)
        if stat.S_IFMT(at.st_mode) != kind or at.st_rdev != device:
            raise Failed(
                f"'{path}' on the host is not device {step.major}:{step.minor}, which '{step.dst}' is to be"
            )
        with tree.clone_tree(source, recursive=False) as made:
            made.set(newmount.MOUNT_ATTR_NOSUID | newmount.MOUNT_ATTR_NOEXEC, propagation=mount.MS_PRIVATE)
            root.put(made, step.dst, directory=False)
    finally:
        os.close(source)


def _fill(folder: int, name: str, step: MakeFile) -> None:
    fd = os.open(name, beneath.FILE, step.mode, dir_fd=folder)
    try:
        view = memoryview(step.content)
        while view:
            view = view[os.write(fd, view) :]
        os.fchmod(fd, step.mode)
    finally:
        os.close(fd)
