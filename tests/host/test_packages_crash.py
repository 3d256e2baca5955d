"""Package commands that are killed, starved of room or cut off: the old state or the new one, never a mixture.

REDPAK_KILLS is the number of commands that are killed at random moments (CI: 500).
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.host.packages_rig import ACTS, EMPTY, LONELY, ONE, TWO, Rig
from tests.host.processes import Wrong

KILLS = int(os.environ.get("REDPAK_KILLS") or "40")
THOROUGH = KILLS >= 500
IN_PARALLEL = 2
LONGEST_S = 3600  # a trial that takes longer hangs
OWN_MOUNTS = ("unshare", "--mount", "--propagation", "private")

pytestmark = pytest.mark.needs("rpm", "userns")


def trial(
    folder: Path, kind: str, rounds: int, seed: int, *, before: tuple[str, ...] = ()
) -> subprocess.Popen[str]:
    """Start a trial of tests/host/killing.py in a process of its own."""
    folder.mkdir()
    words = [sys.executable, "-m", "tests.host.killing", kind, str(folder), str(rounds), str(seed)]
    environ = {**os.environ, "PYTHONPATH": str(REPOSITORY), "HOME": str(folder)}
    return subprocess.Popen([*before, *words], cwd=REPOSITORY, env=environ, text=True, stdout=subprocess.PIPE)


def result(started: subprocess.Popen[str]) -> dict[str, int]:
    """Return what a trial found out."""
    said, _ = started.communicate(timeout=LONGEST_S)
    found: dict[str, int] = json.loads(said.splitlines()[-1])
    assert "wrong" not in found, found["wrong"]
    assert started.returncode == 0
    return found


@pytest.mark.slow
def test_commands_killed_at_random_moments_leave_the_old_or_the_new_state(tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(10**6)
    share = -(-KILLS // IN_PARALLEL)
    started = [trial(tmp_path / f"{n}", "random", share, seed + n) for n in range(IN_PARALLEL)]
    found = [result(one) for one in started]
    assert sum(one["rounds"] for one in found) >= KILLS
    assert sum(one["killed"] for one in found) > KILLS // 2  # the others had ended already
    assert sum(one["arrived"] for one in found) > 0  # some were killed after the commit


@pytest.mark.slow
@pytest.mark.needs("subids")
def test_so_do_commands_of_a_user_whose_files_have_several_owners(tmp_path: Path) -> None:
    found = result(trial(tmp_path / "trial", "random", max(10, KILLS // 10), 5))
    assert found["killed"] > 0


@pytest.mark.slow
@pytest.mark.needs("root", "strace")
def test_commands_killed_at_each_system_call_of_the_commit_leave_the_old_or_the_new_state(
    tmp_path: Path,
) -> None:
    stride = 4 if THOROUGH else 40  # of some 500
    assert (
        result(trial(tmp_path / "trial", "points", stride, random.SystemRandom().randrange(10**6)))["points"]
        > 0
    )


@pytest.mark.slow
@pytest.mark.needs("root")
def test_commands_without_room_do_nothing_and_say_why(tmp_path: Path) -> None:
    found = result(trial(tmp_path / "trial", "full", 40 if THOROUGH else 10, 2, before=OWN_MOUNTS))
    assert found["failed"] > 0
    assert found["done"] > 0


@pytest.mark.needs("root")
def test_commands_on_a_read_only_file_system_do_nothing_and_say_why(tmp_path: Path) -> None:
    found = result(trial(tmp_path / "trial", "readonly", 1, 3, before=OWN_MOUNTS))
    assert "read-only" in str(found["messages"])


@pytest.mark.slow
@pytest.mark.needs("root", "loop")
def test_a_power_cut_leaves_the_old_or_the_new_state(tmp_path: Path) -> None:
    found = result(trial(tmp_path / "trial", "power", 20 if THOROUGH else 4, 4, before=OWN_MOUNTS))
    assert sum(found.values()) == (20 if THOROUGH else 4)


@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        (".redpak/current/tree/usr/lib/beta/3", "missing"),
        ("var/lib/alpha/seed", "missing"),
        ("etc/alpha.conf", "changed"),
        ("etc/foreign", "not theirs"),
    ],
)
def test_the_rig_notices_a_mixture(tmp_path: Path, spoil: str, what: str) -> None:
    rig = Rig(tmp_path)
    rig.do(ACTS[EMPTY][0])
    file = rig.node / spoil
    if what == "missing":
        file.unlink()
    else:
        file.write_text("something else")
    with pytest.raises(Wrong, match=what):
        rig.check(ONE)


def test_the_rig_knows_what_each_command_leads_to(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    for act in (ACTS[EMPTY][1], ACTS[TWO][0], ACTS[LONELY][0], ACTS[TWO][1]):
        rig.do(act)
    rig.do(rig.back_to(LONELY))
    with pytest.raises(Wrong, match="none of"):
        rig.check(TWO)
