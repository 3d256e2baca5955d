"""Containers for tests: bundles with a static busybox, one root for their states, and nothing left of them."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.conftest import REPOSITORY, Ran
from tests.patience import PATIENCE_S, eventually

APPLETS = ("sh", "cat", "echo", "id", "kill", "mkdir", "sleep", "stty", "test", "touch", "true", "tty")
NAMESPACES = ("pid", "ipc", "uts", "mount")
DEFAULT_MOUNTS: list[dict[str, object]] = [
    {"destination": "/proc", "type": "proc", "source": "proc"},
    {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
    {
        "destination": "/dev/pts",
        "type": "devpts",
        "source": "devpts",
        "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"],
    },
    {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "nodev"]},
]


class Site:
    """Where containers of one test live; call it to run redpak-oci."""

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self.root = scratch / "states"
        self.argv = [
            sys.executable,
            "-I",
            str(REPOSITORY / "scripts" / "redpak-oci"),
            "--root",
            str(self.root),
        ]
        self.cgroup = f"/redpak-oci-test-{os.getpid()}" if os.geteuid() == 0 else ""
        self.rootfs = scratch / "rootfs"
        for folder in ("bin", "dev", "proc", "sys", "tmp", "etc", "run"):
            (self.rootfs / folder).mkdir(parents=True)
        busybox = self.rootfs / "bin" / "busybox"
        busybox.write_bytes(Path("/bin/busybox").read_bytes())
        busybox.chmod(0o755)
        for name in APPLETS:
            (self.rootfs / "bin" / name).symlink_to("busybox")

    def __call__(self, *words: str | Path, stdin: bytes = b"", env: dict[str, str] | None = None) -> Ran:
        """Run a command to its end. What it says goes into files: a container that it leaves behind holds them open."""
        argv = [*self.argv, *map(str, words)]
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            code = subprocess.run(
                argv,
                input=stdin,
                stdout=out,
                stderr=err,
                timeout=PATIENCE_S,
                check=False,
                env={**self.environ(), **(env or {})},
            ).returncode
            said = []
            for file in (out, err):
                file.seek(0)
                said.append(file.read())
        return Ran(argv, subprocess.CompletedProcess(argv, code, *said))

    def environ(self) -> dict[str, str]:
        """Return a clean environment."""
        return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}

    def popen(self, *words: str | Path, **more: Any) -> subprocess.Popen[bytes]:
        """Start a command and stay beside it."""
        return subprocess.Popen([*self.argv, *map(str, words)], env=self.environ(), **more)

    def bundle(self, name: str, *args: str, **changes: Any) -> Path:
        """Make a bundle; `process`, `linux` and other members of its configuration are changed by `changes`."""
        at = self.scratch / f"bundle-{name}"
        at.mkdir(exist_ok=True)
        config: dict[str, Any] = {
            "ociVersion": "1.2.0",
            "root": {"path": str(self.rootfs)},
            "process": {
                "args": list(args),
                "cwd": "/",
                "env": ["PATH=/bin", "A=1"],
                "user": {"uid": 0, "gid": 0},
                "noNewPrivileges": True,
                **changes.pop("process", {}),
            },
            "mounts": changes.pop("mounts", DEFAULT_MOUNTS),
            "linux": {"namespaces": [{"type": kind} for kind in NAMESPACES], **changes.pop("linux", {})},
            **changes,
        }
        if os.geteuid() == 0:
            config["linux"].setdefault("cgroupsPath", f"{self.cgroup}/{name}")
        else:
            config["linux"]["namespaces"].append({"type": "user"})
            for key, own in (("uidMappings", os.geteuid()), ("gidMappings", os.getegid())):
                config["linux"].setdefault(key, [{"containerID": 0, "hostID": own, "size": 1}])
        (at / "config.json").write_text(json.dumps(config))
        return at

    def create(self, name: str, *args: str, **changes: Any) -> None:
        """Create a container, which must work."""
        made = self("create", "--bundle", self.bundle(name, *args, **changes), name)
        assert made.code == 0, made

    def run(self, name: str, *args: str, stdin: bytes = b"", **changes: Any) -> Ran:
        """Run a container in the foreground."""
        return self("run", "--bundle", self.bundle(name, *args, **changes), name, stdin=stdin)

    def state(self, name: str) -> dict[str, Any]:
        """Return the state of a container, which must exist."""
        told = self("state", name)
        assert told.code == 0, told
        found = json.loads(told.out)
        assert isinstance(found, dict)
        return found

    def becomes(self, pid: int, *args: str) -> None:
        """Wait until a process is this program: its words are there a moment after execve(2) has let go of ours."""
        words = b"".join(word.encode() + b"\0" for word in args)
        eventually(Path(f"/proc/{pid}/cmdline").read_bytes, words)

    def ended(self, name: str, pid: int) -> None:
        """Wait until the first process of a container has ended; it was made a child of ours."""
        if pid == 0:
            return
        try:
            fd = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        try:
            assert select.select([fd], [], [], PATIENCE_S)[0], f"container '{name}' does not end"
        finally:
            os.close(fd)
        try:
            os.waitpid(pid, 0)
        except ChildProcessError:
            pass

    def groups(self) -> list[Path]:
        """Return the control group that this test's containers have theirs in, in every hierarchy that has it."""
        top = Path("/sys/fs/cgroup")
        places = [top, *(top / name for name in os.listdir(top))] if self.cgroup else []
        return [at for place in places if (at := Path(f"{place}{self.cgroup}")).is_dir()]

    def clean(self) -> None:
        """Delete every container, and see that nothing of them is left."""
        wrong = []
        if self.root.exists():
            for name in sorted(os.listdir(self.root)):
                if name.startswith("~"):
                    continue
                gone = self("delete", "--force", name)
                if gone.code:
                    wrong.append(gone)
            self("delete", "--force", "none")
        for folder in self.groups():
            folder.rmdir()
        assert not wrong, wrong
        assert not self.root.exists() or os.listdir(self.root) == [], os.listdir(self.root)
