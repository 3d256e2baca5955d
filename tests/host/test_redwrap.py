"""redwrap and redwrap-dnf as red-pak's quick start uses them, with a real sandbox."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from tests.conftest import Program

pytestmark = pytest.mark.needs("userns", "bwrap")


@pytest.fixture
def leaf(pool: Path, environment: dict[str, str], tmp_path: Path) -> Path:
    """A node with a system node above it, as the quick start makes them."""
    dnf = Program("redwrap-dnf", environment, tmp_path)
    made = dnf(f"--redpath={pool}/app", "manager", "--create", "--alias=app")
    assert made.code == 0, made
    return pool / "app"


def test_the_programs_output_and_exit_code_come_through(redwrap: Program, leaf: Path, bwrap: str) -> None:
    ran = redwrap(f"--redpath={leaf}", "-b", bwrap, "--", "sh", "-c", "cat; exit 7", stdin=b"hello\n")
    assert (ran.code, ran.out) == (7, "hello\n"), ran


def test_options_after_the_program_are_its_own(redwrap: Program, leaf: Path) -> None:
    ran = redwrap("--rp", leaf, "--force", "echo", "--dump-only", "-a")
    assert (ran.code, ran.out) == (0, "--dump-only -a\n"), ran


def test_a_dump_comes_before_the_run(redwrap: Program, leaf: Path) -> None:
    ran = redwrap("--rp", leaf, "--dump", "echo", "done")
    assert (ran.code, ran.out) == (0, "done\n"), ran
    assert ran.err.startswith("DUMP: /")
    assert ran.err.count("\n") == 1


@pytest.mark.parametrize("profile", ["sealed", "upstream-2.5"])
def test_failures_have_the_shells_codes(redwrap: Program, leaf: Path, profile: str) -> None:
    env = {"REDPAK_PROFILE": profile}
    assert redwrap("-r", leaf, "no-such-program", env=env).code == 127
    assert redwrap("-r", leaf, "/etc/passwd", env=env).code == 126
    assert redwrap("-r", leaf, "sh", "-c", "kill -9 $$", env=env).code == 128 + 9
    assert redwrap("-r", leaf.parent / "none", "true", env=env).code == 4
    assert redwrap("-r", leaf, env=env).code == 2


def test_upstream_makes_missing_sources_unless_strict(redwrap: Program, leaf: Path) -> None:
    config = leaf / "etc/redpak.yaml"
    entry = "exports:\n- {mode: Public, mount: /made, path: $NODE_PATH/made}\n"
    config.write_text(config.read_text().replace("exports:\n", entry, 1))
    env = {"REDPAK_PROFILE": "upstream-2.5"}
    assert redwrap("-r", leaf, "--strict", "test", "-e", "/made", env=env).code == 1
    assert not (leaf / "made").exists()
    ran = redwrap("-r", leaf, "test", "-d", "/made", env=env)
    assert ran.code == 0, ran
    assert (leaf / "made").is_dir()


@pytest.mark.needs("root")
def test_the_command_line_chooses_the_user(
    redwrap: Program, environment: dict[str, str], tmp_path: Path
) -> None:
    # Not in pytest's own directory: another user must be able to reach the node.
    with tempfile.TemporaryDirectory(prefix="redpak-") as open_to_all:
        os.chmod(open_to_all, 0o755)
        leaf = f"{open_to_all}/pool/app"
        made = Program("redwrap-dnf", environment, tmp_path)("-r", leaf, "manager")
        assert made.code == 0, made
        ran = redwrap("-r", leaf, "-U", "65534", "--gid=65534", "sh", "-c", "cd /; id -u; id -g")
        assert (ran.code, ran.out) == (0, "65534\n65534\n"), ran
