"""The default system call filter: what a program in a sandbox has no business with.

A deny list. The mounts, namespaces and dropped capabilities are the walls; the filter takes away the kernel's rarely
used and often broken doors behind them. A capability that the plan keeps opens the calls that it governs.
"""

from __future__ import annotations

import os

from redpak.engine.sources import only_ours
from redpak.kernel.bpf import (
    ARCH,
    ARCHITECTURES,
    NUMBER,
    RET_ALLOW,
    RET_ERRNO,
    RET_KILL_PROCESS,
    X32_BIT,
    Program,
    argument,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.engine.spec import LaunchSpec

EPERM, ENOSYS = 1, 38
REFUSE = RET_ERRNO | EPERM
ABSENT = RET_ERRNO | ENOSYS  # libraries then use the older call

# (x86_64, aarch64) numbers; None where the architecture has no such call.
# From asm/unistd_64.h and asm-generic/unistd.h. The third column opens the call again; "" is never opened.
CALLS: dict[str, tuple[int | None, int | None, str]] = {
    # kernel log, modules, boot, accounting, clock, ports
    "syslog": (103, 116, "CAP_SYSLOG"),
    "init_module": (175, 105, "CAP_SYS_MODULE"),
    "finit_module": (313, 273, "CAP_SYS_MODULE"),
    "delete_module": (176, 106, "CAP_SYS_MODULE"),
    "reboot": (169, 142, "CAP_SYS_BOOT"),
    "kexec_load": (246, 104, "CAP_SYS_BOOT"),
    "kexec_file_load": (320, 294, "CAP_SYS_BOOT"),
    "acct": (163, 89, "CAP_SYS_PACCT"),
    "settimeofday": (164, 170, "CAP_SYS_TIME"),
    "clock_settime": (227, 112, "CAP_SYS_TIME"),
    "adjtimex": (159, 171, "CAP_SYS_TIME"),
    "clock_adjtime": (305, 266, "CAP_SYS_TIME"),
    "iopl": (172, None, "CAP_SYS_RAWIO"),
    "ioperm": (173, None, "CAP_SYS_RAWIO"),
    "vhangup": (153, 58, "CAP_SYS_TTY_CONFIG"),
    # mounts, roots, namespaces
    "mount": (165, 40, "CAP_SYS_ADMIN"),
    "umount2": (166, 39, "CAP_SYS_ADMIN"),
    "pivot_root": (155, 41, "CAP_SYS_ADMIN"),
    "setns": (308, 268, "CAP_SYS_ADMIN"),
    "unshare": (272, 97, "CAP_SYS_ADMIN"),
    "chroot": (161, 51, "CAP_SYS_CHROOT"),
    "swapon": (167, 224, "CAP_SYS_ADMIN"),
    "swapoff": (168, 225, "CAP_SYS_ADMIN"),
    "quotactl": (179, 60, "CAP_SYS_ADMIN"),
    "quotactl_fd": (443, 443, "CAP_SYS_ADMIN"),
    "fanotify_init": (300, 262, "CAP_SYS_ADMIN"),
    "lookup_dcookie": (212, 18, "CAP_SYS_ADMIN"),
    "open_by_handle_at": (304, 265, "CAP_DAC_READ_SEARCH"),
    "name_to_handle_at": (303, 264, "CAP_DAC_READ_SEARCH"),
    # other processes, and what sees through walls
    "ptrace": (101, 117, "CAP_SYS_PTRACE"),
    "process_vm_readv": (310, 270, "CAP_SYS_PTRACE"),
    "process_vm_writev": (311, 271, "CAP_SYS_PTRACE"),
    "kcmp": (312, 272, "CAP_SYS_PTRACE"),
    "bpf": (321, 280, "CAP_BPF"),
    "perf_event_open": (298, 241, "CAP_PERFMON"),
    "move_pages": (279, 239, "CAP_SYS_NICE"),
    "mbind": (237, 235, "CAP_SYS_NICE"),
    "get_mempolicy": (239, 236, "CAP_SYS_NICE"),
    "set_mempolicy": (238, 237, "CAP_SYS_NICE"),
    "migrate_pages": (256, 238, "CAP_SYS_NICE"),
    "add_key": (248, 217, ""),
    "keyctl": (250, 219, ""),
    "request_key": (249, 218, ""),
    "userfaultfd": (323, 282, ""),
    # remains of old kernels
    "uselib": (134, None, ""),
    "modify_ldt": (154, None, ""),
    "sysfs": (139, None, ""),
    "_sysctl": (156, None, ""),
    "create_module": (174, None, ""),
    "get_kernel_syms": (177, None, ""),
    "query_module": (178, None, ""),
    "nfsservctl": (180, 42, ""),
}

# Newer calls that programs know how to do without.
NEWER: dict[str, tuple[int, str]] = {
    "io_uring_setup": (425, ""),
    "io_uring_enter": (426, ""),
    "io_uring_register": (427, ""),
    "open_tree": (428, "CAP_SYS_ADMIN"),
    "move_mount": (429, "CAP_SYS_ADMIN"),
    "fsopen": (430, "CAP_SYS_ADMIN"),
    "fsconfig": (431, "CAP_SYS_ADMIN"),
    "fsmount": (432, "CAP_SYS_ADMIN"),
    "fspick": (433, "CAP_SYS_ADMIN"),
    "clone3": (435, ""),  # its flags are behind a pointer, which a filter cannot follow
    "pidfd_getfd": (438, "CAP_SYS_PTRACE"),
    "mount_setattr": (442, "CAP_SYS_ADMIN"),
    "set_mempolicy_home_node": (450, "CAP_SYS_NICE"),
    "open_tree_attr": (467, "CAP_SYS_ADMIN"),
}
NEWEST = 469  # file_setattr, Linux 6.17: what comes later was not looked at, so it is not there

SPECIAL = {"ioctl": (16, 29), "clone": (56, 220), "personality": (135, 92), "socket": (41, 198)}
AF_UNIX, AF_VSOCK = 1, 40
OUTSIDE = (
    AF_VSOCK,
)  # no network namespace holds it back: with a network of its own, a program must not have it
AWAY = (
    AF_UNIX,
    *OUTSIDE,
)  # for commands: a service of the host that listens on a Unix socket would act for them
TIOCSTI, TIOCLINUX = (
    0x5412,
    0x541C,
)  # put characters into the caller's terminal (CVE-2017-5226, CVE-2023-28100)
CLONE_NEWUSER = 0x10000000
ASK_PERSONALITY = 0xFFFFFFFF

MACHINES = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}


