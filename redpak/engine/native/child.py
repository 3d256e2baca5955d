"""The first process of a sandbox, from its birth in new namespaces to the exec of its program.

Between fork and exec: only the kernel room and what is beside this file. It leaves by exec or os._exit, and tells its
maker what went wrong over a socket that closes at exec.
"""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]
import os
import stat

from redpak.engine.native import exec as program
from redpak.engine.native import rights, stdio, wire
from redpak.kernel import files, process, tty

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from redpak.engine.native.box import Box, Process
    from redpak.engine.native.tree import Tree

LAST_SIGNAL = 64
ENOSYS, EINVAL = 38, 22
PASSWD_BYTES = 1 << 20


class Job:
    """What the first process needs to know; everything in it is inherited by the fork."""

    def __init__(self, box: Box | None, task: Process) -> None:
        self.box = box
        self.task = task
        self.say = -1  # our end of the socket
        self.listener = -1  # the gate, -1: the maker opens it
        self.doors: tuple[int, ...] = ()  # of the cgroup
        self.stdio: tuple[int, int, int] | None = (0, 1, 2)
        self.preserve_fds = 0
        self.keep: list[int] = []  # leases: init holds them
        self.ready: dict[int, Tree | None] = {}
        self.nofile: tuple[int, int] | None = None
        self.dumpable = True  # until the maps are written
        self.parent = 0  # die with it; 0: live on
        self.null = -1  # /dev/null of the host, where there is neither a terminal nor standard descriptors
        self.user_space = False  # in a user namespace that is new or was joined
        # what was said before the process that it is about was known
        self.early: list[tuple[bytes, int]] = []
        self.confined = False  # the stage has become what the program may be, so the process is born as that
        self.own = (0, 0)  # our interpreter's file
        self.words = (0, 0)  # our command line in memory
        self.board = -1  # the springboard, where that file could be written by who runs inside
        self.shared = False  # no mount namespace of our own: what we mount has to be taken away again
        self.record = -1  # where the number of that mount is written down, while it is not attached
        self.space = (0, 0)  # which mount namespace it is then: device and inode
        self.root = (
            -1
        )  # to enter by chroot(2) where the process that is joined has no mount namespace of its own
        self.doing = wire.Doing()

    def warn(self, text: str) -> None:
        """Tell the maker what could not be done as asked."""
        wire.send(self.say, wire.WARNING + os.fsencode(text))


def main(job: Job, path: str = "") -> NoReturn:
    """Do everything; never returns. Exit code 125, 126 or 127 where no program could be started.

    With `path` a stage has done all but the last of it: that is the program's.
    """
    code = 125
    try:
        code = last(job, path) if path else _main(job)
    except BaseException as error:  # noqa: BLE001 - told to the maker
        packet = wire.failure(job.doing, error)
        if packet[1:4] in (b"126", b"127"):
            code = int(packet[1:4])
        try:
            wire.send(job.say, packet)
        except OSError:
            os._exit(code)  # nobody listens any more
    finally:
        os._exit(code)


def _main(job: Job) -> int:
    doing, box = job.doing, job.box
    process.retitle(job.words, b"redpak init")  # the host's paths are nobody's business in there
    doing.now("enter the cgroup")
    for door in job.doors:
        os.write(door, b"0")
        os.close(door)
    wire.send(job.say, wire.ROOM)
    state = _told(job)
    creating, _, created = state.partition(b"\0")
    if job.user_space:
        doing.now("become root of the user namespace")
        become_root()
    if box is not None:
        from redpak.engine.native import inside

        inside.furnish(box, job, creating, lambda: preload(job))
    else:
        preload(job)
    return last(job, confine(job), created)


def confine(job: Job) -> str:
    """Become what the program may be and have, and find it: return its path."""
    doing, task = job.doing, job.task
    process.dumpable(yes=False)
    doing.now("reset signals")
    reset_signals()
    if task.new_session and not job.confined:
        doing.now("make a session")
        os.setsid()
    stdio.give(job)
    if task.apparmor or task.selinux or task.smack:
        from redpak.engine.native import labels

        labels.give(task, doing)
    rights.keyring(task.keyring, doing, job.warn)
    rights.priorities(task, doing)
    if task.home:
        task = with_home(task)
        job.task = task
    # A stage is one process of the user's too: where it has made the program's, that one gets this limit.
    late = tuple(one for one in task.rlimits if job.confined and one.name == "nproc")
    rights.limits(task.but(rlimits=tuple(one for one in task.rlimits if one not in late)), doing, job.nofile)
    rights.drop(task, doing, job.warn, lambda: install(job))
    if task.no_new_privs and not filtered_last(task):
        install(job)
    process.dumpable(yes=False)  # a change of user set it to what fs.suid_dumpable says
    job.task = at_home(task, doing)
    if not program.inside():
        raise wire.Failed(f"the working directory '{task.cwd}' lies outside of the sandbox")
    doing.now("find", task.args[0])
    path = program.find(job.task)
    program.guard(path, job.own)
    return path


