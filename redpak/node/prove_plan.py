"""The launches of a tree, for its proof: what configuration says, what is wrong with it, what a program would see."""

from __future__ import annotations

import os

from redpak.errors import BadConfig, RedpakError
from redpak.node import generations, prove_cache, tree
from redpak.packages.finding import Finding, of_data
from redpak.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.config.model import Family, Merged, Node
    from redpak.errors import Fault
    from redpak.node.prove_cache import Cache
    from redpak.plan.model import Plan

BIND, LINK, EMPTY = "bind", "link", "empty"


class Mount(Record):
    """What a launch shows at a path of the sandbox."""

    at: str
    kind: str  # BIND, LINK, or EMPTY for everything that shows no file of the disk
    source: str = ""  # absolute path, or the link's target; '' when only a launch knows it
    needed: bool = False  # a launch is refused where the source is missing
    beneath: str = ""  # the node that the source was asked for in
    because: str = ""


class Launch(Record):
    """One node's launch."""

    path: str
    alias: str
    core: str = ""  # what the family says of its core OS
    rpmdir: str = ""  # what the node says of its database
    gpgcheck: bool = True
    mounts: tuple[Mount, ...] = ()  # outer ones first
    search: tuple[str, ...] = ()  # PATH
    libraries: tuple[str, ...] = ()  # LD_LIBRARY_PATH
    findings: tuple[Finding, ...] = ()


def launch_of(path: str, cache: Cache, seen: dict[str, str]) -> Launch:
    """Return the launch of a node. `seen` remembers, through one proof, where sources lead."""
    known = cache.get("plan", path, "")
    if known is not None and unchanged(path, known, seen):
        return of_values(known["launch"])
    if known is not None:
        cache.hits["plan"] -= 1
    before = inputs(path)
    made, plan = look(path)
    reads = [(one.name, one.value) for one in plan.reads] if plan else None
    # nothing is kept of what could not be planned: what it depends on is not known
    if reads is not None:
        cache.put("plan", path, "", {
            "inputs": before, "reads": reads, "sources": sources(made, seen), "launch": values(made),
        })  # fmt: skip
    return made


def unchanged(path: str, known: dict[str, object], seen: dict[str, str]) -> bool:
    """Tell whether everything that a launch was planned from is as it was."""
    if known["inputs"] != inputs(path):
        return False
    if any(os.environ.get(name) != value for name, value in known["reads"]):  # type: ignore[attr-defined]
        return False
    return all(where(source, seen) == at for source, at in known["sources"])  # type: ignore[attr-defined]


def inputs(path: str) -> str:
    """Return a digest of the state of every file that a node's configuration comes from, and who asks."""
    from redpak.fs import stamp

    found: list[object] = [os.getuid(), os.getgid(), os.geteuid(), os.environ.get("REDPAK_PROFILE", "")]
    for name in tree.inputs(path):
        found.append((name, stamp(name)))
    for directory in tree.spelled(path):
        try:
            at = os.lstat(directory.rstrip("/") or "/")
            found.append((directory, at.st_mode, at.st_uid, generations.link_of(directory.rstrip("/"))))
        except OSError as error:
            found.append((directory, error.errno))
    return prove_cache.digest(found)


def sources(made: Launch, seen: dict[str, str]) -> list[tuple[str, str]]:
    """Return where the sources of a launch lead now: the seals depend on it."""
    wanted = {mount.source for mount in made.mounts if mount.kind == BIND and mount.source}
    return [(source, where(source, seen)) for source in sorted(wanted)]


def where(source: str, seen: dict[str, str]) -> str:
    """Return what the kernel finds at a path: canonical name, device, inode and kind; '' when nothing is there."""
    found = seen.get(source)
    if found is None:
        try:
            at = os.stat(source)
            found = f"{os.path.realpath(source)}:{at.st_dev}:{at.st_ino}:{at.st_mode >> 12}"
        except OSError:
            found = ""
        seen[source] = found
    return found


def look(path: str) -> tuple[Launch, Plan | None]:
    """Return the launch of a node by its configuration, and its plan when there is one."""
    from redpak.config.merge import merge
    from redpak.node import plan as planning
    from redpak.node import trust
    from redpak.node.aliases import refuse_aliases
    from redpak.node.family import context, family_of

    found: list[Finding] = []
    family: Family | None = None
    made: Plan | None = None
    merged: Merged | None = None
    try:
        family, profile = family_of(path, any_state=True)
        known = context()
        merged = merge(family, profile, known)
        made = planning.plan(merged, known)
        if profile == "sealed":
            trust.check(path)
            refuse_aliases(merged)
    except BadConfig as error:
        found += [fault_of(path, fault) for fault in error.faults]
    except RedpakError as error:
        found.append(
            Finding(kind="configuration", place=path, text=error.message, hint=error.hint, file=path)
        )
    alias = family.nodes[-1].alias if family else os.path.basename(path)
    found = [one.but(name=alias) for one in found]
    if family is None or merged is None or made is None:
        rpmdir = said_rpmdir(family.nodes[-1]) if family else ""
        return Launch(path=path, alias=alias, rpmdir=rpmdir, findings=tuple(found)), None
    return described(path, family, merged, made, tuple(found)), None if found else made


def described(path: str, family: Family, merged: Merged, made: Plan, findings: tuple[Finding, ...]) -> Launch:
    """Return what a proof needs of a plan."""
    from redpak.node.site import configured_core

    demanded = merged.tags.get("gpgcheck")
    return Launch(
        path=path,
        alias=family.nodes[-1].alias,
        core=configured_core(merged),
        rpmdir=said_rpmdir(family.nodes[-1]),
        gpgcheck=demanded is not None and demanded.value is True,
        mounts=mounts_of(made),
        search=variable(made, "PATH"),
        libraries=variable(made, "LD_LIBRARY_PATH"),
        findings=findings,
    )


