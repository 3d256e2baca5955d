"""Everything of a plan but its mounts: variables, rights, identity, limits, namespaces."""

from __future__ import annotations

import os

from redpak.engine import seccomp
from redpak.engine.spec import Join, Opened, Value
from redpak.kernel import caps
from redpak.plan.model import SetVar, UnsetVar
from redpak.text import Text, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.engine.lowering import Lowering
    from redpak.engine.spec import JoinKind

RLIMITS = (
    "as", "core", "cpu", "data", "fsize", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss", "rtprio", "rttime",
    "sigpending", "stack",
)  # fmt: skip
LONGEST_HOSTNAME = 64  # uname(2)


def environ(work: Lowering) -> None:
    """Add the variables: bwrap starts with none."""
    for variable in work.plan.environ:
        if not variable.key or "=" in variable.key or "\0" in variable.key:
            work.refuse(f"'{variable.key}' cannot name a variable", "Choose another name.", variable.because)
            continue
        match variable:
            case UnsetVar(key=key):
                work.args += ["--unsetenv", key]
            case SetVar(key=key, inherited=True, because=because):
                work.args += [
                    "--setenv",
                    key,
                    Value(content=text(), inherited=key, before=2, because=because),
                ]
            case SetVar(key=key, value=value, because=because):
                work.args += ["--setenv", key, work.word(value, because, before=2)]


def rights(work: Lowering) -> None:
    """Add capabilities and the system call filter."""
    kept = tuple(one.name for one in work.plan.capabilities)
    work.args += ["--cap-drop", "ALL"]
    limited = work.host.uid == 0 and work.plan.namespace("user").mode == "host"
    for one in work.plan.capabilities:
        mask = caps.bit(one.name)
        if one.name != "ALL" and not mask:
            work.refuse(f"'{one.name}' is no capability", "See capabilities(7).", one.because)
        elif limited and mask and not mask & work.host.bounding:
            hint = "Start redpak with that capability in its bounding set."
            work.refuse(f"'{one.name}' cannot be kept: redpak itself may not have it", hint, one.because)
        work.args += ["--cap-add", one.name]
    if work.plan.choice("seccomp") == "none":
        return
    if not seccomp.supported():
        hint = "Set 'seccomp: none' to go without."
        work.refuse(f"there is no filter for {os.uname().machine}", hint, work.why("seccomp"))
        return
    own_network = work.plan.namespace("net").mode == "new"
    work.filter = seccomp.build(kept, no_sockets=seccomp.OUTSIDE if own_network else ())
    work.filter_path = seccomp.path_of(work.filter, work.host.cache)
    work.args += ["--seccomp", work.descriptor(Opened(path=work.filter_path, how="read"))]


def number(work: Lowering, name: str, now: int) -> int:
    """Return the id that the choice `name` ("user", "group") asks for, -1 when that is `now` or nothing."""
    said = str(work.plan.choice(name))
    if not said:
        return -1
    if said.isascii() and said.isdigit():
        wanted = int(said)
    else:
        try:
            if name == "user":
                import pwd

                wanted = pwd.getpwnam(said).pw_uid
            else:
                import grp

                wanted = grp.getgrnam(said).gr_gid
        except KeyError:
            work.refuse(f"there is no {name} '{said}'", f"Name a {name} of this host.", work.why(name))
            return -1
    if wanted == now:
        return -1
    if work.host.uid != 0:
        hint = f"Start redpak as root, or remove 'set-{name}'."
        work.refuse(f"only root can change the {name} to '{said}'", hint, work.why(name))
    return wanted


def identity(work: Lowering) -> None:
    """Find out who runs."""
    work.become = (number(work, "user", work.host.uid), number(work, "group", work.host.gid))


def limits(work: Lowering) -> None:
    """Look at the limits of the program's own, and its label."""
    for limit in work.plan.rlimits:
        if limit.name not in RLIMITS:
            work.refuse(f"'{limit.name}' is no resource limit", "See getrlimit(2).", limit.because)
            continue
        import resource

        hard = resource.getrlimit(getattr(resource, "RLIMIT_" + limit.name.upper(), 0))[1]
        above = hard != -1 and (limit.hard == -1 or limit.hard > hard)
        if above and not (work.host.uid == 0 and work.host.bounding >> caps.SYS_RESOURCE & 1):
            hint = "Ask for less, or raise redpak's own limit."
            work.refuse(f"'{limit.name}' cannot be raised above {hard}", hint, limit.because)
    smack = str(work.plan.choice("smack"))
    if smack and not work.host.smack:
        hint = "Remove 'smack', or boot a kernel with SMACK."
        work.refuse(f"the label '{smack}' cannot be set: this kernel has no SMACK", hint, work.why("smack"))


