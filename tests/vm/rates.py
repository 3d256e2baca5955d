"""Rates that a guest is held to, as its own clock measures them."""

from __future__ import annotations

from collections.abc import Callable

import pytest


def settles(measure: Callable[[], float], wanted: float) -> None:
    """Measure a rate until it is within ten percent of what is wanted, at most five times.

    A guest whose processor the host has given to others for a while seems slow, and catches up: a limit that is wrong
    is wrong each time.
    """
    seen: list[float] = []
    while len(seen) < 5:
        seen.append(measure())
        if 0.9 * wanted <= seen[-1] <= 1.1 * wanted:
            return
    pytest.fail(f"{seen} instead of {wanted} within ten percent")
