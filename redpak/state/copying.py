"""Copy files into a running sandbox and out of it, through its root: never led astray by what it holds.

A path inside is resolved with openat2(2) RESOLVE_IN_ROOT from /proc/PID/root, so that '..' and symbolic links stay
inside. Below that, every step is one name in an open directory and no link is followed. A program inside may rename
what it likes meanwhile: it can spoil the copy, not direct it. Modes are kept without set-id bits; owners are kept by
root only. Symbolic links are copied as they are. Devices, sockets and FIFOs are refused. Of a file as much is copied as
it had when it was opened, and its holes stay holes: nobody makes a copy endless, or larger than what it is of.
"""

from __future__ import annotations

import errno
import os
import stat

from redpak.errors import NotFound, RedpakError, Refused
from redpak.kernel import files
from redpak.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.state.proc import Pid

CHUNK = 1 << 20
UNSIZED = 64 << 20  # bytes of a file that says to be empty, as those of /proc do
DEEPEST = 200  # directories in each other: each holds two descriptors open
PLAIN = os.O_CLOEXEC | os.O_NOFOLLOW
FOLDER = os.O_RDONLY | os.O_DIRECTORY | PLAIN
UNCOPIED = {
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
}


class End(Record):
    """One end of a copy: the open directory that holds it, and its name in there ('' for that directory itself)."""

    folder: int
    name: str
    shown: str  # for messages


class Copied(Record):
    """What was copied."""

    files: int
    bytes: int
    refused: tuple[str, ...]


