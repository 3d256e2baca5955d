"""A mount that is made, changed and only then shown: by the newer calls, or by mount(2) where they are missing.

    with clone_tree(source) as tree:                        # or new_filesystem("tmpfs", …)
        tree.set(MOUNT_ATTR_RDONLY, recursive=True)
        tree.attach(target)                                 # tree.fd is then the root of the mount

Sources and targets are open O_PATH descriptors, so nobody can move a path under our feet. The fall-back binds through
/proc/self/fd, finds what it just mounted by its number in mountinfo, and refuses when that is not what it opens.
An idmapped mount has no fall-back (ENOSYS).
"""

from __future__ import annotations

import errno
import os
import stat

from redpak.kernel import mount as classic
from redpak.kernel import newmount
from redpak.kernel.libc import exists
from redpak.kernel.mount import MS_NOATIME, MS_NODIRATIME, MS_RELATIME, MS_STRICTATIME

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

    from redpak.kernel.mountinfo import Mount

    Option = tuple[str, "str | int | None"]

LABELS = ("context", "fscontext", "defcontext", "rootcontext")  # SELinux's options of every file system
_FLAGS = (
    (newmount.MOUNT_ATTR_RDONLY, classic.MS_RDONLY, "ro"),
    (newmount.MOUNT_ATTR_NOSUID, classic.MS_NOSUID, "nosuid"),
    (newmount.MOUNT_ATTR_NODEV, classic.MS_NODEV, "nodev"),
    (newmount.MOUNT_ATTR_NOEXEC, classic.MS_NOEXEC, "noexec"),
    (newmount.MOUNT_ATTR_NOATIME, MS_NOATIME, "noatime"),
    (newmount.MOUNT_ATTR_NODIRATIME, MS_NODIRATIME, "nodiratime"),
    (newmount.MOUNT_ATTR_NOSYMFOLLOW, classic.MS_NOSYMFOLLOW, "nosymfollow"),
)
_SUPER = {  # flags that belong to the file system
    "ro": classic.MS_RDONLY,
    "sync": classic.MS_SYNCHRONOUS,
    "dirsync": classic.MS_DIRSYNC,
    "lazytime": classic.MS_LAZYTIME,
    "mand": 64,
    **dict.fromkeys(("rw", "async", "nolazytime", "nomand"), 0),
}
_known: dict[str, bool] = {}


def have(*calls: str) -> bool:
    """Tell whether the kernel knows all these calls; asked once each."""
    for name in calls:
        if name not in _known:
            _known[name] = exists(name)
        if not _known[name]:
            return False
    return True


