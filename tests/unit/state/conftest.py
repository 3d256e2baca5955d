"""The state room's tests keep their records in a directory of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from redpak.state import place


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the runtime directory of this test; it is not made yet."""
    at = tmp_path / "runtime"
    monkeypatch.setenv(place.NAMED, str(at))
    return at
