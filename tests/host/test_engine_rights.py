"""Environment, namespaces, rights and limits of a program in the sandbox; nothing of the caller leaks in."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest

from redpak.plan.model import Capability, Limit, Rlimit, SetVar, UnsetVar
from redpak.text import Ask, Run, text
from tests.host.engine_plans import HERE, Launcher, bind, launcher, plan, shell  # noqa: F401 - the fixture `launch`

pytestmark = pytest.mark.needs("userns", "bwrap")


def variable(key: str, *parts: object, **more: object) -> SetVar:
    """Return a variable."""
    return SetVar(key=key, value=text(*parts), because=HERE, **more)  # type: ignore[arg-type]


def environment_of(said: str) -> dict[str, str]:
    """Return what `env` printed."""
    return dict(line.partition("=")[::2] for line in said.splitlines())


def test_every_environ_mode_sets_what_it_says(launch: Launcher) -> None:
    environ = (
        variable("STATIC", "$HOME `x` 'y' \"z\"\\"),
        variable("COMMAND", Run(command="echo one; echo two; echo")),
        variable("MIXED", "pid-", Ask(name="PID"), "-", Ask(name="UUID")),
        variable("INHERITED", inherited=True),
        variable("UNSET_THERE", inherited=True),
        UnsetVar(key="REMOVED", because=HERE),
    )
    env = {"INHERITED": "from caller", "REMOVED": "x", "OTHER": "secret"}
    code, out, _ = launch(plan("env", "-0", environ=environ), env=env)
    said = dict(line.partition("=")[::2] for line in out.split("\0") if line)
    mixed = said.pop("MIXED")
    assert code == 0
    assert said == {
        "STATIC": "$HOME `x` 'y' \"z\"\\",
        "COMMAND": "one\ntwo",
        "INHERITED": "from caller",
        "UNSET_THERE": "",
        "PATH": "/usr/bin:/bin",
        "PWD": said["PWD"],
    }
    assert mixed.startswith("pid-")
    assert len(mixed.split("-")) == 7


def test_the_whole_environment_passes_where_the_plan_says_so(launch: Launcher) -> None:
    environ = (UnsetVar(key="REMOVED", because=HERE), variable("OWN", "ours"))
    made = plan("env", environ=environ, choices={"inherit-env": True})
    code, out, _ = launch(made, env={"REMOVED": "x", "OTHER": "kept", "OWN": "theirs"})
    said = environment_of(out)
    assert code == 0
    assert (said["OTHER"], said["OWN"], "REMOVED" in said) == ("kept", "ours", False)


def test_no_descriptor_and_no_key_of_the_caller_leaks(launch: Launcher, tmp_path: Path) -> None:
    script = f'exec "$@" 5<{tmp_path} 17</ 133</etc/passwd'
    code, out, _ = launch(
        shell("ls /proc/self/fd; cat /proc/keys 2>/dev/null | wc -l"),
        wrapper=["/bin/bash", "-c", script, "sh"],
    )
    assert code == 0
    assert out.split()[:4] == ["0", "1", "2", "3"]  # 3 is ls's own
    assert "17" not in out.split()


def test_the_host_sees_no_argument_in_the_first_process(launch: Launcher, pool: Path) -> None:
    code, out, _ = launch(
        shell("tr '\\0' ' ' </proc/1/cmdline; cat /proc/1/environ | wc -c", mounts=(bind("/x", pool),))
    )
    assert code == 0
    assert str(pool) not in out
    assert out.split()[-1] == "0"


def test_every_namespace_is_new_by_default(launch: Launcher) -> None:
    kinds = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")
    script = "; ".join(f"readlink /proc/self/ns/{kind}" for kind in kinds)
    code, out, _ = launch(shell(script))
    assert code == 0
    ours = [os.readlink(f"/proc/self/ns/{kind}") for kind in kinds]
    assert [kind for kind, ns in zip(kinds, out.split(), strict=True) if ns in ours] == []


@pytest.mark.parametrize("kind", ["cgroup", "ipc", "net", "uts"])
def test_a_shared_namespace_is_the_hosts(launch: Launcher, kind: str) -> None:
    code, out, _ = launch(shell(f"readlink /proc/self/ns/{kind}", namespaces={kind: "host"}))
    assert (code, out.strip()) == (0, os.readlink(f"/proc/self/ns/{kind}"))


def test_a_time_namespace_of_its_own(launch: Launcher) -> None:
    code, out, _ = launch(shell("readlink /proc/self/ns/time; id -u", namespaces={"time": "new"}))
    assert code == 0
    assert out.split()[0] != os.readlink("/proc/self/ns/time")
    assert out.split()[1] == str(os.getuid())


@pytest.mark.needs("root")
@pytest.mark.parametrize("kind", ["net", "ipc", "cgroup"])
def test_a_namespace_is_joined_by_path(launch: Launcher, kind: str) -> None:
    with subprocess.Popen(
        ["unshare", f"--{kind}", "sh", "-c", "echo; exec cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as owner:
        assert owner.stdout and owner.stdin
        owner.stdout.readline()
        path = f"/proc/{owner.pid}/ns/{kind}"
        code, out, err = launch(shell(f"readlink /proc/self/ns/{kind}", namespaces={kind: path}))
        assert (code, out.strip(), err) == (0, os.readlink(path), "")
        owner.stdin.close()


def test_user_and_pid_namespaces_are_joined_by_path(launch: Launcher) -> None:
    argv = [
        "unshare",
        "--user",
        "--map-current-user",
        "--pid",
        "--fork",
        "--mount-proc",
        "sh",
        "-c",
        "echo; exec cat",
    ]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as owner:
        assert owner.stdout and owner.stdin
        owner.stdout.readline()
        inner = Path(f"/proc/{owner.pid}/task/{owner.pid}/children").read_text().split()[0]
        user, pid = f"/proc/{inner}/ns/user", f"/proc/{inner}/ns/pid"
        code, out, err = launch(
            shell(
                "readlink /proc/self/ns/user /proc/self/ns/pid; exit 4", namespaces={"user": user, "pid": pid}
            )
        )
        assert (code, err) == (4, "")
        assert out.split()[1] == os.readlink(pid)
        owner.stdin.close()


def test_a_namespace_that_is_not_there_is_refused(launch: Launcher) -> None:
    code, _, err = launch(shell("true", namespaces={"net": "/run/netns/none"}))
    assert code == 3
    assert "'/run/netns/none' is not there" in err


def test_hostname_directory_and_umask_are_set(launch: Launcher) -> None:
    choices = {"hostname": "box", "chdir": "/usr/bin", "umask": 0o27}
    code, out, _ = launch(shell("uname -n; pwd; umask", choices=choices))
    assert (code, out) == (0, "box\n/usr/bin\n0027\n")


def test_root_is_mapped_on_demand(launch: Launcher) -> None:
    code, out, _ = launch(shell("id -u; id -g", choices={"map-root": True}))
    assert (code, out) == (0, "0\n0\n")


def test_no_right_is_left(launch: Launcher) -> None:
    code, out, _ = launch(shell("grep -E '^(Cap|NoNew|Seccomp:|Sig(Blk|Ign))' /proc/self/status"))
    said = dict(line.split(":\t") for line in out.splitlines())
    assert code == 0
    assert said["NoNewPrivs"] == "1"
    assert said["Seccomp"] == "2"
    assert {int(value, 16) for key, value in said.items() if key.startswith(("Cap", "Sig"))} == {0}


def test_a_kept_capability_is_there_and_no_other(launch: Launcher) -> None:
    kept = (
        Capability(name="CAP_NET_BIND_SERVICE", because=HERE),
        Capability(name="CAP_NET_RAW", because=HERE),
    )
    code, out, err = launch(shell("grep CapEff /proc/self/status", capabilities=kept))
    assert (code, err) == (0, "")
    assert int(out.split()[1], 16) == 1 << 10 | 1 << 13


def test_a_resource_limit_is_set(launch: Launcher) -> None:
    limits = (
        Rlimit(name="nofile", soft=64, hard=128, because=HERE),
        Rlimit(name="core", soft=0, hard=0, because=HERE),
    )
    code, out, _ = launch(shell("ulimit -Sn; ulimit -Hn; ulimit -c", rlimits=limits))
    assert (code, out) == (0, "64\n128\n0\n")


def test_a_limit_that_no_group_can_have_is_refused_not_ignored(launch: Launcher) -> None:
    limit = Limit(node="/nowhere", key="io.cost.qos", value="8:0 enable=1", because=HERE)
    code, out, err = launch(shell("echo started", limits=(limit,)))
    assert (code, out) == (3, "")
    assert "io.cost.qos" in err


@pytest.mark.needs("root")
def test_another_user_and_group_without_roots_groups(launch: Launcher, tmp_path: Path) -> None:
    made = shell("id -u; id -g; grep Groups /proc/self/status", choices={"user": "65534", "group": "65534"})
    code, out, err = launch(made)
    assert (code, err) == (0, "")
    assert out.split() == ["65534", "65534", "Groups:"]


@pytest.mark.needs("root")
def test_root_cannot_write_kernel_settings(launch: Launcher) -> None:
    script = (
        "for f in /proc/sys/kernel/core_pattern /proc/sysrq-trigger /proc/irq/default_smp_affinity; do "
        "(: >>$f) 2>/dev/null && echo $f; done; head -c 8 /proc/kpageflags 2>/dev/null"
    )
    assert launch(shell(script))[1] == ""


@pytest.mark.needs("user")
def test_an_ordinary_user_cannot_become_another(launch: Launcher) -> None:
    code, _, err = launch(shell("true", choices={"user": "0"}))
    assert code == 3
    assert "only root can change the user" in err


@pytest.mark.needs("landlock6")
def test_abstract_sockets_of_the_host_are_out_of_reach_on_a_shared_network(launch: Launcher) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        name = f"redpak-test-{os.getpid()}"
        server.bind(f"\0{name}")
        server.listen()
        program = f"import socket; socket.socket(socket.AF_UNIX).connect(chr(0) + {name!r})"
        shared = {"net": "host"}
        made = plan("/usr/bin/python3", "-c", program, namespaces=shared, choices={"scope": True})
        code, _, err = launch(made)
        assert code == 1
        assert "PermissionError" in err
        assert launch(plan("/usr/bin/python3", "-c", program, namespaces=shared))[0] == 0


def test_the_filter_refuses_and_lets_through(launch: Launcher) -> None:
    unshare, mount = {"x86_64": (272, 165), "aarch64": (97, 40)}[os.uname().machine]
    program = (
        "import ctypes,os;l=ctypes.CDLL(None,use_errno=True);"
        "r=lambda *a:(l.syscall(*a),ctypes.get_errno())[1];"
        f"print(r({unshare},0x10000000),r(435,0,0),r(425,1,0),r({mount},0,0,0,0,0)); os.pidfd_open(os.getpid())"
    )
    code, out, err = launch(plan("/usr/bin/python3", "-c", program))
    assert (code, out, err) == (0, "1 38 38 1\n", "")


def test_names_that_look_like_options_are_data(launch: Launcher, pool: Path) -> None:
    (pool / "--bind").mkdir()
    (pool / "--bind" / "-x y'\"$(id)").write_text("here")
    mounts = (bind("/--dev-bind", pool / "--bind"),)
    code, out, _ = launch(
        plan(
            "cat", "--", "/--dev-bind/-x y'\"$(id)", mounts=mounts, environ=(variable("--unshare-net", "--"),)
        )
    )
    assert (code, out) == (0, "here")


def test_the_printed_command_line_starts_the_same_sandbox(launch: Launcher, bwrap: str, pool: Path) -> None:
    from redpak.engine import bwrap as engine
    from redpak.engine import host
    from redpak.plan.ops import File

    (pool / "a b").mkdir()
    script = 'cat /f; echo "$V"; ls -d /x; exit 6'
    environ = (variable("V", "it's ", Run(command='echo "two  words"')),)
    mounts = (
        bind("/x", pool / "a b"),
        File(dst="/f", content=text("a'b ", Run(command="echo c")), because=HERE),
    )
    made = shell(script, mounts=mounts, environ=environ)
    spec = engine.lower(made, host.look(bwrap))
    if spec.seccomp:
        from redpak.engine.seccomp import store

        assert store(spec.seccomp, spec.seccomp_path)
    done = subprocess.run(
        ["/bin/bash", "-c", engine.shell_line(spec)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (6, "a'b c\nit's two  words\n/x\n"), done.stderr
    assert engine.command_line(spec)[0] == bwrap
    assert "--ro-bind-fd" not in engine.command_line(spec)
