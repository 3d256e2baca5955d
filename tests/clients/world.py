"""A small world for container engines: namespaces and storage of its own, in which root and an ordinary user work.

Its first process is the first of a PID namespace: when that dies, every daemon, shim and container goes with it, and
all mounts go with the mount namespace. Users are added to an overlay over /etc, so the host does not get them.
"""

from __future__ import annotations

import errno
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from tests.conftest import REPOSITORY, Ran
from tests.patience import PATIENCE_S, eventually

PATH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
USER = "clients-test"
GROUP = f"redpak-clients-{os.getpid()}"
# $1: the world's directory on the host; $2: 'hide' where the runtime refuses a host with both versions of cgroups.
FIRST = f"""
set -e
ip link set lo up
mount -t overlay -o "lowerdir=/etc,upperdir=$1/etc-upper,workdir=$1/etc-work" etc /etc
mount -t tmpfs -o mode=755,nosuid,nodev run /run
if [ "$2" = hide ] && [ -d /sys/fs/cgroup/unified ]; then mount -t tmpfs -o mode=755 none /sys/fs/cgroup/unified; fi
useradd --user-group --no-create-home --home-dir "$1/home" --shell /bin/sh {USER}
sed -i '/^{USER}:/d' /etc/subuid /etc/subgid
usermod --add-subuids 300000-365535 --add-subgids 300000-365535 {USER}
number=$(id -u {USER})
install -d -m 700 -o {USER} -g {USER} "$1/home" "$1/user" /run/user "/run/user/$number"
chmod 755 /run/user
for device in "tun 10 200 /dev/net/tun" "fuse 10 229 /dev/fuse"; do
    set -- "$1" "$2" $device
    if [ -e "$6" ]; then mknod -m 666 "$1/$3" c "$4" "$5"; mount --bind "$1/$3" "$6"; fi
done
echo "ready $number"
while :; do read -r word || exit 0; done
"""


def runtime() -> Path:
    """Return the runtime under test: REDPAK_RUNTIME, by default this checkout's."""
    asked = os.environ.get("REDPAK_RUNTIME", "")
    if asked:
        return Path(shutil.which(asked, path=PATH) or asked).absolute()
    installed = Path(sys.executable).parent / "redpak-oci"
    return installed if installed.exists() else REPOSITORY / "scripts" / "redpak-oci"


def cgroups(names: Iterable[str]) -> list[Path]:
    """Return the cgroups of these names that there are, in every hierarchy."""
    mounted = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    tops = [Path(line[4]) for line in mounted if line[line.index("-") + 1] in ("cgroup", "cgroup2")]
    return [top / name for top in tops for name in names if (top / name).is_dir()]


