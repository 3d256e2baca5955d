"""`redpak-oci update ID`: new limits for a container that is there, by options or a document of numbers."""

from __future__ import annotations

from redpak.errors import RedpakError, Usage
from redpak.oci import life, store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from redpak.oci.main import Call
    from redpak.oci.options import Options

# option: (section and name in linux.resources, how it is read)
_OPTIONS = {
    "blkio-weight": ("blockIO", "weight", "number"),
    "cpu-period": ("cpu", "period", "number"),
    "cpu-quota": ("cpu", "quota", "number"),
    "cpu-burst": ("cpu", "burst", "number"),
    "cpu-share": ("cpu", "shares", "number"),
    "cpu-rt-period": ("cpu", "realtimePeriod", "number"),
    "cpu-rt-runtime": ("cpu", "realtimeRuntime", "number"),
    "cpu-idle": ("cpu", "idle", "number"),
    "cpuset-cpus": ("cpu", "cpus", "text"),
    "cpuset-mems": ("cpu", "mems", "text"),
    "kernel-memory": ("memory", "kernel", "size"),
    "kernel-memory-tcp": ("memory", "kernelTCP", "size"),
    "memory": ("memory", "limit", "size"),
    "memory-reservation": ("memory", "reservation", "size"),
    "memory-swap": ("memory", "swap", "size"),
    "pids-limit": ("pids", "limit", "number"),
}
_UNITS = "kmgtp"
MOST_BYTES = 1 << 20  # of a document


def update(call: Call) -> None:
    """Change what was given, and leave the rest."""
    document = asked(call.asked)
    container = store.load(call.root, call.words[0])
    container.lock()
    status = life.status(container)
    if status == life.STOPPED:
        raise RedpakError(f"cannot update container '{container.name}': container not running: {status}")
    if not container.data.get("cgroup"):
        raise RedpakError(
            f"cannot update container '{container.name}': it has no control group",
            hint="Create it with a cgroupsPath that may be written to.",
        )
    from redpak.cgroup import group as groups
    from redpak.cgroup import resources

    group = groups.load(container.data["cgroup"])
    group.update(resources.from_oci(document))
    container.data["cgroup"] = group.to_dict()
    container.save()


def asked(options: Options) -> dict[str, Any]:
    """Return the numbers in the form of linux.resources. Raises Usage, BadConfig for a document that is none."""
    for name in ("l3-cache-schema", "mem-bw-schema"):
        if options.text(name):
            raise Usage(f"'--{name}' is not supported: there is no resctrl here", hint="Leave it out.")
    source = options.text("resources")
    if source:
        return _document(source)
    found: dict[str, Any] = {}
    for name, (section, key, kind) in _OPTIONS.items():
        text = options.text(name)
        if not text:
            continue
        value: int | str = text
        if kind == "number":
            value = options.number(name)
        elif kind == "size":
            value = size(text, name)
        if value == 0 and kind != "text" and name != "cpu-idle":
            continue  # "0 to use system default", as runc has it: nothing is asked for
        found.setdefault(section, {})[key] = value
    if not found:
        raise Usage("nothing to change was given", hint="See redpak-oci update --help.")
    return found


def size(text: str, name: str) -> int:
    """Return the bytes of '100', '64m', '1.5g' (units of 1024), -1 for '-1'; raises Usage."""
    word = text.strip().lower().removesuffix("b").removesuffix("i")
    factor = 1
    if word[-1:] in _UNITS and word[-1:]:
        factor = 1024 ** (_UNITS.index(word[-1]) + 1)
        word = word[:-1]
    try:
        value = int(float(word) * factor) if "." in word else int(word) * factor
    except (ValueError, OverflowError):
        value = -2
    if value < -1 or value >= 1 << 63:
        raise Usage(f"option '--{name}' wants a size such as 64m, not '{text}'")
    return value


def _document(source: str) -> dict[str, Any]:
    from redpak import quickjson

    if source == "-":
        import os

        data = bytearray()
        while len(data) <= MOST_BYTES and (more := os.read(0, 65536)):
            data += more
        if len(data) > MOST_BYTES:
            raise Usage("the document on standard input is too long")
        value = quickjson.loads(bytes(data), file="")
    else:
        value = quickjson.load(source, size_bytes=MOST_BYTES)
    if not isinstance(value, dict):
        raise Usage("the document of resources is no JSON object", hint="See redpak-oci update --help.")
    return value
