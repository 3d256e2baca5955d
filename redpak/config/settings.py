"""The table of every key that a configuration file may hold.

How others use it:

- `BY_NAME["hostname"]` is a setting of the `config` section by its own name; `.merge` says how the nodes of a
  family are merged under the sealed profile, `.expanded` whether variables are replaced in it, `.kind` how it is
  decoded (kinds.py).
- `BY_FULL["config.cgroups.mem.max"]` is any setting by its dotted name.
- `children("config.cgroups")` are the settings directly in a section, in the order of a written file.
- `SHARES` are the six share tags without `share_`, `CAPABILITIES` the kernel's names, `RLIMITS` those of
  setrlimit(2).

Decoded values (`model.Value.value`): "bool" is a bool; "int" and "flag" are an int; "tri" is Unset, Enabled or
Disabled; "share" is unset, enabled, disabled or a path; "choice" is the canonical word; "octal" is three digits;
all others are the text as written.
"""

# ruff: noqa: E501 - a table
from __future__ import annotations

from redpak.config.setting import Setting
from redpak.kernel import caps

CAPABILITIES = caps.NAMES

RLIMITS = (
    "as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss",
    "rtprio", "rttime", "sigpending", "stack",
)  # fmt: skip
"""setrlimit(2), without RLIMIT_."""

EXPORT_MODES = (
    "Public", "Private", "Restricted", "PrivateRestricted", "PublicFile", "PrivateFile", "RestrictedFile",
    "Anonymous", "Tmpfs", "Procfs", "Devfs", "Mqueue", "Lock", "Symlink", "Execfd", "Internal",
)  # fmt: skip

ENVIRON_MODES = ("Default", "Static", "Execfd", "Remove", "Inherit")

SHARES = ("user", "cgroup", "net", "pid", "ipc", "time")

CGROUPS = ("cpuset", "mem", "cpu", "io", "pids")

TRI = ("Unset", "Enabled", "Disabled")
SHARING = ("unset", "enabled", "disabled")

_INFO = "A remark for people; it has no effect."
_WARN = "Shown in addition when a descendant redefines this entry."

HEADERS = (
    Setting(
        section="headers", name="alias", kind="alias", required=True, example="navigation",
        help="Short name of the node, unique in its family: letters, digits, and `_ + - @ :`.",
    ),
    Setting(
        section="headers", name="name", kind="text", example="0f5d1c1e-92f7-4b1c-8f0a-7c1f3a0a5b3e",
        help="Unique name of the node, for people who have to tell nodes of the same alias apart. "
        "`node create` puts a UUID here.",
    ),
    Setting(
        section="headers", name="info", kind="text", example="Maps and routing",
        help="A remark for people; `$NODE_INFO` gives it.",
    ),
)  # fmt: skip

EXPORTS = (
    Setting(
        section="exports", name="mode", kind="choice", required=True, words=EXPORT_MODES, example="Restricted",
        help="How the entry is shown: `Public` writable, `Restricted` read-only, both also for descendants; `Private` "
        "writable and `PrivateRestricted` read-only for this node alone; `PublicFile`, `RestrictedFile`, "
        "`PrivateFile` the same for what must be a file; `Anonymous` an empty directory and `Tmpfs` a memory file "
        "system of this sandbox alone; `Procfs`, `Devfs`, `Mqueue` the kernel's own file systems; `Lock` a lock held "
        "on a file; `Symlink` a symbolic link; `Execfd` a file with a command's output; `Internal` a file filled "
        "from a descriptor that the caller left open.",
    ),
    Setting(
        section="exports", name="mount", kind="mount", required=True, expanded=True, example="/nodes/$NODE_ALIAS/usr",
        help="Where it appears in the sandbox: an absolute path.",
    ),
    Setting(
        section="exports", name="path", kind="source", expanded=True, commands=True, example="$NODE_PATH/usr",
        help="What is shown: an absolute path on the host (the same as `mount` when absent), the target of a "
        "`Symlink`, the command of an `Execfd`, the descriptor's number of an `Internal`.",
    ),
    Setting(section="exports", name="info", kind="text", help=_INFO, example="The node's programs"),
    Setting(section="exports", name="warn", kind="text", help=_WARN, example="The service needs this directory"),
)  # fmt: skip

