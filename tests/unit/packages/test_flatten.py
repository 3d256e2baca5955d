"""A new tree out of an old one and an overlay's upper layer."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redpak.packages import flatten

WHITEOUT = "(whiteout)"


def make(folder: Path, content: Mapping[str, str]) -> Path:
    """Make files; a name that ends in '/' is a directory."""
    folder.mkdir()
    for name, data in content.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("/"):
            path.mkdir(exist_ok=True)
        elif data == WHITEOUT:
            os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(0, 0))  # anybody may, since Linux 5.8
        else:
            path.write_text(data)
    return folder


def content(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)) + ("/" if path.is_dir() else ""): ""
        if path.is_dir()
        else path.read_text()
        for path in folder.rglob("*")
    }


def everything(_: str) -> bool:
    return True


def test_unchanged_files_are_the_same_inode_and_changed_ones_are_moved(tmp_path: Path) -> None:
    old = make(tmp_path / "old", {"bin/a": "a", "bin/b": "b"})
    upper = make(tmp_path / "upper", {"bin/b": "new", "bin/c": "c"})
    flatten.flatten(str(old), str(upper), str(tmp_path / "new"), everything)
    assert content(tmp_path / "new") == {"bin/": "", "bin/a": "a", "bin/b": "new", "bin/c": "c"}
    assert (tmp_path / "new/bin/a").stat().st_ino == (old / "bin/a").stat().st_ino
    assert (old / "bin/b").read_text() == "b"


def test_a_whiteout_leaves_a_file_or_directory_out(tmp_path: Path) -> None:
    old = make(tmp_path / "old", {"a": "a", "d/x": "x", "e/y": "y"})
    upper = make(tmp_path / "upper", {"a": WHITEOUT, "d": WHITEOUT, "never": WHITEOUT, "new/gone": WHITEOUT})
    flatten.flatten(str(old), str(upper), str(tmp_path / "new"), lambda inner: inner != "/new")
    assert content(tmp_path / "new") == {"e/": "", "e/y": "y"}


def test_an_opaque_directory_hides_what_was_there(tmp_path: Path) -> None:
    old = make(tmp_path / "old", {"d/x": "x", "d/y": "y"})
    upper = make(tmp_path / "upper", {"d/z": "z"})
    os.setxattr(upper / "d", "user.overlay.opaque", b"y")
    flatten.flatten(str(old), str(upper), str(tmp_path / "new"), everything)
    assert content(tmp_path / "new") == {"d/": "", "d/z": "z"}
    assert os.listxattr(tmp_path / "new/d") == []


def test_a_file_takes_the_place_of_a_directory_and_the_other_way_round(tmp_path: Path) -> None:
    old = make(tmp_path / "old", {"was-directory/x": "x", "was-file": "f"})
    upper = make(tmp_path / "upper", {"was-directory": "now a file", "was-file/y": "y"})
    flatten.flatten(str(old), str(upper), str(tmp_path / "new"), everything)
    assert content(tmp_path / "new") == {"was-directory": "now a file", "was-file/": "", "was-file/y": "y"}


def test_directories_that_nobody_wants_go(tmp_path: Path) -> None:
    upper = make(tmp_path / "upper", {"made/deeper/": "", "owned/": "", "full/x": "x"})
    asked = []

    def keep(inner: str) -> bool:
        asked.append(inner)
        return inner == "/usr/owned"

    flatten.lift(str(upper), str(tmp_path / "new"), keep, "/usr")
    assert content(tmp_path / "new") == {"owned/": "", "full/": "", "full/x": "x"}
    assert "/usr/made/deeper" in asked and "/usr/full" not in asked


def test_modes_times_and_hard_links_stay(tmp_path: Path) -> None:
    old = make(tmp_path / "old", {"d/a": "a"})
    os.link(old / "d/a", old / "d/also-a")
    os.chmod(old / "d", 0o2750)
    os.utime(old / "d", (1000, 2000))
    upper = make(tmp_path / "upper", {"new": "x"})
    os.link(upper / "new", upper / "also-new")
    os.chmod(upper / "new", 0o4711)
    flatten.flatten(str(old), str(upper), str(tmp_path / "new"), everything)
    new = tmp_path / "new"
    assert new.joinpath("d").stat().st_mode & 0o7777 == 0o2750
    assert new.joinpath("d").stat().st_mtime == 2000
    assert new.joinpath("d/a").stat().st_ino == new.joinpath("d/also-a").stat().st_ino
    assert new.joinpath("new").stat().st_ino == new.joinpath("also-new").stat().st_ino
    assert new.joinpath("new").stat().st_mode & 0o7777 == 0o711  # nobody's rights


NAMES = st.sampled_from(["a", "b", "c"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)


def tidy(files: dict[str, str]) -> dict[str, str]:
    """Drop files that lie beneath another file."""
    return {
        path: data
        for path, data in files.items()
        if not any(path.startswith(other + "/") for other in files if other != path)
    }


@given(
    st.dictionaries(PATHS, st.just("old")).map(tidy),
    st.dictionaries(PATHS, st.sampled_from(["new", WHITEOUT])).map(tidy),
)
def test_flattening_is_what_the_overlay_showed(
    tmp_path_factory: pytest.TempPathFactory, old: dict[str, str], upper: dict[str, str]
) -> None:
    folder = tmp_path_factory.mktemp("trees")
    flatten.flatten(
        str(make(folder / "old", old)),
        str(make(folder / "upper", upper)),
        str(folder / "new"),
        lambda _: False,
    )
    hidden = {path for path in upper}
    expected = {
        path: data
        for path, data in old.items()
        if not any(path == one or path.startswith(one + "/") or one.startswith(path + "/") for one in hidden)
    }
    expected |= {path: data for path, data in upper.items() if data != WHITEOUT}
    # a directory of the upper layer, even one that holds only whiteouts, takes the place of a file
    found = {path: data for path, data in content(folder / "new").items() if not path.endswith("/")}
    assert found == expected
