"""What creating, moving and deleting nodes share: one at a time in a directory, aside first, gone without a trace.

All of it works beneath descriptors and follows no symbolic link: a node's content is not ours.
"""

from __future__ import annotations

import errno
import os
import stat
import time

from redpak.errors import Busy, doing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

ASIDE = ".redpak-aside-"  # names that begin so are unfinished business of somebody who holds the lock
PATIENCE_S = 10.0

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class holding:  # noqa: N801 - reads as a verb: with holding(pool, "node create") as fd:
    """Hold the lock of a directory for the block; gives its descriptor. Raises Busy after `patience_s` seconds.

    The directory itself is locked (flock(2)), so no lock file stays behind and the lock goes with the
    process. What others left half done there is removed first.
    """

    def __init__(self, path: str, act: str, *, patience_s: float = PATIENCE_S) -> None:
        self.path = path
        self.act = act
        self.patience_s = patience_s
        self.fd = -1

    def __enter__(self) -> int:
        import fcntl

        with doing(self.act):
            self.fd = os.open(self.path, DIRECTORY)
            until = time.monotonic() + self.patience_s
            while True:
                try:
                    fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() >= until:
                        os.close(self.fd)
                        raise Busy(
                            f"cannot {self.act}: another command is changing '{self.path}'",
                            hint="Try again when it is done.",
                        ) from None
                    time.sleep(0.02)
            try:
                sweep(self.fd)
            except BaseException:
                os.close(self.fd)
                raise
        return self.fd

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self.fd)


def aside_name() -> str:
    """Return a new name for something unfinished."""
    return f"{ASIDE}{os.getpid()}-{os.urandom(4).hex()}"


def sweep(fd: int) -> None:
    """Remove what killed commands of this user left unfinished in a directory whose lock we hold."""
    for name in os.listdir(fd):
        if name.startswith(ASIDE):
            try:
                if os.stat(name, dir_fd=fd, follow_symlinks=False).st_uid == os.geteuid():
                    remove(fd, name)
            except (FileNotFoundError, PermissionError):
                continue  # gone meanwhile, or files of sub-ids: in nobody's way


def remove(fd: int, name: str) -> None:
    """Remove `name` in directory `fd` with all that is in it; symbolic links and other mounts are never entered.

    Raises OSError: EBUSY where something is mounted, EACCES.
    """
    if not stat.S_ISDIR(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode):
        os.unlink(name, dir_fd=fd)
        return
    # Depth first with a stack: the tree may be deeper than Python's, or than the descriptors that we may
    # open.
    with_parent = os.open(name, DIRECTORY, dir_fd=fd)
    try:
        device = os.fstat(with_parent).st_dev
        empty(with_parent, device)
    finally:
        os.close(with_parent)
    os.rmdir(name, dir_fd=fd)


def empty(top: int, device: int) -> None:
    """Remove everything in directory `top`. Raises OSError, EBUSY for a mount point (its device is another)."""
    here = os.dup(top)
    trail: list[tuple[str, int, int]] = []  # (name, device, inode) of each directory entered
    try:
        while True:
            below = first_directory(here, device)
            if below:
                try:
                    inner = os.open(below, DIRECTORY, dir_fd=here)
                except PermissionError:
                    inner = unlocked(here, below)
                at = os.fstat(inner)
                trail.append((below, at.st_dev, at.st_ino))
                os.close(here)
                here = inner
                continue
            if not trail:
                return
            name, _, _ = trail.pop()
            outer = os.open("..", DIRECTORY, dir_fd=here)
            os.close(here)
            here = outer
            at = os.fstat(here)
            expected = trail[-1][1:] if trail else None
            root = os.fstat(top)
            if (at.st_dev, at.st_ino) != (expected or (root.st_dev, root.st_ino)):
                raise OSError(errno.EBUSY, "the directory was moved while it was removed", name)
            os.rmdir(name, dir_fd=here)
    finally:
        os.close(here)


def unlocked(fd: int, name: str) -> int:
    """Open a directory that its own mode closes to us, after opening it. Raises OSError."""
    handle = os.open(name, os.O_PATH | DIRECTORY, dir_fd=fd)
    try:
        os.chmod(f"/proc/self/fd/{handle}", 0o700)  # by descriptor: the name could be a link by now
        return os.open(".", DIRECTORY, dir_fd=handle)
    finally:
        os.close(handle)


def first_directory(fd: int, device: int) -> str:
    """Remove everything in a directory that is no directory; return the name of a directory in it, '' if none."""
    found = ""
    files = []
    with os.scandir(fd) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                found = found or entry.name
            else:
                files.append(entry.name)
    writable = False
    for name in files:
        try:
            os.unlink(name, dir_fd=fd)
        except PermissionError:
            if writable:
                raise
            os.fchmod(fd, 0o700)
            writable = True
            os.unlink(name, dir_fd=fd)
    if found:
        if os.stat(found, dir_fd=fd, follow_symlinks=False).st_dev != device:
            raise OSError(errno.EBUSY, "something is mounted there", found)
        os.fchmod(fd, 0o700)
    return found


def open_beneath(fd: int, folder: str, *, make: list[str] | None = None) -> int:
    """Open the directory `folder`, relative to `fd`, following no symbolic link; the caller closes it.

    With a list in `make`, directories that are missing are made (0755 less the umask) and added to it.
    """
    here = os.dup(fd)
    done = ""
    try:
        for part in folder.split("/"):
            if not part:
                continue
            if part == "..":
                raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), folder)
            done = f"{done}/{part}" if done else part
            if make is not None:
                try:
                    os.mkdir(part, 0o755, dir_fd=here)
                    make.append(done)
                except FileExistsError:
                    pass
            below = os.open(part, DIRECTORY, dir_fd=here)
            os.close(here)
            here = below
    except BaseException:
        os.close(here)
        raise
    return here


def put(fd: int, name: str, data: bytes) -> None:
    """Write the file `name` in directory `fd` in one step, durably. Raises OSError."""
    aside = aside_name()
    file = os.open(
        aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644, dir_fd=fd
    )
    try:
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(file, view) :]
            os.fsync(file)
        finally:
            os.close(file)
        os.rename(aside, name, src_dir_fd=fd, dst_dir_fd=fd)
    except BaseException:
        os.unlink(aside, dir_fd=fd)
        raise
