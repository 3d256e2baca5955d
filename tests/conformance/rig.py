"""A place where an OCI runtime can be tried without harm, bundles made by hand, and the runtime's command line.

Every call of the runtime happens in a mount namespace of its own in which the host's tree is read-only but for the
test's folder, with host name, IPC, network and cgroup of its own: whatever a half-written runtime mounts, renames or
limits, the host does not see it, and it goes when the test ends.
"""

from __future__ import annotations

import contextlib
import copy
import ctypes
import errno
import json
import os
import select
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.conftest import REPOSITORY, Ran
from tests.patience import PATIENCE_S

LIBC = ctypes.CDLL(None, use_errno=True)
NEWNS, NEWUTS, NEWIPC, NEWNET = 0x20000, 0x4000000, 0x8000000, 0x40000000
KEEP = """
mount --bind "$1" "$1" && mount -t tmpfs none /run && mkdir -m 1777 /run/lock &&
if [ -n "$2" ]; then mount -t tmpfs none "$2"; fi &&
mount -o remount,bind,ro / && echo ready && read word
"""
LIMITS = (
    "cpu", "fsize", "data", "stack", "core", "rss", "nproc", "nofile", "memlock", "as", "locks", "sigpending",
    "msgqueue", "nice", "rtprio", "rttime",
)  # fmt: skip
CAPS = (
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
    "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
    "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
    "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
    "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
    "CHECKPOINT_RESTORE",
)  # fmt: skip
USUAL_CAPS = (
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_MKNOD", "CAP_NET_BIND_SERVICE",
    "CAP_SETFCAP", "CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID", "CAP_SYS_CHROOT",
)  # fmt: skip


def runtime_argv() -> list[str]:
    """Return the command line of the runtime under test."""
    words = shlex.split(os.environ.get("REDPAK_RUNTIME", ""))
    return words or [str(REPOSITORY / "scripts/redpak-oci")]  # as clients do: by its first line


def runtime_name() -> str:
    """Return which runtime is under test: 'runc', 'crun', or 'redpak-oci'."""
    for word in runtime_argv():
        for name in ("runc", "crun"):
            if os.path.basename(word).startswith(name):
                return name
    return "redpak-oci"


def environ() -> dict[str, str]:
    """Return the environment that a runtime is called with."""
    return {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "PYTHONPATH": str(REPOSITORY)}


def cap_mask(*names: str) -> int:
    """Return the mask of capabilities by name, with CAP_ or without."""
    return sum(1 << CAPS.index(name.removeprefix("CAP_")) for name in names)


def hierarchies() -> dict[str, tuple[str, str]]:
    """Return the cgroup hierarchies: controllers (comma separated, '' for v2) → mount point, this process's path."""
    mine: dict[str, str] = {}
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, names, path = line.split(":", 2)
        mine[names] = path
    found: dict[str, tuple[str, str]] = {}
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ")[:3]
        at = before.split(" ")[4]
        if kind == "cgroup2" and "" not in found:
            found[""] = (at, mine.get("", "/"))
        for names, path in mine.items():
            if kind == "cgroup" and names and set(names.split(",")) <= set(options.split(",")):
                found.setdefault(names, (at, path))
    return found


def pure_v2() -> bool:
    """Tell whether cgroup v2 is all that this host has."""
    return list(hierarchies()) == [""]


def group_of(controller: str, path: str) -> Path | None:
    """Return the directory of the cgroup `path` where a controller lives; None where the host lacks it."""
    for names, (at, _) in hierarchies().items():
        if controller in names.split(",") and controller:
            return Path(at + path)
    if "" in hierarchies():
        at = hierarchies()[""][0]
        if not controller or controller in Path(at, "cgroup.controllers").read_text().split():
            return Path(at + path)
    return None


