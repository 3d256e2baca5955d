"""From a redpath to the plan of launching it: reads configuration and looks at sources, creates and runs nothing."""

from __future__ import annotations

import os

from redpak.config.model import SEALED
from redpak.errors import BadConfig, Fault, doing
from redpak.fs import stamp
from redpak.origin import COMMAND_LINE, DEFAULT, Origin
from redpak.plan.model import (
    CHOICES,
    Capability,
    Choice,
    EnvInput,
    FileInput,
    Limit,
    Member,
    Namespace,
    Plan,
    Rival,
    Rlimit,
    SetVar,
    UnsetVar,
)
from redpak.plan.ops import Bind, Dev, Dir, File, InheritFd, Lock, Mqueue, Proc, Symlink, Tmpfs
from redpak.record import assert_never
from redpak.text import Run, Text, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from redpak.config.model import (
        Context,
        Family,
        Merged,
        MergedExport,
        MergedPath,
        MergedTag,
        MergedVariable,
        Profile,
    )
    from redpak.plan.model import NamespaceKind, NamespaceMode, Op

    Setting = str | int | bool | Text

DEFAULT_PATH = "/usr/local/bin:/usr/bin:/bin"

# Where the numbers of `config.cgroups` go (kernel: admin-guide/cgroup-v2.rst).
CGROUP_FILES = {
    ("cpuset", "cpus"): "cpuset.cpus",
    ("cpuset", "mems"): "cpuset.mems",
    ("cpuset", "cpus_partition"): "cpuset.cpus.partition",
    ("mem", "max"): "memory.max",
    ("mem", "high"): "memory.high",
    ("mem", "min"): "memory.min",
    ("mem", "low"): "memory.low",
    ("mem", "oom_group"): "memory.oom.group",
    ("mem", "swap_high"): "memory.swap.high",
    ("mem", "swap_max"): "memory.swap.max",
    ("cpu", "weight"): "cpu.weight",
    ("cpu", "weight_nice"): "cpu.weight.nice",
    ("cpu", "max"): "cpu.max",
    ("io", "cost_qos"): "io.cost.qos",
    ("io", "cost_model"): "io.cost.model",
    ("io", "weight"): "io.weight",
    ("io", "max"): "io.max",
    ("pids", "max"): "pids.max",
}

# The plain settings that become choices, and what they are called there.
TAG_CHOICES = {
    "hostname": "hostname",
    "chdir": "chdir",
    "set-user": "user",
    "set-group": "group",
    "smack": "smack",
    "cgrouproot": "cgroup-root",
    "map-root-user": "map-root",
    "inherit-env": "inherit-env",
    "seccomp": "seccomp",
}


def plan_of(
    path: str,
    *,
    admin: bool = False,
    command: tuple[str, ...] = (),
    strict: bool = False,
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, str] | None = None,
    may_write: bool = False,
    digests: bool = True,
    profile: Profile | None = None,
) -> Plan:
    """Return the plan of launching the node at `path`.

    `overrides` are settings given on the command line (set-user, set-group, smack). `may_write` allows the cache of
    parsed configurations to be filled; a dry run passes False. `digests` may be left out where only the stamps of
    the inputs matter. Raises BadConfig with every fault at once, NotFound, Refused; under `strict`, redefinitions
    that would only warn are faults too.
    """
    from redpak.config.merge import merge
    from redpak.node import mapping, tree
    from redpak.node.family import context, family_of

    # stamped before they are read: a file that changes meanwhile makes the plan stale, never fresh
    with doing("look at the configuration files"):
        stamps = {name: stamp(name) for name in tree.inputs(path, admin=admin)}
    family, chosen = family_of(path, admin=admin, may_write=may_write, environ=environ, profile=profile)
    packages = mapping.look(family, may_write=may_write)
    known = context(environ)
    merged = merge(family, chosen, known, overrides=overrides)
    if strict and chosen == SEALED and merged.warnings:
        raise BadConfig(merged.warnings, hint="These only warn without --strict.")
    files = tuple(file_input(name, mark, digest=digests) for name, mark in sorted(stamps.items()))
    files += mapping.inputs(family, packages)
    made = mapping.apply(
        plan(merged, known, files=files, command=command, overrides=overrides or {}), family, packages
    )
    if chosen == SEALED:
        from redpak.node.aliases import refuse_aliases

        refuse_aliases(merged)
    return made


