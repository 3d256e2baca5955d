"""The `process` of a configuration, and the file of `exec --process`, as what runs in a sandbox (config.md)."""

from __future__ import annotations

from redpak.engine.native.box import Caps, Limit, Process
from redpak.kernel.caps import NAMES
from redpak.oci.parts import I64, U32, U64, Faults, Part

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

RLIMITS = (
    "AS", "CORE", "CPU", "DATA", "FSIZE", "LOCKS", "MEMLOCK", "MSGQUEUE", "NICE", "NOFILE", "NPROC", "RSS",
    "RTPRIO", "RTTIME", "SIGPENDING", "STACK",
)  # fmt: skip
SETS = ("bounding", "effective", "permitted", "inheritable", "ambient")
POLICIES = {
    "SCHED_OTHER": 0,
    "SCHED_FIFO": 1,
    "SCHED_RR": 2,
    "SCHED_BATCH": 3,
    "SCHED_ISO": 4,
    "SCHED_IDLE": 5,
    "SCHED_DEADLINE": 6,
}
SCHED_FLAGS = {
    "SCHED_FLAG_RESET_ON_FORK": 0x01,
    "SCHED_FLAG_RECLAIM": 0x02,
    "SCHED_FLAG_DL_OVERRUN": 0x04,
    "SCHED_FLAG_KEEP_POLICY": 0x08,
    "SCHED_FLAG_KEEP_PARAMS": 0x10,
    "SCHED_FLAG_UTIL_CLAMP_MIN": 0x20,
    "SCHED_FLAG_UTIL_CLAMP_MAX": 0x40,
}
IO_CLASSES = {"IOPRIO_CLASS_RT": 1, "IOPRIO_CLASS_BE": 2, "IOPRIO_CLASS_IDLE": 3}
RESTRICTIONS = (
    "capabilities",
    "rlimits",
    "apparmorProfile",
    "selinuxLabel",
    "oomScoreAdj",
    "execCPUAffinity",
)
CPUS = 8192  # CONFIG_NR_CPUS is at most that


def kernel_has(what: str) -> bool:
    """Tell whether this kernel has 'apparmor', 'selinux' or 'resctrl' switched on."""
    import os

    try:
        if what == "apparmor":
            with open("/sys/module/apparmor/parameters/enabled", "rb", buffering=0) as file:
                return file.read(1) == b"Y"
        if what == "selinux":
            with open("/proc/self/attr/current", "rb", buffering=0) as file:
                # without a policy the kernel takes any label for this one
                if file.read(8).rstrip(b"\0\n") == b"kernel":
                    return False
        return os.path.exists({"selinux": "/sys/fs/selinux/enforce", "resctrl": "/sys/fs/resctrl/info"}[what])
    except OSError:
        return False


def read(part: Part, *, has: Callable[[str], bool] = kernel_has) -> Process:
    """Return what `part` ("process") asks for; faults and warnings go to the part's."""
    args = part.texts("args")
    if not args and not part.faults.found:
        part.bad("args", "is missing or empty: there is no program to run")
    elif args and not args[0]:
        part.bad("args[0]", "is empty: there is no program to run")
    environ = part.texts("env")
    for number, setting in enumerate(environ):
        if setting.find("=") < 1:
            part.bad(f"env[{number}]", f"'{setting}' is not of the form NAME=VALUE")
    user, size, affinity = part.part("user"), part.part("consoleSize"), part.part("execCPUAffinity")
    return Process(
        args=args,
        environ=environ,
        home=not any(setting.startswith("HOME=") for setting in environ),
        cwd=part.path_text("cwd", required=True) or "/",
        uid=user.integer("uid", 0, U32 - 1),
        gid=user.integer("gid", 0, U32 - 1),
        groups=user.integers("additionalGids", 0, U32 - 1),
        umask=user.integer("umask", 0, 0o777, default=-1),
        caps=_caps(part),
        no_new_privs=part.flag("noNewPrivileges"),
        rlimits=_rlimits(part),
        terminal=part.flag("terminal"),
        rows=size.integer("height", 0, 0xFFFF),
        columns=size.integer("width", 0, 0xFFFF),
        oom_score_adj=part.integer("oomScoreAdj", -1000, 1000) if part.has("oomScoreAdj") else None,
        scheduler=_scheduler(part),
        io_priority=_io_priority(part),
        cpu_affinity_first=_cpus(affinity, "initial"),
        cpu_affinity=_cpus(affinity, "final"),
        apparmor=_label(part, "apparmorProfile", "apparmor", "AppArmor", has),
        selinux=_label(part, "selinuxLabel", "selinux", "SELinux", has),
    )


