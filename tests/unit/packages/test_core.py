"""One form for the packages of every kind of layer."""

from __future__ import annotations

from pathlib import Path

import pytest

from redpak.packages import core
from redpak.packages.model import Layer
from tests.rpms import Maker


@pytest.mark.needs("rpm")
def test_the_keys_in_a_database_are_no_packages(tmp_path: Path) -> None:
    import subprocess

    maker = Maker(tmp_path)
    maker.database([maker.rpm("one")], tmp_path / "db")
    subprocess.run(["rpmkeys", f"--dbpath={tmp_path}/db", "--import", maker.key_file], check=True)
    layer = Layer(name="n", kind="node", path=str(tmp_path), database="rpm", rpmdb=str(tmp_path / "db"))
    assert [header.name for header in core.headers(layer)] == ["one"]


def test_a_node_that_has_nothing_has_no_packages(tmp_path: Path) -> None:
    layer = Layer(
        name="n", kind="node", path=str(tmp_path), database="rpm", rpmdb=str(tmp_path / "var/lib/rpm")
    )
    assert core.headers(layer) == []
    assert core.stamp(layer) == ""
    assert core.headers(layer.but(database="none", rpmdb="")) == []


@pytest.mark.needs("rpm")
def test_the_stamp_changes_with_the_packages(tmp_path: Path) -> None:
    maker = Maker(tmp_path)
    layer = Layer(name="n", kind="node", path=str(tmp_path), database="rpm", rpmdb=str(tmp_path / "db"))
    maker.database([maker.rpm("one")], tmp_path / "db")
    before = core.stamp(layer)
    assert before == core.stamp(layer)
    maker.database([maker.rpm("two")], tmp_path / "db")
    assert core.stamp(layer) != before
