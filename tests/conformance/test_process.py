"""config.md, process: one field after the other, read from inside."""

from __future__ import annotations

import errno
import os
import resource
import signal
from typing import Any

import pytest

from tests.conformance.rig import CAPS, LIMITS, USUAL_CAPS, Container, cap_mask, environ, field

pytestmark = pytest.mark.needs("root", "cc")


def test_arguments_are_passed_as_they_are(box: Container) -> None:
    words = ["", "two words", "-flag", "--", "*", "$HOME", "a\nb", '"']
    assert box.probe("report", ";", "spare", *words)[0]["argv"][3:] == [";", "spare", *words][1:]


def test_the_environment_is_the_configured_one(box: Container) -> None:
    box.config["process"]["env"] = ["PATH=/", "A=1", "EMPTY=", "SPACES=a b", "EQUAL=a=b", "lower=x"]
    env = box.report(env={**environ(), "SECRET": "of the caller"})["env"]
    assert [word for word in env if not word.startswith("HOME=")] == box.config["process"]["env"]


def test_args0_is_found_in_the_path_of_the_container(box: Container) -> None:
    (box.rootfs / "tools").mkdir()
    (box.rootfs / "tools/found").symlink_to("/probe")
    box.config["process"]["env"] = ["PATH=/none:/tools"]
    box.config["process"]["args"] = ["found", "exit", "5"]
    assert box.run().code == 5


def test_args0_may_be_relative_to_the_working_directory(box: Container) -> None:
    box.config["process"]["cwd"] = "/data"
    box.config["process"]["args"] = ["../probe", "exit", "5"]
    assert box.run().code == 5


@pytest.mark.parametrize("program", ["/no/such/program", "no-such-program"])
def test_a_program_that_is_not_there_is_an_error(box: Container, program: str) -> None:
    box.config["process"]["args"] = [program]
    ran = box.run()
    assert ran.code not in (0, None)
    assert "no such file or directory" in ran.err.lower() or "not found" in ran.err.lower()
    assert box.status() == "none"


def test_a_program_that_is_not_executable_is_an_error(box: Container) -> None:
    (box.rootfs / "data/plain").write_text("text")
    (box.rootfs / "data/plain").chmod(0o644)
    box.config["process"]["args"] = ["/data/plain"]
    ran = box.run()
    assert ran.code != 0
    assert "permission denied" in ran.err.lower()


@pytest.mark.parametrize("args", [[], None, [""]])
def test_no_arguments_are_an_error(box: Container, args: list[str] | None) -> None:
    box.config["process"]["args"] = args
    ran = box.run()
    assert ran.code != 0
    assert box.status() == "none"


def test_the_working_directory_is_the_configured_one(box: Container) -> None:
    box.config["process"]["cwd"] = "/data"
    assert box.report()["cwd"] == "/data"


def test_a_working_directory_may_lie_in_a_mount(box: Container) -> None:
    box.config["process"]["cwd"] = "/dev/shm"
    assert box.report()["cwd"] == "/dev/shm"