def plan(
    merged: Merged,
    context: Context,
    *,
    files: tuple[FileInput, ...] = (),
    command: tuple[str, ...] = (),
    overrides: Mapping[str, str] | None = None,
) -> Plan:
    """Return the plan for what a family says together; pure."""
    from redpak.plan.tidy import tidy

    family = merged.family
    environ, rivals = variables(merged)
    shared = namespaces(merged)
    return tidy(
        Plan(
            node=family.nodes[-1].real,
            profile=merged.profile,
            admin=family.admin,
            family=tuple(
                Member(alias=node.alias, name=node.normal.name, path=node.real) for node in family.nodes
            ),
            mounts=tuple(mount(export, merged) for export in merged.exports),
            environ=environ,
            namespaces=shared,
            capabilities=tuple(capabilities(merged)),
            rlimits=tuple(
                Rlimit(name=ask.name, soft=ask.soft, hard=ask.hard, because=ask.origin)
                for ask, _ in merged.rlimits
            ),
            limits=tuple(
                Limit(
                    node=family.nodes[owner].real if owner >= 0 else "/",
                    key=CGROUP_FILES[ask.group, ask.key],
                    value=ask.value,
                    because=ask.origin,
                )
                for ask, owner in merged.cgroups
            ),
            choices=tuple(choices(merged.tags, overrides or {}, shared)),
            command=command,
            files=files,
            reads=tuple(EnvInput(name=name, value=value) for name, value in merged.reads),
            uid=context.uid,
            gid=context.gid,
            rivals=(
                *(
                    Rival(thing=c.thing, kind=c.kind, asked=c.asked, why=c.why, because=c.origin)
                    for c in merged.contests
                ),
                *rivals,
            ),
            warnings=tuple(str(fault) for fault in merged.warnings),
        )
    )


def file_input(path: str, mark: str, *, digest: bool) -> FileInput:
    """Return one file that the plan depends on, as it was when `mark` was taken."""
    if not mark or not digest or os.path.isdir(path):
        return FileInput(path=path, stamp=mark)
    import hashlib

    with doing("read a configuration file"), open(path, "rb") as file:
        return FileInput(path=path, stamp=mark, sha256=hashlib.file_digest(file, "sha256").hexdigest())


def mount(export: MergedExport, merged: Merged) -> Op:
    """Return the operation for one export (red-pak: export modes)."""
    dst, because = export.mount, export.origin
    source = export.path if export.path is not None else text(dst)
    match export.mode:
        case "Public" | "Private" | "Restricted" | "PrivateRestricted":
            return Bind(
                dst=dst,
                src=source,
                readonly=export.mode in ("Restricted", "PrivateRestricted"),
                missing="refuse" if merged.profile == SEALED else "create",
                beneath=beneath(source, merged.family),
                mode=export.mode,
                because=because,
            )
        case "PublicFile" | "PrivateFile" | "RestrictedFile":
            return Bind(
                dst=dst,
                src=source,
                readonly=export.mode == "RestrictedFile",
                kind="file",
                beneath=beneath(source, merged.family),
                mode=export.mode,
                because=because,
            )
        case "Anonymous":
            return Dir(dst=dst, because=because)
        case "Tmpfs":
            return Tmpfs(dst=dst, because=because)
        case "Procfs":
            return Proc(dst=dst, because=because)
        case "Devfs":
            return Dev(dst=dst, because=because)
        case "Mqueue":
            return Mqueue(dst=dst, because=because)
        case "Lock":
            return Lock(dst=dst, because=because)
        case "Symlink":
            return Symlink(dst=dst, target=known(source, export), because=because)
        case "Execfd":
            return File(dst=dst, content=text(Run(command=export.command)), because=because)
        case "Internal":
            number = known(source, export)
            if not (number.isascii() and number.isdigit()):
                hint = "Write the number of a descriptor that the caller leaves open."
                raise BadConfig(
                    [Fault(origin=because, message=f"'{number}' is no descriptor number", hint=hint)]
                )
            return InheritFd(dst=dst, fd=int(number), because=because)
        case _:
            assert_never(export.mode)


def known(value: Text, export: MergedExport) -> str:
    """Return a text that must not depend on anything computed at start."""
    if value.literal is None:
        message = f"the path of a {export.mode} export cannot be computed at start: '{value}'"
        raise BadConfig([Fault(origin=export.origin, message=message, hint="Write it out.")])
    return value.literal


def beneath(source: Text, family: Family) -> str:
    """Return the innermost node directory that a source was asked for in, '' when it is the host's."""
    lead = source.parts[0] if source.parts and isinstance(source.parts[0], str) else ""
    lead = os.path.normpath(lead)
    for node in reversed(family.nodes):
        for root in (os.path.normpath(node.path), node.real):
            if lead == root or lead.startswith(root.rstrip("/") + "/"):
                return node.real
    return ""