def groups(work: Lowering) -> None:
    """Look at the limits of the family's control groups."""
    if not work.plan.limits:
        return
    from redpak.cgroup import family

    for one in family.problems(work.plan):
        work.refuse(one.message, one.hint, one.because)
    work.notes += family.notes(work.plan.limits)


def isolation(work: Lowering) -> None:
    """Add the namespaces and what hangs on them."""
    plan = work.plan
    ordinary = work.host.uid != 0 or work.become[0] > 0
    hostname = plan.choice("hostname")
    if work.strict and plan.choice("scope"):
        from redpak.kernel import landlock

        if landlock.abi() < landlock.SCOPE_ABI:
            message = (
                "the host's abstract sockets can be reached on a shared network: Landlock here has no scopes"
            )
            work.refuse(message, "Start without --strict, or boot Linux 6.12 or newer.", work.why("scope"))
    for kind in ("user", "ipc", "pid", "net", "uts", "cgroup", "time"):
        ns = plan.namespace(kind)
        if ns.mode != "host" and kind not in work.host.namespaces:
            work.refuse(f"this kernel has no {kind} namespaces", "Share it.", ns.because)
        if kind != "time" and (ns.mode == "new" or (kind == "uts" and hostname)):
            work.args.append(f"--unshare-{kind}")
    user = plan.namespace("user")
    if user.mode == "new":
        work.args.append("--disable-userns")
    elif user.mode == "host" and ordinary:
        message = "an ordinary user's sandbox always has a user namespace of its own"
        work.doubt(message, "Remove 'share_user', or start as root.", user.because)
    if plan.choice("map-root"):
        if user.mode != "new" and not (user.mode == "host" and ordinary):
            if work.host.uid != 0:
                hint = "Do not share the user namespace."
                work.refuse(
                    "root can only be mapped in a user namespace of its own", hint, work.why("map-root")
                )
        else:
            work.args += [
                *(["--unshare-user"] if user.mode == "host" else []),
                "--uid",
                "0",
                "--gid",
                "0",
            ]
    if hostname:
        value = work.word(hostname if isinstance(hostname, Text) else str(hostname), work.why("hostname"))
        if isinstance(value, str) and len(os.fsencode(value)) > LONGEST_HOSTNAME:
            work.refuse(f"the hostname '{value}' is too long", "At most 64 bytes.", work.why("hostname"))
        work.args += ["--hostname", value]
    chdir = plan.choice("chdir")
    if chdir:
        work.args += [
            "--chdir",
            work.word(chdir if isinstance(chdir, Text) else str(chdir), work.why("chdir")),
        ]
    if plan.choice("die-with-parent"):
        work.args.append("--die-with-parent")
    if plan.choice("new-session"):
        work.args.append("--new-session")


def joins(work: Lowering) -> None:
    """Find the namespaces to join, in the order in which that is done."""
    plan = work.plan
    wanted = [ns for ns in plan.namespaces if ns.mode == "join"]
    if not wanted:
        return
    kinds = {ns.kind for ns in wanted}
    # Joining the others takes rights over them, which an ordinary user has only inside the user namespace.
    early = work.host.uid != 0 and "user" in kinds and bool(kinds - {"user", "pid"})
    number = 9
    order: tuple[JoinKind, ...] = ("user", "cgroup", "ipc", "net", "time", "pid")
    for kind in order:
        if kind not in kinds:
            continue
        ns = plan.namespace(kind)
        if not ns.path.startswith("/") or "\0" in ns.path:
            work.refuse(f"'{ns.path}' is not the path of a namespace", "Write the whole path.", ns.because)
            continue
        if not os.path.exists(ns.path):
            work.refuse(f"the {kind} namespace '{ns.path}' is not there", "Start its owner.", ns.because)
            continue
        fd = 0
        if kind == "pid" or (kind == "user" and not early):
            while number in work.keep:
                number -= 1
            fd, number = number, number - 1
            work.args += ["--pidns" if kind == "pid" else "--userns", str(fd)]
        work.joined.append(Join(kind=kind, path=ns.path, fd=fd, because=ns.because))
