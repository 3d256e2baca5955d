"""The sealed merge of tags, namespaces, search paths and the environment."""

from __future__ import annotations

import pytest

from redpak.config.merge import merge
from redpak.config.model import Contest, Merged
from redpak.origin import DEFAULT
from tests.unit.config.strategies import CONTEXT, Spec, family, faults, sealed

N0, N1, N2 = (
    "/pool/n0/etc/redpak.yaml",
    "/pool/n0/n1/etc/redpak.yaml",
    "/pool/n0/n1/n2/etc/redpak.yaml",
)


def tags(**said: object) -> Spec:
    """Return a node that only sets tags; '_' stands for '-', but not in share_."""
    return {
        "tags": {key if key.startswith("share_") else key.replace("_", "-"): v for key, v in said.items()}
    }


def contests(merged: Merged, kind: str) -> list[Contest]:
    """Return the contests of a kind."""
    return [contest for contest in merged.contests if contest.kind == kind]


# --- plain tags


def test_the_oldest_node_wins_a_plain_tag_and_the_warning_names_both_places() -> None:
    got = sealed(tags(hostname="old"), tags(hostname="new"))
    assert str(got.tags["hostname"].value) == "old"
    assert got.tags["hostname"].owner == 0
    (warning,) = got.warnings
    assert warning.origin.file == N1
    assert f"{N0}:3" in warning.message
    (lost,) = contests(got, "lost")
    assert (lost.thing, lost.asked, lost.origin.file) == ("setting hostname", "new", N1)
    assert f"{N0}:3" in lost.why


def test_saying_the_same_again_is_silent() -> None:
    got = sealed(
        tags(hostname="h", umask="027", gpgcheck=True), tags(hostname="h", umask="027", gpgcheck=True)
    )
    assert got.warnings == ()
    assert contests(got, "lost") == []


def test_a_plain_tag_is_expanded_for_the_node_that_says_it() -> None:
    got = sealed(tags(hostname="h-$NODE_ALIAS-$LEAF_ALIAS"), {}, {})
    assert str(got.tags["hostname"].value) == "h-n0-n2"


def test_the_same_words_that_mean_something_else_in_a_child_are_a_redefinition() -> None:
    got = sealed(tags(hostname="h-$NODE_ALIAS"), tags(hostname="h-$NODE_ALIAS"))
    assert str(got.tags["hostname"].value) == "h-n0"
    assert len(got.warnings) == 1


def test_the_core_os_gives_defaults_that_any_node_overrides_silently() -> None:
    got = sealed(tags(hostname="mine"), defaults=tags(hostname="core", chdir="/"))
    assert str(got.tags["hostname"].value) == "mine"
    assert (str(got.tags["chdir"].value), got.tags["chdir"].owner) == ("/", -1)
    assert got.warnings == ()
    assert "default of the core OS" in contests(got, "lost")[0].why


def test_a_nodes_admin_file_beats_its_normal_file_silently_but_not_an_ancestor() -> None:
    own = {**tags(hostname="normal"), "admin": tags(hostname="admin", chdir="/a")}
    assert str(sealed(own, admin=True).tags["hostname"].value) == "admin"
    assert sealed(own, admin=True).warnings == ()
    assert str(sealed(own, admin=False).tags["hostname"].value) == "normal"
    got = sealed(tags(hostname="old"), own, admin=True)
    assert str(got.tags["hostname"].value) == "old"
    assert len(got.warnings) == 1


def test_an_admin_file_is_not_read_without_admin_mode() -> None:
    assert "chdir" not in sealed({"admin": tags(chdir="/a")}).tags


def test_uid_follows_set_user_whoever_says_it() -> None:
    child: Spec = {"environ": [("ME", "Default", "$UID:$GID")]}
    got = sealed(tags(set_user="33"), {**child, **tags(set_user="44", set_group="55")})
    assert str(got.environ[0].value) == "33:55"
    assert str(sealed(child).environ[0].value) == "1000:1000"
    assert str(sealed({**child, **tags(set_user="root")}).environ[0].value) == "0:1000"


def test_an_unknown_user_is_a_fault() -> None:
    (fault,) = faults(tags(set_user="nobody-has-this-name"))
    assert "there is no user 'nobody-has-this-name'" in fault.message


# --- one-way switches