def _label(part: Part, key: str, what: str, name: str, has: Callable[[str], bool]) -> str:
    label = part.text(key)
    if not label or has(what):
        return label
    if what != "apparmor" or label != "unconfined":  # what everything is where nothing confines
        part.bad(key, f"'{label}' cannot be put into force: this kernel has no {name}")
    return ""


def _caps(part: Part) -> Caps:
    asked = part.part("capabilities")
    masks = {}
    for kind in SETS:
        masks[kind] = 0
        for name in asked.texts(kind):
            if name in NAMES:
                masks[kind] |= 1 << NAMES.index(name)
            elif name == "ALL" or name == "CAP_ALL":
                masks[kind] |= (1 << len(NAMES)) - 1
            else:  # config.md: "MUST be logged as a warning"
                part.faults.warn(asked.at(kind), f"there is no capability '{name}', ignoring it")
    caps = Caps(**masks)
    fitting = fit(caps)
    if fitting != caps:
        for kind in ("effective", "ambient"):
            lost = masks[kind] & ~getattr(fitting, kind)
            if lost:
                sets = "permitted set" if kind == "effective" else "permitted and the inheritable set"
                why = f"not in the {sets}"
                part.faults.warn(asked.at(kind), f"{names(lost)} left out: {why}")
    return fitting


def fit(caps: Caps, grantable: int = -1) -> Caps:
    """Return the sets as far as the kernel takes them: effective within permitted, ambient within two sets.

    Nothing that is not `grantable` (a mask) stays. Source: capabilities(7).
    """
    permitted, inheritable = caps.permitted & grantable, caps.inheritable & grantable
    return Caps(
        bounding=caps.bounding & grantable,
        effective=caps.effective & permitted,
        permitted=permitted,
        inheritable=inheritable,
        ambient=caps.ambient & permitted & inheritable,
    )


def own_caps() -> int:
    """Return the capabilities that this process has and may hand on, as a mask."""
    mask = -1
    with open("/proc/self/status", "rb", buffering=0) as file:
        for line in file.read(8192).split(b"\n"):
            if line.startswith((b"CapPrm:", b"CapBnd:")):
                mask &= int(line[7:], 16)
    return mask


def within(found: Process, top: Part) -> Process:
    """Return a program that is put into a container later (`exec`) with the rights that can be given there.

    `top` is the container's configuration.
    """
    spaces = top.part("linux").parts("namespaces")
    if not any(space.data.get("type") == "user" for space in spaces):
        found = found.but(caps=fit(found.caps, own_caps()))
    if top.has("annotations"):
        from redpak.oci import node_handler

        if node_handler.asked(top.data):
            found = node_handler.confined(found, top.data)
    return found


def names(mask: int) -> str:
    """Return the capabilities of a mask for a person."""
    return ", ".join(name for number, name in enumerate(NAMES) if mask >> number & 1)


def _rlimits(part: Part) -> tuple[Limit, ...]:
    found: dict[str, Limit] = {}
    for limit in part.parts("rlimits"):
        kind = limit.text("type", required=True)
        soft, hard = (limit.integer(key, 0, U64, required=True) for key in ("soft", "hard"))
        if not kind:
            continue
        name = kind.removeprefix("RLIMIT_")
        if name == kind or name not in RLIMITS:
            limit.bad("type", f"'{kind}' is no resource limit")
        elif name in found:
            limit.bad("type", f"'{kind}' is there twice")
        elif soft > hard and limit.has("hard"):
            limit.bad("soft", f"{soft} is more than the hard limit of {hard}")
        else:
            found[name] = Limit(name=name.lower(), soft=_unlimited(soft), hard=_unlimited(hard))
    return tuple(found.values())


def _unlimited(value: int) -> int:
    return value - U64 - 1 if value > I64 else value  # as the C type of it: all ones are -1


def _scheduler(part: Part) -> tuple[tuple[str, int], ...]:
    if not part.has("scheduler"):
        return ()
    asked = part.part("scheduler")
    policy = asked.word("policy", POLICIES, required=True)
    flags = 0
    for number, word in enumerate(asked.texts("flags")):
        if word in SCHED_FLAGS:
            flags |= SCHED_FLAGS[word]
        else:
            asked.bad(f"flags[{number}]", f"'{word}' is none of {', '.join(SCHED_FLAGS)}")
    nice = asked.integer("nice", -20, 19)
    priority = asked.integer("priority", 0, 99)
    times = {key: asked.integer(key, 0, I64) for key in ("runtime", "deadline", "period")}
    if priority and policy not in (1, 2):
        asked.bad("priority", "is for SCHED_FIFO and SCHED_RR alone")
    for key, value in times.items():
        if value and policy != POLICIES["SCHED_DEADLINE"]:
            asked.bad(key, "is for SCHED_DEADLINE alone")
    return (
        ("sched_policy", policy),
        ("sched_flags", flags),
        ("sched_nice", nice),
        ("sched_priority", priority),
        *((f"sched_{key}", value) for key, value in times.items()),
    )


