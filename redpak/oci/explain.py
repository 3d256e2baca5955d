"""Any bundle as a plan: what its config.json asks for, each thing with file and line.

A plan can say less than a configuration, and a bundle less than a plan. What a plan has no word for (sysfs, a masked
path, a hook, devices) becomes a mount whose mode says so, or a warning. A plan that is read from a bundle is there to
be shown and compared; engines refuse the kinds of mount that they do not know, because their source is no path.
A bundle that `bundle.py` made carries who asked for each part; then that is shown instead of the line in config.json.
"""

from __future__ import annotations

import os

from redpak.engine.native.box import Attributes, NewMount
from redpak.engine.native.box import Bind as Bound
from redpak.kernel.caps import NAMES
from redpak.oci import bundle as made
from redpak.oci import mounts
from redpak.oci.config import NAME, SIZE_BYTES, parse
from redpak.origin import Origin
from redpak.plan import model
from redpak.plan.ops import Bind, Dev, Dir, File, Mqueue, Proc, Symlink, Tmpfs
from redpak.text import text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from redpak.oci.config import Config
    from redpak.plan.model import NamespaceKind, NamespaceMode, Op, Plan

KINDS: tuple[NamespaceKind, ...] = ("cgroup", "ipc", "mount", "net", "pid", "time", "user", "uts")
WORDS = {"net": "network"}
RDONLY = mounts.RDONLY
PROFILE = "oci"
OWN_OPS: dict[str, type[Proc | Mqueue | Tmpfs]] = {"proc": Proc, "mqueue": Mqueue, "tmpfs": Tmpfs}


class _Source:
    """A configuration with the line of each value, and what annotations say about who asked."""

    def __init__(self, path: str, config: Config, where: dict[str, tuple[int, int]]) -> None:
        from redpak import quickjson
        from redpak.errors import BadConfig

        self.path = path
        self.config = config
        self.where = where
        self.told: dict[str, Any] = {}
        try:
            told = quickjson.loads(config.annotations.get(made.ORIGINS, "{}"))
        except BadConfig:
            told = {}  # somebody else's words: the lines of config.json remain
        if isinstance(told, dict):
            self.told = {key: value for key, value in told.items() if _is_origin(value)}

    def line(self, at: str) -> Origin:
        """Return where a value stands, or where the thing that should hold it stands."""
        while at and at not in self.where:
            at = at[: max(at.rfind("."), at.rfind("["), 0)]
        line, column = self.where.get(at, (0, 0))
        return Origin(file=self.path, line=line, column=column)

    def because(self, thing: str, at: str) -> Origin:
        """Return who asked for a thing of the plan."""
        if thing in self.told:
            _, file, line, note = self.told[thing]
            return Origin(file=file, line=line, note=note)
        return self.line(at)

    def word(self, thing: str) -> str:
        """Return what kind of operation a mount was made from, '' if nobody says."""
        return str(self.told[thing][0]) if thing in self.told else ""


def _is_origin(value: object) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 4
        and all(isinstance(one, str) for one in (value[0], value[1], value[3]))
        and isinstance(value[2], int)
    )


def read(folder: str) -> Plan:
    """Return what a bundle asks for, as a plan. Raises NotFound, BadConfig with all faults of its configuration."""
    from redpak import quickjson
    from redpak.errors import NotFound

    folder = os.path.abspath(folder)
    path = os.path.join(folder, NAME)
    if not os.path.isfile(path):
        raise NotFound(f"'{folder}' is no bundle: it has no {NAME}", hint="Name the directory of a bundle.")
    data = quickjson.read(path, size_bytes=SIZE_BYTES)
    value, where = quickjson.locate(data, file=path)
    # Whether this kernel and this user could run it is another question than what it asks for.
    config = parse(
        value, bundle=folder, file=path, text=data, euid=0, grantable=(1 << 64) - 1, has=lambda _: True
    )
    return plan(config, path, where)


def plan(config: Config, path: str = "", where: dict[str, tuple[int, int]] | None = None) -> Plan:
    """Return the plan of a configuration that was read from `path`, with the places of its values."""
    source = _Source(path, config, where or {})
    box, process = config.box, config.box.process
    warnings = list(config.warnings)
    ops = _mounts(source, warnings)
    said = config.annotations
    node = said.get(made.NODE, config.bundle)
    return model.Plan(
        node=node,
        profile=said.get(made.PROFILE, PROFILE),
        family=(model.Member(alias=os.path.basename(node), name=os.path.basename(node), path=node),),
        mounts=tuple(sorted(ops, key=lambda op: op.dst.rstrip("/").split("/"))),
        environ=_environ(source),
        namespaces=tuple(_namespace(source, kind) for kind in KINDS),
        capabilities=_capabilities(source),
        rlimits=tuple(
            model.Rlimit(
                name=one.name,
                soft=one.soft,
                hard=one.hard,
                because=source.because(f"rlimit {one.name}", f"process.rlimits[{number}]"),
            )
            for number, one in sorted(enumerate(process.rlimits), key=lambda pair: pair[1].name)
        ),
        limits=_limits(source),
        choices=_choices(source),
        command=process.args,
        uid=box.uid_map[0].outside if box.uid_map else process.uid,
        gid=box.gid_map[0].outside if box.gid_map else process.gid,
        warnings=tuple(warnings),
    )


