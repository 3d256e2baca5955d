"""A node in the place of an image: what the client may say, and what the node's plan decides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from redpak.engine.native.box import Caps, MakeDir, MakeFile, MakeSymlink
from redpak.errors import Refused
from redpak.oci import bundle, node_handler, process
from redpak.plan.model import Capability, Limit, Rlimit, SetVar
from redpak.plan.ops import Dir, File, Symlink
from redpak.text import text
from tests.oci_configs import EVERY, real, small, spaces
from tests.unit.engine.plans import HERE, bind, host, plan

NODE = "/srv/nodes/app"


def node(*mounts: object, **more: object) -> bundle.Bundle:
    asked: dict[str, Any] = {"uid": 0, "gid": 0, "namespaces": {"user": "host", "net": "host"}, **more}
    return bundle.make(plan(bind("/usr", "/usr"), *mounts, **asked), host(uid=0, gid=0), {})  # type: ignore[arg-type]


def client(**changes: Any) -> dict[str, Any]:
    return small(annotations={node_handler.ANNOTATION: NODE}, **changes)


def merged(of: bundle.Bundle | None = None, **changes: Any) -> dict[str, Any]:
    return node_handler.merge(client(**changes), of or node()).data


def test_a_container_names_a_node_by_an_annotation() -> None:
    assert node_handler.asked(client()) == NODE
    assert node_handler.asked(small()) == ""
    assert node_handler.asked([]) == node_handler.asked({"annotations": [1]}) == ""


def test_the_first_container_of_a_pod_is_the_clients() -> None:
    data = client()
    data["annotations"]["io.kubernetes.cri.container-type"] = "sandbox"
    assert node_handler.asked(data) == ""
    data["annotations"]["io.kubernetes.cri.container-type"] = "container"
    assert node_handler.asked(data) == NODE


def allow(folder: Path, *lines: str, mode: int = 0o644) -> str:
    path = folder / "oci-nodes"
    path.write_text("\n".join(lines))
    path.chmod(mode)
    return str(path)


@pytest.mark.needs("root")
def test_root_lets_containers_name_the_nodes_of_a_list_and_those_beneath(tmp_path: Path) -> None:
    (tmp_path / "nodes" / "app").mkdir(parents=True)
    (tmp_path / "nodes-of-others").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "nodes-of-others")
    listed = allow(tmp_path, "# ours", "", f"{tmp_path}/nodes")
    top = f"{tmp_path}/nodes"
    for good in (top, f"{top}/app", f"{top}/app/../app"):
        assert node_handler.check_allowed(good, euid=0, allowed=listed).startswith(top)
    for bad in (
        f"{tmp_path}/nodes-of-others",
        f"{tmp_path}/link",
        f"{top}/../nodes-of-others",
        "/",
        "nodes",
        "",
    ):
        with pytest.raises(Refused):
            node_handler.check_allowed(bad, euid=0, allowed=listed)


@pytest.mark.needs("root")
def test_a_list_that_others_can_change_lets_nobody_in(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="changed by others"):
        node_handler.check_allowed("/srv", euid=0, allowed=allow(tmp_path, "/srv", mode=0o666))


def test_without_a_list_no_container_of_roots_names_a_node(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="there is no"):
        node_handler.check_allowed("/srv", euid=0, allowed=str(tmp_path / "none"))
    assert node_handler.check_allowed("/srv", euid=1000, allowed=str(tmp_path / "none")) == "/srv"


def test_the_client_says_what_runs_and_the_node_what_is_seen() -> None:
    of = node(environ=(SetVar(key="PATH", value=text("/n"), because=HERE),))
    data = merged(of, process__args=["serve"], process__env=["PATH=/c", "A=1"], process__cwd="/srv", hostname="pod",
                  mounts=real("podman")["mounts"], linux__namespaces=spaces("mount", "uts"))  # fmt: skip
    assert data["process"]["args"] == ["serve"]
    assert sorted(data["process"]["env"]) == ["A=1", "PATH=/n"]
    assert (data["process"]["cwd"], data["hostname"]) == ("/srv", "pod")
    shown = [one["destination"] for one in data["mounts"]]
    assert "/usr" in shown and "/etc/hosts" in shown
    assert not {"/sys", "/sys/fs/cgroup", "/proc"} & set(shown)


def test_rights_are_what_both_give() -> None:
    of = node(
        capabilities=(Capability(name="CAP_KILL", because=HERE),),
        rlimits=(Rlimit(name="nofile", soft=10, hard=100, because=HERE),),
    )
    caps = {kind: ["CAP_KILL", "CAP_SYS_ADMIN"] for kind in process.SETS}
    limits = [
        {"type": "RLIMIT_NOFILE", "soft": 50, "hard": 50},
        {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
    ]
    found = merged(of, process__capabilities=caps, process__rlimits=limits, process__noNewPrivileges=False)[
        "process"
    ]
    assert found["capabilities"] == {kind: ["CAP_KILL"] for kind in process.SETS}
    assert found["noNewPrivileges"] is True
    assert found["rlimits"] == [{"type": "RLIMIT_NOFILE", "soft": 10, "hard": 50}, limits[1]]


def test_of_two_limits_the_smaller_counts() -> None:
    said = (("memory.max", "1000000"), ("pids.max", "50"), ("cpu.max", "20000 100000"))
    of = node(limits=tuple(Limit(node="/node", key=key, value=value, because=HERE) for key, value in said))
    theirs = {
        "memory": {"limit": 5000000},
        "pids": {"limit": 10},
        "cpu": {"quota": 50000, "period": 100000, "shares": 7},
    }
    found = merged(of, linux__resources=theirs)["linux"]["resources"]
    assert (found["memory"]["limit"], found["pids"]["limit"]) == (1000000, 10)
    assert found["cpu"] == {"quota": 20000, "period": 100000, "shares": 7}


def test_namespaces_are_new_where_one_of_them_wants_it_and_joined_as_the_client_says() -> None:
    theirs = [{"type": "mount"}, {"type": "network", "path": "/run/netns/pod"}]
    found = {
        one["type"]: one.get("path", "") for one in merged(linux__namespaces=theirs)["linux"]["namespaces"]
    }
    assert found == {"mount": "", "network": "/run/netns/pod", "cgroup": "", "ipc": "", "pid": "", "uts": ""}


@pytest.mark.parametrize("dst", ["/usr", "/usr/share/x", "/usr/../usr", "/nodes/..//usr/bin"])
def test_a_volume_that_covers_what_the_node_shows_is_refused(dst: str) -> None:
    with pytest.raises(Refused, match="would cover the node's '/usr'"):
        merged(mounts=[{"destination": dst, "type": "bind", "source": "/x"}])


def test_a_volume_above_a_mount_of_the_node_is_refused() -> None:
    with pytest.raises(Refused, match="would cover"):
        node_handler.merge(
            client(mounts=[{"destination": "/opt", "type": "tmpfs"}]), node(bind("/opt/app", "/usr"))
        )


def test_devices_and_mounts_in_proc_are_refused_together() -> None:
    device = {"path": "/dev/sda", "type": "b", "major": 8, "minor": 0}
    with pytest.raises(Refused, match=r"no devices.*lies in /proc"):
        merged(linux__devices=[device], mounts=[{"destination": "/proc/x", "type": "bind", "source": "/y"}])


def test_a_pods_own_files_take_the_place_of_the_nodes() -> None:
    pod = {"destination": "/etc/hosts", "type": "bind", "source": "/pod/hosts"}
    found = merged(node(bind("/etc/hosts", "/etc/hosts")), mounts=[pod])["mounts"]
    assert [one["source"] for one in found if one["destination"] == "/etc/hosts"] == ["/pod/hosts"]


def test_a_client_cannot_say_who_asked_for_a_thing() -> None:
    data = client()
    data["annotations"][bundle.ORIGINS] = "{}"
    of = node()
    assert (
        node_handler.merge(data, of).data["annotations"][bundle.ORIGINS]
        == of.config["annotations"][bundle.ORIGINS]
    )


def test_the_root_is_memory_with_the_nodes_places_and_both_filters_hold() -> None:
    of = node(
        Symlink(dst="/bin", target="usr/bin", because=HERE), File(dst="/f", content=text("x"), because=HERE),
        Dir(dst="/run", because=HERE),
    )  # fmt: skip
    composed = node_handler.merge({**real("podman"), "mounts": []}, of)
    found = node_handler.read(composed, bundle="/b", euid=0, grantable=EVERY)
    assert (found.box.root, found.box.root_readonly) == ("", True)
    assert {
        MakeDir(dst="/usr"),
        MakeSymlink(dst="/bin", target="usr/bin"),
        MakeFile(dst="/f", content=b"x"),
    } <= {step for step in found.box.steps if isinstance(step, (MakeDir, MakeSymlink, MakeFile))}
    assert len(found.box.process.seccomp) == 2


def test_a_program_that_is_put_in_later_has_no_more_rights_and_the_nodes_environment() -> None:
    of = node(environ=(SetVar(key="PATH", value=text("/n"), because=HERE),))
    container = merged(of, process__env=["A=1"])
    caps = Caps(**dict.fromkeys(process.SETS, EVERY))
    asked = process.parse({"args": ["x"], "cwd": "/", "env": ["PATH=/c", "A=2"]})[0].but(caps=caps)
    found = node_handler.confined(asked, container)
    assert (found.caps, found.no_new_privs, set(found.environ)) == (Caps(), True, {"PATH=/n", "A=2"})
