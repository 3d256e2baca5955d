"""What people do with podman's containers while they live: limits, more programs, signals, pods, images."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator

import pytest

from tests.clients import image
from tests.clients.podman import NUMBERS, Podman
from tests.clients.world import runtime
from tests.patience import eventually

pytestmark = [pytest.mark.needs("root", "podman"), pytest.mark.slow]
IMAGE = image.NAME


@pytest.fixture(scope="module")
def living(podman: Podman) -> Iterator[str]:
    """Return a container that goes on until it is told to stop, and then ends with 3."""
    script = "trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.1; done"
    name = podman.start("--hostname=living", IMAGE, "sh", "-c", script)
    yield name
    podman.remove(name)


def limit_files(text: str) -> dict[str, str]:
    """Return file → content of what `grep . FILE…` printed."""
    return dict(line.rpartition("/")[2].split(":", 1) for line in text.splitlines() if ":" in line)


READ_LIMITS = (
    "cd /sys/fs/cgroup; for f in memory.max pids.max cpu.max cpu.weight memory/memory.limit_in_bytes pids/pids.max "
    "cpu/cpu.cfs_quota_us cpu/cpu.shares; do [ -e $f ] && echo $f:$(cat $f); done; true"
)


def test_limits_are_set(root_podman: Podman) -> None:
    done = root_podman.run(
        "--memory=64m", "--pids-limit=50", "--cpus=0.5", "--cpu-shares=512", IMAGE, "sh", "-c", READ_LIMITS
    )
    found = limit_files(done.out)
    assert found.get("memory.limit_in_bytes", found.get("memory.max")) == "67108864", done
    assert found["pids.max"] == "50"
    assert found.get("cpu.cfs_quota_us") == "50000" or found.get("cpu.max") == "50000 100000", done
    assert found.get("cpu.shares") == "512" or found.get("cpu.weight") in ("20", "59"), (
        done
    )  # two conversions are in use


def test_memory_over_the_limit_kills(root_podman: Podman) -> None:
    name = f"c{next(NUMBERS)}"
    words = ["run", f"--name={name}", "--network=none", "--memory=16m", "--memory-swap=16m", IMAGE]
    done = root_podman(*words, "sh", "-c", "exec dd if=/dev/zero of=/dev/null bs=64M count=1")
    assert done.code == 137, done
    root_podman.remove(name)


def test_too_many_processes_do_not_start(root_podman: Podman) -> None:
    done = root_podman.run(
        "--pids-limit=5", IMAGE, "sh", "-c", "for i in 1 2 3 4 5 6 7 8; do sleep 60 & done; wait"
    )
    assert "can't fork" in done.err, done


def test_a_limit_is_changed_while_the_container_runs(root_podman: Podman, living: str) -> None:
    root_podman.out("update", "--memory=100m", living)
    found = limit_files(root_podman.out("exec", living, "sh", "-c", READ_LIMITS))
    assert found.get("memory.limit_in_bytes", found.get("memory.max")) == str(100 << 20)


def test_statistics_name_the_container(root_podman: Podman, living: str) -> None:
    (found,) = json.loads(root_podman.out("stats", "--no-stream", "--format=json", living))
    assert found["name"] == living
    assert int(found["pids"]) >= 1


def test_a_paused_container_does_nothing_until_it_is_resumed(root_podman: Podman, living: str) -> None:
    root_podman.out("pause", living)
    assert root_podman.out("inspect", "--format={{.State.Status}}", living) == "paused"
    assert root_podman("exec", living, "true").code != 0
    root_podman.out("unpause", living)
    assert root_podman.out("inspect", "--format={{.State.Status}}", living) == "running"
    assert root_podman.out("exec", living, "echo", "on") == "on"


def test_a_second_program_joins_the_container(podman: Podman, living: str) -> None:
    done = podman(
        "exec",
        "--user=1000",
        "--workdir=/etc",
        "--env=A=b",
        living,
        "sh",
        "-c",
        "id -u; pwd; echo $A; hostname; exit 7",
    )
    assert done.out.split() == ["1000", "/etc", "b", "living"], done
    assert done.code == 7


def test_a_second_program_has_no_more_rights_than_the_first(podman: Podman, living: str) -> None:
    wanted = "grep -E '^(CapBnd|CapEff|NoNewPrivs|Seccomp):' /proc/"
    first, second = (podman.out("exec", living, "sh", "-c", f"{wanted}{who}/status") for who in ("1", "self"))
    assert first == second


def test_a_second_program_that_is_not_there_is_127(podman: Podman, living: str) -> None:
    assert podman("exec", living, "/no/such/program").code == 127
    assert podman("exec", living, "/etc/plain").code == 126


def test_a_second_program_reads_standard_input(podman: Podman, living: str) -> None:
    assert podman("exec", "--interactive", living, "wc", "-c", stdin=b"x" * 100_000).out.strip() == "100000"


def test_a_second_program_has_a_terminal(podman: Podman, living: str) -> None:
    done = podman.world.on_terminal(
        *podman.words, "exec", "--tty", living, "tty", env=podman.env, user=podman.rootless
    )
    assert re.fullmatch(r"/dev/pts/\d+", done.out.strip()), done


def test_a_second_program_runs_on_in_the_background(podman: Podman, living: str) -> None:
    podman.out("exec", "--detach", living, "sh", "-c", "echo done >/tmp/background")
    script = "until [ -s /tmp/background ]; do usleep 50000; done; cat /tmp/background"
    assert podman.out("exec", living, "timeout", "60", "sh", "-c", script) == "done"


def test_processes_are_listed(podman: Podman, living: str) -> None:
    assert "sleep" in podman.out("top", living)


def test_output_is_logged(podman: Podman, living: str) -> None:
    podman.prints(living, "up")


def test_files_are_copied_in_and_out(podman: Podman, living: str) -> None:
    place = podman.world.at / ("user" if podman.rootless else "root")
    (place / "in").write_text("copied\n")
    podman.out("cp", str(place / "in"), f"{living}:/tmp/in")
    assert podman.out("exec", living, "cat", "/tmp/in") == "copied"
    podman.out("cp", f"{living}:/tmp/in", str(place / "out"))
    assert (place / "out").read_text() == "copied\n"


def test_what_a_container_changed_is_told(podman: Podman, living: str) -> None:
    podman.out("exec", living, "touch", "/root/new")
    assert "A /root/new" in podman.out("diff", living).splitlines()


def test_stop_lets_the_program_choose_its_exit_code(podman: Podman) -> None:
    script = "trap 'exit 3' TERM; echo up; while :; do sleep 0.1; done"
    name = podman.start(IMAGE, "sh", "-c", script)
    podman.prints(name, "up")
    podman.out("stop", "--time=60", name)
    assert podman.out("inspect", "--format={{.State.ExitCode}}", name) == "3"
    podman.out("start", name)
    assert podman.out("inspect", "--format={{.State.Status}}", name) == "running"
    podman.remove(name)


def test_what_does_not_stop_is_killed(podman: Podman) -> None:
    name = podman.start(IMAGE, "sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.1; done")
    podman.prints(name, "up")
    podman.out("stop", "--time=1", name)
    assert podman.out("inspect", "--format={{.State.ExitCode}}", name) == "137"
    podman.remove(name)


def test_a_signal_reaches_the_program(podman: Podman) -> None:
    name = podman.start(IMAGE, "sh", "-c", "trap 'exit 9' USR1; echo up; while :; do sleep 0.1; done")
    podman.prints(name, "up")
    podman.out("kill", "--signal=USR1", name)
    assert podman.out("wait", name) == "9"
    podman.remove(name)


def test_a_restarted_container_is_another_process(podman: Podman, living: str) -> None:
    before = podman.out("inspect", "--format={{.State.Pid}}", living)
    podman.out("restart", "--time=2", living)
    assert podman.out("inspect", "--format={{.State.Pid}} {{.State.Status}}", living).split()[1] == "running"
    assert podman.out("inspect", "--format={{.State.Pid}}", living) != before


def test_a_container_is_restarted_when_it_fails(podman: Podman) -> None:
    name = podman.start("--restart=on-failure:2", IMAGE, "false")
    eventually(lambda: podman("inspect", "--format={{.RestartCount}}", name).out.strip(), "2")
    eventually(lambda: podman("inspect", "--format={{.State.Status}}", name).out.strip(), "exited")
    assert podman.out("inspect", "--format={{.RestartCount}}", name) == "2"
    podman.remove(name)


@pytest.mark.parametrize(("command", "code"), [("true", 0), ("false", 1)])
def test_a_health_check_runs_inside(podman: Podman, command: str, code: int) -> None:
    name = podman.start(f"--health-cmd={command}", "--health-interval=disable", IMAGE, "sleep", "60")
    assert podman("healthcheck", "run", name).code == code
    podman.remove(name)


def test_a_created_container_waits_for_its_start(podman: Podman) -> None:
    name = f"c{next(NUMBERS)}"
    podman.out("create", f"--name={name}", "--network=none", IMAGE, "echo", "now")
    podman.out("init", name)
    assert podman.out("inspect", "--format={{.State.Status}}", name) == "initialized"
    assert podman.out("start", "--attach", name) == "now"
    podman.remove(name)


def test_the_network_of_an_engine_is_joined(podman: Podman) -> None:
    kind = "slirp4netns" if podman.rootless else "podman"
    done = podman("run", "--rm", f"--network={kind}", IMAGE, "ip", "-o", "addr")
    assert re.search(r"(eth0|tap0)\s+inet ", done.out), done


def test_containers_of_a_pod_share_what_pods_share(podman: Podman) -> None:
    name = f"pod{next(NUMBERS)}"
    podman.out(
        "pod", "create", f"--name={name}", "--network=none", "--share=ipc,uts,net", "--hostname=shared"
    )
    for container in ("one", "two"):
        podman.out("run", "--detach", f"--pod={name}", f"--name={name}-{container}", IMAGE, "sleep", "60")
    for space in ("ipc", "uts", "net"):
        first, second = (
            podman.out("exec", f"{name}-{container}", "readlink", f"/proc/self/ns/{space}")
            for container in ("one", "two")
        )
        assert first == second
    assert podman.out("exec", f"{name}-two", "hostname") == "shared"
    podman.out("pod", "stop", "--time=1", name)
    podman.out("pod", "rm", "--force", name)


def test_a_pod_of_kubernetes_is_played(podman: Podman) -> None:
    file = podman.world.at / f"pod-{podman.rootless}.yaml"
    file.write_text(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: played}\nspec:\n  hostNetwork: true\n  containers:\n"
        f"  - {{name: one, image: {IMAGE}, imagePullPolicy: Never, command: [/bin/sh, -c, 'echo played; sleep 60'],\n"
        "     securityContext: {readOnlyRootFilesystem: true, runAsUser: 1000}}\n"
    )
    file.chmod(0o644)
    podman.out("kube", "play", str(file))
    assert podman.out("exec", "played-one", "id", "-u") == "1000"
    assert podman("exec", "played-one", "touch", "/x").code == 1
    podman.prints("played-one", "played")
    podman.out("kube", "down", str(file))


def test_an_image_is_built_by_running(podman: Podman) -> None:
    place = podman.world.at / ("user" if podman.rootless else "root") / "build"
    place.mkdir()
    (place / "Containerfile").write_text(f"FROM {IMAGE}\nRUN echo built >/made\nCMD cat /made\n")
    isolation = ["--isolation=oci"] if podman.rootless else []
    podman.out("build", "--network=none", *isolation, "--quiet", "--tag=localhost/made", str(place))
    assert podman.run("localhost/made").out == "built\n"


def test_a_change_is_kept_in_an_image(podman: Podman, living: str) -> None:
    podman.out("exec", living, "touch", "/kept")
    podman.out("commit", "--quiet", living, "localhost/kept")
    assert podman.run("localhost/kept", "ls", "/kept").out == "/kept\n"


def test_no_cgroup_is_made_when_none_is_wanted(podman: Podman) -> None:
    if runtime().name == "runc":
        pytest.skip("a control: podman knows that runc cannot do without")
    done = podman.run("--cgroups=disabled", IMAGE, "echo", "free")
    assert done.out == "free\n", done


def test_the_oom_score_is_set(podman: Podman) -> None:
    assert podman.run("--oom-score-adj=500", IMAGE, "cat", "/proc/self/oom_score_adj").out == "500\n"


def test_the_runtime_under_test_is_the_one_that_is_used(podman: Podman, living: str) -> None:
    assert os.path.basename(podman.out("inspect", "--format={{.OCIRuntime}}", living)) == runtime().name


def test_nothing_is_left_of_what_was_removed(podman: Podman) -> None:
    before = podman.out("ps", "--all", "--quiet", "--external")
    name = podman.start(IMAGE, "sleep", "60")
    number = podman.out("inspect", "--format={{.Id}}", name)
    running = podman.world.run("find", "/sys/fs/cgroup", "/run", "-name", f"*{number}*").out
    assert podman.rootless or running, "the container is to be seen while it lives"
    podman.remove(name)
    eventually(lambda: podman.out("ps", "--all", "--quiet", "--external"), before)
    eventually(lambda: podman.world.run("find", "/sys/fs/cgroup", "/run", "-name", f"*{number}*").out, "")
