"""A node in the place of an image: podman, containerd and Kubernetes ask for a container, a node says what is in it.

A container whose annotation `org.redpak.node` names a node gets that node's tree, environment and restrictions; who
asks still says which program runs, as whom, in which pod (network, host name, hooks), within which limits, and may
add volumes. Where both speak, the narrower one counts:

* namespaces: new where one of them wants it new; those that are joined are the client's, but for the node's own
* capabilities: what both give. System call filters: both. Limits: the smaller. Masked and read-only paths: all
* mounts: the node's; then the client's own volumes, which may not cover anything that the node shows, except the
  files that belong to the pod (POD_FILES). What the image has is not looked at
* devices: none but the usual ones; asking for more is refused

Who may name which node: for root, directories listed in ALLOWED, one a line, with all nodes beneath them; without
that file none. So a cluster's users choose among the nodes that the host's owner offers, and only where the runtime
handler passes the annotation on. An ordinary user's own runtime starts what that user could start anyway.
"""

from __future__ import annotations

import os

from redpak.engine.native.box import Caps
from redpak.errors import Refused
from redpak.oci import config, mounts
from redpak.oci.linux import NODE_FILTER
from redpak.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from redpak.engine.native.box import Process
    from redpak.oci.bundle import Bundle
    from redpak.oci.mounts import Step

ANNOTATION = "org.redpak.node"
ALLOWED = "/etc/redpak/oci-nodes"
# A pod's own first container runs the client's `pause`, with the annotations of the pod.
SANDBOXES = (
    ("io.kubernetes.cri.container-type", "sandbox"),
    ("io.kubernetes.cri-o.ContainerType", "sandbox"),
)
POD_FILES = ("/etc/hostname", "/etc/hosts", "/etc/resolv.conf")
KERNEL_TYPES = ("proc", "sysfs", "cgroup", "cgroup2", "devpts", "mqueue", "devtmpfs")
OWN_PLACES = ("/proc", "/sys", "/dev")
SETS = ("bounding", "effective", "permitted", "inheritable", "ambient")


class Composed(Record):
    """A configuration to read in the place of the client's."""

    data: dict[str, Any]
    bundle: Bundle  # the node's


def asked(data: object) -> str:
    """Return the node that a configuration names, '' when it names none."""
    said = data.get("annotations") if isinstance(data, dict) else None
    if not isinstance(said, dict) or any(said.get(key) == value for key, value in SANDBOXES):
        return ""
    node = said.get(ANNOTATION)
    return node if isinstance(node, str) else ""


def check_allowed(node: str, *, euid: int, allowed: str = ALLOWED) -> str:
    """Return the canonical path of a node that may be named. Raises Refused."""
    if not node.startswith("/") or "\0" in node:
        raise Refused(f"'{ANNOTATION}' must be the whole path of a node, not '{node}'", hint="Write it so.")
    real = os.path.realpath(node)
    if euid != 0:
        return real
    hint = f"Let root write the node's directory, or one above it, into '{allowed}'."
    try:
        with open(allowed, encoding="utf-8") as file:
            status = os.fstat(file.fileno())
            lines = [line.strip() for line in file]
    except FileNotFoundError:
        raise Refused(f"no node may be named by a container: there is no '{allowed}'", hint=hint) from None
    except (OSError, ValueError) as error:
        raise Refused(f"'{allowed}' cannot be read: {error}", hint="Make it a plain text file.") from error
    if status.st_uid != 0 or status.st_mode & 0o022:
        raise Refused(f"'{allowed}' can be changed by others than root", hint="chown root; chmod 644.")
    for line in lines:
        top = os.path.realpath(line) if line.startswith("/") else ""
        if top and (real == top or real.startswith(top.rstrip("/") + "/")):
            return real
    raise Refused(f"node '{real}' may not be named by a container", hint=hint)


def instead(client: config.Config, node: str) -> tuple[config.Config, bytes]:
    """Return the configuration for a container that names `node`, and its text. `client` is what was asked, checked.

    Raises RedpakError: Refused where the node may not be named or the two do not fit.
    """
    from redpak import quickjson
    from redpak.oci import main
    from redpak.paths import cache

    if not main.NODES:
        hint = "Start the program 'redpak-oci' of a whole redpak."
        raise Refused(f"'{ANNOTATION}' cannot be obeyed: nothing here knows nodes", hint=hint)
    compose = __import__(main.NODES, fromlist=("compose",)).compose
    composed: Composed = compose(client.data, node)
    text = quickjson.dumps(composed.data, ascii_only=False).encode()
    return read(composed, bundle=client.bundle, cache=cache()), text


