"""What the tests of known escapes share: a bundle and its yard, and unprotected stand-ins that do things by path.

A stand-in is what a runtime was before it learned: a shell script that mounts and changes root by names, or a program
that is put into a container without care. It runs in the same yard, so it harms only what the test laid out.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.rig import Container, Yard
from tests.conftest import REPOSITORY, Ran

RACES = max(60, int(os.environ.get("REDPAK_RACES", "60")) // 4)  # each is a whole container, not a launch


WAYS = {
    "quick": "",
    "python": f"{sys.executable} ",
}  # with the programs in C where these do it, and without them

both = pytest.mark.parametrize("ours", sorted(WAYS), indirect=True)


@pytest.fixture
def ours(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Test this checkout's own runtime; parametrised with WAYS, in one of them."""
    if not os.environ.get("REDPAK_ESCAPES_PEER"):
        way = WAYS[getattr(request, "param", "quick")]
        monkeypatch.setenv("REDPAK_RUNTIME", f"{way}{REPOSITORY}/scripts/redpak-oci")


@pytest.fixture
def box(ours: None, yard: Yard) -> Container:
    """Return a bundle that redpak-oci is to run, whatever REDPAK_RUNTIME says."""
    return yard.container()


@pytest.fixture
def victim(yard: Yard) -> Iterator[Path]:
    """Return a directory of the host that nothing may change."""
    at = yard.scratch / "victim"
    at.mkdir()
    (at / "file").write_text("the host's own")
    (at / "file").chmod(0o640)
    yield at


def untouched(victim: Path) -> bool:
    """Tell whether the victim is as it was: names, content, mode, owner."""
    at = victim / "file"
    return (
        sorted(os.listdir(victim)) == ["file"]
        and at.read_text() == "the host's own"
        and at.stat().st_mode & 0o7777 == 0o640
        and (at.stat().st_uid, at.stat().st_gid) == (0, 0)
    )


def mounted_over(yard: Yard, victim: Path) -> bool:
    """Tell whether something is mounted on the victim, as the runtime's caller sees it."""
    return f" {victim}" in yard.call("cat", "/proc/self/mountinfo").out


def naive(box: Container, script: str, *argv: str, **more: Any) -> Ran:
    """Run a stand-in for a careless runtime: `script` with $root set, in new mount and pid namespaces."""
    return box.yard.call(
        "unshare", "--mount", "--pid", "--fork", "sh", "-c", f'root="$1"; shift; {script}', "sh", str(box.rootfs),
        *argv, **more,
    )  # fmt: skip
