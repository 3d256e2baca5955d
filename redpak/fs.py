"""Safe files: written aside and renamed, locked with an owner, recognised by a stamp."""

from __future__ import annotations

import os

from redpak.errors import Busy, doing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType


def stamp(path: str) -> str:
    """Return 'dev.ino.size.mtime_ns.ctime_ns' of the file that `path` leads to, '' when there is none.

    Any change of the content, and any other file put in its place, changes the stamp (the kernel sets ctime).
    Raises OSError for anything but absence (ENOENT, ENOTDIR).
    """
    try:
        at = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return ""
    return f"{at.st_dev}.{at.st_ino}.{at.st_size}.{at.st_mtime_ns}.{at.st_ctime_ns}"


def regular(path: str, flags: int) -> int:
    """Open a regular file, and nothing else: as `opener` of open(), so that a FIFO makes nobody wait.

    Raises OSError, EINVAL for what is no regular file.
    """
    import errno
    import stat

    fd = os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "it is no regular file", path)
    return fd


def sync_directory(path: str) -> None:
    """Make the names in a directory survive a power loss (fsync(2))."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_atomically(path: str, data: bytes, *, mode: int = 0o644, durable: bool = True) -> None:
    """Replace the file at `path`: readers see the old content or the new, never a part.

    `durable` also survives a power loss once this returns; caches pass False. Raises RedpakError.
    """
    with doing(f"write '{path}'"):
        try:
            _replace(path, data, mode, durable=durable)
        except OSError as error:  # the name written aside tells nobody anything
            raise OSError(error.errno, error.strerror) from error


def _replace(path: str, data: bytes, mode: int, *, durable: bool) -> None:
    folder, name = os.path.split(path)
    aside = os.path.join(folder or ".", f".{name}.{os.urandom(6).hex()}.new")
    fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view) :]
            os.fchmod(fd, mode)
            if durable:
                os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(aside, path)
    except BaseException:
        try:
            os.unlink(aside)
        except FileNotFoundError:
            pass
        raise
    if durable:
        sync_directory(folder or ".")


class locked:  # noqa: N801 - reads as a verb: with locked(path, "node create"):
    """Hold a flock(2) for the block. The file says who holds it; raises Busy when another process does.

    The lock goes with the process, however it dies; the file stays (removing it would race).
    """

    def __init__(self, path: str, act: str, *, shared: bool = False, wait: bool = False) -> None:
        self.path = path
        self.act = act
        self.shared = shared
        self.wait = wait
        self.fd = -1

    def __enter__(self) -> locked:
        import fcntl

        with doing(f"lock '{self.path}'"):
            self.fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        kind = fcntl.LOCK_SH if self.shared else fcntl.LOCK_EX
        try:
            fcntl.flock(self.fd, kind if self.wait else kind | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(self.fd, 200, 0).decode(errors="replace").strip() or "another process"
            os.close(self.fd)
            raise Busy(f"'{self.path}' is held by {owner}", hint="Try again when it is done.") from None
        if not self.shared:
            try:
                os.ftruncate(self.fd, 0)
                os.pwrite(self.fd, f"{self.act} (pid {os.getpid()})\n".encode(), 0)
            except OSError:
                pass  # the disk is full: who holds the lock is only for messages
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self.shared:
            os.ftruncate(self.fd, 0)
        os.close(self.fd)
