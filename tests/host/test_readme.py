"""What the README tells a newcomer to type works as written."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def tour() -> str:
    """Return the commands of the five-minute tour."""
    section = (ROOT / "README.md").read_text().split("## Five minutes\n")[1].split("\n## ")[0]
    return "".join(block.split("```")[0] for block in section.split("```sh\n")[1:])


@pytest.mark.needs("userns", "bwrap")
def test_the_tour_of_the_readme_runs_as_written(
    environment: dict[str, str], pool: Path, tmp_path: Path
) -> None:
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    commands = tour().replace("/tmp/pool", str(pool)).replace(f"mkdir {pool}\n", "")
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
    complaints = [line for line in done.stderr.splitlines() if "Read-only file system" not in line]
    assert complaints == [], done.stdout
    assert "Read-only file system" in done.stderr
    assert f"{pool}/platform/etc/redpak.yaml:" in done.stdout, "explain names the file and the line"
    assert not pool.exists(), "the tour cleans up"
