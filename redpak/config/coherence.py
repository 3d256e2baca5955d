"""What an entry's mode demands of its other fields: red-pak documents these checks, but does not make them."""

from __future__ import annotations

from redpak.config.kinds_words import control
from redpak.config.yamlfile import clip

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.config.model import Variable

    Wrong = tuple[str, str, str]  # field, message, hint

BINDS = frozenset(
    ("Public", "Private", "Restricted", "PrivateRestricted", "PublicFile", "PrivateFile", "RestrictedFile")
)


def of_export(mode: str, path: str | None, mount: str | None) -> Wrong | None:
    """Compare an export's mode with its path. `mount` is None when it is absent or faulty."""
    if mode in BINDS:
        if path is not None and control(path):
            return "path", "'path' contains a line end", "Write the path in one line."
        if path is not None and not path.startswith(("/", "$")):
            message = f"'path' must be an absolute path, not '{clip(path)}'"
            return "path", message, "Start it with / or with a variable such as $NODE_PATH."
    elif mode == "Execfd":
        if not path:
            return "path", "mode Execfd needs 'path'", "Give the command whose output is shown."
    elif mode == "Symlink":
        if not path:
            return "path", "mode Symlink needs 'path'", "Give the target of the link."
        if control(path):
            return "path", "'path' contains a line end", "Write the path in one line."
    elif mode == "Internal":
        if not path or not (path.isascii() and path.isdigit() and 3 <= int(path[:9]) < 1 << 20):
            message = "mode Internal needs the number of a descriptor in 'path'"
            return "path", message, "Give a number from 3: 0 to 2 are the program's own."
    elif path is not None and (mount is None or tidy(path) != tidy(mount)):
        return "path", f"mode {mode} has no source", "Remove 'path'."
    return None


def of_variable(variable: Variable) -> Wrong | None:
    """Compare a variable's mode with its value."""
    mode, value = variable.mode, variable.value
    if mode in ("Remove", "Inherit"):
        if value is not None:
            return "value", f"mode {mode} takes no value", "Remove 'value', or change the mode."
    elif value is None:
        message = f"variable '{clip(variable.key)}' has no value"
        return "key", message, "Give 'value', or mode Inherit or Remove."
    elif mode == "Execfd" and not value:
        return "value", "mode Execfd needs a command", "Give the command whose output is the value."
    return None


def tidy(path: str) -> str:
    """Return a path without empty and '.' components, so that two spellings of one place compare equal."""
    return "/".join(part for part in path.split("/") if part not in ("", "."))
