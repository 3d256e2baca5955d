"""The merge of red-pak 2.5: who wins, what is forbidden, in which order things come out."""

from __future__ import annotations

from typing import TypeVar

import pytest

from redpak.config.merge import merge, profile_of
from redpak.config.model import (
    UPSTREAM,
    CapabilityAsk,
    CgroupValue,
    Context,
    Export,
    Family,
    Merged,
    Node,
    NodeDoc,
    Value,
    Variable,
)
from redpak.config.upstream_walk import Forbidden
from redpak.errors import BadConfig, RedpakError, Usage
from redpak.origin import Origin
from redpak.text import Ask, Run, text

T = TypeVar("T")
CONTEXT = Context(environ={"LANG": "C"}, uid=1000, gid=100, pid=7)


class Doc:
    """Builds a configuration whose entries stand on lines 1, 2, 3 …"""

    def __init__(self, alias: str = "x", **tags: str | int | bool) -> None:
        self.line = 0
        self.alias = alias
        self.tags = {k.replace("__", "-"): Value(value=v, origin=self.at()) for k, v in tags.items()}
        self.entries: list[Export | Variable | CapabilityAsk | CgroupValue] = []

    def at(self) -> Origin:
        self.line += 1
        return Origin(file=f"/{self.alias}.yaml", line=self.line)

    def export(self, mode: str, mount: str, path: str | None = None, warn: str = "") -> Doc:
        self.entries.append(Export(mode=mode, mount=mount, path=path, warn=warn, origin=self.at()))  # type: ignore[arg-type]
        return self

    def var(self, key: str, value: str | None = None, mode: str = "Default") -> Doc:
        self.entries.append(Variable(mode=mode, key=key, value=value, origin=self.at()))  # type: ignore[arg-type]
        return self

    def cap(self, cap: str, add: int) -> Doc:
        self.entries.append(CapabilityAsk(cap=cap, add=add, origin=self.at()))
        return self

    def limit(self, group: str, key: str, value: str) -> Doc:
        self.entries.append(CgroupValue(group=group, key=key, value=value, origin=self.at()))
        return self

    def doc(self) -> NodeDoc:
        def of(kind: type[T]) -> tuple[T, ...]:
            return tuple(entry for entry in self.entries if isinstance(entry, kind))

        return NodeDoc(
            file=f"/{self.alias}.yaml",
            alias=self.alias,
            alias_origin=Origin(file=f"/{self.alias}.yaml"),
            tags=self.tags,
            exports=of(Export),
            environ=of(Variable),
            capabilities=of(CapabilityAsk),
            cgroups=of(CgroupValue),
        )


def family(*nodes: Doc | tuple[Doc, Doc], admin: bool = True) -> Family:
    """Nodes from the oldest to the leaf; a pair is (normal, admin)."""
    found = []
    path = ""
    for number, node in enumerate(nodes):
        normal, above = node if isinstance(node, tuple) else (node, None)
        path += f"/n{number}"
        spelled = path if number == len(nodes) - 1 else f"{path}/"
        found.append(Node(path=spelled, real=path, normal=normal.doc(), admin=above.doc() if above else None))
    return Family(nodes=tuple(found), admin=admin)


def merged(*nodes: Doc | tuple[Doc, Doc], admin: bool = True) -> Merged:
    return merge(family(*nodes, admin=admin), UPSTREAM, CONTEXT)


def test_the_youngest_wins_and_any_admin_file_beats_every_normal_one() -> None:
    root = (Doc("root", chdir="/root", umask="027"), Doc("root-admin", chdir="/admin"))
    leaf = Doc("leaf", chdir="/leaf", umask="077")
    both = merged(root, leaf)
    assert str(both.tags["chdir"].value) == "/admin"
    assert str(both.tags["umask"].value) == "077"
    assert str(merged(root, leaf, admin=False).tags["chdir"].value) == "/leaf"
    assert [(c.thing, c.asked, str(c.origin)) for c in both.contests] == [
        ("setting chdir", "/leaf", "/leaf.yaml:1"),
        ("setting chdir", "/root", "/root.yaml:1"),
        ("setting umask", "027", "/root.yaml:2"),
    ]


