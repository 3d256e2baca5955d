"""The metadata of repositories: fetched, proved and cached; each file of it at hand when somebody asks.

    CACHE/repos/ID-HASH/repomd.xml       what the repository said last, with repomd.xml.asc when it is signed
    CACHE/repos/ID-HASH/state.json       when that was, and where it came from
    CACHE/repos/ID-HASH/DIGEST-primary   a file of it, decompressed, by the digest that repomd.xml has of it
    CACHE/seen/ID-HASH.json, .keys       for plain roots: the newest that was seen, and the keys that were accepted
                                         for it; a node has them as .redpak/repos/ID.json, ID-HASH.keys

Nothing is parsed before it is proved: the signature over repomd.xml first, then size and digest of each file.
"""

from __future__ import annotations

import time

from redpak import log, paths
from redpak.errors import RedpakError
from redpak.packages import repomd
from redpak.packages.fetch import FetchFailed
from redpak.packages.metadata_ask import ask_all, cached, take
from redpak.packages.metadata_files import Metadata, RepoFailed, bring, directory_of
from redpak.packages.repoconfig import RepoConfig

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from redpak.packages.fetch import Progress
    from redpak.packages.keystore import Confirm
    from redpak.packages.model import Site

__all__ = ["Metadata", "RepoFailed", "bring", "cache_of", "directory_of", "sync"]


def cache_of(site: Site) -> str:
    """Return the cache directory of a site."""
    return site.cachedir or paths.cache()


def sync(
    configs: Iterable[RepoConfig],
    *,
    site: Site,
    refresh: bool = False,
    offline: bool = False,
    progress: Progress | None = None,
    want: Sequence[str] = ("primary",),
    confirm: Confirm | None = None,
    warn: Callable[[str], None] | None = None,
) -> list[Metadata]:
    """Return the metadata of every enabled repository that can be had, in the order of `configs`.

    `refresh` asks even where the cache is fresh; `offline` takes the cache, however old, and asks nobody. The
    files of kind `want` are brought at once, `progress` calling them by the repository's name. `confirm` is
    asked before a key is trusted for signatures over metadata. Repositories with skip_if_unavailable that fail
    are left out, which `warn` hears in dnf's words. Raises RepoFailed for the others, RedpakError.
    """
    say = warn or log.debug
    cache = cache_of(site)
    enabled = [config for config in configs if config.enabled]
    now = time.time()
    found: dict[str, Metadata] = {}
    ignored: list[str] = []
    stale = []
    for config in enabled:
        try:
            kept = cached(config, cache, site, now)
            local = _is_local(config)
            if kept is not None and (offline or not (refresh or kept.expired or local)):
                found[config.id] = kept.but(offline=offline)
            elif offline and not local:
                raise RepoFailed(config.id, f"Cache-only enabled but no cache for '{config.id}'", asked=False)
            else:
                stale.append(config)
        except RepoFailed as error:
            _skip(error, config, ignored, say)
    for config, answer in zip(stale, ask_all(stale), strict=True):
        try:
            if isinstance(answer, RedpakError):
                raise _unavailable(config, answer, cached(config, cache, site, now))
            found[config.id] = take(config, answer, cache, site, confirm)
        except RepoFailed as error:
            _skip(error, config, ignored, say)
    _bring_each([(one, kind) for one in found.values() for kind in want], found, ignored, say, progress)
    if ignored:
        say(f"Ignoring repositories: {', '.join(ignored)}")
    return [found[config.id] for config in enabled if config.id in found]


def _skip(error: RepoFailed, config: RepoConfig, ignored: list[str], say: Callable[[str], None]) -> None:
    """Leave a repository out, or fail when it must be there."""
    if error.reasons:
        listed = "".join(f"\n  - {reason}" for reason in error.reasons)
        say(f"Errors during downloading metadata for repository '{config.id}':{listed}")
    if not config.skip_if_unavailable:
        raise error
    say(f"Error: {error.message}")
    ignored.append(config.id)


def _is_local(config: RepoConfig) -> bool:
    return (
        not config.metalink and not config.mirrorlist and all(u.startswith("file:") for u in config.baseurl)
    )


def _unavailable(config: RepoConfig, error: RedpakError, kept: Metadata | None) -> RepoFailed:
    reasons: tuple[str, ...] = ()
    why = error.message
    if isinstance(error, FetchFailed):
        reasons = error.failed[""]
        why = f"Cannot download repomd.xml: Cannot download {repomd.PLACE}: All mirrors were tried"
    hint = error.hint or f"Correct the repository, or go on without it: --disablerepo={config.id}"
    if kept is not None:
        day = time.strftime("%Y-%m-%d", time.localtime(kept.fetched))
        hint = (
            f"Go on with the metadata of {day} by --cacheonly, or without the repository by "
            f"--disablerepo={config.id} or its key skip_if_unavailable=1."
        )
    return RepoFailed(config.id, why, reasons=reasons, hint=hint)


def _bring_each(
    pairs: Sequence[tuple[Metadata, str]],
    found: dict[str, Metadata],
    ignored: list[str],
    say: Callable[[str], None],
    progress: Progress | None,
) -> None:
    """Bring files of several repositories; one that cannot be had takes its repository out, or fails."""
    try:
        bring(pairs, progress=progress)
    except RepoFailed as error:
        config = found[error.repo].config
        _skip(error, config, ignored, say)
        del found[error.repo]
        _bring_each([pair for pair in pairs if pair[0].id != error.repo], found, ignored, say, progress)
