"""The sandbox's file tree: a Box's steps carried out in the sandbox's own mount namespace, then its change of root.

Runs in the sandbox's first process, while the host's tree is still there: sources are opened in that one, targets
beneath the new root's descriptor.
"""

from __future__ import annotations

import errno
import os
import stat

from redpak.engine.native import beneath, binds, entries, tree
from redpak.engine.native.box import (
    Attributes,
    Bind,
    MakeDir,
    MakeFile,
    MakeNode,
    MakeSymlink,
    MaskPath,
    NewMount,
    ReadonlyPath,
)
from redpak.engine.native.overlay import overlay_options
from redpak.engine.native.wire import Failed
from redpak.kernel import mount, newmount, procfs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.engine.native.box import Box
    from redpak.engine.native.child import Job
    from redpak.engine.native.tree import Tree
    from redpak.engine.native.wire import Doing

PRIVATE = mount.MS_PRIVATE
QUIET = newmount.MOUNT_ATTR_NOSUID | newmount.MOUNT_ATTR_NODEV | newmount.MOUNT_ATTR_NOEXEC
NEVER_LINKS = ("proc", "sysfs")  # CVE-2019-19921: an image's /proc -> /etc
HOSTS = {
    "sysfs": "/sys",
    "mqueue": "/dev/mqueue",
    "proc": "/proc",
}  # what stands in where a new one is not ours


