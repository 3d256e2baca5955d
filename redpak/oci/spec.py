"""`redpak-oci spec`: a configuration to begin with, as other runtimes write it."""

from __future__ import annotations

import os

from redpak.oci.commands import SPECIFICATION
from redpak.oci.config import NAME

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from redpak.oci.main import Call

CAPABILITIES = ("CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE")
MASKED = (
    "/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
    "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware",
    "/sys/devices/virtual/powercap",
)  # fmt: skip
READONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


def mount(destination: str, kind: str, source: str, *options: str) -> dict[str, Any]:
    """Return one entry of `mounts`."""
    found: dict[str, Any] = {"destination": destination, "type": kind, "source": source}
    if options:
        found["options"] = list(options)
    return found


def kernel_mounts(*, rootless: bool = False, cgroup: bool = True) -> list[dict[str, Any]]:
    """Return the file systems that every container has (config-linux.md, Default Filesystems)."""
    plain = ("nosuid", "noexec", "nodev")
    terminals = ("nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620")
    found = [
        mount("/proc", "proc", "proc"),
        mount("/dev", "tmpfs", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
        # group 5 ("tty") has no id in the map of an ordinary user
        mount("/dev/pts", "devpts", "devpts", *terminals, *(() if rootless else ("gid=5",))),
        mount("/dev/shm", "tmpfs", "shm", *plain, "mode=1777", "size=65536k"),
        mount("/dev/mqueue", "mqueue", "mqueue", *plain),
    ]
    if rootless:  # sysfs can only be mounted by who owns the network namespace
        found.append(mount("/sys", "none", "/sys", "rbind", *plain, "ro"))
    else:
        found.append(mount("/sys", "sysfs", "sysfs", *plain, "ro"))
    if cgroup:
        found.append(mount("/sys/fs/cgroup", "cgroup", "cgroup", *plain, "relatime", "ro"))
    return found


def example(*, rootless: bool = False, uid: int = 0, gid: int = 0) -> dict[str, Any]:
    """Return a configuration that runs a shell of a directory `rootfs`; `uid` and `gid` are the ordinary user's."""
    spaces = ["pid", "network", "ipc", "uts", "mount", "cgroup"]
    linux: dict[str, Any] = {}
    if rootless:
        spaces = ["pid", "ipc", "uts", "mount", "cgroup", "user"]
        linux["uidMappings"] = [{"containerID": 0, "hostID": uid, "size": 1}]
        linux["gidMappings"] = [{"containerID": 0, "hostID": gid, "size": 1}]
    else:
        linux["resources"] = {"devices": [{"allow": False, "access": "rwm"}]}
    linux |= {
        "namespaces": [{"type": kind} for kind in spaces],
        "maskedPaths": list(MASKED),
        "readonlyPaths": list(READONLY),
    }
    path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return {
        "ociVersion": SPECIFICATION,
        "process": {
            "terminal": True,
            "user": {"uid": 0, "gid": 0},
            "args": ["sh"],
            "env": [path, "TERM=xterm"],
            "cwd": "/",
            "capabilities": {kind: list(CAPABILITIES) for kind in ("bounding", "effective", "permitted")},
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs", "readonly": True},
        "hostname": "redpak-oci",
        "mounts": kernel_mounts(rootless=rootless),
        "linux": linux,
    }


def write(path: str, document: dict[str, Any]) -> None:
    """Write a configuration to a new file. Raises RedpakError if something is there already."""
    from redpak import quickjson
    from redpak.errors import RedpakError

    text = quickjson.dumps(document, indent="\t", ascii_only=False).encode() + b"\n"
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        hint = "Move it away, or name another directory." if isinstance(error, FileExistsError) else ""
        raise RedpakError(f"cannot write '{path}': {why}", hint=hint) from error
    with open(fd, "wb") as file:
        file.write(text)


def spec(call: Call) -> None:
    """Write config.json into the bundle's directory."""
    document = example(rootless=call.asked.flag("rootless"), uid=os.geteuid(), gid=os.getegid())
    write(os.path.join(call.asked.text("bundle") or ".", NAME), document)
