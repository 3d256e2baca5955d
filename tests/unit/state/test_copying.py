"""Copies of files whose owner does not wish us well: sparse ones, deep ones, growing ones, and no files at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from redpak.errors import RedpakError, Refused
from redpak.state import changes, copying
from redpak.state.copying import Copied


def copied(source: Path, target: Path) -> Copied:
    """Copy a file or directory into a directory."""
    begin, end = copying.outside(str(source), must=True), copying.outside(str(target), must=False)
    try:
        return copying.copy(begin, end, name=source.name)
    finally:
        os.close(begin.folder)
        os.close(end.folder)


@pytest.fixture
def deep(tmp_path: Path) -> Iterator[Path]:
    """Return a directory with 1500 in each other, which no shutil.rmtree removes."""
    top = tmp_path / "deep"
    top.mkdir()
    at = os.open(top, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=at)
        below = os.open("d", os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    os.close(at)
    yield top
    for copy in (top, tmp_path / "target/deep"):
        while (copy / "d/d").exists():
            (copy / "d/d").rename(tmp_path / "rest")
            (copy / "d").rmdir()
            (tmp_path / "rest").rename(copy / "d")


@pytest.fixture
def target(tmp_path: Path) -> Path:
    (tmp_path / "target").mkdir()
    return tmp_path / "target"


def test_holes_stay_holes_so_that_a_terabyte_of_nothing_fills_no_disk(tmp_path: Path, target: Path) -> None:
    with (tmp_path / "big").open("wb") as file:
        file.write(b"begin")
        file.seek(1 << 39)
        file.write(b"middle")
        file.truncate(1 << 40)
    assert copied(tmp_path / "big", target).files == 1
    at = (target / "big").stat()
    assert at.st_size == 1 << 40
    assert at.st_blocks * 512 < 1 << 20
    with (target / "big").open("rb") as file:
        assert file.read(5) == b"begin"
        file.seek(1 << 39)
        assert file.read(6) == b"middle"


def test_a_file_that_is_all_hole_keeps_its_size(tmp_path: Path, target: Path) -> None:
    with (tmp_path / "hole").open("wb") as file:
        file.truncate(12345)
    copied(tmp_path / "hole", target)
    assert (target / "hole").read_bytes() == bytes(12345)


@pytest.mark.parametrize("size", [0, 1, 4096, (1 << 20) + 7])
def test_content_is_copied_to_the_byte(tmp_path: Path, target: Path, size: int) -> None:
    (tmp_path / "file").write_bytes(os.urandom(size))
    assert copied(tmp_path / "file", target).bytes == size
    assert (target / "file").read_bytes() == (tmp_path / "file").read_bytes()


def test_of_a_growing_file_there_is_what_it_had_at_first(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"x" * 5000)
    source = os.open(tmp_path / "log", os.O_RDONLY)
    into = os.open(tmp_path / "copy", os.O_RDWR | os.O_CREAT)
    with (tmp_path / "log").open("ab") as file:
        file.write(b"y" * 5000)  # after its size was asked
    assert copying._fill(source, into, 5000) == 5000
    assert (tmp_path / "copy").read_bytes() == b"x" * 5000
    os.close(source)
    os.close(into)


def test_a_file_that_shrinks_meanwhile_ends_the_copy(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"x" * 10)
    source = os.open(tmp_path / "log", os.O_RDONLY)
    into = os.open(tmp_path / "copy", os.O_RDWR | os.O_CREAT)
    assert copying._fill(source, into, 1 << 30) == 10
    os.close(source)
    os.close(into)


def test_a_file_of_proc_says_no_size_and_is_copied(target: Path) -> None:
    copied(Path("/proc/self/mountinfo"), target)
    assert b" / " in (target / "mountinfo").read_bytes()


def test_what_is_no_file_is_listed_and_the_rest_is_copied(tmp_path: Path, target: Path) -> None:
    (tmp_path / "tree").mkdir()
    os.mkfifo(tmp_path / "tree/fifo")
    (tmp_path / "tree/a\nb").write_text("newline")
    (tmp_path / "tree/link").symlink_to("/etc/passwd")
    done = copied(tmp_path / "tree", target)
    assert done.files == 2
    assert [word for word in done.refused if "fifo" in word and "a FIFO" in word] == list(done.refused)
    assert (target / "tree/a\nb").read_text() == "newline"
    assert os.readlink(target / "tree/link") == "/etc/passwd"


def test_a_tree_without_a_bottom_is_refused_and_not_a_traceback(deep: Path, target: Path) -> None:
    with pytest.raises(Refused, match="deeper than"):
        copied(deep, target)


def test_differences_of_a_tree_without_a_bottom_are_refused_and_not_a_traceback(deep: Path) -> None:
    at = os.open(deep, os.O_RDONLY)
    with pytest.raises(RedpakError, match="deeper than"):
        changes._walk(at, "/tmp", set(), set(), 0.0, [], set())