class Tree:
    """A mount in the making; `fd` is its root, or before `attach` on an old kernel the root of what it will show."""

    __slots__ = ("_detached", "_later", "_made", "_recursive", "_why", "fd")

    def __init__(
        self, fd: int, made: tuple[str, str, int, str] | None = None, *, detached: bool, recursive: bool
    ) -> None:
        self.fd = fd
        self._made = made  # what mount(2) is to be called with: a new file system
        self._detached = detached
        self._later: list[tuple[int, int, int, bool]] = []  # what to change once it is attached
        self._recursive = recursive
        self._why: OSError | None = None  # what the newer calls said, if mount(2) cannot do it either

    def set(
        self,
        set_: int = 0,
        clear: int = 0,
        propagation: int = 0,
        *,
        userns: int = -1,
        recursive: bool = False,
    ) -> None:
        """Change attributes (MOUNT_ATTR_*), propagation (MS_*) and owners as mount_setattr does, before attaching.

        Raises OSError as newmount.mount_setattr; ENOSYS for an idmap on a kernel that has none.
        """
        if userns >= 0 and not (self._detached and have("mount_setattr")):
            raise OSError(errno.ENOSYS, "this kernel has no idmapped mounts")
        if self._detached and have("mount_setattr"):
            newmount.mount_setattr(self.fd, set_, clear, propagation, userns=userns, recursive=recursive)
        else:
            self._later.append((set_, clear, propagation, recursive))

    def attach(self, target: int) -> None:
        """Show the mount at the place that is open as `target` (O_PATH). Raises OSError as newmount.move_mount."""
        if self._detached:
            newmount.move_mount(self.fd, target)
        else:
            self._attach_classic(target)
        for set_, clear, propagation, recursive in self._later:
            set_attributes(self.fd, set_, clear, propagation, recursive=recursive)

    def _attach_classic(self, target: int) -> None:
        at = f"/proc/self/fd/{target}"
        if self._made is not None:
            source, fstype, flags, data = self._made
            try:
                classic.mount(source, at, fstype, flags, data)
            except OSError as error:
                raise self._why or error from None
        else:
            classic.bind(f"/proc/self/fd/{self.fd}", at, recursive=self._recursive)
        shown = topmost(target)
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = shown

    def close(self) -> None:
        """Let go of it: what is not attached is gone."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __enter__(self) -> Tree:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def clone_tree(source: int, *, recursive: bool = True) -> Tree:
    """Return a copy of the mount that the descriptor `source` is on, from that file or directory down.

    Raises OSError as newmount.open_tree. Needs CAP_SYS_ADMIN over the mount namespace.
    """
    if have("open_tree", "move_mount"):
        return Tree(newmount.open_tree(source, recursive=recursive), detached=True, recursive=recursive)
    import fcntl

    return Tree(fcntl.fcntl(source, fcntl.F_DUPFD_CLOEXEC, 3), detached=False, recursive=recursive)


def new_filesystem(
    fstype: str, source: str = "none", options: Iterable[Option] = (), attributes: int = 0
) -> Tree:
    """Return a mount of a new file system; options are (name, string), (name, None: a flag) or (name, descriptor).

    Raises OSError as newmount.fsopen, fsconfig and fsmount, or on an old kernel as mount(2) when it is attached
    (until then descriptors in options must stay open). Needs CAP_SYS_ADMIN over the mount namespace, and for most file
    systems in the initial user namespace.
    """
    given = tuple(options)
    if not have("fsopen", "fsconfig", "fsmount", "move_mount"):
        return _classic(fstype, source, given, attributes)
    try:
        return _configured(fstype, source, given, attributes)
    except OSError as error:
        # before Linux 6.13 overlayfs takes no descriptors (EBADF), before 6.7 no single layers, before 6.5 no comma
        if fstype != "overlay" or error.errno not in (errno.EINVAL, errno.EOPNOTSUPP, errno.EBADF):
            raise
        made = _classic(fstype, source, given, attributes)
        made._why = error
        return made


def _classic(fstype: str, source: str, options: Iterable[Option], attributes: int) -> Tree:
    flags, data = _classic_options(fstype, options)
    return Tree(-1, (source, fstype, flags | to_flags(attributes), data), detached=False, recursive=False)


def _configured(fstype: str, source: str, options: Iterable[Option], attributes: int) -> Tree:
    context = newmount.fsopen(fstype)
    try:
        newmount.fsconfig(context, "source", source)
        for key, value in options:
            newmount.fsconfig(context, key, value)
        newmount.fscreate(context)
        return Tree(newmount.fsmount(context, attributes), detached=True, recursive=False)
    finally:
        os.close(context)


def split_options(data: str) -> list[Option]:
    """Return the options of a comma separated list as new_filesystem takes them.

    A comma after \\ is no separator, nor are those of a label of SELinux that stands in quotes (mount(8)).
    """
    found: list[Option] = []
    words = iter(data.replace("\\,", "\0").split(","))
    for one in words:
        key, equals, value = one.replace("\0", "\\,").partition("=")
        if key in LABELS and value.startswith('"'):
            while not value.endswith('"', 1):
                value += "," + next(words, '"')
            value = value[1:-1]
        if key:
            found.append((key, value if equals else None))
    return found


def _classic_options(fstype: str, options: Iterable[Option]) -> tuple[int, str]:
    """Return flags and the comma separated list for mount(2). Raises OSError EINVAL for what it cannot hold."""
    flags = 0
    words: list[str] = []
    layers: list[str] = []
    for key, value in options:
        if value is None and key in _SUPER:
            flags |= _SUPER[key]
            continue
        text = f"/proc/self/fd/{value}" if isinstance(value, int) else value
        if key == "lowerdir+" and text is not None:
            layers.append(_escaped(text, ":"))
            continue
        if text is not None and key in LABELS:
            text = f'"{text}"'
        elif text is not None and "," in text.replace("\\,", ""):
            if fstype != "overlay":
                raise OSError(errno.EINVAL, "mount(2) takes no comma in an option", f"{key}={text}")
            text = _escaped(text, "")
        words.append(key if text is None else f"{key}={text}")
    if layers:
        words.append("lowerdir=" + ":".join(layers))
    return flags, ",".join(words)


def _escaped(path: str, more: str) -> str:
    return "".join("\\" + one if one in "\\," + more else one for one in path)


def to_flags(attributes: int) -> int:
    """Return MOUNT_ATTR_* as the MS_* of mount(2)."""
    flags = sum(ms for attribute, ms, _ in _FLAGS if attributes & attribute)
    if attributes & newmount.MOUNT_ATTR__ATIME == newmount.MOUNT_ATTR_STRICTATIME:
        flags |= MS_STRICTATIME
    return flags


def set_attributes(
    at: int, set_: int = 0, clear: int = 0, propagation: int = 0, *, recursive: bool = False
) -> None:
    """Change the attributes and propagation of the attached mount whose root is open as `at`. As Tree.set.

    Without mount_setattr it is mount by mount: what fails half-way stays half done, so the caller must give up.
    """
    if have("mount_setattr"):
        newmount.mount_setattr(at, set_, clear, propagation, recursive=recursive)
        return
    from redpak.kernel import mountinfo

    top = mountinfo.mount_id(at)
    known = mountinfo.beneath(top, mountinfo.mounts())
    if not known:
        raise OSError(errno.EINVAL, "it is on no mount of this namespace")
    _remount(f"/proc/self/fd/{at}", known[0], set_, clear, propagation)
    if not recursive:
        return
    for one in known[1:]:
        try:
            fd = os.open(one.point, os.O_PATH | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            continue  # its place was removed, or the mount itself
        try:
            if mountinfo.mount_id(fd) == one.id:
                _remount(f"/proc/self/fd/{fd}", one, set_, clear, propagation)
            elif not _covered(one, known):
                raise OSError(errno.ESTALE, "the mounts changed meanwhile", one.point)
        finally:
            os.close(fd)


def _covered(one: Mount, known: list[Mount]) -> bool:
    """Tell whether another mount lies over all of `one`, so that no path leads to it."""
    return any(other.parent == one.id and other.point == one.point for other in known)


def _remount(path: str, one: Mount, set_: int, clear: int, propagation: int) -> None:
    has = sum(ms for _, ms, word in _FLAGS if word in one.options)
    flags = has & ~to_flags(clear) | to_flags(set_)
    if clear & newmount.MOUNT_ATTR__ATIME:
        flags &= ~MS_NOATIME
        flags |= to_flags(set_ & newmount.MOUNT_ATTR__ATIME)
    if not flags & (MS_NOATIME | MS_STRICTATIME):
        changed = clear & newmount.MOUNT_ATTR__ATIME
        flags |= MS_RELATIME if changed or "relatime" in one.options else MS_STRICTATIME
    if set_ or clear:
        classic.mount("none", path, "", classic.MS_REMOUNT | classic.MS_BIND | flags)
    if propagation:
        classic.propagate(path, propagation)


def topmost(target: int) -> int:
    """Return an O_PATH descriptor of the root of the mount that was just put over the place open as `target`.

    Raises OSError: ESTALE when the path of `target` leads to something else by now. Source: proc_pid_mountinfo(5).
    """
    from redpak.kernel import mountinfo

    parent = mountinfo.mount_id(target)
    path = os.readlink(f"/proc/self/fd/{target}")
    name = path.rpartition("/")[2]
    over = [one for one in mountinfo.mounts() if one.parent == parent and one.point == path]
    if name and stat.S_ISDIR(os.fstat(target).st_mode):  # over the step that leads into it
        up = os.open("..", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=target)
        try:
            fd = os.open(name, os.O_PATH | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=up)
        finally:
            os.close(up)
    else:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC | os.O_NOFOLLOW)
    if not over or mountinfo.mount_id(fd) != over[-1].id:
        os.close(fd)
        raise OSError(errno.ESTALE, "the place of a mount was moved while it was made", path)
    return fd