@pytest.mark.parametrize(
    ("key", "tight", "loose"),
    [
        ("gpgcheck", True, False),
        ("inherit-env", False, True),
        ("unsafe", False, True),
        ("die-with-parent", "Enabled", "Disabled"),
        ("new-session", "Enabled", "Disabled"),
        ("seccomp", "default", "none"),
    ],
)
def test_a_switch_goes_one_way(key: str, tight: object, loose: object) -> None:
    def says(value: object) -> Spec:
        return {"tags": {key: value}}

    (fault,) = faults(says(tight), {}, says(loose))
    assert fault.origin.file == N2
    assert f"{N0}:3" in fault.message
    assert fault.message.startswith(key)
    assert sealed(says(loose), says(tight)).tags[key].value == tight
    assert faults(says(loose), says(tight), says(loose)) != ()
    assert sealed(says(loose), says(loose)).tags[key].value == loose
    assert sealed(says(loose), defaults=says(tight)).tags[key].value == loose
    assert sealed({}, defaults=says(tight)).tags[key].value == tight


def test_unset_says_nothing() -> None:
    got = sealed({"tags": {"new-session": "Enabled"}}, {"tags": {"new-session": "Unset"}})
    assert got.tags["new-session"].value == "Enabled"
    assert "new-session" not in sealed({"tags": {"new-session": "Unset"}}).tags


def test_who_seals_a_switch_is_told_but_the_leaf_seals_nothing_yet() -> None:
    got = sealed(tags(gpgcheck=True), tags(gpgcheck=True))
    assert [(c.thing, c.origin.file) for c in contests(got, "seals")] == [("setting gpgcheck", N0)]


def test_a_childs_admin_file_cannot_loosen_either() -> None:
    (fault,) = faults(tags(gpgcheck=True), {"admin": tags(gpgcheck=False)}, admin=True)
    assert fault.origin.file.endswith("redpak-admin.yaml")


def test_a_node_may_contradict_itself_in_its_admin_file() -> None:
    own = {**tags(gpgcheck=True, share_net="disabled"), "admin": tags(gpgcheck=False, share_net="enabled")}
    got = sealed(own, admin=True)
    assert got.tags["gpgcheck"].value is False
    assert got.shares["net"].value == "enabled"


# --- namespaces


def net(*specs: Spec, defaults: Spec | None = None) -> str:
    """Return what happens to the network."""
    return sealed(*specs, defaults=defaults).shares["net"].value


BLUE, RED = "/run/netns/blue", "/run/netns/red"


def test_without_a_word_everything_but_time_is_the_sandboxs_own() -> None:
    got = sealed({})
    assert {kind: share.value for kind, share in got.shares.items()} == {
        "user": "disabled", "cgroup": "disabled", "net": "disabled", "pid": "disabled", "ipc": "disabled",
        "time": "enabled",
    }  # fmt: skip
    assert {share.origin for share in got.shares.values()} == {DEFAULT}


@pytest.mark.parametrize("child", ["enabled", BLUE])
def test_a_disabled_namespace_stays_so(child: str) -> None:
    (fault,) = faults(tags(share_net="disabled"), tags(share_net=child))
    assert fault.origin.file == N1
    assert "share_net" in fault.message
    assert f"{N0}:3" in fault.message


def test_a_descendant_may_tighten_step_by_step() -> None:
    assert net(tags(share_net="enabled"), tags(share_net=BLUE), tags(share_net="disabled")) == "disabled"
    assert net(tags(share_net="enabled"), tags(share_net=BLUE), tags(share_net=BLUE)) == BLUE


@pytest.mark.parametrize("child", ["enabled", RED])
def test_a_namespace_to_join_is_not_exchanged_or_opened(child: str) -> None:
    assert len(faults(tags(share_net=BLUE), tags(share_net=child))) == 1


def test_a_tightening_in_the_middle_binds_the_leaf() -> None:
    (fault,) = faults(tags(share_net="enabled"), tags(share_net="disabled"), tags(share_net="enabled"))
    assert f"{N1}:3" in fault.message


def test_time_is_ordered_too_but_share_all_does_not_count_for_it() -> None:
    assert len(faults(tags(share_time="disabled"), tags(share_time="enabled"))) == 1
    assert sealed(tags(share_all="disabled"), tags(share_time="enabled")).shares["time"].value == "enabled"


@pytest.mark.parametrize("child", [{"share_pid": "enabled"}, {"share_net": BLUE}, {"share_all": "enabled"}])
def test_share_all_disabled_closes_what_is_not_named(child: dict[str, object]) -> None:
    (fault,) = faults(tags(share_all="disabled"), tags(**child))
    assert f"{N0}:3" in fault.message
    assert "share_all" in fault.message


