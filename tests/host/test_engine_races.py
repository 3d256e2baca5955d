"""Who may write to a node flips a directory against a symbolic link while it is launched; nothing of the host shows.

`REDPAK_RACES` is the number of launches a test (100 by default, 1000 in the full run) by the host's bubblewrap and the
helper; every other way to start gets a quarter of them.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from redpak.engine.run import run
from redpak.errors import RedpakError
from redpak.plan.ops import Dir
from tests.features import bwraps
from tests.host.engine_plans import HERE, bind, shell

if TYPE_CHECKING:
    from redpak.plan.model import Plan

pytestmark = pytest.mark.needs("userns", "bwrap")
MORE = 10  # times as many launches, where chance had all of them find the same
LAUNCHES = int(os.environ.get("REDPAK_RACES", "100"))
RENAME_EXCHANGE = 2
AT_FDCWD = -100


@contextlib.contextmanager
def flipping(one: Path, other: Path) -> Iterator[None]:
    """Exchange two names, over and over, until the block ends."""
    libc = ctypes.CDLL(None)
    names = os.fsencode(one), os.fsencode(other)
    pid = os.fork()
    if pid == 0:
        signal.alarm(600)
        while True:
            libc.renameat2(AT_FDCWD, names[0], AT_FDCWD, names[1], RENAME_EXCHANGE)
            libc.usleep(200)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


class Way:
    """One way to start a plan: an engine, with its helper or without, and how often a test does it."""

    def __init__(self, engine: str, bwrap: str, *, helper: bool, launches: int) -> None:
        self.engine = engine
        self.bwrap = bwrap
        self.helper = helper
        self.launches = launches

    def outcomes(self, made: Plan) -> Counter[int]:
        """Start a plan over and over; return how often each code came."""
        return Counter(self.outcome(made) for _ in range(self.launches))

    def seen(self, made: Plan, *wanted: int) -> Counter[int]:
        """Start a plan over and over, and again (not for ever) until each of these codes has come."""
        codes = self.outcomes(made)
        for _ in range(MORE):
            if all(codes[one] for one in wanted):
                break
            codes += self.outcomes(made)
        return codes

    def outcome(self, made: Plan) -> int:
        """Start a plan from a fork of this process (a new interpreter for each would be too slow); return its code."""
        pid = os.fork()
        if pid == 0:
            code = 99
            try:
                os.environ["REDPAK_NO_HELPER"] = "" if self.helper else "1"
                null = os.open("/dev/null", os.O_RDWR)
                for fd in (0, 1, 2):
                    os.dup2(null, fd)
                code = run(made, engine=self.engine, bwrap=self.bwrap)
            except RedpakError as error:
                code = error.code
            finally:
                os._exit(code)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def ways() -> dict[str, Way]:
    """Return every way to start that this host has."""
    few = max(20, LAUNCHES // 4)
    found: dict[str, Way] = {}
    for name, path in (bwraps() or {"none": ""}).items():
        found[f"{name}-helper"] = Way("bwrap", path, helper=True, launches=few if found else LAUNCHES)
        found[f"{name}-no-helper"] = Way("bwrap", path, helper=False, launches=few)
    for helper in (True, False):
        found["native" if helper else "native-no-helper"] = Way("native", "", helper=helper, launches=few)
    return found


WAYS = ways()
each_way = pytest.mark.parametrize("way", list(WAYS.values()), ids=list(WAYS))


@pytest.fixture
def node(pool: Path) -> Path:
    """Return a node with a directory `data` that is about to be exchanged for a link to what is secret."""
    at = (pool / "node").resolve()
    (at / "data").mkdir(parents=True)
    secret = at.parent / "secret"
    secret.mkdir()
    (secret / "key").write_text("secret")
    os.symlink(secret, at / "link")
    return at


@each_way
def test_a_flipping_source_never_shows_what_the_link_says(node: Path, way: Way) -> None:
    made = shell("test -e /x/key && exit 42; exit 0", mounts=(bind("/x", node / "data"),), node=str(node))
    with flipping(node / "data", node / "link"):
        codes = way.seen(made, 0, 3)
    assert set(codes) <= {0, 3, 125}, codes  # started with the directory, refused, or broke before the start
    assert codes[3] and codes[0], codes  # it did flip


@each_way
def test_a_flipping_mount_point_never_leads_to_the_host(node: Path, way: Way) -> None:
    victim = node.parent / "victim"
    victim.mkdir()
    (node / "link").unlink()
    os.symlink(f"../oldroot{victim}", node / "link")
    mounts = (bind("/n", node, readonly=False), Dir(dst="/n/data/made", because=HERE))
    made = shell("exit 0", mounts=mounts, node=str(node))
    with flipping(node / "data", node / "link"):
        codes = way.outcomes(made)
    assert set(codes) == {3}
    assert list(victim.iterdir()) == []


def test_bwrap_by_itself_does_show_it(node: Path, bwrap: str) -> None:
    words = (
        "--ro-bind",
        "/usr",
        "/usr",
        "--ro-bind-try",
        "/lib",
        "/lib",
        "--ro-bind-try",
        "/lib64",
        "/lib64",
    )
    argv = [bwrap, *words, "--ro-bind", str(node / "data"), "/x", "/usr/bin/test", "-e", "/x/key"]
    with flipping(node / "data", node / "link"):
        shown = sum(subprocess.run(argv, capture_output=True, check=False).returncode == 0 for _ in range(50))
    assert shown > 0
