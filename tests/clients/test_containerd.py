"""What people do with containerd's `ctr`: its shim calls the runtime in ways of its own."""

from __future__ import annotations

import itertools
import re
import subprocess
from collections.abc import Iterator

import pytest

from tests.clients import image
from tests.clients.world import GROUP, World, runtime
from tests.conftest import Ran
from tests.patience import PATIENCE_S, eventually

pytestmark = [pytest.mark.needs("root", "containerd"), pytest.mark.slow]
IMAGE = f"{image.NAME}:latest"
NUMBERS = itertools.count(1)
CONFIGURATION = """
version = 2
root = "{at}/root"
state = "{at}/state"
disabled_plugins = [
  "io.containerd.grpc.v1.cri", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs",
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.devmapper",
]
[grpc]
address = "{at}/socket"
[ttrpc]
address = "{at}/ttrpc"
"""


class Ctr:
    """`ctr` with a containerd of its own."""

    def __init__(self, world: World) -> None:
        self.world = world
        at = world.at / "containerd"
        at.mkdir()
        (at / "config.toml").write_text(CONFIGURATION.format(at=at))
        self.daemon = world.start("containerd", "--config", f"{at}/config.toml", log="containerd.log")
        self.words = ["ctr", "--address", f"{at}/socket"]
        self.with_runtime = ["--runc-binary", str(runtime()), "--runc-root", "/run/ctr-test"]
        waits = f"until ctr --address {at}/socket version >/dev/null 2>&1; do sleep 0.05; done"
        done = world.run("timeout", str(PATIENCE_S), "sh", "-c", waits)
        assert done.code == 0, (world.at / "containerd.log").read_text()

    def __call__(self, *words: str, stdin: bytes = b"") -> Ran:
        """Run a command of ctr."""
        return self.world.run(*self.words, *words, stdin=stdin)

    def out(self, *words: str) -> str:
        """Run a command that must end well; return what it printed."""
        done = self(*words)
        assert done.code == 0, done
        return done.out.strip()

    def argv(self, *options: str) -> list[str]:
        """Return the words of a new container, with a cgroup below our own, before those of its program."""
        name = f"k{next(NUMBERS)}"
        return ["run", *self.with_runtime, "--cgroup", f"/{GROUP}/{name}", *options, IMAGE, name]

    def run(self, *program: str, options: tuple[str, ...] = (), stdin: bytes = b"") -> Ran:
        """Run a container to its end."""
        return self(*self.argv("--rm", *options), *program, stdin=stdin)

    def start(self, *program: str, options: tuple[str, ...] = ()) -> str:
        """Start a container in the background; return its name."""
        words = self.argv("--detach", *options)
        self.out(*words, *program)
        return words[-1]

    def status(self, name: str) -> str:
        """Return what containerd thinks a task does."""
        lines = [line.split() for line in self.out("tasks", "list").splitlines()]
        return next((line[2] for line in lines if line[0] == name), "")

    def until(self, name: str, status: str) -> None:
        """Wait until a task has come to a state."""
        listed = (
            f"until {' '.join(self.words)} tasks list | grep -q '^{name} .*{status}'; do sleep 0.05; done"
        )
        done = self.world.run("timeout", str(PATIENCE_S), "sh", "-c", listed)
        assert done.code == 0, self.out("tasks", "list")

    def remove(self, name: str) -> None:
        """Remove a container at once."""
        self("tasks", "kill", "--signal", "KILL", name)
        self.until(name, "STOPPED")
        self.out("tasks", "delete", name)
        self.out("containers", "delete", name)


@pytest.fixture(scope="module")
def ctr(world: World) -> Iterator[Ctr]:
    """Return containerd with an image."""
    made = Ctr(world)
    made.out("images", "import", str(world.at / "image.tar"))
    yield made
    made.daemon.terminate()
    try:
        made.daemon.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        made.daemon.kill()
        made.daemon.wait()


@pytest.fixture(scope="module")
def living(ctr: Ctr) -> Iterator[str]:
    """Return a container that goes on until it is told to stop, and then ends with 3."""
    name = ctr.start("sh", "-c", "trap 'exit 3' TERM; while :; do sleep 0.1; done")
    yield name
    ctr.remove(name)


def test_what_a_container_prints_comes_out(ctr: Ctr) -> None:
    done = ctr.run("sh", "-c", "echo out; echo err >&2; exit 42")
    assert (done.code, done.out, done.err) == (42, "out\n", "err\n")


def test_a_program_that_is_not_there_is_named(ctr: Ctr) -> None:
    done = ctr.run("/no/such/program")
    assert done.code != 0
    assert "/no/such/program" in done.err, done


def test_standard_input_reaches_the_program(ctr: Ctr) -> None:
    # ctr never closes it
    assert ctr.run("sh", "-c", "read word; echo got $word", stdin=b"hello\n").out == "got hello\n"


