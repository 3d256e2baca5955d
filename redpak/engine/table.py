"""Every engine: one line each, imported when it is used."""

from __future__ import annotations

import sys

from redpak.errors import Usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from redpak.engine.run import Options
    from redpak.plan.model import Plan

    Start = Callable[[Plan, Options], int]

ENGINES = {
    # name: (module, function that starts a plan)
    "bwrap": ("redpak.engine.run", "start"),
    "native": ("redpak.engine.native.run", "start"),
    "fake": ("redpak.engine.fake", "start"),
}
FOR_TESTS = "fake"  # starts nothing, so it is offered to nobody
DEFAULT = "bwrap"
AUTO = "auto"  # bwrap where there is one that can be used, else native


def falls_short() -> bool:
    """Tell whether this host has no bwrap that the bwrap engine could use."""
    from redpak.engine import host
    from redpak.errors import NotFound, Refused

    try:
        host.choose_bwrap()
    except (NotFound, Refused):
        return True
    return False


def choose(plan: Plan, name: str | None = None) -> Start:
    """Return the function that starts `plan`. Raises Usage for an engine that does not exist."""
    chosen = name or AUTO
    if chosen == AUTO:
        chosen = "native" if falls_short() else DEFAULT
    if chosen not in ENGINES:
        offered = sorted({*ENGINES, AUTO} - {FOR_TESTS})
        hint = f"Choose one of: {', '.join(offered)}."
        raise Usage(f"there is no engine '{chosen}' to start node '{plan.node}'", hint=hint)
    module, function = ENGINES[chosen]
    __import__(module)
    start: Start = getattr(sys.modules[module], function)
    return start