def test_false_zero_and_unset_say_nothing() -> None:
    said = merged(
        Doc("root", inherit__env=True, verbose=3, die__with__parent="Enabled"),
        Doc("leaf", inherit__env=False, verbose=0, die__with__parent="Unset"),
    ).tags
    assert said["inherit-env"].value is True
    assert said["verbose"].value == 3
    assert said["die-with-parent"].value == "Enabled"
    off = merged(Doc("root", new__session="Enabled"), Doc("leaf", new__session="Disabled"))
    assert off.tags["new-session"].value == "Disabled"


def test_strings_are_expanded_in_the_leafs_context_and_hostname_twice() -> None:
    said = merged(Doc("root", hostname=r"h-$NODE_ALIAS-\$LANG", cachedir=r"\$LANG"), Doc("leaf")).tags
    assert said["hostname"].value == text("h-leaf-C")
    assert said["cachedir"].value == text("$LANG")


def test_path_elements_come_leaf_first_each_in_its_own_context_without_repeats() -> None:
    root = Doc("root", path="/nodes/$NODE_ALIAS:/bin::")
    leaf = (Doc("leaf", path="/nodes/$NODE_ALIAS:/bin"), Doc("leaf-admin", path="/adm"))
    said = merged(root, leaf).path
    assert [str(e.element) for e in said] == ["/adm", "/nodes/leaf", "/bin", "/nodes/root"]
    assert [str(e.origin) for e in said][-1] == "/root.yaml:1"


def test_path_elements_may_wait_for_the_start() -> None:
    assert [e.element for e in merged(Doc(path="/a/$PID:/b")).path] == [
        text("/a/", Ask(name="PID")),
        text("/b"),
    ]


@pytest.mark.parametrize(
    ("root", "leaf", "value"),
    [
        ({}, {}, "unset"),
        ({"share_all": "enabled"}, {}, "enabled"),
        ({"share_all": "enabled"}, {"share_net": "disabled"}, "disabled"),
        ({"share_net": "enabled"}, {"share_net": "disabled"}, "disabled"),
        ({"share_net": "Enabled"}, {"share_net": "unset"}, "enabled"),
        ({"share_all": "disabled"}, {"share_net": "enabled"}, "enabled"),
        ({"share_net": "/run/netns/a"}, {"share_net": "/run/netns/b"}, "/run/netns/b"),
    ],
)
def test_shares(root: dict[str, str], leaf: dict[str, str], value: str) -> None:
    assert merged(Doc("root", **root), Doc("leaf", **leaf)).shares["net"].value == value


def test_share_all_leaves_the_time_alone() -> None:
    shares = merged(Doc(share_all="disabled")).shares
    assert {kind: share.value for kind, share in shares.items()} == {
        "user": "disabled", "cgroup": "disabled", "net": "disabled", "pid": "disabled", "ipc": "disabled",
        "time": "unset",
    }  # fmt: skip


@pytest.mark.parametrize("wish", ["enabled", "/run/netns/a"])
def test_what_an_ancestor_disables_cannot_be_shared(wish: str) -> None:
    with pytest.raises(Forbidden) as caught:
        merged(Doc("root", share_net="disabled"), Doc("leaf", share_net=wish))
    assert caught.value.message == "Can't share net in /n0/n1 because forbidden in /n0/"
    assert caught.value.code == 2
    assert str(caught.value.faults[0].origin) == "/leaf.yaml:1"
    assert "/root.yaml:1" in caught.value.faults[0].hint


def test_an_admin_file_may_share_what_a_normal_one_forbids() -> None:
    forbidding = (Doc("root", share_net="disabled"), Doc("ra"))
    leaf = (Doc("leaf"), Doc("la", share_net="enabled"))
    assert merged(forbidding, leaf).shares["net"].value == "enabled"
    with pytest.raises(Forbidden) as caught:
        merged((Doc("root"), Doc("ra", share_net="disabled")), leaf)
    assert caught.value.message == "Can't share net in /n0/n1 (admin) because forbidden in /n0/ (admin)"


