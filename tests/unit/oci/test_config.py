from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redpak.engine.native.box import (
    Bind,
    Hook,
    IdMap,
    MakeDir,
    MakeNode,
    MakeSymlink,
    MaskPath,
    NewMount,
    Space,
)
from redpak.errors import BadConfig, NotFound
from redpak.oci import config
from tests.oci_configs import REAL, faults, read, real, small, spaces


@pytest.mark.parametrize("name", REAL)
def test_what_real_programs_write_is_read_without_a_fault(name: str) -> None:
    found = read(real(name), euid=1000 if "rootless" in name else 0)
    asked = real(name)
    assert found.box.process.args == tuple(asked["process"]["args"])
    assert len(found.box.spaces) == len(asked["linux"]["namespaces"])
    assert len(found.box.process.seccomp) == ("seccomp" in asked["linux"])
    shown = [step.dst for step in found.box.steps if isinstance(step, (Bind, NewMount))]
    assert shown == [mount["destination"] for mount in asked["mounts"]]


def test_the_smallest_configuration_gives_the_devices_that_every_container_has() -> None:
    found = read(small())
    assert found.rootfs == "/bundle/rootfs"
    assert found.box.spaces == (Space(kind="mount"), Space(kind="pid"))
    nodes = {step.dst: (step.major, step.minor) for step in found.box.steps if isinstance(step, MakeNode)}
    assert nodes == {
        "/dev/null": (1, 3), "/dev/zero": (1, 5), "/dev/full": (1, 7), "/dev/random": (1, 8), "/dev/urandom": (1, 9),
        "/dev/tty": (5, 0),
    }  # fmt: skip
    links = {step.dst: step.target for step in found.box.steps if isinstance(step, MakeSymlink)}
    assert links.items() >= {
        ("/dev/fd", "/proc/self/fd"),
        ("/dev/ptmx", "pts/ptmx"),
        ("/dev/stdin", "/proc/self/fd/0"),
    }


def test_a_dev_that_is_bound_from_the_host_is_left_alone() -> None:
    mount = {"destination": "/dev/", "source": "/dev", "type": "bind", "options": ["rbind"]}
    steps = read(small(mounts=[mount])).box.steps
    assert not [step for step in steps if isinstance(step, (MakeNode, MakeSymlink))]


def test_a_device_that_is_asked_for_takes_the_place_of_the_usual_one() -> None:
    device = {"path": "/dev/null", "type": "c", "major": 1, "minor": 3, "fileMode": 0o600, "uid": 7, "gid": 8}
    nodes = [one for one in read(small(linux__devices=[device])).box.steps if isinstance(one, MakeNode)]
    assert [(one.mode, one.uid, one.gid) for one in nodes if one.dst == "/dev/null"] == [(0o600, 7, 8)]


def test_every_fault_is_told_at_once_with_its_path() -> None:
    data = small(
        process__cwd="relative",
        process__rlimits=[{"type": "RLIMIT_NOFILE", "soft": 1, "hard": 1}, {"type": "nofile", "soft": 1, "hard": 1}],
        linux__namespaces=[*spaces("mount", "pid", "pid"), {"type": "moon"}],
        hooks={"poststop": [{"path": "relative"}]},
        hostname="box",
    )  # fmt: skip
    assert [one.split(":")[0] for one in faults(data)] == [
        "linux.namespaces[2].type",
        "linux.namespaces[3].type",
        "process.cwd",
        "process.rlimits[1].type",
        "hooks.poststop[0].path",
        "hostname",
    ]


def test_a_fault_has_the_line_of_its_value(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(small(process__cwd="here"), indent=1))
    with pytest.raises(BadConfig) as error:
        config.load(str(tmp_path), euid=0)
    (fault,) = error.value.faults
    line = (tmp_path / "config.json").read_text().split('"cwd"')[0].count("\n") + 1
    assert str(fault).startswith(f"{tmp_path}/config.json:{line}:")


def test_a_directory_without_a_configuration_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"config\.json not found"):
        config.load(str(tmp_path))
    with pytest.raises(NotFound, match="no such directory"):
        config.load(str(tmp_path / "nowhere"))


def test_what_the_specification_does_not_know_is_ignored() -> None:
    data = small(extension={"a": 1}, process__extension=[1], linux__extension="x", windows={"x": 1}, vm=[])
    assert read(data).box == read(small()).box


def test_null_is_as_good_as_absent() -> None:
    data = small(mounts=None, hooks=None, annotations=None, linux__devices=None, process__rlimits=None)
    assert read(data).box == read(small()).box


@pytest.mark.parametrize("version", ["", "2.0.0", "one", "1.0", "0.9.1", 1, None])
def test_another_version_of_the_specification_is_refused(version: object) -> None:
    assert faults(small(ociVersion=version))[0].startswith("ociVersion: ")


@pytest.mark.parametrize("version", ["1.0.0", "1.0.0-rc5", "1.0.2-dev", "1.2.1", "1.3.0+build"])
def test_every_version_1_is_read(version: str) -> None:
    assert read(small(ociVersion=version)).version == version


