"""The sealed merge of exports: what a child could try to get more than its ancestors allow."""

from __future__ import annotations

import pytest

from redpak.config.sealed import merge
from redpak.config.settings import EXPORT_MODES
from redpak.errors import BadConfig
from tests.unit.config.strategies import CONTEXT, Spec, family, faults, mounts, sealed

N0, N1 = "/pool/n0/etc/redpak.yaml", "/pool/n0/n1/etc/redpak.yaml"
READONLY = ("Restricted", "RestrictedFile", "PrivateRestricted")
WRITABLE = ("Public", "Private", "PublicFile", "PrivateFile")
OTHERS = tuple(mode for mode in EXPORT_MODES if mode not in READONLY)
PATHS = {"Symlink": "/elsewhere", "Execfd": "id", "Internal": "9"}


def exports(*entries: tuple[str, ...]) -> Spec:
    """Return a node that only exports."""
    return {"exports": list(entries)}


def of_mode(mode: str, mount: str, source: str = "/free") -> tuple[str, ...]:
    """Return an entry of any mode."""
    return (mode, mount, PATHS.get(mode, source))


PARENT = exports(("Restricted", "/ro", "/host/ro"), ("RestrictedFile", "/file", "/host/file"))


def refused(*specs: Spec, admin: bool = False) -> str:
    """Return the only fault's message; it must name both places."""
    (fault,) = faults(*specs, admin=admin)
    assert fault.origin.file.startswith("/pool/n0/n1/")
    assert f"{N0}:" in fault.message
    return fault.message


# --- what accumulates, and who wins


def test_exports_accumulate_sorted_by_mount() -> None:
    got = sealed(
        exports(("Tmpfs", "/b"), ("Public", "/d", "$NODE_PATH/var")),
        exports(("Restricted", "/a", "$NODE_PATH/usr")),
        defaults=exports(("Procfs", "/c")),
    )
    assert mounts(got) == {
        "/a": ("Restricted", "/pool/n0/n1/usr"),
        "/b": ("Tmpfs", ""),
        "/c": ("Procfs", ""),
        "/d": ("Public", "/pool/n0/var"),
    }
    assert list(mounts(got)) == ["/a", "/b", "/c", "/d"]
    assert [export.owner for export in got.exports] == [1, 0, -1, 0]


def test_a_redefinition_keeps_the_ancestors_and_warns() -> None:
    got = sealed(exports(("Public", "/x", "/old")), exports(("Public", "/x", "/new")))
    assert mounts(got) == {"/x": ("Public", "/old")}
    (warning,) = got.warnings
    assert warning.origin.file == N1
    assert f"{N0}:3" in warning.message


def test_a_read_only_mount_with_another_source_is_a_plain_redefinition() -> None:
    for mode in READONLY:
        got = sealed(PARENT, exports((mode, "/ro", "/host/other")))
        assert mounts(got)["/ro"] == ("Restricted", "/host/ro")
        assert len(got.warnings) == 1


def test_the_same_entry_again_is_silent_and_stays_the_ancestors() -> None:
    entries = (
        ("Restricted", "/ro", "/host"),
        ("Public", "/rw", "/host/rw"),
        ("Execfd", "/e", "id"),
        ("Tmpfs", "/t"),
    )
    got = sealed(exports(*entries), exports(*entries))
    assert got.warnings == ()
    assert {export.owner for export in got.exports} == {0}


def test_mounts_are_compared_expanded_and_normalised_and_by_case() -> None:
    got = sealed(
        exports(("Tmpfs", "/nodes/$NODE_ALIAS/"), ("Tmpfs", "/x//y/./z")),
        exports(("Tmpfs", "/nodes/n0"), ("Tmpfs", "/X/y/z"), ("Tmpfs", "/x/y/z/")),
    )
    assert mounts(got) == {"/nodes/n0": ("Tmpfs", ""), "/x/y/z": ("Tmpfs", ""), "/X/y/z": ("Tmpfs", "")}
    assert got.warnings == ()


def test_a_source_is_the_mount_when_none_is_written() -> None:
    assert mounts(sealed(exports(("Restricted", "/etc/pki/")))) == {"/etc/pki": ("Restricted", "/etc/pki")}


@pytest.mark.parametrize("mode", ["Private", "PrivateFile", "PrivateRestricted"])
def test_private_modes_stay_with_their_node(mode: str) -> None:
    spec = exports((mode, "/mine", "$NODE_PATH/mine"))
    assert mounts(sealed({}, spec)) == {"/mine": (mode, "/pool/n0/n1/mine")}
    got = sealed(spec, {})
    assert mounts(got) == {}
    assert any(c.thing == "mount /mine" and c.kind == "lost" and "private" in c.why for c in got.contests)


def test_a_private_entry_of_an_ancestor_leaves_its_mount_to_descendants() -> None:
    got = sealed(exports(("Private", "/p", "/one")), exports(("Public", "/p", "/two")))
    assert mounts(got) == {"/p": ("Public", "/two")}
    assert got.warnings == ()


