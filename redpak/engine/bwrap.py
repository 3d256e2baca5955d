"""Plan → LaunchSpec: what bubblewrap (0.8 and newer) is told. Looks at the host, changes and starts nothing."""

from __future__ import annotations

import os

from redpak.engine import isolation, mounts, seccomp
from redpak.engine.lowering import Lowering, Unfit
from redpak.engine.spec import Blob, LaunchSpec, Value
from redpak.origin import DEFAULT
from redpak.plan.ops import Lock
from redpak.text import Run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.engine.host import Host
    from redpak.plan.model import Plan

WORD_BYTES = 131072  # MAX_ARG_STRLEN of execve(2), with the final NUL


def lower(plan: Plan, host: Host, *, force: bool = False, strict: bool = False) -> LaunchSpec:
    """Return how bwrap carries out `plan` on `host`. Raises Unfit with all reasons at once.

    `force` leaves mounts out whose source is missing (or, in a node's own tree, has its directory made); `strict`
    refuses what otherwise only gets a note.
    """
    work = Lowering(plan, host, force=force, strict=strict)
    isolation.identity(work)
    mounts.mounts(work)
    isolation.environ(work)
    isolation.rights(work)
    isolation.limits(work)
    isolation.isolation(work)
    isolation.joins(work)
    isolation.groups(work)
    return finished(work)


def command_line(spec: LaunchSpec) -> list[str]:
    """Return the words of the equivalent bwrap command, for people; see `shell`."""
    from redpak.engine import shell

    return shell.command_line(spec)


def shell_line(spec: LaunchSpec) -> str:
    """Return one line for bash that runs the equivalent bwrap command; see `shell`."""
    from redpak.engine import shell

    return shell.shell_line(spec)


def runs_commands(work: Lowering) -> bool:
    """Tell whether a command has to run before the program starts."""
    texts = [one.content for one in (*work.args, *work.descriptors) if isinstance(one, (Value, Blob))]
    return any(isinstance(part, Run) for value in texts for part in value.parts)


def finished(work: Lowering) -> LaunchSpec:
    """Return the result. Raises Unfit."""
    plan = work.plan
    for word in (*work.args, *plan.command):
        if isinstance(word, str) and ("\0" in word or len(word) * 4 >= WORD_BYTES <= len(os.fsencode(word))):
            hint = "Remove the NUL byte, or make it shorter than 128 KiB."
            work.refuse(f"'{word[:40]}…' cannot be passed to a program", hint, DEFAULT)
    if work.reasons:
        raise Unfit(plan.node, tuple(work.reasons))
    umask = plan.choice("umask")
    confine = plan.profile == "sealed"
    command_filter = b""
    if confine and runs_commands(work) and seccomp.supported():
        command_filter = seccomp.build(no_sockets=seccomp.AWAY)
    return LaunchSpec(
        bwrap=work.host.bwrap,
        args=tuple(work.args),
        descriptors=tuple(work.descriptors),
        keep=tuple(sorted(work.keep)),
        program=plan.command,
        scope=bool(plan.choice("scope")),
        # With a reaper of its own the sandbox's first process is not the program but its parent.
        pidns=plan.namespace("pid").mode == "new" or any(isinstance(op, Lock) for op in plan.mounts),
        newsession=bool(plan.choice("new-session")),
        inherit_env=bool(plan.choice("inherit-env")),
        uid=work.host.uid,
        gid=work.host.gid,
        files=(*plan.files, *work.listed),
        seccomp=work.filter,
        seccomp_path=work.filter_path,
        confine=confine,
        command_filter=command_filter,
        command_filter_path=seccomp.path_of(command_filter, work.host.cache) if command_filter else "",
        become=work.become,
        umask=int(umask) if isinstance(umask, int) else -1,
        rlimits=plan.rlimits,
        limits=plan.limits,
        joins=tuple(work.joined),
        newtime=plan.namespace("time").mode == "new",
        smack=str(plan.choice("smack")),
        leases=tuple(work.leases),
        create=tuple(work.create),
        notes=tuple(work.notes),
    )
