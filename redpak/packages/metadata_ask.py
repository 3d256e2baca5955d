"""Ask repositories for their repomd.xml, and prove what they say before anything of it is used."""

from __future__ import annotations

import hashlib
import json
import os
import time

from redpak import log, paths
from redpak.errors import RedpakError, Refused, doing
from redpak.fs import write_atomically
from redpak.packages import fetch, keys, keystore, mirrors, repomd, seen
from redpak.packages.access import Access, access_of, shown
from redpak.packages.fetch import FetchFailed
from redpak.packages.metadata_files import Metadata, RepoFailed, directory_of
from redpak.packages.repoconfig import NEVER, RepoConfig
from redpak.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from redpak.packages.keystore import Confirm
    from redpak.packages.model import Site
    from redpak.packages.seen import Seen

AT_ONCE = 6  # repositories that are asked at the same time
OLD = 24 * 3600  # seconds after which files that nothing refers to are removed


class Answer(Record):
    """What a repository said."""

    data: bytes  # repomd.xml
    signature: bytes
    bases: tuple[str, ...]
    missing: str = ""  # why there is no signature


def ask_all(configs: Sequence[RepoConfig]) -> list[Answer | RedpakError]:
    if len(configs) < 2:
        return [_ask(config) for config in configs]
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        return list(pool.map(_ask, configs))


def _ask(config: RepoConfig) -> Answer | RedpakError:
    """Fetch repomd.xml and its signature from the best mirror."""
    access = access_of(config)
    try:
        if config.sslverifystatus:
            raise Refused(
                "'sslverifystatus' asks for a check of certificates (OCSP stapling) that is not made here",
                hint="Set sslverifystatus=0 if you can do without.",
            )
        found = _mirrors(config, access)

        def fault(data: bytes) -> str:
            if found.digests and not any(_has(data, digest) for digest in found.digests):
                return "repomd.xml is not the one that the metalink names"
            return ""

        urls = [repomd.join(base, repomd.PLACE) for base in found.bases]
        data, url = fetch.get(urls, access=access, limit=repomd.BIGGEST, fault=fault)
        best = url[: -len(repomd.PLACE) - 1]
        signature, missing = b"", ""
        if config.repo_gpgcheck:
            try:
                signature, _ = fetch.get([f"{url}.asc"], access=access, limit=1 << 20)
            except FetchFailed as error:
                missing = error.failed[""][-1]
        bases = (best, *(base for base in found.bases if base != best))
        return Answer(data=data, signature=signature, bases=bases, missing=missing)
    except RedpakError as error:
        return error


def _has(data: bytes, digest: str) -> bool:
    kind, _, digits = digest.partition(":")
    return hashlib.new(kind, data).hexdigest() == digits


def _mirrors(config: RepoConfig, access: Access) -> mirrors.Mirrors:
    listing = config.metalink or config.mirrorlist
    own = tuple(url.rstrip("/") for url in config.baseurl)
    if not listing:
        return mirrors.Mirrors(bases=own)
    try:
        data, _ = fetch.get([listing], access=access, limit=mirrors.BIGGEST)
        kind = "metalink" if config.metalink else "mirrorlist"
        found = mirrors.parse(data, what=f"{kind} '{shown(listing)}'")
    except RedpakError as error:
        if not own or config.metalink:  # a metalink's digests are not to be got round
            raise
        log.debug(f"{config.id}: {error.message}")
        return mirrors.Mirrors(bases=own)
    return found.but(bases=tuple(dict.fromkeys((*own, *found.bases))))


def take(config: RepoConfig, answer: Answer, cache: str, site: Site, confirm: Confirm | None) -> Metadata:
    """Prove what a repository said, and keep it. Raises RepoFailed."""
    directory = directory_of(config, cache)
    try:
        key = _prove(config, answer, _home(site, directory), confirm)
        listing = repomd.parse(answer.data, what="repomd.xml")
        new = _seen(config, listing, answer.data)
        remembered = seen.path_of(site, config.id, directory)
        if not config.allow_older_metadata:
            seen.refuse_older(remembered, new, name=config.id)
        state = {"fetched": time.time(), "bases": list(answer.bases), "sha256": new.sha256}
        with doing("keep the metadata"):
            os.makedirs(directory, exist_ok=True)
        if answer.signature:
            write_atomically(f"{directory}/repomd.xml.asc", answer.signature, durable=False)
        write_atomically(f"{directory}/repomd.xml", answer.data, durable=False)
        secret = any("@" in base for base in answer.bases)
        mode = 0o600 if secret else 0o644
        write_atomically(f"{directory}/state.json", json.dumps(state).encode(), mode=mode, durable=False)
        seen.remember(remembered, new)
        _sweep(directory, listing)
    except RepoFailed:
        raise
    except RedpakError as error:
        raise RepoFailed(config.id, error.message, hint=error.hint) from None
    return _made(config, listing, directory, cache, state, key, expired=False)


