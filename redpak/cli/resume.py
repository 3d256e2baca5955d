"""`redpak resume`: let frozen sandboxes go on."""

from __future__ import annotations

from redpak.cli import running
from redpak.cli.options import Arguments
from redpak.cli.pause import freezer
from redpak.errors import Refused
from redpak.state import journal, sandboxes

SUMMARY = "Let sandboxes go on that 'redpak pause' froze."
ARGUMENTS = (running.TARGETS,)
OPTIONS = ()
EXAMPLES = (("redpak resume web", "let it go on"),)


def main(args: Arguments) -> int:
    """Thaw them."""

    def act(target: str) -> None:
        one = sandboxes.find(target)
        group = freezer(one)
        if not group.frozen():
            raise Refused(f"{one.called} is not paused", hint="Run 'redpak ps'.")
        group.thaw()
        journal.note("resume", one.id, name=one.name)

    return running.for_each(args.words("ID"), act)
