"""One plan, one sandbox: what a program sees under bubblewrap and under the native engine is the same.

What differs is written down in `alike`, each with its reason; nothing else may.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from redpak.plan.model import Capability, Plan, Rlimit, SetVar, UnsetVar
from redpak.plan.ops import Dir, File, InheritFd, Lock, Mqueue, Symlink, Tmpfs
from redpak.plan.tidy import tidy
from redpak.text import Run, text
from tests.golden.test_golden import CASES, build
from tests.host.engine_plans import HERE, Launcher, bind, core_os, plan
from tests.patience import PATIENCE_S

PROBE = Path(__file__).with_name("equivalence_probe.py").read_text()
PYTHON = "/usr/bin/python3"
KINDS = tuple(  # user-mode Linux has no clocks of its own for sandboxes
    kind
    for kind in ("cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts")
    if os.path.exists(f"/proc/self/ns/{kind}")
)
ENOSYS = (
    "open_tree", "move_mount", "mount_setattr", "fsopen,fsconfig,fsmount,fspick", "openat2", "clone3", "close_range",
    "seccomp", "execveat", "statmount,listmount",
)  # fmt: skip

WAYS: tuple[dict[str, str], ...] = (
    {},
    {"REDPAK_NO_HELPER": "1"},
)  # the native engine by redpak-join, and by Python alone

pytestmark = [pytest.mark.needs("bwrap")]


def probe(**more: Any) -> Plan:
    return plan(PYTHON, "-I", "-S", "-c", PROBE, **more)


def cases(folder: Path) -> dict[str, Plan]:
    """Return plans that between them use everything that a plan can say."""
    (folder / "file").write_text("seen")
    (folder / "sub").mkdir()
    data = folder
    set_ = {"HOME": "/tmp", "GREETING": "hallo welt"}
    many = tuple(bind(f"/many/{number}", data, readonly=number % 2 == 0, kind="any") for number in range(25))
    found = {
        "plain": probe(),
        "host's network": probe(namespaces={"net": "host"}, choices={"scope": True}),
        "shared ipc, uts, cgroup": probe(namespaces={"ipc": "host", "uts": "host", "cgroup": "host"}),
        "shared pid": probe(namespaces={"pid": "host"}),
        "shared user": probe(namespaces={"user": "host"}),
        "own clock": probe(namespaces={"time": "new"}),
        "root inside": probe(choices={"map-root": True}),
        "names and places": probe(choices={"hostname": "boxed", "chdir": "/usr/bin", "umask": 0o27}),
        "own session": probe(choices={"new-session": True}),
        "no filter": probe(choices={"seccomp": "none"}),
        "variables": probe(
            environ=(
                *(SetVar(key=key, value=text(value), because=HERE) for key, value in set_.items()),
                SetVar(key="LANG", value=text(), inherited=True, because=HERE),
                SetVar(key="SAID", value=text("a", Run(command="echo b; echo c"), "d"), because=HERE),
                UnsetVar(key="TERM", because=HERE),
            )
        ),
        "the caller's variables": probe(choices={"inherit-env": True}),
        "limits": probe(
            rlimits=(
                Rlimit(name="nofile", soft=100, hard=200, because=HERE),
                Rlimit(name="core", soft=0, hard=0, because=HERE),
            )
        ),
        "a capability": probe(capabilities=(Capability(name="CAP_NET_RAW", because=HERE),)),
        "all capabilities": probe(capabilities=(Capability(name="ALL", because=HERE),)),
        "every mount": probe(
            mounts=(
                bind("/data", data, readonly=False),
                bind("/data-ro/deep/er", data),
                Tmpfs(dst="/run", because=HERE),
                Dir(dst="/var/empty", because=HERE),
                Symlink(dst="/var/run", target="../run", because=HERE),
                File(dst="/etc/made", content=text("by the plan\n"), because=HERE),
                InheritFd(dst="/etc/from-caller", fd=9, because=HERE),
                Mqueue(dst="/mqueue", because=HERE),
                Lock(dst="/data-ro/deep/er/file", because=HERE),
            )
        ),
        "a file over a file": probe(
            mounts=(bind("/etc", "/etc"), File(dst="/etc/hosts", content=text("none\n"), because=HERE))
        ),
        "twenty-five mounts": probe(mounts=many),
    }
    if os.geteuid() == 0:
        found["another user"] = probe(choices={"user": "1", "group": "1"})
        found["another user with the host's namespaces"] = probe(
            choices={"user": "1", "group": "1"}, namespaces={"net": "host", "user": "host", "cgroup": "host"}
        )
    return found


NAMES = tuple(
    "plain,host's network,shared ipc, uts, cgroup,shared pid,shared user,own clock,root inside,names and places,"
    "own session,no filter,variables,the caller's variables,limits,a capability,all capabilities,every mount,"
    "a file over a file,twenty-five mounts,another user,another user with the host's namespaces"
    .replace("shared ipc, uts, cgroup", "shared ipc; uts; cgroup").split(",")
)  # fmt: skip


def alike(report: dict[str, Any]) -> dict[str, Any]:
    """Return a report without what cannot be the same."""
    own = {kind: os.stat(f"/proc/self/ns/{kind}").st_ino for kind in KINDS}
    spaces = report["namespaces"]
    report["namespaces"] = {kind: spaces.get(kind) == own[kind] for kind in KINDS}
    for mount in report["mounts"]:
        # numbers of the devpts and of what is mounted only here say nothing
        if mount[1] == "proc":
            mount[-1] = ""
        # bubblewrap builds its root in a directory of a memory file system: its path shows where the file came from
        if mount[1] == "tmpfs" and "noexec" in mount[3]:
            mount[3] = mount[3].replace(",noexec", "")
    # a memory file with the program's name, where a descriptor was passed on
    # bubblewrap forbids user namespaces by one that it nests, the native engine by a limit of the sandbox's own: an
    # ordinary program cannot make one in either, with another error
    report["environ"].pop("EACH_START", None)  # of the golden plans: a fresh identifier
    report["environ"].pop("REDPAK_NO_HELPER", None)  # what chooses the way
    report["status"]["NSpid"] = len(report["status"]["NSpid"].split())
    report["keyring"] = report["keyring"] > 0
    if report["namespaces"]["user"]:
        # started by root, bubblewrap keeps its bounding set, which helps nobody without capabilities and with
        # no_new_privs; the native engine drops it
        report["status"].pop("CapBnd")
    report.update({f"status {key}": value for key, value in report.pop("status").items()})
    report.update({f"mounts {at}": mount for at, mount in enumerate(report.pop("mounts"))})
    return report


def seen(launch: Launcher, made: Plan, engine: str, env: dict[str, str], caller: Path) -> dict[str, Any]:
    """Start a plan with an engine and return what the program inside saw."""
    caller.write_text("from the caller")
    argv = ["sh", "-c", 'exec 9<"$0"; exec "$@"', str(caller), *launch.argv(made, "force")]
    done = subprocess.run(
        argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE_S, check=False, cwd="/",
        env={**launch.environ, "TEST_ENGINE": engine, **env},
    )  # fmt: skip
    assert done.returncode == 0, (engine, done.stderr.decode(errors="replace"))
    return alike(json.loads(done.stdout))


@pytest.fixture(name="engines")
def both(tmp_path: Path, environment: dict[str, str]) -> Launcher:
    from tests.features import bwraps

    return Launcher(tmp_path, next(iter(bwraps().values())), {}, environment)


@pytest.mark.parametrize("name", NAMES)
def test_a_plan_gives_the_same_sandbox(name: str, engines: Launcher, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    made = cases(data).get(name.replace(";", ","))
    if made is None:
        pytest.skip("only root changes the user")
    expected = seen(engines, made, "bwrap", {}, tmp_path / "caller")
    for way in WAYS:
        assert seen(engines, made, "native", way, tmp_path / "caller") == expected, way


@pytest.mark.parametrize("calls", ENOSYS)
@pytest.mark.parametrize("name", ["every mount", "root inside"])
def test_a_kernel_without_newer_calls_gives_the_same_sandbox(
    name: str, calls: str, engines: Launcher, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    made = cases(data)[name]
    expected = seen(engines, made, "bwrap", {}, tmp_path / "caller")
    assert seen(engines, made, "native", {"REDPAK_ENOSYS": calls}, tmp_path / "caller") == expected


@pytest.mark.parametrize("case", CASES)
def test_a_reviewed_plan_gives_the_same_sandbox(
    case: str, engines: Launcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from redpak.node.plan import plan_of

    pool = tmp_path / "pool"
    pool.mkdir(mode=0o755)
    leaf, wanted = build(case, pool)
    monkeypatch.setenv("redpak_MAIN", str(pool / "main.yaml"))
    whole = plan_of(
        str(leaf),
        admin=bool(wanted.get("admin")),
        command=(PYTHON, "-I", "-S", "-c", PROBE),
        environ=dict(wanted.get("environ", {})),  # type: ignore[call-overload]
        profile=wanted.get("profile"),  # type: ignore[arg-type]
    )
    there = {op.dst for op in whole.mounts}
    extra = tuple(op for op in core_os() if op.dst not in there and op.dst != "/tmp")
    joined = any(space.mode == "join" for space in whole.namespaces)
    spaces = tuple(
        space.but(mode="new", path="") if space.mode == "join" else space for space in whole.namespaces
    )
    mounts = tuple(op for op in (*whole.mounts, *extra) if not isinstance(op, Lock))
    made = tidy(
        whole.but(mounts=mounts, namespaces=spaces, limits=(), rlimits=() if joined else whole.rlimits)
    )
    try:
        expected = seen(engines, made, "bwrap", {}, tmp_path / "caller")
    except AssertionError as refused:
        with pytest.raises(AssertionError) as again:
            seen(engines, made, "native", {}, tmp_path / "caller")
        assert str(again.value.args[0][1]) == str(refused.args[0][1])
        return
    for way in WAYS:
        assert seen(engines, made, "native", way, tmp_path / "caller") == expected, way
