"""What `./dev test` says in the end: which tests failed, of each of its parts, and why."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from scripts import failures
from scripts.vm import ring
from tests.patience import PATIENCE_S

ROOT = Path(__file__).resolve().parents[2]
FAILING = """
import pytest
def test_well(): pass
def test_wrong(): assert 1 == 2, "these differ"
@pytest.fixture
def broken(): raise OSError("no such thing")
def test_without(broken): pass
"""


def test_failures_are_a_line_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDPAK_TEST_FAILED", str(tmp_path / "failed"))
    failures.note("a - two\nlines", "b" * 1000)
    failures.note("\udcff")
    assert (tmp_path / "failed").read_text().splitlines() == ["a - two lines", "b" * failures.MOST, "\\udcff"]


def test_pytest_notes_failures_errors_and_what_cannot_be_collected(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(FAILING)
    (tmp_path / "test_damaged.py").write_text("import there_is_no_such_module\n")
    noted = tmp_path / "failed"
    words = ["-q", "-p", "tests.conftest", "--continue-on-collection-errors", f"--rootdir={tmp_path}"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words, "-c", os.devnull, str(tmp_path)],
        cwd=ROOT, env={**os.environ, "REDPAK_TEST_FAILED": str(noted)}, capture_output=True, text=True,
        check=False, timeout=2 * PATIENCE_S,
    )  # fmt: skip
    assert done.returncode == 1, done
    wrong, *errors = noted.read_text().splitlines()
    assert wrong.startswith("test_it.py::test_wrong - AssertionError: these differ"), wrong
    assert sorted(line.partition(" - ")[0] for line in errors) == [
        "test_damaged.py",
        "test_it.py::test_without",
    ]
    assert "OSError: no such thing" in "".join(errors)
    assert "there_is_no_such_module" in "".join(errors)


def test_what_failed_in_a_guest_is_found_in_what_it_said() -> None:
    said = [
        "tests/vm/test_a.py::test_one PASSED           [ 10%]",
        "tests/vm/test_a.py::test_two[{'a': 1}] FAILED [ 20%]",
        "tests/vm/test_a.py::test_three ERROR          [ 30%]",
        "E       assert FAILED",
        "FAILED tests/vm/test_a.py::test_two[{'a': 1}] - assert 1 == 2",
        "limits: OUT OF TIME, it may take 300 s; the last test above hangs or is slow",
        "podman: root PASS run-echo          300 ms",
        "podman: root FAIL run-init          300 ms  rc=1 why it did",
        "podman: root FAIL run-sysctl        300 ms  rc=1 no such file",
        "podman: not to be had: run-sysctl: this kernel has none",
    ]
    assert ring.lost(said) == [
        "tests/vm/test_a.py::test_two[{'a': 1}] - assert 1 == 2",
        "tests/vm/test_a.py::test_three",
        "limits: OUT OF TIME, it may take 300 s; the last test above hangs or is slow",
        "podman: root FAIL run-init          300 ms  rc=1 why it did",
    ]