ENVIRON = (
    Setting(
        section="environ", name="mode", kind="choice", words=ENVIRON_MODES, aliases=(("expanded", "Default"),),
        default="Default", example="Static",
        help="`Default` (also written `Expanded`) sets the value with variables replaced, `Static` sets it as it is, "
        "`Execfd` sets the output of a command, `Remove` removes the variable, `Inherit` passes the caller's value.",
    ),
    Setting(
        section="environ", name="key", kind="variable", required=True, example="LANG",
        help="Name of the variable; upper and lower case differ.",
    ),
    Setting(
        section="environ", name="value", kind="command", expanded=True, commands=True, example="C.UTF-8",
        help="The value, or the command of `Execfd`; not for `Remove` and `Inherit`.",
    ),
    Setting(section="environ", name="info", kind="text", help=_INFO, example="For the log reader"),
    Setting(section="environ", name="warn", kind="text", help=_WARN, example="The service reads this"),
)  # fmt: skip

CONFIG = (
    Setting(
        section="config", name="persistdir", kind="place", expanded=True, commands=True, merge="plain",
        example="$NODE_PATH/var/lib/dnf",
        help="Where the package manager keeps what it must not lose.",
    ),
    Setting(
        section="config", name="rpmdir", kind="place", expanded=True, commands=True, merge="plain",
        example="$NODE_PATH/var/lib/rpm",
        help="Directory of the package database of a node that red-pak has filled, up to its first transaction here.",
    ),
    Setting(
        section="config", name="cachedir", kind="place", expanded=True, commands=True, merge="plain",
        example="$NODE_PATH/var/cache/dnf",
        help="Where the package manager keeps what it has downloaded.",
    ),
    Setting(
        section="config", name="path", kind="places", expanded=True, merge="accumulate",
        example="/nodes/$NODE_ALIAS/usr/bin",
        help="Directories for `PATH`, separated by colons. Those of the whole family are joined, the leaf's first.",
    ),
    Setting(
        section="config", name="ldpath", kind="places", expanded=True, merge="accumulate",
        example="/nodes/$NODE_ALIAS/usr/lib64:/nodes/$NODE_ALIAS/usr/lib",
        help="Directories for `LD_LIBRARY_PATH`, joined like `path`.",
    ),
    Setting(
        section="config", name="umask", kind="octal", expanded=True, merge="plain", example="027",
        help="File mode creation mask of the program (umask(2)): three octal digits.",
    ),
    Setting(
        section="config", name="set-user", kind="identity", merge="plain", example="nobody",
        help="User, by name or number, that the program runs as. Needs a caller who may change it.",
    ),
    Setting(
        section="config", name="set-group", kind="identity", merge="plain", example="nogroup",
        help="Group, by name or number, that the program runs as; supplementary groups are dropped.",
    ),
    Setting(
        section="config", name="smack", kind="label", merge="plain", example="App:Navigation",
        help="SMACK label of the program and of directories that are created for it.",
    ),
    Setting(
        section="config", name="verbose", kind="int", default="0", merge="plain", always=True, example="1",
        help="Level of detail. Kept for existing files; no effect.",
    ),
    Setting(
        section="config", name="maxage", kind="ignored", example="0",
        help="Accepted and ignored: a setting of old versions.",
    ),
    Setting(
        section="config", name="map-root-user", kind="flag", default="0", merge="plain", always=True, example="1",
        help="`1`: the program sees itself as user 0, with the caller's rights on the host and no more.",
    ),
    Setting(
        section="config", name="gpgcheck", kind="bool", default="false", merge="seal-true", always=True,
        example="true",
        help="Packages must be signed by a known key. Once an ancestor says true, descendants cannot say false.",
    ),
    Setting(
        section="config", name="inherit", kind="ignored", example="true",
        help="Accepted and ignored: a setting of old versions.",
    ),
    Setting(
        section="config", name="unsafe", kind="bool", default="false", merge="seal-false", always=True,
        example="false",
        help="Kept for existing files; no effect. An explicit false in an ancestor binds.",
    ),
    Setting(
        section="config", name="inherit-env", kind="bool", default="false", merge="seal-false", always=True,
        example="false",
        help="Start from the caller's environment instead of an empty one. An explicit false in an ancestor binds.",
    ),
    Setting(
        section="config", name="die-with-parent", kind="tri", words=TRI, default="Unset", merge="tri", always=True,
        example="Enabled",
        help="`Enabled`: the kernel kills the sandbox when redpak dies. An ancestor's `Enabled` binds.",
    ),
    Setting(
        section="config", name="new-session", kind="tri", words=TRI, default="Unset", merge="tri", always=True,
        example="Enabled",
        help="`Enabled`: a terminal session of its own (setsid(2)), so without job control and out of reach of the "
        "terminal. An ancestor's `Enabled` binds.",
    ),
    Setting(
        section="config", name="share_all", kind="share", words=SHARING, default="unset", merge="share",
        example="disabled",
        help="What applies to the user, cgroup, net, pid and ipc namespaces where their own tag says nothing.",
    ),
    *(
        Setting(
            section="config", name=f"share_{tag}", kind="share", words=SHARING, default="unset", merge="share",
            example="/run/netns/plant" if tag == "net" else "disabled",
            help=f"`enabled`: share the {what} with the host; `disabled`: have one of its own; or the absolute "
            "path of a namespace file to join. A descendant may only tighten it."
            + (" Unset means the host's; `share_all` does not count." if tag == "time" else ""),
        )
        for tag, what in (
            ("user", "user and group ids"),
            ("cgroup", "view of the control groups"),
            ("net", "network"),
            ("pid", "process ids"),
            ("ipc", "System V and POSIX message queues, semaphores and shared memory"),
            ("time", "boot and monotonic clocks"),
        )
    ),
    Setting(
        section="config", name="cgroups", kind="mapping", merge="limit",
        help="Limits of the node's control group (version 2). A descendant's group lies inside its ancestors' groups.",
    ),
    Setting(
        section="config", name="hostname", kind="hostname", expanded=True, commands=True, merge="plain",
        example="$LEAF_ALIAS",
        help="Host name that the program sees.",
    ),
    Setting(
        section="config", name="chdir", kind="place", expanded=True, commands=True, merge="plain",
        example="/home/$LEAF_ALIAS",
        help="Directory, in the sandbox, that the program starts in.",
    ),
    Setting(
        section="config", name="cgrouproot", kind="place", expanded=True, commands=True, merge="plain",
        example="/sys/fs/cgroup/user.slice/user-$UID.slice/user@$UID.service",
        help="Control group under which the nodes' groups are made; absent: the caller's own.",
    ),
    Setting(
        section="config", name="capabilities", kind="sequence", merge="capability",
        help="Capabilities (capabilities(7)) that the program keeps. All others are dropped.",
    ),
    Setting(
        section="config", name="seccomp", kind="choice", words=("default", "none"), default="default",
        merge="seal-default", upstream=False, example="default",
        help="Filter of system calls: `default` refuses those that containers do not need, `none` has no filter. "
        "An explicit `default` in an ancestor binds.",
    ),
    Setting(
        section="config", name="rlimits", kind="mapping", merge="limit", upstream=False,
        help="Resource limits of each process (getrlimit(2)). A descendant may only lower them.",
    ),
    Setting(
        section="config", name="profile", kind="choice", words=("sealed", "upstream-2.5"),
        aliases=(("upstream", "upstream-2.5"),), default="sealed", merge="profile", upstream=False, example="sealed",
        help="Rules of merging, in the core OS's main.yaml or in the oldest node: `sealed` (ancestors bind their "
        "descendants) or `upstream-2.5` (red-pak 2.5's rules, for existing trees). `REDPAK_PROFILE` in the caller's "
        "environment goes first.",
    ),
    Setting(
        section="config", name="core-os", kind="text", expanded=True, merge="plain", upstream=False,
        example="$NODE_PATH/core-os.json",
        help="The system beneath the nodes, whose packages theirs may rely on: `host` (also when nobody says it), "
        "`none`, the root directory of another system, or a manifest of one (`redpak node manifest`).",
    ),
)  # fmt: skip

