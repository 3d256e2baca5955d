"""Locks of nodes: write down exactly what a node has, and make another one have exactly that."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import time
from typing import TYPE_CHECKING

from redpak import fs
from redpak.errors import RedpakError, Refused, doing
from redpak.node import generations
from redpak.packages import core, evr
from redpak.packages.lock import Ancestor, Lock, LockedPackage, content, judge
from redpak.packages.model import Item, Transaction

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from redpak.packages.fetch import Progress
    from redpak.packages.header import Header
    from redpak.packages.keystore import Confirm
    from redpak.packages.metadata import Metadata
    from redpak.packages.model import Site
    from redpak.packages.package import Package
    from redpak.packages.repoconfig import RepoConfig
    from redpak.packages.universe import Universe

SEEN = f"{generations.FOLDER}/lock-seen.json"
PLAIN_SEEN = "var/lib/redpak/lock-seen.json"  # beneath a plain directory
# What of a repository's configuration decides which packages it gives, and who may have signed them.
TELLING = (
    "id", "baseurl", "mirrorlist", "metalink", "gpgcheck", "repo_gpgcheck", "gpgkey", "priority", "cost",
    "excludepkgs", "includepkgs",
)  # fmt: skip


def make(
    site: Site,
    configs: Sequence[RepoConfig],
    *,
    universe: Universe | None = None,
    counter: int = 0,
    expires: int = 0,
) -> Lock:
    """Return the lock of a node as it is now.

    `configs` are its enabled repositories; `universe`, if given, has their packages: what the history does not know
    is looked up there. `counter` 0 is the number of the newest transaction. Raises RedpakError with every package
    whose file nobody knows.
    """
    from redpak.node import history

    entries = history.entries(site)
    known = {item.nevra: item for entry in entries for item in entry.items if item.action != "remove"}
    reasons = history.reasons(site)
    bases = {one.id: one.baseurl for one in configs}
    packages, lost = [], []
    for header in core.headers(site.own):
        item = known.get(header.nevra)
        if item is None or not item.checksum:
            item = _offered(universe, header) or item
        if item is None or not item.checksum:
            lost.append(header.nevra)
            continue
        packages.append(_locked(header, item, reasons, bases))
    if lost:
        raise RedpakError(
            f"the package files of {_counted(lost)} are not known, so they cannot be locked",
            hint="Enable the repository that has them, or reinstall them.",
        )
    return Lock(
        name=site.own.name if site.is_node else "installroot",
        arch=site.arch,
        counter=counter or (entries[-1].id if entries else 0),
        expires=expires,
        ancestors=ancestors_of(site),
        repositories=tuple(sorted((one.id, configuration(one)) for one in configs)),
        packages=tuple(sorted(packages, key=lambda one: one.nevra)),
    )


def _counted(names: Sequence[str]) -> str:
    return f"'{names[0]}'" if len(names) == 1 else f"{len(names)} packages ({', '.join(sorted(names))})"


def _offered(universe: Universe | None, header: Header) -> Item | None:
    """Return what a repository offers under the name of an installed package: the same version, from the same build."""
    if universe is None:
        return None
    found: list[Package] = [
        one for one in universe.query(excluded=True).available().named([header.name])
        if one.nevra == header.nevra and one.buildtime == header.buildtime and one.checksum
    ]  # fmt: skip
    if not found:
        return None
    one = found[0]
    return Item(
        action="install", name=one.name, epoch=one.epoch, version=one.version, release=one.release, arch=one.arch,
        repo=one.repo, location=one.location, base=one.base_url, checksum=one.checksum,
        download_size=one.downloadsize,
    )  # fmt: skip


def _locked(
    header: Header, item: Item, reasons: Mapping[str, str], bases: Mapping[str, Sequence[str]]
) -> LockedPackage:
    location, urls = addresses(item, bases.get(item.repo, ()))
    return LockedPackage(
        name=header.name,
        epoch=header.epoch,
        version=header.version,
        release=header.release,
        arch=header.arch,
        checksum=item.checksum,
        header=header.digest,
        size=item.download_size,
        install_size=header.size,
        reason=reasons.get(f"{header.name}.{header.arch}", "unknown"),
        repo=item.repo,
        location=location,
        urls=urls,
        signed_by=issuer(header),
    )


def addresses(item: Item, bases: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """Return where a package is beneath any copy of its repository, '' for none, and where it was to be had.

    A package with a base of its own (xml:base) is found only there.
    """
    from redpak.packages import repomd

    if "://" in item.location:
        return "", (item.location,)
    if item.location.startswith("/"):
        return "", (f"file://{item.location}",)
    if item.base:
        return "", (repomd.join(repomd.safe_base(item.base), item.location),)
    return item.location, tuple(repomd.join(base, item.location) for base in bases if item.location)


def issuer(header: Header) -> str:
    """Return the fingerprint of the key that signed a header as the signature says it; '' without a signature."""
    signature = header.signature
    if not signature:
        return ""
    from redpak.packages.keys import Keyring
    from redpak.packages.keys import judge as judge_signature

    return judge_signature(b"", signature, Keyring()).issuer.lower()


def configuration(config: RepoConfig) -> str:
    """Return SHA-256 over what a repository's configuration says about its packages."""
    said = {name: getattr(config, name) for name in TELLING}
    return hashlib.sha256(json.dumps(said, sort_keys=True, default=list).encode()).hexdigest()