def filtered(box: Container, name: str) -> None:
    """Give the container a filter that does not know a call, installed before capabilities are given up."""
    box.config["process"]["noNewPrivileges"] = False
    rule = {"names": [name], "action": "SCMP_ACT_ERRNO", "errnoRet": errno.ENOSYS}
    box.config["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}


def test_a_program_may_lie_where_only_a_capability_leads(box: Container) -> None:
    box.rootfs.chmod(0o700)
    box.config["process"]["user"] = {"uid": 10, "gid": 10}
    kinds = ("bounding", "effective", "permitted", "inheritable", "ambient")
    box.config["process"]["capabilities"] = {kind: ["CAP_DAC_OVERRIDE"] for kind in kinds}
    filtered(box, "faccessat2")
    assert box.report()["uid"] == 10


def test_an_interpreter_that_is_a_pipe_makes_nobody_wait(box: Container) -> None:
    (box.rootfs / "script").write_text("#!/pipe\n")
    (box.rootfs / "script").chmod(0o755)
    os.mkfifo(box.rootfs / "pipe", 0o755)
    box.config["process"]["args"] = ["/script"]
    assert box.run().code != 0


def test_a_container_needs_no_proc(box: Container) -> None:
    box.config["mounts"] = []
    filtered(box, "close_range")
    assert box.probe("stat", "/probe")[0]["outcome"] == "ok"


@pytest.mark.skipif(os.path.exists("/sys/fs/selinux/enforce"), reason="this kernel has SELinux")
def test_a_label_for_mounts_stops_nobody_where_there_are_no_labels(box: Container) -> None:
    box.config["linux"]["mountLabel"] = "system_u:object_r:svirt_sandbox_file_t:s0:c715,c811"
    assert box.probe("stat", "/probe")[0]["outcome"] == "ok"


@pytest.mark.parametrize("cwd", ["data", "", "."])
def test_a_working_directory_must_be_absolute(box: Container, cwd: str) -> None:
    box.config["process"]["cwd"] = cwd
    assert box.run().code != 0


def test_user_and_groups_are_the_configured_ones(box: Container) -> None:
    box.config["process"]["user"] = {"uid": 1000, "gid": 1001, "additionalGids": [5, 7, 65534]}
    box.config["process"].pop("capabilities")
    report = box.report()
    assert [report[name] for name in ("uid", "euid", "suid")] == [1000] * 3
    assert [report[name] for name in ("gid", "egid", "sgid")] == [1001] * 3
    assert sorted(set(report["groups"]) - {1001}) == [5, 7, 65534]


def test_the_callers_groups_are_not_kept(box: Container) -> None:
    report = box.report(before=lambda: os.setgroups([0, 4242]))
    assert 4242 not in report["groups"]


@pytest.mark.parametrize("umask", [0o000, 0o027, 0o077, 0o777])
def test_umask_is_the_configured_one(box: Container, umask: int) -> None:
    box.config["process"]["user"]["umask"] = umask
    assert box.report()["umask"] == umask


def test_the_default_umask_is_022(box: Container) -> None:
    assert box.report(before=lambda: os.umask(0o022) and None)["umask"] == 0o022


def test_no_new_privileges_is_set_when_asked(box: Container) -> None:
    for wanted in (True, False):
        box.config["process"]["noNewPrivileges"] = wanted
        assert box.report()["no_new_privs"] == int(wanted)


@pytest.mark.parametrize("score", [0, 100, 1000])
def test_the_oom_score_is_the_configured_one(box: Container, score: int) -> None:
    box.config["process"]["oomScoreAdj"] = score
    assert int(box.report()["oom_score_adj"]) == score


def test_an_oom_score_that_is_not_configured_stays(box: Container) -> None:
    def raise_mine() -> None:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("17")

    assert int(box.report(before=raise_mine)["oom_score_adj"]) == 17


def limit(name: str, soft: int, hard: int) -> dict[str, Any]:
    """Return one entry of process.rlimits."""
    return {"type": f"RLIMIT_{name.upper()}", "soft": soft, "hard": hard}


WANTED = {
    "cpu": (3600, 7200), "fsize": (1 << 30, 1 << 31), "data": (1 << 31, 1 << 32), "stack": (4 << 20, 8 << 20),
    "core": (0, 0), "rss": (1 << 30, 1 << 31), "nproc": (512, 1024), "nofile": (256, 512),
    "memlock": (65536, 65536), "as": (1 << 34, 1 << 35), "locks": (100, 200), "sigpending": (100, 200),
    "msgqueue": (4096, 8192), "nice": (0, 0), "rtprio": (0, 0), "rttime": (1000000, 2000000),
}  # fmt: skip


@pytest.mark.parametrize("name", LIMITS)
def test_each_rlimit_is_the_configured_one(box: Container, name: str) -> None:
    soft, hard = WANTED[name]
    box.config["process"]["rlimits"] = [limit(name, soft, hard)]
    assert box.report()["rlimits"][LIMITS.index(name)] == [soft, hard]


@pytest.mark.parametrize("value", [1 << 63, (1 << 64) - 2, (1 << 64) - 1])
def test_an_rlimit_may_have_all_64_bits(box: Container, value: int) -> None:
    box.config["process"]["rlimits"] = [limit("core", value, value)]
    assert box.report()["rlimits"][LIMITS.index("core")] == [value - (1 << 64)] * 2  # the probe's are signed


def test_rlimits_that_are_not_configured_stay(box: Container) -> None:
    box.config["process"]["rlimits"] = [limit("core", 0, 0)]
    found = box.report(before=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (333, 444)))
    assert found["rlimits"][LIMITS.index("nofile")] == [333, 444]