def test_capabilities_come_in_the_reverse_order_of_discovery() -> None:
    said = merged(Doc("root").cap("cap_a", 1).cap("cap_b", 0), Doc("leaf").cap("CAP_B", 0).cap("cap_c", 1))
    assert [(ask.cap, ask.add, owner) for ask, owner in said.capabilities] == [
        ("cap_a", 1, 0),
        ("cap_c", 1, 1),
        ("CAP_B", 0, 1),
    ]


def test_a_capability_that_an_ancestor_drops_cannot_be_added() -> None:
    with pytest.raises(Forbidden) as caught:
        merged(Doc("root").cap("cap_chown", 0), Doc("leaf").cap("cap_chown", 1))
    assert caught.value.message == "Capability cap_chown of /n0/ badly redefined in /n0/n1"
    hole = merged(Doc("root").cap("ALL", 0), Doc("leaf").cap("cap_chown", 1))
    assert len(hole.capabilities) == 2


def test_variables_that_differ_in_case_only_collide() -> None:
    said = merged(Doc("root").var("Path", "r").var("Z", "z"), Doc("leaf").var("PATH", "l").var("A", "a"))
    assert [(v.key, str(v.value), v.owner) for v in said.environ] == [
        ("Z", "z", 0),
        ("A", "a", 1),
        ("PATH", "l", 1),
    ]


def test_variables_are_expanded_where_they_are_defined() -> None:
    said = merged(Doc("root").var("A", "$NODE_ALIAS/$LEAF_ALIAS").var("B", "$LANG", "Static"), Doc("leaf"))
    assert {v.key: str(v.value) for v in said.environ} == {"A": "root/leaf", "B": "$LANG"}


def test_modes_without_a_value_have_none_and_commands_wait() -> None:
    said = merged(Doc().var("R", mode="Remove").var("I", mode="Inherit").var("E", "echo $LANG", "Execfd"))
    assert {v.key: v.value for v in said.environ} == {
        "R": None,
        "I": None,
        "E": text(Run(command="echo $LANG")),
    }


def test_a_dump_may_run_commands_at_once() -> None:
    ran: list[str] = []

    def run(command: str) -> str:
        ran.append(command)
        return f"<{command}>\n"

    nodes = family(
        Doc().var("E", "id", "Execfd").export("Public", "/$(m)", "$(p)").export("Execfd", "/f", "c")
    )
    said = merge(nodes, UPSTREAM, CONTEXT, run=run, ask=lambda name: name)
    assert ran == ["m", "id", "p"] or sorted(ran) == ["id", "m", "p"]
    assert {e.mount for e in said.exports} == {"/<m>\n", "/f"}


def test_a_mount_point_must_be_known_before_the_launch() -> None:
    with pytest.raises(BadConfig) as caught:
        merged(Doc().export("Public", "/$(date)").export("Tmpfs", "/$PID"))
    assert [fault.origin.line for fault in caught.value.faults] == [1, 2]


def test_exports_are_sorted_by_mount_and_private_ones_stay_private() -> None:
    root = Doc("root").export("Private", "/p").export("PrivateFile", "/pf").export("PrivateRestricted", "/pr")
    leaf = (
        Doc("leaf")
        .export("Private", "/b", "$NODE_PATH//usr")
        .export("Tmpfs", "/A")
        .export("Execfd", "/f", "c $X")
    )
    said = merged(root, leaf).exports
    assert [(e.mode, e.mount, str(e.path), e.command, e.owner) for e in said] == [
        ("Tmpfs", "/A", "None", "", 1),
        ("Private", "/b", "/n0/n1//usr", "", 1),
        ("Execfd", "/f", "None", "c $X", 1),
        ("PrivateRestricted", "/pr", "/pr", "", 0),
    ]