def kill_all(pids: set[int]) -> None:
    """Kill processes and wait until they are gone; those that became ours are collected, in whatever order they end."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + PATIENCE_S
    while pids and time.monotonic() < deadline:
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[
                0
            ]:  # a dead child holds the first process of its pid namespace up
                pass
        for pid in list(pids):
            if not os.path.exists(f"/proc/{pid}"):
                pids.discard(pid)
        time.sleep(0.002)
    assert not pids, f"processes {pids} do not end"


def empty_groups(groups: list[Path]) -> None:
    """Kill all that is in these cgroups and below, also what is born meanwhile."""
    while pids := members(groups):
        kill_all(pids)


def members(groups: list[Path]) -> set[int]:
    """Return the processes in these cgroups and below, none of which is frozen any more."""
    pids: set[int] = set()
    for at in groups:
        for folder, _, _ in os.walk(at):
            with contextlib.suppress(OSError):
                Path(folder, "freezer.state").write_text("THAWED")
            with contextlib.suppress(OSError):
                Path(folder, "cgroup.freeze").write_text("0")
            with contextlib.suppress(OSError):
                pids |= set(map(int, Path(folder, "cgroup.procs").read_text().split()))
    return pids


def remove_groups(groups: list[Path]) -> None:
    """Remove empty cgroups with all below. Who has just ended may count for a moment more."""
    deadline = time.monotonic() + PATIENCE_S
    for at in groups:
        for folder, _, _ in os.walk(at, topdown=False):
            while True:
                try:
                    os.rmdir(folder)
                except FileNotFoundError:
                    pass
                except OSError as error:
                    if error.errno != errno.EBUSY or time.monotonic() > deadline:
                        raise
                    time.sleep(0.002)
                    continue
                break


def gone(pid: int, patience_s: float = PATIENCE_S) -> int | None:
    """Wait for a process to end; return its exit code (negative: the signal), None if it was not our child."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        fd = -1
    if fd >= 0:
        ended = select.select([fd], [], [], patience_s)[0]
        os.close(fd)
        assert ended, f"process {pid} does not end"
    try:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    except ChildProcessError:
        return None