class Root:
    """The tree in the making. `ready` are sources that the maker opened: step → tree (or -1: it is not there)."""

    def __init__(self, box: Box, job: Job, *, initial_user: bool) -> None:
        self.box = box
        self.job = job
        self.doing: Doing = job.doing
        self.ready = job.ready
        self.initial_user = initial_user
        self.fd = -1
        self.shop = -1  # a memory file system that stays behind: what it holds is only seen where it is bound
        self.files = 0

    def build(self, groups: tuple[tuple[str, str], ...]) -> None:
        """Make everything beneath a new root mount. `groups`: our cgroup's directories, for a cgroup mount."""
        if self.job.shared:
            from redpak.engine.native import shared

            self.doing.now("show the root directory", self.box.root)
            self.fd = shared.show(self.box, self.job).fd
        else:
            self._own_root()
        self._steps(groups)

    def _own_root(self) -> None:
        """Show the root directory in a mount namespace of our own."""
        box, doing = self.box, self.doing
        doing.now("keep the sandbox's mounts apart")
        shared = bool(box.root_propagation & mount.MS_SHARED)
        mount.propagate("/", box.root_propagation if shared else mount.MS_REC | mount.MS_SLAVE)
        doing.now("show the root directory", box.root)
        if -1 in self.ready:
            top = self.ready[-1]
            assert top is not None
        elif box.root:
            source = os.open(box.root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            top = tree.clone_tree(source)
            os.close(source)
        else:
            flags = newmount.MOUNT_ATTR_NOSUID | newmount.MOUNT_ATTR_NODEV
            top = tree.new_filesystem("tmpfs", "tmpfs", (("mode", "0755"),), flags)
        top.set(propagation=PRIVATE, recursive=True)
        if any(isinstance(step, MakeFile) and step.mount for step in box.steps):
            shop = tree.new_filesystem("tmpfs", "tmpfs", (("mode", "0700"),), QUIET)
            spot = os.open(self._spot(box.root), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            if shared:
                self._quiet(spot)
            shop.attach(spot)
            os.close(spot)
            self.shop = shop.fd
        spot = os.open(self._spot(), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        if shared:
            self._quiet(spot)
        top.attach(spot)
        os.close(spot)
        self.fd = top.fd

    def _steps(self, groups: tuple[tuple[str, str], ...]) -> None:
        doing = self.doing
        for number, step in enumerate(self.box.steps):
            match step:
                case Bind():
                    self._bind(number, step)
                case NewMount(fstype="cgroup"):
                    from redpak.engine.native import cgroups

                    cgroups.show(self, step, groups)
                case NewMount():
                    self._new(step)
                case MakeDir():
                    doing.now("make directory", step.dst, step.because)
                    entries.make_dir(self, step)
                case MakeFile():
                    doing.now("make file", step.dst, step.because)
                    entries.make_file(self, step)
                case MakeSymlink():
                    doing.now("make symbolic link", step.dst, step.because)
                    entries.make_symlink(self, step)
                case MakeNode():
                    doing.now("make device", step.dst, step.because)
                    entries.make_node(self, step)
                case MaskPath():
                    self._mask(step)
                case ReadonlyPath():
                    self._read_only(step)
                case Attributes():
                    doing.now("change the mount", step.dst, step.because)
                    at = beneath.find(self.fd, step.dst)
                    tree.set_attributes(at, step.attr_set, step.attr_clear, step.propagation)
                    os.close(at)

    def _spot(self, avoid: str = "") -> str:
        """Return a directory to attach the new root at. Over / nothing is covered that a source's path needs.

        But createContainer hooks mount by the root's path on the host, and mean what will be the container's.
        """
        if self.box.hooks_create and self.box.root and not avoid:
            return self.box.root
        if tree.have("open_tree", "move_mount", "fsopen", "fsconfig", "fsmount"):
            return "/"
        if self.box.root and not avoid:
            return self.box.root
        sources = [step.source + "/" for step in self.box.steps if isinstance(step, Bind)]
        for place in ("/mnt", "/media", "/srv", "/opt", "/tmp", "/home", "/var", "/run"):
            taken = any(one.startswith(place + "/") for one in (*sources, avoid + "/", self.box.root + "/"))
            if (
                os.path.isdir(place)
                and not taken
                and not os.path.samefile(place, self.shop if self.shop >= 0 else "/")
            ):
                return place
        raise Failed("there is no directory to build the sandbox's root in on this old kernel")

    def _quiet(self, spot: int) -> None:
        """Let what is mounted at `spot` not be seen outside, while all else is shared."""
        from redpak.kernel import mountinfo

        number = mountinfo.mount_id(spot)
        point = next(one.point for one in mountinfo.mounts() if one.id == number)
        mount.propagate(point, PRIVATE)

    def put(self, made: Tree, dst: str, *, directory: bool, links: bool = True) -> None:
        """Attach a tree at `dst`, whose mount point is made if need be, and make sure that it is there."""
        target = beneath.place(self.fd, dst, directory=directory, links=links)
        try:
            if stat.S_ISDIR(os.fstat(target).st_mode) != directory:
                code = errno.ENOTDIR if directory else errno.EISDIR
                raise OSError(code, os.strerror(code))
            if links:
                self._no_way_into_proc(target, dst)
            made.attach(target)
        finally:
            os.close(target)
        if dst.strip("/") == "":
            os.close(self.fd)
            self.fd = os.dup(made.fd)
            os.set_inheritable(self.fd, False)  # noqa: FBT003
        elif not beneath.same(self.fd, dst, made.fd, links=links):
            raise OSError(errno.ESTALE, "the mount point was moved meanwhile")

    def _no_way_into_proc(self, target: int, dst: str) -> None:
        """Refuse a link of the image's that leads a mount to the kernel's own files (CVE-2019-19921)."""
        if dst.startswith("/proc/") or procfs.filesystem(target) != procfs.PROC_SUPER_MAGIC:
            return
        try:
            os.close(beneath.find(self.fd, dst, links=False))
        except OSError as error:
            raise Failed(f"cannot mount '{dst}': a symbolic link leads it into /proc") from error

    def _bind(self, number: int, step: Bind) -> None:
        self.doing.now("mount", step.dst, step.because)
        if number in self.ready:
            made = self.ready[number]
        else:
            made = binds.open_bind(step, self.doing)
            self.doing.now("mount", step.dst, step.because)
            if made is not None:
                binds.configure(made, step)
        if made is None:
            return
        with made:
            self.put(made, step.dst, directory=stat.S_ISDIR(os.fstat(made.fd).st_mode))
            if step.propagation and self.box.root_propagation & mount.MS_SHARED:
                # what is attached to a shared mount is shared, whatever it was before
                made.set(
                    propagation=step.propagation & ~mount.MS_REC,
                    recursive=bool(step.propagation & mount.MS_REC),
                )

    def _new(self, step: NewMount) -> None:
        labelled = f" with the label '{step.label}'" if step.label else ""
        self.doing.now(f"mount {step.fstype}{labelled} at", step.dst, step.because)
        options = tree.split_options(step.data)
        if step.label and step.fstype != "mqueue":
            options.append(("context", step.label))
        opened: list[int] = []
        if step.fstype == "overlay":
            options = overlay_options(options, opened, userxattr=not self.initial_user)
        lower = -1
        if step.copy_up:
            try:
                lower = self._readable(step.dst)
            except (FileNotFoundError, NotADirectoryError):
                lower = -1
        try:
            made = tree.new_filesystem(step.fstype, step.source or step.fstype, options, step.attr_set)
            if step.propagation:
                made.set(propagation=step.propagation & ~mount.MS_REC)  # nothing lies below it yet
            try:
                self._attach(made, step)
            except PermissionError:
                made = self._hosts(step)
        except PermissionError:
            made = self._hosts(step)
        finally:
            for fd in opened:
                os.close(fd)
        if lower >= 0:
            from redpak.engine.native.copyup import copy_up

            copy_up(lower, made.fd)
            os.close(lower)
        if step.label and step.fstype == "mqueue":  # it takes no option
            self._label(made.fd, step.label)
        made.close()

    def _label(self, top: int, label: str) -> None:
        """Label the directory of message queues, if the queues are the sandbox's own."""
        if any(space.kind == "ipc" and not space.path for space in self.box.spaces):
            at = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=top)
            try:
                os.setxattr(at, "security.selinux", label.encode())
            finally:
                os.close(at)

    def _attach(self, made: Tree, step: NewMount) -> None:
        self.put(made, step.dst, directory=True, links=step.fstype not in NEVER_LINKS)

    def _readable(self, dst: str) -> int:
        at = beneath.find(self.fd, dst)
        try:
            return os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=at)
        finally:
            os.close(at)

    def _hosts(self, step: NewMount) -> Tree:
        """Show the host's own instead of a new one that only the owner of the namespaces may make (EPERM)."""
        shares = {"sysfs": "net", "mqueue": "ipc", "proc": "pid"}.get(step.fstype, "")
        if not shares or any(space.kind == shares and not space.path for space in self.box.spaces):
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        source = os.open(HOSTS[step.fstype], os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        made = tree.clone_tree(source)
        os.close(source)
        made.set(step.attr_set, propagation=PRIVATE, recursive=True)
        self.put(made, step.dst, directory=True, links=False)
        return made

    def _existing(self, path: str) -> int:
        """Return a descriptor of what a path leads to inside the root, -1 for nothing."""
        try:
            return beneath.find(self.fd, path)
        except (FileNotFoundError, NotADirectoryError):
            return -1

    def _mask(self, step: MaskPath) -> None:
        self.doing.now("hide", step.dst, step.because)
        at = self._existing(step.dst)
        if at < 0:
            return
        directory = stat.S_ISDIR(os.fstat(at).st_mode)
        os.close(at)
        if directory:
            flags = QUIET | newmount.MOUNT_ATTR_RDONLY
            options: list[tree.Option] = [("size", "0"), ("mode", "0755"), ("ro", None)]
            if step.label:
                options.append(("context", step.label))
            made = tree.new_filesystem("tmpfs", "tmpfs", options, flags)
        else:
            null = os.open("/dev/null", os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
            shown = os.fstat(null)
            if not stat.S_ISCHR(shown.st_mode) or shown.st_rdev != os.makedev(1, 3):  # CVE-2025-31133
                raise Failed("'/dev/null' on the host is not the null device")
            made = tree.clone_tree(null, recursive=False)
            os.close(null)
            made.set(newmount.MOUNT_ATTR_NOSUID | newmount.MOUNT_ATTR_NOEXEC, propagation=PRIVATE)
        with made:
            self.put(made, step.dst, directory=directory)

    def _read_only(self, step: ReadonlyPath) -> None:
        self.doing.now("make read-only", step.dst, step.because)
        at = self._existing(step.dst)
        if at < 0:
            return
        directory = stat.S_ISDIR(os.fstat(at).st_mode)
        with tree.clone_tree(at) as made:
            os.close(at)
            made.set(newmount.MOUNT_ATTR_RDONLY, propagation=PRIVATE, recursive=True)
            self.put(made, step.dst, directory=directory)

    def enter(self) -> None:
        """Make the tree our root, and let go of the host's."""
        box, doing = self.box, self.doing
        if box.root_readonly:
            doing.now("make the root read-only", "/")
            tree.set_attributes(self.fd, newmount.MOUNT_ATTR_RDONLY)
        doing.now("change the root")
        if self.job.shared:
            from redpak.engine.native import shared

            shared.enter(self.fd)
        elif box.no_pivot:
            mount.move_root(self.fd)
        else:
            mount.change_root(self.fd)
        os.close(self.fd)
        if box.root_propagation and not self.job.shared:
            doing.now("set the propagation of", "/")
            mount.propagate("/", box.root_propagation & ~mount.MS_REC)  # those below have their own
