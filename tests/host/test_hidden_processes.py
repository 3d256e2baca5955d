"""A host whose /proc hides what cannot be traced (hidepid=2, proc(5)): what runs is found, and hears its signals."""

from __future__ import annotations

import signal

import pytest

from tests.host.life_site import Life, life, over
from tests.patience import PATIENCE_S

__all__ = ["life"]
pytestmark = pytest.mark.needs("root", "userns", "bwrap", "cc")
ways = pytest.mark.parametrize("way", ["helper", "no-helper", "native", "native-no-helper"])
LOSE = "-sys_ptrace"  # who has it sees everything, and so do members of group 0
HIDE = (
    "mount -t proc -o hidepid=2 proc /proc && exec setpriv --regid 65534 --clear-groups "
    f'--inh-caps {LOSE} --bounding-set {LOSE} "$@"'
)
TRAPS = "trap 'exit 44' TERM; trap 'exit 45' INT; echo up; while :; do sleep 0.05; done"


@pytest.fixture(name="hidden")
def everything_in_private_processes(life: Life) -> Life:
    """Return the commands, each with a /proc of its own that hides."""
    life.redpak.argv = [
        "unshare", "--mount", "--propagation", "private", "sh", "-c", HIDE, "sh", *life.redpak.argv,
    ]  # fmt: skip
    return life


def by(life: Life, way: str) -> None:
    """Launch by an engine, with its helper or without."""
    life.by("native" if way.startswith("native") else way)
    if way == "native-no-helper":
        life.redpak.environ["REDPAK_NO_HELPER"] = "1"


@ways
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 44), (signal.SIGINT, 45)])
def test_a_signal_for_a_launch_reaches_its_program(
    hidden: Life, way: str, number: signal.Signals, code: int
) -> None:
    by(hidden, way)
    child = hidden.foreground("sh", "-c", TRAPS)
    child.send_signal(number)
    assert child.wait(PATIENCE_S) == code
    over(child)


@ways
def test_what_runs_is_listed_and_stops_when_it_is_asked(hidden: Life, way: str) -> None:
    by(hidden, way)
    child = hidden.foreground("sh", "-c", TRAPS)
    (one,) = hidden.now()
    assert one["status"] == "running"
    assert one["pid"]
    assert hidden("exec", one["id"], "--", "sh", "-c", "exit 7").code == 7
    assert hidden("stop", one["id"]).code == 0
    assert over(child) == 44


@ways
def test_a_detached_start_notices_that_its_program_runs(hidden: Life, way: str) -> None:
    by(hidden, way)
    id_ = hidden.start("sh", "-c", TRAPS)
    while "up" not in hidden("logs", id_).out:
        assert hidden.now(), "it ended by itself"
    assert hidden("kill", "-s", "INT", id_).code == 0
    assert hidden("wait", id_).code == 45
