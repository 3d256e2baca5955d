"""What is kept of what ended, and for how long."""

from __future__ import annotations

import os

from redpak.state import records, truth

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from redpak.state.records import Entry

LONGEST_S = 7 * 86400  # how long a record is kept after its end
MOST = 100  # how many are kept
MOST_BYTES = 64 << 20  # of all their logs; the runtime directory is memory


def _bytes(entry: Entry) -> int:
    total = 0
    try:
        for name in os.listdir(entry.path):
            total += os.lstat(os.path.join(entry.path, name)).st_size
    except FileNotFoundError:
        pass
    return total


def too_old(ended: Sequence[Entry], now: float) -> list[Entry]:
    """Return which records of ended sandboxes go: over age first, then the oldest above the limits."""
    newest = sorted(ended, key=lambda one: -(one.exit.ended if one.exit else 0.0))
    gone: list[Entry] = []
    total = 0
    for place, one in enumerate(newest):
        total += _bytes(one)
        when = one.exit.ended if one.exit else 0.0
        if place >= MOST or total > MOST_BYTES or (when and now - when > LONGEST_S):
            gone.append(one)
    return gone


def sweep() -> list[Entry]:
    """Remove records that are over their limits, and what was left aside; return which records that were."""
    import time

    ended = [one.entry for one in truth.everything() if one.entry.stage == "ended"]
    gone = too_old(ended, time.time())
    for one in gone:
        records.remove(one)
    records.sweep_aside()
    return gone
