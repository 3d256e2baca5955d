"""Put one more program into a running sandbox, with the restrictions of a Process: OCI's exec, `redpak exec`.

    enter(pid, process, *, cgroup=None, console=None, created=None, preserve_fds=0, stdio=(0, 1, 2),
          namespaces=None, started=0, chroot=False) -> Running

* pid         a process of the sandbox, in our numbering: its namespaces, root and (with `cgroup`) group are taken
* namespaces  kinds to join ("mount", "pid", …); None: every kind in which `pid` differs from us
* started     when `pid` started, in clock ticks after boot: a number alone may be another process's by now
* chroot      it has no mount namespace of its own, so its root directory is entered as such
* created     called with the new pid before its program starts; what it raises ends it

It returns when the program's exec has worked. Raises NoProgram, CannotRun, LaunchFailed, NotFound for a `pid` that is
gone.
"""

from __future__ import annotations

import os

from redpak.errors import NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from redpak.engine.native.box import Process
    from redpak.engine.native.start import Running


def enter(
    pid: int,
    process: Process,
    *,
    cgroup: Any = None,
    console: Callable[[int], None] | None = None,
    created: Callable[[int], None] | None = None,
    state: Callable[[int, str], bytes] | None = None,
    preserve_fds: int = 0,
    stdio: tuple[int, int, int] | None = (0, 1, 2),
    namespaces: tuple[str, ...] | None = None,
    started: int = 0,
    chroot: bool = False,
) -> Running:
    """Start the program. See the module's text."""
    from redpak.engine.native import start
    from redpak.engine.native.child import Job
    from redpak.kernel import ns

    try:
        target = os.pidfd_open(pid)
    except ProcessLookupError as error:
        raise _gone(pid) from error
    try:
        kinds = 0
        for kind, name in ns.FILES.items():
            if namespaces is not None and kind not in namespaces:
                continue
            try:
                theirs = os.stat(f"/proc/{pid}/ns/{name}")
            except FileNotFoundError:
                if os.path.exists(
                    f"/proc/self/ns/{name}"
                ):  # a zombie has no namespaces left: nothing to be in
                    raise _gone(pid) from None
                continue  # a kind that this kernel does not have
            except (
                PermissionError
            ):  # not ours to look at: joined, then, or the kernel refuses; never left out
                kinds |= ns.FLAGS[kind]
                continue
            if not os.path.samestat(theirs, os.stat(f"/proc/self/ns/{name}")):
                kinds |= ns.FLAGS[kind]
        job = Job(None, process)
        if chroot:
            job.root = _root(pid)
        try:
            _still(pid, target, started)
        except BaseException:
            if job.root >= 0:
                os.close(job.root)
            raise
        job.stdio, job.preserve_fds = stdio, preserve_fds
        job.user_space = bool(kinds & ns.CLONE_NEWUSER)
        if stdio is None:
            job.null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        try:
            running = start.launch(
                job, f"process {pid}", cgroup, console, None, created, state, target, kinds
            )
        finally:
            for fd in (job.null, job.root):
                if fd >= 0:
                    os.close(fd)
    finally:
        os.close(target)
    try:
        running.release()
    except BaseException:
        running.close()
        raise
    return running


def _gone(pid: int) -> NotFound:
    return NotFound(f"there is no process {pid} to join", hint="The sandbox has ended.")


def _still(pid: int, target: int, started: int) -> None:
    """Raise NotFound unless what /proc/PID said was said of the process behind `target`, and it is the one meant.

    A pidfd of a process that was collected answers ESRCH; until then nobody else can have its number.
    """
    import _signal  # type: ignore[import-not-found]  # `signal` imports enum: 8 ms

    from redpak.engine.native.start import start_time

    if started and start_time(pid) != started:
        raise _gone(pid)
    try:
        _signal.pidfd_send_signal(target, 0)
    except ProcessLookupError:
        raise _gone(pid) from None
    except PermissionError:
        return  # it is there, and not ours to signal


def _root(pid: int) -> int:
    """Return the root directory of a process."""
    try:
        return os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise _gone(pid) from None
