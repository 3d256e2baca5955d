"""Names of groups, what is said about limits, and paths that are refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redpak.cgroup import family, manager, systemd
from redpak.cgroup.group import Group, load
from redpak.cgroup.resources import CannotLimit, Resources
from redpak.errors import Refused, Usage
from redpak.origin import Origin
from redpak.plan.model import Limit, Member, Plan

paths = st.lists(
    st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=30),
    min_size=1,
    max_size=8,
).map(lambda parts: "/" + "/".join(parts))


def plan(*members: str, limits: tuple[Limit, ...] = (), admin: bool = False) -> Plan:
    """Return a plan of a family."""
    return Plan(
        node=members[-1],
        profile="sealed",
        admin=admin,
        family=tuple(Member(alias="x", name="", path=path) for path in members),
        mounts=(),
        environ=(),
        namespaces=(),
        limits=limits,
        uid=0,
        gid=0,
    )


def test_groups_are_named_by_path_and_lie_in_each_other() -> None:
    assert family.names(plan("/var/nodes/a-b", "/var/nodes/a-b/maps")) == (
        ("/var/nodes/a-b", "redpak:var-nodes-a\\x2db"),
        ("/var/nodes/a-b/maps", "redpak:maps"),
    )


def test_admin_mode_has_groups_of_its_own_and_keeps_the_whole_name() -> None:
    ((_, name),) = family.names(plan("/srv/build/x", admin=True))
    assert name == "redpak:srv-build-x.admin"


def test_the_core_os_has_a_group_only_where_it_limits() -> None:
    limit = Limit(node="/", key="pids.max", value="9", because=Origin(file="main.yaml"))
    assert [path for path, _ in family.names(plan("/n", limits=(limit,)))] == ["/", "/n"]
    assert [path for path, _ in family.names(plan("/n"))] == ["/n"]


@given(paths, paths)
def test_no_two_paths_have_the_same_name_and_every_name_is_safe(one: str, other: str) -> None:
    name = family.escaped(one)
    assert (name == family.escaped(other)) == (one == other)
    assert manager.safe(f"redpak:{name}.admin") == [f"redpak:{name}.admin"]
    assert name.isascii()
    assert len(name) < 200


@pytest.mark.parametrize("path", ["/", "", "..", "/a/../b", "a\nb", "/" + "x" * 256])
def test_a_path_that_is_no_name_of_a_group_is_refused(path: str) -> None:
    with pytest.raises(Refused):
        manager.safe(path)


def test_two_ways_to_say_the_weight_are_told_of() -> None:
    said = [("cpu.weight", "200"), ("cpu.weight.nice", "10")]
    limits = [Limit(node="/n", key=key, value=value, because=Origin(file="f", line=3)) for key, value in said]
    assert family.notes(limits) == (
        "f:3: 'cpu.weight.nice' and 'cpu.weight' are the same setting, 'cpu.weight' counts",
    )
    assert family.notes(limits[:1]) == ()


def test_our_own_leaf_is_not_taken_for_one_that_was_left_behind() -> None:
    name = family.leaf_name("web")
    assert not family.abandoned(name)
    space, pid, start, *_ = name.removeprefix(family.LEAF).split("-")
    assert family.abandoned(f"{family.LEAF}{space}-{pid}-{int(start) + 1}-ff")
    assert not family.abandoned(
        f"{family.LEAF}{int(space) + 1}-1-1-ff"
    )  # in a pid namespace that we cannot see
    assert not family.abandoned("leaf-other")


def test_no_control_groups_refuse_every_limit_by_name() -> None:
    none = manager.find("none")
    assert none.create("/x", Resources(devices=())).paths == {}
    with pytest.raises(CannotLimit, match=r"'memory\.limit' cannot be had without"):
        none.create("/x", Resources(memory_max=5))


def test_a_manager_that_does_not_exist_is_a_usage_error() -> None:
    with pytest.raises(Usage, match="'upstart'"):
        manager.find("upstart")


@pytest.mark.parametrize(
    ("path", "place", "unit"),
    [
        ("user.slice:redpak:web", "user.slice", "redpak-web.scope"),
        ("::web", "", "web.scope"),
        (":p:w", "", "p-w.scope"),
    ],
)
def test_a_scopes_name_has_runcs_form(path: str, place: str, unit: str) -> None:
    assert systemd.unit_of(path) == (place, unit)


@pytest.mark.parametrize("path", ["web", "a:b", "a:b:", "a:b:c/d", "a:b:c.slice"])
def test_what_names_no_scope_is_refused(path: str) -> None:
    with pytest.raises(Refused):
        systemd.unit_of(path)


def test_limits_are_told_to_systemd_in_its_own_words() -> None:
    asked = Resources(
        memory_max=100,
        memory_swap=150,
        memory_soft=5,
        cpu_shares=1024,
        cpu_quota=50_000,
        pids_max=-1,
        cpus="0,9",
    )
    assert systemd.properties(asked) == [
        ("MemoryMax", "t", ["100"]),
        ("MemoryLow", "t", ["5"]),
        ("MemorySwapMax", "t", ["50"]),
        ("CPUWeight", "t", ["100"]),
        ("CPUQuotaPerSecUSec", "t", ["500000"]),
        ("TasksMax", "t", [str((1 << 64) - 1)]),
        ("AllowedCPUs", "ay", ["2", "1", "2"]),
    ]


def test_a_group_survives_in_a_state_file_and_none_is_nothing() -> None:
    group = Group({"memory": "/m/x", "": "/u/x"}, ("/m",), "x.scope", user=True)
    again = load(group.to_dict())
    assert (again.paths, again.made, again.unit, again.user) == (group.paths, group.made, "x.scope", True)
    assert Group({}).to_dict() == {}
    assert load({}).paths == {}
    load({}).remove()
