"""Text of which a part is only known when the program starts.

A plan is data: making one runs no command. What a configuration wants computed at start (a `$(command)`, the
launcher's PID, a fresh UUID, today's date) stays in the text as a part that names the computation.
"""

from __future__ import annotations

from redpak.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Literal

    Asked = Literal["PID", "UUID", "TODAY"]
    Part = "str | Run | Ask"


class Run(Record):
    """The standard output of `bash -r -c command` (restricted shell), run when the program starts."""

    command: str


class Ask(Record):
    """A value that is new at every start."""

    name: Asked


class Text(Record):
    """Parts, in order; neighbouring strings are joined, so equal texts compare equal."""

    parts: tuple[str | Run | Ask, ...]

    @property
    def literal(self) -> str | None:
        """The text when nothing in it has to be computed at start, else None."""
        if not self.parts:
            return ""
        if len(self.parts) == 1 and isinstance(self.parts[0], str):
            return self.parts[0]
        return None

    def __str__(self) -> str:
        """Show the text to a person: what has to be computed appears as $(command) or $NAME."""
        shown = []
        for part in self.parts:
            match part:
                case str():
                    shown.append(part)
                case Run(command=command):
                    shown.append(f"$({command})")
                case Ask(name=name):
                    shown.append(f"${name}")
        return "".join(shown)

    def evaluate(self, run: Callable[[str], str], ask: Callable[[Asked], str]) -> str:
        """Return the final string; `run` runs a command, `ask` answers for PID, UUID and TODAY."""
        done = []
        for part in self.parts:
            match part:
                case str():
                    done.append(part)
                case Run(command=command):
                    done.append(run(command))
                case Ask(name=name):
                    done.append(ask(name))
        return "".join(done)


def text(*parts: str | Run | Ask) -> Text:
    """Return a Text of `parts`, neighbouring strings joined and empty ones dropped."""
    joined: list[str | Run | Ask] = []
    for part in parts:
        if isinstance(part, str):
            if not part:
                continue
            if joined and isinstance(joined[-1], str):
                joined[-1] += part
                continue
        joined.append(part)
    return Text(parts=tuple(joined))
