"""What redpak-quick (engine/quick.c) needs to start, enter and delete a container without an interpreter.

A file `quick` in the container's directory, only where start and delete have nothing else to do:

    redpak-quick 1
    PID START_TIME          of the first process, as in the state file
    =DIRECTORY              of its control group: one line for every hierarchy
    -DIRECTORY              made for it above those: removed as well when nothing else is in there

And a file `exec`, where the container's own process asks for nothing that only Python can do: strings, each ended by
NUL, of which the first letter says what it is, an empty one, and the filters of system calls.

    redpak-exec 1
    P pid start_time        of the first process
    f path, w word          a file that begins with this word while the container is frozen
    d path                  what to write "0" to, to be in its control group of version 1: one for every hierarchy
    u path                  its control group of version 2
    s n h                   a session of its own; no new privileges; HOME is to be looked up inside
    c path, e NAME=VALUE    working directory; a variable
    i uid gid, g gid        user; an additional group
    b hex hex hex hex hex   capabilities: bounding, effective, permitted, inheritable, ambient
    r number soft hard      a resource limit
    m umask, o score, k keyring, p personality
    F flags instructions    a filter

Nothing in them changes in a container's life. Python's commands do the same without these files.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.engine.native.box import Process
    from redpak.oci.config import Config
    from redpak.oci.store import Container

NAME, EXEC = "quick", "exec"
# in the order of their numbers (asm-generic/resource.h: x86_64 and aarch64)
LIMITS = (
    "cpu", "fsize", "data", "stack", "core", "rss", "nproc", "nofile", "memlock", "as", "locks", "sigpending",
    "msgqueue", "nice", "rtprio", "rttime",
)  # fmt: skip
UNLIMITED = (1 << 64) - 1  # RLIM_INFINITY


def note(container: Container, found: Config, *, waits: bool) -> None:
    """Write the files for a container that is created, where it is a plain one. Its lock is ours.

    One that `waits` is started by another command.
    """
    from redpak.oci.store import put

    own = found.box.process.but(keyring=container.data["keyring"])
    asked = found.data["process"]
    if not asked.get("execCPUAffinity") and (words := entering(container, own)):
        put(f"{container.path}/{EXEC}", words)
    data = container.data
    group = data.get("cgroup") or {}
    if not waits or data.get("poststart") or data.get("poststop") or data.get("notify") or group.get("unit"):
        return
    lines = ["redpak-quick 1", f"{data['pid']} {data['start_time']}"]
    lines += [f"={path}" for path in dict.fromkeys(group.get("paths", {}).values())]
    lines += [f"-{path}" for path in group.get("made", ())]
    if any("\n" in line for line in lines):
        return
    put(f"{container.path}/{NAME}", os.fsencode("\n".join(lines) + "\n"))


def entering(container: Container, process: Process) -> bytes:
    """Return the file `exec`, b"" where one more program is Python's to start."""
    data = container.data
    group = data.get("cgroup") or {}
    if os.geteuid() != 0 or data.get("shares") is not None or group.get("user") or special(process):
        return b""
    if data.get("annotations"):
        from redpak.oci import node_handler

        if node_handler.asked({"annotations": data["annotations"]}):
            return b""
    lines = ["redpak-exec 1", f"P{data['pid']} {data['start_time']}"]
    if data.get("freezer"):
        path, _, word = str(data["freezer"]).partition("\n")
        lines += [f"f{path}", f"w{word}"]
    paths = group.get("paths", {})
    unified = paths.get("", "")
    lines += [f"d{path}/tasks" for path in dict.fromkeys(paths.values()) if path != unified]
    if unified:
        lines.append(f"u{unified}")
    lines += fields(process)
    if any("\0" in line for line in lines):
        return b""
    code = b"".join(one.program for one in process.seccomp)
    return b"".join(os.fsencode(line) + b"\0" for line in lines) + b"\0" + code


def special(process: Process) -> bool:
    """Tell whether a process asks for what redpak-enter cannot do."""
    return bool(
        process.scheduler or process.io_priority >= 0 or process.cpu_affinity or process.cpu_affinity_first
        or process.apparmor or process.selinux or process.smack or process.securebits or process.scope
        or process.cwd_from or any(one.listener for one in process.seccomp)
    )  # fmt: skip


def fields(process: Process) -> list[str]:
    """Return what a process may and has, as redpak-enter reads it."""
    caps = process.caps
    sets = (caps.bounding, caps.effective, caps.permitted, caps.inheritable, caps.ambient)
    lines = [f"c{process.cwd}", *(f"e{one}" for one in process.environ), f"i{process.uid} {process.gid}"]
    lines += [f"g{one}" for one in process.groups]
    lines += ["b" + " ".join(f"{one:x}" for one in sets), f"k{process.keyring}"]
    for one in process.rlimits:
        soft, hard = (value & UNLIMITED for value in (one.soft, one.hard))  # -1 is all bits
        lines.append(f"r{LIMITS.index(one.name)} {soft} {hard}")
    for letter, value in (("m", process.umask), ("p", process.personality)):
        if value >= 0:
            lines.append(f"{letter}{value}")
    if process.oom_score_adj is not None:
        lines.append(f"o{process.oom_score_adj}")
    for letter, asked in (("s", process.new_session), ("n", process.no_new_privs), ("h", process.home)):
        if asked:
            lines.append(letter)
    lines += [f"F{one.flags} {len(one.program) // 8}" for one in process.seccomp]
    return lines


def told() -> bytes:
    """Return what the gate said to redpak-quick, where that was a failure; b"" = nothing of the kind."""
    from redpak.oci.start import TOLD

    number = os.environ.get(TOLD, "")
    if not number.isascii() or not number.isdigit():
        return b""
    try:
        return os.pread(int(number), 1 << 16, 0)
    except (OSError, OverflowError):
        return b""