def root_of(main: Pid) -> int:
    """Open the root directory of a process's mounts. The caller closes it. Raises Refused where we may not."""
    from redpak.state import proc

    try:
        fd = os.open(f"/proc/{main.pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise Refused("the sandbox has ended", hint="Run 'redpak ps'.") from None
    except PermissionError:
        raise Refused("you may not look into that sandbox", hint="Ask who started it, or root.") from None
    if not proc.alive(main):
        os.close(fd)
        raise Refused("the sandbox has ended", hint="Run 'redpak ps'.")
    return fd


def inside(root: int, path: str, *, must: bool) -> End:
    """Return an end inside a sandbox. With `must` it has to be there. Raises NotFound, RedpakError."""
    folder, name = os.path.split(path.rstrip("/"))
    if name in ("", ".", ".."):
        return End(folder=_in_root(root, path or "/", FOLDER, path), name="", shown=path)
    if path.endswith("/"):
        return End(folder=_in_root(root, path, FOLDER, path), name="", shown=path)
    try:  # the last component may be a link: what it leads to is meant
        fd = files.openat2(path, os.O_PATH, _RULES, directory=root)
    except FileNotFoundError:
        if must and not _is_link(root, folder or "/", name):
            raise NotFound(f"there is no '{path}' in the sandbox", hint="Look: redpak exec ID ls") from None
    except OSError as error:
        raise _failed("open", path, error) from error
    else:
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            os.close(fd)
            return End(folder=_in_root(root, path, FOLDER, path), name="", shown=path)
        os.close(fd)
        real = _real(root, path)
        folder, name = os.path.split(real)
    return End(folder=_in_root(root, folder or "/", FOLDER, path), name=name, shown=path)


_RULES = files.RESOLVE_IN_ROOT | files.RESOLVE_NO_MAGICLINKS


def _is_link(root: int, folder: str, name: str) -> bool:
    try:
        fd = files.openat2(folder, os.O_RDONLY | os.O_DIRECTORY, _RULES, directory=root)
    except OSError:
        return False
    try:
        return stat.S_ISLNK(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode)
    except OSError:
        return False
    finally:
        os.close(fd)


def _in_root(root: int, path: str, flags: int, shown: str) -> int:
    try:
        return files.openat2(path, flags & ~os.O_NOFOLLOW, _RULES, directory=root)
    except FileNotFoundError:
        raise NotFound(f"there is no '{path}' in the sandbox", hint="Make it first.") from None
    except OSError as error:
        raise _failed("open", shown, error) from error


def _real(root: int, path: str) -> str:
    """Return a path with the links at its end followed, one at a time, within the root."""
    for _ in range(40):
        folder, name = os.path.split(path)
        fd = _in_root(root, folder or "/", FOLDER, path)
        try:
            target = os.readlink(name, dir_fd=fd)
        except OSError as error:
            if error.errno == errno.EINVAL:
                return path
            raise _failed("open", path, error) from error
        finally:
            os.close(fd)
        path = target if target.startswith("/") else f"{folder.rstrip('/')}/{target}"
    raise RedpakError(f"cannot open '{path}': too many symbolic links")


def outside(path: str, *, must: bool) -> End:
    """Return an end on the host, found as every program finds it. Raises NotFound, RedpakError."""
    try:
        at = os.stat(path)
    except FileNotFoundError:
        if must:
            raise NotFound(f"there is no '{path}'") from None
    except OSError as error:
        raise _failed("open", path, error) from error
    else:
        if stat.S_ISDIR(at.st_mode):
            return End(folder=_open_folder(path), name="", shown=path)
        path = os.path.realpath(path)
    if path.endswith("/"):
        raise NotFound(f"there is no directory '{path}'", hint="Make it first.")
    folder, name = os.path.split(path)
    return End(folder=_open_folder(folder or "."), name=name, shown=path)


def _open_folder(path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise NotFound(f"there is no directory '{path}'", hint="Make it first.") from None
    except OSError as error:
        raise _failed("open", path, error) from error


def _failed(act: str, path: str, error: OSError) -> RedpakError:
    return RedpakError(f"cannot {act} '{path}': {(error.strerror or str(error)).lower()}")


def copy(source: End, target: End, *, name: str) -> Copied:
    """Copy one end to the other; `name` is what it is called where the target is a directory.

    A directory is copied with all in it, into one of that name that may be there already. What cannot be copied
    (devices, FIFOs, sockets) is left out and listed. Raises RedpakError where something fails.
    """
    work = _Copy(keep_owner=os.geteuid() == 0)
    folder, called = target.folder, target.name or name
    if source.name:
        work.one(source.folder, source.name, folder, called, source.shown)
    else:
        work.into(source.folder, folder, called, source.shown)
    return Copied(files=work.files, bytes=work.bytes, refused=tuple(work.refused))


class _Copy:
    def __init__(self, *, keep_owner: bool) -> None:
        self.keep_owner = keep_owner
        self.files = 0
        self.bytes = 0
        self.refused: list[str] = []
        self.made: set[tuple[int, int]] = set()  # directories that we copy into
        self.depth = 0

    def one(self, folder: int, name: str, to: int, called: str, shown: str) -> None:
        """Copy what is called `name` in an open directory."""
        try:
            at = os.stat(name, dir_fd=folder, follow_symlinks=False)
            kind = stat.S_IFMT(at.st_mode)
            if kind in UNCOPIED:
                self.refused.append(f"'{shown}' is {UNCOPIED[kind]}")
            elif kind == stat.S_IFLNK:
                self._link(os.readlink(name, dir_fd=folder), at, to, called)
            elif kind == stat.S_IFDIR:
                fd = os.open(name, FOLDER, dir_fd=folder)
                try:
                    self.into(fd, to, called, shown)
                finally:
                    os.close(fd)
            else:
                self._file(folder, name, to, called, shown)
        except OSError as error:
            raise _failed("copy", shown, error) from error

    def _link(self, text: str, at: os.stat_result, to: int, called: str) -> None:
        aside = _aside()
        os.symlink(text, aside, dir_fd=to)
        try:
            if self.keep_owner:
                os.chown(aside, at.st_uid, at.st_gid, dir_fd=to, follow_symlinks=False)
            os.rename(aside, called, src_dir_fd=to, dst_dir_fd=to)
        except BaseException:
            os.unlink(aside, dir_fd=to)
            raise
        self.files += 1

    def _file(self, folder: int, name: str, to: int, called: str, shown: str) -> None:
        source = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | PLAIN, dir_fd=folder)
        try:
            at = os.fstat(source)
            if not stat.S_ISREG(at.st_mode):  # it was put there just now
                self.refused.append(f"'{shown}' is no regular file")
                return
            aside = _aside()
            target = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | PLAIN, 0o600, dir_fd=to)
            try:
                self.bytes += _fill(source, target, at.st_size)
                self._dress(target, at)
                os.rename(aside, called, src_dir_fd=to, dst_dir_fd=to)
            except BaseException:
                os.unlink(aside, dir_fd=to)
                raise
            finally:
                os.close(target)
        finally:
            os.close(source)
        self.files += 1

    def _dress(self, target: int, at: os.stat_result) -> None:
        if self.keep_owner:
            os.fchown(target, at.st_uid, at.st_gid)
        os.fchmod(target, stat.S_IMODE(at.st_mode) & 0o1777)
        os.utime(target, ns=(at.st_atime_ns, at.st_mtime_ns))

    def into(self, folder: int, to: int, called: str, shown: str) -> None:
        """Copy an open directory to one called `called`, which is made where it is not there."""
        self.depth += 1
        if self.depth > DEEPEST:
            raise Refused(f"'{shown[:60]}…' lies deeper than {DEEPEST} directories: it is not copied")
        try:
            at = os.fstat(folder)
            made = True
            try:
                os.mkdir(called, 0o700, dir_fd=to)
            except FileExistsError:
                made = False
            there = os.open(called, FOLDER, dir_fd=to)
            try:
                self.made.add(_identity(os.fstat(there)))
                if _identity(at) in self.made:
                    raise Refused(f"'{shown}' cannot be copied into itself")
                for name in sorted(os.listdir(folder)):
                    self.one(folder, name, there, name, f"{shown.rstrip('/')}/{name}")
                if made:
                    self._dress(there, at)
            finally:
                os.close(there)
        except OSError as error:
            raise _failed("copy", shown, error) from error
        self.depth -= 1


