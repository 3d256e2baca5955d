"""`clean`: remove what is cached; in a node `clean all` also removes generations that nobody needs any more."""

from __future__ import annotations

import json
import os

from redpak import fs
from redpak.cli import output
from redpak.cli.dnf.options import Argument, Option
from redpak.errors import doing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from redpak.cli.dnf.options import Parsed
    from redpak.cli.dnf.session import Session

# What each word stands for.
KINDS = {
    "metadata": ("metadata", "dbcache", "expire-cache"),
    "packages": ("packages",),
    "dbcache": ("dbcache",),
    "expire-cache": ("expire-cache",),
    "all": ("metadata", "packages", "dbcache"),
}
OPTIONS: tuple[Option, ...] = ()
ARGUMENTS = (Argument(dest="type", count="+", choices=tuple(KINDS), help="what to remove"),)


def run(session: Session, args: Parsed) -> int:
    """Remove cached files."""
    from redpak.packages.metadata import cache_of

    cache = cache_of(session.site)
    kinds = {kind for word in args.values("type") for kind in KINDS[word]}
    session.debug(f"Cleaning data: {' '.join(sorted(kinds))}")
    expired = _expire(cache) if "expire-cache" in kinds else 0
    if "expire-cache" in kinds:
        session.info("Cache was expired")
    gone = _remove({path for kind in kinds for path in _files(cache, kind)})
    generations = _collect(session) if session.is_node and "all" in args.values("type") else []
    if session.as_json:
        output.json({"files": gone, "expired": expired, "generations": generations})
        return 0
    session.info("1 file removed" if gone == 1 else f"{gone} files removed")
    if generations:
        word = "generation" if len(generations) == 1 else "generations"
        session.info(f"{word} {', '.join(map(str, generations))} removed")
    return 0


def _files(cache: str, kind: str) -> Iterator[str]:
    """Yield the cached files of a kind. Blobs of metadata are told from packages by what repomd.xml lists."""
    blobs, listed = os.path.join(cache, "blobs"), _listed(cache)
    match kind:
        case "metadata":
            yield from _beneath(os.path.join(cache, "repos"))
            yield from (path for path in _beneath(blobs) if os.path.basename(path) in listed)
        case "packages":
            yield from (path for path in _beneath(blobs) if os.path.basename(path) not in listed)
        case "dbcache":
            yield from _beneath(os.path.join(cache, "solv"))


def _beneath(folder: str) -> Iterator[str]:
    for top, _, names in os.walk(folder):
        yield from (os.path.join(top, name) for name in names)


def _listed(cache: str) -> set[str]:
    """Return the digests of the files that cached metadata consists of."""
    from redpak.errors import RedpakError
    from redpak.packages import repomd

    found: set[str] = set()
    for path in _beneath(os.path.join(cache, "repos")):
        if os.path.basename(path) != "repomd.xml":
            continue
        try:
            with open(path, "rb") as file:
                listing = repomd.parse(file.read(repomd.BIGGEST), what=path)
        except (OSError, RedpakError):
            continue
        found |= {one.checksum.partition(":")[2] for one in listing.files}
    return found


def _expire(cache: str) -> int:
    """Let the metadata of every repository be as old as can be. Returns how many there are."""
    count = 0
    for path in _beneath(os.path.join(cache, "repos")):
        if os.path.basename(path) != "state.json":
            continue
        try:
            with open(path, encoding="utf-8") as file:
                state = json.load(file)
            fs.write_atomically(path, json.dumps({**state, "fetched": 0}).encode(), durable=False)
        except (OSError, ValueError, TypeError):
            _remove({path})  # what cannot be read is of no use
        count += 1
    return count


def _remove(paths: set[str]) -> int:
    """Remove files and return how many; one that somebody else removed first does not count."""
    count = 0
    with doing("clean the cache"):
        for path in sorted(paths):
            try:
                os.unlink(path)
            except FileNotFoundError:
                continue
            count += 1
    return count


def _collect(session: Session) -> list[int]:
    from redpak.node.install import collect

    return list(collect(session.root))