def test_a_private_admin_entry_does_not_hide_the_inherited_normal_one() -> None:
    parent = {**exports(("Restricted", "/x", "/host/x")), "admin": exports(("Private", "/x", "/host/y"))}
    assert mounts(sealed(parent, admin=True)) == {"/x": ("Private", "/host/y")}
    assert mounts(sealed(parent, {}, admin=True)) == {"/x": ("Restricted", "/host/x")}
    assert "re-exports" in refused(parent, exports(("Tmpfs", "/x")), admin=True)


def test_a_nodes_admin_file_may_open_what_its_normal_file_restricts() -> None:
    parent = {**exports(("Restricted", "/x", "/host/x")), "admin": exports(("Public", "/x", "/host/x"))}
    got = sealed(parent, {}, admin=True)
    assert mounts(got) == {"/x": ("Public", "/host/x")}
    assert got.warnings == ()
    assert mounts(sealed(parent, {})) == {"/x": ("Restricted", "/host/x")}


def test_the_core_os_defaults_give_way_and_bind_nobody() -> None:
    core = exports(("Restricted", "/ro", "/host/ro"), ("Symlink", "/lib", "usr/lib"), ("Symlink", "/a", "b"))
    got = sealed(exports(("Public", "/ro", "/host/ro"), ("Tmpfs", "/lib/x"), ("Tmpfs", "/a")), defaults=core)
    assert mounts(got) == {"/ro": ("Public", "/host/ro"), "/lib/x": ("Tmpfs", ""), "/a": ("Tmpfs", "")}
    assert got.warnings == ()
    assert len([c for c in got.contests if "default of the core OS" in c.why]) == 3


def test_a_private_entry_of_the_core_os_is_for_no_node() -> None:
    assert mounts(sealed({}, defaults=exports(("Private", "/p")))) == {}


# --- seals on mounts


@pytest.mark.parametrize("mode", OTHERS)
@pytest.mark.parametrize("mount", ["/ro", "/file", "/ro/", "//ro", "/./ro"])
def test_a_read_only_mount_is_not_exported_again_in_any_open_mode(mode: str, mount: str) -> None:
    assert "re-exports" in refused(PARENT, exports(of_mode(mode, mount)))


@pytest.mark.parametrize("mode", OTHERS)
def test_nothing_but_read_only_binds_may_lie_beneath_a_read_only_mount(mode: str) -> None:
    assert "beneath '/ro'" in refused(PARENT, exports(of_mode(mode, "/ro/deep/inside")))


@pytest.mark.parametrize("mode", READONLY)
def test_a_read_only_bind_may_lie_beneath_a_read_only_mount(mode: str) -> None:
    assert mounts(sealed(PARENT, exports((mode, "/ro/a", "/free"))))["/ro/a"] == (mode, "/free")


def test_a_mount_whose_name_only_begins_alike_is_free() -> None:
    got = sealed(PARENT, exports(("Tmpfs", "/rooster"), ("Tmpfs", "/Ro"), ("Public", "/y", "/host/rooster")))
    assert len(mounts(got)) == 5


def test_a_read_only_root_seals_everything_that_is_not_opened() -> None:
    parent = exports(("Restricted", "/", "/image"), ("Tmpfs", "/tmp"), ("Public", "/var", "/host/var"))
    assert "re-exports" in refused(parent, exports(("Tmpfs", "/")))
    assert "beneath '/'" in refused(parent, exports(("Tmpfs", "/etc")))
    child = exports(("Tmpfs", "/tmp/x"), ("Public", "/var/app", "/host/app"))
    assert len(mounts(sealed(parent, child))) == 5


def test_a_mount_above_an_ancestors_mount_does_not_change_it() -> None:
    got = sealed(
        exports(("Restricted", "/a/b/c", "/host/c")), exports(("Tmpfs", "/a"), ("Public", "/a/b", "/free"))
    )
    assert mounts(got)["/a/b/c"] == ("Restricted", "/host/c")


def test_a_hidden_expansion_is_seen_through() -> None:
    parent = exports(("Restricted", "/nodes/n0/usr", "$NODE_PATH/usr"))
    child = exports(
        ("Public", "/nodes/$NODE_ALIAS/x", "/pool/n0$NOWHERE/usr"), ("Tmpfs", "/$NOWHERE/nodes/n0/usr/x")
    )
    assert len(faults(parent, child)) == 2


def test_a_seal_in_the_middle_binds_the_leaf_but_not_the_oldest() -> None:
    oldest = exports(("Public", "/data/rw", "/host/data/rw"))
    middle = exports(("Restricted", "/data", "/host/data"))
    got = sealed(oldest, middle)
    assert mounts(got)["/data/rw"] == ("Public", "/host/data/rw")
    assert len(faults(oldest, middle, exports(("Tmpfs", "/data/x")))) == 1
    assert len(faults(oldest, middle, exports(("Public", "/y", "/host/data/x")))) == 1


def test_a_redefinition_that_lost_seals_nothing() -> None:
    oldest = exports(("Public", "/data", "/host/data"))
    middle = exports(("Restricted", "/data", "/host/data"))
    got = sealed(oldest, middle, exports(("Public", "/again", "/host/data")))
    assert mounts(got) == {"/data": ("Public", "/host/data"), "/again": ("Public", "/host/data")}


