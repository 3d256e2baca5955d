"""`redpak pause`: freeze sandboxes."""

from __future__ import annotations

from redpak.cli import grouped, running
from redpak.cli.options import Arguments
from redpak.errors import Refused
from redpak.state import journal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from redpak.cgroup.group import Group
    from redpak.state.sandboxes import Sandbox

SUMMARY = (
    "Freeze all processes of sandboxes, by the freezer of their control groups: they keep their memory and get no\n"
    "processor until 'redpak resume'. What has no control group is refused: SIGSTOP would be seen by the programs,\n"
    "and SIGCONT would also wake what had stopped by itself."
)
ARGUMENTS = (running.TARGETS,)
OPTIONS = (running.DONE,)
EXAMPLES = (("redpak pause web", "freeze it"), ("redpak resume web", "let it go on"))


def main(args: Arguments) -> int:
    """Freeze them."""

    def act(one: Sandbox) -> dict[str, Any]:
        group = freezer(one)
        if group.frozen():
            raise Refused(f"{one.called} is paused already", hint=f"Let it go on: redpak resume {one.called}")
        group.freeze()
        journal.note("pause", one.id, name=one.name)
        return running.acted(one, "paused")

    return running.for_each(args, act)


def freezer(one: Sandbox) -> Group:
    """Return the group that holds a sandbox. Raises Refused where it has none."""
    group = grouped.of(one)
    if group is None:
        hint = "Start it with 'redpak run --detach', as a user who may make control groups."
        raise Refused(f"{one.called} cannot be paused: it has no control group of its own", hint=hint)
    return group
