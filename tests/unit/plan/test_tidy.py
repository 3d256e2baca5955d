"""Canonical order, and plans that can be known to be wrong without looking at the host."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redpak.errors import BadConfig
from redpak.origin import DEFAULT, Origin
from redpak.plan.model import CHOICES, Capability, Choice, EnvInput, Limit, Member, Plan, SetVar, UnsetVar
from redpak.plan.ops import Bind, Dir, File, Lock, Symlink, Tmpfs
from redpak.plan.tidy import tidy
from redpak.text import Run, text


def at(line: int) -> Origin:
    return Origin(file="/n/etc/redpak.yaml", line=line)


def plan(**given: object) -> Plan:
    base = Plan(
        node="/n/m",
        profile="sealed",
        family=(Member(alias="n", name="", path="/n"), Member(alias="m", name="", path="/n/m")),
        mounts=(),
        environ=(),
        namespaces=(),
        uid=1,
        gid=1,
    )
    return base.but(**given)


def dirs(*paths: str) -> tuple[Dir, ...]:
    return tuple(Dir(dst=path, because=at(line)) for line, path in enumerate(paths, 1))


def told(**given: object) -> list[str]:
    with pytest.raises(BadConfig) as caught:
        tidy(plan(**given))
    return [str(fault) for fault in caught.value.faults]


NAMES = st.lists(st.sampled_from(["a", "b", "a-b", "a.b", "A"]), min_size=1, max_size=4)


@given(st.lists(NAMES.map(lambda names: "/" + "/".join(names)), unique=True))
def test_a_mount_comes_after_everything_above_it(paths: list[str]) -> None:
    order = [op.dst for op in tidy(plan(mounts=dirs(*paths))).mounts]
    assert sorted(order) == sorted(paths)
    for late, path in enumerate(order):
        assert not any(other.startswith(path + "/") for other in order[:late])


@given(st.permutations(["/a", "/b", "/a/c", "/a-b"]))
def test_the_order_of_what_was_asked_does_not_matter(paths: list[str]) -> None:
    made = [Dir(dst=path, because=DEFAULT) for path in paths]
    again = tidy(plan(mounts=tuple(made)))
    assert again == tidy(plan(mounts=tuple(reversed(made)))) == tidy(again)


def test_variables_capabilities_and_reads_are_sorted() -> None:
    made = tidy(
        plan(
            environ=(SetVar(key="B", value=text(), because=DEFAULT), UnsetVar(key="A", because=DEFAULT)),
            capabilities=(
                Capability(name="CAP_SYS_TIME", because=at(1)),
                Capability(name="CAP_CHOWN", because=at(2)),
            ),
            reads=(EnvInput(name="Z", value=None), EnvInput(name="Y", value="")),
        )
    )
    assert [entry.key for entry in made.environ] == ["A", "B"]
    assert [capability.name for capability in made.capabilities] == ["CAP_CHOWN", "CAP_SYS_TIME"]
    assert [read.name for read in made.reads] == ["Y", "Z"]


def test_limits_stand_oldest_member_first() -> None:
    limits = (
        Limit(node="/n/m", key="cpu.max", value="1", because=DEFAULT),
        Limit(node="/n", key="pids.max", value="1", because=DEFAULT),
        Limit(node="/", key="io.max", value="1", because=DEFAULT),
    )
    assert [limit.node for limit in tidy(plan(limits=limits)).limits] == ["/", "/n", "/n/m"]


def test_all_namespaces_and_choices_are_there() -> None:
    made = tidy(plan(choices=(Choice(name="hostname", value="h", because=at(3)),)))
    kinds = ["cgroup", "ipc", "mount", "net", "pid", "time", "user", "uts"]
    assert [namespace.kind for namespace in made.namespaces] == kinds
    assert [n.kind for n in made.namespaces if n.mode == "host"] == ["time"]
    assert [choice.name for choice in made.choices] == sorted(CHOICES)
    assert made.choice("hostname") == "h"


@pytest.mark.parametrize("path", ["usr", "", "/a/../b", "/a/./b", "/a//b", "/a/", "//"])
def test_a_mount_point_must_be_absolute_and_normalised(path: str) -> None:
    [fault] = told(mounts=dirs(path))
    assert fault.startswith(f"/n/etc/redpak.yaml:1: mount point '{path}'")


def test_two_mounts_at_one_place_are_a_fault_that_names_both() -> None:
    [fault] = told(mounts=(*dirs("/a", "/b"), Tmpfs(dst="/a", because=at(9))))
    assert fault.startswith("/n/etc/redpak.yaml:9: mount point '/a' is already taken by /n/etc/redpak.yaml:1")


@pytest.mark.parametrize(
    ("above", "kind"),
    [
        (Symlink(dst="/a", target="b", because=at(7)), "symlink"),
        (File(dst="/a", content=text(), because=at(7)), "file"),
        (Bind(dst="/a", src=text("/x"), kind="file", because=at(7)), "file"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_nothing_lies_beneath_what_is_no_directory(above: Symlink, kind: str) -> None:
    [fault] = told(mounts=(above, *dirs("/a/b/c", "/ab")))
    assert f"mount point '/a/b/c' lies beneath the {kind} '/a' (/n/etc/redpak.yaml:7)" in fault


def test_a_file_may_be_locked_where_it_is_mounted() -> None:
    lock = Lock(dst="/a", because=at(1))
    bind = Bind(dst="/a", src=text("/x"), kind="file", because=at(2))
    assert tidy(plan(mounts=(lock, bind))).mounts == (bind, lock)


def test_a_nul_character_is_refused_wherever_it_reaches_the_kernel() -> None:
    faults = told(
        mounts=(
            Bind(dst="/a", src=text("/x\0"), because=at(1)),
            Symlink(dst="/b\0", target="x\0", because=at(2)),
            File(dst="/c", content=text("\0", Run(command="a\0b")), because=at(3)),
        ),
        environ=(SetVar(key="A", value=text("\0"), because=at(4)),),
        choices=(Choice(name="hostname", value=text("\0"), because=at(5)),),
        command=("\0",),
    )
    assert len(faults) == 7
    assert all("NUL" in fault and "\0" not in fault for fault in faults)


def test_a_new_file_may_hold_a_nul_character() -> None:
    tidy(plan(mounts=(File(dst="/c", content=text("\0"), because=at(3)),)))


@pytest.mark.parametrize("key", ["", "A=B"])
def test_a_variable_needs_a_possible_name(key: str) -> None:
    [fault] = told(environ=(UnsetVar(key=key, because=at(1)),))
    assert "cannot be the name of a variable" in fault


def test_a_variable_that_is_set_twice_is_a_fault() -> None:
    [fault] = told(
        environ=(SetVar(key="A", value=text("1"), because=at(1)), UnsetVar(key="A", because=at(2))),
    )
    assert fault == "/n/etc/redpak.yaml:2: variable 'A' is set twice, first by /n/etc/redpak.yaml:1"


def test_all_faults_are_reported_at_once() -> None:
    assert len(told(mounts=dirs("a", "/b/", "/c", "/c"))) == 3


def test_upstream_plans_are_ordered_and_not_judged() -> None:
    made = tidy(plan(profile="upstream-2.5", mounts=dirs("/b/../x", "/a//b", "/a/")))
    assert [op.dst for op in made.mounts] == ["/a/", "/a//b", "/b/../x"]
