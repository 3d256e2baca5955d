"""Make a sandbox from a Box: the part that stays outside of it.

    running = create(box, cgroup=group, gate=path, …)      # up to the gate: everything is made, nothing runs yet
    start.release(path)                                    # any process, later: opens the gate, knows if exec worked
    running.release(); status = running.wait()             # the same in one process, without a gate in a file

`create` returns when the sandbox's first process has done everything but the exec of its program: namespaces, maps,
cgroup, mounts, pivot_root, hooks_create, rights, and the program was found inside. Whatever goes wrong before that is
one RedpakError (NoProgram 127, CannotRun 126, else LaunchFailed 125) and no process is left; the cgroup and the state
directory are the caller's to remove.

    create(box, *, cgroup=None, gate="", console=None, prestart=None, created=None, state=None,
           preserve_fds=0, stdio=(0, 1, 2), mounts="") -> Running

* cgroup    `redpak.cgroup` Group or None: its `add(pid)` is called before anything is made in the sandbox
* gate      a path that is made (an AF_UNIX socket that the first process listens on); "" = only `Running.release`
* console   called with the master of the new terminal (box.process.terminal), which it owns then (and must close)
* prestart  called with the pid when namespaces and maps exist and no mount is made yet (prestart, createRuntime hooks);
            what it raises ends the sandbox and is raised again
* created   called with the pid when the sandbox is complete (write pid file and state here). Until it has returned, the
            first process ends when its maker does; then it waits at the gate, whoever lives
* state     called with (pid, status), returns the bytes that hooks_create ("creating") and hooks_start ("created") read
* preserve_fds  descriptors 3 … 3+n-1 of the caller stay open for the program
* stdio     what becomes 0, 1, 2; None: /dev/null (with a terminal: always the terminal)
* mounts    a path for the record of what a box without a mount namespace of its own mounts; `shared.take_away` undoes
            it, also after a failure here. "" = such a box is refused

    Running: pid (in our numbering), pidfd, start_time (field 22 of /proc/PID/stat), warnings (tuple of str),
             release() opens the gate of a `create` without `gate`, wait() -> wait status as of waitpid(2), kill()
    release(gate: str) -> None  raises NotFound when nobody waits there (it died, or was started already), NoProgram,
             CannotRun, LaunchFailed when the program (or a start hook) failed
    enter.enter(pid, process, *, cgroup=None, console=None, created=None, preserve_fds=0, stdio=(0, 1, 2),
                namespaces=None, cwd="") -> Running   one more program in the namespaces of `pid`, already running
"""

from __future__ import annotations

import os

from redpak.engine.native import wire
from redpak.errors import LaunchFailed, RedpakError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from redpak.engine.native.box import Box, Process
    from redpak.engine.native.child import Job

SIGKILL = 9


class Running:
    """A sandbox's first process (or one that was put in), as seen from outside. Its pidfd is ours to close."""

    def __init__(self, name: str, pid: int, pidfd: int) -> None:
        self.name = name
        self.pid = pid  # in our numbering
        self.pidfd = pidfd
        self.start_time = start_time(pid)
        self.warnings: tuple[str, ...] = ()
        self._socket = -1
        self._held: list[int] = []

    def release(self) -> None:
        """Open the gate of a `create` without `gate`; returns when the program's exec has worked.

        Raises NoProgram, CannotRun or LaunchFailed where it has not; the process has ended then.
        """
        try:
            wire.send(self._socket, wire.GO)
            packet, _ = wire.receive(self._socket)
        except (BrokenPipeError, ConnectionResetError):
            packet = b""
        finally:
            os.close(self._socket)
            self._socket = -1
        if packet[:1] == wire.FAILED:
            self.wait()
            raise wire.error_of(packet, self.name)

    def wait(self) -> int:
        """Return the wait status (waitpid(2)) when it has ended; it must be a child of ours."""
        return os.waitpid(self.pid, 0)[1]

    def kill(self) -> None:
        """End it, and with it its pid namespace; does nothing when it has ended."""
        import _signal  # type: ignore[import-not-found]

        try:
            _signal.pidfd_send_signal(self.pidfd, SIGKILL)
        except ProcessLookupError:
            pass

    def close(self) -> None:
        """Let go of our descriptors; the sandbox lives on (unless it dies with its parent)."""
        for fd in (self.pidfd, self._socket, *self._held):
            if fd >= 0:
                os.close(fd)
        self.pidfd = self._socket = -1
        self._held = []


def start_time(pid: int) -> int:
    """Return when a process was started, in clock ticks since boot; 0 when it is gone. Source: proc_pid_stat(5)."""
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            return int(file.read(4096).rpartition(b")")[2].split()[19])
    except (OSError, IndexError, ValueError):
        return 0


