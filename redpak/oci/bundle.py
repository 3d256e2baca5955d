"""A plan as a bundle that every OCI runtime can run: config.json, and a directory `rootfs` that is all but empty.

Everything of the plan's tree is a mount of the bundle; `rootfs` has only the places for them, and symbolic links.
It is read-only. Annotations say where each part was asked for, and the digest of the plan (ORIGINS, DIGEST, NODE).

What a bundle cannot say is refused where it would make the sandbox wider or another one (texts that are computed at
every start, inherited descriptors, SMACK labels), and told in `notes` where it makes it narrower or is a convenience
(abstract sockets when the network is shared, the caller's whole environment, lock files).
Sources were resolved when the bundle was made, as for a frozen launcher: make it anew when the node has changed.
"""

from __future__ import annotations

import os
import stat

from redpak.engine import destinations, isolation, mounts
from redpak.engine.locate import Tree
from redpak.engine.lowering import Lowering, Unfit
from redpak.engine.seccomp import OUTSIDE
from redpak.engine.spread import spread
from redpak.kernel.caps import NAMES
from redpak.oci import profile, spec
from redpak.plan.model import SetVar
from redpak.plan.ops import Bind, Dev, Dir, File, InheritFd, Lock, Mqueue, Proc, Symlink, Tmpfs
from redpak.record import Record, assert_never
from redpak.text import Text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from redpak.engine.host import Host
    from redpak.origin import Origin
    from redpak.plan.model import Op, Plan

PREFIX = "org.redpak."
DIGEST, NODE, PROFILE, ORIGINS = (
    PREFIX + "plan." + word for word in ("digest", "node", "profile", "origins")
)
SPACES = {"cgroup": "cgroup", "ipc": "ipc", "net": "network", "pid": "pid", "time": "time", "user": "user"}
TTY_GROUP = "gid=5"
SAFE = ("nosuid", "nodev")


class Place(Record):
    """Something in `rootfs`: a directory, a file to mount on, or a symbolic link."""

    path: str  # as the program sees it
    kind: str  # "dir", "file", "link"
    target: str = ""


class Bundle(Record):
    """What is written to a bundle's directory."""

    config: dict[str, Any]
    places: tuple[Place, ...]  # parents first
    files: tuple[tuple[str, str], ...] = ()  # (name beneath the bundle, content)
    create: tuple[str, ...] = ()  # directories of the node to make first, parents before children
    notes: tuple[str, ...] = ()


class _Making:
    """A bundle that grows."""

    def __init__(self, work: Lowering) -> None:
        self.work = work
        self.mounts: list[dict[str, Any]] = []
        self.places: dict[str, Place] = {}
        self.files: list[tuple[str, str]] = []
        self.origins: dict[str, Any] = {}
        self.root = "rootfs"
        self.root_readonly = True
        self.notes: list[str] = work.notes
        self.covered: set[str] = set()  # destinations that are mounts: nothing in `rootfs` lies in them

    def said(self, thing: str, origin: Origin, op: str = "") -> None:
        """Keep who asked for a thing: [what it is, file, line, note]."""
        self.origins[thing] = [op, origin.file, origin.line, origin.note]

    def place(self, path: str, kind: str, target: str = "") -> None:
        """Add a place to `rootfs`, unless it lies in a mount, where the runtime makes it."""
        parts = path.strip("/").split("/")
        above = ["/" + "/".join(parts[:end]) for end in range(1, len(parts))]
        if any(folder in self.covered for folder in above):
            return
        for folder in above:
            self.places.setdefault(folder, Place(path=folder, kind="dir"))
        self.places.setdefault(path, Place(path=path, kind=kind, target=target))

    def mount(
        self, op: Op, kind: str, source: str, *options: str, file: bool = False, word: str = ""
    ) -> None:
        """Add a mount and the place for it."""
        self.place(op.dst, "file" if file else "dir")
        self.covered.add(op.dst)
        self.mounts.append(spec.mount(op.dst, kind, source, *options))
        self.said(f"mount {op.dst}", op.because, word)


