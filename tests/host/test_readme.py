"""What the README tells a newcomer to type works as written."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


SECTIONS = ("Five minutes", "In the background", "Warm starts", "OCI clients")
ELSEWHERE = ("sudo ", "podman ")  # take root or a registry: test_oci_nodes.py does the like


def tour() -> str:
    """Return the commands of the tour, section by section."""
    text = (ROOT / "README.md").read_text()
    sections = [text.split(f"## {name}\n")[1].split("\n## ")[0] for name in SECTIONS]
    blocks = [block.split("```")[0] for section in sections for block in section.split("```sh\n")[1:]]
    return "".join(
        line for line in "".join(blocks).splitlines(keepends=True) if not line.startswith(ELSEWHERE)
    )


@pytest.mark.needs("userns", "bwrap")
def test_the_tour_of_the_readme_runs_as_written(
    environment: dict[str, str], pool: Path, tmp_path: Path
) -> None:
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    commands = tour().replace("/tmp/pool", str(pool)).replace(f"mkdir {pool}\n", "")
    commands = commands.replace("/tmp/hello-bundle", str(tmp_path / "bundle"))
    done = subprocess.run(
        ["bash", "-c", f"{commands}\ntrue"],
        cwd=tmp_path,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout.count("hello from /nodes/platform/usr/bin/greet, as seen by hello\n") == 2, done
    expected = ("Read-only file system", "is what it is now", "no bundle scopes them")
    complaints = [line for line in done.stderr.splitlines() if not any(one in line for one in expected)]
    assert complaints == [], done.stdout
    assert "Read-only file system" in done.stderr
    assert f"{pool}/platform/etc/redpak.yaml:" in done.stdout, "explain names the file and the line"
    assert "\nup\n" in done.stdout, "the log of what ran in the background"
    assert "it ended with 143\n" in done.stdout
    assert "kept by process" in done.stdout
    assert not pool.exists(), "the tour cleans up"