def read(
    composed: Composed,
    *,
    bundle: str,
    file: str = "",
    euid: int = -1,
    grantable: int = -1,
    cache: str = "",
) -> config.Config:
    """Return the composed configuration; its root is a memory file system with the places that the node needs."""
    from redpak.engine.native.box import MakeDir, MakeFile, MakeSymlink

    found = config.parse(composed.data, bundle=bundle, file=file, euid=euid, grantable=grantable, cache=cache)
    made = composed.bundle
    steps: list[Step] = []
    for place in made.places:
        if place.kind == "dir":
            steps.append(MakeDir(dst=place.path))
        elif place.kind == "link":
            steps.append(MakeSymlink(dst=place.path, target=place.target))
    contents = dict(made.files)
    for one in made.config["mounts"]:
        if one.get("source") in contents:
            text = contents[one["source"]].encode(errors="surrogateescape")
            steps.append(MakeFile(dst=one["destination"], content=text))
    box = found.box.but(root="", root_readonly=True, steps=(*steps, *found.box.steps))
    return found.but(box=box)


def merge(client: dict[str, Any], node: Bundle) -> Composed:
    """Return what the client asks for within what the node allows. Raises Refused with every reason."""
    reasons: list[str] = []
    ours = node.config
    theirs = client.get("linux") or {}
    if theirs.get("devices"):
        names = ", ".join(str(one.get("path")) for one in theirs["devices"])
        reasons.append(f"the node has no devices, and the container asks for {names}")
    kept = {name for name, _ in node.files}
    shown = [one for one in ours["mounts"] if one.get("source") not in kept]
    volumes = _volumes(client.get("mounts") or [], ours["mounts"], reasons)
    covered = {one["destination"] for one in volumes}
    linux = {
        **theirs,
        "namespaces": _namespaces(theirs.get("namespaces") or [], ours["linux"]["namespaces"]),
        "resources": _resources(theirs.get("resources") or {}, ours["linux"].get("resources") or {}),
        "maskedPaths": sorted({*(theirs.get("maskedPaths") or ()), *ours["linux"]["maskedPaths"]}),
        "readonlyPaths": sorted({*(theirs.get("readonlyPaths") or ()), *ours["linux"]["readonlyPaths"]}),
        "rootfsPropagation": "private",
    }
    linux.pop("devices", None)
    if ours["linux"].get("seccomp"):
        linux[NODE_FILTER] = ours["linux"]["seccomp"]
    for key in ("uidMappings", "gidMappings"):
        if not theirs.get(key) and ours["linux"].get(key):
            linux[key] = ours["linux"][key]
    if reasons:
        raise Refused(f"node '{_name(node)}' cannot be run so: " + "; ".join(reasons), hint="Ask for less.")
    data = {
        **client,
        "process": _process(client.get("process") or {}, ours["process"], linux),
        "root": client.get("root") or {"path": "rootfs"},
        "mounts": [one for one in shown if one["destination"] not in covered] + volumes,
        "linux": linux,
        "annotations": {**(client.get("annotations") or {}), **ours["annotations"]},
    }
    if not client.get("hostname") and ours.get("hostname") and _has(linux, "uts"):
        data["hostname"] = ours["hostname"]
    return Composed(data=data, bundle=node)


def confined(process: Process, container: dict[str, Any]) -> Process:
    """Return a program that is put into the container later, with no more rights than the node gives, as to its first.

    What the node says of the environment counts; `container` is the composed configuration.
    """
    from redpak import quickjson
    from redpak.oci import bundle
    from redpak.oci import process as reading
    from redpak.oci.parts import Faults, Part

    first = reading.read(Part(container["process"], "process", Faults()))
    told = quickjson.loads(container["annotations"].get(bundle.ORIGINS, "{}"))
    env = {one.partition("=")[0]: one for one in process.environ}
    env |= {key: one for one in first.environ if f"variable {(key := one.partition('=')[0])}" in told}
    rights = {kind: getattr(process.caps, kind) & getattr(first.caps, kind) for kind in SETS}
    return process.but(
        environ=tuple(env.values()),
        home=process.home and "HOME" not in env,
        caps=reading.fit(Caps(**rights)),
        no_new_privs=True,
        groups=process.groups if first.groups else (),
    )


