"""`redpak node manifest`: a core OS as a file."""

from __future__ import annotations

import json
from pathlib import Path

from tests.conftest import Program


def debian(root: Path) -> Path:
    for folder in ("var/lib/dpkg", "usr/bin", "etc"):
        (root / folder).mkdir(parents=True)
    (root / "var/lib/dpkg/status").write_text(
        "Package: dpkg\nStatus: install ok installed\nArchitecture: arm64\nVersion: 1.21\n"
    )
    (root / "usr/bin/tool").touch()
    (root / "etc/os-release").write_text("VERSION_ID=12\n")
    return root


def test_a_root_directory_is_written_down(redpak: Program, tmp_path: Path) -> None:
    root = debian(tmp_path / "root")
    ran = redpak("node", "manifest", str(root), "-o", "core.json")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == f"wrote 'core.json', the manifest of core OS '{root}'\n"
    data = json.loads((tmp_path / "core.json").read_text())
    assert (data["kind"], data["arch"], data["releasever"]) == ("dpkg", "aarch64", "12")
    provides = data["packages"][0]["provides"]
    assert {"deb(dpkg) = 1.21", "/usr/bin/tool"} <= set(provides)
    again = redpak("node", "manifest", "core.json")
    assert again.out == (tmp_path / "core.json").read_text()


def test_a_manifest_serves_as_the_core_os_of_a_node(redpak: Program, pool: Path, tmp_path: Path) -> None:
    redpak("node", "manifest", str(debian(tmp_path / "root")), "-o", str(pool / "core.json"))
    assert redpak("node", "create", str(pool / "n"), "--no-system-node").code == 0
    file = pool / "n/etc/redpak.yaml"
    text = file.read_text()
    assert "\nconfig:\n" in text
    file.write_text(text.replace("\nconfig:\n", "\nconfig:\n  core-os: ../core.json\n"))
    ran = redpak("node", "manifest", str(pool / "n"))
    assert ran.out == (pool / "core.json").read_text()


def test_what_is_not_there_is_not_found(redpak: Program) -> None:
    ran = redpak("node", "manifest", "/nowhere")
    assert ran.code == 4
    assert "core OS '/nowhere' does not exist" in ran.err
    assert ran.out == ""


def test_a_file_that_is_no_manifest_is_told_with_its_faults(redpak: Program, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("{}")
    ran = redpak("node", "manifest", "x")
    assert ran.code == 2
    assert "schema: it is not 'redpak core OS 1'" in ran.err