class World:
    """Where engines are tried. Use it for a block: afterwards nothing of it is left, or it says what."""

    def __init__(self) -> None:
        self.groups = {GROUP}  # what engines put their cgroups in
        # podman refuses long paths
        self.at = Path(tempfile.mkdtemp(prefix="rc-", dir="/var/tmp"))
        self.at.chmod(0o755)
        for name in ("etc-upper", "etc-work"):
            (self.at / name).mkdir()
        hide = "hide" if runtime().name.startswith("crun") else ""
        self.process = subprocess.Popen(
            ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--net", "--ipc", "--uts", "--mount-proc",
             "--propagation", "private", "sh", "-c", FIRST, "world", str(self.at), hide],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={"PATH": PATH, "LANG": "C.UTF-8"},
        )  # fmt: skip
        assert self.process.stdout is not None
        words = self.process.stdout.readline().split()
        if words[:1] != ["ready"]:
            self.process.kill()
            raise RuntimeError("the world of the clients could not be made (see its messages above)")
        self.uid = int(words[1])
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        self.first = int(children.split()[0])
        self.enter = [
            "nsenter",
            f"--target={self.first}",
            "--mount",
            "--pid",
            "--net",
            "--ipc",
            "--uts",
            "--wdns=/",
            "--",
        ]

    def argv(self, words: list[str], env: dict[str, str], *, user: bool = False) -> list[str]:
        """Return the command line that runs a program inside, with exactly this environment."""
        become = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--init-groups", "--"] if user else []
        base = {
            "PATH": PATH,
            "LANG": "C.UTF-8",
            "TERM": "xterm",
            "HOME": f"{self.at}/home" if user else "/root",
        }
        if user:
            base |= {"USER": USER, "XDG_RUNTIME_DIR": f"/run/user/{self.uid}"}
        return [
            *self.enter,
            *become,
            "env",
            "-i",
            *(f"{key}={value}" for key, value in (base | env).items()),
            *words,
        ]

    def run(
        self,
        *words: str,
        env: dict[str, str] | None = None,
        user: bool = False,
        stdin: bytes = b"",
        timeout_s: float = PATIENCE_S,
    ) -> Ran:
        """Run a program inside to its end."""
        argv = self.argv(list(words), env or {}, user=user)
        done = subprocess.run(argv, input=stdin, capture_output=True, timeout=timeout_s, check=False)
        return Ran(list(words), done)

    def on_terminal(
        self,
        *words: str,
        env: dict[str, str] | None = None,
        user: bool = False,
        typed: bytes = b"",
        timeout_s: float = PATIENCE_S,
    ) -> Ran:
        """Run a program inside whose standard streams are a terminal; `typed` is sent once it has printed something."""
        argv = self.argv(list(words), env or {}, user=user)
        pid, terminal = pty.fork()
        if pid == 0:
            try:
                os.execvp(argv[0], argv)
            finally:
                os._exit(127)
        seen = b""
        deadline = time.monotonic() + timeout_s
        try:
            while time.monotonic() < deadline:
                if not select.select([terminal], [], [], 1)[0]:
                    continue
                try:
                    data = os.read(terminal, 65536)
                except OSError as error:
                    if error.errno != errno.EIO:  # the last who had it open has closed it
                        raise
                    break
                if not data:
                    break
                seen += data
                if typed:
                    os.write(terminal, typed)
                    typed = b""
            else:
                os.kill(pid, signal.SIGKILL)
        finally:
            _, status = os.waitpid(pid, 0)
            os.close(terminal)
        code = os.waitstatus_to_exitcode(status)
        return Ran(list(words), subprocess.CompletedProcess(argv, code, seen.replace(b"\r\n", b"\n"), b""))

    def start(self, *words: str, env: dict[str, str] | None = None, log: str) -> subprocess.Popen[bytes]:
        """Start a daemon inside; what it prints goes to a file in the world's directory."""
        with open(self.at / log, "wb") as file:
            return subprocess.Popen(
                self.argv(list(words), env or {}), stdin=subprocess.DEVNULL, stdout=file, stderr=file
            )

    def close(self) -> None:
        """End everything inside and remove what is on the host. Raises AssertionError if something is left."""
        os.kill(self.first, signal.SIGKILL)
        self.process.communicate()
        mounted = Path("/proc/self/mountinfo").read_text()
        assert str(self.at) not in mounted, f"something is mounted below '{self.at}'"
        shutil.rmtree(self.at)
        # Who was killed leaves its cgroup a little later.
        eventually(lambda: [folder for folder in cgroups(self.groups) if not removed(folder)], [])


class Guest(World):
    """A test guest in the place of a world: it vanishes as a whole, and what manages it can be reached."""

    def __init__(self) -> None:
        self.groups = {GROUP}
        self.at = Path(tempfile.mkdtemp(prefix="rc-"))
        self.enter: list[str] = []

    def close(self) -> None:
        """Leave everything to the guest's end."""


def removed(folder: Path) -> bool:
    """Remove an engine's own cgroup and the empty ones below it; tell whether that was all that there was."""
    for below, _, _ in os.walk(folder, topdown=False):
        try:
            os.rmdir(below)
        except OSError:
            return False
    return True
