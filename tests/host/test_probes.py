"""A program in a node tries some fifty ways out, or to what belongs to the caller; none may succeed.

The baits are real: an open descriptor on the host's root, a secret in the environment, a key in the session
keyring, sockets, shared memory, a terminal, ignored signals. That the probes can succeed is shown by running them
under plain bwrap, as a person would type it.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import pty
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.patience import PATIENCE_S

PROBES = Path(__file__).with_name("probes.py")
PYTHON = "/usr/bin/python3"  # the core OS's own: the sandbox shows it as /bin/python3
SECRET = "probe-secret-7d1f"
KEY = "redpak:probe-secret"
SHM_KEY = 0x5EED000 + os.getpid() % 0x1000  # others may run this at the same time
KEYCTL, ADD_KEY, SHMGET, SHMCTL = (
    (250, 248, 29, 31) if os.uname().machine == "x86_64" else (219, 217, 194, 195)
)

# What every container system on this kind of kernel leaves: information, or surface without a way out.
KNOWN_WEAK = {
    "procr": "the kernel's world-readable files in /proc (keys, kallsyms, config.gz, iomem)",
    "mountinfo": "the host path of each mount is in the mount table",
    "caps": "the bounding set: without capabilities and with no_new_privs nothing can be gained from it",
    "pid1cmd": "bubblewrap's own command line",
}


@pytest.fixture
def baits(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """Lay out what a program in a sandbox must not reach."""
    with contextlib.ExitStack() as stack:
        name = f"redpak-probe-{os.getpid()}"
        abstract = stack.enter_context(socket.socket(socket.AF_UNIX))
        abstract.bind("\0" + name)
        abstract.listen()
        tcp = stack.enter_context(socket.socket(socket.AF_INET))
        tcp.bind(("127.0.0.1", 0))
        tcp.listen()
        sock_file = tmp_path / "daemon.sock"
        named = stack.enter_context(socket.socket(socket.AF_UNIX))
        named.bind(str(sock_file))
        named.listen()
        secret_file = tmp_path / "secret"
        secret_file.write_text(SECRET)
        shm_file = Path(f"/dev/shm/{name}")
        shm_file.write_text(SECRET)
        stack.callback(shm_file.unlink)
        libc = ctypes.CDLL(None, use_errno=True)
        shm = libc.syscall(SHMGET, SHM_KEY, 4096, 0o1666)
        assert shm >= 0
        stack.callback(libc.syscall, SHMCTL, shm, 0, None)
        victim = subprocess.Popen(["sleep", "600"])
        stack.callback(victim.wait)
        stack.callback(victim.kill)
        yield {
            "secret": SECRET,
            "secret_file": str(secret_file),
            "abstract": name,
            "port": tcp.getsockname()[1],
            "socket_file": str(sock_file),
            "shm_file": str(shm_file),
            "shm_key": SHM_KEY,
            "host_pid": victim.pid,
            "key": KEY,
            "host_mnt": os.readlink("/proc/self/ns/mnt"),
        }


def under_a_terminal(argv: list[str], env: dict[str, str]) -> tuple[int, str]:
    """Run `argv` as a careless caller: a terminal, a descriptor on /, a key, ignored and blocked signals.

    Return the exit code and what the terminal showed.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    pid, master = pty.fork()
    if pid == 0:
        os.dup2(os.open("/", os.O_RDONLY | os.O_DIRECTORY), 7)
        os.set_inheritable(7, True)
        os.dup2(7, 300)
        libc.syscall(KEYCTL, 1, None)
        secret = SECRET.encode()
        libc.syscall(ADD_KEY, b"user", KEY.encode(), secret, len(secret), -3)
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
        if os.geteuid() == 0:
            os.setgroups([0, 4242])
        os.set_blocking(0, False)
        try:
            os.execve(argv[0], argv, env)
        finally:
            os._exit(99)
    said = b""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if not select.select([master], [], [], 1)[0]:
            continue
        try:
            chunk = os.read(master, 65536)
        except OSError:
            break
        if not chunk:
            break
        said += chunk
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.close(master)
    return code, said.decode(errors="replace")


def verdicts(said: str) -> dict[str, list[str]]:
    """Return the probes' own report."""
    start = said.find('{"fds"')  # what was pushed into the terminal may stand before it
    assert start >= 0, said
    found: dict[str, list[str]]
    found, _ = json.JSONDecoder().raw_decode(said[start:])
    return found