def filtered_last(task: Process) -> bool:
    """Tell whether the filters can be installed right before the program begins: none of them has to see more."""
    return task.no_new_privs and not any(one.listener for one in task.seccomp)


def last(job: Job, path: str, created: bytes = b"") -> int:
    """Wait at the gate, and become the program: what only the process itself can do."""
    doing, box, task = job.doing, job.box, job.task
    if job.confined:
        doing.now("make a session")
        if task.new_session:
            os.setsid()
            if task.terminal:
                tty.control(0)
        late = tuple(one for one in task.rlimits if one.name == "nproc")
        rights.limits(task.but(rlimits=late), doing, None)
    doing.now("start")
    if job.parent:
        die_with(job)
    wire.send(job.say, wire.READY)
    _told(job)
    # that was the word that we are on record: who makes us and dies before leaves nobody
    if job.listener >= 0:
        os.close(job.say)
        from redpak.engine.native import gate

        job.say = gate.accept(job.listener)
    if box is not None and box.hooks_start:
        from redpak.engine.native import hooks

        for hook in box.hooks_start:
            hooks.run(hook, "startContainer", created)
    if box is not None and box.init:
        return with_init(job, path, filtered=not filtered_last(task))
    execute(job, path, filtered=not filtered_last(task))


def preload(job: Job) -> None:
    """Import all that is needed when the host's files are out of reach, and nothing from then on.

    What a sandbox's own tree has at our module path must never become our code.
    """
    import sys

    task, box = job.task, job.box
    import select  # noqa: F401

    from redpak.kernel import procfs, seccomp  # noqa: F401

    if task.rlimits or job.nofile is not None:
        import resource  # noqa: F401
    if task.scope:
        from redpak.kernel import landlock  # noqa: F401
    if task.scheduler or task.io_priority >= 0:
        from redpak.kernel import schedule  # noqa: F401
    from redpak.kernel import caps  # noqa: F401

    if task.apparmor or task.selinux or task.smack:
        from redpak.engine.native import labels  # noqa: F401
    if job.listener >= 0:
        import _socket  # noqa: F401

        from redpak.engine.native import gate  # noqa: F401
    if box is not None:
        from redpak.engine.native import (  # noqa: F401
            beneath,
            inside,
            tree,
        )
        from redpak.kernel import mountinfo, newmount  # noqa: F401

        if box.hooks_start:
            from redpak.engine.native import hooks  # noqa: F401
        if box.init:
            from redpak.engine.native import init  # noqa: F401
        if box.locks:
            import fcntl  # noqa: F401
    sys.meta_path[:] = []  # nothing is found any more, whatever the path says


def execute(job: Job, path: str, *, filtered: bool) -> NoReturn:
    """Become the program."""
    last = 2 + job.preserve_fds
    job.doing.now("close descriptors")
    files.close_on_exec(tuple(range(3, last + 1)))
    for fd in range(3, last + 1):
        os.set_inheritable(fd, True)  # noqa: FBT003
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    if not filtered:
        install(job)
    job.doing.now("run", job.task.args[0])
    program.guard(path, job.own)  # it may be another one by now
    program.become(path, job.task, job.board)
    raise AssertionError("exec returned")


def with_init(job: Job, path: str, *, filtered: bool) -> int:
    """Fork the program, and be process 1 until it ends."""
    from redpak.engine.native import init

    box = job.box
    assert box is not None
    init.prepare()
    if not any(space.kind == "pid" for space in box.spaces):
        process.adopt_orphans()
    locks = [_lock(job, path) for path in box.locks]
    child = split(job, path, filtered=filtered)
    keep = {*locks, *job.keep}
    first = 0
    for fd in sorted(keep):
        if fd > first:
            _close(first, fd - 1)
        first = fd + 1
    _close(first)
    return init.run(child)


