"""Hooks: programs of the caller's that are told the container's state on their standard input.

Source: runtime-spec, config.md, POSIX-platform hooks. The path is on the runtime's file system for the hooks that run
outside, in the container for those that start it.
"""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]
import fcntl
import os

from redpak.engine.native.wire import Failed
from redpak.kernel import files, process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.engine.native.box import Hook

INSIDE = "startContainer"  # the phase in which the container's filters may hold already
SAID = 400  # bytes of what a failed hook wrote that the message repeats


def run(hook: Hook, phase: str, state: bytes) -> None:
    """Run one hook to its end. Raises Failed when it cannot be started, fails or takes too long (it is killed).

    A hook that does not read its input kills nobody: the state is in a memory file, not in a pipe. A hook that still
    runs when we end is killed, with its process group; what a hook that ended left behind is left alone.
    """
    maker = os.getpid()
    given = os.memfd_create("state", os.MFD_CLOEXEC)
    said = os.memfd_create("said", os.MFD_CLOEXEC)
    line = os.pipe() if phase != INSIDE else ()
    try:
        os.write(given, state)
        os.lseek(given, 0, os.SEEK_SET)
        pid = os.fork()
        if pid == 0:
            _become(hook, given, said, line, maker)
        code = _ended(pid, hook.timeout_s)
        for fd in line:
            fcntl.fcntl(fd, fcntl.F_SETFL, 0)  # from now on it may close
        words = os.pread(said, SAID, 0).decode(errors="replace").strip()
    except OSError as error:
        raise Failed(f"{phase} hook '{hook.path}' cannot be run: {(error.strerror or '').lower()}") from error
    finally:
        for fd in (given, said, *line):
            os.close(fd)
    if code is None:
        raise Failed(f"{phase} hook '{hook.path}' ran longer than {hook.timeout_s} s and was killed")
    if code != 0:
        why = f"failed with code {code}" if code > 0 else f"was killed by signal {-code}"
        raise Failed(f"{phase} hook '{hook.path}' {why}" + (f": {words}" if words else ""))


def _tie(line: tuple[int, ...], maker: int) -> None:
    """Have the kernel kill our process group when `maker`, who alone holds the two ends of a pipe, ends before us.

    PR_SET_PDEATHSIG is for the hook alone, and for one that leaves its group. The rest is fcntl(2): when one end of a
    pipe closes, the owner of the other is signalled. The ends go one after the other, in whatever order.
    """
    process.die_with_parent(signal.SIGKILL)
    for fd in line:
        fcntl.fcntl(fd, fcntl.F_SETOWN, -os.getpid())
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(fd, fcntl.F_SETFL, os.O_ASYNC)
    if os.getppid() != maker:
        os._exit(127)


def _become(hook: Hook, given: int, said: int, line: tuple[int, ...], maker: int) -> None:
    try:
        os.setpgid(0, 0)
        if line:
            _tie(line, maker)
        for number in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        os.dup2(given, 0)
        os.dup2(said, 1)
        os.dup2(said, 2)
        if hook.cwd:
            try:
                os.chdir(hook.cwd)
            except OSError:
                pass  # the bundle is gone by now
        files.close_on_exec()  # whoever called us may have left more open
        environ = dict(one.partition("=")[::2] for one in hook.environ)
        os.execve(hook.path, list(hook.args or (hook.path,)), environ)
    except BaseException as error:  # noqa: BLE001 - the maker reads it
        os.write(said, str(error).encode(errors="replace"))
    finally:
        os._exit(127)


def _ended(pid: int, timeout_s: int) -> int | None:
    """Return the exit code (-n: signal n) of a child, None when it was killed for taking too long."""
    if timeout_s > 0:
        import select

        fd = os.pidfd_open(pid)
        try:
            poll = select.poll()
            poll.register(fd, select.POLLIN)
            if not poll.poll(timeout_s * 1000):
                for kill, who in ((os.killpg, pid), (os.kill, pid)):
                    try:
                        kill(who, signal.SIGKILL)
                    except ProcessLookupError:
                        pass  # it ended, or had no group of its own yet
                os.waitpid(pid, 0)
                return None
        finally:
            os.close(fd)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
