"""A sandbox in the kernel's terms: pure data, the poor vocabulary that `start` and `enter` carry out step by step.

A plan (`lower.py`) and an OCI configuration (`redpak.oci`) are both turned into a Box, so there is one way into a
sandbox. Everything in it is decided: no variable, no command and no name is left to look up but the program itself,
which is found inside. Mount flags are those of mount_setattr(2) (MOUNT_ATTR_*), propagation those of mount(2) (MS_*).
"""

from __future__ import annotations

from redpak.origin import DEFAULT, Origin
from redpak.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    SpaceKind = Literal["cgroup", "ipc", "mount", "net", "pid", "time", "user", "uts"]
    NodeKind = Literal["b", "c", "u", "p"]


class IdMap(Record):
    """`count` ids from `inside` in the namespace are those from `outside` in its parent (user_namespaces(7))."""

    inside: int
    outside: int
    count: int


class Space(Record):
    """A namespace of its own, or, with `path`, one that is joined. Kinds that a Box does not list are the caller's."""

    kind: SpaceKind
    path: str = ""
    because: Origin = DEFAULT


class Bind(Record):
    """Show a host file or directory at `dst`.

    `source` is opened without following any symlink if `plain`, else as open(2) does; with `fd` >= 0 that open
    descriptor is the source. The attributes in `attr_set` and `attr_clear` are for the top mount, `rec_set` and
    `rec_clear` for it and all below (AT_RECURSIVE).
    """

    dst: str
    source: str
    fd: int = -1
    plain: bool = True
    recursive: bool = True
    attr_set: int = 0
    attr_clear: int = 0
    rec_set: int = 0
    rec_clear: int = 0
    propagation: int = 0  # 0 = private
    idmap: tuple[tuple[IdMap, ...], tuple[IdMap, ...]] = ((), ())  # uids, gids; empty = as on the host
    idmap_recursive: bool = False
    missing: str = "refuse"  # "skip": leave it out
    because: Origin = DEFAULT


class NewMount(Record):
    """A new mount of file system `fstype` (proc, tmpfs, overlay, mqueue, …) at `dst`.

    "cgroup" stands for the sandbox's own control groups, whatever their version (cgroups.py).
    """

    dst: str
    fstype: str
    source: str = ""
    data: str = ""  # options of the file system, comma separated
    attr_set: int = 0
    propagation: int = 0
    copy_up: bool = False  # tmpfs: begins with a copy of what lay there (runc's tmpcopyup)
    label: str = ""  # SELinux's, for all files in it
    because: Origin = DEFAULT


class MakeDir(Record):
    """A directory, in what the sandbox alone sees."""

    dst: str
    mode: int = 0o755
    because: Origin = DEFAULT


class MakeFile(Record):
    """A file with `content`; with `mount` it is put over what lies at `dst`, read-only."""

    dst: str
    content: bytes
    mode: int = 0o644
    mount: bool = False
    because: Origin = DEFAULT


class MakeSymlink(Record):
    """A symbolic link at `dst` that says `target`. What is there stays, unless `replace` (never a directory)."""

    dst: str
    target: str
    replace: bool = False
    because: Origin = DEFAULT


class MakeNode(Record):
    """A device node; where mknod(2) is not allowed (user namespaces) the host's node of that number is bound there."""

    dst: str
    kind: NodeKind
    major: int = 0
    minor: int = 0
    mode: int = 0o666
    uid: int = 0
    gid: int = 0
    source: str = ""  # the host's node to bind instead; "" = /dev + basename
    because: Origin = DEFAULT


class MaskPath(Record):
    """Hide what lies at `dst`, if anything does: a directory by an empty read-only tmpfs, a file by /dev/null."""

    dst: str
    label: str = ""  # SELinux's, for that tmpfs
    because: Origin = DEFAULT


class ReadonlyPath(Record):
    """Make what lies at `dst`, if anything does, read-only, with all mounts below."""

    dst: str
    because: Origin = DEFAULT


class Attributes(Record):
    """Change the attributes of the mount at `dst` (an earlier step made it)."""

    dst: str
    attr_set: int = 0
    attr_clear: int = 0
    propagation: int = 0
    because: Origin = DEFAULT


if TYPE_CHECKING:
    Step = (
        Bind | NewMount | MakeDir | MakeFile | MakeSymlink | MakeNode | MaskPath | ReadonlyPath | Attributes
    )


class Caps(Record):
    """The five capability sets as masks (capabilities(7))."""

    bounding: int = 0
    effective: int = 0
    permitted: int = 0
    inheritable: int = 0
    ambient: int = 0