def test_a_container_without_a_process_can_be_made_but_has_nothing_to_start() -> None:
    data = small()
    del data["process"]
    assert not read(data).has_process


@pytest.mark.parametrize("wrong", [{"": "x"}, {"a": 1}, {"a": None}, [], "x"])
def test_annotations_are_strings_with_names(wrong: object) -> None:
    assert faults(small(annotations=wrong))[0].startswith("annotations")


def test_hooks_of_every_phase_are_read() -> None:
    hook = {"path": "/bin/h", "args": ["h", "x"], "env": ["A=1"], "timeout": 5}
    found = read(small(hooks={phase: [hook] for phase in config.PHASES}))
    want = Hook(path="/bin/h", args=("h", "x"), environ=("A=1",), timeout_s=5)
    for phase in config.PHASES:
        assert found.hooks[phase] == (want.but(cwd="" if phase in config.INSIDE else found.bundle),)
    assert (found.box.hooks_create, found.box.hooks_start) == ((want,), (want,))


def test_a_hook_without_time_is_refused() -> None:
    assert faults(small(hooks={"prestart": [{"path": "/h", "timeout": 0}]})) == [
        "hooks.prestart[0].timeout: 0 is not between 1 and 2147483648"
    ]


def test_a_user_namespace_needs_maps_and_maps_need_one() -> None:
    one = [{"containerID": 0, "hostID": 1000, "size": 10}]
    assert faults(small(linux__uidMappings=one)) == [
        "linux.uidMappings: is there without a namespace of type 'user'"
    ]
    told = faults(small(linux__namespaces=spaces("mount", "user")))
    assert [fault.split(":")[0] for fault in told] == ["linux.uidMappings", "linux.gidMappings"]
    data = small(linux__namespaces=spaces("mount", "user"), linux__uidMappings=one, linux__gidMappings=one)
    assert read(data).box.uid_map == (IdMap(inside=0, outside=1000, count=10),)


def test_ids_that_are_not_mapped_are_refused() -> None:
    one = [{"containerID": 0, "hostID": 1000, "size": 10}]
    data = small(
        linux__namespaces=spaces("mount", "user"), linux__uidMappings=one, linux__gidMappings=one,
        process__user={"uid": 10, "gid": 9, "additionalGids": [3, 77]},
    )  # fmt: skip
    assert [fault.split(":")[0] for fault in faults(data)] == [
        "process.user.uid",
        "process.user.additionalGids[1]",
    ]


def test_maps_that_overlap_are_refused() -> None:
    data = small(
        linux__namespaces=spaces("mount", "user"),
        linux__uidMappings=[
            {"containerID": 0, "hostID": 0, "size": 5},
            {"containerID": 4, "hostID": 9, "size": 1},
        ],
        linux__gidMappings=[
            {"containerID": 0, "hostID": 0, "size": 0},
            {"containerID": 0, "hostID": 0, "size": 1},
        ],
    )
    assert [fault.split(":")[0] for fault in faults(data)] == [
        "linux.uidMappings",
        "linux.gidMappings[0].size",
    ]


def test_an_ordinary_user_needs_a_user_namespace_and_is_root_in_it_unless_it_says_more() -> None:
    assert faults(small(), euid=1000) == ["linux.namespaces: an ordinary user needs one of type 'user'"]
    found = read(small(linux__namespaces=spaces("mount", "user")), euid=1000)
    assert found.box.uid_map == (IdMap(inside=0, outside=1000, count=1),)
    assert found.box.deny_setgroups


def test_time_offsets_need_a_time_namespace_of_their_own() -> None:
    asked = {"monotonic": {"secs": -5, "nanosecs": 3}, "boottime": {"secs": 9}}
    found = read(small(linux__timeOffsets=asked, linux__namespaces=spaces("mount", "time")))
    assert found.box.offsets == (("monotonic", -5, 3), ("boottime", 9, 0))
    assert faults(small(linux__timeOffsets=asked))
    assert faults(small(linux__timeOffsets={"lunar": {}}, linux__namespaces=spaces("mount", "time")))


@pytest.mark.parametrize(
    ("name", "kinds", "good"),
    [
        ("net.ipv4.ip_forward", ("mount", "network"), True),
        ("net/ipv4/ip_forward", ("mount", "network"), True),
        ("net.ipv4.ip_forward", ("mount",), False),
        ("kernel.shmmax", ("mount", "ipc"), True),
        ("fs.mqueue.msg_max", ("mount", "ipc"), True),
        ("kernel.shmmax", ("mount", "network"), False),
        ("kernel.domainname", ("mount", "uts"), True),
        ("kernel.hostname", ("mount", "uts"), False),
        ("kernel.panic", ("mount", "ipc", "network", "uts"), False),
        ("vm.swappiness", ("mount", "ipc", "network", "uts"), False),
        ("net.../x", ("mount", "network"), False),
        ("", ("mount",), False),
    ],
)
def test_only_kernel_parameters_of_its_own_namespaces_can_be_set(
    name: str, kinds: tuple[str, ...], good: bool
) -> None:
    told = faults(small(linux__sysctl={name: "1"}, linux__namespaces=spaces(*kinds)))
    assert bool(told) != good


