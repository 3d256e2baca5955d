"""`redpak resume`: let frozen sandboxes go on."""

from __future__ import annotations

from redpak.cli import running
from redpak.cli.options import Arguments
from redpak.cli.pause import freezer
from redpak.errors import Refused
from redpak.state import journal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from redpak.state.sandboxes import Sandbox

SUMMARY = "Let sandboxes go on that 'redpak pause' froze."
ARGUMENTS = (running.TARGETS,)
OPTIONS = (running.DONE,)
EXAMPLES = (("redpak resume web", "let it go on"),)


def main(args: Arguments) -> int:
    """Thaw them."""

    def act(one: Sandbox) -> dict[str, Any]:
        group = freezer(one)
        if not group.frozen():
            raise Refused(f"{one.called} is not paused", hint="Run 'redpak ps'.")
        group.thaw()
        journal.note("resume", one.id, name=one.name)
        return running.acted(one, "resumed")

    return running.for_each(args, act)