def test_a_container_has_a_terminal(ctr: Ctr) -> None:
    done = ctr.world.on_terminal(*ctr.words, *ctr.argv("--rm", "--tty"), "tty")
    assert done.out.split() == ["/dev/pts/0"], done


def test_environment_and_directory(ctr: Ctr) -> None:
    done = ctr.run("sh", "-c", "echo $A; pwd", options=("--env", "A=b", "--cwd", "/tmp"))
    assert done.out.split() == ["b", "/tmp"], done


def test_a_mount_is_read_only_when_asked(ctr: Ctr) -> None:
    folder = ctr.world.at / "ctr-mount"
    folder.mkdir()
    (folder / "file").write_text("seen\n")
    mount = f"type=bind,src={folder},dst=/data,options=rbind:ro"
    done = ctr.run("sh", "-c", "cat /data/file; touch /data/new", options=("--mount", mount))
    assert done.out == "seen\n", done
    assert "Read-only file system" in done.err


def test_a_read_only_root_keeps_its_files(ctr: Ctr) -> None:
    assert "Read-only file system" in ctr.run("touch", "/new", options=("--read-only",)).err


def test_a_privileged_container_starts(ctr: Ctr) -> None:
    assert ctr.run("true", options=("--privileged",)).code == 0


def test_the_default_filter_is_on_when_asked(ctr: Ctr) -> None:
    assert re.search(r"Seccomp:\s2", ctr.run("cat", "/proc/self/status", options=("--seccomp",)).out)


def test_a_limit_of_memory_is_set(ctr: Ctr) -> None:
    name = ctr.start("sleep", "60", options=("--memory-limit", "67108864"))
    files = (
        f"/sys/fs/cgroup/memory/{GROUP}/{name}/memory.limit_in_bytes /sys/fs/cgroup/{GROUP}/{name}/memory.max"
    )
    found = ctr.world.run("sh", "-c", f"cat {files} 2>/dev/null").out.split()
    ctr.remove(name)
    assert found == ["67108864"]


def test_a_plain_directory_can_be_the_root(ctr: Ctr) -> None:
    root = ctr.world.at / "ctr-root"
    (root / "bin").mkdir(parents=True)
    (root / "bin/busybox").write_bytes(image.BUSYBOX.read_bytes())
    (root / "bin/busybox").chmod(0o755)
    name = f"k{next(NUMBERS)}"
    words = ["run", *ctr.with_runtime, "--cgroup", f"/{GROUP}/{name}", "--rm", "--rootfs", str(root), name]
    assert ctr.out(*words, "/bin/busybox", "echo", "plain") == "plain"


def test_a_second_program_joins_the_container(ctr: Ctr, living: str) -> None:
    words = ["tasks", "exec", "--exec-id", f"e{next(NUMBERS)}", "--user", "9", "--cwd", "/etc", living]
    done = ctr(*words, "sh", "-c", "id -u; pwd; exit 7")
    assert (done.code, done.out.split()) == (7, ["9", "/etc"]), done


def test_a_second_program_has_a_terminal(ctr: Ctr, living: str) -> None:
    words = [*ctr.words, "tasks", "exec", "--tty", "--exec-id", f"e{next(NUMBERS)}", living, "tty"]
    done = ctr.world.on_terminal(*words)
    assert re.match(r"/dev/pts/\d+\s", done.out), done


def test_tasks_processes_and_numbers_are_told(ctr: Ctr, living: str) -> None:
    assert ctr.status(living) == "RUNNING"
    assert len(ctr.out("tasks", "ps", living).splitlines()) >= 2
    assert "memory" in ctr.out("tasks", "metrics", living)


def test_a_paused_container_is_resumed(ctr: Ctr, living: str) -> None:
    ctr.out("tasks", "pause", living)
    assert ctr.status(living) == "PAUSED"
    ctr.out("tasks", "resume", living)
    assert ctr.status(living) == "RUNNING"


def test_a_signal_lets_the_program_choose_its_exit_code(ctr: Ctr) -> None:
    name = ctr.start("sh", "-c", "trap 'exit 3' TERM; >/tmp/up; while :; do sleep 0.1; done")
    waits = "until [ -e /tmp/up ]; do sleep 0.05; done"
    ctr.out("tasks", "exec", "--exec-id", f"e{next(NUMBERS)}", name, "sh", "-c", waits)
    ctr.out("tasks", "kill", "--signal", "TERM", name)
    ctr.until(name, "STOPPED")
    assert "exit code 3" in ctr("tasks", "delete", name).err
    ctr.out("containers", "delete", name)


def test_nothing_is_left_of_what_was_removed(ctr: Ctr) -> None:
    name = ctr.start("sleep", "60")
    assert ctr.world.run("find", "/run/ctr-test", "-name", name).out.strip()
    ctr.remove(name)
    eventually(lambda: ctr.world.run("find", "/run/ctr-test", "/sys/fs/cgroup", "-name", name).out, "")
