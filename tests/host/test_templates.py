"""Nodes of the shipped templates start at once, on this host as core OS, and do what they promise."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.conftest import Program, Ran

pytestmark = pytest.mark.needs("userns", "bwrap")


@pytest.fixture
def leaf(redpak: Program, pool: Path) -> Path:
    """Return the leaf of a family of three that was just made."""
    for name in ("platform", "platform/app"):
        made = redpak("node", "create", pool / name)
        assert made.code == 0, made
        assert made.err == ""
    return pool / "platform/app"


def run(redpak: Program, leaf: Path, bwrap: str, helper: dict[str, str], *words: str) -> Ran:
    """Run a program in a node."""
    return redpak("run", leaf, "--bwrap", bwrap, "--", *words, env=helper)


def test_a_shell_starts_and_sees_the_family(
    redpak: Program, leaf: Path, bwrap: str, helper: dict[str, str]
) -> None:
    ran = run(
        redpak, leaf, bwrap, helper, "sh", "-c", "echo hi; ls /nodes; id -u; hostname; pwd; umask; echo $HOME"
    )
    assert ran.code == 0, ran
    lines = [
        "hi",
        "_private",
        "app",
        "platform",
        "system",
        str(os.getuid()),
        "app",
        "/home/app",
        "0027",
        "/home/app",
    ]
    assert ran.out.split() == lines
    assert ran.err == ""


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("python3", ("-c", "import json, ssl; print('fine')")),
        ("perl", ("-MPOSIX", "-e", "print 'fine'")),
        ("bash", ("-c", "[[ $BASH_VERSION ]] && echo fine")),
        ("env", ("sh", "-c", "echo fine")),
    ],
)
def test_interpreters_of_the_core_os_find_their_libraries(
    redpak: Program, leaf: Path, bwrap: str, program: str, words: tuple[str, ...]
) -> None:
    if not shutil.which(program, path="/usr/bin"):
        pytest.skip(f"this host has no {program}")
    ran = run(redpak, leaf, bwrap, {}, program, *words)
    assert (ran.code, ran.out.strip()) == (0, "fine"), ran


def test_programs_of_every_member_run_and_the_leafs_come_first(
    redpak: Program, leaf: Path, bwrap: str, helper: dict[str, str]
) -> None:
    for node in (leaf.parent.parent, leaf.parent, leaf):
        for name in ("which-node", f"only-{node.name}"):
            tool = node / "usr/bin" / name
            tool.write_text(f"#!/usr/bin/env sh\necho {node.name}\n")
            tool.chmod(0o755)
    shutil.copy(os.path.realpath("/bin/echo"), leaf.parent / "usr/bin/own-echo")
    for name in ("pool", "platform", "app"):
        assert run(redpak, leaf, bwrap, helper, f"only-{name}").out == f"{name}\n"
    assert run(redpak, leaf, bwrap, helper, "which-node").out == "app\n"
    assert run(redpak, leaf.parent, bwrap, helper, "which-node").out == "platform\n"
    assert run(redpak, leaf, bwrap, helper, "own-echo", "mine").out == "mine\n"


def test_programs_are_read_only_and_data_is_writable(redpak: Program, leaf: Path, bwrap: str) -> None:
    writable = ("/nodes/_private", "/nodes/app/var", "/nodes/platform/var", "/nodes/system/var", "/var/local",
                "/var/lib/rpm", "/tmp", "/run", "/home/app", "/dev/shm")  # fmt: skip
    sealed = ("/nodes/app/usr", "/nodes/platform/usr", "/nodes/system/usr", "/bin", "/lib", "/usr/share",
              "/usr/bin", "/proc/sys/kernel")  # fmt: skip
    script = (
        "for at; do if touch $at/.probe 2>/dev/null; then echo $at; fi; done; for f in passwd group hosts; do"
    )
    script += " if (: >>/etc/$f) 2>/dev/null; then echo /etc/$f; fi; done"
    ran = run(redpak, leaf, bwrap, {}, "sh", "-c", script, "sh", *writable, *sealed)
    assert ran.code == 0, ran
    assert ran.out.split() == list(writable)
    assert (leaf / "private/.probe").exists()
    assert (leaf.parent / "var/.probe").exists()
    assert not (leaf.parent / "private/.probe").exists()


def test_a_parents_private_files_stay_its_own(redpak: Program, leaf: Path, bwrap: str) -> None:
    (leaf.parent / "private/secret").write_text("mine")
    ran = run(redpak, leaf, bwrap, {}, "sh", "-c", "ls -A /nodes/_private; ls /nodes/platform")
    assert ran.out.split() == ["usr", "var"], ran


def test_admin_mode_starts_too_and_shows_the_node_at_its_own_path(
    redpak: Program, leaf: Path, bwrap: str
) -> None:
    ran = redpak("run", leaf, "--admin", "--bwrap", bwrap, "--", "ls", "-A", leaf)
    assert ran.code == 0, ran
    assert set(ran.out.split()) == {".rednode.yaml", "etc", "private", "usr", "var"}


def test_a_node_that_stands_alone_starts(redpak: Program, pool: Path, bwrap: str) -> None:
    assert redpak("node", "create", pool / "alone", "--no-system-node").code == 0
    ran = run(redpak, pool / "alone", bwrap, {}, "sh", "-c", "ls /nodes; python3 -c 'print(1)' || true")
    assert ran.out.split()[:2] == ["_private", "alone"], ran


def test_the_doctor_agrees_that_launches_work(redpak: Program) -> None:
    ran = redpak("doctor")
    assert ran.code == 0, ran
    assert "Launches work." in ran.out
