"""What people do with docker: a daemon of its own, whose default runtime is the one under test."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients import image
from tests.clients.world import GROUP, World, runtime
from tests.conftest import Ran
from tests.patience import PATIENCE_S, eventually

pytestmark = [pytest.mark.needs("root", "docker"), pytest.mark.slow]
IMAGE = image.NAME
NUMBERS = itertools.count(1)


def all_capabilities() -> bool:
    """Tell whether root may have every capability that the kernel knows, as docker asks for a privileged container."""
    (bounding,) = re.findall(r"CapBnd:\s(\w+)", Path("/proc/self/status").read_text())
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    return int(bounding, 16) == (1 << (last + 1)) - 1


class Docker:
    """docker with a daemon and storage of its own."""

    def __init__(self, world: World) -> None:
        self.world = world
        at = world.at / "docker"
        at.mkdir()
        self.env = {"DOCKER_CONFIG": f"{at}/cfg", "DOCKER_BUILDKIT": "0"}
        self.words = ["docker", "--host", f"unix://{at}/socket"]
        self.daemon = world.start(
            "dockerd", f"--data-root={at}/data", f"--exec-root={at}/exec", f"--pidfile={at}/pid",
            f"--host=unix://{at}/socket", "--exec-opt=native.cgroupdriver=cgroupfs", f"--cgroup-parent=/{GROUP}",
            f"--add-runtime=tested={runtime()}", "--default-runtime=tested", "--userland-proxy=false",
            log="dockerd.log",
        )  # fmt: skip
        waits = f"until docker --host unix://{at}/socket version >/dev/null 2>&1; do sleep 0.1; done"
        done = world.run("timeout", str(PATIENCE_S), "sh", "-c", waits, env=self.env)
        assert done.code == 0, (world.at / "dockerd.log").read_text()[-2000:]

    def __call__(self, *words: str, stdin: bytes = b"", timeout_s: float = PATIENCE_S) -> Ran:
        """Run a command of docker."""
        return self.world.run(*self.words, *words, env=self.env, stdin=stdin, timeout_s=timeout_s)

    def out(self, *words: str) -> str:
        """Run a command that must end well; return what it printed."""
        done = self(*words)
        assert done.code == 0, done
        return done.out.strip()

    def run(self, *words: str, stdin: bytes = b"") -> Ran:
        """Run a container to its end."""
        return self("run", "--rm", "--network=none", *words, stdin=stdin)

    def start(self, *words: str) -> str:
        """Start a container in the background; return its name."""
        name = f"d{next(NUMBERS)}"
        self.out("run", "--detach", "--network=none", f"--name={name}", *words)
        return name

    def inspect(self, name: str, what: str) -> str:
        """Return a member of what docker knows about a container."""
        return self.out("inspect", f"--format={{{{.{what}}}}}", name)

    def until(self, name: str, what: str, value: str) -> None:
        """Wait until a member of what docker knows has a value."""
        eventually(lambda: self.inspect(name, what), value)

    def prints(self, name: str, text: str) -> None:
        """Wait until a container has written a line; what it does before that is done then."""
        eventually(lambda: text in self.out("logs", name).splitlines())


@pytest.fixture(scope="module")
def docker(world: World) -> Iterator[Docker]:
    """Return docker with an image."""
    made = Docker(world)
    made.out("load", "--input", str(world.at / "image.tar"))
    yield made
    for name in made("ps", "--all", "--quiet").out.split():
        made("rm", "--force", name)
    made.daemon.terminate()
    try:
        made.daemon.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        made.daemon.kill()
        made.daemon.wait()


@pytest.fixture(scope="module")
def living(docker: Docker) -> Iterator[str]:
    """Return a container that goes on until it is told to stop."""
    name = docker.start(
        "--hostname=living", IMAGE, "sh", "-c", "trap 'exit 3' TERM; echo up; while :; do sleep 0.1; done"
    )
    yield name
    docker.out("rm", "--force", name)


def test_the_runtime_under_test_is_the_one_that_is_used(docker: Docker, living: str) -> None:
    assert docker.inspect(living, "HostConfig.Runtime") == "tested"


def test_what_a_container_prints_comes_out(docker: Docker) -> None:
    done = docker.run(IMAGE, "sh", "-c", "echo out; echo err >&2; exit 42")
    assert (done.code, done.out, done.err) == (42, "out\n", "err\n")


@pytest.mark.parametrize(
    ("program", "code"),
    [("/no/such/program", 127), ("no-such-program", 127), ("/etc/plain", 126), ("/etc", 126)],
)
def test_what_cannot_be_run_has_the_shells_exit_codes(docker: Docker, program: str, code: int) -> None:
    done = docker.run(IMAGE, program)
    assert done.code == code, done


def test_a_directory_that_is_missing_is_made(docker: Docker) -> None:
    assert docker.run("--workdir=/made/here", IMAGE, "pwd").out == "/made/here\n"


def test_standard_input_reaches_the_program(docker: Docker) -> None:
    assert docker.run("--interactive", IMAGE, "wc", "-c", stdin=b"x" * 100_000).out.strip() == "100000"


def test_a_container_has_a_terminal(docker: Docker) -> None:
    words = [*docker.words, "run", "--rm", "--network=none", "--tty", IMAGE, "tty"]
    assert docker.world.on_terminal(*words, env=docker.env).out.split() == ["/dev/pts/0"]


def test_environment_directory_user_and_host_name(docker: Docker) -> None:
    done = docker.run(
        "--env=A=b", "--workdir=/tmp", "--user=somebody:friends", "--hostname=here", IMAGE,
        "sh", "-c", "echo $A; pwd; id -u; id -g; hostname",
    )  # fmt: skip
    assert done.out.split() == ["b", "/tmp", "1000", "1010", "here"], done


def test_a_read_only_root_keeps_its_files(docker: Docker) -> None:
    done = docker.run(
        "--read-only", "--tmpfs=/scratch", IMAGE, "sh", "-c", "touch /x; touch /scratch/y && echo written"
    )
    assert done.out == "written\n", done
    assert "Read-only file system" in done.err


def test_volumes_keep_what_is_written_and_can_be_read_only(docker: Docker) -> None:
    docker.run("--volume=kept:/data", IMAGE, "sh", "-c", "echo kept >/data/file")
    done = docker.run("--volume=kept:/data:ro", IMAGE, "sh", "-c", "cat /data/file; touch /data/new")
    assert done.out == "kept\n"
    assert "Read-only file system" in done.err


def test_capabilities_and_no_new_privileges(docker: Docker) -> None:
    done = docker.run(
        "--cap-drop=all",
        "--cap-add=NET_ADMIN",
        "--security-opt=no-new-privileges",
        IMAGE,
        "cat",
        "/proc/self/status",
    )
    assert re.search(r"CapEff:\s0000000000001000", done.out), done
    assert re.search(r"NoNewPrivs:\s1", done.out)
    assert re.search(r"Seccomp:\s2", done.out)


def test_a_small_init_is_process_one(docker: Docker) -> None:
    if not any(
        Path(folder, "docker-init").exists() for folder in ("/usr/bin", "/usr/sbin", "/usr/libexec/docker")
    ):
        pytest.fail("docker comes without docker-init: install the package 'tini'")
    done = docker.run("--init", IMAGE, "sh", "-c", "tr '\\0' ' ' </proc/1/cmdline")
    assert "init" in done.out, done


def test_a_privileged_container_starts_or_says_why_not(docker: Docker) -> None:
    done = docker.run(
        "--privileged", IMAGE, "sh", "-c", "mkdir -p /mnt; mount -t tmpfs none /mnt && echo mounted"
    )
    if all_capabilities() or runtime().name == "redpak-oci":
        assert done.out == "mounted\n", done
    else:
        assert done.code != 0  # runc wants every capability that was asked for


def test_a_sysctl_a_limit_and_a_device_are_set(docker: Docker) -> None:
    done = docker.run(
        "--sysctl=net.core.somaxconn=4321", "--ulimit=nofile=100:200", "--device=/dev/zero:/dev/nothing", IMAGE,
        "sh", "-c", "cat /proc/sys/net/core/somaxconn; ulimit -Hn; head -c 2 /dev/nothing | od -An -tx1",
    )  # fmt: skip
    assert done.out.split() == ["4321", "200", "00", "00"], done


def test_limits_are_set(docker: Docker) -> None:
    name = docker.start("--memory=64m", "--pids-limit=50", "--cpus=0.5", IMAGE, "sleep", "60")
    number = docker.inspect(name, "Id")
    found = docker.world.run(
        "sh", "-c",
        f"cd /sys/fs/cgroup; cat memory/{GROUP}/{number}/memory.limit_in_bytes {GROUP}/{number}/memory.max "
        f"pids/{GROUP}/{number}/pids.max {GROUP}/{number}/pids.max 2>/dev/null",
    )  # fmt: skip
    assert found.out.split() == ["67108864", "50"], found
    docker.out("rm", "--force", name)


def test_memory_over_the_limit_kills_and_is_told(docker: Docker) -> None:
    name = f"d{next(NUMBERS)}"
    words = [
        "run",
        "--detach",
        f"--name={name}",
        "--network=none",
        "--memory=16m",
        "--memory-swap=16m",
        IMAGE,
    ]
    # It lives until the engine has heard of it, who otherwise may find its cgroup gone.
    program = "trap 'exit $code' TERM; dd if=/dev/zero of=/dev/null bs=64M count=1; code=$?"
    script = f"{program}; echo ended; while :; do sleep 0.1; done"
    docker.out(*words, "sh", "-c", script)
    happened = ("events", "--since=1h", "--until=0s", f"--filter=container={name}", "--filter=event=oom")
    eventually(lambda: docker.out(*happened) != "")
    docker.prints(name, "ended")
    docker.out("stop", "--time=60", name)
    assert docker.inspect(name, "State.ExitCode") == "137"
    assert docker.inspect(name, "State.OOMKilled") == "true"
    docker.out("rm", name)


def test_a_second_program_joins_the_container(docker: Docker, living: str) -> None:
    words = ["exec", "--user=9", "--workdir=/etc", "--env=A=b", living]
    done = docker(*words, "sh", "-c", "id -u; pwd; echo $A; hostname; exit 7")
    assert (done.code, done.out.split()) == (7, ["9", "/etc", "b", "living"]), done


def test_a_second_program_that_cannot_be_run_fails_as_in_a_shell(docker: Docker, living: str) -> None:
    assert docker("exec", living, "/no/such/program").code in (
        126,
        127,
    )  # older dockers do not tell them apart
    assert docker("exec", living, "/etc/plain").code == 126


def test_a_second_program_has_input_and_a_terminal(docker: Docker, living: str) -> None:
    assert docker("exec", "--interactive", living, "cat", stdin=b"fed\n").out == "fed\n"
    done = docker.world.on_terminal(*docker.words, "exec", "--tty", living, "tty", env=docker.env)
    assert re.fullmatch(r"/dev/pts/\d+", done.out.strip()), done


def test_a_second_program_in_a_privileged_way_has_more_rights(docker: Docker, living: str) -> None:
    def rights(*words: str) -> int:
        line = docker.out("exec", *words, living, "grep", "CapEff", "/proc/self/status")
        return int(line.split()[1], 16)

    if not all_capabilities() and runtime().name != "redpak-oci":
        pytest.skip("a control: this runtime wants every capability that was asked for")
    assert rights("--privileged") & ~rights()


def test_processes_numbers_and_output_are_told(docker: Docker, living: str) -> None:
    assert "sleep" in docker.out("top", living)
    # A daemon that takes more than two seconds for the first numbers is not heard.
    eventually(lambda: living in docker.out("stats", "--no-stream", "--format={{.Name}}", living))
    docker.prints(living, "up")


def test_a_paused_container_is_resumed(docker: Docker, living: str) -> None:
    docker.out("pause", living)
    assert docker.inspect(living, "State.Status") == "paused"
    docker.out("unpause", living)
    assert docker.inspect(living, "State.Status") == "running"


def test_a_limit_is_changed_while_the_container_runs(docker: Docker, living: str) -> None:
    docker.out("update", "--memory=128m", "--memory-swap=128m", "--cpus=0.5", "--pids-limit=99", living)
    number = docker.inspect(living, "Id")
    files = f"memory/{GROUP}/{number}/memory.limit_in_bytes {GROUP}/{number}/memory.max"
    pids = f"pids/{GROUP}/{number}/pids.max {GROUP}/{number}/pids.max"
    found = docker.world.run("sh", "-c", f"cd /sys/fs/cgroup; cat {files} {pids} 2>/dev/null")
    assert found.out.split() == [str(128 << 20), "99"], found


def test_files_are_copied_in_and_out(docker: Docker, living: str) -> None:
    (docker.world.at / "docker/in").write_text("copied\n")
    docker.out("cp", f"{docker.world.at}/docker/in", f"{living}:/tmp/in")
    assert docker.out("exec", living, "cat", "/tmp/in") == "copied"
    docker.out("cp", f"{living}:/tmp/in", f"{docker.world.at}/docker/out")
    assert (docker.world.at / "docker/out").read_text() == "copied\n"


def test_stop_start_kill_and_remove(docker: Docker) -> None:
    name = docker.start(IMAGE, "sh", "-c", "trap 'exit 3' TERM; echo up; while :; do sleep 0.1; done")
    docker.prints(name, "up")
    docker.out("stop", "--time=60", name)
    assert docker.inspect(name, "State.ExitCode") == "3"
    docker.out("start", name)
    docker.out("kill", name)
    assert docker.out("wait", name) == "137"
    docker.out("rm", name)


def test_a_health_check_is_made_by_itself(docker: Docker) -> None:
    name = docker.start("--health-cmd=true", "--health-interval=300ms", IMAGE, "sleep", "60")
    docker.until(name, "State.Health.Status", "healthy")
    docker.out("rm", "--force", name)


def test_a_container_is_restarted_when_it_fails(docker: Docker) -> None:
    name = docker.start("--restart=on-failure:2", IMAGE, "false")
    docker.until(name, "RestartCount", "2")
    docker.until(name, "State.Status", "exited")
    docker.out("rm", "--force", name)


def test_the_network_of_an_engine_is_joined(docker: Docker) -> None:
    done = docker("run", "--rm", IMAGE, "ip", "-o", "addr")
    assert re.search(r"eth0\s+inet ", done.out), done


def test_a_namespace_of_another_container_is_joined(docker: Docker, living: str) -> None:
    for option, space in (("--network", "net"), ("--pid", "pid"), ("--ipc", "ipc")):
        words = ["run", "--rm", f"{option}=container:{living}", IMAGE, "readlink", f"/proc/self/ns/{space}"]
        if space == "ipc":
            continue  # docker shares it only with containers that say so
        assert docker.out(*words) == docker.out("exec", living, "readlink", f"/proc/self/ns/{space}")


def test_an_image_is_built_by_running(docker: Docker) -> None:
    place = docker.world.at / "docker/build"
    place.mkdir()
    (place / "Dockerfile").write_text(f"FROM {IMAGE}\nRUN echo built >/made\nCMD cat /made\n")
    docker.out("build", "--network=none", "--quiet", "--tag=made", str(place))
    assert docker.run("made").out == "built\n"


def test_nothing_is_left_of_what_was_removed(docker: Docker) -> None:
    name = docker.start(IMAGE, "sleep", "60")
    number = docker.inspect(name, "Id")
    assert docker.world.run("find", "/sys/fs/cgroup", "-name", number).out.strip()
    docker.out("rm", "--force", name)
    eventually(lambda: docker.world.run("find", "/sys/fs/cgroup", "/run", "-name", number).out, "")
    listed = json.loads(f"[{','.join(docker.out('ps', '--all', '--format={{json .Names}}').splitlines())}]")
    assert name not in listed
