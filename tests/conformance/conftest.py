"""The conformance ring: a runtime (REDPAK_RUNTIME, by default this checkout's redpak-oci) against its specification."""

from __future__ import annotations

import ctypes
import itertools
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.peers import DEVIATIONS
from tests.conformance.rig import Container, Yard, runtime_name

SUBREAPER = 36  # prctl(2): PR_SET_CHILD_SUBREAPER
NUMBERS = itertools.count(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Expect the failures of other runtimes that are known to be theirs."""
    known = DEVIATIONS.get(runtime_name(), {})
    for item in items:
        name = item.name.partition("[")[0]
        if "conformance" in item.path.parts and (why := known.get(item.name) or known.get(name)):
            item.add_marker(pytest.mark.xfail(reason=why, strict=False))


@pytest.fixture(scope="session")
def probe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the probe, built for this session."""
    at = tmp_path_factory.mktemp("probe")
    for folder in (at, *at.parents):
        if folder.stat().st_uid == os.getuid() and str(folder).startswith("/tmp/"):
            folder.chmod(folder.stat().st_mode | 0o711)  # other users run it as well
    built = Path(os.environ.get("REDPAK_TEST_PROBE") or "/nonexistent")  # where a compiler takes a minute
    if built.exists():
        shutil.copyfile(built, at / "probe")
    else:
        source = Path(__file__).with_name("probe.c")
        subprocess.run(
            ["cc", "-static", "-O1", "-o", str(at / "probe"), str(source)], check=True, timeout=120
        )
    (at / "probe").chmod(0o755)
    return at / "probe"


@pytest.fixture
def yard(tmp_path: Path, probe: Path) -> Iterator[Yard]:
    """Return a place to try a runtime in."""
    ctypes.CDLL(None, use_errno=True).prctl(SUBREAPER, 1, 0, 0, 0)
    made = Yard(tmp_path, probe, f"redpak-conformance-{os.getpid()}-{next(NUMBERS)}")
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def box(yard: Yard) -> Container:
    """Return a bundle that has not been created yet."""
    return yard.container()
