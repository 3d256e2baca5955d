"""How long a test waits for what has to come. Much: who waits sees it at once, so only a failure takes that long."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

# Test guests are up to twenty times as slow, and some of them run beside each other.
PATIENCE_S = 300.0 if os.environ.get("REDPAK_VM") == "1" else 90.0
LOOK_S = 0.02


def eventually(what: Callable[[], object], wanted: object = True, *, timeout_s: float = PATIENCE_S) -> None:
    """Wait until a function returns what is wanted. Raises AssertionError when it does not."""
    deadline = time.monotonic() + timeout_s
    while (found := what()) != wanted:
        assert time.monotonic() < deadline, f"after {timeout_s} s there is still {found!r}, not {wanted!r}"
        time.sleep(LOOK_S)
