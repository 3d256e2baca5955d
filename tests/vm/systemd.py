"""What tests ask systemd and the kernel about units and their groups."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from tests.patience import PATIENCE_S

MIB = 1 << 20
TOP = Path("/sys/fs/cgroup")


def shown(unit: str, *names: str) -> dict[str, str]:
    """Return properties of a unit of the system's manager."""
    words = [word for name in names for word in ("-p", name)]
    done = subprocess.run(["systemctl", "show", unit, *words], capture_output=True, text=True, check=True)
    return dict(line.split("=", 1) for line in done.stdout.splitlines())


def group_of(pid: int) -> Path:
    """Return the directory of a process's group."""
    return TOP / Path(f"/proc/{pid}/cgroup").read_text().strip().removeprefix("0::/")


def comes(true: Callable[[], bool], within_s: float = PATIENCE_S) -> bool:
    """Wait until something is true; tell whether it came in time."""
    end = time.monotonic() + within_s
    while not (come := true()) and time.monotonic() < end:
        time.sleep(0.05)
    return come


def vanishes(at: Path) -> bool:
    """Wait until systemd has removed a group."""
    return comes(lambda: not at.exists())