class Limit(Record):
    """A resource limit (getrlimit(2)); -1 is unlimited."""

    name: str  # "nofile"
    soft: int
    hard: int


class Filter(Record):
    """A seccomp filter: an array of struct sock_filter (seccomp(2)).

    `flags` are SECCOMP_FILTER_FLAG_*. With `listener` the notify descriptor goes to that Unix socket, with
    `listener_metadata` and the container's state (runtime-spec, config-linux.md).
    """

    program: bytes
    flags: int = 0
    listener: str = ""
    listener_metadata: str = ""


class Hook(Record):
    """A program of the caller's that runs inside the container's namespaces (runtime-spec, config.md, POSIX hooks).

    `args` begins with the program's name as execve(2) has it; () means (path,). It gets the container's state on its
    standard input. `timeout_s` 0: as long as it takes. `cwd`: where it runs, if that is there; "" = where we are.
    """

    path: str
    args: tuple[str, ...] = ()
    environ: tuple[str, ...] = ()
    timeout_s: int = 0
    cwd: str = ""
    because: Origin = DEFAULT


class Process(Record):
    """What runs inside, and with which rights: the first program, and every one that is put in later (exec)."""

    args: tuple[str, ...]
    environ: tuple[str, ...] = ()  # "KEY=value"
    cwd: str = "/"
    cwd_from: tuple[str, ...] = ()  # or the first of these that is there; PWD then says which
    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = ()
    umask: int = -1  # -1 = the caller's
    caps: Caps = Caps()
    securebits: int = 0
    no_new_privs: bool = True
    seccomp: tuple[Filter, ...] = ()
    rlimits: tuple[Limit, ...] = ()
    terminal: bool = False
    rows: int = 0  # of the terminal
    columns: int = 0
    new_session: bool = True  # setsid(2)
    keyring: str = ""  # name of the new session keyring; "" = stay in the caller's; "_" = a new nameless one
    scope: bool = False  # Landlock scoping of abstract sockets and signals
    oom_score_adj: int | None = None
    scheduler: tuple[tuple[str, int], ...] = ()  # fields of struct sched_attr by name
    io_priority: int = -1  # as ioprio_set(2) takes it; -1 = as it is
    personality: int = -1
    cpu_affinity: tuple[int, ...] = ()  # processors it may run on, set last
    # The same, while it is put into place (exec: before it enters the cgroup):
    cpu_affinity_first: tuple[int, ...] = ()
    home: bool = False  # `environ` has no HOME: take it from the /etc/passwd inside, by `uid`, else "/"
    apparmor: str = ""
    selinux: str = ""
    smack: str = ""


class Box(Record):
    """One sandbox."""

    name: str  # for messages and as the keyring's name
    spaces: tuple[Space, ...]
    uid_map: tuple[IdMap, ...] = ()
    gid_map: tuple[IdMap, ...] = ()
    deny_setgroups: bool = False
    # (uid, gid): when all is made, 0 gets these numbers in a second user namespace, nested in the first, over whose
    # limits (user.max_user_namespaces) no program has any right
    nested: tuple[int, int] | None = None
    root: str = ""  # the directory that becomes /; "" = an empty tmpfs
    root_readonly: bool = False
    root_propagation: int = (
        0  # MS_PRIVATE, MS_SLAVE, MS_SHARED, MS_UNBINDABLE, with MS_REC; 0 = MS_REC|MS_PRIVATE
    )
    no_pivot: bool = False
    steps: tuple[Step, ...] = ()  # in order
    hostname: str = ""
    domainname: str = ""
    sysctl: tuple[tuple[str, str], ...] = ()  # "net.ipv4.ip_forward", "1"
    offsets: tuple[tuple[str, int, int], ...] = ()  # of the time namespace: clock, seconds, nanoseconds
    process: Process
    hooks_create: tuple[Hook, ...] = ()  # in the new namespaces, all mounts made, the host's root still there
    hooks_start: tuple[Hook, ...] = ()  # behind the gate, in the sandbox's root, right before the program
    make_cwd: bool = False  # make the working directory where it is missing
    init: bool = False  # a small init is process 1, reaps and forwards signals; the program is its child
    die_with_parent: bool = False
    leases: tuple[str, ...] = ()  # directories to hold a shared flock(2) on while the sandbox lives
    locks: tuple[str, ...] = ()  # files of the sandbox to hold a read lock on (fcntl(2)), by the init
