"""Labels of security modules: what a program is confined by from its exec on, told to the kernel right before.

Runs in the sandbox, after its root is there. Source: the kernel's Documentation/admin-guide/LSM, proc_pid_attr(5),
aa_change_onexec(2), setexeccon(3), setkeycreatecon(3). A write that went somewhere else would leave the program
unconfined in silence (CVE-2019-16884, CVE-2025-52881). So it goes to a procfs that is attached nowhere, over which
nobody can have put anything; where we may not make one, to the sandbox's own, if that is what it seems.
"""

from __future__ import annotations

import errno
import os

from redpak.engine.native.wire import Failed
from redpak.kernel import newmount, procfs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.engine.native.box import Process
    from redpak.engine.native.wire import Doing

HIDDEN = (errno.EXDEV, errno.ELOOP)


def give(process: Process, doing: Doing) -> None:
    """Set the labels that the program gets at its exec, and SELinux's for the session keyring that is made next.

    Raises Failed where the module or the label is not there, OSError where the kernel forbids it.
    """
    doing.now("open procfs to set the labels")
    proc = _procfs()
    try:
        if label := process.apparmor:
            doing.now("set the AppArmor profile", label)
            places = ("attr/apparmor/exec", "attr/exec")  # the latter before Linux 5.8
            unknown = f"the AppArmor profile '{label}' is not loaded on this host"
            _write(proc, places, f"exec {label}", "AppArmor", {errno.ENOENT: unknown})
        if label := process.selinux:
            unknown = f"'{label}' is no label in this host's SELinux policy"
            doing.now("set the SELinux label", label)
            _write(proc, ("attr/exec",), label, "SELinux", {errno.EINVAL: unknown})
            if process.keyring:
                doing.now("set the SELinux label of the session keyring", label)
                _write(proc, ("attr/keycreate",), label, "SELinux", {})
        if label := process.smack:
            doing.now("set the SMACK label", label)
            _write(proc, ("attr/smack/current", "attr/current"), label, "SMACK", {})
    finally:
        os.close(proc)


def _procfs() -> int:
    try:
        context = newmount.fsopen("proc")
        try:
            newmount.fscreate(context)
            return newmount.fsmount(context)
        finally:
            os.close(context)
    except OSError:  # an old kernel, or a user namespace in which parts of /proc are hidden
        return procfs.root()


def _write(proc: int, places: tuple[str, ...], text: str, module: str, known: dict[int, str]) -> None:
    """Write to the first of the files that is there; `known` says what an error of the write means."""
    for place in places:
        try:
            file = procfs.open_beneath(proc, f"thread-self/{place}", os.O_WRONLY)
        except FileNotFoundError:
            continue
        except OSError as error:
            if error.errno in HIDDEN:
                raise Failed(
                    f"no {module} label can be set: something is mounted over /proc/self/attr"
                ) from error
            raise
        try:
            os.write(file, text.encode())
        except OSError as error:
            if error.errno in known:
                raise Failed(known[error.errno]) from error
            raise
        finally:
            os.close(file)
        return
    raise Failed(f"no {module} label can be set: this kernel has no {module}")
