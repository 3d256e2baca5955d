"""Enabling, disabling, moving and deleting nodes."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from redpak.errors import BadConfig, Busy, NotFound, Refused
from redpak.fs import locked
from redpak.node import guard, status, tree, writing
from redpak.node.change import delete, move, set_state
from redpak.node.create import create
from redpak.packages.model import Site


@pytest.fixture
def nodes(pool: Path) -> Path:
    """Return a pool with system, plat and plat/app."""
    create(str(pool / "plat"))
    create(str(pool / "plat/app"))
    return pool


def test_a_node_is_disabled_and_enabled(nodes: Path) -> None:
    assert set_state(str(nodes / "plat"), "Disable")
    assert not set_state(str(nodes / "plat"), "Disable")
    with pytest.raises(Refused, match="not enabled"):
        tree.family(str(nodes / "plat/app"))
    before = status.read(str(nodes / "plat"), [])
    assert set_state(str(nodes / "plat"), "Enable")
    after = status.read(str(nodes / "plat"), [])
    assert before is not None
    assert after == before.but(state="Enable")


def test_enabling_repairs_a_status_that_cannot_be_read(nodes: Path) -> None:
    (nodes / "plat/.rednode.yaml").write_text("what?")
    set_state(str(nodes / "plat"), "Enable")
    assert tree.family(str(nodes / "plat/app")).nodes[1].state == "Enable"


def test_only_nodes_can_be_changed(nodes: Path) -> None:
    (nodes / "plain").mkdir()
    (nodes / "link").symlink_to(nodes / "plat")
    for act in (lambda at: set_state(at, "Disable"), delete, lambda at: move(at, str(nodes / "z"))):
        for name in ("plain", "nothing"):
            with pytest.raises(NotFound):
                act(str(nodes / name))
        with pytest.raises(Refused, match="symbolic link"):
            act(str(nodes / "link"))
    with pytest.raises(NotFound):
        delete("/")
    assert (nodes / "plat/app").is_dir()


def test_a_moved_node_takes_its_children_and_its_records_along(nodes: Path) -> None:
    create(str(nodes / "other"))
    moved = move(str(nodes / "plat"), str(nodes / "other/plat"))
    assert moved == [str(nodes / "other/plat"), str(nodes / "other/plat/app")]
    assert not (nodes / "plat").exists()
    for path in moved:
        now = status.read(path, [])
        assert now is not None
        assert now.realpath == path
    aliases = [node.alias for node in tree.family(moved[1]).nodes]
    assert aliases == ["system", "other", "plat", "app"]


def test_a_node_is_not_moved_over_or_into_anything(nodes: Path) -> None:
    create(str(nodes / "other"))
    (nodes / "empty").mkdir()
    for target, why in (
        ("other", "exists already"),
        ("empty", "exists already"),
        ("plat/app/plat", "into itself"),
        ("plat", "into itself"),
    ):
        with pytest.raises(Refused, match=why):
            move(str(nodes / "plat"), str(nodes / target))
    assert tree.is_node(str(nodes / "plat/app"))


def test_a_node_is_not_moved_where_its_alias_is_taken(nodes: Path) -> None:
    create(str(nodes / "other"), alias="o")
    create(str(nodes / "other/twin"), alias="app-2")
    create(str(nodes / "plat/twin"), alias="o-2")
    (nodes / "plat/twin/etc/redpak.yaml").write_text("headers:\n  alias: o\n")
    with pytest.raises(Refused, match="alias 'o' is taken"):
        move(str(nodes / "plat"), str(nodes / "other/plat"))


def test_a_node_is_not_moved_where_it_could_not_start(nodes: Path, tmp_path: Path) -> None:
    config = tmp_path / "loose.yaml"
    config.write_text("headers:\n  alias: x\nconfig:\n  share_pid: enabled\n")
    away = tmp_path / "away"
    away.mkdir()
    create(str(away / "loose"), config=str(config), system_node=False)
    with pytest.raises(BadConfig):
        move(str(away / "loose"), str(nodes / "plat/loose"))
    assert tree.is_node(str(away / "loose"))


def test_a_node_is_not_moved_to_another_file_system(nodes: Path) -> None:
    away = Path(tempfile.mkdtemp(dir="/dev/shm"))
    try:
        if away.stat().st_dev == nodes.stat().st_dev:
            pytest.skip("/dev/shm is no file system of its own")
        with pytest.raises(Refused, match="another file system"):
            move(str(nodes / "plat"), str(away / "plat"))
    finally:
        away.rmdir()
    assert tree.is_node(str(nodes / "plat/app"))


def test_deleting_takes_children_only_when_told_so(nodes: Path) -> None:
    with pytest.raises(Refused, match="1 node beneath"):
        delete(str(nodes / "plat"))
    assert tree.is_node(str(nodes / "plat/app"))
    assert delete(str(nodes / "plat"), recursive=True) == [str(nodes / "plat"), str(nodes / "plat/app")]
    assert not (nodes / "plat").exists()
    assert not list(nodes.glob(f"{guard.ASIDE}*"))
    assert tree.is_node(str(nodes))


def test_deleting_follows_no_link_and_empties_what_is_closed(nodes: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "precious").write_text("still here")
    app = nodes / "plat/app"
    (app / "usr/link").symlink_to(victim)
    (app / "usr/file-link").symlink_to(victim / "precious")
    os.link(victim / "precious", app / "usr/hard")
    closed = app / "var/closed/deep"
    closed.mkdir(parents=True)
    (closed / "file").write_text("x")
    closed.chmod(0o500)
    closed.parent.chmod(0)
    os.mkfifo(app / "usr/fifo")
    delete(str(app))
    assert not app.exists()
    assert (victim / "precious").read_text() == "still here"


def test_deleting_goes_deeper_than_descriptors_or_python_reach(nodes: Path) -> None:
    here = os.open(nodes / "plat/app/usr", os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    delete(str(nodes / "plat/app"))
    assert not (nodes / "plat/app").exists()


def test_somebody_elses_work_is_waited_for_then_busy(nodes: Path) -> None:
    fd = os.open(nodes, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        with pytest.raises(Busy, match="another command"), guard.holding(str(nodes), "test", patience_s=0):
            pass
    finally:
        os.close(fd)
    with guard.holding(str(nodes), "test", patience_s=0):
        pass


def test_what_a_killed_command_left_is_removed_by_the_next(nodes: Path) -> None:
    left = nodes / f"{guard.ASIDE}1-abc"
    (left / "usr").mkdir(parents=True)
    (left / "usr/file").write_text("x")
    create(str(nodes / "next"))
    assert not left.exists()


@contextmanager
def changing(node: Path, kind: int) -> Iterator[None]:
    """Hold a node's package lock as a transaction does: its own alone, those above it shared."""
    (node / ".redpak").mkdir(exist_ok=True)
    with (node / ".redpak/lock").open("a") as lock:
        fcntl.flock(lock, kind)
        yield