def _mounts(source: _Source, warnings: list[str]) -> list[Op]:
    config = source.config
    ops: dict[str, Op] = {}
    own_root = made.DIGEST in config.annotations and config.rootfs == os.path.join(config.bundle, "rootfs")
    if own_root:
        ops.update(_places(source))
    else:
        origin = source.because("mount /", "root")
        ops["/"] = Bind(dst="/", src=text(config.rootfs), readonly=config.box.root_readonly, because=origin)
    steps: tuple[Any, ...] = config.box.steps
    readonly = {one.dst for one in steps if isinstance(one, Attributes) and one.attr_set & RDONLY}
    numbers = _numbers(config.data)
    for step in steps:
        if not isinstance(step, (Bound, NewMount)):
            continue
        thing = f"mount {step.dst}"
        because = source.because(thing, f"mounts[{numbers.get(step.dst, 0)}]")
        word = source.word(thing)
        if word == "dev":
            if os.path.dirname(step.dst) not in ops or not isinstance(ops[os.path.dirname(step.dst)], Dev):
                ops[step.dst] = Dev(dst=step.dst, because=because)
        elif isinstance(step, Bound):
            ops[step.dst] = _bind(step, word, because)
        elif word == "dir":
            ops[step.dst] = Dir(dst=step.dst, because=because)
        elif step.fstype in OWN_OPS and not (step.attr_set & RDONLY or step.dst in readonly or step.copy_up):
            ops[step.dst] = OWN_OPS[step.fstype](dst=step.dst, because=because)
        else:
            write = not (step.attr_set & RDONLY or step.dst in readonly)
            ops[step.dst] = Bind(
                dst=step.dst,
                src=text(step.fstype),
                readonly=not write,
                mode=f"type {step.fstype}",
                because=because,
            )
    linux = config.data.get("linux") or {}
    if masked := linux.get("maskedPaths"):
        warnings.append(
            f"{source.line('linux.maskedPaths')}: {len(masked)} paths are hidden: {' '.join(masked)}"
        )
    if guarded := linux.get("readonlyPaths"):
        warnings.append(
            f"{source.line('linux.readonlyPaths')}: {len(guarded)} paths are read-only: {' '.join(guarded)}"
        )
    for phase, hooks in config.hooks.items():
        for number, hook in enumerate(hooks):
            at = source.line(f"hooks.{phase}[{number}]")
            warnings.append(f"{at}: '{hook.path}' of the host runs as a hook ({phase})")
    for number, device in enumerate(linux.get("devices") or ()):
        warnings.append(f"{source.line(f'linux.devices[{number}]')}: device '{device.get('path')}' is made")
    return list(ops.values())


def _bind(step: Bound, word: str, because: Origin) -> Bind | File:
    readonly = bool((step.attr_set | step.rec_set) & RDONLY)
    if word == "file":
        try:
            with open(step.source, encoding="utf-8", errors="surrogateescape") as file:
                return File(dst=step.dst, content=text(file.read()), because=because)
        except OSError:
            pass  # then it is shown as what it is
    mode = word if word not in ("", "bind", "file") else ""
    kind = "file" if mode.endswith("File") else "any"
    return Bind(dst=step.dst, src=text(step.source), readonly=readonly, kind=kind, mode=mode, because=because)  # type: ignore[arg-type]


def _places(source: _Source) -> dict[str, Op]:
    """Return what lies in `rootfs` itself: the annotations name it."""
    found: dict[str, Op] = {}
    for thing in source.told:
        kind, _, dst = thing.partition(" ")
        if kind != "place":
            continue
        because = source.because(thing, "root")
        word = source.word(thing)
        if word == "symlink":
            try:
                target = os.readlink(source.config.rootfs + mounts.clean(dst))
            except OSError:
                continue
            found[dst] = Symlink(dst=dst, target=target, because=because)
        else:
            found[dst] = (Tmpfs if word == "tmpfs" else Dir)(dst=dst, because=because)
    return found


def _numbers(data: dict[str, Any]) -> dict[str, int]:
    given = data.get("mounts") or []
    return {mounts.clean(one["destination"]): number for number, one in enumerate(given)}


