"""How the things of a plan are said to a person."""

from __future__ import annotations

from redpak.plan.ops import Bind, Dev, Dir, File, InheritFd, Lock, Mqueue, Proc, Symlink, Tmpfs
from redpak.record import assert_never
from redpak.text import Run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.plan.model import Choice, Namespace, Op
    from redpak.text import Text

ISOLATES = {
    "cgroup": "the view of control groups",
    "ipc": "System V IPC and POSIX message queues",
    "mount": "the file tree",
    "net": "network interfaces, addresses, ports and abstract sockets",
    "pid": "process numbers",
    "time": "the boot and monotonic clocks",
    "user": "user and group numbers and capabilities",
    "uts": "the host name",
}

MEANINGS = {
    "cgroup-root": "control group under which the nodes' groups are made",
    "chdir": "working directory of the program",
    "die-with-parent": "the program is killed when its launcher dies",
    "group": "group to run as",
    "hostname": "host name inside",
    "inherit-env": "the caller's environment is passed on",
    "keyring": "session keyring",
    "map-root": "the program believes that it is root",
    "new-session": "no controlling terminal",
    "scope": "abstract sockets and signals stay inside (Landlock)",
    "seccomp": "filter of system calls",
    "smack": "SMACK label",
    "umask": "file mode creation mask",
    "user": "user to run as",
}


def kind_said(op: Op) -> str:
    """Return what a mount makes, with an article."""
    match op:
        case Bind(kind="file"):
            return "the file"
        case Bind():
            return "the mount"
        case Dir():
            return "the directory"
        case Tmpfs():
            return "the memory file system"
        case Proc():
            return "the process file system"
        case Dev():
            return "the device directory"
        case Mqueue():
            return "the message queue file system"
        case Lock():
            return "the lock"
        case Symlink():
            return "the symlink"
        case File() | InheritFd():
            return "the file"
        case _:
            assert_never(op)


def columns(op: Op) -> tuple[str, str]:
    """Return how an operation is shown in a table: its mode, and where what it shows comes from."""
    match op:
        case Bind(src=src, readonly=readonly, kind=kind):
            return ("ro" if readonly else "rw") + (" file" if kind == "file" else ""), str(src)
        case Dir():
            return "dir", "(empty)"
        case Tmpfs():
            return "tmpfs", "(empty)"
        case Proc():
            return "proc", "(kernel)"
        case Dev():
            return "dev", "(minimal)"
        case Mqueue():
            return "mqueue", "(kernel)"
        case Lock():
            return "lock", "(held while it runs)"
        case Symlink(target=target):
            return "symlink", f"-> {target}"
        case File(content=content):
            return "new file", will(content)
        case InheritFd(fd=fd):
            return "new file", f"(descriptor {fd})"
        case _:
            assert_never(op)


def will(value: Text) -> str:
    """Return a text for a person; what is only computed at start says so."""
    commands = [part.command for part in value.parts if isinstance(part, Run)]
    if len(commands) == len(value.parts) == 1:
        return f"will run: {commands[0]}"
    if commands:
        return f"{value} (will run: {'; '.join(commands)})"
    return str(value) if value.literal is not None else f"{value} (new at every start)"


def said(op: Op) -> str:
    """Return an operation in one line: '/usr: the host's '/usr', read-only'."""
    match op:
        case Bind(dst=dst, src=src, readonly=readonly):
            return f"{dst}: the host's '{src}', {'read-only' if readonly else 'writable'}"
        case Dir(dst=dst):
            return f"{dst}: an empty directory of this sandbox alone"
        case Tmpfs(dst=dst):
            return f"{dst}: a memory file system of this sandbox alone"
        case Proc(dst=dst):
            return f"{dst}: the processes of the sandbox (procfs)"
        case Dev(dst=dst):
            return f"{dst}: a minimal set of devices"
        case Mqueue(dst=dst):
            return f"{dst}: POSIX message queues"
        case Lock(dst=dst):
            return f"{dst}: locked for reading while the sandbox lives"
        case Symlink(dst=dst, target=target):
            return f"{dst}: a symlink to '{target}'"
        case File(dst=dst, content=content):
            return f"{dst}: a new file; its content: {will(content)}"
        case InheritFd(dst=dst, fd=fd):
            return f"{dst}: a new file with what the caller's descriptor {fd} holds"
        case _:
            assert_never(op)


def namespace_said(namespace: Namespace) -> str:
    """Return what happens to a namespace, in words."""
    return {"new": "its own", "host": "the host's", "join": f"joined: {namespace.path}"}[namespace.mode]


def number_said(number: int) -> str:
    """Return a resource limit for a person."""
    return "unlimited" if number == -1 else str(number)


def choice_said(choice: Choice) -> str:
    """Return the value of a setting for a person."""
    value = choice.value
    match value:
        case bool():
            return "yes" if value else "no"
        case int():
            return "the caller's" if value < 0 else f"{value:04o}" if choice.name == "umask" else str(value)
        case str():
            return value or "not set"
        case _:
            return will(value)