def command_line() -> tuple[int, int]:
    """Return where our command line begins and ends in memory. Source: proc_pid_stat(5), fields 48 and 49."""
    with open("/proc/self/stat", "rb", buffering=0) as file:
        words = file.read(4096).rpartition(b")")[2].split()
    return int(words[45]), int(words[46])


def create(
    box: Box,
    *,
    cgroup: Any = None,
    gate: str = "",
    console: Callable[[int], None] | None = None,
    prestart: Callable[[int], None] | None = None,
    created: Callable[[int], None] | None = None,
    state: Callable[[int, str], bytes] | None = None,
    preserve_fds: int = 0,
    stdio: tuple[int, int, int] | None = (0, 1, 2),
    mounts: str = "",
) -> Running:
    """Make the sandbox up to its gate. See the module's text."""
    from redpak.engine.native.child import Job

    job = Job(box, box.process)
    job.stdio, job.preserve_fds = stdio, preserve_fds
    job.user_space = any(space.kind == "user" for space in box.spaces)
    job.parent = os.getpid() if box.die_with_parent else 0
    for place in box.leases:
        from redpak.engine.supervise import lease

        job.keep.append(lease(place))
    if gate:
        from redpak.engine.native import gate as gates

        job.listener = gates.listen(gate)
    if mounts and not any(space.kind == "mount" and not space.path for space in box.spaces):
        from redpak.engine.native import shared

        shared.begin(job, mounts)
    return launch(job, box.name, cgroup, console, prestart, created, state)


def launch(
    job: Job,
    name: str,
    cgroup: Any,
    console: Callable[[int], None] | None,
    prestart: Callable[[int], None] | None,
    created: Callable[[int], None] | None,
    state: Callable[[int, str], bytes] | None,
    target: int = -1,
    kinds: int = 0,
) -> Running:
    """Bring the first process to its gate; what `create` and `enter` share."""
    import _socket as socket

    from redpak.engine.native import exec as program
    from redpak.engine.native import opened, springboard
    from redpak.kernel.files import close_on_exec

    close_on_exec()  # no helper and no hook gets what our caller left open
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    ours, job.say = one.detach(), other.detach()
    running = None
    cgroup_fd = -1
    job.own, job.words = program.ourselves(), command_line()  # while /proc is the host's
    if program.writable_self():
        job.board = springboard.make()
    try:
        try:
            opened.open_sources(job)
            if cgroup is not None:
                from redpak.kernel.libc import exists

                at_birth = exists("clone3")
                cgroup_fd = cgroup.clone_fd() if at_birth else -1
                job.doors = tuple(cgroup.doors(unified=not at_birth))
            running = born(job, name, ours, cgroup_fd, target, kinds)
        finally:
            os.close(job.say)
            for fd in (*job.doors, cgroup_fd, job.record, job.board):
                if fd >= 0:
                    os.close(fd)
            opened.close_sources(job)
        if cgroup is not None and cgroup_fd < 0 and not job.doors:
            cgroup.add(running.pid)
        running._socket = ours
        converse(job, running, console, prestart, state)
        if created is not None:
            created(running.pid)
        if job.listener >= 0:
            try:
                wire.send(ours, wire.GO)  # it is on record, and may wait without us
            except (BrokenPipeError, ConnectionResetError):
                pass  # somebody has ended it already
    except BaseException:
        if running is not None:
            running.kill()
            try:
                running.wait()
            except ChildProcessError:
                pass
            running.close()
        else:
            os.close(ours)
        for fd in (job.listener, *job.keep):
            if fd >= 0:
                os.close(fd)
        raise
    if job.listener >= 0:
        os.close(job.listener)
        os.close(ours)
        running._socket = -1
    for fd in job.keep:
        os.close(fd)  # the sandbox's init holds them
    return running