def opened(capability: str, kept: frozenset[str]) -> bool:
    """Tell whether the kept capabilities open calls that `capability` governs (capabilities(7))."""
    if not capability:
        return False
    if capability in kept or "ALL" in kept:
        return True
    return capability in ("CAP_BPF", "CAP_PERFMON", "CAP_SYSLOG") and "CAP_SYS_ADMIN" in kept


def supported(machine: str = "") -> bool:
    """Tell whether there is a filter for this machine (as uname(2) names it)."""
    return (machine or os.uname().machine) in MACHINES


def build(kept: tuple[str, ...] = (), machine: str = "", *, no_sockets: tuple[int, ...] = ()) -> bytes:
    """Return the filter for a program that keeps the capabilities `kept` ("CAP_SYS_PTRACE", "ALL").

    It can make no socket of the families `no_sockets`: see OUTSIDE and AWAY.
    """
    machine = MACHINES[machine or os.uname().machine]
    column = 0 if machine == "x86_64" else 1
    have = frozenset(kept)
    p = Program()
    p.load(ARCH)
    p.unless_equal(ARCHITECTURES[machine], RET_KILL_PROCESS)  # i386 and others have other numbers
    p.load(NUMBER)
    if machine == "x86_64":
        p.if_at_least(X32_BIT, ABSENT)
    p.if_at_least(NEWEST + 1, ABSENT)
    for on_x86, on_arm, capability in CALLS.values():
        which = on_arm if column else on_x86
        if which is not None and not opened(capability, have):
            p.if_equal(which, REFUSE)
    for newer, capability in NEWER.values():
        if not opened(capability, have):
            p.if_equal(newer, ABSENT)
    # Only the low 32 bits of these arguments count, for the kernel as for us (CVE-2019-10063).
    ioctl = Program()
    ioctl.load(argument(1))
    ioctl.if_equal(TIOCSTI, REFUSE)
    ioctl.if_equal(TIOCLINUX, REFUSE)
    ioctl.answer(RET_ALLOW)
    p.only_for(SPECIAL["ioctl"][column], ioctl)
    clone = Program()
    clone.load(argument(0))
    clone.if_any_bit(CLONE_NEWUSER, REFUSE)
    clone.answer(RET_ALLOW)
    p.only_for(SPECIAL["clone"][column], clone)
    personality = Program()
    personality.load(argument(0))
    personality.if_equal(0, RET_ALLOW)
    personality.if_equal(ASK_PERSONALITY, RET_ALLOW)
    personality.answer(REFUSE)
    p.only_for(SPECIAL["personality"][column], personality)
    if no_sockets:
        socket = Program()
        socket.load(argument(0))
        for family in no_sockets:
            socket.if_equal(family, REFUSE)
        socket.answer(RET_ALLOW)
        p.only_for(SPECIAL["socket"][column], socket)
    p.answer(RET_ALLOW)
    return p.assemble()


def path_of(program: bytes, folder: str) -> str:
    """Return where a filter is kept in the cache directory `folder`; another content has another name."""
    import binascii

    return os.path.join(os.path.realpath(folder), f"seccomp-{len(program)}-{binascii.crc32(program):08x}.bpf")


def store(program: bytes, path: str) -> bool:
    """Make sure that the file at `path` holds exactly `program`, and only we can change it; False: it is not so."""
    from redpak.errors import RedpakError
    from redpak.fs import write_atomically

    try:
        with open(path, "rb", buffering=0) as file:
            said = file.read(len(program) + 1)
            if only_ours(os.fstat(file.fileno())) and said == program:
                return only_ours(os.stat(os.path.dirname(path)), directory=True)
    except OSError:
        pass  # absent or unreadable: written anew below
    try:
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        write_atomically(path, program, mode=0o644, durable=False)
        return only_ours(os.stat(os.path.dirname(path)), directory=True)
    except (OSError, RedpakError):
        return False


def keep(spec: LaunchSpec) -> bool:
    """Store the filters of a launch; False when one of them cannot be written."""
    return (not spec.seccomp or store(spec.seccomp, spec.seccomp_path)) and (
        not spec.command_filter or store(spec.command_filter, spec.command_filter_path)
    )