def _environ(source: _Source) -> tuple[model.SetVar | model.UnsetVar, ...]:
    found: dict[str, model.SetVar | model.UnsetVar] = {}
    for number, setting in enumerate(source.config.box.process.environ):
        key, _, value = setting.partition("=")
        because = source.because(f"variable {key}", f"process.env[{number}]")
        found[key] = model.SetVar(key=key, value=text(value), because=because)
    for thing in source.told:
        kind, _, key = thing.partition(" ")
        if kind == "variable" and source.word(thing) == "unset" and key not in found:
            found[key] = model.UnsetVar(key=key, because=source.because(thing, "process.env"))
    return tuple(found[key] for key in sorted(found))


def _namespace(source: _Source, kind: NamespaceKind) -> model.Namespace:
    spaces = source.config.data.get("linux", {}).get("namespaces") or []
    word = WORDS.get(kind, kind)
    for number, space in enumerate(spaces):
        if space.get("type") == word:
            path = space.get("path") or ""
            mode: NamespaceMode = "join" if path else "new"
            because = source.because(f"namespace {kind}", f"linux.namespaces[{number}]")
            return model.Namespace(kind=kind, mode=mode, path=path, because=because)
    because = source.because(f"namespace {kind}", "linux.namespaces")
    return model.Namespace(kind=kind, mode="host", because=because)


def _capabilities(source: _Source) -> tuple[model.Capability, ...]:
    caps = source.config.box.process.caps
    every = (1 << len(NAMES)) - 1
    kept = caps.bounding | caps.permitted | caps.inheritable
    names = ["ALL"] if kept & every == every else [name for n, name in enumerate(NAMES) if kept >> n & 1]
    return tuple(
        model.Capability(name=name, because=source.because(f"capability {name}", "process.capabilities"))
        for name in sorted(names)
    )


def _limits(source: _Source) -> tuple[model.Limit, ...]:
    """Return limits by the names of version 2's files; those that it has no file for are left to warnings."""
    asked = source.config.data.get("linux", {}).get("resources") or {}
    found: dict[str, tuple[str, str]] = {}
    memory, cpu, pids = asked.get("memory") or {}, asked.get("cpu") or {}, asked.get("pids") or {}
    if memory.get("limit"):
        found["memory.max"] = (_most(memory["limit"]), "memory.limit")
    if memory.get("reservation"):
        found["memory.low"] = (_most(memory["reservation"]), "memory.reservation")
    if memory.get("swap"):
        swap, limit = memory["swap"], memory.get("limit") or 0
        found["memory.swap.max"] = (_most(swap if swap < 0 else swap - limit), "memory.swap")
    if cpu.get("quota"):
        found["cpu.max"] = (f"{_most(cpu['quota'])} {cpu.get('period') or 100000}", "cpu.quota")
    for key in ("cpus", "mems"):
        if cpu.get(key):
            found[f"cpuset.{key}"] = (cpu[key], f"cpu.{key}")
    if pids.get("limit"):
        found["pids.max"] = (_most(pids["limit"]), "pids.limit")
    for key, value in (asked.get("unified") or {}).items():
        found[key] = (value, f"unified.{key}")
    return tuple(
        model.Limit(
            node=source.word(f"limit {key}") or source.config.bundle,
            key=key,
            value=value,
            because=source.because(f"limit {key}", f"linux.resources.{at}"),
        )
        for key, (value, at) in sorted(found.items())
    )


def _most(number: int) -> str:
    return "max" if number < 0 else str(number)


def _choices(source: _Source) -> tuple[model.Choice, ...]:
    config, process = source.config, source.config.box.process
    section = (config.data.get("linux") or {}).get("seccomp")
    mapped = any(one.inside == 0 and one.outside != 0 for one in config.box.uid_map)
    ours = made.DIGEST in config.annotations
    said: dict[str, tuple[str | int | bool, str]] = {
        "cgroup-root": (config.cgroups_path, "linux.cgroupsPath"),
        "chdir": ("" if process.cwd == "/" else process.cwd, "process.cwd"),
        "die-with-parent": (False, ""),
        "group": ("" if config.box.gid_map or not process.gid else str(process.gid), "process.user.gid"),
        "hostname": (config.box.hostname, "hostname"),
        "inherit-env": (False, ""),
        "map-root": (mapped, "linux.uidMappings"),
        "new-session": (True, ""),
        "scope": (False, ""),
        "seccomp": (("default" if ours else "own") if section else "none", "linux.seccomp"),
        "umask": (process.umask, "process.user.umask"),
        "user": ("" if config.box.uid_map or not process.uid else str(process.uid), "process.user.uid"),
    }
    found = []
    for name, default in model.CHOICES.items():
        value, at = said.get(name, (default, ""))
        because = source.because(f"setting {name}", at)
        found.append(model.Choice(name=name, value=value, because=because))
    return tuple(found)
