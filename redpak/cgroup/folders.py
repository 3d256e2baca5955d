"""Groups as the directories that they are: list them, remove them."""

from __future__ import annotations

import errno
import os

from redpak.errors import RedpakError

GONE = (errno.ENOENT, errno.ENODEV)  # the group was removed; read(2) of a file that is open says ENODEV


def tree(top: str) -> list[str]:
    """Return a directory and all groups below, the top first. Groups that go meanwhile are left out."""
    found = [top]
    for at in found:
        try:
            found += [entry.path for entry in os.scandir(at) if entry.is_dir(follow_symlinks=False)]
        except OSError as error:
            if error.errno not in GONE:
                raise
    return found


def rmdir(path: str) -> bool:
    """Remove one empty group; False when there is something in it. Raises RedpakError for want of rights."""
    try:
        os.rmdir(path)
    except OSError as error:
        if error.errno in (errno.EBUSY, errno.ENOTEMPTY):
            return False
        if error.errno not in GONE:
            raise RedpakError(
                f"cannot remove the control group '{path}': {(error.strerror or '').lower()}"
            ) from error
    return True


def remove_tree(top: str, tries: int = 12) -> None:
    """Remove a group without processes, and those below it. Waits for processes that are just ending.

    12 tries are a second, 45 are ten: a busy host may take long to let a killed process end.
    """
    import time

    for attempt in range(tries):
        left = [path for path in reversed(tree(top)) if os.path.isdir(path) and not rmdir(path)]
        if not left:
            return
        time.sleep(0.001 * 2 ** min(attempt, 8))
    raise RedpakError(f"cannot remove the control group '{left[0]}': there are processes in it")
