"""Where rpm and its scriptlets run: a sandbox like every other of redpak's, with the file tree to change at /view.

Its own `/` is memory with the host's programs read-only, for rpm itself. A scriptlet is in a chroot at /view; one
that leaves it finds nothing that it can write but what it could write before. No network, no other processes, no
variables, no capability but what unpacking files takes; the filter allows no mount and no device is openable.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from redpak.engine import bwrap, supervise
from redpak.kernel import process, seccomp
from redpak.origin import DEFAULT
from redpak.plan.model import CHOICES, Capability, Choice, Namespace, Plan, SetVar
from redpak.plan.ops import Bind, Dev, Proc, Symlink, Tmpfs
from redpak.plan.tidy import KINDS, tidy
from redpak.record import Record
from redpak.text import text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from redpak.engine.host import Host
    from redpak.plan.model import Op

VIEW = "/view"
PACKAGES = "/packages"
CAPABILITIES = (
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_SETFCAP", "CAP_SETGID", "CAP_SETUID",
    "CAP_SYS_CHROOT",
)  # fmt: skip
LONGEST = 4096  # characters of a line; a longer one becomes several
HOST_TOPS = ("bin", "lib", "lib32", "lib64", "libx32", "sbin", "usr")
ENVIRONMENT = (
    ("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"),
    ("LC_ALL", "C.UTF-8"),
    ("HOME", "/"),
    ("TERM", "dumb"),
)


class Room(Record):
    """What the sandbox shows besides the host's programs."""

    view: str  # the tree to change
    packages: str = ""  # a directory with package files, '' = none
    writable: bool = True
    covered: tuple[str, ...] = ("dev", "proc", "run", "tmp")  # what of the tree is the sandbox's own


def plan_of(room: Room, command: Sequence[str]) -> Plan:
    """Return the plan of running a program of the host's beside the tree."""
    mounts: list[Op] = [
        Bind(dst=VIEW, src=text(room.view), readonly=not room.writable, because=DEFAULT),
        Dev(dst="/dev", because=DEFAULT),
        Proc(dst="/proc", because=DEFAULT),
        Tmpfs(dst="/tmp", because=DEFAULT),
    ]
    if room.packages:
        mounts.append(Bind(dst=PACKAGES, src=text(room.packages), because=DEFAULT))
    for name in HOST_TOPS:
        at = f"/{name}"
        if os.path.islink(at):
            mounts.append(Symlink(dst=at, target=os.readlink(at), because=DEFAULT))
        elif os.path.isdir(at):
            mounts.append(Bind(dst=at, src=text(at), because=DEFAULT))
    for name in room.covered:
        at = f"{VIEW}/{name}"
        if name == "dev":
            mounts.append(Dev(dst=at, because=DEFAULT))
        elif name == "proc":
            mounts.append(Proc(dst=at, because=DEFAULT))
        else:
            mounts.append(Tmpfs(dst=at, because=DEFAULT))
    chosen = {**CHOICES, "chdir": "/", "new-session": True}
    return tidy(
        Plan(
            node=room.view,
            profile="sealed",
            family=(),
            mounts=tuple(mounts),
            environ=tuple(SetVar(key=key, value=text(value), because=DEFAULT) for key, value in ENVIRONMENT),
            namespaces=tuple(
                Namespace(kind=kind, mode="host" if kind in ("user", "time") else "new", because=DEFAULT)
                for kind in KINDS
            ),
            capabilities=tuple(Capability(name=name, because=DEFAULT) for name in CAPABILITIES),
            choices=tuple(Choice(name=name, value=value, because=DEFAULT) for name, value in chosen.items()),
            command=tuple(command),
            uid=0,
            gid=0,
        )
    )


def covered(root: str) -> tuple[str, ...]:
    """Return what a plain directory has that the sandbox can put its own in the place of: 'dev', 'proc', 'run'.

    Only where root made them and nobody else may change them: a link there would lead the mount astray.
    """
    found = []
    for name in ("", "dev", "proc", "run"):
        at = f"{root}/{name}"
        try:
            now = os.lstat(at)
        except OSError:
            continue
        safe = (
            stat.S_ISDIR(now.st_mode) and now.st_uid == 0 and not now.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        )
        if not name and not safe:
            return ()
        if name and safe:
            found.append(name)
    return tuple(found)


def run(
    host: Host,
    room: Room,
    command: Sequence[str],
    *,
    filter_: bytes = b"",
    hear: Callable[[str], None] | None = None,
) -> int:
    """Run a program in the sandbox and return its exit code; every line that it says goes to `hear`, None = to ours.

    Call it as root, of the host or of a user namespace. `filter_` is laid over it (nochown). Raises Refused, OSError.
    """
    spec = bwrap.lower(plan_of(room, command), host.but(uid=0, gid=0, bounding=(1 << 64) - 1), strict=False)
    said, saying = os.pipe2(os.O_CLOEXEC)
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        _become(lambda: supervise.supervise(spec, {}).code, saying if hear else -1, parent, filter_)
    os.close(saying)
    try:
        if hear:
            _lines(said, hear)
    finally:
        os.close(said)
        _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


def _become(start: Callable[[], int | None], saying: int, parent: int, filter_: bytes) -> None:
    """Be the process that starts the sandbox and waits for it. Never returns."""
    import signal

    code = 125
    try:
        process.die_with_parent(signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(125)
        nothing = os.open("/dev/null", os.O_RDONLY)
        os.dup2(nothing, 0)
        if saying >= 0:
            os.dup2(saying, 1)
            os.dup2(saying, 2)
        if filter_:
            process.no_new_privileges()
            seccomp.load(filter_)
        ended = start()
        code = 125 if ended is None else ended
    except BaseException as error:  # noqa: BLE001 - it must end here, and say why
        os.write(2, f"error: the sandbox could not be started: {error}\n".encode())
    finally:
        os._exit(code)


def _lines(fd: int, hear: Callable[[str], None]) -> None:
    """Hand on what is said, line by line, until nobody can say more."""
    with open(fd, encoding="utf-8", errors="replace", newline="\n", closefd=False) as stream:
        while line := stream.readline(LONGEST):
            hear(line.rstrip("\n"))
