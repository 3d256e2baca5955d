"""Places inside a root: found and made, and never outside of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from redpak.engine.native import beneath


@pytest.fixture
def root(tmp_path: Path) -> Iterator[tuple[int, Path, Path]]:
    """Return a root's descriptor, its path, and a directory outside that nobody may write to."""
    inside, outside = tmp_path / "root", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    fd = os.open(inside, os.O_PATH | os.O_DIRECTORY)
    yield fd, inside, outside
    os.close(fd)


@pytest.mark.parametrize("walks", [False, True], ids=["openat2", "by hand"])
@pytest.mark.parametrize(
    "link", ["{outside}", "../outside", "../../../../../..{outside}", "/../../..{outside}/../outside"]
)
def test_a_link_never_leads_out(root: tuple[int, Path, Path], link: str, *, walks: bool) -> None:
    fd, inside, outside = root
    (inside / "data").symlink_to(link.format(outside=outside))
    make = beneath._walk if walks else None
    try:
        if make:
            at, _ = make(fd, "/data/deep/file", links=True, make="file")
        else:
            at = beneath.place(fd, "/data/deep/file", directory=False)
        assert os.readlink(f"/proc/self/fd/{at}").startswith(f"{inside}/")
        os.close(at)
    except OSError:
        pass  # refused is as good
    assert os.listdir(outside) == []


def test_what_is_missing_is_made_and_the_rest_is_kept(root: tuple[int, Path, Path]) -> None:
    fd, inside, _ = root
    (inside / "var").mkdir()
    (inside / "var/run").symlink_to("/run")
    for dst, directory in (("/var/run/secrets", True), ("/a/b/c", True), ("/a/b/file", False)):
        os.close(beneath.place(fd, dst, directory=directory))
    assert (inside / "run/secrets").is_dir()
    assert (inside / "a/b/c").is_dir()
    assert (inside / "a/b/file").read_bytes() == b""
    assert (inside / "a").stat().st_mode & 0o777 == 0o755


def test_a_link_is_refused_where_none_may_be(root: tuple[int, Path, Path]) -> None:
    fd, inside, _ = root
    (inside / "etc").mkdir()
    (inside / "proc").symlink_to("etc")
    with pytest.raises(OSError, match="symbolic links"):
        beneath.place(fd, "/proc", directory=True, links=False)


def test_links_in_a_circle_end(root: tuple[int, Path, Path]) -> None:
    fd, inside, _ = root
    (inside / "one").symlink_to("two")
    (inside / "two").symlink_to("one")
    with pytest.raises(OSError, match="symbolic links"):
        beneath.place(fd, "/one/file", directory=False)


def test_a_moved_place_is_noticed(root: tuple[int, Path, Path]) -> None:
    fd, inside, _ = root
    at = beneath.place(fd, "/here", directory=True)
    assert beneath.same(fd, "/here", at)
    (inside / "here").rename(inside / "there")
    assert not beneath.same(fd, "/here", at)
    (inside / "here").mkdir()
    assert not beneath.same(fd, "/here", at)
    os.close(at)
