"""One family of errors, each with its exit code.

A message names the act and the thing, in lower case, the thing in 'ticks'; a hint is one imperative sentence.
Library code raises; only `cli/main.py` turns an error into text and an exit code.
"""

from __future__ import annotations

from redpak.origin import Origin
from redpak.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType


class RedpakError(Exception):
    """Something failed (exit code 1)."""

    code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class Usage(RedpakError):
    """The command line is wrong (exit code 2)."""

    code = 2


class Fault(Record):
    """One thing that is wrong in a configuration file."""

    origin: Origin
    message: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.origin.full()}: {self.message}" + (f" ({self.hint})" if self.hint else "")


class BadConfig(RedpakError):
    """One or more configuration files are wrong (exit code 2); carries every fault that was found."""

    code = 2

    def __init__(self, faults: list[Fault] | tuple[Fault, ...], *, hint: str = "") -> None:
        self.faults = tuple(faults)
        count = len(self.faults)
        noun = "fault" if count == 1 else "faults"
        super().__init__(f"{count} {noun} in the configuration", hint=hint)


class Refused(RedpakError):
    """What was asked for cannot be done safely, or not as asked, so nothing was started (exit code 3)."""

    code = 3


class NotFound(RedpakError):
    """There is no such node, file or program (exit code 4)."""

    code = 4


class Busy(RedpakError):
    """Somebody else holds the lock (exit code 5)."""

    code = 5


class LaunchFailed(RedpakError):
    """redpak itself broke before the program started (exit code 125)."""

    code = 125


class CannotRun(RedpakError):
    """The program is there but cannot be executed (exit code 126)."""

    code = 126


class NoProgram(RedpakError):
    """The program is not there (exit code 127)."""

    code = 127


class doing:  # noqa: N801 - reads as a verb: with doing("read the node's config"):
    """Turn an OSError of the block into a RedpakError that says what was being done."""

    def __init__(self, act: str, *, hint: str = "") -> None:
        self.act = act
        self.hint = hint

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, OSError):
            told = not error.filename or f"'{error.filename}'" in self.act
            thing = "" if told else f" '{error.filename}'"
            why = (error.strerror or str(error)).lower()
            raise RedpakError(f"cannot {self.act}:{thing} {why}", hint=self.hint) from error
