"""A plan becomes a bundle, and a bundle a plan: what a bundle can say comes back."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from redpak.engine.lowering import Unfit
from redpak.errors import RedpakError
from redpak.oci import bundle, config, explain
from redpak.plan import wire
from redpak.plan.model import Capability, Limit, Plan, Rlimit, SetVar, UnsetVar
from redpak.plan.ops import Dev, Dir, File, InheritFd, Mqueue, Proc, Symlink, Tmpfs
from redpak.text import Ask, Run, text
from tests.unit.engine.plans import HERE, bind, host, plan

USERS = {"uid": 0, "gid": 0}


def made(*mounts: object, environ_: dict[str, str] | None = None, **more: Any) -> bundle.Bundle:
    return bundle.make(plan(*mounts, **{**USERS, **more}), host(uid=0, gid=0, smack=True), environ_ or {})  # type: ignore[arg-type]


def reasons(*mounts: object, **more: Any) -> list[str]:
    with pytest.raises(Unfit) as error:
        made(*mounts, **more)
    return [one.message for one in error.value.reasons]


def back(asked: Plan, folder: Path) -> Plan:
    bundle.write(bundle.make(asked, host(uid=0, gid=0), {}), str(folder))
    return explain.read(str(folder))


def mounts(found: bundle.Bundle) -> dict[str, dict[str, object]]:
    return {one["destination"]: one for one in found.config["mounts"]}


def test_every_bundle_is_a_configuration_without_a_fault(tmp_path: Path) -> None:
    found = made(bind("/usr", "/usr"), Proc(dst="/proc", because=HERE), Dev(dst="/dev", because=HERE))
    bundle.write(found, str(tmp_path / "b"))
    read = config.load(str(tmp_path / "b"), euid=0)
    assert (read.warnings, read.box.root_readonly, read.box.process.no_new_privs) == ((), True, True)
    assert len(read.box.process.seccomp) == 1


def test_what_a_bundle_can_say_comes_back_with_who_asked_for_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    asked = plan(
        bind("/usr", "/usr"), bind("/data", tmp_path, readonly=False), bind("/etc/x", tmp_path / "file", kind="file"),
        Proc(dst="/proc", because=HERE), Dev(dst="/dev", because=HERE), Mqueue(dst="/queue", because=HERE),
        Tmpfs(dst="/run", because=HERE), Dir(dst="/tmp", because=HERE),
        Symlink(dst="/bin", target="usr/bin", because=HERE), File(dst="/etc/y", content=text("ä\n"), because=HERE),
        environ=(SetVar(key="A", value=text("1=2"), because=HERE), UnsetVar(key="B", because=HERE)),
        namespaces={"net": "host", "ipc": "/proc/self/ns/ipc"},
        capabilities=(Capability(name="CAP_KILL", because=HERE), Capability(name="CAP_NET_RAW", because=HERE)),
        rlimits=(Rlimit(name="core", soft=0, hard=-1, because=HERE),
                 Rlimit(name="nofile", soft=5, hard=6, because=HERE)),
        limits=(Limit(node="/node", key="memory.high", value="1000000", because=HERE),
                Limit(node="/node", key="memory.max", value="2000000", because=HERE),
                Limit(node="/node", key="pids.max", value="30", because=HERE)),
        choices={"hostname": "box", "umask": 0o27, "chdir": "/data", "map-root": True},
        command=("sh", "-c", "exit 3"), **USERS,
    )  # fmt: skip
    again = back(asked, tmp_path / "bundle")
    for name in ("node", "profile", "environ", "capabilities", "rlimits", "command", "uid", "gid"):
        assert getattr(again, name) == getattr(asked, name), name
    assert {op.dst: op for op in again.mounts}["/etc/x"] == bind("/etc/x", tmp_path / "file")
    plain = [op for op in asked.mounts if op.dst != "/etc/x"]
    assert [op for op in again.mounts if op.dst != "/etc/x"] == plain
    assert {ns.kind: (ns.mode, ns.path) for ns in again.namespaces} == {
        ns.kind: (ns.mode, ns.path) for ns in asked.namespaces
    }
    assert {(one.key, one.value, one.because) for one in again.limits} == {
        (one.key, one.value, one.because) for one in asked.limits
    }
    for name in ("hostname", "umask", "chdir", "seccomp"):
        assert again.choice(name) == asked.choice(name), name


def test_the_annotations_name_the_plan_by_its_digest() -> None:
    asked = plan(bind("/usr", "/usr"), **USERS)  # type: ignore[arg-type]
    found = bundle.make(asked, host(uid=0, gid=0), {})
    said = found.config["annotations"]
    assert (said[bundle.DIGEST], said[bundle.NODE]) == (wire.digest(asked), "/node")
    assert json.loads(said[bundle.ORIGINS])["mount /usr"] == ["bind", "etc/redpak.yaml", 7, ""]


def test_a_bind_is_read_only_to_its_last_mount_and_carries_no_rights() -> None:
    found = mounts(made(bind("/usr", "/usr"), bind("/w", "/usr", readonly=False)))
    assert found["/usr"]["options"] == ["rbind", "rprivate", "rnosuid", "rnodev", "ro", "rro"]
    assert found["/w"]["options"] == ["rbind", "rprivate", "rnosuid", "rnodev", "rw"]


def test_the_root_is_read_only_and_has_only_places(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    found = made(
        bind("/a/b", "/usr"),
        bind("/c/d", tmp_path / "file"),
        Symlink(dst="/l/k", target="../a", because=HERE),
    )
    bundle.write(found, str(tmp_path / "b"))
    root = tmp_path / "b" / "rootfs"
    assert found.config["root"] == {"path": "rootfs", "readonly": True}
    seen = {str(path.relative_to(root)) for path in root.rglob("*")}
    assert seen == {"a", "a/b", "c", "c/d", "l", "l/k"}
    assert (root / "c/d").read_bytes() == b""
    assert os.readlink(root / "l/k") == "../a"


def test_nothing_but_a_new_directory_is_written_to(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("x")
    with pytest.raises(RedpakError, match="not empty"):
        bundle.write(made(bind("/usr", "/usr")), str(tmp_path))


def test_what_is_computed_at_every_start_is_refused_all_at_once() -> None:
    told = reasons(
        bind("/a", text(Run(command="echo /usr"))),
        File(dst="/f", content=text("x", Ask(name="PID")), because=HERE),
        InheritFd(dst="/g", fd=4, because=HERE),
        environ=(SetVar(key="A", value=text(Ask(name="UUID")), because=HERE),),
        choices={"hostname": text(Run(command="hostname")), "smack": "label"},
    )
    assert len(told) == 6


def test_a_missing_source_is_refused(tmp_path: Path) -> None:
    assert "missing" in reasons(bind("/a", tmp_path / "nowhere"))[0]


def test_inherited_variables_are_those_of_now_and_that_is_told() -> None:
    one = SetVar(key="TERM", value=text(""), inherited=True, because=HERE)
    found = made(environ=(one,), environ_={"TERM": "vt100"})
    assert found.config["process"]["env"] == ["TERM=vt100"]
    assert any("'TERM' is what it is now" in note for note in found.notes)


def test_the_smallest_limit_of_the_family_counts() -> None:
    said = (
        ("/p", "memory.max", "64M"), ("/p", "cpu.max", "50000 100000"), ("/p", "cpuset.cpus", "0-3"),
        ("/p", "io.max", "8:0 rbps=100"), ("/p", "memory.swap.max", "1M"), ("/p", "memory.high", "32M"),
        ("/c", "memory.max", "1G"), ("/c", "cpu.max", "max 100000"), ("/c", "cpuset.cpus", "2-5"),
        ("/c", "pids.max", "9"),
        ("/c", "io.max", "8:0 rbps=200 wiops=5"), ("/c", "io.weight", "50"),
    )  # fmt: skip
    limits = tuple(Limit(node=node, key=key, value=value, because=HERE) for node, key, value in said)
    found = made(limits=limits).config["linux"]["resources"]
    assert found["memory"] == {"limit": 64 << 20, "swap": 65 << 20}
    assert found["cpu"] == {"quota": 50000, "period": 100000, "cpus": "2,3"}
    assert found["pids"] == {"limit": 9}
    assert found["blockIO"] == {
        "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 100}],
        "throttleWriteIOPSDevice": [{"major": 8, "minor": 0, "rate": 5}],
    }
    assert found["unified"] == {"io.weight": "50", "memory.high": str(32 << 20)}


def test_an_ordinary_users_plan_is_run_under_its_own_ids() -> None:
    found = bundle.make(plan(bind("/usr", "/usr"), uid=1000, gid=1001), host(uid=1000, gid=1001), {})
    linux = found.config["linux"]
    assert linux["uidMappings"] == [{"containerID": 1000, "hostID": 1000, "size": 1}]
    assert found.config["process"]["user"] == {"uid": 1000, "gid": 1001}
    mapped = bundle.make(
        plan(bind("/usr", "/usr"), uid=1000, gid=1001, choices={"map-root": True}),
        host(uid=1000, gid=1001),
        {},
    )
    assert mapped.config["linux"]["gidMappings"] == [{"containerID": 0, "hostID": 1001, "size": 1}]


def test_without_a_filter_there_is_no_seccomp_section() -> None:
    assert "seccomp" not in made(choices={"seccomp": "none"}).config["linux"]
