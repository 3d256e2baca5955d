from __future__ import annotations

from typing import Any

import pytest

from redpak.engine.native.box import Attributes, Bind, IdMap, NewMount
from redpak.oci import mounts
from tests.oci_configs import faults, read, small, spaces

RDONLY, NOSUID, NODEV, NOEXEC = 1, 2, 4, 8
ATIME, NOATIME, STRICTATIME, NODIRATIME, NOSYMFOLLOW = 0x70, 0x10, 0x20, 0x80, 0x200000


def mounted(*options: str, kind: str = "bind", **more: object) -> list[Any]:
    """Return the steps of one mount."""
    entry = {"destination": "/at", "type": kind, "source": "/src", "options": list(options), **more}
    found = read(small(mounts=[entry])).box.steps
    return [step for step in found if step.dst == "/at"]


def bound(*options: str) -> Bind:
    (step,) = mounted("rbind", *options)
    assert isinstance(step, Bind)
    return step


@pytest.mark.parametrize(
    ("word", "set_", "clear"),
    [
        ("ro", RDONLY, 0), ("rw", 0, RDONLY), ("nosuid", NOSUID, 0), ("suid", 0, NOSUID), ("nodev", NODEV, 0),
        ("dev", 0, NODEV), ("noexec", NOEXEC, 0), ("exec", 0, NOEXEC), ("nodiratime", NODIRATIME, 0),
        ("diratime", 0, NODIRATIME), ("nosymfollow", NOSYMFOLLOW, 0), ("symfollow", 0, NOSYMFOLLOW),
        ("noatime", NOATIME, ATIME), ("strictatime", STRICTATIME, ATIME), ("relatime", 0, ATIME), ("atime", 0, ATIME),
    ],
)  # fmt: skip
def test_a_word_is_for_the_mount_and_with_an_r_for_all_below_as_well(
    word: str, set_: int, clear: int
) -> None:
    assert (bound(word).attr_set, bound(word).attr_clear) == (set_, clear)
    assert (bound("r" + word).rec_set, bound("r" + word).rec_clear) == (set_, clear)


def test_the_last_word_about_a_thing_counts() -> None:
    step = bound("ro", "noatime", "rw", "strictatime")
    assert (step.attr_set, step.attr_clear) == (STRICTATIME, ATIME | RDONLY)


def test_bind_is_of_one_mount_and_rbind_of_all_below() -> None:
    assert [step.recursive for step in mounted("bind") + mounted("rbind")] == [False, True]


def test_an_option_makes_a_bind_mount_of_any_type() -> None:
    assert all(
        isinstance(step, Bind) for step in mounted("rbind", kind="none") + mounted("bind", kind="tmpfs")
    )


def test_a_mount_without_a_type_is_a_bind_mount() -> None:
    entry = {"destination": "/at", "source": "/src"}
    assert isinstance(read(small(mounts=[entry])).box.steps[0], Bind)


def test_a_relative_source_of_a_bind_mount_lies_in_the_bundle() -> None:
    entry = {"destination": "/at", "source": "here", "type": "bind"}
    found = read(small(mounts=[entry]))
    (step,) = (one for one in found.box.steps if isinstance(one, Bind))
    assert step.source == f"{found.bundle}/here"


def test_a_bind_mount_has_a_source() -> None:
    assert faults(small(mounts=[{"destination": "/at", "type": "bind"}])) == ["mounts[0].source: is missing"]


def test_a_bind_mount_has_no_options_of_a_file_system() -> None:
    entry = {
        "destination": "/at",
        "source": "/src",
        "type": "bind",
        "options": ["bind", "size=1m", "mode=755"],
    }
    (told,) = faults(small(mounts=[entry]))
    assert told == "mounts[0].options: a bind mount has no file system of its own to take 'size=1m,mode=755'"


def test_propagation_words_are_kept_in_order() -> None:
    first, *more = mounted("rbind", "rslave", "shared")
    assert first.propagation == mounts.MS_SLAVE | mounts.MS_REC
    assert [(type(one), one.propagation) for one in more] == [(Attributes, mounts.MS_SHARED)]


def test_what_is_no_word_goes_to_the_file_system() -> None:
    (step,) = mounted("nosuid", "mode=755", "sync", "size=64k", "silent", "defaults", kind="tmpfs")
    assert isinstance(step, NewMount)
    assert (step.data, step.attr_set) == ("mode=755,sync,size=64k", NOSUID)


