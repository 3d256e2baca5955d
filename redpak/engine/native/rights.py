"""Give up rights: from the maker of a sandbox to what its Process may be. Runs in the sandbox, after its root is there.

The order is that of capabilities(7) and prctl(2): limits and priorities, while they may still be set; the bounding set;
groups and user with the permitted capabilities kept; the other sets; no_new_privs; Landlock; the filters.
"""

from __future__ import annotations

import os

from redpak.engine.native.wire import Failed
from redpak.kernel import process as own
from redpak.kernel import rights

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from redpak.engine.native.box import Process
    from redpak.engine.native.wire import Doing

ENOSYS, EPERM, EACCES = 38, 1, 13
SECBIT_KEEP_CAPS = 1 << 4

LOCKS = 10  # RLIMIT_LOCKS, which Python has no name for (asm-generic/resource.h)


def limits(process: Process, doing: Doing, nofile: tuple[int, int] | None) -> None:
    """Set resource limits; `nofile` is what the caller's was before the maker raised it."""
    if not process.rlimits and nofile is None:
        return
    import resource

    if nofile is not None:
        resource.setrlimit(resource.RLIMIT_NOFILE, nofile)
    for one in process.rlimits:
        doing.now("limit", one.name)
        number = LOCKS if one.name == "locks" else getattr(resource, "RLIMIT_" + one.name.upper(), None)
        if number is None:
            raise Failed(f"'{one.name}' is no resource limit")
        try:
            resource.setrlimit(number, (one.soft, one.hard))
        except ValueError as error:
            raise Failed(f"cannot limit '{one.name}' to {one.soft}:{one.hard}: {error}") from error


def priorities(process: Process, doing: Doing) -> None:
    """Set what decides over processor and disk, and the execution domain."""
    if process.scheduler:
        from redpak.kernel import schedule

        doing.now("set the scheduler")
        given = {key.removeprefix("sched_"): value for key, value in process.scheduler}
        for key in ("runtime", "deadline", "period"):
            if key in given:
                given[f"{key}_ns"] = given.pop(key)
        schedule.set_scheduler(given.pop("policy", 0), **given)
    if process.io_priority >= 0:
        from redpak.kernel import schedule

        doing.now("set the priority of input and output")
        schedule.set_io_priority(process.io_priority)
    if process.cpu_affinity:
        doing.now("set the processors")
        os.sched_setaffinity(0, process.cpu_affinity)
    if process.personality >= 0:
        doing.now("set the personality")
        own.personality(process.personality)


def keyring(name: str, doing: Doing, warn: Callable[[str], None]) -> None:
    """Leave the caller's session keyring; "" stays in it."""
    if not name:
        return
    doing.now("make a session keyring")
    try:
        own.new_session_keyring("" if name == "_" else name)
    except OSError as error:
        if error.errno == ENOSYS:
            return  # a kernel without keys
        if error.errno not in (EPERM, EACCES):
            raise
        # a filter around us forbids keyctl(2): then nobody in here can use keys either
        warn(f"the session keyring cannot be left: {(error.strerror or '').lower()}")


def drop(process: Process, doing: Doing, warn: Callable[[str], None], filters: Callable[[], None]) -> None:
    """Become the process's user with its capabilities; `filters` is called while they may still be installed."""
    wanted = process.caps
    doing.now("read the capabilities")
    permitted = rights.caps()[1]
    possible = rights.bounding() if any(wanted.values()) else 0
    told = (wanted.permitted | wanted.effective | wanted.bounding) & ~(permitted & possible)
    if told:
        from redpak.kernel import caps

        names = " ".join(name for name in caps.NAMES if caps.bit(name) & told) or hex(told)
        warn(f"not to be had here: {names}")
    doing.now("drop capabilities from the bounding set")
    rights.drop_bounding(wanted.bounding)
    if process.securebits:
        doing.now("set the secure bits")
        rights.set_securebits(process.securebits)
    groups, gids, uids = os.getgroups(), os.getresgid(), os.getresuid()  # a filter may forbid to ask
    if not process.no_new_privs:
        filters()
    doing.now("keep capabilities")
    locked = bool(rights.securebits() & (SECBIT_KEEP_CAPS << 1))
    if not locked:
        rights.keep_over_setuid(yes=True)
    doing.now("set the groups")
    if tuple(groups) != process.groups:
        try:
            os.setgroups(process.groups)
        except PermissionError:
            # a user namespace that forbids it: what is left means nothing in there, but must not be asked for
            if process.groups:
                raise
    doing.now("become group", str(process.gid))
    if gids != (process.gid,) * 3:
        os.setresgid(process.gid, process.gid, process.gid)
    doing.now("become user", str(process.uid))
    if uids != (process.uid,) * 3:
        os.setresuid(process.uid, process.uid, process.uid)
    if not locked:
        rights.keep_over_setuid(yes=False)
    doing.now("set the capabilities")
    keep = wanted.permitted & permitted
    # CAP_SETPCAP lets the inheritable set grow to the bounding set; it goes last
    may = rights.caps()[1] if locked else permitted
    rights.set_caps(
        keep & wanted.effective & may, keep & may, wanted.inheritable & may & possible & wanted.bounding
    )
    ambient = wanted.ambient & keep & wanted.inheritable
    rights.set_ambient(ambient)
    if process.no_new_privs:
        doing.now("forbid new privileges")
        own.no_new_privileges()
    if process.scope:
        from redpak.kernel import landlock

        doing.now("scope signals and sockets")
        landlock.scope()
    if process.umask >= 0:
        os.umask(process.umask)