CAPABILITY_FIELDS = (
    Setting(
        section="config.capabilities", name="cap", kind="capability", required=True, example="CAP_NET_BIND_SERVICE",
        help="Name of the capability, `CAP_` and case being optional, or `ALL`.",
    ),
    Setting(
        section="config.capabilities", name="add", kind="flag", required=True, example="1",
        help="`1` keeps it, `0` drops it. What an ancestor drops stays dropped.",
    ),
    Setting(section="config.capabilities", name="info", kind="text", help=_INFO, example="Listens on port 80"),
    Setting(section="config.capabilities", name="warn", kind="text", help=_WARN, example="Port 80 will be closed"),
)  # fmt: skip

CGROUP_FIELDS = tuple(
    Setting(
        section=f"config.cgroups.{group}", name=name, kind=kind, example=example, help=text, merge="limit",  # type: ignore[arg-type]
        words=("member", "root", "isolated") if name == "cpus_partition" else (),
    )
    for group, name, kind, example, text in (
        ("cpuset", "cpus", "cpus", "0-2", "Processors that may be used (`cpuset.cpus`)."),
        ("cpuset", "mems", "cpus", "0", "Memory nodes that may be used (`cpuset.mems`)."),
        ("cpuset", "cpus_partition", "choice", "member", "Kind of partition (`cpuset.cpus.partition`)."),
        ("mem", "max", "size", "512M", "Memory that is never exceeded: beyond it processes are killed (`memory.max`)."),
        ("mem", "high", "size", "480M", "Memory beyond which the group is slowed down (`memory.high`)."),
        ("mem", "min", "size", "10M", "Memory that is never reclaimed (`memory.min`)."),
        ("mem", "low", "size", "10M", "Memory that is reclaimed last (`memory.low`)."),
        ("mem", "oom_group", "oom", "1", "Not 0: out of memory, the group is killed whole (`memory.oom.group`)."),
        ("mem", "swap_high", "size", "1024M", "Swap beyond which the group is slowed down (`memory.swap.high`)."),
        ("mem", "swap_max", "size", "512M", "Swap that is never exceeded (`memory.swap.max`)."),
        ("cpu", "weight", "weight", "200", "Share of processor time, 1 to 10000, usually 100 (`cpu.weight`)."),
        ("cpu", "weight_nice", "nice", "10", "The same as a nice value, -20 to 19 (`cpu.weight.nice`)."),
        ("cpu", "max", "bandwidth", "50000 100000", "Microseconds of processor time in each period (`cpu.max`)."),
        ("io", "cost_qos", "io-line", "8:0 enable=1 rpct=95.00 rlat=75000", "Quality of service (`io.cost.qos`)."),
        ("io", "cost_model", "io-line", "8:0 ctrl=user model=linear", "Cost model of a device (`io.cost.model`)."),
        ("io", "weight", "io-weight", "200", "Share of device time, 1 to 10000, usually 100 (`io.weight`)."),
        ("io", "max", "io-max", "8:0 rbps=2097152 wiops=120", "Bytes and operations a second, one device a line (`io.max`)."),
        ("pids", "max", "count", "50", "Number of tasks (`pids.max`)."),
    )
)  # fmt: skip

