"""What programs of a node plant in it, for whoever changes its packages next, or launches it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from redpak.errors import RedpakError, Refused
from redpak.node import install, statefiles
from tests.conftest import Program
from tests.host.package_site import Place, comes, goes, snapshot
from tests.rpms import Maker

pytestmark = pytest.mark.needs("rpm", "bwrap")


@pytest.fixture
def maker(tmp_path: Path) -> Maker:
    return Maker(tmp_path / "made")


@pytest.fixture
def node(pool: Path, maker: Maker) -> Place:
    return Place(pool / "node", maker)


# ---- what programs of the node plant ----


def planted(node: Path, changes: list[dict[str, object]]) -> Path:
    """Make what looks like a generation whose state files still have to be put in place."""
    generation = node / ".redpak/generations/1"
    for name in ("tree", "rpmdb", "state", "before", "adopted"):
        (generation / name).mkdir(parents=True)
    (node / ".redpak/work").mkdir()
    (node / ".redpak/lock").touch()
    (generation / "pending").touch()
    whole = [{"kind": "file", "had": False, "stamp": "", **one} for one in changes]
    (generation / "state.json").write_text(json.dumps(whole))
    (node / ".redpak/current").symlink_to("generations/1")
    return generation


def attempt(node: Path) -> None:
    """Have the state files put in place; refusing is fine."""
    try:
        install.recover(str(node))
    except RedpakError:
        pass


@pytest.mark.parametrize("climb", ["../../victim", "etc/../../../victim", "/victim", "etc/./../../../victim"])
@pytest.mark.parametrize("kind", ["file", "gone", "directory"])
def test_planted_state_reaches_nothing_outside_of_the_node(
    node: Place, tmp_path: Path, climb: str, kind: str
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    generation = planted(node.path, [{"path": climb, "kind": kind, "had": True}])
    ready = generation / "state/x/y/z/evil"
    ready.parent.mkdir(parents=True)
    for at in (generation.parent / "victim", generation / "victim", generation.parent.parent / "victim"):
        at.write_text("evil")
    attempt(node.path)
    assert victim.read_text() == "mine"
    assert not (tmp_path.parent / "victim").exists()


def test_planted_state_fetches_nothing_from_outside(node: Place, tmp_path: Path) -> None:
    secret = tmp_path / "keys/secret"
    secret.parent.mkdir()
    secret.write_text("mine")
    generation = planted(node.path, [{"path": "etc/secret"}, {"path": "etc/keys/secret"}])
    (generation / "state").rmdir()
    (generation / "state").symlink_to(secret.parent.parent)
    (secret.parent.parent / "etc").symlink_to(secret.parent)
    attempt(node.path)
    assert secret.read_text() == "mine"
    assert not (node.path / "etc/secret").exists()


def test_a_link_in_the_place_of_the_packages_directory_is_not_followed(
    node: Place, maker: Maker, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    for name in ("work/project", "generations/3/tree", "history"):
        (other / name).mkdir(parents=True)
    (other / "work/project/thesis").write_text("years of work")
    (node.path / ".redpak").symlink_to(other)
    before = snapshot(other)
    attempt(node.path)
    with pytest.raises(RedpakError):
        node.change(maker.rpm("app"))
    assert snapshot(other) == before


@pytest.mark.parametrize("inner", ["work", "generations", "history", "keys"])
def test_a_link_in_the_packages_directory_is_not_followed(
    node: Place, maker: Maker, tmp_path: Path, inner: str
) -> None:
    other = tmp_path / "other"
    (other / "project").mkdir(parents=True)
    (other / "7").mkdir()
    (other / "project/thesis").write_text("years of work")
    folder = node.path / ".redpak"
    folder.mkdir()
    (folder / inner).symlink_to(other)
    before = snapshot(other)
    try:
        node.change(maker.rpm("app"))
        node.change(maker.rpm("bpp"), keep=1)
    except RedpakError:
        pass
    assert snapshot(other) == before


@pytest.mark.parametrize("inner", ["var/lib", "var/lib/rpm", "var"])
def test_the_database_is_mounted_over_no_directory_of_the_host(
    node: Place, maker: Maker, tmp_path: Path, inner: str
) -> None:
    other = tmp_path / "other"
    (other / "lib/rpm").mkdir(parents=True)
    (other / "rpm").mkdir()
    at = node.path / inner
    at.parent.mkdir(parents=True, exist_ok=True)
    if at.is_dir():
        for one in sorted(at.rglob("*"), reverse=True):
            one.rmdir()
        at.rmdir()
    at.symlink_to(other)
    before = snapshot(other)
    try:
        node.change(maker.rpm("app", files={"/usr/share/app/x": "x"}))
    except RedpakError as error:
        assert "link" in str(error)
    assert snapshot(other) == before


@pytest.mark.parametrize("planter", ["link", "fifo", "directory", "hard link"])
def test_what_a_program_puts_in_the_way_of_state_files_is_replaced_or_left(
    node: Place, maker: Maker, tmp_path: Path, planter: str
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o700)
    (outside / "app.conf").write_text("mine")
    folder = node.path / "var/lib/app"
    node.change(maker.rpm("app", files={"/var/lib/app/app.conf": "1\n", "/var/lib/app/more/x": "1\n"}))
    if planter == "link":
        (folder / "app.conf").unlink()
        (folder / "more/x").unlink()
        (folder / "more").rmdir()
        (folder / "app.conf").symlink_to(outside / "app.conf")
        (folder / "more").symlink_to(outside)
    elif planter == "fifo":
        (folder / "app.conf").unlink()
        os.mkfifo(folder / "app.conf")
    elif planter == "directory":
        (folder / "app.conf").unlink()
        (folder / "app.conf/x").mkdir(parents=True)
    else:
        (folder / "app.conf").unlink()
        os.link(outside / "app.conf", folder / "app.conf")
    before = snapshot(outside), outside.stat().st_mode
    new = maker.rpm("app", "2", files={"/var/lib/app/app.conf": "2\n", "/var/lib/app/more/x": "2\n"})
    try:
        node.change(comes(new, "upgrade", replaces=["app-1-1.x86_64"]))
        node.change(goes("app-2-1.x86_64"))
    except RedpakError:
        pass
    assert (snapshot(outside), outside.stat().st_mode) == before


@pytest.mark.needs("root")
@pytest.mark.parametrize("owned", ["node", "packages"])
def test_root_does_not_work_on_what_another_user_can_prepare(node: Place, maker: Maker, owned: str) -> None:
    node.change(maker.rpm("app"))
    os.chown(node.path if owned == "node" else node.path / ".redpak", 4711, 4711)
    before = snapshot(node.path / ".redpak")
    with pytest.raises(Refused, match="4711"):
        node.change(maker.rpm("bpp"))
    with pytest.raises(Refused, match="4711"):
        install.collect(str(node.path), keep=1)
    (node.generation / "pending").touch()
    with pytest.raises(Refused, match="4711"):
        install.recover(str(node.path))
    (node.generation / "pending").unlink()
    assert snapshot(node.path / ".redpak") == before


@pytest.mark.needs("root")
def test_a_launch_by_root_does_not_finish_what_another_user_left(
    node: Place, maker: Maker, redpak: Program
) -> None:
    node.change(maker.rpm("app"))
    (node.generation / "pending").touch()
    os.chown(node.path, 4711, 4711)
    ran = redpak("run", node.path, "--", "true")
    assert ran.code == 3 and "redpak node recover" in ran.err, ran


def test_a_fifo_is_waited_for_by_nobody(node: Place, maker: Maker, redpak: Program) -> None:
    node.change(maker.rpm("app"))
    child = Place(node.path / "child", maker)
    (node.path / ".redpak/lock").unlink()
    os.mkfifo(node.path / ".redpak/lock")
    (child.path / ".redpak/keys").mkdir(parents=True)
    os.mkfifo(child.path / ".redpak/keys/x.asc")
    (child.path / "etc/yum.repos.d").mkdir(parents=True, exist_ok=True)
    os.mkfifo(child.path / "etc/yum.repos.d/x.repo")
    ran = redpak("node", "install", child.path, "-y", "nothing", timeout_s=30)
    assert ran.code != 0


def test_history_with_names_that_are_no_numbers_is_no_crash(node: Place, maker: Maker) -> None:
    node.change(maker.rpm("app"))
    (node.path / ".redpak/history").mkdir(exist_ok=True)
    (node.path / ".redpak/history/².json").write_text("{}")
    (node.path / ".redpak/generations/²").mkdir()
    assert [entry.id for entry in install.history(node.site)] == [1]
    node.change(maker.rpm("bpp"))


def test_state_lists_from_elsewhere_are_judged(tmp_path: Path) -> None:
    for path in (
        "../x",
        "etc/../x",
        "/etc/x",
        "",
        "usr/bin/x",
        ".redpak/x",
        "etc//x",
        "etc/x/",
        "etc/./x",
        "etc/\0",
    ):
        (tmp_path / "state.json").write_text(
            json.dumps([{"path": path, "kind": "file", "had": False, "stamp": ""}])
        )
        with pytest.raises(RedpakError):
            statefiles.read(str(tmp_path / "state.json"))


@pytest.mark.parametrize("when", ["done meanwhile", "still at it"])
def test_a_launch_waits_for_state_files_that_somebody_puts_in_place(
    node: Place, maker: Maker, redpak: Program, when: str
) -> None:
    from redpak.fs import locked

    node.change(maker.rpm("app"))
    if when == "still at it":
        (node.generation / "pending").touch()
    with locked(str(node.path / ".redpak/lock"), "test"):
        ran = redpak("run", node.path, "--", "true")
    assert ran.code == (5 if when == "still at it" else 0), ran
