"""A container's config.json (runtime specification 1.2) as a Box, limits and hooks, checked whole at the start.

    found = config.load("/the/bundle")        # Config; raises BadConfig with every fault, each with its line
    found.box, found.resources, found.hooks["poststop"], found.warnings, found.data

Members that the specification does not know are ignored, as it asks; values that it does not know are refused, and so
is what cannot be put into force here (labels of a security module that the kernel lacks, Intel RDT without resctrl).
The sections for other systems (windows, solaris, zos) and for virtual machines (vm) are of no concern here.
"""

from __future__ import annotations

import os

from redpak.engine.native.box import Box, Caps, Hook, Process
from redpak.oci import linux, mounts, process
from redpak.oci.parts import Faults, Part
from redpak.oci.process import own_caps
from redpak.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from redpak.cgroup.resources import Resources
    from redpak.oci.linux import Kinds

NAME = "config.json"
PHASES = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
INSIDE = ("createContainer", "startContainer")  # those that run in the container's namespaces
SIZE_BYTES = 8 << 20


class Config(Record):
    """What a bundle asks for."""

    version: str  # of the specification that it was written for
    bundle: str  # absolute
    box: Box  # its `name` and the keyring's are the container's to give: see `named`
    has_process: bool = True  # without, `start` has nothing to run
    rootfs: str  # absolute
    resources: Resources | None = None
    cgroups_path: str = ""
    hooks: dict[str, tuple[Hook, ...]]  # by phase, all of PHASES; those for inside are in the box as well
    annotations: dict[str, str]
    warnings: tuple[str, ...] = ()
    data: dict[str, Any]  # the document itself

    def named(self, name: str, *, keyring: bool = True) -> Box:
        """Return the box of the container `name`, with a session keyring of that name."""
        first = self.box.process.but(keyring=name if keyring else "")
        return self.box.but(name=name, process=first)


def load(bundle: str, *, euid: int = -1, has: Callable[[str], bool] = process.kernel_has) -> Config:
    """Read the configuration of the bundle in a directory.

    `euid` is who runs it (-1: this process). Raises NotFound if there is none, BadConfig with all its faults.
    """
    from redpak import quickjson
    from redpak.errors import NotFound

    bundle = os.path.abspath(bundle)
    path = f"{bundle}/{NAME}"
    if not os.path.isfile(path):
        missing = (
            f"JSON specification file {NAME} not found" if os.path.isdir(bundle) else "no such directory"
        )
        raise NotFound(f"cannot read the bundle '{bundle}': {missing}", hint="Name a bundle with --bundle.")
    text = quickjson.read(path, size_bytes=SIZE_BYTES)
    return parse(quickjson.loads(text, file=path), bundle=bundle, file=path, text=text, euid=euid, has=has)


def parse(
    data: object,
    *,
    bundle: str,
    file: str = "",
    text: bytes = b"",
    euid: int = -1,
    grantable: int = -1,
    cache: str = "",
    has: Callable[[str], bool] = process.kernel_has,
) -> Config:
    """Return what a configuration asks for; `file` and `text` are where it stood, for messages.

    `euid` is who runs it and `grantable` the capabilities (a mask) that it can give, -1: this process's. A capability
    that cannot be given is left out with a warning (config.md); in a new user namespace all can be. `cache` is the
    directory where compiled filters are kept; "" = nowhere.
    """
    if euid < 0:
        euid = os.geteuid()
    faults = Faults()
    if not isinstance(data, dict):
        faults.add("", "is no object")
        raise faults.error(file, text)
    top = Part(data, "", faults)
    version = _version(top)
    section, program = top.part("linux"), top.part("process")
    spaces = linux.spaces(section)
    kinds: Kinds = {space.kind: space for space in spaces}
    maps = linux.id_maps(section, kinds, euid)
    root = top.part("root")
    if not top.has("root"):
        top.bad("root", "is missing")
    rootfs = root.text("path", required=top.has("root"))
    rootfs = mounts.clean(rootfs if rootfs.startswith("/") else f"{bundle}/{rootfs}")
    first = process.read(program, has=has) if top.has("process") else Process(args=(), no_new_privs=False)
    first = first.but(cpu_affinity=(), cpu_affinity_first=())  # they are for what exec puts in
    linux.check_ids(program, first, maps, kinds)
    if "user" not in kinds:
        first = first.but(caps=_granted(first.caps, own_caps() if grantable < 0 else grantable, faults))
    first = first.but(
        personality=linux.personality(section),
        seccomp=linux.filters(section, cache),
    )
    hooks = _hooks(top, bundle)
    label = linux.mount_label(section, has)
    made, late = mounts.steps(top, maps, bundle, label)
    own_dev = mounts.binds_dev(top)
    box = Box(
        name="",
        spaces=spaces,
        uid_map=maps[0] if _new(kinds, "user") else (),
        gid_map=maps[1] if _new(kinds, "user") else (),
        deny_setgroups=_deny_setgroups(maps[1], kinds, euid, faults, first),
        root=rootfs,
        root_readonly=root.flag("readonly") or linux.readonly_root(section),
        root_propagation=linux.root_propagation(section, kinds),
        steps=(
            *made,
            *linux.devices(section, setup=not own_dev),
            *linux.cwd(first),
            *late,
            *linux.readonly_paths(section),
            *linux.masked_paths(section, label),
        ),
        hostname=linux.host_name(top, "hostname", kinds),
        domainname=linux.host_name(top, "domainname", kinds),
        sysctl=linux.sysctls(section, kinds),
        offsets=linux.offsets(section, kinds),
        process=first,
        hooks_create=hooks["createContainer"],
        hooks_start=hooks["startContainer"],
    )
    linux.refused(section, kinds, euid, has)
    linux.shared_mounts(top, kinds, rootfs)
    resources, annotations = _resources(section), _annotations(top)
    if faults.found:
        raise faults.error(file, text)
    return Config(
        version=version,
        bundle=bundle,
        box=box,
        has_process=top.has("process"),
        rootfs=rootfs,
        resources=resources,
        cgroups_path=section.text("cgroupsPath"),
        hooks=hooks,
        annotations=annotations,
        warnings=tuple(faults.warnings),
        data=data,
    )