def split(job: Job, path: str, *, filtered: bool) -> int:
    """Fork the program, which dies with us.

    Not posix_spawn(3): the C library would have the program ignore the signals that it keeps for itself (32, 33).
    """
    mine = os.getpid()
    job.doing.now("start")
    child = os.fork()
    if child == 0:
        try:
            process.die_with_parent(signal.SIGKILL)
            if os.getppid() != mine:
                os._exit(125)
            execute(job, path, filtered=filtered)
        except BaseException as error:  # noqa: BLE001 - told to the maker
            packet = wire.failure(job.doing, error)
            wire.send(job.say, packet)
            os._exit(int(packet[1:4]) if packet[1:4].isdigit() else 125)
        finally:
            os._exit(125)
    return child


def _close(first: int, last: int = files.LAST_FD) -> None:
    try:
        files.close_range(first, last)
    except OSError as error:
        if error.errno != ENOSYS:
            raise
        os.closerange(first, min(last, os.sysconf("SC_OPEN_MAX")) + 1)


def _lock(job: Job, path: str) -> int:
    """Hold a read lock on a file of the sandbox. Such locks are not inherited: init takes them itself."""
    import fcntl

    job.doing.now("lock", path)
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    fcntl.lockf(fd, fcntl.LOCK_SH)
    return fd


def _told(job: Job) -> bytes:
    """Wait for the maker's word; what it says beyond that."""
    packet, handed = wire.receive(job.say)
    if packet[:1] != wire.GO:
        os._exit(125)  # it has gone, or has ended us
    return wire.long_body(packet, handed)


def die_with(job: Job) -> None:
    """End when the maker does, from now on; a change of user makes the kernel forget it."""
    process.die_with_parent(signal.SIGKILL)
    # in a pid namespace of our own the parent is 0; its socket tells whether it lives
    import select

    poll = select.poll()
    poll.register(job.say, 0)
    if any(kinds & (select.POLLHUP | select.POLLERR) for _, kinds in poll.poll(0)):
        os._exit(125)


def become_root() -> None:
    """Be uid and gid 0 of the user namespace, where these are mapped; all capabilities over it are ours anyway."""
    for become in (os.setresgid, os.setresuid):
        try:
            become(0, 0, 0)
        except OSError as error:
            if error.errno != EINVAL:  # which it is where 0 is not mapped
                raise


def reset_signals() -> None:
    """Let no signal be ignored, handled or blocked."""
    for number in range(1, LAST_SIGNAL + 1):
        try:
            signal.signal(number, signal.SIG_DFL)
        except (OSError, ValueError):
            continue  # KILL, STOP, and those that the C library keeps for itself
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def at_home(task: Process, doing: wire.Doing) -> Process:
    """Go to the working directory; with a choice of several, PWD names it."""
    if not task.cwd_from:
        doing.now("change to directory", task.cwd)
        os.chdir(task.cwd)
        return task
    for path in task.cwd_from:
        doing.now("change to directory", path)
        try:
            os.chdir(path)
        except OSError:
            if path == task.cwd_from[-1]:
                raise
            continue
        break
    others = tuple(one for one in task.environ if not one.startswith("PWD="))
    return task.but(cwd=path, environ=(*others, f"PWD={path}"))


def with_home(task: Process) -> Process:
    """Add HOME from the sandbox's own /etc/passwd."""
    home = "/"
    try:
        fd = os.open("/etc/passwd", os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        try:  # whatever the sandbox has put there
            text = os.read(fd, PASSWD_BYTES) if stat.S_ISREG(os.fstat(fd).st_mode) else b""
        finally:
            os.close(fd)
    except OSError:
        text = b""  # a sandbox without users
    for line in text.split(b"\n"):
        fields = line.split(b":")
        if len(fields) >= 6 and fields[2] == b"%d" % task.uid:
            home = os.fsdecode(fields[5]) or "/"
            break
    return task.but(environ=(*task.environ, f"HOME={home}"), home=False)


def install(job: Job) -> None:
    """Load the filters of system calls; the descriptor of one that asks a supervisor goes to the maker."""
    from redpak.kernel import seccomp

    job.doing.now("install the system call filter")
    for number, one in enumerate(job.task.seccomp):
        flags = one.flags | (seccomp.FLAG_NEW_LISTENER if one.listener else 0)
        fd = seccomp.load(one.program, flags)
        if one.listener:
            wire.send(job.say, wire.NOTIFY + str(number).encode(), fd)
            os.close(fd)