def test_a_tmpfs_becomes_read_only_when_all_is_in_it() -> None:
    first, last = mounted("ro", "nodev", kind="tmpfs")
    assert (first.attr_set, last) == (NODEV, Attributes(dst="/at", attr_set=RDONLY))
    (sysfs,) = mounted("ro", kind="sysfs")
    assert sysfs.attr_set == RDONLY


def test_tmpcopyup_is_for_a_tmpfs() -> None:
    (step,) = mounted("tmpcopyup", kind="tmpfs")
    assert step.copy_up
    assert faults(small(mounts=[{"destination": "/at", "type": "proc", "options": ["tmpcopyup"]}]))
    assert faults(
        small(mounts=[{"destination": "/a", "source": "/b", "type": "bind", "options": ["tmpcopyup"]}])
    )


def test_ids_of_a_bind_mount_are_mapped_as_it_says_or_as_the_container_is() -> None:
    own = [{"containerID": 0, "hostID": 7, "size": 3}]
    (step,) = mounted("rbind", "ridmap", uidMappings=own, gidMappings=own)
    one = (IdMap(inside=0, outside=7, count=3),)
    assert (step.idmap, step.idmap_recursive) == ((one, one), True)
    theirs = [{"containerID": 0, "hostID": 100, "size": 9}]
    data = small(
        linux__namespaces=spaces("mount", "user"), linux__uidMappings=theirs, linux__gidMappings=theirs,
        mounts=[{"destination": "/at", "source": "/s", "type": "bind", "options": ["bind", "idmap"]}],
    )  # fmt: skip
    two = (IdMap(inside=0, outside=100, count=9),)
    first = read(data).box.steps[0]
    assert isinstance(first, Bind)
    assert first.idmap == (two, two)


def test_a_mapping_that_cannot_be_is_refused() -> None:
    own = [{"containerID": 0, "hostID": 7, "size": 3}]
    bind = {"destination": "/at", "source": "/s", "type": "bind"}
    assert "no mappings" in faults(small(mounts=[{**bind, "options": ["idmap"]}]))[0]
    assert "both" in faults(small(mounts=[{**bind, "uidMappings": own}]))[0]
    assert (
        "only a bind mount"
        in faults(small(mounts=[{"destination": "/a", "type": "tmpfs", "uidMappings": own}]))[0]
    )


@pytest.mark.parametrize(
    ("given", "clean"),
    [("/a/b", "/a/b"), ("a/b", "/a/b"), ("//a/../b/.", "/b"), ("/../../etc", "/etc"), ("/a/", "/a")],
)
def test_destinations_are_paths_from_the_root(given: str, clean: str) -> None:
    found = read(small(mounts=[{"destination": given, "type": "tmpfs"}]))
    assert found.box.steps[0].dst == clean
    assert bool(found.warnings) == (given[0] != "/")


@pytest.mark.parametrize(
    "entry",
    [
        {"destination": "/", "type": "tmpfs"},
        {"destination": "/x/..", "type": "tmpfs"},
        {"destination": "/proc", "type": "tmpfs"},
        {"destination": "/proc", "type": "bind", "source": "/fake"},
        {"destination": "/proc/../proc", "type": "bind", "source": "/fake"},
        {"destination": "/proc/self/attr", "type": "bind", "source": "/fake"},
        {"destination": "/proc/sys/kernel", "type": "tmpfs"},
        {"destination": "/sys", "type": "proc"},
        {"destination": "/a\0b", "type": "tmpfs"},
        {"destination": "", "type": "tmpfs"},
        {"type": "tmpfs"},
        {"destination": "/a", "type": "tmpfs", "options": ["ro,rw"]},
        {"destination": "/a", "type": "tmpfs", "options": "ro"},
    ],
)
def test_a_mount_that_would_hide_the_kernels_word_or_is_no_mount_is_refused(entry: dict[str, object]) -> None:
    assert len(faults(small(mounts=[entry]))) == 1


@pytest.mark.parametrize("name", mounts.IN_PROC)
def test_some_files_of_proc_may_be_covered(name: str) -> None:
    assert not faults(small(mounts=[{"destination": name, "type": "bind", "source": "/lxcfs"}]))


def test_a_remount_changes_what_is_there() -> None:
    (step,) = mounted("remount", "ro", "nosuid")
    assert step == Attributes(dst="/at", attr_set=RDONLY | NOSUID)


def test_every_word_is_in_the_features() -> None:
    assert {"ro", "rro", "rnosymfollow", "idmap", "ridmap", "tmpcopyup", "runbindable", "sync"} <= set(
        mounts.words()
    )
    assert mounts.words() == sorted(set(mounts.words()))
