"""Join namespaces on the way: a short-lived process that enters them and makes the first process as its own sibling.

A process is in a joined pid namespace only by being born there, and the rights over a namespace may come with the user
namespace that is joined beside it. The maker itself stays where it is.

Whoever runs in that namespace with CAP_SYS_PTRACE (capabilities(7)), and no user namespace between, may take over any
process in it, dumpable or not. So what is put into a running sandbox is born there with no more than its program may
have: the stage gives up all other rights first. It cannot where a filter asks a supervisor, which wants to know the
process, or forbids to make one, or where the kernel keeps a label for the program: then the process does it itself, as
it has to in a sandbox that is new; it never has the host's tree in there.
"""

from __future__ import annotations

import os

from redpak.engine.native import wire
from redpak.errors import LaunchFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.engine.native.box import Process, Space
    from redpak.engine.native.child import Job

ORDER = ("cgroup", "ipc", "net", "time", "uts", "mount", "pid", "user")
ENOSYS = 38


def clone(
    job: Job, name: str, ours: int, flags: int, cgroup_fd: int, target: int, kinds: int
) -> tuple[int, int]:
    """Return pid and pidfd of the first process; it is a child of ours. Raises what went wrong on the way."""
    job.confined = job.box is None and _may(job.task)
    if (
        job.confined and cgroup_fd >= 0 and os.geteuid() == 0
    ):  # the process will be in the group with its stage
        from redpak.kernel import clone as birth

        pid, fd = birth.clone(cgroup=cgroup_fd)
        cgroup_fd = -1
        if pid:
            os.close(fd)
    else:
        pid = os.fork()
    if pid == 0:
        code = 125
        try:
            os.close(ours)
            _stage(job, flags, cgroup_fd, target, kinds)
            code = 0
        except BaseException as error:  # noqa: BLE001 - told to the maker
            wire.send(job.say, wire.failure(job.doing, error))
        finally:
            os._exit(code)
    packet, pidfd = wire.receive(ours)
    while packet and packet[:1] not in (wire.BORN, wire.FAILED):
        job.early.append((packet, pidfd))
        packet, pidfd = wire.receive(ours)
    os.waitpid(pid, 0)
    if packet[:1] == wire.BORN and pidfd >= 0:
        return int(packet[1:]), pidfd
    for _, handed in job.early:
        if handed >= 0:
            os.close(handed)
    if packet[:1] == wire.FAILED:
        raise wire.error_of(packet, name)
    raise LaunchFailed(f"cannot join the namespaces of '{name}': the stage ended without a word")


def _stage(job: Job, flags: int, cgroup_fd: int, target: int, kinds: int) -> None:
    from redpak.engine.native import child, start
    from redpak.kernel import clone as birth
    from redpak.kernel import ns, process

    doing, box = job.doing, job.box
    makes_user = bool(flags & ns.CLONE_NEWUSER)
    if job.confined:
        start.raise_limits(job.task, 0)
    _enter_groups(job)
    if not makes_user or os.geteuid() == 0:
        process.dumpable(yes=False)  # from here on processes in there may see us
    # From inside of its cgroup namespace no child could be born in a group that lies in it: we do not (ENOENT where
    # version 2 is mounted with nsdelegate, cgroup-v2.rst "Delegation Containment"). So the child goes there itself.
    # Its user namespace goes with it: once in there we may have no rights over the former, which may be an outer one's.
    later = kinds & ns.CLONE_NEWCGROUP if target >= 0 and cgroup_fd >= 0 else 0
    if later and os.geteuid() == 0:
        later |= kinds & ns.CLONE_NEWUSER
    elif later or (job.confined and cgroup_fd >= 0):  # an ordinary user has no right to do so afterwards
        doing.now("enter the cgroup")
        door = os.open("cgroup.procs", os.O_WRONLY | os.O_CLOEXEC, dir_fd=cgroup_fd)
        os.write(door, b"0")
        os.close(door)
        later, cgroup_fd = 0, -1
    if target >= 0:
        _enter(job, target, kinds & ~later)
    elif box is not None:
        _join(job)
    path = ""
    if job.confined:
        process.retitle(job.words, b"redpak init")
        for fd in (*job.doors, target, job.root):  # nothing of the host's goes along
            if fd >= 0:
                os.close(fd)
        job.doors = ()
        if job.user_space:
            doing.now("become root of the user namespace")
            child.become_root()
        path = child.confine(job)
    doing.now("make the namespaces")
    pid, pidfd = birth.clone(flags | birth.CLONE_PARENT, cgroup=cgroup_fd)
    if pid == 0:
        job.doors = ()
        if later:
            doing.now("join the cgroup namespace")
            ns.join(target, later)
        child.main(job, path)
    wire.send(job.say, wire.BORN + str(pid).encode(), pidfd)


