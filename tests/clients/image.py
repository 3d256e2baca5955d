"""An image made on the spot, without a registry: busybox with a link for each of its programs."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import tarfile
from pathlib import Path

BUSYBOX = Path("/usr/bin/busybox")
NAME = "localhost/small"
FOLDERS = ("bin", "dev", "etc", "proc", "root", "run", "sys", "tmp", "var")
PASSWD = b"root:x:0:0:root:/root:/bin/sh\nsomebody:x:1000:1000::/tmp:/bin/sh\n"
GROUP = b"root:x:0:\nsomebody:x:1000:\nfriends:x:1010:somebody\n"


def _add(
    archive: tarfile.TarFile, name: str, content: bytes = b"", *, mode: int = 0o644, link: str = ""
) -> None:
    member = tarfile.TarInfo(name)
    member.mode = mode
    if link:
        member.type, member.linkname = tarfile.SYMTYPE, link
    elif mode & 0o40000:
        member.type, member.mode = tarfile.DIRTYPE, mode & 0o7777
    else:
        member.size = len(content)
    archive.addfile(member, io.BytesIO(content) if member.size else None)


def root_files() -> bytes:
    """Return the image's only layer, a tar archive."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for folder in FOLDERS:
            _add(archive, folder, mode=0o40000 | (0o1777 if folder == "tmp" else 0o755))
        _add(archive, "bin/busybox", BUSYBOX.read_bytes(), mode=0o755)
        listed = subprocess.run([BUSYBOX, "--list"], capture_output=True, text=True, check=True).stdout
        for program in listed.split():
            if program != "busybox":
                _add(archive, f"bin/{program}", link="busybox")
        _add(archive, "etc/passwd", PASSWD)
        _add(archive, "etc/group", GROUP)
        _add(archive, "etc/plain", b"not a program\n")
    return out.getvalue()


def write(to: Path, *, name: str = NAME, command: tuple[str, ...] = ("/bin/sh",)) -> None:
    """Write an archive that `docker load`, `podman load` and `ctr images import` read: an image that runs `command`.

    Source: the image specification of Docker, version 1.2: manifest.json, a configuration and the layers.
    """
    layer = root_files()
    config = json.dumps(
        {
            "architecture": {"x86_64": "amd64", "aarch64": "arm64"}.get(
                os.uname().machine, os.uname().machine
            ),
            "os": "linux",
            "config": {"Env": ["PATH=/bin"], "Cmd": list(command)},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
            "history": [{"created_by": "made for a test"}],
        }
    ).encode()
    config_name = f"{hashlib.sha256(config).hexdigest()}.json"
    listed = [{"Config": config_name, "RepoTags": [f"{name}:latest"], "Layers": ["layer.tar"]}]
    with tarfile.open(to, "w") as archive:
        _add(archive, config_name, config)
        _add(archive, "layer.tar", layer)
        _add(archive, "manifest.json", json.dumps(listed).encode())
    to.chmod(0o644)