def said_rpmdir(node: Node) -> str:
    """Return what a node's file says of its database."""
    said = node.normal.tags.get("rpmdir")
    return said.value if said is not None and isinstance(said.value, str) else ""


def mounts_of(made: Plan) -> tuple[Mount, ...]:
    """Return the mounts of a plan, as far as they are known before a launch."""
    from redpak.plan.ops import Bind, Lock, Symlink

    found = []
    for op in made.mounts:
        because = str(op.because)
        match op:
            case Bind():
                found.append(Mount(
                    at=op.dst, kind=BIND, source=op.src.literal or "", beneath=op.beneath,
                    needed=op.missing == "refuse" and op.src.literal is not None, because=because,
                ))  # fmt: skip
            case Symlink():
                found.append(Mount(at=op.dst, kind=LINK, source=op.target, because=because))
            case Lock():
                pass
            case _:
                found.append(Mount(at=op.dst, kind=EMPTY, because=because))
    return tuple(found)


def variable(made: Plan, key: str) -> tuple[str, ...]:
    """Return the directories of a search path that are known before a launch."""
    from redpak.plan.model import SetVar

    for entry in made.environ:
        if entry.key == key and isinstance(entry, SetVar):
            whole = entry.value.literal
            if entry.inherited:
                whole = os.environ.get(key, "")
            return tuple(part for part in (whole or "").split(":") if part)
    return ()


def fault_of(path: str, fault: Fault) -> Finding:
    """Return a fault of a configuration file as a finding."""
    return Finding(
        kind="loosened-setting" if loosens(fault.message) else "configuration",
        place=path,
        file=fault.origin.full(),
        text=fault.message,
        hint=fault.hint,
    )


# How the seals word it when a descendant opens what an ancestor closed (config/sealed_*.py, node/aliases.py).
LOOSENING = (
    " loosens ",
    "shows read-only",
    "which binds this node",
    "is larger than",
    "drops CAP_",
    "drops ALL",
)


def loosens(message: str) -> bool:
    """Tell whether a fault says that a descendant loosens what binds it."""
    return any(words in message for words in LOOSENING)


def beneath(core: str, source: str) -> str:
    """Return where a source of the core OS is on this host: beneath its root, unless it is written so already."""
    root = core.rstrip("/")
    return source if not root or source == root or source.startswith(root + "/") else root + source


# What a program is and loads; the rest of a host (/dev, /etc/resolv.conf …) has to be the one it runs on.
SOFTWARE = ("usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "opt")


def other_core(made: Launch, core: str, name: str) -> list[Finding]:
    """Return a note where a launch on this host has other programs than those of the core OS that was looked at.

    `core` is that one's root, '' where only a manifest is known; `name` is what the configuration calls it.
    """
    if core == "/":
        return []
    shown = [
        mount.at for mount in made.mounts
        if mount.kind == BIND and mount.source and not mount.beneath and mount.at.split("/")[1] in SOFTWARE
        and (not core or beneath(core, mount.source) != mount.source)
    ]  # fmt: skip
    if not shown:
        return []
    return [Finding(
        kind="other-core", place=made.path, name=made.alias, grade="note",
        text=f"the proof is about core OS '{name}', but a launch on this host shows the host's own "
        + ", ".join(f"'{at}'" for at in sorted(set(shown))),
        hint="Launch where that core OS is '/', or export these directories from beneath its root.",
    )]  # fmt: skip


def missing_sources(made: Launch, core: str, seen: dict[str, str]) -> list[Finding]:
    """Return the sources that are not there. `core`: the root of the core OS, '' where only a manifest is known.

    Of a core OS that is not the running one, what only this host has is a note: the target may have it at run time.
    """
    found = []
    for mount in made.mounts:
        if not mount.needed:
            continue
        here = bool(where(mount.source, seen))
        if mount.beneath or core == "/":
            grade = "" if here else "fault"
        elif core and where(beneath(core, mount.source), seen):
            grade = ""
        else:
            grade = "fault" if core and not here else "note"
        if grade:
            what = "does not exist" if core else "cannot be known to exist in the core OS, which is not here"
            found.append(Finding(
                kind="missing-source", place=made.path, name=made.alias, file=mount.source,
                text=f"'{mount.source}', shown at '{mount.at}', {what} ({mount.because})",
                hint="Make it, or remove the export.", grade=grade,  # type: ignore[arg-type]
            ))  # fmt: skip
    return found


# ---- plain values, for the cache ----


def values(made: Launch) -> list[object]:
    """Return a launch as plain values."""
    return [
        *made.values()[:5],
        [list(mount.values()) for mount in made.mounts],
        list(made.search),
        list(made.libraries),
        [finding.data() for finding in made.findings],
    ]


def of_values(plain: list[object]) -> Launch:
    """Return what `values` made."""
    path, alias, core, rpmdir, gpgcheck, mounts, search, libraries, findings = plain
    return Launch(
        path=path, alias=alias, core=core, rpmdir=rpmdir, gpgcheck=gpgcheck,  # type: ignore[arg-type]
        mounts=tuple(
            Mount(at=at, kind=kind, source=source, needed=needed, beneath=beneath, because=because)
            for at, kind, source, needed, beneath, because in mounts  # type: ignore[attr-defined]
        ),
        search=tuple(search), libraries=tuple(libraries),  # type: ignore[arg-type]
        findings=tuple(of_data(one) for one in findings),  # type: ignore[attr-defined]
    )  # fmt: skip