def _may(task: Process) -> bool:
    """Tell whether a stage can take on the program's rights: whether it can make one more process then."""
    if task.apparmor or task.selinux or task.smack or any(one.listener for one in task.seccomp):
        return False
    if task.no_new_privs or not task.seccomp:
        return True  # the process itself installs them
    from redpak.kernel import bpf, libc
    from redpak.kernel.clone import CLONE_PARENT, CLONE_PIDFD

    arch = bpf.ARCHITECTURES.get(os.uname().machine)
    if arch is None:
        return False
    for name, flags in (("clone3", 0), ("clone", CLONE_PARENT | CLONE_PIDFD)):
        number = libc.number(name)
        said = {bpf.run(one.program, number, arch, (flags,)) for one in task.seccomp}
        if said <= {bpf.RET_ALLOW, bpf.RET_LOG}:
            return True
        if not said <= {bpf.RET_ALLOW, bpf.RET_LOG, bpf.RET_ERRNO | ENOSYS}:
            return False  # to a call that is not there clone(2) is the answer
    return False


def _enter_groups(job: Job) -> None:
    """Go to the processors and into the control groups, while the host's tree and rights are there."""
    doing = job.doing
    if job.box is None:
        from redpak.engine.native import start

        doing.now("set oom_score_adj")
        start.score(job.task, "self")  # an ordinary user's file is root's once it may not be looked into
    if job.task.cpu_affinity_first:
        doing.now("set the processors to begin with")
        os.sched_setaffinity(0, job.task.cpu_affinity_first)
    for door in job.doors:
        doing.now("enter the cgroup")
        os.write(door, b"0")


def _enter(job: Job, target: int, kinds: int) -> None:
    """Join namespaces and root of a running process."""
    from redpak.engine.native import child
    from redpak.kernel import ns

    doing = job.doing
    child.preload(job)  # from here on our modules would be looked for in the sandbox's tree
    doing.now("join the namespaces of the process")
    if kinds:
        ns.join(target, kinds)
    if job.root >= 0:
        doing.now("enter the root of the process")
        os.fchdir(job.root)
        os.chroot(".")
        os.chdir("/")


def _join(job: Job) -> None:
    """Join what the box names: each when we may, at the latest when its user namespace is joined."""
    from redpak.engine.native import child
    from redpak.kernel import ns

    box, doing = job.box, job.doing
    assert box is not None
    wanted: dict[str, Space] = {space.kind: space for space in box.spaces if space.path}
    opened: list[tuple[str, int]] = []
    for kind in ORDER:
        if kind in wanted:
            doing.now(f"open the {kind} namespace", wanted[kind].path, wanted[kind].because)
            opened.append((kind, os.open(wanted[kind].path, os.O_RDONLY | os.O_CLOEXEC)))
    if "mount" in wanted:
        from redpak.engine.native import shared

        shared.preload()
        child.preload(job)
        at = os.fstat(dict(opened)["mount"])
        job.space = at.st_dev, at.st_ino
    mine = os.stat("/proc/self/ns/user")  # while this /proc is the host's
    later: list[tuple[str, int]] = []
    for kind, fd in opened:
        doing.now(f"join the {kind} namespace", wanted[kind].path, wanted[kind].because)
        if kind == "user":
            if os.path.samestat(os.fstat(fd), mine):
                continue  # it is ours already
            ns.setns(fd, kind)
            continue
        try:
            ns.setns(fd, kind)
        except PermissionError:
            if "user" not in wanted:
                raise
            later.append((kind, fd))
    for kind, fd in later:
        doing.now(f"join the {kind} namespace", wanted[kind].path, wanted[kind].because)
        ns.setns(fd, kind)