RLIMIT_FIELDS = tuple(
    Setting(
        section="config.rlimits", name=name, kind="rlimit", example="64" if name == "nofile" else "unlimited",
        merge="limit", upstream=False, help=f"`RLIMIT_{name.upper()}`: {what}.",
    )
    for name, what in zip(
        RLIMITS,
        (
            "bytes of address space", "bytes of a core dump", "seconds of processor time", "bytes of data segment",
            "bytes of a file that is written", "file locks", "bytes of locked memory",
            "bytes in POSIX message queues", "20 minus the lowest nice value", "open descriptors, plus one",
            "processes and threads of the user", "bytes of resident memory", "real-time priority",
            "microseconds of real-time work without a pause", "queued signals", "bytes of stack",
        ),
        strict=True,
    )
)  # fmt: skip

SECTIONS = (
    Setting(section="", name="headers", kind="mapping", required=True, help="Who the node is."),
    Setting(
        section="", name="exports", kind="sequence", help="Files and directories that the sandbox shows."
    ),
    Setting(section="", name="environ", kind="sequence", help="The program's environment."),
    Setting(
        section="", name="config", kind="mapping", help="Tags: namespaces, limits, identity, search paths."
    ),
)

GROUPS = tuple(
    Setting(section="config.cgroups", name=group, kind="mapping", help=f"The `{group}` controller.")
    for group in CGROUPS
)

SETTINGS = (
    *SECTIONS, *HEADERS, *EXPORTS, *ENVIRON, *CONFIG, *GROUPS, *CGROUP_FIELDS, *CAPABILITY_FIELDS, *RLIMIT_FIELDS,
)  # fmt: skip
"""All settings, in the order of a written file."""

BY_NAME = {setting.name: setting for setting in CONFIG}
"""Settings of the `config` section, by name."""

BY_FULL = {setting.full: setting for setting in SETTINGS}
"""All settings, by dotted name."""

PLAIN = tuple(s for s in CONFIG if s.kind not in ("mapping", "sequence", "ignored"))
"""Settings of the `config` section that hold one value: the possible keys of `NodeDoc.tags`."""


def children(section: str) -> tuple[Setting, ...]:
    """Return the settings that stand directly in `section` ('' is the top level), in written order."""
    return tuple(setting for setting in SETTINGS if setting.section == section)
