"""Known escapes while a process is started in a container or put into one: what it holds, where it stands.

runc CVE-2019-5736 (the runtime's own program), CVE-2016-9962 and CVE-2019-16884 (a runtime that can be looked into
while it joins), CVE-2024-21626 (working directory and descriptors), CVE-2025-52881 (a faked /proc). Each attack
succeeds on a stand-in.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.rig import Container, environ
from tests.host.escape_rig import RACES, both, naive, untouched
from tests.host.test_escapes_root import flipping
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.needs("root", "cc")
SECRET = "escape-secret-51c0"
LOADER = {"x86_64": "lib64/ld-linux-x86-64.so.2", "aarch64": "lib/ld-linux-aarch64.so.1"}


def careless() -> None:
    """Be a caller with a descriptor on the host's root, and another one far away."""
    fd = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    for target in (7, 33):
        os.dup2(fd, target)
        os.set_inheritable(target, True)
    os.close(fd)


def running(box: Container, *words: str) -> Container:
    """Start a container whose program does this and then stays."""
    box.config["process"]["args"] = ["/probe", *words, *((";",) if words else ()), "stay"]
    box.up()
    box.until(verb="stay")
    return box


# --- the runtime's own program (CVE-2019-5736)


def trap(box: Container, *, script: bool) -> str:
    """Prepare an image that has the runtime run itself with a loader of the image's; return the program's path."""
    loader = box.rootfs / LOADER[os.uname().machine]
    loader.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(box.yard.probe, loader)
    path = box.rootfs / "trap"
    if script:
        path.write_text("#!/proc/self/exe stat\n")
        path.chmod(0o755)
    else:
        path.symlink_to("/proc/self/exe")
    return "/trap"


def held(out: str) -> list[str]:
    """Return the answers of a loader that ran in the runtime's place."""
    return [
        line for line in out.splitlines() if '"verb":"stat"' in line and '"path":"/proc/self/exe"' in line
    ]


@pytest.mark.parametrize("script", [False, True], ids=["link", "script"])
@pytest.mark.parametrize("way", ["run", "exec"])
@both
def test_the_runtimes_own_program_is_not_run_inside(box: Container, way: str, script: bool) -> None:
    path = trap(box, script=script)
    words = [path, "/proc/self/exe"] if script else [path, "stat", "/proc/self/exe"]
    if way == "run":
        box.config["process"]["args"] = words
        ran = box.run()
    else:
        running(box)
        ran = box.op("exec", box.id, *words)
    assert ran.code != 0
    assert held(ran.out) == []


@both
def test_the_runtimes_own_program_is_not_run_by_a_script_that_is_swapped_meanwhile(box: Container) -> None:
    trap(box, script=True)
    good = box.rootfs / "good"
    good.write_text("#!/probe spare\n")
    good.chmod(0o755)
    running(box)
    with flipping(good, box.rootfs / "trap"):
        for _ in range(RACES):
            ran = box.op("exec", box.id, "/good", "/proc/self/exe")
            assert held(ran.out) == [], ran


def test_stand_in_a_launcher_that_executes_what_it_is_told_hands_its_program_over(box: Container) -> None:
    path = trap(box, script=False)
    launcher = "import os, sys; os.chroot(sys.argv[1]); os.chdir('/'); os.execv(sys.argv[2], sys.argv[2:])"
    ran = box.yard.call("unshare", "--mount", "--pid", "--fork", "sh", "-c",
                        'mount -t proc proc "$1/proc"; shift; exec "$@"', "sh", str(box.rootfs),
                        sys.executable, "-c", launcher, str(box.rootfs), path, "stat", "/proc/self/exe")  # fmt: skip
    (said,) = map(json.loads, held(ran.out))
    assert said["target"].startswith(os.path.realpath(sys.executable)[:4])


# --- looking into a runtime that joins


def hunted(box: Container) -> list[str]:
    """Return the probe's words to look for strangers in its pid namespace, until it has been `enough`."""
    return ["hunt", "1000000", SECRET, str(box.yard.scratch), "/data/enough"]


def enough(box: Container) -> dict[str, Any]:
    """End the hunt; return what it found."""
    (box.rootfs / "data/enough").touch()
    box.wait()
    (found,) = box.said()
    return found


CATCH = ("exe", "environ", "fd", "root", "cwd", "ptrace")


@pytest.mark.parametrize("caps", ["usual", "ptrace"])
@both
def test_a_runtime_that_joins_cannot_be_looked_into(box: Container, caps: str) -> None:
    if caps == "ptrace":
        for kind in ("bounding", "effective", "permitted"):
            box.config["process"]["capabilities"][kind] += ["CAP_SYS_PTRACE"]
        box.user_namespace()  # without one the kernel itself lets CAP_SYS_PTRACE do it
    box.config["process"]["args"] = ["/probe", *hunted(box)]
    box.up()
    until = time.monotonic() + 3
    while time.monotonic() < until:
        ran = box.op("exec", box.id, "/probe", "spare", env={**environ(), "ESCAPE": SECRET}, before=careless,
                     close_fds=False)  # fmt: skip
        assert ran.code == 0, ran
    found = enough(box)
    assert found["seen"] > 0
    assert {kind: found[kind] for kind in CATCH} == dict.fromkeys(CATCH, 0), found