def _seen(config: RepoConfig, listing: repomd.Repomd, data: bytes) -> Seen:
    return seen.Seen(
        source=shown(config.source),
        revision=listing.revision,
        timestamp=listing.timestamp,
        sha256=hashlib.sha256(data).hexdigest(),
    )


def _made(
    config: RepoConfig,
    listing: repomd.Repomd,
    directory: str,
    cache: str,
    state: dict[str, object],
    key: str,
    *,
    expired: bool,
) -> Metadata:
    bases = state["bases"]
    return Metadata(
        id=config.id,
        config=config,
        directory=directory,
        repomd=f"{directory}/repomd.xml",
        sha256=str(state["sha256"]),
        revision=listing.revision,
        timestamp=listing.timestamp,
        fetched=float(str(state["fetched"])),
        expired=expired,
        bases=tuple(str(base) for base in bases) if isinstance(bases, list) else (),
        files=listing.files,
        access=access_of(config),
        cache=cache,
        signed_by=key,
    )


def _home(site: Site, directory: str) -> str:
    """Return where the keys are kept whose signatures over metadata of this source a site accepts."""
    if site.is_node:
        return os.path.join(site.path, paths.SEEN_METADATA, os.path.basename(directory) + ".keys")
    return seen.beside(directory) + ".keys"


def _prove(config: RepoConfig, answer: Answer, home: str, confirm: Confirm | None) -> str:
    """Return the fingerprint of the key that signed repomd.xml, '' where nobody asks. Raises Refused."""
    if not config.repo_gpgcheck:
        return ""
    begin = "repomd.xml GPG signature verification error: Bad GPG signature"
    if not answer.signature:
        told = f": {answer.missing}" if answer.missing else ""
        raise Refused(
            "GPG verification is enabled, but GPG signature is not available. This may be an error or the "
            f"repository does not support GPG verification{told}",
            hint="Ask for signed metadata, or set repo_gpgcheck=0 if you can do without.",
        )
    ring = keystore.read_directory(home)
    verdict = keys.judge(answer.data, answer.signature, ring)
    if verdict.state in ("unknown", "expired") and config.gpgkey:
        taken, refused = keystore.offer(config.gpgkey, access_of(config), ring, confirm)
        for key in taken:
            ring = ring.with_keys(key)
            _try_to_store(home, key)
        verdict = keys.judge(answer.data, answer.signature, ring)
        if refused and verdict.state == "unknown":
            raise Refused(f"{begin}: no key was accepted", hint="Answer yes, or give -y, to trust the key.")
    if not verdict:
        hint = "Tell who publishes the repository."
        if verdict.state == "unknown" and not config.gpgkey:
            hint = "Name the key that the repository is signed by: gpgkey=URL in its .repo file."
        raise Refused(f"{begin}: {verdict.why}", hint=hint)
    return verdict.key.fingerprint if verdict.key else ""


def _try_to_store(home: str, key: keys.Key) -> None:
    try:
        keystore.store(home, key)
    except RedpakError as error:  # then it is asked for again the next time
        log.debug(error.message)


def cached(config: RepoConfig, cache: str, site: Site, now: float) -> Metadata | None:
    """Return what the cache has of a repository, proved anew; None when that is nothing useful."""
    directory = directory_of(config, cache)
    try:
        with open(f"{directory}/state.json", encoding="utf-8") as file:
            state = json.load(file)
        with open(f"{directory}/repomd.xml", "rb") as file:
            data = file.read(repomd.BIGGEST)
        if hashlib.sha256(data).hexdigest() != state["sha256"]:
            return None
        age = now - float(state["fetched"])
        signature = _read(f"{directory}/repomd.xml.asc") if config.repo_gpgcheck else b""
        answer = Answer(data=data, signature=signature, bases=())
        key = _prove(config.but(gpgkey=()), answer, _home(site, directory), None)
        listing = repomd.parse(data, what="repomd.xml")
        if not config.allow_older_metadata:  # another site with this cache may have seen newer
            new = _seen(config, listing, data)
            seen.refuse_older(seen.path_of(site, config.id, directory), new, name=config.id)
    except (OSError, ValueError, KeyError, TypeError, RecursionError, RedpakError) as error:
        log.debug(f"no cached metadata of repository '{config.id}': {error}")
        return None
    expired = age < 0 or (config.metadata_expire != NEVER and age > config.metadata_expire)
    return _made(config, listing, directory, cache, state, key, expired=expired)


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read(1 << 20)


def _sweep(directory: str, listing: repomd.Repomd) -> None:
    """Remove decompressed files that no longer belong to the metadata, once nobody can still be reading them."""
    current = {one.checksum.partition(":")[2] for one in listing.files}
    for name in os.listdir(directory):
        path = os.path.join(directory, name)
        if "-" in name and name.partition("-")[0] not in current and name.partition("-")[0].isalnum():
            try:
                if time.time() - os.stat(path).st_mtime > OLD:
                    os.unlink(path)
            except OSError:
                continue