def make(plan: Plan, host: Host, environ: Mapping[str, str], *, force: bool = False) -> Bundle:
    """Return the bundle of a plan. `environ` is where inherited variables are taken from, now.

    `force` leaves mounts out whose source is missing. Raises Unfit with all reasons at once.
    """
    work = Lowering(plan, host, force=force, strict=False)
    making = _Making(work)
    isolation.identity(work)
    _tree(making)
    isolation.limits(work)
    isolation.joins(work)
    config = {
        "ociVersion": "1.0.2" if plan.namespace("time").mode != "new" else "1.1.0",
        "process": _process(making, environ),
        "root": {"path": making.root, "readonly": making.root_readonly},
        "mounts": making.mounts,
        "linux": _linux(making),
    }
    hostname = plan.choice("hostname")
    if hostname:
        config["hostname"] = _word(making, hostname, "the hostname", work.why("hostname"))
    if plan.choice("scope"):
        making.notes.append(
            "abstract sockets of the host can be reached: the network is shared, and no bundle scopes them"
        )
    if plan.choice("smack"):
        work.refuse("no bundle can set a SMACK label", "Remove 'smack'.", work.why("smack"))
    for choice in plan.choices:
        making.said(f"setting {choice.name}", choice.because)
    if work.reasons:
        raise Unfit(plan.node, tuple(work.reasons))
    from redpak import quickjson
    from redpak.plan import wire

    config["annotations"] = {
        DIGEST: wire.digest(plan),
        NODE: plan.node,
        PROFILE: plan.profile,
        ORIGINS: quickjson.dumps(making.origins),
    }
    return Bundle(
        config=config,
        places=tuple(making.places[path] for path in sorted(making.places)),
        files=tuple(making.files),
        create=tuple(work.create),
        notes=tuple(making.notes),
    )


def _tree(making: _Making) -> None:
    work = making.work
    apart = spread(work)
    tree = Tree(work.plan.but(mounts=apart.ops))
    shown: dict[str, str] = {}
    holds = {os.path.dirname(op.dst) for op in apart.ops if isinstance(op, Symlink)}
    for op in apart.ops:
        if isinstance(op, Lock):
            making.notes.append(f"{op.because}: no lock is held on '{op.dst}'")
            continue
        above = tree.cover(os.path.dirname(op.dst)) if op.dst != "/" else None
        if isinstance(above, Bind) and above.dst not in shown:
            continue  # left out or refused, and so is what lies in it
        where = destinations.place(op, above, shown.get(above.dst, "") if above else "", work.trees)
        if where.reason:
            work.refuse(where.reason, where.hint, op.because)
            continue
        if isinstance(op, Bind):
            if mounts.source(work, op, shown, where) is not None:
                _bind(making, op, shown[op.dst])
        else:
            _own(making, op, sealed=op.dst in apart.sealed or op.dst in holds, own=where.own)


def _bind(making: _Making, op: Bind, source: str) -> None:
    if not source:
        making.work.refuse(
            f"the source of '{op.dst}' comes from a command, and a bundle runs none",
            "Write the path itself.",
            op.because,
        )
        return
    if op.dst == "/":
        making.root, making.root_readonly = source, op.readonly
        making.said("mount /", op.because, "bind")
        return
    try:
        directory = stat.S_ISDIR(os.stat(source).st_mode)
    except OSError:
        directory = True  # one that is made when the bundle is written
    # Nothing is mounted below a file, and crun 1.8 takes the words for all below as saying that it is a directory.
    # A device that is bound by name is meant to work; all else is seen as files only.
    deep = "r" if directory else ""
    safe = [deep + word for word in SAFE if directory or word != "nodev" or not source.startswith("/dev/")]
    access = [*(["ro"] if op.readonly else []), *(["rro"] if op.readonly and directory else [])] or ["rw"]
    how = "rbind" if directory else "bind"
    making.mount(
        op, "bind", source, how, "rprivate", *safe, *access, file=not directory, word=op.mode or "bind"
    )