def variables(merged: Merged) -> tuple[tuple[SetVar | UnsetVar, ...], list[Rival]]:
    """Return the environment, and the variables that the path lists replace."""
    found: dict[str, SetVar | UnsetVar] = {}
    rivals = []
    for entry in merged.environ:
        found[entry.key] = variable(entry)
    for key, elements in (("PATH", merged.path), ("LD_LIBRARY_PATH", merged.ldpath)):
        if not elements:
            continue
        if key in found:
            setting = "path" if key == "PATH" else "ldpath"
            asked = found[key]
            said = str(asked.value) if isinstance(asked, SetVar) else "Remove"
            rivals.append(
                Rival(
                    thing=f"variable {key}",
                    kind="lost",
                    asked=said,
                    why=f"the nodes' '{setting}' settings make this variable",
                    because=asked.because,
                )
            )
        found[key] = SetVar(key=key, value=joined(elements), because=elements[0].origin)
    if "PATH" not in found and merged.profile == SEALED:
        found["PATH"] = SetVar(key="PATH", value=text(DEFAULT_PATH), because=DEFAULT)
    return tuple(found.values()), rivals


def variable(entry: MergedVariable) -> SetVar | UnsetVar:
    """Return what happens to one variable."""
    match entry.mode:
        case "Remove":
            return UnsetVar(key=entry.key, because=entry.origin)
        case "Inherit":
            return SetVar(key=entry.key, value=text(), inherited=True, because=entry.origin)
        case "Default" | "Static" | "Execfd":
            return SetVar(key=entry.key, value=entry.value or text(), because=entry.origin)
        case _:
            assert_never(entry.mode)


def joined(elements: Iterable[MergedPath]) -> Text:
    """Return path elements joined by colons."""
    parts: list[object] = []
    for element in elements:
        if parts:
            parts.append(":")
        parts.extend(element.element.parts)
    return text(*parts)  # type: ignore[arg-type]


def namespaces(merged: Merged) -> tuple[Namespace, ...]:
    """Return what happens to each kind of namespace."""
    sealed = merged.profile == SEALED
    hostname = merged.tags.get("hostname")
    found = [Namespace(kind="mount", mode="new", because=DEFAULT)]
    uts: NamespaceMode = "new" if sealed or hostname else "host"
    found.append(Namespace(kind="uts", mode=uts, because=hostname.origin if hostname else DEFAULT))
    kinds: tuple[NamespaceKind, ...] = ("user", "cgroup", "net", "pid", "ipc", "time")
    for kind in kinds:
        share = merged.shares[kind]
        match share.value.lower():
            case "enabled":
                found.append(Namespace(kind=kind, mode="host", because=share.origin))
            case "disabled":
                found.append(Namespace(kind=kind, mode="new", because=share.origin))
            case "unset":
                mode: NamespaceMode = "host" if kind == "time" else "new"
                found.append(Namespace(kind=kind, mode=mode, because=share.origin))
            case _:
                found.append(Namespace(kind=kind, mode="join", path=share.value, because=share.origin))
    return tuple(found)


def capabilities(merged: Merged) -> list[Capability]:
    """Return the capabilities that are kept; ALL is spelled out when some of it is dropped again."""
    from redpak.config.settings import CAPABILITIES

    asked = {normal_name(ask.cap): ask for ask, _ in merged.capabilities}
    everything = asked.pop("ALL", None)
    kept = {name: ask.origin for name, ask in asked.items() if ask.add}
    if everything is not None and everything.add:
        dropped = {name for name, ask in asked.items() if not ask.add}
        for name in CAPABILITIES:
            if name not in dropped:
                kept.setdefault(name, everything.origin)
    return [Capability(name=name, because=origin) for name, origin in kept.items()]


def normal_name(cap: str) -> str:
    """Return a capability's name as the kernel's headers write it: 'CAP_CHOWN' for 'chown'."""
    name = cap.upper()
    return name if name == "ALL" or name.startswith("CAP_") else f"CAP_{name}"


def choices(
    tags: Mapping[str, MergedTag],
    overrides: Mapping[str, str],
    shared: tuple[Namespace, ...],
) -> Iterable[Choice]:
    """Return every choice, with its origin."""
    chosen = {name: Choice(name=name, value=value, because=DEFAULT) for name, value in CHOICES.items()}

    def choose(name: str, value: Setting, because: Origin) -> None:
        chosen[name] = Choice(name=name, value=value, because=because)

    for tag, name in TAG_CHOICES.items():
        said = tags.get(tag)
        if said is None:
            continue
        value = said.value
        if isinstance(value, Text) and value.literal is not None:
            value = value.literal
        if isinstance(CHOICES[name], bool):
            value = bool(value)
        choose(name, value, said.origin)
    if umask := tags.get("umask"):
        choose("umask", int(str(umask.value), 8), umask.origin)
    for name in ("die-with-parent", "new-session"):
        said = tags.get(name)
        state = str(said.value).lower() if said else "unset"
        if said and state != "unset":
            choose(name, state == "enabled", said.origin)
    net = next(namespace for namespace in shared if namespace.kind == "net")
    choose("scope", net.mode != "new", net.because)
    for tag, given in overrides.items():
        choose(TAG_CHOICES[tag], given, COMMAND_LINE)
    return chosen.values()