def test_an_attempt_in_a_private_entry_of_an_ancestor_counts() -> None:
    assert len(faults(PARENT, exports(("Private", "/x", "/host/ro")), {})) == 1


def test_an_attempt_in_an_admin_file_counts_in_admin_mode() -> None:
    child: Spec = {"admin": exports(("Public", "/ro", "/host/ro"))}
    assert faults(PARENT, child) == ()
    assert {fault.origin.file[-16:] for fault in faults(PARENT, child, admin=True)} == {
        "redpak-admin.yaml"[-16:]
    }


def test_an_attempt_in_a_normal_file_is_not_excused_by_the_admin_file() -> None:
    child = {**exports(("Tmpfs", "/ro")), "admin": exports(("Restricted", "/ro", "/host/ro"))}
    assert len(faults(PARENT, child, admin=True)) == 1


def test_who_seals_a_mount_is_told() -> None:
    parent = exports(
        ("Restricted", "/ro", "/host/ro"), ("PrivateRestricted", "/own", "/host/own"), ("Tmpfs", "/t")
    )
    got = sealed(parent, exports(("Restricted", "/leaf", "/x")))
    assert [(c.thing, c.asked, c.origin.file) for c in got.contests if c.kind == "seals"] == [
        ("mount /ro", "Restricted /host/ro", N0),
        ("mount /own", "PrivateRestricted /host/own", N0),
    ]


# --- symbolic links


def test_a_symlink_above_an_ancestors_mount_is_refused() -> None:
    parent = exports(("Public", "/a/b", "/free"))
    assert "hides '/a/b'" in refused(parent, exports(("Symlink", "/a", "/evil")))


def test_a_mount_beneath_a_symlink_would_land_elsewhere() -> None:
    parent = exports(("Restricted", "/usr", "/host/usr"), ("Symlink", "/lib", "usr/lib"))
    assert "beneath symlink '/lib'" in refused(parent, exports(("Tmpfs", "/lib/modules")))


def test_a_childs_own_symlink_is_no_way_around_either() -> None:
    parent = exports(("Restricted", "/usr", "/host/usr"))
    (fault,) = faults(parent, exports(("Symlink", "/x", "/usr"), ("Tmpfs", "/x/lib")))
    assert "beneath symlink '/x'" in fault.message


def test_a_symlink_to_a_read_only_mount_shows_nothing_more() -> None:
    assert mounts(sealed(PARENT, exports(("Symlink", "/x", "../ro"))))["/x"] == ("Symlink", "../ro")


# --- entries that make no sense


@pytest.mark.parametrize(
    "mount", ["", "relative", "/a/../b", "/..", "/nul\0", "$NOWHERE", "/$PID", "/$(id)", "a:/b"]
)
def test_a_mount_point_must_be_absolute_and_known(mount: str) -> None:
    assert len(faults(exports(("Tmpfs", mount)))) == 1


@pytest.mark.parametrize(
    "source", ["", "relative", "/a/../b", "/a/..", "/nul\0", "$PID/x", "/$PID/../x", "/../$PID"]
)
def test_a_source_must_be_absolute(source: str) -> None:
    assert len(faults(exports(("Restricted", "/x", source)))) == 1


@pytest.mark.parametrize(
    "entry",
    [
        ("Symlink", "/x"),
        ("Symlink", "/x", ""),
        ("Symlink", "/x", "a\0"),
        ("Symlink", "/x", "$(id)"),
        ("Symlink", "/x", "$NOWHERE"),
        ("Execfd", "/x"),
        ("Execfd", "/x", "id\0"),
        ("Internal", "/x"),
        ("Internal", "/x", "nine"),
        ("Internal", "/x", "9" * 5000),
        ("Symlink", "/", "x"),
        ("Procfs", "/"),
    ],
)
def test_an_entry_without_what_its_mode_needs_is_a_fault(entry: tuple[str, ...]) -> None:
    assert len(faults(exports(entry))) == 1


def test_a_file_that_exports_a_mount_twice_must_mean_the_same() -> None:
    assert faults(exports(("Tmpfs", "/x"), ("Tmpfs", "/x/"))) == ()
    (fault,) = faults(exports(("Public", "/x", "/a"), ("Public", "/x//", "/b")))
    assert f"first at {N0}:3" in fault.message


def test_a_command_is_kept_and_not_expanded() -> None:
    (export,) = sealed(exports(("Execfd", "/etc/passwd", "getent passwd $UID $(id)"))).exports
    assert (export.command, export.path) == ("getent passwd $UID $(id)", None)


def test_the_leafs_name_in_an_ancestors_entry_cannot_lead_up() -> None:
    of = family(exports(("Public", "/data/$LEAF_NAME", "/srv/$LEAF_NAME")), {})
    evil = of.leaf.but(normal=of.leaf.normal.but(name="x/../../etc"))
    with pytest.raises(BadConfig) as bad:
        merge(of.but(nodes=(of.nodes[0], evil)), CONTEXT)
    assert "goes up with '..'" in bad.value.faults[0].message
