"""The sealed merge of exports: what a child may write, judged by the source."""

from __future__ import annotations

import pytest

from tests.unit.config.strategies import faults, mounts, sealed
from tests.unit.config.test_sealed_exports import PARENT, READONLY, WRITABLE, exports, refused


@pytest.mark.parametrize("mode", WRITABLE)
@pytest.mark.parametrize(
    ("source", "how"),
    [
        ("/host/ro", "is"),
        ("/host//ro/", "is"),
        ("/host/./ro", "is"),
        ("/host/ro/deep", "lies beneath"),
        ("/host", "contains"),
    ],
)
def test_a_read_only_source_is_not_written_by_another_way(mode: str, source: str, how: str) -> None:
    parent = exports(("Restricted", "/ro", "/host/ro"))
    assert f"'/elsewhere' {how} '/host/ro'" in refused(parent, exports((mode, "/elsewhere", source)))


def test_the_root_of_the_host_contains_everything() -> None:
    found = faults(PARENT, exports(("Public", "/host", "/")))
    assert "contains" in found[0].message


@pytest.mark.parametrize("mode", READONLY)
def test_a_read_only_source_may_be_shown_read_only_elsewhere(mode: str) -> None:
    assert mounts(sealed(PARENT, exports((mode, "/again", "/host"))))["/again"] == (mode, "/host")


def test_what_an_ancestor_keeps_read_only_for_itself_is_sealed_too() -> None:
    parent = exports(("PrivateRestricted", "/own", "/host/own"))
    assert "read-only" in refused(parent, exports(("Public", "/x", "/host/own/deep")))
    assert mounts(sealed(parent, exports(("Tmpfs", "/own")))) == {"/own": ("Tmpfs", "")}


def test_a_losing_entry_with_a_sealed_source_is_still_an_attempt() -> None:
    parent = exports(("Restricted", "/ro", "/host/ro"), ("Public", "/rw", "/host/rw"))
    assert "'/host/ro'" in refused(parent, exports(("Public", "/rw", "/host/ro")))


def test_a_node_may_write_what_only_itself_shows_read_only() -> None:
    got = sealed(exports(("Restricted", "/ro", "/host"), ("Public", "/rw", "/host/rw")))
    assert len(mounts(got)) == 2


@pytest.mark.parametrize("source", ["/host/$(id)", "$(echo /host/ro)", "/free/$(echo ../host/ro)"])
def test_a_source_that_a_command_makes_cannot_be_proved(source: str) -> None:
    assert "cannot be told from" in faults(PARENT, exports(("Public", "/x", source)))[0].message


@pytest.mark.parametrize(
    "source", ["/proc/self/root/host/ro", "/proc/1/cwd", "/proc/self/fd/3", "/dev/fd/3", "/dev/stdin"]
)
def test_a_second_name_of_anything_is_not_a_writable_source(source: str) -> None:
    assert "cannot be told from" in faults(PARENT, exports(("Public", "/x", source)))[0].message
    assert mounts(sealed(PARENT, exports(("Restricted", "/x", source))))["/x"] == ("Restricted", source)


def test_a_source_that_varies_at_its_end_is_judged_by_how_it_begins() -> None:
    assert mounts(sealed(PARENT, exports(("Public", "/x", "/free/run-$PID"))))["/x"] == (
        "Public",
        "/free/run-$PID",
    )
    assert len(faults(PARENT, exports(("Public", "/x", "/host/$UUID")))) == 1
    assert len(faults(PARENT, exports(("Public", "/x", "/host/ro/$UUID")))) == 1
    assert len(faults(PARENT, exports(("Public", "/x", "/host/r$UUID")))) == 1
    assert faults(PARENT, exports(("Public", "/x", "/host/q$UUID"))) == ()


def test_a_read_only_source_that_a_command_makes_seals_everything() -> None:
    parent = exports(("Restricted", "/ro", "$(cat /where)"))
    assert "cannot be told from" in refused(parent, exports(("Public", "/x", "/free")))
    assert faults(parent, exports(("Restricted", "/x", "/free"))) == ()


def test_a_mount_that_is_its_own_source_is_judged_as_a_source() -> None:
    parent = exports(("Restricted", "/nodes/x", "/etc"))
    assert "contains" in faults(parent, exports(("Public", "/")))[0].message
    assert "lies beneath" in refused(parent, exports(("Public", "/etc/opt")))


# --- the configuration that binds a child is not the child's to write


@pytest.mark.parametrize(
    "source", ["/pool", "/pool/n0", "/pool/n0/etc", "/pool/n0/etc/redpak-admin.yaml", "/"]
)
def test_a_child_cannot_write_the_files_that_bind_it(source: str) -> None:
    assert "binds" in refused({}, exports(("Public", "/x", source)))


@pytest.mark.parametrize("source", ["$NODE_PATH", "$NODE_PATH/etc", "/pool/n0/var", "/pool/n0/etc/other"])
def test_a_child_may_write_its_own_directory_and_other_places(source: str) -> None:
    assert faults({}, exports(("Public", "/x", source))) == ()


def test_an_ancestor_may_open_its_configuration_to_its_descendants() -> None:
    parent = exports(("Public", "/conf", "$NODE_PATH"))
    assert faults(parent, exports(("Public", "/x", "/pool/n0/etc"))) == ()
    assert (
        len(faults(exports(("Private", "/conf", "$NODE_PATH")), exports(("Public", "/x", "/pool/n0/etc"))))
        == 1
    )


def test_what_the_ancestors_keep_read_only_is_told_to_whoever_looks_at_the_disk() -> None:
    top = exports(("PrivateRestricted", "/own", "/host/own"), ("Restricted", "/ro", "/host/ro"))
    got = sealed(top, exports(("Restricted", "/mine", "/host/mine")))
    assert [(one.mount, one.owner) for one in got.sealed] == [("/own", 0), ("/ro", 0)]


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/"])
def test_a_leafs_name_in_an_ancestors_path_is_one_component(name: str) -> None:
    top = exports(("Public", "/data", "/host/data/$LEAF_NAME"))
    found = [fault.message for fault in faults(top, {"name": name})]
    assert any("$LEAF_NAME cannot be a part of the path" in message for message in found)


def test_a_leafs_name_in_its_own_path_is_its_own_business() -> None:
    got = sealed(exports(), {"name": "a/b", **exports(("Public", "/data", "/host/data/$LEAF_NAME"))})
    assert mounts(got)["/data"] == ("Public", "/host/data/a/b")