def _identity(at: os.stat_result) -> tuple[int, int]:
    return at.st_dev, at.st_ino


def _aside() -> str:
    return f".redpak-{os.urandom(6).hex()}.new"


def _fill(source: int, target: int, size: int) -> int:
    """Copy the content of a file of `size` bytes, without its holes; return how much it was."""
    if not size:
        return _run(source, target, 0, UNSIZED)
    total = at = 0
    while at < size:
        try:
            begin = os.lseek(source, at, os.SEEK_DATA)
            end = os.lseek(source, begin, os.SEEK_HOLE)
        except OSError as error:
            if error.errno == errno.ENXIO:  # only a hole is left
                break
            begin, end = at, size  # a file system that does not tell
        at = min(end, size)
        if at <= begin:
            break
        total += _run(source, target, begin, at)
    os.ftruncate(target, size)
    return total


def _run(source: int, target: int, at: int, end: int) -> int:
    """Copy a part of a file, less where it ends before `end`; return how much it was."""
    begin = at
    while at < end:
        data = os.pread(source, min(CHUNK, end - at), at)
        if not data:
            break
        view = memoryview(data)
        while view:
            done = os.pwrite(target, view, at)
            at += done
            view = view[done:]
    return at - begin


def is_program(root: int, path: str) -> bool:
    """Tell whether there is a file at `path` inside that can be executed."""
    try:
        fd = files.openat2(path, os.O_PATH, _RULES, directory=root)
    except OSError:
        return False
    try:
        at = os.fstat(fd)
        return stat.S_ISREG(at.st_mode) and bool(at.st_mode & 0o111)
    finally:
        os.close(fd)
