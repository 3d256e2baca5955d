"""Control groups: limits as numbers (pure), and the groups that hold processes to them.

How others use it (everything is imported where it is used; nothing here is needed before a group is):

    from redpak.cgroup import resources, manager, family

    asked = resources.from_oci(config["linux"]["resources"])    # Resources; raises BadConfig with every fault
    asked = resources.from_plan(plan.limits)                    # ((member path, Resources), …), oldest member first

    boss = manager.find("auto")            # or "cgroupfs", "systemd", "none"; Refused where it is not there
    group = boss.create("/default/box1", asked)     # absolute: below each hierarchy's mount; relative: below ours
    group = boss.create("user.slice:redpak:box1", asked, pid=pid)        # systemd's way; its scope starts with `pid`
    group = family.enter(plan, label)      # a plan's nested groups, with its limits, and a leaf of this launch
    group.out_of_memory(plan.limits)       # "limit 512M, FILE:LINE" when the kernel killed a process, else ""
    family.problems(plan)                  # why its limits cannot be had here: looks, makes nothing
    family.sweep()                         # remove what killed supervisors left (each launch does it for its node)

    doors = group.doors()                  # open descriptors, close-on-exec: the new process, single-threaded, writes
                                           # b"0" to each, before it unshares the cgroup namespace
    group.clone_fd()                       # the version 2 directory for CLONE_INTO_CGROUP; -1 where there is none
    group.hold(), group.let_go()           # open the doors now: for who becomes another user before the start
    group.add(pid)                         # puts another process in
    group.update(asked)                    # new numbers; device rules stay when no rule is given
    group.freeze(), group.thaw(), group.frozen() -> bool
    group.kill(signal.SIGKILL)             # everything in it and below
    group.pids(recursive=True) -> list[int]
    group.stats() -> dict                  # what runc says under "data" of `events --stats`
    group.pressure() -> dict               # {"cpu": {"some": {"avg10": …}}, …}; {} where the kernel has none
    group.oom_killed() -> int              # processes killed for want of memory so far
    group.oom_watch() -> (fd, events)      # poll(2) it: something has happened with the memory
    group.remove()                         # idempotent; kills what is left
    group.paths                            # {"memory": "/sys/fs/cgroup/memory/default/box1", …, "": version 2}
    group.to_dict(), manager.load(dict) -> Group          # for state files

What entering costs: a write of a pid to `cgroup.procs` waits for an RCU grace period (4 to 8 ms); a process that
writes "0" to version 1's `tasks` files does not wait (0.1 ms for nine hierarchies), and neither does clone3(2) with
CLONE_INTO_CGROUP. So `doors()` are the `tasks` files, and with `doors(unified=True)` also version 2's
`cgroup.procs`, for those who could not clone into `clone_fd()`.

CLONE_NEWCGROUP in the same clone3(2) takes the group of the *calling* process as the namespace's root, even with
CLONE_INTO_CGROUP: the child has to enter first and unshare(2) the cgroup namespace by itself afterwards.
"""
