"""A small process 1: waits for the program, reaps what is left to it, hands signals on, ends as the program did.

It is a fork of the maker that never executes anything: nothing of it can be read (not dumpable), it holds no
descriptor but leases and locks, and no right that the program lacks.
"""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]
import os

from redpak.kernel import process

KEPT = frozenset(
    {signal.SIGKILL, signal.SIGSTOP, 32, 33}
)  # nobody can hand these on, or the C library keeps them
# What the kernel sends for faults of our own is not for the program.
FAULTS = frozenset(
    {signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGTRAP, signal.SIGSYS}
)
TERMINAL = frozenset({signal.SIGTTIN, signal.SIGTTOU, signal.SIGTSTP})
ALL = signal.valid_signals() - KEPT
HANDED_ON = ALL - FAULTS - TERMINAL - {signal.SIGCHLD}


def prepare() -> None:
    """Block every signal, before the program is forked: none is lost. The program unblocks its own."""
    signal.pthread_sigmask(signal.SIG_BLOCK, ALL)


def run(program: int) -> int:
    """Be process 1 for the child `program`; returns its exit code, 128 + n when signal n ended it."""
    process.rename("redpak-init")
    process.dumpable(yes=False)
    while True:
        info = signal.sigwaitinfo(ALL)
        if _for_it(info, program):
            try:
                # the kernel ignores SIGTSTP for a session that has no terminal
                alone = info.si_signo == signal.SIGTSTP and os.getsid(program) == program
                os.kill(program, signal.SIGSTOP if alone else info.si_signo)
            except ProcessLookupError:
                pass  # it has just ended: seen below
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return 0  # cannot be: the program is ours until it is waited for
            if pid == 0:
                break
            if pid == program:
                code = os.waitstatus_to_exitcode(status)
                return code if code >= 0 else 128 - code


def _for_it(info: signal.struct_siginfo, program: int) -> bool:
    """Tell whether a signal is to be handed on. That comes from outside which has no number in here."""
    if info.si_signo == signal.SIGTSTP:
        return bool(info.si_code <= 0 and info.si_pid == 0)
    return info.si_signo in HANDED_ON and not (info.si_code > 0 and _same_group(program))


def _same_group(program: int) -> bool:
    """Tell whether what the terminal sent us it sent the program as well."""
    try:
        return os.getpgid(program) == os.getpgrp()
    except OSError:
        return True
