"""Messages in red-pak's format, and the last door of its programs: errors become lines and an exit code."""

from __future__ import annotations

import os
import sys

from redpak import log
from redpak.errors import BadConfig, RedpakError, Usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

LEVELS = ("EMERGENCY", "ALERT", "CRITICAL", "ERROR", "WARNING", "NOTICE", "INFO", "DEBUG", "TRACE")
ERROR, WARNING, NOTICE, INFO, DEBUG = 3, 4, 5, 6, 7
_state = {"level": WARNING}  # set once by the command line


def listen(level: int) -> None:
    """Show messages up to this level of red-pak's scale, in redpak's own rooms too."""
    _state["level"] = level
    log.level = log.DEBUG if level >= DEBUG else log.INFO if level >= NOTICE else log.WARNING


def loudness(value: str | None) -> int:
    """Return the level that -v, -vv, -vN or --verbose=N means. Raises Usage."""
    if value is None:
        return NOTICE
    if value.isascii() and value.isdigit():
        return int(value)
    if value.strip("v"):
        raise Usage(f"option '--verbose' takes a number, not '{value}'")
    return NOTICE + len(value)


def say(level: int, message: str) -> None:
    """Print `[LEVEL]:  message` on standard error if the level is listened to."""
    if level > _state["level"]:
        return
    line = log.printable(f"[{LEVELS[level]}]:  {message}").replace("\n", "\\n")
    if level <= WARNING and log.colourful():
        line = f"\x1b[31m{line}\x1b[0m"
    sys.stderr.write(line + "\n")


def guarded(act: Callable[[], int], *, before: str = "", closing: str = "", broke: int = 1) -> int:
    """Return what `act` returns, or report why it failed and return the code for that.

    `before` goes in front of the reason, `closing` is a last line. `broke` is the code for failures of our own:
    125 where the program's own codes come through.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # the caller closed it
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 - lives as long as the process
    try:
        code = act()
        sys.stdout.flush()
        return code
    except RedpakError as error:
        for line in faults(error):
            say(ERROR, line)
        say(ERROR, before + reason(error))
        if closing:
            say(ERROR, closing)
        return broke if error.code == 1 else error.code
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - handed on to the one last door of redpak
        return _last_door(error, broke)


def _last_door(error: BaseException, broke: int) -> int:
    from redpak.cli.main import guard

    def again() -> int:
        raise error

    return guard(again, broke=broke)


def faults(error: RedpakError) -> list[str]:
    """Return a line for each fault in the configuration, with its place and hint."""
    if not isinstance(error, BadConfig) or _is_forbidden(error):
        return []
    return [str(fault) for fault in error.faults]


def reason(error: RedpakError) -> str:
    """Return what went wrong and what to do about it, in one line."""
    hint = error.hint or ("Try --help." if isinstance(error, Usage) else "")
    return f"{error.message} ({hint})" if hint else error.message


def _is_forbidden(error: BadConfig) -> bool:
    """Tell whether an error is one whose message is compared with red-pak's, word for word."""
    from redpak.config.upstream_walk import Forbidden

    return isinstance(error, Forbidden)