def _own(making: _Making, op: Op, *, sealed: bool, own: bool) -> None:
    """Add what is the sandbox's own. `sealed`: a read-only directory, or one with links in it."""
    match op:
        case Dir() | Tmpfs() if sealed and op.dst != "/":
            making.place(op.dst, "dir")
            making.said(f"place {op.dst}", op.because, "dir" if isinstance(op, Dir) else "tmpfs")
        case Dir() | Tmpfs():
            word = "dir" if isinstance(op, Dir) else "tmpfs"
            if op.dst != "/":
                making.mount(op, "tmpfs", "tmpfs", *SAFE, "mode=0755", word=word)
        case Proc():
            making.mount(op, "proc", "proc", *SAFE, "noexec", word="proc")
        case Mqueue():
            making.mount(op, "mqueue", "mqueue", *SAFE, "noexec", word="mqueue")
        case Dev():
            _dev(making, op)
        case Symlink(target=target):
            if not own or any(op.dst.startswith(folder + "/") for folder in making.covered):
                making.work.refuse(
                    f"the link '{op.dst}' lies in a mount, where no bundle can make one",
                    "Put it into a directory of the node.",
                    op.because,
                )
            making.place(op.dst, "link", target)
            making.said(f"place {op.dst}", op.because, "symlink")
        case File(content=content):
            name = f"files/{len(making.files)}"
            making.files.append((name, _word(making, content, f"the content of '{op.dst}'", op.because)))
            making.mount(op, "bind", name, "bind", "rprivate", *SAFE, "noexec", "ro", file=True, word="file")
        case InheritFd(fd=fd):
            hint = "Give the program a file instead."
            making.work.refuse(f"descriptor {fd} cannot be passed on by a bundle", hint, op.because)
        case Bind() | Lock():
            raise AssertionError("seen to by the caller")
        case _:
            assert_never(op)


def _dev(making: _Making, op: Dev) -> None:
    plan = making.work.plan
    mapped = plan.namespace("user").mode == "new"  # one group only: 'tty' has no id
    for one in spec.kernel_mounts(cgroup=False):
        at = one["destination"]
        if at == "/dev" or at in ("/dev/pts", "/dev/shm"):
            options = [word for word in one["options"] if not (mapped and word == TTY_GROUP)]
            inner = Dev(dst=op.dst + at.removeprefix("/dev"), because=op.because)
            making.mount(inner, one["type"], one["source"], *options, word="dev")


def _word(making: _Making, value: Text | str | int, what: str, because: Origin) -> str:
    """Return a text that has to be known now."""
    known = value.literal if isinstance(value, Text) else str(value)
    if known is None:
        hint = "Write the value itself, or start the node with 'redpak run'."
        making.work.refuse(f"{what} is computed at every start, and a bundle runs nothing", hint, because)
        return ""
    return known


def _process(making: _Making, environ: Mapping[str, str]) -> dict[str, Any]:
    plan, work = making.work.plan, making.work
    variables = []
    for one in plan.environ:
        making.said(f"variable {one.key}", one.because, "set" if isinstance(one, SetVar) else "unset")
        if not isinstance(one, SetVar):
            continue
        if one.inherited:
            making.notes.append(f"{one.because}: '{one.key}' is what it is now: '{environ.get(one.key, '')}'")
            variables.append(f"{one.key}={environ.get(one.key, '')}")
        else:
            variables.append(f"{one.key}={_word(making, one.value, f'variable {one.key}', one.because)}")
    if plan.choice("inherit-env"):
        making.notes.append("the caller's other variables are not passed on: a bundle has no caller")
    chdir = plan.choice("chdir")
    root = bool(plan.choice("map-root")) and plan.namespace("user").mode != "join"
    uid, gid = (
        now if now >= 0 else launched for now, launched in zip(work.become, (plan.uid, plan.gid), strict=True)
    )
    user: dict[str, Any] = {"uid": 0 if root else uid, "gid": 0 if root else gid}
    umask = plan.choice("umask")
    if isinstance(umask, int) and umask >= 0:
        user["umask"] = umask
    kept = [one.name for one in plan.capabilities]
    for capability in plan.capabilities:
        making.said(f"capability {capability.name}", capability.because)
        if capability.name != "ALL" and capability.name not in NAMES:
            work.refuse(f"'{capability.name}' is no capability", "See capabilities(7).", capability.because)
    caps = list(NAMES) if "ALL" in kept else kept
    found: dict[str, Any] = {
        "user": user,
        "args": list(plan.command or ("sh",)),
        "env": variables,
        "cwd": _word(making, chdir, "the directory", work.why("chdir")) if chdir else "/",
        "capabilities": {
            kind: caps for kind in ("bounding", "effective", "permitted", "inheritable", "ambient")
        },
        "noNewPrivileges": True,
    }
    if plan.rlimits:
        found["rlimits"] = [
            {
                "type": f"RLIMIT_{one.name.upper()}",
                "soft": (1 << 64) - 1 if one.soft < 0 else one.soft,
                "hard": (1 << 64) - 1 if one.hard < 0 else one.hard,
            }
            for one in plan.rlimits
        ]
        for limit in plan.rlimits:
            making.said(f"rlimit {limit.name}", limit.because)
    return found


