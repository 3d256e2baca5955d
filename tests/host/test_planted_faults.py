"""More than a hundred trees, each with one fault: it is found and named rightly, and the healthy tree has none."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from redpak.node import prove_cache
from redpak.packages.finding import KINDS
from tests.mutants import CLASHES, MUTANTS, WANTED, Mutant
from tests.planted import World

pytestmark = pytest.mark.needs("rpm", "cc")


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("world"))


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep proofs in the test's own directory."""
    monkeypatch.setattr(prove_cache, "FOLDER", str(tmp_path / "proofs"))


def test_there_are_more_than_a_hundred_faults_of_every_class() -> None:
    assert len(MUTANTS) >= 100
    assert {mutant.kind for mutant in MUTANTS} >= {
        "missing-requirement", "conflict", "obsoleted", "shadowed-file", "shadowed-library", "changed-file",
        "changed-header", "missing-signature", "wrong-signature", "older-metadata", "loosened-setting",
        "missing-source",
    }  # fmt: skip


def test_the_healthy_tree_has_no_fault(world: World, tmp_path: Path) -> None:
    tree = world.copy(tmp_path)
    assert tree.faults() == []
    assert tree.prove().coherent
    assert tree.prove(fresh=True).coherent


@pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.name for mutant in MUTANTS])
def test_a_planted_fault_is_found_and_named(mutant: Mutant, world: World, tmp_path: Path) -> None:
    tree = world.copy(tmp_path)
    assert tree.faults() == []
    mutant.spoil(tree)
    faults = tree.faults()
    named = [
        one for one in faults if one.kind == mutant.kind and one.name == mutant.node
        and mutant.what in f"{one.package} {one.file} {one.text}"
    ]  # fmt: skip
    others = {one.kind for one in faults} - {mutant.kind, *mutant.also}
    if mutant.kind == "changed-header" and not named:  # the flipped bit made the whole database unreadable
        named = [
            one for one in faults if one.kind in ("database", "wrong-signature") and one.name == mutant.node
        ]
    assert named, faults
    assert {one.kind for one in faults} <= KINDS.keys()
    assert not others, faults


def refused(database: Path, *rpms: str) -> bool:
    """Tell whether rpm itself would refuse to install packages beside those of a database."""
    options = ("--force-debian", "--nosignature", "--ignoresize", "--noplugins", "-U", "--test")
    done = subprocess.run(
        ["rpm", "--dbpath", str(database), *options, *rpms], capture_output=True, check=False
    )
    return done.returncode != 0


@pytest.fixture(scope="session")
def merged(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the database of a whole family, as rpm sees it in a transaction."""
    place = tmp_path_factory.mktemp("merged")
    world.maker.database([*world.rpms["core"], *world.rpms["platform"], *world.rpms["app"]], place)
    return place


def test_rpm_agrees_that_the_healthy_family_fits(world: World, tmp_path: Path) -> None:
    assert not refused(tmp_path, *world.rpms["core"], *world.rpms["platform"], *world.rpms["app"])


@pytest.mark.parametrize(("name", "dep"), [*WANTED, *CLASHES, ("nothing", "")])
def test_rpm_solver_and_walk_agree_about_each_dependency(
    name: str, dep: str, world: World, merged: Path, tmp_path: Path
) -> None:
    tree = world.copy(tmp_path)
    asked = {"requires" if (name, dep) in WANTED else "conflicts": [dep] if dep else []}
    bad = world.maker.rpm("bad", "1", arch="noarch", folder=tmp_path, **asked)  # type: ignore[arg-type]
    tree.add("app", bad)
    report = tree.prove()
    assert (refused(merged, bad), not report.coherent) == (bool(dep), bool(dep))
    assert "disagreement" not in {
        one.kind for member in report.members for one in (*member.faults, *member.notes)
    }
