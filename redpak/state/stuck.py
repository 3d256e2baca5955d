"""Bubblewraps that wait for ever: their parent was killed between making them and its word to go on.

Bubblewrap's first process inside asks to die with its parent only after that word (bubblewrap.c: main), so a SIGKILL at
that moment leaves it behind, with the descriptors and the control group of the launch. It has started nothing, and
nobody can give the word any more: it is ended here.
"""

from __future__ import annotations

import os
import signal
import time

from redpak.state import proc

PROGRAM = "bwrap"
OLD_S = 5.0  # a younger one may only be slow


def found() -> list[proc.Pid]:
    """Return those of this user that redpak started."""
    now = time.time()
    return [
        one
        for pid in proc.every()
        if _waits(pid) and (one := proc.known(pid)) is not None and now - proc.since_epoch(one.start) >= OLD_S
    ]


def _waits(pid: int) -> bool:
    """Tell whether a process is bubblewrap's process 1, has no child, and no bubblewrap above that could tell it to.

    redpak starts it with no variables at all and with its words in a file.
    """
    if os.path.basename(proc.program(pid)) != PROGRAM or proc.owner(pid) != os.geteuid():
        return False
    numbers = proc.status(pid).get("NSpid", "").split()
    at = proc.stat(pid)
    if len(numbers) < 2 or numbers[-1] != "1" or at is None or at.state in "ZX" or proc.children(pid):
        return False
    ours = "--args" in proc.words(pid, "cmdline") and not proc.words(pid, "environ")
    return ours and os.path.basename(proc.program(at.parent)) != PROGRAM


def end() -> int:
    """Kill them; return how many that were."""
    count = 0
    for one in found():
        try:
            fd = proc.opened(one)
        except ProcessLookupError:
            continue
        try:
            signal.pidfd_send_signal(fd, signal.SIGKILL)
            count += 1
        except (ProcessLookupError, PermissionError):
            continue
        finally:
            os.close(fd)
    return count
