"""A kept filter is used for exactly the section that it was compiled from, and only when it is ours alone."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from redpak.engine.native.box import Filter
from redpak.oci import filtercache, seccomp
from redpak.oci.parts import Faults, Part
from tests.oci_configs import real

SECTION: dict[str, Any] = real("podman")["linux"]["seccomp"]


def read(section: dict[str, Any], folder: Path) -> Filter | None:
    return filtercache.read(Part(section, "s", Faults()), str(folder))


def compiled(section: dict[str, Any]) -> Filter | None:
    return seccomp.read(Part(section, "s", Faults()))


def planted(folder: Path, section: dict[str, Any]) -> Path:
    """Keep a filter, and put another program into the file."""
    read(section, folder)
    (path,) = folder.iterdir()
    path.write_bytes(path.read_bytes() + b"planted!")
    return path


def test_it_is_the_same_from_the_cache(tmp_path: Path) -> None:
    first, second = read(SECTION, tmp_path), read(SECTION, tmp_path)
    assert first == second == compiled(SECTION)
    assert len(list(tmp_path.iterdir())) == 1


def test_the_cache_is_used(tmp_path: Path) -> None:
    planted(tmp_path, SECTION)
    found = read(SECTION, tmp_path)
    assert found is not None
    assert found.program.endswith(b"planted!")


def test_a_listener_is_kept_with_its_filter(tmp_path: Path) -> None:
    section = {
        "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/run/l", "listenerMetadata": "ä\n",
        "flags": ["SECCOMP_FILTER_FLAG_LOG"], "syscalls": [{"names": ["mknod"], "action": "SCMP_ACT_NOTIFY"}],
    }  # fmt: skip
    assert read(section, tmp_path) == read(section, tmp_path) == compiled(section)


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_what_others_could_have_written_is_not_used(mode: int, tmp_path: Path) -> None:
    planted(tmp_path, SECTION).chmod(mode)
    assert read(SECTION, tmp_path) == compiled(SECTION)


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    path = planted(tmp_path, SECTION)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert read(SECTION, tmp_path) == compiled(SECTION)


def test_another_section_or_a_broken_file_is_compiled_anew(tmp_path: Path) -> None:
    path = planted(tmp_path, SECTION)
    other = {**SECTION, "defaultErrnoRet": 5}
    assert read(other, tmp_path) == compiled(other)
    path.write_bytes(b"nonsense")
    assert read(SECTION, tmp_path) == compiled(SECTION)
    whole = path.read_bytes()
    path.write_bytes(whole[: whole.index(b"\n") + 1] + b"{}\n")
    assert read(SECTION, tmp_path) == compiled(SECTION)


def test_faults_are_told_every_time(tmp_path: Path) -> None:
    for _ in range(2):
        faults = Faults()
        assert filtercache.read(Part({"defaultAction": "X"}, "s", faults), str(tmp_path)) is None
        assert faults.found
    assert os.listdir(tmp_path) == []


def test_without_a_place_to_keep_it_it_is_compiled(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert read(SECTION, tmp_path / "file" / "x") == compiled(SECTION)
