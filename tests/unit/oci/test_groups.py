"""Which control groups a program is put into that joins a container."""

from __future__ import annotations

from pathlib import Path

import pytest

from redpak.cgroup.group import Group
from redpak.errors import RedpakError
from redpak.oci import groups


def folder(at: Path, *pids: int, controllers: str = "") -> Path:
    at.mkdir(parents=True, exist_ok=True)
    (at / "cgroup.procs").write_text("".join(f"{pid}\n" for pid in pids))
    (at / "cgroup.subtree_control").write_text(f"{controllers}\n")
    return at


def test_a_group_that_takes_processes_is_the_one(tmp_path: Path) -> None:
    own = Group({"": str(folder(tmp_path / "c", 7))})
    assert groups.joinable(own, 7).paths == own.paths


def test_where_the_container_has_groups_of_its_own_the_first_process_says_which(tmp_path: Path) -> None:
    folder(tmp_path / "c", controllers="pids")
    folder(tmp_path / "c/other", 77)
    leaf = folder(tmp_path / "c/init.scope", 7)
    own = Group({"": str(tmp_path / "c"), "freezer": "/elsewhere"})
    assert groups.joinable(own, 7).paths == {"": str(leaf), "freezer": "/elsewhere"}


def test_a_group_below_is_named_for_all_or_for_some_controllers(tmp_path: Path) -> None:
    one, two = folder(tmp_path / "one"), folder(tmp_path / "two")
    folder(one / "in")
    own = Group({"pids": str(one), "cpu": str(two)})
    assert groups.inner(own, ["pids:in"], "c").paths == {"pids": f"{one}/in", "cpu": str(two)}
    for word in ("in", "cpu:in", "pids:../two", "nothing:in"):
        with pytest.raises(RedpakError, match="no control group"):
            groups.inner(own, [word], "c")
    with pytest.raises(RedpakError, match="no control group"):
        groups.inner(None, ["in"], "c")
