"""Start bwrap in the control groups of the plan's family, and remove them afterwards. Always by Python: see `spec`."""

from __future__ import annotations

import os
import signal

from redpak import log
from redpak.cgroup import family
from redpak.engine import run, supervise
from redpak.engine.announce import noted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.cgroup.family import FamilyGroup
    from redpak.engine.spec import LaunchSpec
    from redpak.plan.model import Plan


def start(plan: Plan, spec: LaunchSpec) -> int:
    """Start a settled LaunchSpec and return the program's code.

    Raises CannotLimit (exit code 3) before anything is started, and what `run.start` raises.
    """
    group = family.enter(plan)
    remover: Remover | None = None
    try:
        group.hold()
        if spec.become != (-1, -1) or spec.joins:
            remover = Remover(group)
        joined = run.enter(spec)
        run.limit(spec)
        run.flush()
        with noted(plan, spec) as record:
            ended = supervise.supervise(spec, joined, group.held)
            record.ended(ended.code)
            why = group.out_of_memory(plan.limits)
            if why:
                record.out_of_memory(why)
                log.warn(f"a process of node '{plan.node}' was killed for want of memory ({why})")
    finally:
        group.let_go()
        if remover:
            remover.end()
        else:
            group.remove()
    if ended.code is not None:
        return ended.code
    from redpak.engine.failed import explained

    raise explained(plan, ended.bwrap, spec.engine)


class Remover:
    """A process that removes the groups when we end: we are about to become somebody who may not."""

    def __init__(self, group: FamilyGroup) -> None:
        reader, self.writer = os.pipe2(os.O_CLOEXEC)
        self.pid = os.fork()
        if self.pid:
            os.close(reader)
            return
        try:
            signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
            os.close(self.writer)
            group.let_go()
            os.read(reader, 1)  # ends when nobody has the other end any more
            group.remove()
        finally:
            os._exit(0)

    def end(self) -> None:
        """Let it remove them now, and wait for it."""
        os.close(self.writer)
        os.waitpid(self.pid, 0)
