"""The program's file: read by sh, then by Python, wherever it was installed; and what its commands import."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.patience import PATIENCE_S

REPOSITORY = Path(__file__).resolve().parents[3]
SCRIPT = REPOSITORY / "scripts" / "redpak-oci"
ENVIRON = {"PATH": "/usr/bin:/bin"}
# Each of these takes longer to import than the rest of a command (`ctypes` is for those that enter namespaces).
HEAVY = {
    "argparse", "ctypes", "dataclasses", "enum", "json", "logging", "pathlib", "re", "shutil", "signal", "site",
    "socket", "subprocess", "tempfile", "typing", "redpak.engine.native.child", "redpak.oci.config",
    "redpak.cgroup.apply",
}  # fmt: skip


def said(*argv: str | Path) -> str:
    done = subprocess.run(
        [str(word) for word in argv],
        capture_output=True,
        text=True,
        env=ENVIRON,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done
    return done.stdout


def environment(at: Path) -> Path:
    """Make what a virtual environment has: an interpreter beside the program, and a directory for packages."""
    (at / "bin").mkdir(parents=True)
    (at / "bin" / "python3").symlink_to(Path(sys.executable).resolve())
    home = Path(sys.base_prefix, "bin")
    (at / "pyvenv.cfg").write_text(f"home = {home}\nversion = {sys.version.split()[0]}\n")
    shutil.copy(SCRIPT, at / "bin" / "redpak-oci")
    packages = at / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    packages.mkdir(parents=True)
    return packages


def test_python_can_be_named() -> None:
    assert said(sys.executable, "-I", SCRIPT, "--version").startswith("redpak-oci version ")


def test_an_installed_program_finds_its_package_without_site(tmp_path: Path) -> None:
    packages = environment(tmp_path / "env")
    shutil.copytree(REPOSITORY / "redpak", packages / "redpak", ignore=shutil.ignore_patterns("__pycache__"))
    for folder, _, _ in os.walk(packages):
        os.chmod(folder, 0o555)  # no compiled files, and nowhere to put them
    try:
        assert said(tmp_path / "env" / "bin" / "redpak-oci", "--version").startswith("redpak-oci version ")
    finally:
        for folder, _, _ in os.walk(packages):
            os.chmod(folder, 0o755)


def test_an_editable_installation_works(tmp_path: Path) -> None:
    packages = environment(tmp_path / "env")
    (packages / "_editable_impl_redpak.pth").write_text(f"{REPOSITORY}\n")
    assert said(tmp_path / "env" / "bin" / "redpak-oci", "--version").startswith("redpak-oci version ")


def test_a_package_that_another_file_leads_to_is_found_by_site(tmp_path: Path) -> None:
    packages = environment(tmp_path / "env")
    (packages / "other.pth").write_text(f"{REPOSITORY}\n")
    assert said(tmp_path / "env" / "bin" / "redpak-oci", "--version").startswith("redpak-oci version ")


def test_a_symlink_to_the_program_works(tmp_path: Path) -> None:
    packages = environment(tmp_path / "env")
    (packages / "_editable_impl_redpak.pth").write_text(f"{REPOSITORY}\n")
    (tmp_path / "one").symlink_to("env/bin/redpak-oci")
    (tmp_path / "two").symlink_to(tmp_path / "one")
    assert said(tmp_path / "two", "--version").startswith("redpak-oci version ")


@pytest.mark.parametrize(
    "words",
    [["--version"], ["state", "none"], ["kill", "none"], ["delete", "none"], ["start", "none"], ["list"]],
)
def test_a_short_command_imports_nothing_heavy(tmp_path: Path, words: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-X", "importtime", str(SCRIPT), "--root", str(tmp_path), *words],
        capture_output=True,
        text=True,
        env=ENVIRON,
        timeout=PATIENCE_S,
        check=False,
    )
    imported = {
        line.rpartition("|")[2].strip()
        for line in done.stderr.splitlines()
        if line.startswith("import time:")
    }
    assert "redpak.oci.main" in imported
    assert imported & HEAVY == set()


def test_start_delete_and_exec_go_to_the_quick_program_where_it_was_built(tmp_path: Path) -> None:
    packages = environment(tmp_path / "env")
    shutil.copytree(REPOSITORY / "redpak", packages / "redpak", ignore=shutil.ignore_patterns("__pycache__"))
    quick = packages / "redpak" / "engine" / "redpak-quick"
    quick.write_text('#!/bin/sh\nshift 2; echo "quick:$*"\n')
    quick.chmod(0o755)
    script = tmp_path / "env" / "bin" / "redpak-oci"
    assert said(script, "--root", tmp_path, "start", "a b") == f"quick:--root {tmp_path} start a b\n"
    assert said(script, "delete", "a") == "quick:delete a\n"
    assert said(script, "exec", "a", "b c") == "quick:exec a b c\n"
    assert said(script, "--version").startswith("redpak-oci version ")
    quick.unlink()
    assert "usage" in said(script, "start", "--help").lower()
