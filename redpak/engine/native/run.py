"""Start a plan with the native engine, in the foreground: exit code, signals, terminal and job control come through."""

from __future__ import annotations

import os

from redpak import log
from redpak.engine import bwrap, host
from redpak.engine.spec import Blob, LaunchSpec
from redpak.errors import Refused, Usage
from redpak.plan.ops import Bind

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from redpak.engine.host import Host
    from redpak.engine.native.box import Box
    from redpak.engine.run import Options
    from redpak.plan.model import Plan

SIGNALLED = 128


def start(plan: Plan, options: Options) -> int:
    """Start a plan and return its program's exit code; see `engine.run.run`."""
    from redpak.engine import announce, run

    if not plan.command:
        raise Usage("there is no program to run", hint="Write it behind '--'.")
    run.cover_stdio()
    run.close_on_exec()
    here = host.look(options.bwrap, without=True)
    spec = lowered(plan, here, options) if known(plan) else None
    if spec is not None and helped(spec):
        return run.launch(plan, options.but(native=True), spec, options.lowered)
    spec = prepared(plan, options, here, spec)
    group = None
    if spec.limits:
        from redpak.cgroup import family

        group = family.enter(plan)
    remover: Any = None
    try:
        if group is not None and (spec.become != (-1, -1) or spec.joins):
            from redpak.engine import limited

            group.hold()
            remover = limited.Remover(group)
        box = boxed(spec, plan)
        run.flush()
        with announce.noted(plan, spec, "native") as record:
            code = foreground(box, spec, group)
            record.ended(code)
            why = group.out_of_memory(plan.limits) if group is not None else ""
            if why:
                record.out_of_memory(why)
                log.warn(f"a process of node '{plan.node}' was killed for want of memory ({why})")
    finally:
        if group is not None:
            group.let_go()
        if remover is not None:
            remover.end()
        elif group is not None:
            group.remove()
    return code


def known(plan: Plan) -> bool:
    """Tell whether the source of every mount is known; a command of the configuration says the others."""
    return all(op.src.literal is not None for op in plan.mounts if isinstance(op, Bind))


def helped(spec: LaunchSpec) -> bool:
    """Tell whether redpak-join can make this sandbox: the same in C, for what most plans ask."""
    from redpak.engine import prepared

    return bool(prepared.helper()) and not prepared.why_not(spec)


def lowered(plan: Plan, here: Host, options: Options) -> LaunchSpec:
    """Return the LaunchSpec of a plan. Raises Refused with every reason why there is none."""
    return bwrap.lower(plan, here, force=options.force, strict=options.strict)


def prepared(
    plan: Plan, options: Options, here: Host | None = None, spec: LaunchSpec | None = None
) -> LaunchSpec:
    """Return the settled LaunchSpec of a plan: everything is refused that cannot be, nothing is left to evaluate.

    `here` and `spec` are the host and the lowered plan, where they are known already.
    """
    from redpak.engine import run

    here = here or host.look(options.bwrap, without=True)
    if not known(plan):
        from redpak.engine import commands

        lowered(plan, here, options)
        _can_confine(here.bwrap)
        plan, spec = commands.settle_sources(plan, here.bwrap), None
    spec = spec or lowered(plan, here, options)
    run.make_ready(plan, spec)
    if options.lowered is not None:
        options.lowered(plan, spec)
    spec = run.inherit(spec)
    if not run.settled(spec):
        from redpak.engine import commands

        _can_confine(here.bwrap)
        spec = commands.settle(spec)
    return spec


def _can_confine(program: str) -> None:
    if not program:
        hint = "Install the package 'bubblewrap', or remove the commands from the configuration."
        raise Refused("commands of a configuration run inside bwrap, and there is none", hint=hint)


def boxed(spec: LaunchSpec, plan: Plan) -> Box:
    """Return the Box; this process joins and becomes what the plan says on the way."""
    from redpak.engine import run
    from redpak.engine.native import lower

    contents = {number: _content(number) for number in spec.keep}
    for number, one in spec.numbered():
        if isinstance(one, Blob):
            contents[number] = os.fsencode(one.content.literal or "")
    import signal

    # what becomes of this process's user decides about the rest, so everything is imported before
    from redpak.engine.native import (  # noqa: F401
        beneath,
        binds,
        child,
        init,
        inside,
        maps,
        rights,
        root,
        stage,
        start,
        tree,
    )

    joined = run.enter(spec.but(newtime=False, smack=""))
    nohup = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    box = lower.box(spec, plan.node, contents, joined, own_session=nohup)
    return box.but(process=box.process.but(smack=spec.smack)) if spec.smack else box


def _content(fd: int) -> bytes:
    parts = []
    while part := os.read(fd, 1 << 16):
        parts.append(part)
    return b"".join(parts)


def foreground(box: Box, spec: LaunchSpec, group: Any = None) -> int:
    """Make the sandbox, stand in for its program until that ends, and return the exit code."""
    import signal

    from redpak.engine import supervise
    from redpak.engine.native import start as native

    nohup = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    terminal = supervise.Terminal()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, supervise.CAUGHT)
    try:
        if spec.become != (-1, -1):
            from redpak.kernel import process

            process.dumpable(yes=True)  # or the maps of a process of ours could be written by root alone
            running = native.create(box, cgroup=group)
            process.dumpable(yes=False)
        else:
            running = native.create(box, cgroup=group)
        try:
            for warning in running.warnings:
                log.warn(warning)
            running.release()
            # our child is process 1, and the program is its first child
            how = spec.but(pidns=False)
            status = supervise.wait(running.pid, how, session=box.process.new_session, nohup=nohup)
        finally:
            running.close()
    finally:
        terminal.restore()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else SIGNALLED - code