def test_what_a_node_names_itself_is_not_closed_by_its_share_all() -> None:
    parent = tags(share_all="disabled", share_net="enabled")
    assert net(parent, tags(share_net="enabled")) == "enabled"
    assert net(parent, tags(share_net="disabled")) == "disabled"
    assert net(tags(share_net="enabled"), tags(share_all="disabled"), tags(share_net="enabled")) == "enabled"


def test_share_all_that_leaves_an_ancestors_choice_alone_is_not_silent() -> None:
    got = sealed(tags(share_net="enabled"), tags(share_all="disabled"))
    assert got.shares["net"].value == "enabled"
    assert got.shares["pid"].value == "disabled"
    (warning,) = got.warnings
    assert "share_net" in warning.message
    assert f"{N0}:3" in warning.message


def test_share_all_is_the_value_of_what_nobody_names() -> None:
    got = sealed(tags(share_all="enabled"), tags(share_net="disabled"))
    assert {kind: share.value for kind, share in got.shares.items() if kind != "time"} == {
        "user": "enabled", "cgroup": "enabled", "net": "disabled", "pid": "enabled", "ipc": "enabled",
    }  # fmt: skip
    assert net(tags(share_all="enabled"), tags(share_all="disabled")) == "disabled"


def test_a_share_all_in_the_middle_closes_for_the_leaf() -> None:
    assert len(faults({}, tags(share_all="disabled"), tags(share_net="enabled"))) == 1
    assert len(faults(tags(share_all="enabled"), tags(share_all="disabled"), tags(share_all="enabled"))) == 1


def test_unset_does_not_undo_an_ancestors_choice() -> None:
    assert net(tags(share_net="disabled"), tags(share_net="unset", share_all="unset")) == "disabled"
    assert len(faults(tags(share_all="disabled", share_net="Unset"), tags(share_net="enabled"))) == 1


def test_the_core_os_closes_nothing() -> None:
    assert net(tags(share_net="enabled"), defaults=tags(share_net="disabled")) == "enabled"
    assert net(tags(share_all="enabled"), defaults=tags(share_net="disabled")) == "enabled"
    assert net({}, defaults=tags(share_net="enabled")) == "enabled"
    assert net({}, defaults=tags(share_all="enabled")) == "enabled"
    assert net({}, defaults=tags(share_all="enabled", share_net="disabled")) == "disabled"


@pytest.mark.parametrize("value", ["banana", "netns/blue", "/run/\0", ""])
def test_a_share_is_a_known_word_or_an_absolute_path(value: str) -> None:
    found = faults(tags(share_net=value))
    assert bool(found) == bool(value)


def test_share_all_cannot_join_one_namespace_for_five_kinds() -> None:
    assert "share_all" in faults(tags(share_all=BLUE))[0].message


def test_who_seals_a_namespace_is_told() -> None:
    got = sealed(tags(share_all="disabled", share_net=BLUE), tags(share_net="disabled"), {})
    sealers = {(c.thing, c.asked, c.origin.file) for c in contests(got, "seals")}
    assert ("namespace net", f"share_net: {BLUE}", N0) in sealers
    assert ("namespace net", "share_net: disabled", N1) in sealers
    assert ("namespace pid", "share_all: disabled", N0) in sealers
    assert ("namespace net", "share_all: disabled", N0) not in sealers


# --- search paths


def test_search_paths_run_from_the_leaf_to_the_core_os_without_repeats() -> None:
    got = sealed(
        tags(path="$NODE_PATH/bin:/bin"),
        {**tags(path="$NODE_PATH/bin::/bin:"), "admin": tags(path="/admin")},
        admin=True,
        defaults=tags(path="/bin:/core"),
    )
    assert [str(entry.element) for entry in got.path] == [
        "/admin", "/pool/n0/n1/bin", "/bin", "/pool/n0/bin", "/core",
    ]  # fmt: skip
    assert got.path[0].origin.file.endswith("redpak-admin.yaml")
    assert got.ldpath == ()


def test_no_command_runs_for_a_search_path() -> None:
    assert faults(tags(path="/bin:$(echo /evil)"))[0].origin.file == N0


def test_a_childs_search_path_does_not_replace_an_ancestors_variable() -> None:
    old: Spec = {"environ": [("PATH", "Static", "/only")]}
    got = sealed(old, tags(path="/evil"), defaults=tags(path="/core"))
    assert got.path == ()
    assert env(got) == {"PATH": ("Static", "/only")}
    (warning,) = got.warnings
    assert warning.origin.file == N1
    assert f"{N0}:3" in warning.message
    assert sealed({**old, **tags(path="/own")}, tags(path="/more")).path != ()