def test_stand_in_a_launcher_that_joins_without_care_can_be_looked_into(box: Container) -> None:
    for kind in ("bounding", "effective", "permitted"):
        box.config["process"]["capabilities"][kind] += ["CAP_SYS_PTRACE"]
    box.config["process"]["args"] = ["/probe", *hunted(box)]
    box.up()
    launcher = (
        "import ctypes, os, sys, time\n"
        "libc = ctypes.CDLL(None)\n"
        "fd = os.pidfd_open(int(sys.argv[1]))\n"
        "libc.setns(fd, 0x20000000)\n"
        "if os.fork() == 0:\n"
        "    time.sleep(0.2); os._exit(0)\n"
        "os.wait()\n"
    )
    for _ in range(5):
        done = subprocess.run([sys.executable, "-c", launcher, str(box.pid)], env={**os.environ, "ESCAPE": SECRET},
                              preexec_fn=careless, close_fds=False, check=False, timeout=PATIENCE_S)  # fmt: skip
        assert done.returncode == 0
    found = enough(box)
    for kind in ("exe", "environ", "fd", "root", "ptrace"):
        assert found[kind] > 0, (kind, found)


def test_the_first_process_shows_nothing_of_the_host(box: Container) -> None:
    running(box)
    up = "../" * 30 + str(box.yard.scratch)[1:]
    words = [f"/proc/1/cwd/{up}", f"/proc/1/root/{up}", *(f"/proc/1/fd/{fd}/{up}" for fd in range(64))]
    ran = box.op("exec", box.id, "/probe", "stat", *words, ";", "read", "/proc/1/environ", ";", "ls", "/proc/1/fd",
                 env={**environ(), "ESCAPE": SECRET})  # fmt: skip
    said = [json.loads(line) for line in ran.out.splitlines()]
    assert {one["outcome"] for one in said[:-2]} <= {"ENOENT", "ENOTDIR", "EACCES"}
    assert SECRET not in said[-2]["text"]
    assert set(said[-1]["names"]) <= {"0", "1", "2"}


# --- working directory and descriptors (CVE-2024-21626)


@pytest.mark.parametrize("fd", [*range(3, 24), 33])
def test_a_working_directory_through_a_descriptor_stays_inside(box: Container, fd: int) -> None:
    box.config["process"]["cwd"] = f"/proc/self/fd/{fd}"
    up = "../" * 30 + str(box.yard.scratch)[1:]
    box.config["process"]["args"] = ["/probe", "stat", up, ";", "report"]
    ran = box.run(before=careless, close_fds=False)
    assert ran.code != 0 or json.loads(ran.out.splitlines()[0])["outcome"] != "ok", ran
    assert "Traceback" not in ran.err


@both
def test_no_working_directory_of_exec_leads_out(box: Container) -> None:
    running(box)
    up = "../" * 30 + str(box.yard.scratch)[1:]
    (box.rootfs / "link").symlink_to("/proc/self/fd/7")
    for cwd in (
        "/link",
        "/proc/self/cwd",
        "/proc/self/root/..",
        *(f"/proc/self/fd/{fd}" for fd in (*range(3, 20), 33)),
    ):
        ran = box.op("exec", "--cwd", cwd, box.id, "/probe", "stat", up, before=careless, close_fds=False)
        assert ran.code != 0 or json.loads(ran.out)["outcome"] != "ok", (cwd, ran)


@pytest.mark.parametrize("way", ["run", "exec"])
@both
def test_descriptors_of_the_caller_do_not_reach_the_program(box: Container, way: str) -> None:
    if way == "run":
        box.config["process"]["args"] = ["/probe", "report"]
        ran = box.run(before=careless, close_fds=False)
    else:
        running(box)
        ran = box.op("exec", box.id, "/probe", "report", before=careless, close_fds=False)
    assert ran.code == 0, ran
    assert set(json.loads(ran.out)["fds"]) == {"0", "1", "2"}


def test_stand_in_a_launcher_that_leaves_descriptors_open_lets_its_program_out(box: Container) -> None:
    up = str(box.yard.scratch)[1:]
    ran = naive(box, 'mount -t proc proc "$root/proc"; exec chroot "$root" "$@"', "/probe", "chdir",
                "/proc/self/fd/7", ";", "stat", up, before=careless, close_fds=False)  # fmt: skip
    assert json.loads(ran.out.splitlines()[1])["outcome"] == "ok"


