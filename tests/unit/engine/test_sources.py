"""Resolving mount sources, component by component."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from redpak.engine.sources import Untrusted, beneath, make, resolve

ME = os.getuid()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a directory that nobody else may write to."""
    at = (tmp_path / "own").resolve()
    at.mkdir(mode=0o755)
    return at


def test_a_plain_path_is_itself(folder: Path) -> None:
    (folder / "a").mkdir()
    found = resolve(f"{folder}//a/.", trees=(), uid=ME)
    assert (found.path, stat.S_ISDIR(found.mode), found.absent) == (f"{folder}/a", True, ())


def test_our_own_link_in_our_own_directory_is_followed(folder: Path) -> None:
    (folder / "a").mkdir()
    os.symlink("a", folder / "relative")
    os.symlink(f"{folder}/relative/../relative", folder / "absolute")
    assert resolve(f"{folder}/absolute", trees=(), uid=ME).path == f"{folder}/a"


def test_a_link_inside_a_node_is_not(folder: Path) -> None:
    os.symlink("/etc", folder / "link")
    with pytest.raises(Untrusted, match="inside the node"):
        resolve(f"{folder}/link/passwd", trees=(str(folder),), uid=ME)


def test_a_link_of_somebody_else_is_not(folder: Path) -> None:
    os.symlink("/etc", folder / "link")
    with pytest.raises(Untrusted, match="of another user"):
        resolve(f"{folder}/link", trees=(), uid=ME + 1 if ME else 1) if ME else _as_another(folder)


def _as_another(folder: Path) -> None:
    os.lchown(folder / "link", 4242, 4242)
    resolve(f"{folder}/link", trees=(), uid=0)


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o775])
def test_a_link_where_others_may_write_is_not(folder: Path, mode: int) -> None:
    os.symlink("/etc", folder / "link")
    folder.chmod(mode)
    with pytest.raises(Untrusted, match="others may write"):
        resolve(f"{folder}/link", trees=(), uid=ME)


def test_what_is_missing_is_listed_parents_first(folder: Path) -> None:
    found = resolve(f"{folder}/a/b", trees=(), uid=ME)
    assert (found.path, found.mode, found.absent) == (f"{folder}/a/b", 0, (f"{folder}/a", f"{folder}/a/b"))


def test_nothing_is_looked_up_through_what_is_missing(folder: Path) -> None:
    with pytest.raises(FileNotFoundError):
        resolve(f"{folder}/a/../b", trees=(), uid=ME)


def test_loops_and_files_on_the_way_are_errors(folder: Path) -> None:
    os.symlink("loop", folder / "loop")
    (folder / "file").touch()
    with pytest.raises(OSError, match="symbolic links"):
        resolve(f"{folder}/loop", trees=(), uid=ME)
    with pytest.raises(NotADirectoryError):
        resolve(f"{folder}/file/x", trees=(), uid=ME)


def test_beneath_compares_whole_components() -> None:
    assert beneath("/a/b", ("/a",)) == "/a"
    assert beneath("/a", ("/a",)) == "/a"
    assert beneath("/ab", ("/a",)) == ""
    assert beneath("/ab", ("/",)) == "/"


def test_directories_are_made_without_following_links(folder: Path) -> None:
    victim = folder / "victim"
    victim.mkdir()
    os.symlink(victim, folder / "link")
    make([f"{folder}/a", f"{folder}/a/b"], 0o022)
    assert stat.S_IMODE((folder / "a" / "b").stat().st_mode) & 0o022 == 0
    with pytest.raises(OSError, match="link"):
        make([f"{folder}/link/c"])
    assert list(victim.iterdir()) == []
