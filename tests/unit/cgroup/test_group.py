"""What a group does that the kernel does not let do: on files that look like a group's."""

from __future__ import annotations

from pathlib import Path

import pytest

from redpak.cgroup import group
from redpak.cgroup.group import Group
from redpak.errors import RedpakError


def test_processes_that_do_not_stop_in_time_go_on_and_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cgroup.events").write_text("populated 1\nfrozen 0\n")
    (tmp_path / "cgroup.freeze").write_text("0")
    monkeypatch.setattr(group, "FREEZE_S", 0.1)
    with pytest.raises(RedpakError, match=r"did not stop within 0\.1 s; they go on"):
        Group({"": str(tmp_path)}).freeze()
    assert (tmp_path / "cgroup.freeze").read_text() == "0"