class Yard:
    """A test's place: `scratch`, a private set of namespaces, and a cgroup in every hierarchy."""

    def __init__(self, scratch: Path, probe: Path, name: str) -> None:
        self.scratch, self.probe, self.name = scratch, probe, name
        self.groups = [Path(at + mine, name) for at, mine in hierarchies().values()]
        self.made: list[Path] = []  # cgroups by absolute path that the containers may leave
        self.containers: list[Container] = []
        hide = hierarchies().get("", ("", ""))[0] if runtime_name() == "crun" and not pure_v2() else ""
        self.keeper = subprocess.Popen(
            ["unshare", "-m", "-u", "-i", "-n", "--propagation", "private", "sh", "-c", KEEP, "sh", str(scratch), hide],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert self.keeper.stdout
        assert self.keeper.stdout.readline() == b"ready\n"
        for group in self.groups:
            group.mkdir()
            for file in () if pure_v2() else ("cpuset.cpus", "cpuset.mems"):  # version 2 inherits them
                if (group / file).exists() and not (group / file).read_text().strip():
                    (group / file).write_text((group.parent / file).read_text())

    def enter(self) -> None:
        """Go into the yard: called in a child, before it becomes the runtime."""
        for group in self.groups:
            (group / "cgroup.procs").write_text("0")
        fd = os.pidfd_open(self.keeper.pid)
        if LIBC.setns(fd, NEWNS | NEWUTS | NEWIPC | NEWNET):
            raise OSError(ctypes.get_errno(), "setns")
        os.close(fd)

    def call(
        self, *argv: str, stdin: bytes = b"", stdout: Any = None, cwd: Path | None = None, **more: Any
    ) -> Ran:
        """Run a program in the yard. Its output is caught, unless it goes to `stdout`."""
        if stdout is not None:
            more |= {"stdout": stdout[0], "stderr": stdout[1]}
        else:
            more |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        before = more.pop("before", None)

        def ready() -> None:
            self.enter()
            os.chdir(cwd or self.scratch)
            if before:
                before()

        more.setdefault("env", environ())
        done = subprocess.run(
            argv,
            input=stdin,
            preexec_fn=ready,
            timeout=more.pop("timeout_s", PATIENCE_S),
            check=False,
            **more,
        )
        return Ran(
            list(argv),
            subprocess.CompletedProcess(argv, done.returncode, done.stdout or b"", done.stderr or b""),
        )

    def container(self, name: str = "c", **more: Any) -> Container:
        """Return a new bundle."""
        made = Container(self, f"{self.name}-{name}", **more)
        self.containers.append(made)
        return made

    def close(self) -> None:
        """Undo everything, whatever state the runtime left it in."""
        empty_groups([*self.groups, *self.made])
        for one in self.containers:
            one.op("delete", "--force", one.id)
        empty_groups([*self.groups, *self.made])
        remove_groups([*self.groups, *self.made])
        self.keeper.kill()
        self.keeper.communicate()
        while True:  # what the runtimes left to us
            try:
                if os.waitpid(-1, os.WNOHANG)[0] == 0:
                    break
            except ChildProcessError:
                break


def config() -> dict[str, Any]:
    """Return the configuration that tests begin with: five namespaces, the usual mounts and capabilities."""
    caps = {kind: list(USUAL_CAPS) for kind in ("bounding", "effective", "permitted")}
    return copy.deepcopy({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": False,
            "user": {"uid": 0, "gid": 0},
            "args": ["/probe", "report"],
            "env": ["PATH=/usr/bin:/bin:/", "HERE=inside"],
            "cwd": "/",
            "capabilities": caps,
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs", "readonly": False},
        "hostname": "inside",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
             "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
             "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]},
            {"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
             "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
            {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue",
             "options": ["nosuid", "noexec", "nodev"]},
            {"destination": "/sys", "type": "sysfs", "source": "sysfs",
             "options": ["nosuid", "noexec", "nodev", "ro"]},
        ],
        "linux": {
            "namespaces": [{"type": one} for one in ("pid", "network", "ipc", "uts", "mount")],
            "resources": {},
        },
    })  # fmt: skip


class Container:
    """A bundle and its container, driven by the runtime's command line."""

    def __init__(self, yard: Yard, name: str, bundle: Path | None = None) -> None:
        self.yard, self.id = yard, name
        self.bundle = bundle or yard.scratch / f"bundle-{name}"
        self.rootfs = self.bundle / "rootfs"
        self.config = config()
        self.pid = 0
        for folder in ("proc", "dev", "sys", "tmp", "etc", "data", "log"):
            (self.rootfs / folder).mkdir(parents=True)
        shutil.copy(yard.probe, self.rootfs / "probe")
        self.log = yard.scratch / f"log-{name}"  # where hooks write
        self.log.mkdir(mode=0o777)
        self.log.chmod(0o777)

    def write(self) -> None:
        """Write config.json."""
        (self.bundle / "config.json").write_text(json.dumps(self.config))

    def op(self, *words: str, **more: Any) -> Ran:
        """Call the runtime: `op("state", box.id)`."""
        return self.yard.call(*runtime_argv(), "--root", str(self.yard.scratch / "state"), *words, **more)

    def create(self, *options: str, write: bool = True, **more: Any) -> Ran:
        """Create the container. Its own output goes to files, which `said` reads."""
        if write:
            self.write()
        with open(self.bundle / "out", "ab") as out, open(self.bundle / "err", "ab") as err:
            ran = self.op(
                "create", "--bundle", str(self.bundle), *options, self.id, stdout=(out, err), **more
            )
        ran.out, ran.err = (self.bundle / "out").read_text(), (self.bundle / "err").read_text()
        if ran.code == 0:
            self.pid = int(self.state()["pid"])
        return ran

    def start(self, **more: Any) -> Ran:
        """Start the program."""
        return self.op("start", self.id, **more)

    def state(self) -> dict[str, Any]:
        """Return the state. Fails if there is none."""
        ran = self.op("state", self.id)
        assert ran.code == 0, ran
        found: dict[str, Any] = json.loads(ran.out)
        return found

    def status(self) -> str:
        """Return the state's status, 'none' without a container."""
        ran = self.op("state", self.id)
        return str(json.loads(ran.out)["status"]) if ran.code == 0 else "none"

    def kill(self, word: str = "KILL") -> Ran:
        """Send a signal."""
        return self.op("kill", self.id, word)

    def delete(self, *options: str) -> Ran:
        """Delete the container."""
        return self.op("delete", *options, self.id)

    def up(self, *options: str) -> None:
        """Create and start; neither may fail."""
        for ran in (self.create(*options), self.start()):
            assert ran.code == 0, ran

    def wait(self) -> int | None:
        """Wait for the container's process to end; return its exit code."""
        return gone(self.pid)

    def said(self) -> list[dict[str, Any]]:
        """Return what the container's program said so far."""
        return [json.loads(line) for line in (self.bundle / "out").read_text().splitlines()]

    def until(self, **wanted: Any) -> dict[str, Any]:
        """Wait until the container's program has said a line with these values; return it."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            text = (self.bundle / "out").read_text()
            for line in text[: text.rfind("\n") + 1].splitlines():
                one: dict[str, Any] = json.loads(line)
                if wanted.items() <= one.items():
                    return one
            time.sleep(0.005)
        raise AssertionError(f"the container never said {wanted}, but {text}")

    def run(self, *options: str, **more: Any) -> Ran:
        """Create, start, wait and delete at once."""
        self.write()
        return self.op("run", "--bundle", str(self.bundle), *options, self.id, **more)

    def probe(self, *words: str, **more: Any) -> list[dict[str, Any]]:
        """Run the probe inside with these verbs; return its answers."""
        self.config["process"]["args"] = ["/probe", *words]
        ran = self.run(**more)
        assert ran.code == 0, ran
        return [json.loads(line) for line in ran.out.splitlines()]

    def report(self, **more: Any) -> dict[str, Any]:
        """Run the probe's report inside."""
        return self.probe("report", **more)[0]

    def refused(self, *words: str, **more: Any) -> Ran:
        """Check that the container cannot be created: an error, a message, no process, and no state."""
        ran = self.create(**more)
        assert ran.code != 0, f"created: {ran}"
        assert ran.err.strip(), ran
        assert "Traceback" not in ran.err, ran
        assert self.status() == "none"
        for word in words:
            assert word in ran.err, ran
        return ran

    def mount(self, destination: str, kind: str = "", source: str = "", *options: str, **more: Any) -> None:
        """Add a mount to the configuration."""
        one = {"destination": destination, "type": kind, "source": source, "options": list(options), **more}
        self.config["mounts"].append({name: value for name, value in one.items() if value != ""})

    def hook(self, phase: str, *words: str, inside: bool = False, **more: Any) -> None:
        """Add a hook that writes what it sees to the log."""
        if inside and not any(one["destination"] == "/log" for one in self.config["mounts"]):
            self.mount("/log", "bind", str(self.log), "bind", "rw")
        path = "/probe" if inside else str(self.yard.probe)
        log = "/log/hooks" if inside else str(self.log / "hooks")
        hook = {"path": path, "args": ["probe", "hook", log, phase, *words], **more}
        self.config.setdefault("hooks", {}).setdefault(phase, []).append(hook)

    def hooked(self) -> list[dict[str, Any]]:
        """Return what the hooks saw, in order."""
        file = self.log / "hooks"
        text = file.read_text() if file.exists() else ""  # the last line may still be being written
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]

    def namespace(self, kind: str, path: str | None = None, *, drop: bool = False) -> None:
        """Add, change or drop a namespace of the configuration."""
        kept = [one for one in self.config["linux"]["namespaces"] if one["type"] != kind]
        if not drop:
            kept.append({"type": kind, "path": path} if path else {"type": kind})
        self.config["linux"]["namespaces"] = kept

    def user_namespace(self, base: int = 100000, size: int = 65536) -> None:
        """Give the container a user namespace, and the root file system to its root."""
        self.namespace("user")
        for kind in ("uidMappings", "gidMappings"):
            self.config["linux"][kind] = [{"containerID": 0, "hostID": base, "size": size}]
        for folder, _, files in os.walk(self.rootfs):
            for name in ["", *files]:
                os.chown(Path(folder, name), base, base, follow_symlinks=False)
        for folder_ in (self.bundle, *self.bundle.parents):
            if folder_.stat().st_uid == os.getuid() and str(folder_).startswith("/tmp/"):
                folder_.chmod(folder_.stat().st_mode | 0o711)


def mounts_of(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the mount table of a report: the last mount at each path."""
    found: dict[str, dict[str, Any]] = {}
    for line in report["mountinfo"].splitlines():
        before, _, after = line.partition(" - ")
        words = before.split(" ")
        kind, source, options = after.split(" ", 2)
        found[words[4]] = {
            "options": set(words[5].split(",")),
            "tags": words[6:],
            "type": kind,
            "source": source,
            "fs_options": set(options.split(",")),
            "root": words[3],
        }
    return found


def field(report: dict[str, Any], name: str) -> str:
    """Return one field of /proc/self/status."""
    for line in report["status"].splitlines():
        if line.startswith(name + ":"):
            return str(line.partition(":")[2].strip())
    raise KeyError(name)


@contextlib.contextmanager
def process(*argv: str, before: Callable[[], None] | None = None) -> Iterator[int]:
    """Run a program beside the test until the block ends: it says a line when it is ready."""
    done = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, preexec_fn=before)
    assert done.stdout
    try:
        assert done.stdout.readline()
        yield done.pid
    finally:
        done.kill()
        done.communicate()
