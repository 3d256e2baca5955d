"""Why a start failed that the launch helper, bubblewrap or redpak-join gave up: found out afterwards."""

from __future__ import annotations

import os

from redpak import log
from redpak.engine import locate
from redpak.errors import LaunchFailed, RedpakError
from redpak.state import proc, seen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.plan.model import Plan


def explained(plan: Plan, code: int, engine: str = "") -> RedpakError:
    """Return why what makes the sandbox ended with `code` before the program ran: 126, 127 or 125.

    `engine` is the one that ran, '' where that is not known any more.
    """
    error = locate.program(plan, plan.command[0], os.environ) if plan.command else None
    error = error or _unknown(plan, code, engine)
    me = proc.known(os.getpid())
    try:
        if me is not None:  # where we are what became of a launch, the journal tells of its start
            seen.ended(proc.name(me), error.code, error.message)
    except RedpakError as unwritten:
        log.debug(f"the journal does not tell of this: {unwritten.message}")
    return error


def _unknown(plan: Plan, code: int, engine: str) -> RedpakError:
    who = f"engine '{engine}'" if engine else "what makes it"
    hint = "What went wrong is said above; look at the mounts with 'redpak plan'."
    return LaunchFailed(
        f"the sandbox of node '{plan.node}' could not be started ({who} ended with {code})", hint=hint
    )
