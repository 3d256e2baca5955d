"""Paths compared as text: normal form and containment. Nothing here looks at the disk."""

from __future__ import annotations


def normalise(path: str) -> str:
    """Return an absolute path without empty and '.' components and without a trailing slash.

    Raises ValueError, whose text completes the sentence "'PATH' …", for a path that is empty or relative, that
    holds a NUL, or that goes up with '..': what '..' means depends on symbolic links, so no text can say it.
    """
    if not path:
        raise ValueError("is empty")
    if "\0" in path:
        raise ValueError("holds a NUL character")
    if not path.startswith("/"):
        raise ValueError("is not absolute")
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise ValueError("goes up with '..'")
    return "/" + "/".join(parts)


def is_at_or_beneath(path: str, top: str) -> bool:
    """Tell whether normalised `path` is `top` or lies somewhere beneath it."""
    return path == top or is_beneath(path, top)


def is_beneath(path: str, top: str) -> bool:
    """Tell whether normalised `path` lies strictly beneath `top`."""
    return path != top and path.startswith(top if top.endswith("/") else top + "/")


def parents(path: str) -> list[str]:
    """Return the directories above a normalised path, innermost first, '/' last."""
    above = []
    while path != "/":
        path = path.rpartition("/")[0] or "/"
        above.append(path)
    return above
