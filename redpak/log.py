"""Progress and warnings, on standard error. `info` is what a user wants to see, `debug` what is needed to replay it."""

from __future__ import annotations

import os
import sys

ERROR, WARNING, INFO, DEBUG = 0, 1, 2, 3
_NAMES = ("error", "warning", "info", "debug")
_COLOURS = ("\x1b[31m", "\x1b[33m", "", "\x1b[2m")
level = WARNING  # set once by the command line
colour: bool | None = None  # --color; None asks the environment and the terminal


def printable(text: str) -> str:
    """Return `text` with control and bidirectional characters escaped: names are data, terminals obey them."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)


def colourful() -> bool:
    """Tell whether standard error wants colour (NO_COLOR, CLICOLOR_FORCE, TERM=dumb, --color)."""
    if colour is not None:
        return colour
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("CLICOLOR_FORCE", "0") != "0":
        return True
    return os.environ.get("TERM", "dumb") != "dumb" and sys.stderr.isatty()


def say(severity: int, message: str) -> None:
    """Print one message if the level admits it."""
    if severity > level:
        return
    label = "" if severity == INFO else f"{_NAMES[severity]}: "
    line = printable(f"redpak: {label}{message}")
    if colourful() and _COLOURS[severity]:
        line = f"{_COLOURS[severity]}{line}\x1b[0m"
    sys.stderr.write(line + "\n")


def error(message: str) -> None:
    """Report why the command failed."""
    say(ERROR, message)


def warn(message: str) -> None:
    """Report something that is probably wrong; end with what is done about it."""
    say(WARNING, message)


def info(message: str) -> None:
    """Report a step."""
    say(INFO, message)


def debug(message: str) -> None:
    """Report what somebody would need to replay the command."""
    say(DEBUG, message)