def _new(kinds: Kinds, kind: str) -> bool:
    return kind in kinds and not kinds[kind].path


def _granted(caps: Caps, grantable: int, faults: Faults) -> Caps:
    lost = (caps.bounding | caps.permitted | caps.inheritable) & ~grantable
    if not lost:
        return caps
    faults.warn(
        "process.capabilities",
        f"{process.names(lost)} left out: operation not permitted, none is ours to give",
    )
    return process.fit(caps, grantable)


def _version(top: Part) -> str:
    version = top.text("ociVersion", required=True)
    numbers = version.partition("+")[0].partition("-")[0].split(".")
    if version and (len(numbers) != 3 or not all(n.isascii() and n.isdigit() for n in numbers)):
        top.bad("ociVersion", f"'{version}' is no version such as 1.2.0")
    elif version and numbers[0] != "1":
        top.bad(
            "ociVersion", f"'{version}' is another version of the specification than 1, which is read here"
        )
    return version


def _hooks(top: Part, bundle: str) -> dict[str, tuple[Hook, ...]]:
    section = top.part("hooks")
    found = {}
    for phase in PHASES:
        hooks = []
        for part in section.parts(phase):
            timeout = 0
            if part.has("timeout"):
                timeout = part.integer("timeout", 1, 1 << 31)
            environ = part.texts("env")
            for number, setting in enumerate(environ):
                if setting.find("=") < 1:
                    part.bad(f"env[{number}]", f"'{setting}' is not of the form NAME=VALUE")
            hooks.append(
                Hook(
                    path=part.path_text("path", required=True),
                    args=part.texts("args"),
                    environ=environ,
                    timeout_s=timeout,
                    cwd="" if phase in INSIDE else bundle,  # as runc and crun have it
                )
            )
        found[phase] = tuple(hooks)
    return found


def _annotations(top: Part) -> dict[str, str]:
    found = top.strings("annotations")
    if "" in found:
        top.bad("annotations", "a name is empty")
    return found


def _deny_setgroups(gids: tuple[Any, ...], kinds: Kinds, euid: int, faults: Faults, first: Process) -> bool:
    """An ordinary user may map its own group only when it gives up setgroups(2) (user_namespaces(7))."""
    if euid == 0 or not _new(kinds, "user") or len(gids) != 1 or gids[0].count != 1:
        return False
    if first.groups:
        faults.add("process.user.additionalGids", "cannot be given by an ordinary user with one group mapped")
    return True


def _resources(section: Part) -> Resources | None:
    asked = section.part("resources")
    if not asked.data:
        return None
    from redpak.cgroup import resources
    from redpak.errors import BadConfig

    try:
        return resources.from_oci(asked.data)
    except BadConfig as error:
        for fault in error.faults:
            _, path, what = fault.message.split("'", 2) if fault.message[:1] == "'" else ("", "", "")
            section.faults.add(path or "linux.resources", what.strip() or fault.message)
    return None
