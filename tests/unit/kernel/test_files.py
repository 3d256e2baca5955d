"""Paths opened under rules: by openat2, and step by step where the kernel has none. Both must agree."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from redpak.kernel import files, libc
from redpak.kernel.files import (
    RESOLVE_BENEATH,
    RESOLVE_IN_ROOT,
    RESOLVE_NO_MAGICLINKS,
    RESOLVE_NO_SYMLINKS,
    RESOLVE_NO_XDEV,
)

PLAIN = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    at = tmp_path.resolve()
    (at / "dir/deep").mkdir(parents=True)
    (at / "dir/file").write_text("content")
    (at / "link").symlink_to("dir")
    (at / "dir/link").symlink_to("file")
    (at / "dir/dangling").symlink_to("nowhere")
    return at


def outcome(path: str, flags: int, resolve: int, directory: int) -> tuple[int, str]:
    """Return (errno, where the descriptor leads)."""
    try:
        fd = files.openat2(path, flags, resolve, directory=directory)
    except OSError as error:
        return error.errno or -1, ""
    try:
        assert not os.get_inheritable(fd)
        return 0, os.readlink(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)


PATHS = (
    "dir", "dir/", "dir/file", "./dir//deep/.", "link", "link/file", "dir/link", "dir/dangling", "none", "dir/none",
    "dir/file/x", "/dir/file", ".", "dir/deep",
)  # fmt: skip


@pytest.mark.parametrize(
    "flags", [os.O_PATH, os.O_RDONLY, os.O_PATH | os.O_DIRECTORY, os.O_PATH | os.O_NOFOLLOW]
)
@pytest.mark.parametrize("resolve", [PLAIN, PLAIN | RESOLVE_BENEATH, PLAIN | RESOLVE_IN_ROOT])
def test_the_walk_opens_what_openat2_opens(
    tree: Path, monkeypatch: pytest.MonkeyPatch, flags: int, resolve: int
) -> None:
    top = os.open(tree, os.O_PATH)
    paths = [one for one in PATHS if one[0] != "/" or resolve != PLAIN] + [str(tree / "dir/file")]
    with_it = {path: outcome(path, flags, resolve, top) for path in paths}
    monkeypatch.setitem(libc.NUMBERS, "openat2", -1)
    without = {path: outcome(path, flags, resolve, top) for path in paths}
    os.close(top)
    assert without == with_it
    assert with_it["link"][0] == (0 if flags & os.O_NOFOLLOW else errno.ELOOP) or flags & os.O_DIRECTORY
    assert with_it["link/file"][0] == errno.ELOOP


def test_the_walk_does_not_leave_a_mount(monkeypatch: pytest.MonkeyPatch) -> None:
    root = os.open("/", os.O_PATH)
    rules = PLAIN | RESOLVE_NO_XDEV
    with_it = [outcome(path, os.O_PATH, rules, root)[0] for path in ("proc", "proc/self", "usr")]
    monkeypatch.setitem(libc.NUMBERS, "openat2", -1)
    assert [outcome(path, os.O_PATH, rules, root)[0] for path in ("proc", "proc/self", "usr")] == with_it
    os.close(root)
    assert with_it[0] == errno.EXDEV


def test_what_cannot_be_walked_safely_is_refused(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(libc.NUMBERS, "openat2", -1)
    top = os.open(tree, os.O_PATH)
    assert outcome("dir/../dir", os.O_PATH, PLAIN, top)[0] == errno.ENOSYS
    assert outcome("dir", os.O_PATH, RESOLVE_IN_ROOT, top)[0] == errno.ENOSYS
    os.close(top)


def test_the_walk_leaves_nothing_open(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(libc.NUMBERS, "openat2", -1)
    top = os.open(tree, os.O_PATH)
    before = os.listdir("/proc/self/fd")
    for path in PATHS:
        outcome(path, os.O_PATH, PLAIN | RESOLVE_IN_ROOT | RESOLVE_NO_XDEV, top)
    assert len(os.listdir("/proc/self/fd")) == len(before)
    os.close(top)
