"""A sandbox without a mount namespace of its own: what it mounts, others see, so all of it has to go again.

Its root is a mount too, put over the root directory; everything else is mounted beneath that one, and it is private:
to detach it takes all away at once, whatever was mounted in there by whom. Its number is written to a record before it
is attached, and a lock on the record is held until it is. So whoever deletes the sandbox, whenever its
making was broken off, finds either a number or that nothing was ever attached. Numbers of mounts are used again, those
of Linux 6.8 are not; before, the directory that the mount shows is compared as well.

The root is entered by chroot(2), as pivot_root(2) would take the tree of everybody else away. That holds no program
with CAP_SYS_CHROOT or CAP_SYS_ADMIN, which may do with the namespace what it likes (runtime-spec, config-linux.md).
"""

from __future__ import annotations

import errno
import os

from redpak.engine.native.wire import Failed
from redpak.errors import Busy, RedpakError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.engine.native.box import Box
    from redpak.engine.native.child import Job
    from redpak.engine.native.tree import Tree
    from redpak.kernel.mountinfo import Mount

OURS = "/proc/self/ns/mnt"
FIELDS = (
    7  # of a record: boot, device and inode of the namespace, both numbers, device and inode of the directory
)
TRIES = 100


def begin(job: Job, path: str) -> None:
    """Make the record at `path`, which the first process inherits, locked. Raises OSError EEXIST."""
    import fcntl

    at = os.stat(OURS)
    job.shared = True
    job.space = at.st_dev, at.st_ino  # unless one is joined
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    job.record = os.open(path, flags, 0o600)
    fcntl.flock(job.record, fcntl.LOCK_EX)
    os.write(job.record, _boot())


def _boot() -> bytes:
    """Return what is another one after every start of the kernel. Source: random(4), proc_sys_kernel(5)."""
    with open("/proc/sys/kernel/random/boot_id", "rb", buffering=0) as file:
        return file.read(64).strip()


def preload() -> None:
    """Import what the making needs, before another mount namespace is joined: its files must not become our code."""
    import _socket  # noqa: F401
    import codecs
    import fcntl  # noqa: F401

    from redpak.engine.native import (  # noqa: F401
        beneath,
        binds,
        cgroups,
        copyup,
        hooks,
        inside,
        overlay,
        root,
        tree,
    )
    from redpak.kernel import mountinfo, net, newmount, procfs  # noqa: F401

    for name in ("ascii", "latin-1", "utf-8"):
        codecs.lookup(name)


