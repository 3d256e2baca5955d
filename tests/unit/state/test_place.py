"""The runtime directory is ours alone, or it is refused."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from redpak.errors import Refused
from redpak.state import place


def test_nothing_is_made_by_looking(runtime: Path) -> None:
    assert place.existing() == ""
    assert not runtime.exists()


def test_it_is_made_for_its_owner_alone_whatever_the_umask(runtime: Path) -> None:
    before = os.umask(0)
    try:
        assert place.ready("starting") == f"{runtime}/starting"
    finally:
        os.umask(before)
    for at in (runtime, runtime / "starting"):
        assert stat.S_IMODE(at.stat().st_mode) == 0o700
    assert place.existing() == str(runtime)


def test_a_planted_symlink_is_refused(runtime: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    runtime.symlink_to(tmp_path / "elsewhere")
    for ask in (place.ready, place.existing):
        with pytest.raises(Refused, match="is no directory"):
            ask()
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_planted_file_is_refused(runtime: Path) -> None:
    runtime.write_text("")
    with pytest.raises(Refused, match="is no directory"):
        place.ready()


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o701, 0o1777])
def test_a_directory_that_is_open_to_others_is_refused(runtime: Path, mode: int) -> None:
    runtime.mkdir()
    runtime.chmod(mode)
    with pytest.raises(Refused, match="open to other users"):
        place.existing()


@pytest.mark.needs("root")
def test_a_directory_of_somebody_else_is_refused(runtime: Path) -> None:
    runtime.mkdir(mode=0o700)
    os.chown(runtime, 12345, 12345)
    with pytest.raises(Refused, match=r"another user \(uid 12345\)"):
        place.ready()


@pytest.mark.needs("root")
def test_roots_is_in_run_whatever_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(place.NAMED)
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1000")
    assert place.directory() == "/run/redpak"


@pytest.mark.needs("user")
def test_a_users_lies_in_a_directory_of_the_session_that_is_the_users_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(place.NAMED)
    mine = tmp_path / "session"
    mine.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(mine))
    assert place.directory() == f"{mine}/redpak"
    mine.chmod(0o777)  # anybody could put another directory in
    assert place.directory() != f"{mine}/redpak"
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/")
    assert place.directory() in (f"/run/user/{os.geteuid()}/redpak", f"/tmp/redpak-{os.geteuid()}")
