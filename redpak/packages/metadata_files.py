"""The proved metadata of one repository, and the files that belong to it, brought when somebody asks for them."""

from __future__ import annotations

import hashlib
import os

from redpak.errors import RedpakError, Refused, doing
from redpak.packages import fetch, repomd
from redpak.packages.access import Access
from redpak.packages.blobs import only_ours_or_roots
from redpak.packages.decompress import decompress
from redpak.packages.fetch import FetchFailed, Wanted
from redpak.packages.repoconfig import RepoConfig
from redpak.packages.repomd import Listed
from redpak.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from redpak.packages.fetch import Progress

ALTERNATIVES = {"group": ("group", "group_gz", "group_xz", "group_zst"), "comps": ("group", "group_gz")}


class RepoFailed(RedpakError):
    """A repository's metadata cannot be had. The message has dnf's words, `reasons` what each mirror said."""

    def __init__(
        self, name: str, why: str, *, reasons: Sequence[str] = (), hint: str = "", asked: bool = True
    ) -> None:
        begin = f"Failed to download metadata for repo '{name}': " if asked else ""
        super().__init__(begin + why, hint=hint)
        self.repo = name
        self.reasons = tuple(reasons)


class Metadata(Record):
    """The proved metadata of one repository."""

    id: str
    config: RepoConfig
    directory: str  # of the cache, its own
    repomd: str  # path of repomd.xml
    sha256: str  # of repomd.xml
    revision: str
    timestamp: int  # seconds: the latest of its files'
    fetched: float  # seconds since 1970
    expired: bool
    bases: tuple[str, ...]  # base URLs, the one that worked first
    files: tuple[Listed, ...]
    access: Access
    cache: str  # the cache directory as a whole
    offline: bool = False
    signed_by: str = ""  # fingerprint of the key that signed repomd.xml, where that was asked for

    def listed(self, kind: str) -> Listed | None:
        """Return what repomd.xml says of a kind of file: "primary", "filelists", "group", "modules" …"""
        for name in ALTERNATIVES.get(kind, (kind,)):
            for one in self.files:
                if one.kind == name:
                    return one
        return None

    def file(self, kind: str, *, progress: Progress | None = None) -> str:
        """Return the path of a decompressed file of the metadata, '' when the repository has none of that kind.

        It is downloaded when it is not in the cache. Raises RepoFailed.
        """
        one = self.listed(kind)
        if one is None:
            return ""
        path = self.plain_path(one)
        if not _own(path):
            bring([(self, kind)], progress=progress)
        return path

    def plain_path(self, one: Listed) -> str:
        """Return where a file of the metadata is, or will be, decompressed."""
        return os.path.join(self.directory, f"{one.checksum.partition(':')[2]}-{one.kind}")

    def urls(self, href: str, base: str = "") -> tuple[str, ...]:
        """Return where a location of the metadata can be had, the best first. Raises Refused when it leads away.

        `base` is the xml:base of a package; files of this host are only for repositories of this host.
        """
        repomd.safe(href)
        if not base:
            return tuple(repomd.join(one, href) for one in self.bases)
        if repomd.safe_base(base).startswith("file:") and not all(
            one.startswith("file:") for one in self.bases
        ):
            raise Refused(f"repository '{self.id}' leads to a file of this host: '{base}'")
        return (repomd.join(base, href),)


def directory_of(config: RepoConfig, cache: str) -> str:
    """Return the cache directory of a repository: another source has another one."""
    what = "\n".join((config.metalink or config.mirrorlist or " ".join(config.baseurl), config.username))
    return os.path.join(cache, "repos", f"{config.id}-{hashlib.sha256(what.encode()).hexdigest()[:16]}")


def bring(pairs: Sequence[tuple[Metadata, str]], *, progress: Progress | None = None) -> None:
    """Download and decompress files of metadata, those that are not there yet. Raises RepoFailed."""
    wanted, plans = [], {}
    for one, kind in pairs:
        listed = one.listed(kind)
        if listed is None or _own(one.plain_path(listed)):
            continue
        name = one.config.name or one.id
        if kind != "primary" or name in plans:
            name = f"{name}: {one.id} {kind}"
        try:
            urls = one.urls(listed.href, listed.base)
        except Refused as error:
            raise RepoFailed(one.id, error.message, hint=error.hint) from None
        if one.offline:
            urls = tuple(url for url in urls if url.startswith("file:"))
        plans[name] = (one, listed)
        wanted.append(
            Wanted(
                name=name,
                urls=urls,
                size=listed.size,
                checksum=listed.checksum,
                access=one.access,
                rehash=False,
            )
        )
    if not wanted:
        return
    parallel = max(one.config.max_parallel_downloads for one, _ in pairs)
    try:
        files = fetch.fetch(wanted, cache=pairs[0][0].cache, parallel=parallel, progress=progress)
    except FetchFailed as error:
        name, reasons = next(iter(error.failed.items()))
        one, listed = plans[name]
        if one.offline:
            told = f"Cache-only enabled but no cache for '{one.id}'"
            hint = "Run the command without --cacheonly once."
            raise RepoFailed(one.id, told, hint=hint, asked=False) from None
        why = (
            f"Yum repo downloading error: Downloading error(s): {listed.href} - "
            "Cannot download, all mirrors were already tried without success"
        )
        raise RepoFailed(one.id, why, reasons=reasons, hint="Try again later, or with --refresh.") from None
    for name, path in files.items():
        one, listed = plans[name]
        _unpack(one, listed, path)


def _own(path: str) -> bool:
    """Tell whether a file is there that nobody but this user or root can have written."""
    try:
        return only_ours_or_roots(os.lstat(path))
    except OSError:
        return False


def _unpack(one: Metadata, listed: Listed, path: str) -> None:
    to = one.plain_path(listed)
    aside = f"{to}.{os.urandom(6).hex()}"
    try:
        with doing("unpack the metadata"):
            decompress(
                path,
                aside,
                checksum=listed.checksum,
                open_checksum=listed.open_checksum,
                open_size=listed.open_size,
            )
            os.chmod(aside, 0o644)
            os.rename(aside, to)
    except RedpakError as error:
        raise RepoFailed(one.id, error.message, hint=error.hint) from None
    finally:
        try:
            os.unlink(aside)
        except FileNotFoundError:
            pass