def test_a_mount_is_keyed_by_its_expanded_name_whatever_its_case() -> None:
    root = Doc("root").export("Restricted", "/nodes/$NODE_ALIAS").export("Public", "/x/", warn="careful")
    leaf = Doc("leaf").export("Public", "/NODES/root").export("Public", "/x").export("Tmpfs", "/X/")
    said = merged(root, leaf)
    assert [(e.mode, e.mount) for e in said.exports] == [
        ("Public", "/NODES/root"), ("Tmpfs", "/X/"), ("Public", "/x"),
    ]  # fmt: skip
    assert [(c.thing, c.asked) for c in said.contests] == [
        ("mount /nodes/root", "Restricted"), ("mount /x/", "Public"),
    ]  # fmt: skip
    assert "careful" in said.warnings[0].message


def test_the_same_entry_twice_in_a_file_warns_and_a_different_one_is_a_fault() -> None:
    same = merged(Doc().export("Public", "/a").export("Public", "/a", "/b").var("A", "1").var("A", "1"))
    assert len(same.warnings) == 2
    assert str(same.exports[0].path) == "/a"
    with pytest.raises(BadConfig) as caught:
        merged(
            Doc()
            .export("Public", "/a")
            .export("Tmpfs", "/a")
            .var("A", "1")
            .var("A", "2")
            .cap("c", 1)
            .cap("C", 0)
        )
    assert sorted(fault.origin.line for fault in caught.value.faults) == [2, 4, 6]


def test_limits_are_each_nodes_own_and_admin_wins_inside_a_node() -> None:
    root = (Doc("root").limit("mem", "max", "1G"), Doc("ra").limit("mem", "max", "2G"))
    leaf = Doc("leaf").limit("mem", "max", "8G").limit("pids", "max", "9")
    assert [(v.group, v.value, owner) for v, owner in merged(root, leaf).cgroups] == [
        ("mem", "2G", 0),
        ("mem", "8G", 1),
        ("pids", "9", 1),
    ]


def test_the_command_line_overrides_every_file() -> None:
    nodes = family(
        (Doc("a", set__user="1"), Doc("aa", set__user="2")), Doc("b", set__user="3").var("U", "$UID")
    )
    said = merge(nodes, UPSTREAM, CONTEXT, overrides={"set-user": "33"})
    assert said.tags["set-user"].value == "33"
    assert str(said.environ[0].value) == "33"
    assert [c for c in said.contests if "set-user" in c.thing] == []


def test_an_unknown_user_is_an_error() -> None:
    with pytest.raises(RedpakError, match="no user 'nobody-has-this-name'"):
        merged(Doc(set__user="nobody-has-this-name"))


def test_the_variables_that_were_read_are_told() -> None:
    assert merged(Doc().var("A", "$LANG$NONE")).reads == (("LANG", "C"), ("NONE", None))


@pytest.mark.parametrize(
    ("environ", "nodes", "profile"),
    [
        ({}, [{}, {}], "sealed"),
        ({"REDPAK_PROFILE": ""}, [{}], "sealed"),
        ({"REDPAK_PROFILE": "upstream-2.5"}, [{"profile": "sealed"}], "upstream-2.5"),
        ({"REDPAK_PROFILE": "sealed"}, [{"profile": "upstream-2.5"}], "sealed"),
        ({}, [{"profile": "upstream-2.5"}, {}], "upstream-2.5"),
        ({}, [{"profile": "upstream-2.5"}, {"profile": "sealed"}], "sealed"),
    ],
)
def test_who_chooses_the_profile(environ: dict[str, str], nodes: list[dict[str, str]], profile: str) -> None:
    assert profile_of(family(*(Doc(**tags) for tags in nodes)), environ) == profile


def test_the_core_os_may_choose_the_profile_and_the_oldest_node_may_differ() -> None:
    defaults = Doc("core", profile="upstream-2.5").doc()
    assert profile_of(family(Doc()).but(defaults=defaults), {}) == UPSTREAM
    assert profile_of(family(Doc(profile="sealed")).but(defaults=defaults), {}) == "sealed"


def test_a_descendant_cannot_choose_the_looser_profile() -> None:
    with pytest.raises(BadConfig) as caught:
        profile_of(family(Doc("root"), Doc("leaf", profile="upstream-2.5")), {})
    assert str(caught.value.faults[0].origin) == "/leaf.yaml:1"
    with pytest.raises(Usage):
        profile_of(family(Doc()), {"REDPAK_PROFILE": "open"})