def _linux(making: _Making) -> dict[str, Any]:
    plan, work = making.work.plan, making.work
    spaces: list[dict[str, str]] = [{"type": "mount"}]
    for ns in plan.namespaces:
        making.said(f"namespace {ns.kind}", ns.because)
        word = SPACES.get(ns.kind)
        if ns.kind == "uts" and (ns.mode == "new" or plan.choice("hostname")):
            spaces.append({"type": "uts"})
        elif word and ns.mode == "new":
            spaces.append({"type": word})
        elif word and ns.mode == "join":
            spaces.append({"type": word, "path": ns.path})
    found: dict[str, Any] = {"namespaces": spaces, "rootfsPropagation": "private"}
    if plan.namespace("user").mode == "new":
        root = bool(plan.choice("map-root"))
        for key, outside in (("uidMappings", plan.uid), ("gidMappings", plan.gid)):
            found[key] = [{"containerID": 0 if root else outside, "hostID": outside, "size": 1}]
            if work.host.uid == 0 and outside and not root:  # who makes the tree has to be somebody inside
                found[key].insert(0, {"containerID": 0, "hostID": 0, "size": 1})
    found["maskedPaths"] = sorted({*spec.MASKED, *mounts.PROC_HIDDEN})
    found["readonlyPaths"] = list(spec.READONLY)
    kept = tuple(one.name for one in plan.capabilities)
    if plan.choice("seccomp") != "none":
        own_network = plan.namespace("net").mode == "new"
        section = profile.section(kept, no_sockets=OUTSIDE if own_network else ())
        if section is None:
            hint = "Set 'seccomp: none' to go without."
            work.refuse(f"there is no filter for {os.uname().machine}", hint, work.why("seccomp"))
        else:
            found["seccomp"] = section
    resources: dict[str, Any] = {"devices": [{"allow": False, "access": "rwm"}]}
    if plan.limits:
        from redpak.oci.ceilings import resources as smallest

        resources |= smallest(plan.limits)
        for limit in plan.limits:
            making.said(f"limit {limit.key}", limit.because, limit.node)
    found["resources"] = resources
    return found


def write(bundle: Bundle, folder: str) -> None:
    """Write a bundle to a new or empty directory; config.json comes last, so an unfinished bundle is none.

    Raises RedpakError (something is there already, or it cannot be written).
    """
    from redpak.errors import RedpakError, doing

    with doing(f"make the bundle '{folder}'"):
        os.makedirs(folder, mode=0o755, exist_ok=True)
        if os.listdir(folder):
            raise RedpakError(
                f"cannot make the bundle '{folder}': the directory is not empty", hint="Name a new directory."
            )
        for path in bundle.create:
            os.makedirs(path, mode=0o775, exist_ok=True)
        rootfs = os.path.join(folder, "rootfs")
        os.mkdir(rootfs, 0o755)
        for place in bundle.places:
            at = rootfs + place.path
            if place.kind == "dir":
                os.mkdir(at, 0o755)
            elif place.kind == "link":
                os.symlink(place.target, at)
            else:
                os.close(
                    os.open(at, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o444)
                )
        for name, content in bundle.files:
            at = os.path.join(folder, name)
            os.makedirs(os.path.dirname(at), mode=0o755, exist_ok=True)
            with open(os.open(at, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444), "wb") as file:
                file.write(content.encode(errors="surrogateescape"))
        config = bundle.config
        if bundle.files:  # runtimes want whole paths
            names = {name for name, _ in bundle.files}
            whole = os.path.abspath(folder)
            moved = [
                {**one, "source": f"{whole}/{one['source']}"} if one.get("source") in names else one
                for one in config["mounts"]
            ]
            config = {**config, "mounts": moved}
        spec.write(os.path.join(folder, "config.json"), config)