def show(box: Box, job: Job) -> Tree:
    """Put the mount that holds all others over the root directory, its number written down before. Raises OSError."""
    from redpak.engine.native import tree
    from redpak.engine.native.box import MakeFile
    from redpak.kernel.mount import MS_PRIVATE

    if not tree.have("open_tree", "move_mount", "mount_setattr"):
        raise Failed("a sandbox in a mount namespace of others needs Linux 5.12")
    if not box.root or any(isinstance(step, MakeFile) and step.mount for step in box.steps):
        raise Failed("a root in memory needs a mount namespace of its own")
    place = os.open(box.root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if os.path.realpath(box.root) == "/" or os.path.samestat(os.fstat(place), os.stat("/")):
            raise Failed("the root directory is that of the host, and so is the mount namespace")
        top = tree.clone_tree(place)
        top.set(propagation=MS_PRIVATE, recursive=True)
        _note(job, top.fd)
        top.attach(place)
        top.set(propagation=MS_PRIVATE, recursive=True)  # over a shared mount it has become one
        os.close(job.record)  # the lock: from here on whoever detaches this mount gets all
        job.record = -1
    finally:
        os.close(place)
    return top


def _note(job: Job, top: int) -> None:
    from redpak.kernel import files

    at = os.fstat(top)
    words = (*job.space, files.unique_mount(top), files.mount_of(top), at.st_dev, at.st_ino)
    os.write(job.record, f" {' '.join(map(str, words))}\n".encode())


def enter(top: int) -> None:
    """Make the directory that is open as `top` our root."""
    os.fchdir(top)
    os.chroot(".")
    os.chdir("/")


def take_away(path: str, name: str, *, joined: str = "", within_s: float = 10.0) -> None:
    """Detach what the record at `path` names, in the mount namespace that it is in; nothing else.

    `joined` is the namespace's path where it has one. No record, or a mount that is gone: fine. Raises Busy when the
    sandbox is still being made after `within_s`, RedpakError when the mount does not go.
    """
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return
    try:
        _wait(fd, within_s, name)
        line = os.pread(fd, 4096, 0)
    finally:
        os.close(fd)
    words = line.split()
    if len(words) != FIELDS or not line.endswith(b"\n") or words[0] != _boot():
        return  # never attached, or before the kernel was started anew
    device, inode, *numbers = map(int, words[1:])
    door = _door(device, inode, joined)
    if door is None:
        return  # nobody is in there: the namespace has gone, and its mounts with it
    hint = "Look at /proc/self/mountinfo, take it away with umount(8), and delete the container again."
    why = _in_there(door, numbers)
    if why:
        raise RedpakError(f"cannot take away the mounts of '{name}': {why}", hint=hint)


def _wait(fd: int, within_s: float, name: str) -> None:
    import fcntl
    import time

    until = time.monotonic() + within_s
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except OSError:
            if time.monotonic() > until:
                hint = "Perhaps one of its hooks hangs: end that, and try again."
                raise Busy(f"'{name}' is still being made", hint=hint) from None
        time.sleep(0.005)


def _door(device: int, inode: int, joined: str) -> int | None:
    """Return a descriptor of that mount namespace, -1 when it is ours, None when nothing leads there."""
    at = os.stat(OURS)
    if (at.st_dev, at.st_ino) == (device, inode):
        return -1
    from redpak.kernel import mountinfo

    pinned = (one.point for one in mountinfo.mounts() if one.root == f"mnt:[{inode}]")
    people = (f"/proc/{pid}/ns/mnt" for pid in os.listdir("/proc") if pid.isdigit())
    for path in (*([joined] if joined else []), *pinned, *people):
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            continue  # ended meanwhile, or not ours to see
        at = os.fstat(fd)
        if (at.st_dev, at.st_ino) == (device, inode):
            return fd
        os.close(fd)
    return None


def _in_there(door: int, numbers: list[int]) -> str:
    """Detach the mount, in a process of its own, as it may have to go elsewhere; return what was wrong."""
    from redpak.kernel import files, mount, mountinfo, ns  # noqa: F401 - not to be looked for in there

    said = os.memfd_create("said", os.MFD_CLOEXEC)
    try:
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                if door >= 0:
                    ns.setns(door, "mount")
                _detach(*numbers)
                code = 0
            except BaseException as error:  # noqa: BLE001 - told to who asked
                why = error.strerror if isinstance(error, OSError) else str(error)
                os.write(said, (why or type(error).__name__).encode(errors="replace"))
            finally:
                os._exit(code)
        status = os.waitpid(pid, 0)[1]
        return os.pread(said, 4096, 0).decode().lower() or "it failed" if status else ""
    finally:
        os.close(said)
        if door >= 0:
            os.close(door)


def _detach(unique: int, short: int, device: int, inode: int) -> None:
    """Detach the mount with these numbers, and first what lies over all of it, which is in it."""
    from redpak.kernel import files, mount

    for _ in range(TRIES):
        point = _point(unique, short, device)
        if point is None:
            return
        try:
            fd = files.open_plain(point, os.O_PATH | os.O_DIRECTORY)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ELOOP, errno.ENOTDIR):
                raise
            continue  # renamed between the two looks
        try:
            at = os.fstat(fd)
            itself = files.mount_of(fd) == short and (at.st_dev, at.st_ino) == (device, inode)
            if not (itself if not unique else files.unique_mount(fd) == unique) and not _within(
                fd, unique, short
            ):
                continue  # the place shows another mount: perhaps moved meanwhile, perhaps hidden for good
            os.fchdir(fd)
            mount.detach(".")  # no path is walked: it is the mount that we hold
        finally:
            os.close(fd)
    raise OSError(errno.EBUSY, f"another mount hides the one at '{point}'")


def _within(fd: int, unique: int, short: int) -> bool:
    """Tell whether what is open as `fd` is the root of a mount that hangs on ours."""
    from redpak.kernel import files, mountinfo

    if unique:
        try:
            return files.unique_mount(fd) in mountinfo.listmount(unique)
        except OSError as error:
            if error.errno != errno.ENOSYS:
                return False
    number = files.mount_of(fd)
    return any(one.id == number for one in mountinfo.beneath(short, mountinfo.mounts()))


def _point(unique: int, short: int, device: int) -> str | None:
    """Return where our mount is now, None when it is gone."""
    from redpak.kernel import mountinfo

    if unique:
        try:
            return mountinfo.statmount(unique)[2]
        except OSError as error:
            if error.errno == errno.ENOENT:
                return None
            if error.errno != errno.ENOSYS:
                raise
    numbers = f"{os.major(device)}:{os.minor(device)}"

    def meant(one: Mount) -> bool:
        return one.id == short and one.device == numbers

    return next((one.point for one in mountinfo.mounts() if meant(one)), None)