def test_the_hosts_own_network_namespace_is_no_namespace_of_its_own() -> None:
    joined = [{"type": "mount"}, {"type": "network", "path": "/proc/self/ns/net"}]
    assert faults(small(linux__sysctl={"net.ipv4.ip_forward": "1"}, linux__namespaces=joined))


def test_what_the_kernel_lacks_is_refused_and_not_passed_over() -> None:
    data = small(
        process__apparmorProfile="p",
        process__selinuxLabel="l",
        linux__intelRdt={"closID": "x"},
    )
    assert [fault.split(":")[0] for fault in faults(data)] == [
        "process.apparmorProfile", "process.selinuxLabel", "linux.intelRdt",
    ]  # fmt: skip
    assert [fault.split(":")[0] for fault in faults(data, has=True)] == ["linux.intelRdt"]


def test_a_label_for_mounts_is_for_the_file_systems_that_are_made() -> None:
    kinds = ("tmpfs", "proc", "sysfs")
    given = [
        {"destination": f"/{kind}".replace("/sysfs", "/sys"), "type": kind, "source": kind} for kind in kinds
    ]
    data = small(linux__mountLabel="a:b:c:s0:c1,c2", linux__maskedPaths=["/proc/bus"], mounts=given)
    for has, label in ((True, "a:b:c:s0:c1,c2"), (False, "")):
        found = read(data, has=has)
        made = [step.label for step in found.box.steps if isinstance(step, (NewMount, MaskPath))]
        assert made == [label, "", "", label]
        assert any("mountLabel" in warning for warning in found.warnings) != has


def test_paths_are_masked_in_others_mount_namespaces_too_and_are_absolute() -> None:
    data = small(
        linux__maskedPaths=["/proc/kcore"], linux__readonlyPaths=["proc"], linux__namespaces=spaces("pid")
    )
    assert [fault.split(":")[0] for fault in faults(data)] == [
        "linux.readonlyPaths[0]"
    ]  # fmt: skip


@pytest.mark.parametrize("found", [[], [{"type": "mount", "path": "/proc/1/ns/mnt"}]])
def test_in_a_mount_namespace_of_others_neither_their_root_nor_a_new_user_is_possible(
    found: list[Any],
) -> None:
    data = small(
        linux__namespaces=[*found, *spaces("user")], linux__rootfsPropagation="rshared", root__path="/tmp/..",
        linux__uidMappings=[{"containerID": 0, "hostID": 0, "size": 1}],
        linux__gidMappings=[{"containerID": 0, "hostID": 0, "size": 1}],
    )  # fmt: skip
    told = [fault.split(":")[0] for fault in faults(data)]
    assert sorted(told) == ["linux.namespaces", "linux.rootfsPropagation", "root.path"]
    assert faults(small(linux__namespaces=found, linux__rootfsPropagation="rprivate")) == []


def test_a_working_directory_that_is_not_there_is_made() -> None:
    steps = read(small(process__cwd="/srv/../place/x")).box.steps
    assert MakeDir(dst="/place/x") in steps


def test_capabilities_that_cannot_be_given_are_left_out_with_a_warning() -> None:
    caps = {kind: ["CAP_KILL", "CAP_SYS_RESOURCE"] for kind in ("bounding", "effective", "permitted")}
    found = read(small(process__capabilities=caps), grantable=1 << 5)
    assert found.box.process.caps.bounding == found.box.process.caps.effective == 1 << 5
    assert found.warnings == (
        "process.capabilities: CAP_SYS_RESOURCE left out: operation not permitted, none is ours to give",
    )


WRONG = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 1 << 66) | st.floats(allow_nan=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


def places(value: object, path: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
    found = [path]
    if isinstance(value, dict):
        for key, inner in value.items():
            found += places(inner, (*path, key))
    elif isinstance(value, list):
        for number, inner in enumerate(value[:6]):
            found += places(inner, (*path, number))
    return found


@given(st.data())
@settings(max_examples=250, deadline=None)
def test_a_wrong_value_anywhere_is_a_fault_or_harmless_and_never_a_crash(data: st.DataObject) -> None:
    whole: Any = real(data.draw(st.sampled_from(REAL)))
    path = data.draw(st.sampled_from(places(whole)))
    wrong = data.draw(WRONG)
    if not path:
        whole = wrong
    else:
        at: Any = whole
        for step in path[:-1]:
            at = at[step]
        at[path[-1]] = wrong
    for message in faults(whole):
        assert message


def test_reading_a_configuration_imports_nothing_slow() -> None:
    program = (
        "from redpak import quickjson\nfrom redpak.oci import config\n"
        f"config.parse({real('podman')!r}, bundle='/b', euid=0)\n"
        "print([n for n in ('json', 're', 'typing', 'enum', 'dataclasses', 'ctypes') if n in sys.modules])"
    )
    line = f"import sys; sys.path[:0]={sys.path!r}\n{program}"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", line], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
