"""Find a program inside the sandbox as execvp(3) does, and become it, but never the runtime itself."""

from __future__ import annotations

import errno
import os
import stat

from redpak.engine.interpreter import beginning, interpreter
from redpak.engine.native import springboard
from redpak.engine.native.wire import Failed
from redpak.kernel import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.engine.native.box import Process

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DAC_OVERRIDE = 1 << 1  # linux/capability.h
MOST_INTERPRETERS = 5  # as the kernel (fs/exec.c)


def find(process: Process) -> str:
    """Return the path of the program. Raises Failed "127" where it is not there, "126" where it cannot be run."""
    name = process.args[0]
    if "/" in name:
        return _usable(name, name, process)
    search = next((one[5:] for one in process.environ if one.startswith("PATH=")), None)
    worst: Failed | None = None
    for folder in (PATH if search is None else search).split(":"):
        try:
            return _usable(f"{folder or '.'}/{name}", name, process)
        except Failed as error:
            if error.kind == "126" and worst is None:
                worst = error
    raise worst or Failed(f"cannot run '{name}': executable file not found in $PATH", "127")


def _usable(path: str, name: str, process: Process) -> str:
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        kind = "127" if error.errno in (errno.ENOENT, errno.ENOTDIR) else "126"
        raise Failed(f"cannot run '{name}': {(error.strerror or '').lower()}", kind) from error
    if stat.S_ISDIR(mode):
        raise Failed(f"cannot run '{name}': is a directory", "126")
    if not stat.S_ISREG(mode) or not (
        os.access(path, os.X_OK, effective_ids=True) or _may_override(path, mode, process)
    ):
        raise Failed(f"cannot run '{name}': permission denied", "126")
    return path


def _may_override(path: str, mode: int, process: Process) -> bool:
    """Tell whether a program may be run whoever it belongs to, by CAP_DAC_OVERRIDE (capabilities(7)).

    access(2) leaves a user's capabilities aside, and that is what is asked where a filter has no faccessat2(2).
    """
    if not (process.caps.effective & DAC_OVERRIDE and mode & 0o111):
        return False
    return not os.statvfs(path).f_flag & os.ST_NOEXEC


def inside() -> bool:
    """Tell whether the working directory is beneath our root, and not where a link of procfs leads (CVE-2024-21626).

    The program's own filter may forbid getcwd(2): then we go up until there is no way further.
    """
    try:
        return os.getcwd().startswith("/")
    except OSError:
        top, here, way = os.stat("/"), os.stat("."), "."
    while not os.path.samestat(here, top):
        way += "/.."
        above = os.stat(way)
        if os.path.samestat(above, here):
            return False
        here = above
    return True


def ourselves() -> tuple[int, int]:
    """Return (device, inode) of this interpreter's file; to be asked while the host's /proc is there."""
    at = os.stat("/proc/self/exe")
    return at.st_dev, at.st_ino


def guard(path: str, own: tuple[int, int]) -> None:
    """Refuse /proc/self/exe as a program, or as the interpreter that a script or program names.

    Before its exec that is the host's Python: a sandbox that got it to run would have a handle on the host's file
    (CVE-2019-5736). The same file at a place of the sandbox's own is a program like any other. Raises Failed "126".
    """
    for _ in range(MOST_INTERPRETERS):
        try:
            at = os.stat(path)
        except OSError:
            return  # exec will say so
        if (at.st_dev, at.st_ino) == own and _through_magic(path):
            raise Failed(f"cannot run '{path}': it is the runtime itself", "126")
        path = interpreter(path)
        if not path:
            return


def _through_magic(path: str) -> bool:
    """Tell whether a link of procfs that is more than its text lies on the way (proc_pid_exe(5))."""
    try:
        os.close(files.openat2(path, os.O_PATH, files.RESOLVE_NO_MAGICLINKS))
    except OSError as error:
        if error.errno != errno.ENOSYS:
            return True
        return True in (
            os.path.islink(one) and one.startswith("/proc") for one in _prefixes(os.path.abspath(path))
        )
    return False


def _prefixes(path: str) -> list[str]:
    return [path[:at] for at in range(1, len(path) + 1) if at == len(path) or path[at] == "/"]


def writable_self() -> bool:
    """Tell whether we could ever write this interpreter's file; to be asked while the host's /proc is there.

    A mount that is read-only does not count: it may be made writable while somebody holds on to the file. Before the
    maps of a user namespace are written we and a file of root's look alike: then the answer is yes.
    """
    at, me = os.stat("/proc/self/exe"), os.geteuid()
    return me == 0 or at.st_uid == me or bool(at.st_mode & 0o022)


def become(path: str, process: Process, board: int = -1) -> None:
    """Become the program, by way of the springboard where there is one. Raises OSError as execve(2).

    What the springboard cannot execute ends with code 126 or 127: so what is plainly wrong is found here.
    """
    environ: dict[str, str] = {}
    for one in process.environ:
        key, _, value = one.partition("=")
        environ[key] = value
    args = list(process.args)
    if board >= 0 and springboard.passes(process.seccomp):
        _check(path)
        try:
            os.execve(board, [path, *args], environ)
        except OSError:
            pass  # memory may not be executed here (sysctl vm.memfd_noexec, a label)
    os.execve(path, args, environ)


def _check(path: str) -> None:
    """Raise what execve(2) would for a program without a format or without its interpreter."""
    try:
        head = beginning(path, 128)
    except OSError:
        return  # it may be executed and not read
    if not head.startswith((b"\x7fELF", b"#!")) and b"\0" not in head:
        raise OSError(errno.ENOEXEC, os.strerror(errno.ENOEXEC), path)
    needs = interpreter(path)
    if needs and not stat.S_ISREG(os.stat(needs).st_mode):
        raise OSError(errno.EACCES, os.strerror(errno.EACCES), needs)