def ancestors_of(site: Site) -> tuple[Ancestor, ...]:
    """Return the layers that a site's packages stand on, with what they hold."""
    return tuple(
        Ancestor(name=layer.name, kind=layer.kind, digest=content(core.headers(layer)))
        for layer in site.layers[:-1]
    )


# ---- using one ----


def seen_path(site: Site) -> str:
    """Return the file in which the newest lock that was used is remembered."""
    return os.path.join(site.path, SEEN if site.is_node else PLAIN_SEEN)


def seen(site: Site) -> tuple[int, str]:
    """Return the highest counter of the locks that were used here, and the key that signed them. Raises RedpakError."""
    path = seen_path(site)
    try:
        with open(path, encoding="utf-8") as file:
            said = json.load(file)
        return int(said["counter"]), str(said["key"])
    except FileNotFoundError:
        return 0, ""
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        hint = "Restore it, or remove it to trust any lock."
        raise RedpakError(f"'{path}' cannot be read: {error}", hint=hint) from None


def remember(site: Site, lock: Lock) -> None:
    """Write down that a lock was used: an older one, or one that somebody else signed, is refused from now on."""
    counter, key = seen(site)
    said = {"counter": max(counter, lock.counter), "key": lock.key or key}
    with doing("remember the lock"):
        os.makedirs(os.path.dirname(seen_path(site)), exist_ok=True)
    fs.write_atomically(seen_path(site), json.dumps(said, indent=1, sort_keys=True).encode())


def transaction_of(site: Site, lock: Lock, *, trusted: str = "", now: float | None = None) -> Transaction:
    """Return what must be done so that a site has exactly the packages of a lock.

    `trusted` is the public key that must have signed it; '' is the one that signed the locks used before, if any.
    Raises Refused with every reason why the lock must not be used here.
    """
    counter, key = seen(site)
    faults = judge(
        lock,
        arch=site.arch,
        ancestors=ancestors_of(site),
        now=time.time() if now is None else now,
        seen=counter,
        trusted=trusted or key,
    )
    if faults:
        raise Refused(
            f"the lock cannot be used: {'; '.join(faults)}", hint="Make a lock for this node as it is."
        )
    return Transaction(items=tuple(_items(lock, core.headers(site.own))))


def _items(lock: Lock, installed: Iterable[Header]) -> Iterator[Item]:
    """Yield what comes and goes, by name."""
    here: dict[tuple[str, str], list[Header]] = {}
    for header in installed:
        here.setdefault((header.name, header.arch), []).append(header)
    wanted: dict[tuple[str, str], list[LockedPackage]] = {}
    for one in lock.packages:
        wanted.setdefault((one.name, one.arch), []).append(one)
    for key in sorted({*here, *wanted}):
        yield from _of_name(wanted.get(key, []), here.get(key, []))


def _of_name(wanted: Sequence[LockedPackage], here: Sequence[Header]) -> Iterator[Item]:
    digests = {header.nevra: header.digest for header in here}
    gone = [header for header in here if header.nevra not in {one.nevra for one in wanted}]
    new = [one for one in wanted if one.nevra not in digests]
    for one in wanted:
        if one.nevra in digests and digests[one.nevra] != one.header:
            yield _coming(one, "reinstall", (one.nevra,))
    if len(gone) == len(new) == 1:
        action = "upgrade" if evr.compare(new[0].evr, gone[0].evr) > 0 else "downgrade"
        yield _coming(new[0], action, (gone[0].nevra,))
        return
    for one in new:
        yield _coming(one, "install", ())
    for header in gone:
        yield Item(
            action="remove", name=header.name, epoch=header.epoch, version=header.version, release=header.release,
            arch=header.arch, repo="@System", install_size=header.size, because="it is not in the lock",
        )  # fmt: skip