def test_an_rlimit_that_is_given_twice_is_an_error(box: Container) -> None:
    box.config["process"]["rlimits"] = [limit("core", 0, 0), limit("core", 0, 0)]
    box.refused()


def test_an_rlimit_that_cannot_be_set_is_an_error(box: Container) -> None:
    box.config["process"]["rlimits"] = [limit("nofile", 1 << 40, 1 << 40)]  # beyond fs.nr_open
    assert box.run().code != 0


def test_the_five_sets_of_capabilities_are_the_configured_ones(box: Container) -> None:
    box.config["process"]["capabilities"] = {
        "bounding": ["CAP_CHOWN", "CAP_KILL", "CAP_NET_RAW", "CAP_SETUID"],
        "permitted": ["CAP_CHOWN", "CAP_KILL", "CAP_NET_RAW"],
        "effective": ["CAP_CHOWN", "CAP_KILL"],
        "inheritable": ["CAP_KILL", "CAP_NET_RAW"],
        "ambient": ["CAP_NET_RAW"],
    }
    # A program that root executes has what the kernel's rules for root give; another user has what was asked for.
    box.config["process"]["user"] = {"uid": 1000, "gid": 1000}
    found = box.report()
    assert found["cap_bounding"] == cap_mask("CHOWN", "KILL", "NET_RAW", "SETUID")
    assert found["cap_ambient"] == cap_mask("NET_RAW")
    assert found["cap_inheritable"] == cap_mask("KILL", "NET_RAW")
    assert (
        found["cap_permitted"] == found["cap_effective"] == cap_mask("NET_RAW")
    )  # execve(2) of an ordinary file


def test_root_has_the_capabilities_of_the_bounding_set(box: Container) -> None:
    found = box.report()
    for kind in ("bounding", "permitted", "effective"):
        assert found[f"cap_{kind}"] == cap_mask(*USUAL_CAPS)
    assert found["cap_inheritable"] == found["cap_ambient"] == 0


def test_without_capabilities_there_are_none(box: Container) -> None:
    box.config["process"]["capabilities"] = {}
    found = box.report()
    for kind in ("bounding", "permitted", "effective", "inheritable", "ambient"):
        assert found[f"cap_{kind}"] == 0


def test_capabilities_are_really_taken(box: Container) -> None:
    box.config["process"]["capabilities"] = {"bounding": ["CAP_CHOWN"]}
    said = box.probe("mount", "none", "/data", "tmpfs", "0", ";", "mknod", "/data/n", "c", "1", "3")
    assert {one["outcome"] for one in said} == {"EPERM"}


@pytest.mark.parametrize("kind", ["bounding", "effective", "permitted"])
def test_a_capability_that_is_unknown_is_only_a_warning(box: Container, kind: str) -> None:
    box.config["process"]["capabilities"][kind] += ["CAP_NONSENSE"]
    assert box.report()["cap_effective"] == cap_mask(*USUAL_CAPS)


def test_a_capability_that_cannot_be_granted_is_only_a_warning(box: Container) -> None:
    mine = int(field_of_self("CapPrm"), 16)
    lacking = [f"CAP_{name}" for bit, name in enumerate(CAPS) if not mine >> bit & 1]
    if not lacking:
        pytest.skip("root has every capability here")
    for kind in ("bounding", "effective", "permitted", "inheritable", "ambient"):
        box.config["process"]["capabilities"].setdefault(kind, []).extend(lacking)
    found = box.report()
    assert found["cap_effective"] == cap_mask(*USUAL_CAPS)


