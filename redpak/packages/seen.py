"""The newest metadata that a site has seen of each repository: an older one is a replay, and refused.

A node keeps it in `.redpak/repos/ID.json`, a plain root in the cache.
"""

from __future__ import annotations

import json
import os
import time

from redpak import fs, log, paths
from redpak.errors import RedpakError, Refused
from redpak.fs import write_atomically
from redpak.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.packages.model import Site


class Seen(Record):
    """The newest repomd.xml that was taken from one source."""

    source: str  # metalink, mirror list or first base URL: another source starts anew
    revision: str
    timestamp: int  # seconds
    sha256: str


def path_of(site: Site, name: str, directory: str) -> str:
    """Return the file that remembers; `directory` is the repository's in the cache."""
    if site.is_node:
        return os.path.join(site.path, paths.SEEN_METADATA, f"{name}.json")
    return beside(directory) + ".json"


def beside(directory: str) -> str:
    """Return where the cache remembers what cleaning it must not forget: in 'seen', beside 'repos'."""
    repos, name = os.path.split(directory)
    return os.path.join(os.path.dirname(repos), "seen", name)


def read(path: str) -> Seen | None:
    """Return what was seen last, None when nothing was. Raises RedpakError when the file is damaged."""
    try:
        with open(path, encoding="utf-8", opener=fs.regular) as file:
            said = json.load(file)
        return Seen(
            source=str(said["source"]),
            revision=str(said["revision"]),
            timestamp=int(said["timestamp"]),
            sha256=str(said["sha256"]),
        )
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        told = "it holds no such thing" if not isinstance(error, OSError) else (error.strerror or "").lower()
        raise RedpakError(
            f"cannot read what was last seen of the repository in '{path}': {told}",
            hint="Remove the file, if you know why it is damaged.",
        ) from None


def refuse_older(path: str, new: Seen, *, name: str) -> None:
    """Compare with what was seen last. Raises Refused when `new` is older, RedpakError."""
    last = read(path)
    if last is None or last.source != new.source or last.sha256 == new.sha256:
        return
    older = ""
    if new.timestamp < last.timestamp:
        older = f"it is of {_day(new.timestamp)}, and metadata of {_day(last.timestamp)} was seen before"
    elif new.timestamp == last.timestamp and -1 < _number(new.revision) < _number(last.revision):
        older = f"its revision is {new.revision}, and {last.revision} was seen before"
    if older:
        raise Refused(
            f"the metadata is older than what was seen: {older}",
            hint=f"If that is right, go on with --setopt={name}.allow_older_metadata=1.",
        )


def remember(path: str, new: Seen) -> None:
    """Write down what was taken. A site that this user may not write to stays as it is."""
    try:
        if read(path) == new:
            return
        os.makedirs(os.path.dirname(path), exist_ok=True)
        data = {key: getattr(new, key) for key in Seen.__fields__}
        write_atomically(path, (json.dumps(data, indent=1, sort_keys=True) + "\n").encode())
    except (OSError, RedpakError) as error:
        log.debug(f"cannot remember the newest metadata in '{path}': {error}")


def _number(text: str) -> int:
    """Return a revision as a number, -1 when it is none: such revisions have no order."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else -1


def _day(timestamp: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(timestamp))
