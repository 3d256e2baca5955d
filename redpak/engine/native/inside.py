"""Furnish the namespaces of a new sandbox: names, clocks, parameters, mounts, root, console."""

from __future__ import annotations

import os

from redpak.kernel import ns, process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from redpak.engine.native.box import Box
    from redpak.engine.native.child import Job

INITIAL_MAP = ["0", "0", "4294967295"]


def furnish(box: Box, job: Job, state: bytes, leave: Callable[[], None]) -> None:
    """Do everything between the birth of the first process and the loss of its rights.

    `leave` is called before the host's files are left behind.
    """
    doing = job.doing
    new = {space.kind for space in box.spaces if not space.path}
    # the program must not find our memory when it shares a pid namespace; an ordinary user's clocks need it readable
    if "time" in new:
        doing.now("set the clocks")
        ns.unshare(ns.CLONE_NEWTIME)
        if box.offsets:
            ns.set_offsets(list(box.offsets))
        fd = os.open("/proc/self/ns/time_for_children", os.O_RDONLY | os.O_CLOEXEC)
        ns.setns(fd, "time")
        os.close(fd)
    process.dumpable(yes=False)
    groups: tuple[tuple[str, str], ...] = ()
    if any(getattr(step, "fstype", "") == "cgroup" for step in box.steps):
        from redpak.engine.native import cgroups

        doing.now("look for the cgroups")
        groups = cgroups.ours()
    if "cgroup" in new:
        doing.now("make a cgroup namespace")
        ns.unshare(ns.CLONE_NEWCGROUP)
    if "net" in new:
        from redpak.kernel import net

        doing.now("set the loopback interface up")
        net.loopback_up()
    if box.hostname:
        from _socket import sethostname

        doing.now("set the host name", box.hostname)
        sethostname(box.hostname)
    if box.domainname:
        doing.now("set the domain name", box.domainname)
        ns.set_domain(box.domainname)
    if box.sysctl:
        from redpak.kernel import procfs

        proc = procfs.root()
        for name, value in box.sysctl:
            doing.now("set", name)
            procfs.sysctl(proc, name, value)
        os.close(proc)
    from redpak.engine.native.entries import UMASK
    from redpak.engine.native.root import Root

    with open("/proc/self/uid_map", encoding="ascii") as file:
        initial = file.read().split() == INITIAL_MAP
    root = Root(box, job, initial_user=initial)
    umask = os.umask(UMASK)
    from redpak.engine.native.child import die_with

    die_with(job)  # for now: a mount or a hook may hang when nobody waits for us any more
    root.build(groups)
    if job.stdio is None:
        job.null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    if box.hooks_create:
        from redpak.engine.native import hooks

        for hook in box.hooks_create:
            doing.now("run hook", hook.path, hook.because)
            hooks.run(hook, "createContainer", state)
    # now, as the root may become read-only
    from redpak.engine.native import beneath

    if box.make_cwd:
        doing.now("make the working directory", box.process.cwd)
        os.close(beneath.place(root.fd, box.process.cwd, directory=True))
    if box.process.terminal:
        doing.now("make", "/dev/console")
        os.close(beneath.place(root.fd, "/dev/console", directory=False, links=False))
    leave()
    proc = -1
    if box.nested:
        from redpak.kernel import procfs

        proc = procfs.root()  # the host's: the sandbox may have none
    root.enter()
    if box.nested:
        doing.now("make the inner user namespace")
        nest(proc, box.nested)
        os.close(proc)
    os.umask(umask)
    process.die_with_parent(0)


def nest(proc: int, ids: tuple[int, int]) -> None:
    """Enter a user namespace in which 0 of ours has other numbers; `proc` is a procfs that knows us."""
    from redpak.kernel import procfs

    ns.unshare(ns.CLONE_NEWUSER)
    process.dumpable(yes=True)  # or the files of our own maps would belong to the host's root
    procfs.write(proc, "self/uid_map", f"{ids[0]} 0 1\n".encode())
    procfs.write(proc, "self/gid_map", f"{ids[1]} 0 1\n".encode())
    process.dumpable(yes=False)


def console(slave: int) -> None:
    """Show the terminal at /dev/console, over no symlink."""
    from redpak.engine.native import beneath, tree
    from redpak.kernel import newmount
    from redpak.kernel.mount import MS_PRIVATE

    root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        target = beneath.place(root, "/dev/console", directory=False, links=False)
        with tree.clone_tree(slave, recursive=False) as made:
            made.set(newmount.MOUNT_ATTR_NOSUID | newmount.MOUNT_ATTR_NOEXEC, propagation=MS_PRIVATE)
            made.attach(target)
            if not beneath.same(root, "/dev/console", made.fd, links=False):
                raise OSError(116, "the place of the console was moved meanwhile", "/dev/console")
        os.close(target)
    finally:
        os.close(root)
