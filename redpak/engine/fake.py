"""The engine for tests: writes down which plans it was given and starts nothing."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.engine.run import Options
    from redpak.plan.model import Plan

started: list[tuple[Plan, Options]] = []  # in order; tests read and clear it
answer = [0]  # the exit code of the next starts


def start(plan: Plan, options: Options) -> int:
    """Write the plan down and return `answer`."""
    started.append((plan, options))
    return answer[0]