def _name(node: Bundle) -> str:
    from redpak.oci.bundle import NODE

    return str(node.config["annotations"].get(NODE, ""))


def _has(linux: dict[str, Any], kind: str) -> bool:
    return any(one.get("type") == kind and not one.get("path") for one in linux["namespaces"])


def _volumes(
    given: list[dict[str, Any]], ours: list[dict[str, Any]], reasons: list[str]
) -> list[dict[str, Any]]:
    """Return the client's own mounts, in order. What a runtime mounts into every container is the node's to say."""
    places = {one["destination"]: one for one in ours}
    binds = [at for at, one in places.items() if one["type"] == "bind"]
    found = []
    for one in given:
        dst = mounts.clean(str(one.get("destination", "")))
        kind = str(one.get("type", ""))
        if kind in KERNEL_TYPES or dst in OWN_PLACES or (dst == "/dev/shm" and dst in places):
            continue
        if dst.startswith("/proc/"):
            reasons.append(f"the mount '{dst}' lies in /proc")
        elif dst not in POD_FILES:
            for at in binds:
                if dst == at or at.startswith(dst.rstrip("/") + "/") or dst.startswith(at.rstrip("/") + "/"):
                    reasons.append(f"the mount '{dst}' would cover the node's '{at}'")
                    break
        found.append({**one, "destination": dst})
    return found


def _namespaces(theirs: list[dict[str, Any]], ours: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found = {one["type"]: one for one in theirs if isinstance(one.get("type"), str)}
    for one in ours:
        if one.get("path") or one["type"] not in found:
            found[one["type"]] = one
    return list(found.values())


def _resources(theirs: dict[str, Any], ours: dict[str, Any]) -> dict[str, Any]:
    found = dict(theirs)
    found.setdefault("devices", ours.get("devices", []))
    for section, keys in (("memory", ("limit", "swap")), ("pids", ("limit",))):
        if section in ours:
            both = dict(found.get(section) or {})
            for key in keys:
                if key in ours[section]:
                    both[key] = _smaller(both.get(key), ours[section][key])
            found[section] = both
    if "cpu" in ours:
        cpu = {**(found.get("cpu") or {})}
        own = ours["cpu"]
        if "quota" in own and _share(own) < _share(cpu):
            cpu |= {"quota": own["quota"], "period": own["period"]}
        cpu |= {key: own[key] for key in ("cpus", "mems") if key in own}
        found["cpu"] = cpu
    if "blockIO" in ours:
        io = {**(found.get("blockIO") or {})}
        for key, rates in ours["blockIO"].items():
            io[key] = [*(io.get(key) or ()), *rates]  # of two for a device the last one is set
        found["blockIO"] = io
    if "unified" in ours:
        found["unified"] = {**(found.get("unified") or {}), **ours["unified"]}
    return found


def _smaller(one: int | None, other: int) -> int:
    given = [value for value in (one, other) if value is not None and value > 0]
    return min(given) if given else other


def _share(cpu: dict[str, Any]) -> float:
    quota = cpu.get("quota") or 0
    return quota / (cpu.get("period") or 100_000) if quota > 0 else float("inf")


def _process(theirs: dict[str, Any], ours: dict[str, Any], linux: dict[str, Any]) -> dict[str, Any]:
    env = {one.partition("=")[0]: one for one in (*(theirs.get("env") or ()), *ours["env"])}
    caps = theirs.get("capabilities") or {}
    user = {**ours["user"], **(theirs.get("user") or {})}
    if any(one["size"] == 1 for one in linux.get("gidMappings") or ()):
        user.pop("additionalGids", None)  # no other group has an id in there
    if "umask" in ours["user"]:
        user["umask"] = ours["user"]["umask"]
    cwd = theirs.get("cwd") or "/"
    found = {
        **theirs,
        "args": theirs.get("args") or ours["args"],
        "env": list(env.values()),
        "cwd": ours["cwd"] if cwd == "/" else cwd,
        "user": user,
        "capabilities": {
            kind: [name for name in caps.get(kind) or () if name in ours["capabilities"][kind]]
            for kind in SETS
        },
        "noNewPrivileges": True,
    }
    limits = {one["type"]: one for one in theirs.get("rlimits") or ()}
    for one in ours.get("rlimits") or ():
        old = limits.get(one["type"], one)
        limits[one["type"]] = {**one, **{key: min(one[key], old[key]) for key in ("soft", "hard")}}
    if limits:
        found["rlimits"] = list(limits.values())
    return found