def test_an_ancestors_search_path_is_not_replaced_by_a_childs_variable() -> None:
    got = sealed(tags(ldpath="/lib"), {"environ": [("LD_LIBRARY_PATH", "Static", "/evil")]})
    assert [str(entry.element) for entry in got.ldpath] == ["/lib"]
    (warning,) = got.warnings
    assert warning.origin.file == N1
    assert f"{N0}:3" in warning.message


# --- environment


def env(merged: Merged) -> dict[str, tuple[str, str]]:
    """Return the variables as (mode, value)."""
    return {v.key: (v.mode, "" if v.value is None else str(v.value)) for v in merged.environ}


def test_variables_accumulate_and_the_oldest_wins_with_a_warning() -> None:
    got = sealed(
        {"environ": [("A", "Default", "$NODE_ALIAS"), ("B", "Static", "$X")]},
        {"environ": [("A", "Default", "other"), ("C", "Execfd", "date")]},
        defaults={"environ": [("A", "Static", "core"), ("D", "Inherit")]},
    )
    assert env(got) == {
        "A": ("Default", "n0"),
        "B": ("Static", "$X"),
        "C": ("Execfd", "$(date)"),
        "D": ("Inherit", ""),
    }
    (warning,) = got.warnings
    assert "variable A" in warning.message
    assert f"{N0}:3" in warning.message


@pytest.mark.parametrize(
    "child", [("A", "Remove"), ("A", "Inherit"), ("A", "Default", "x"), ("A", "Execfd", "one")]
)
def test_a_child_does_not_take_an_ancestors_variable_away(child: tuple[str, ...]) -> None:
    got = sealed({"environ": [("A", "Static", "one")]}, {"environ": [child]})
    assert env(got) == {"A": ("Static", "one")}
    assert len(got.warnings) == 1


def test_names_of_variables_differ_by_case() -> None:
    got = sealed({"environ": [("Path", "Static", "one")]}, {"environ": [("PATH", "Static", "two")]})
    assert env(got) == {"Path": ("Static", "one"), "PATH": ("Static", "two")}
    assert got.warnings == ()


def test_a_file_that_says_a_variable_twice_must_mean_the_same() -> None:
    assert faults({"environ": [("A", "Static", "1"), ("A", "Static", "1")]}) == ()
    (fault,) = faults({"environ": [("A", "Static", "1"), ("A", "Static", "2")]})
    assert (fault.origin.line, f"{N0}:3" in fault.message) == (4, True)


@pytest.mark.parametrize(
    "entry",
    [
        ("", "Static", "x"),
        ("A=B", "Static", "x"),
        ("A\0", "Static", "x"),
        ("A", "Static", "\0"),
        ("A", "Default"),
    ],
)
def test_what_cannot_be_in_an_environment_is_a_fault(entry: tuple[str, ...]) -> None:
    assert len(faults({"environ": [entry]})) == 1


def test_the_callers_variables_that_were_read_are_noted() -> None:
    got = sealed({"environ": [("A", "Default", "$HOME/$NOWHERE")]})
    assert env(got)["A"] == ("Default", "/home/ann/")
    assert got.reads == (("HOME", "/home/ann"), ("NOWHERE", None))
    assert "NOWHERE" in got.warnings[0].message


# --- all at once


def test_every_fault_of_a_family_is_told_at_once() -> None:
    found = faults(
        {**tags(gpgcheck=True, share_net="disabled"), "caps": [("ALL", 0)], "rlimits": {"nofile": (1, 1)}},
        {
            **tags(gpgcheck=False, share_net="enabled"),
            "caps": [("net_admin", 1)],
            "rlimits": {"nofile": (2, 2)},
            "cgroups": {"mem.max": "banana"},
            "environ": [("A", "Static", "1"), ("A", "Static", "2")],
            "exports": [("Tmpfs", "relative")],
        },
    )
    assert len(found) == 7
    assert [fault.origin.line for fault in found] == sorted(fault.origin.line for fault in found)
    assert {fault.origin.file for fault in found} == {N1}


def test_a_tag_of_the_command_line_does_not_break_a_merge() -> None:
    got = merge(family(tags(set_user="1"), {}), "sealed", CONTEXT, overrides={"set-user": "7"})
    assert got.tags["set-user"].value == "7"
