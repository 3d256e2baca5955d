"""Options of an overlay as fsconfig(2) takes them: long lists of layers one by one, and what a user namespace needs."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.engine.native.tree import Option

STRING_MOST = 255  # bytes of one option


def overlay_options(options: list[Option], opened: list[int], *, userxattr: bool) -> list[Option]:
    """Return the options; descriptors that stand for long paths are added to `opened`, for the caller to close.

    `userxattr`: an ordinary user's overlay keeps its marks in user.* attributes (overlayfs.rst). Raises OSError.
    """
    given: list[Option] = []
    for key, value in options:
        long = isinstance(value, str) and len(os.fsencode(value)) > STRING_MOST
        if not long or not isinstance(value, str) or key not in ("lowerdir", "upperdir", "workdir"):
            given.append((key, value))
            continue
        paths = value.replace("\\:", "\0").split(":") if key == "lowerdir" else [value]
        for path in paths:
            fd = os.open(path.replace("\0", ":"), os.O_PATH | os.O_CLOEXEC)
            opened.append(fd)
            given.append(("lowerdir+" if key == "lowerdir" else key, fd))
    names = {key for key, _ in given}
    if userxattr and "upperdir" in names and "userxattr" not in names:
        given.append(("userxattr", None))
    return given