def born(job: Job, name: str, ours: int, cgroup_fd: int, target: int, kinds: int) -> Running:
    """Clone the first process into its namespaces, and write its id maps."""
    if job.task.rlimits or job.nofile is not None:
        import resource  # noqa: F401 - here, and not in both processes
    from redpak.engine.native import child
    from redpak.kernel import clone, ns

    box = job.box
    joins = box is not None and any(space.path for space in box.spaces)
    own = box is None or any(space.kind == "mount" and not space.path for space in box.spaces)
    if not own and not job.shared:
        hint = "Ask for a mount namespace of its own."
        raise LaunchFailed(f"cannot make '{name}' in the mount namespace of somebody else", hint=hint)
    flags = 0
    for space in box.spaces if box is not None else ():
        # the cgroup namespace's root is where we are then; a clock can be set before its first process only
        if not space.path and space.kind not in ("cgroup", "time"):
            flags |= ns.FLAGS[space.kind]
    if joins or target >= 0:
        from redpak.engine.native import stage

        pid, pidfd = stage.clone(job, name, ours, flags, cgroup_fd, target, kinds)
    else:
        try:
            pid, pidfd = clone.clone(flags, cgroup=cgroup_fd)
        except OSError as error:
            raise LaunchFailed(
                f"cannot make the namespaces of '{name}': {(error.strerror or '').lower()}",
                hint="Look at /proc/sys/user and at the rights to make user namespaces.",
            ) from error
        if pid == 0:
            os.close(ours)
            child.main(job)
    running = Running(name, pid, pidfd)
    try:
        if flags & ns.CLONE_NEWUSER and box is not None:
            from redpak.engine.native import maps

            maps.write(pid, box)
        outside(job, pid)
    except BaseException:
        running.kill()
        os.waitpid(pid, 0)
        os.close(pidfd)
        raise
    return running


def outside(job: Job, pid: int) -> None:
    """Set what the first process may not set by itself: limits that are raised, how likely it is killed for memory."""
    task = job.task
    if job.box is not None:
        try:
            score(task, pid)
        except OSError as error:
            why = (error.strerror or "").lower()
            raise LaunchFailed(f"cannot set oom_score_adj to {task.oom_score_adj}: {why}") from error
    if not job.confined:  # else the stage did
        raise_limits(task, pid)


def raise_limits(task: Process, pid: int) -> None:
    """Raise a process's hard limits (0: our own) to what is asked for, as far as we may."""
    if not task.rlimits or os.geteuid() != 0:
        return
    import resource

    for one in task.rlimits:
        number = getattr(resource, "RLIMIT_" + one.name.upper(), None)
        if number is None:
            continue  # the child says so
        soft, hard = resource.prlimit(pid, number)
        if hard != -1 and (one.hard == -1 or one.hard > hard):
            try:
                resource.prlimit(pid, number, (soft, one.hard))
            except (OSError, ValueError):
                continue  # the child says that it cannot


def score(task: Process, who: int | str) -> None:
    """Set how likely a process ("self", or a number) is killed for memory. Raises OSError. Source: proc(5)."""
    if task.oom_score_adj is None:
        return
    with open(f"/proc/{who}/oom_score_adj", "r+b", buffering=0) as file:
        if int(file.read()) != task.oom_score_adj:
            file.write(b"%d" % task.oom_score_adj)


def converse(
    job: Job,
    running: Running,
    console: Callable[[int], None] | None,
    prestart: Callable[[int], None] | None,
    state: Callable[[int, str], bytes] | None,
) -> None:
    """Answer the first process until it waits at its gate. Raises what went wrong in there."""
    warnings: list[str] = []
    pid, sock = running.pid, running._socket
    while True:
        try:
            packet, handed = job.early.pop(0) if job.early else wire.receive(sock)
        except OSError as error:
            raise LaunchFailed(
                f"cannot hear from '{running.name}': {(error.strerror or '').lower()}"
            ) from error
        kind, body = packet[:1], packet[1:]
        if kind == wire.ROOM:
            if prestart is not None:
                prestart(pid)
            told = b"\0".join(state(pid, status) for status in ("creating", "created")) if state else b"\0"
            try:
                wire.send_long(sock, wire.GO, told)
            except (BrokenPipeError, ConnectionResetError):
                continue  # what it said before it ended is still to be read
        elif kind == wire.CONSOLE and handed >= 0:
            if console is None:
                os.close(handed)
                raise LaunchFailed(f"nobody takes the terminal of '{running.name}'")
            console(handed)
        elif kind == wire.NOTIFY and handed >= 0:
            from redpak.engine.native import notify

            try:
                notify.hand_over(job.task.seccomp[int(body)], handed, pid, state)
            finally:
                os.close(handed)
        elif kind == wire.WARNING:
            warnings.append(os.fsdecode(body))
        elif kind == wire.READY:
            running.warnings = tuple(warnings)
            return
        elif kind == wire.FAILED:
            raise wire.error_of(packet, running.name)
        else:
            raise lost(running)


def lost(running: Running) -> RedpakError:
    """Return the error for a first process that ended without a word: somebody killed it."""
    hint = "Look at the kernel's log: it may have run out of memory."
    return LaunchFailed(
        f"the first process of '{running.name}' ended before its program was started", hint=hint
    )


def release(path: str) -> None:
    """Open the gate at `path`; see redpak.engine.native.gate."""
    from redpak.engine.native import gate

    gate.release(path)
