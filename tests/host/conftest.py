"""The host ring: real namespaces, over every bubblewrap of this host, and nothing may be left behind."""

from __future__ import annotations

import ctypes
import os
import select
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from tests.conformance.conftest import probe, yard  # noqa: F401 - fixtures
from tests.features import bwraps
from tests.host.escape_rig import box, ours, victim  # noqa: F401 - fixtures
from tests.host.processes import is_waiting_bwrap
from tests.patience import LOOK_S, PATIENCE_S

SUBREAPER = 36  # prctl(2): PR_SET_CHILD_SUBREAPER


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give a test that asks for `bwrap` the path of each bubblewrap in turn, and for `helper` both ways to launch."""
    if "bwrap" in metafunc.fixturenames:
        found = bwraps() or {"none": ""}
        metafunc.parametrize("bwrap", list(found.values()), ids=list(found))
    if "helper" in metafunc.fixturenames:
        ways = [{}, {"REDPAK_NO_HELPER": "1"}, {"TEST_ENGINE": "native"}]
        metafunc.parametrize("helper", ways, ids=["helper", "no-helper", "native"])


@pytest.fixture(scope="session", autouse=True)
def keys_mean_what_they_mean() -> None:
    """Ignore no signal of the terminal: a run in a shell's background would, and so would all that is started here."""
    for number in (signal.SIGINT, signal.SIGQUIT):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


@pytest.fixture(scope="session", autouse=True)
def orphans_come_to_us() -> None:
    """Make processes that lose their parent children of this one, so that they can be found."""
    ctypes.CDLL(None, use_errno=True).prctl(SUBREAPER, 1, 0, 0, 0)


def descriptors() -> dict[int, str]:
    """Return what this process holds open."""
    held: dict[int, str] = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            held[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:  # the descriptor that listed the directory
            continue
    return held


def mounts() -> set[str]:
    """Return the mount points of the host."""
    with open("/proc/self/mountinfo", encoding="utf-8") as lines:
        return {line.split()[4] for line in lines}


def children() -> set[int]:
    """Return the living children of this process, orphans of its children included. Collects the dead."""
    return {pid for pid in every_child() if not is_dead(pid)}


def every_child() -> set[int]:
    """Return the children of this process, the dead included that nobody has collected."""
    found: set[int] = set()
    for thread in os.listdir("/proc/self/task"):
        try:
            with open(f"/proc/self/task/{thread}/children", encoding="ascii") as pids:
                found.update(map(int, pids.read().split()))
        except (FileNotFoundError, ProcessLookupError):  # a thread of a test's server that has just ended
            continue
    return found


def is_dead(pid: int) -> bool:
    """Tell whether a child has ended, and collect it if so."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return True


def ends(pid: int) -> bool:
    """Wait a little for a child to end."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        ended = bool(select.select([fd], [], [], PATIENCE_S)[0])
    finally:
        os.close(fd)
    return ended and is_dead(pid)


def name_of(pid: int) -> str:
    """Return the command line of a process."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return "?"


def kept_open(before: dict[int, str]) -> dict[int, str]:
    """Return the descriptors that are left over; threads of a test's server close theirs a little later."""
    end = time.monotonic() + PATIENCE_S
    while True:
        found = {fd: what for fd, what in descriptors().items() if fd not in before}
        if threading.active_count() == 1 or not found or time.monotonic() > end:
            return found
        select.select([], [], [], LOOK_S)


@pytest.fixture(autouse=True)
def nothing_is_left_behind() -> Iterator[None]:
    """Fail a test that leaves a descriptor, a mount of the host, or a process."""
    before = descriptors(), mounts(), children()
    yield
    fds = kept_open(before[0])
    left = [pid for pid in children() - before[2] if not ends(pid)]
    # bubblewrap that lost its parent before its first word waits for ever: redpak ends it later (state/stuck.py)
    named = [f"{pid} {name_of(pid)}" for pid in left if not is_waiting_bwrap(pid)]
    for pid in left:  # one test's orphan is not the next one's
        os.kill(pid, signal.SIGKILL)
        ends(pid)
    assert not fds, f"descriptors left open: {fds}"
    assert not named, f"processes left running: {named}"
    assert mounts() <= before[1], f"mounts left on the host: {mounts() - before[1]}"