@pytest.mark.parametrize(
    ("at", "kind"), [("plat", fcntl.LOCK_EX), ("plat/app", fcntl.LOCK_EX), ("plat", fcntl.LOCK_SH)]
)
def test_a_node_stays_where_it_is_while_packages_in_or_beneath_it_change(
    nodes: Path, at: str, kind: int
) -> None:
    with changing(nodes / at, kind), pytest.raises(Busy, match="being changed"):
        move(str(nodes / "plat"), str(nodes / "new"))
    with changing(nodes / at, kind), pytest.raises(Busy, match="being changed"):
        delete(str(nodes / "plat"), recursive=True)
    assert (nodes / "plat/app/.rednode.yaml").exists()
    assert move(str(nodes / "plat"), str(nodes / "new")) == [str(nodes / "new"), str(nodes / "new/app")]


class Stale(locked):
    """A lock whose directory is moved away between opening and holding it."""

    def __enter__(self) -> locked:
        super().__enter__()
        folder = Path(self.path).parent
        folder.rename(folder.with_name("gone"))
        return self


def test_a_writer_whose_node_was_moved_while_it_waited_gives_up(nodes: Path) -> None:
    (nodes / "plat/.redpak").mkdir()
    late = writing.holding(str(nodes / "plat"), "install")
    late.lock = Stale(late.lock.path, "install")
    with pytest.raises(Busy, match="moved or deleted"), late:
        pass


def test_what_changed_beneath_since_it_was_proved_is_noticed(nodes: Path) -> None:
    site = Site(path=str(nodes / "plat"), is_node=True, layers=(), arch="x86_64")
    proved = writing.below(site.path)
    assert proved == {str(nodes / "plat/app"): ""}
    writing.unchanged(site, proved)
    with changing(nodes / "plat/app", fcntl.LOCK_EX), pytest.raises(Busy, match="being changed"):
        writing.unchanged(site, proved)
    (nodes / "plat/app/.redpak/current").symlink_to("generations/1")
    with pytest.raises(Busy, match="plat/app' were changed"):
        writing.unchanged(site, proved)
    writing.unchanged(site, None)
    writing.unchanged(site, writing.below(site.path))
    create(str(nodes / "plat/new"))
    with pytest.raises(Busy, match="plat/new' were changed"):
        writing.unchanged(site, {str(nodes / "plat/app"): "generations/1"})