def field_of_self(name: str) -> str:
    """Return one field of this process's status."""
    with open("/proc/self/status") as file:
        return field({"status": file.read()}, name)


def test_signals_are_neither_ignored_nor_blocked(box: Container) -> None:
    def careless() -> None:
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])

    status = box.report(before=careless)
    assert int(field(status, "SigBlk"), 16) == 0
    assert int(field(status, "SigIgn"), 16) == 0


def test_no_descriptor_of_the_caller_is_left_open(box: Container) -> None:
    def careless() -> None:
        os.dup2(os.open("/", os.O_RDONLY), 9)
        os.set_inheritable(9, True)

    assert set(box.report(before=careless, close_fds=False)["fds"]) == {"0", "1", "2"}


@pytest.mark.parametrize("closed", [(0,), (1,), (0, 1, 2)])
def test_a_descriptor_that_the_caller_closed_is_no_file_of_the_hosts(
    box: Container, closed: tuple[int, ...]
) -> None:
    box.mount("/log", "bind", str(box.log), "bind", "rw")
    box.config["process"]["args"] = ["/probe", "hook", "/log/hooks", "x", "silent"]

    def careless() -> None:
        for fd in closed:
            os.close(fd)

    box.run(before=careless)
    (seen,) = box.hooked()
    found = {seen["fds"].get(str(fd), "") for fd in closed}
    assert not [path for path in found if path.startswith("/") and path != "/dev/null"]


def test_the_program_is_process_1_of_its_namespace(box: Container) -> None:
    found = box.report()
    assert (found["pid"], found["ppid"]) == (1, 0)
    assert found["sid"] == 1


def test_the_hostname_and_domainname_are_the_configured_ones(box: Container) -> None:
    box.config["hostname"], box.config["domainname"] = "box-7", "example.org"
    found = box.report()
    assert found["hostname"] == "box-7"
    assert found["domainname"] == "example.org"


def test_a_hostname_without_a_namespace_of_its_own_is_refused(box: Container) -> None:
    box.namespace("uts", drop=True)
    box.refused()


def test_the_personality_is_the_configured_one(box: Container) -> None:
    box.config["linux"]["personality"] = {"domain": "LINUX32"}
    assert box.report()["personality"] & 0xFF == 8
    box.config["linux"]["personality"] = {"domain": "LINUX"}
    assert box.report()["personality"] & 0xFF == 0


def test_the_scheduler_is_the_configured_one(box: Container) -> None:
    box.config["process"]["scheduler"] = {"policy": "SCHED_BATCH", "nice": 7}
    found = box.report()
    assert (found["sched_policy"], found["sched_nice"]) == (3, 7)


@pytest.mark.parametrize("policy", ["SCHED_NONSENSE", ""])
def test_an_unknown_scheduler_is_an_error(box: Container, policy: str) -> None:
    box.config["process"]["scheduler"] = {"policy": policy}
    assert box.run().code != 0


@pytest.mark.parametrize(("name", "number"), [("IOPRIO_CLASS_BE", 2), ("IOPRIO_CLASS_IDLE", 3)])
def test_the_io_priority_is_the_configured_one(box: Container, name: str, number: int) -> None:
    box.config["process"]["ioPriority"] = {"class": name, "priority": 4}
    assert box.report()["io_priority"] == number << 13 | 4


def test_an_unknown_io_priority_is_an_error(box: Container) -> None:
    box.config["process"]["ioPriority"] = {"class": "IOPRIO_CLASS_NONSENSE", "priority": 4}
    assert box.run().code != 0


def test_exec_cpu_affinity_is_no_matter_of_the_first_process(box: Container) -> None:
    box.config["process"]["execCPUAffinity"] = {"initial": "0", "final": "0"}
    with open("/proc/self/status") as file:
        mine = field({"status": file.read()}, "Cpus_allowed_list")
    assert field(box.report(), "Cpus_allowed_list") == mine