def _io_priority(part: Part) -> int:
    if not part.has("ioPriority"):
        return -1
    asked = part.part("ioPriority")
    return asked.word("class", IO_CLASSES, required=True) << 13 | asked.integer("priority", 0, 7)


def _cpus(part: Part, key: str) -> tuple[int, ...]:
    text = part.text(key)
    found: set[int] = set()
    for piece in text.replace(" ", "").split(",") if text else ():
        first, dash, last = piece.partition("-")
        ends = (first, last if dash else first)
        if not all(end.isascii() and end.isdigit() and len(end) < 6 for end in ends):
            part.bad(key, f"'{text}' is no list of processors such as 0-3,7")
            return ()
        low, high = int(ends[0]), int(ends[1])
        if low > high or high >= CPUS:
            part.bad(key, f"'{piece}' is no range of processors")
            return ()
        found.update(range(low, high + 1))
    return tuple(sorted(found))


def parse(data: object, *, file: str = "", text: bytes = b"") -> tuple[Process, list[str]]:
    """Return the process of a whole document (`exec --process`), and warnings; raises BadConfig with all faults."""
    faults = Faults()
    if not isinstance(data, dict):
        faults.add("", "is no object")
        raise faults.error(file, text)
    found = read(Part(data, "", faults))
    if faults.found:
        raise faults.error(file, text)
    return found, faults.warnings


def load(path: str, like: object = None) -> tuple[Process, list[str]]:
    """Return the process that a file describes (`exec --process`), and warnings.

    What it does not say of RESTRICTIONS is as in `like`, the container's own process, as runc and crun have it.
    """
    from redpak import quickjson

    text = quickjson.read(path)
    data = quickjson.loads(text, file=path)
    if isinstance(data, dict) and isinstance(like, dict):
        kept = {key: like[key] for key in RESTRICTIONS if key in like and data.get(key) is None}
        data = {**data, **kept}
    return parse(data, file=path, text=text)


def changed(
    process: Process,
    args: tuple[str, ...],
    *,
    env: tuple[str, ...] = (),
    cwd: str = "",
    user: str = "",
    groups: tuple[int, ...] = (),
    caps: tuple[str, ...] = (),
    terminal: bool = False,
    no_new_privs: bool | None = None,
    apparmor: str = "",
    selinux: str = "",
    has: Callable[[str], bool] = kernel_has,
) -> tuple[Process, list[str]]:
    """Return the container's own process changed as the command line of `exec` says, and warnings.

    `user` is "UID" or "UID:GID"; `caps` are given in addition, in every set. Raises BadConfig.
    """
    faults = Faults()
    given = {"args": list(args), "env": list(env), "cwd": cwd or process.cwd}
    part = Part(given, "", faults)
    fresh = read(Part({**given, "apparmorProfile": apparmor, "selinuxLabel": selinux}, "", faults), has=has)
    uid, gid = process.uid, process.gid
    if user:
        pieces = user.split(":")
        if len(pieces) > 2 or not all(p.isascii() and p.isdigit() and int(p) < U32 for p in pieces):
            part.bad("user", f"'{user}' is not of the form UID or UID:GID")
        else:
            uid, gid = int(pieces[0]), int(pieces[1]) if len(pieces) == 2 else gid
    more = 0
    for name in caps:
        if name not in NAMES:
            faults.warn("cap", f"there is no capability '{name}', ignoring it")
        else:
            more |= 1 << NAMES.index(name)
    if faults.found:
        raise faults.error()
    kept = {setting.partition("=")[0]: setting for setting in (*process.environ, *env)}
    old = process.caps
    return process.but(
        args=args,
        environ=tuple(kept.values()),
        home=process.home and "HOME" not in kept,
        cwd=fresh.cwd,
        uid=uid,
        gid=gid,
        groups=(*process.groups, *groups),
        caps=fit(Caps(**{kind: getattr(old, kind) | more for kind in SETS})) if more else old,
        terminal=terminal,
        rows=0,
        columns=0,
        no_new_privs=process.no_new_privs if no_new_privs is None else no_new_privs,
        apparmor=fresh.apparmor if apparmor else process.apparmor,
        selinux=fresh.selinux if selinux else process.selinux,
    ), faults.warnings
