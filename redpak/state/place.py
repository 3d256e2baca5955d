"""The runtime directory: where a user's records of what runs are kept. It never outlives a start of the host."""

from __future__ import annotations

import os
import stat

from redpak.errors import Refused, doing
from redpak.paths import RUNTIME, runtime

NAMED = RUNTIME
directory = runtime
MODE = 0o700


def _judge(where: str) -> None:
    """Raise Refused unless the directory is ours, and only ours."""
    at = os.lstat(where)
    hint = "Remove it, or set XDG_RUNTIME_DIR to a directory of yours."
    if not stat.S_ISDIR(at.st_mode):
        raise Refused(f"the runtime directory '{where}' is no directory", hint=hint)
    if at.st_uid != os.geteuid():
        raise Refused(f"the runtime directory '{where}' belongs to another user (uid {at.st_uid})", hint=hint)
    if at.st_mode & 0o077:
        raise Refused(
            f"the runtime directory '{where}' is open to other users (mode {stat.S_IMODE(at.st_mode):04o})",
            hint=f"Look at what is in it, then run: chmod 700 {where}",
        )


def existing() -> str:
    """Return the runtime directory, '' where nothing was ever started. Raises Refused for one that is not ours."""
    where = directory()
    with doing(f"look at the runtime directory '{where}'"):
        try:
            _judge(where)
        except (FileNotFoundError, NotADirectoryError):
            return ""
    return where


def ready(*parts: str) -> str:
    """Return the runtime directory, or one beneath it, made where it is not there (0700).

    Raises Refused for one that is not ours (planted), RedpakError where it cannot be made.
    """
    where = directory()
    with doing(f"make the runtime directory '{where}'", hint="Set XDG_RUNTIME_DIR to a directory of yours."):
        if not os.path.isdir(os.path.dirname(where)) and os.geteuid() == 0:
            os.makedirs(os.path.dirname(where), mode=0o755, exist_ok=True)
        try:
            os.mkdir(where, MODE)
        except FileExistsError:
            pass
        _judge(where)
        for part in parts:
            where = os.path.join(where, part)
            try:
                os.mkdir(where, MODE)
            except FileExistsError:
                pass
    return where
