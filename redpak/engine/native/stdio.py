"""The program's standard descriptors. Runs in the sandbox, between fork and exec, as child.py does."""

from __future__ import annotations

import os

from redpak.engine.native import wire
from redpak.kernel import tty

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.engine.native.child import Job


def give(job: Job) -> None:
    """Give the program its standard descriptors: a terminal of the sandbox's own, those of the caller, or none."""
    doing, task = job.doing, job.task
    if task.terminal:
        doing.now("make the terminal")
        slave = _make(job)
        if task.new_session and not job.confined:
            tty.control(slave)
        for fd in (0, 1, 2):
            os.dup2(slave, fd)
        os.close(slave)
        return
    if job.stdio is None:
        doing.now("open", "/dev/null")
        for fd in (0, 1, 2):
            os.dup2(job.null, fd)
        return
    doing.now("hand over standard input and output")
    moved = [os.dup(fd) if fd != number else fd for number, fd in enumerate(job.stdio)]
    for number, fd in enumerate(moved):
        if fd != number:
            os.dup2(fd, number)
    for number in (0, 1, 2):
        os.set_inheritable(number, True)  # noqa: FBT003


def _make(job: Job) -> int:
    """Make a pair in the sandbox's own devpts; the master goes to the maker. Returns the slave."""
    task = job.task
    master, slave, _ = tty.open_pair("/dev/pts/ptmx")
    if task.rows or task.columns:
        tty.set_size(slave, task.rows, task.columns)
    try:
        os.fchown(slave, task.uid, -1)
    except OSError:
        pass  # a user that is not mapped: mode 0620 for the owner has to do
    wire.send(job.say, wire.CONSOLE, master)
    os.close(master)
    if job.box is not None:
        from redpak.engine.native import inside

        inside.console(slave)
    return slave