def _coming(one: LockedPackage, action: str, replaces: tuple[str, ...]) -> Item:
    return Item(
        action=action,  # type: ignore[arg-type]
        name=one.name,
        epoch=one.epoch,
        version=one.version,
        release=one.release,
        arch=one.arch,
        repo=one.repo,
        reason=one.reason,  # type: ignore[arg-type]
        because="the lock",
        location=one.location or (one.urls[0] if one.urls else ""),
        checksum=one.checksum,
        download_size=one.size,
        install_size=one.install_size,
        replaces=replaces,
    )


def reasons_of(lock: Lock) -> dict[str, str]:
    """Return why each package of a lock is there: {"name.arch": reason}."""
    return {f"{one.name}.{one.arch}": one.reason for one in lock.packages if one.reason != "unknown"}


def files(
    site: Site,
    lock: Lock,
    transaction: Transaction,
    metadata: Sequence[Metadata],
    *,
    confirm: Confirm | None = None,
    progress: Progress | None = None,
) -> dict[str, str]:
    """Return the path of every package file that comes, by nevra: from the cache, any repository, or the lock's URLs.

    Every file has the digest of the lock, and the signature that the family or its repository demands; `confirm`
    is asked about new keys. Raises FetchFailed, BadPackages, Refused, RedpakError.
    """
    from redpak.packages.access import Access
    from redpak.packages.blobs import Blobs
    from redpak.packages.download import prove, settled
    from redpak.packages.fetch import Wanted, fetch
    from redpak.packages.header import from_rpm
    from redpak.packages.metadata import cache_of

    locked = {one.nevra: one for one in lock.packages}
    wanted = []
    for item in transaction.items:
        if item.action != "remove":
            one = locked[item.nevra]
            urls = tuple(dict.fromkeys((*_mirrors(one, metadata), *one.urls)))
            access = next((source.access for source in metadata if source.id == one.repo), Access())
            wanted.append(
                Wanted(name=one.nevra, urls=urls, size=one.size or -1, checksum=one.checksum, access=access)
            )
    cache = cache_of(site)
    found = fetch(wanted, cache=cache, progress=progress)
    store = Blobs(cache)
    safe = {one.name: settled(found[one.name], one, store) for one in wanted}
    known = {source.id: source for source in metadata}
    coming = [item for item in transaction.items if item.action != "remove"]
    prove(coming, safe, known, site=site, confirm=confirm)
    for item in coming:
        _, header, _ = from_rpm(safe[item.nevra])
        if locked[item.nevra].header != header.digest:
            raise Refused(
                f"package '{item.nevra}' has another header than the lock says", hint="Make the lock anew."
            )
    return safe


def _mirrors(one: LockedPackage, metadata: Sequence[Metadata]) -> Iterator[str]:
    """Yield where repositories would have a package: its own first."""
    for source in sorted(metadata, key=lambda source: source.id != one.repo):
        if one.location and "://" not in one.location:
            yield from source.urls(one.location)


# ---- what a node holds ----


def tree_digest(site: Site) -> str:
    """Return SHA-256 over what packages put into a node: paths, kinds, permissions, links and contents, and the list.

    Times, owners and the database's own bookkeeping are left out, so the same packages give the same digest. The
    tree is the current generation's; of a node without one, and of a plain directory, only the list counts.
    """
    total = hashlib.sha256()
    for header in sorted(core.headers(site.own), key=lambda one: one.nevra):
        total.update(f"{header.nevra} {header.digest}\n".encode("utf-8", "surrogateescape"))
    top = generations.current(site.path) if site.is_node else ""
    if top:
        with doing("read the node's files"):
            for line in _lines(f"{top}/{generations.TREE}", ""):
                total.update(line)
    return total.hexdigest()


def _lines(top: str, inner: str) -> Iterator[bytes]:
    """Yield one line for everything beneath a directory, sorted by name."""
    with os.scandir(os.path.join(top, inner)) as found:
        entries = sorted(found, key=lambda entry: os.fsencode(entry.name))
    for entry in entries:
        path = f"{inner}/{entry.name}" if inner else entry.name
        info = entry.stat(follow_symlinks=False)
        words = [json.dumps(path), f"{stat.S_IFMT(info.st_mode):o}"]
        if stat.S_ISLNK(info.st_mode):
            words.append(json.dumps(os.readlink(entry.path)))
        else:
            words.append(f"{stat.S_IMODE(info.st_mode):o}")
        if stat.S_ISREG(info.st_mode):
            words.append(_digest(entry.path))
        yield (" ".join(words) + "\n").encode()
        if stat.S_ISDIR(info.st_mode):
            yield from _lines(top, path)


def _digest(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