@pytest.fixture
def tree(pool: Path, redpak: Any) -> Path:
    """A platform and an application in which the probes are installed."""
    assert redpak("node", "create", str(pool / "platform"), "--alias", "platform").code == 0
    leaf = pool / "platform" / "app"
    assert redpak("node", "create", str(leaf), "--alias", "app").code == 0
    shutil.copy(PROBES, leaf / "usr" / "probes.py")
    return leaf


def judge(found: dict[str, list[str]], allowed: set[str]) -> None:
    """Fail on every probe that got through, and on weaknesses that are not on the list."""
    broken = {name: what for name, what in found.items() if what[0] == "VULN" and name not in allowed}
    assert not broken
    weak = {name: what for name, what in found.items() if what[0] == "weak" and name not in KNOWN_WEAK}
    assert not weak
    assert len(found) >= 45


@pytest.mark.needs("userns", "bwrap")
@pytest.mark.parametrize("net", ["disabled", "enabled"])
@pytest.mark.parametrize("way", ["helper", "python", "native", "native-python", "prepared"])
def test_no_probe_gets_out(
    tree: Path, redpak: Any, baits: dict[str, Any], bwrap: str, net: str, way: str
) -> None:
    for config in (
        tree / "etc/redpak.yaml",
        tree.parent / "etc/redpak.yaml",
        tree.parent.parent / "etc/redpak.yaml",
    ):
        text = config.read_text()
        config.write_text(
            text.replace("share_net: enabled", f"share_net: {net}").replace(
                "share_net: Enabled", f"share_net: {net}"
            )
        )
    baits["pool"] = str(tree.parent)
    baits["readonly"] = ["/bin", "/lib", "/usr/share", "/nodes/platform/usr", "/nodes/app/usr"]
    engine = ["--engine", "native"] if way.startswith("native") else ["--bwrap", bwrap]
    argv = [*redpak.argv, "run", "--no-frozen", *engine, str(tree), "--"]
    argv += ["/bin/python3", "-I", "/nodes/app/usr/probes.py", json.dumps(baits)]
    env = {**redpak.environ, "ESC_SECRET": SECRET, "TERM": "xterm"}
    if way.endswith("python"):
        env["REDPAK_NO_HELPER"] = "1"
    with contextlib.ExitStack() as stack:
        if way == "prepared":
            runtime = stack.enter_context(tempfile.TemporaryDirectory(prefix="rp-", dir="/tmp"))
            redpak.environ["REDPAK_RUNTIME_DIR"] = env["REDPAK_RUNTIME_DIR"] = runtime
            assert redpak("warm", "--bwrap", bwrap, str(tree)).code == 0
            stack.callback(redpak, "cool", "--all")
        code, said = under_a_terminal(argv, env)
        if way in {"native", "prepared"}:
            shown = redpak("run", "--no-frozen", *engine, str(tree), "--", "/bin/cat", "/proc/1/cmdline")
            assert "redpak-join" in shown.out, shown
    found = verdicts(said)
    # the network is the caller's when the family shares it: loopback is then reachable, and meant to be
    judge(found, {"loopback", "vsock"} if net == "enabled" else set())
    assert code == 0
    assert "injected" not in said
    os.kill(baits["host_pid"], 0)


@pytest.mark.needs("userns", "bwrap")
def test_the_probes_do_get_out_of_a_careless_sandbox(tree: Path, baits: dict[str, Any], bwrap: str) -> None:
    baits["pool"] = str(tree.parent)
    baits["readonly"] = ["/usr"]
    argv = [
        bwrap,
        "--ro-bind",
        "/usr",
        "/usr",
        "--ro-bind",
        str(tree),
        "/node",
        "--proc",
        "/proc",
        "--dev",
        "/dev",
    ]
    argv += ["--tmpfs", "/tmp", "--dir", "/run"]
    for name in ("bin", "lib", "lib64"):
        if Path(f"/{name}").exists():
            argv += ["--ro-bind", f"/{name}", f"/{name}"]
    argv += ["--", PYTHON, "-I", "/node/usr/probes.py", json.dumps(baits)]
    _, said = under_a_terminal(argv, {"PATH": "/usr/bin:/bin", "ESC_SECRET": SECRET, "TERM": "xterm"})
    found = verdicts(said)
    out = {name for name, what in found.items() if what[0] == "VULN"}
    assert {"fds", "marker", "pid1env", "keyring", "abstract", "loopback", "sysvshm", "sigstate"} <= out
    if (
        Path("/proc/sys/dev/tty/legacy_tiocsti").exists()
        and Path("/proc/sys/dev/tty/legacy_tiocsti").read_text() == "1\n"
    ):
        assert "tiocsti" in out