# --- a container that fakes its /proc before somebody joins


def faked(box: Container, victim: Path) -> Container:
    """Start a container that has covered its own /proc, as root inside may with CAP_SYS_ADMIN."""
    for kind in ("bounding", "effective", "permitted"):
        box.config["process"]["capabilities"][kind] += ["CAP_SYS_ADMIN"]
    box.mount("/log", "bind", str(victim), "bind", "rw")
    words: list[str] = ["mount", "none", "/proc", "tmpfs", "0", ";"]
    for folder in (
        "/proc/self",
        "/proc/self/attr",
        "/proc/self/fd",
        "/proc/self/ns",
        "/proc/thread-self",
        "/proc/sys",
    ):
        words += ["mkdir", folder, ";"]
    for name in (
        "oom_score_adj",
        "attr/exec",
        "attr/current",
        "loginuid",
        "setgroups",
        "uid_map",
        "fd/0",
        "exe",
    ):
        words += ["symlink", "/log/file", f"/proc/self/{name}", ";"]
    return running(box, *words[:-1])


@both
def test_exec_into_a_container_with_a_faked_proc_writes_nowhere_else(box: Container, victim: Path) -> None:
    box.config["process"]["oomScoreAdj"] = 33
    faked(box, victim)
    assert [one["outcome"] for one in box.said() if "outcome" in one] == ["ok"] * 15
    ran = box.op("exec", box.id, "/probe", "report", before=careless, close_fds=False)
    assert "Traceback" not in ran.err
    assert untouched(victim)
    if ran.code == 0:
        found = json.loads(ran.out)
        assert set(found["fds"]) == {"0", "1", "2"}  # they were not looked up in the faked /proc
        assert found["no_new_privs"] == 1
        assert Path(f"/proc/{box.pid}/oom_score_adj").read_text() == "33\n"


def test_stand_in_a_launcher_that_believes_the_containers_proc_writes_where_it_says(
    box: Container, victim: Path
) -> None:
    faked(box, victim)
    subprocess.run(["nsenter", "--target", str(box.pid), "--mount", "--pid", "/probe", "write",
                    "/proc/self/oom_score_adj", "0"], check=True, capture_output=True)  # fmt: skip
    assert not untouched(victim)


# --- the environment of helpers


@pytest.fixture
def preload(box: Container) -> Iterator[Path]:
    """Return a library that writes down which program loads it, visible under the same path inside and outside."""
    folder = box.yard.scratch / "evil"
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    source = folder / "evil.c"
    source.write_text(
        "#include <fcntl.h>\n#include <unistd.h>\n__attribute__((constructor)) static void load(void) {\n"
        f'  int fd = open("{folder}/loaded", O_CREAT | O_WRONLY, 0666);\n  close(fd);\n}}\n'
    )
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(folder / "evil.so"), str(source)], check=True)
    yield folder


def poison(folder: Path) -> list[str]:
    """Return variables that make a dynamic program or an interpreter load something of the attacker's."""
    (folder / "sitecustomize.py").write_text(f"open({str(folder / 'loaded')!r}, 'w').close()\n")
    return [
        f"LD_PRELOAD={folder}/evil.so",
        f"LD_AUDIT={folder}/evil.so",
        f"PYTHONPATH={folder}",
        f"PYTHONHOME={folder}",
        f"BASH_ENV={folder}/x",
        "GCONV_PATH=/evil",
        f"PYTHONSTARTUP={folder}/sitecustomize.py",
    ]


@pytest.mark.parametrize("userns", [False, True])
@both
def test_the_containers_environment_does_not_reach_the_runtime_or_its_helpers(
    box: Container, preload: Path, userns: bool
) -> None:
    if userns:
        box.user_namespace()
    box.config["process"]["env"] = ["PATH=/", *poison(preload)]
    hook = {"path": "/bin/true"}
    box.config["hooks"] = {phase: [hook] for phase in ("prestart", "createRuntime", "createContainer", "poststart",
                                                       "poststop")}  # fmt: skip
    running(box)
    words = [word for one in poison(preload) for word in ("--env", one)]
    assert box.op("exec", *words, box.id, "/probe", "spare").code == 0
    box.kill("KILL")
    box.wait()
    assert box.delete().code == 0
    assert not (preload / "loaded").exists()


def test_stand_in_a_launcher_that_exports_the_programs_environment_is_taken_over(
    box: Container, preload: Path
) -> None:
    env: dict[str, Any] = {
        "PATH": "/usr/bin:/bin:/usr/sbin",
        **dict(one.split("=", 1) for one in poison(preload)),
    }
    with contextlib.suppress(subprocess.CalledProcessError):
        subprocess.run(
            ["chroot", str(box.rootfs), "/probe", "spare"], env=env, check=True, capture_output=True
        )
    assert (preload / "loaded").exists()
