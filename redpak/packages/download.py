"""Bring the packages of a transaction: downloaded, digested, and signed as the repository and the family demand."""

from __future__ import annotations

import os
import shutil
import stat

from redpak.errors import Refused, doing
from redpak.packages import blobs, keys, keystore
from redpak.packages.access import Access, access_of
from redpak.packages.blobs import Blobs
from redpak.packages.fetch import Wanted, fetch, local_path
from redpak.packages.keys import BadPackage, Keyring
from redpak.packages.metadata import cache_of
from redpak.packages.model import COMMAND_LINE, Item, Transaction
from redpak.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from redpak.packages.fetch import Progress
    from redpak.packages.keystore import Confirm
    from redpak.packages.metadata import Metadata
    from redpak.packages.model import Site
    from redpak.packages.repoconfig import RepoConfig


class BadPackages(Refused):
    """Packages of a transaction must not be installed; `packages` has a BadPackage for each, with its reason."""

    def __init__(self, found: Sequence[BadPackage]) -> None:
        self.packages = tuple(found)
        first = found[0]
        more = f" (and {len(found) - 1} more packages are refused)" if len(found) > 1 else ""
        super().__init__(first.message + more, hint=first.hint)


class Demand(Record):
    """How a package must be proved."""

    signed: bool
    because: str  # for messages: what demands a signature


def demand(item: Item, config: RepoConfig | None, site: Site, *, localpkg_gpgcheck: bool = False) -> Demand:
    """Return whether a package of a site must be signed, and who says so."""
    if site.gpgcheck:
        return Demand(signed=True, because=site.gpgcheck_because or "the family's configuration")
    if item.repo == COMMAND_LINE:
        return Demand(signed=localpkg_gpgcheck, because="localpkg_gpgcheck")
    signed = config is not None and config.gpgcheck
    return Demand(signed=signed, because=f"gpgcheck of {config.origin}" if config else "")


def packages(
    transaction: Transaction | Iterable[Item],
    metadata: Iterable[Metadata],
    *,
    site: Site,
    ring: Keyring | None = None,
    confirm: Confirm | None = None,
    progress: Progress | None = None,
    parallel: int = 0,
    localpkg_gpgcheck: bool = False,
    verify: bool = True,
) -> dict[str, str]:
    """Return the path of every package file that a transaction needs, by nevra, each checked.

    `ring` are the keys that count (the site's own when None); where a key is missing and the repository's
    gpgkey names it, `confirm` is asked, and the key belongs to the site from then on. `parallel` 0 is what the
    repositories say. Without `verify` (`dnf download`) only digests are checked. Raises FetchFailed with what no
    mirror had, BadPackages with every package that is refused, RedpakError.
    """
    items = transaction.items if isinstance(transaction, Transaction) else tuple(transaction)
    items = tuple(item for item in items if item.action != "remove")
    known = {one.id: one for one in metadata}
    paths = files(items, known, site=site, progress=progress, parallel=parallel)
    if verify:
        prove(items, paths, known, site=site, ring=ring, confirm=confirm, localpkg_gpgcheck=localpkg_gpgcheck)
    return paths


def prove(
    items: Sequence[Item],
    paths: Mapping[str, str],
    known: Mapping[str, Metadata],
    *,
    site: Site,
    ring: Keyring | None = None,
    confirm: Confirm | None = None,
    localpkg_gpgcheck: bool = False,
) -> None:
    """Check package files that are here already: digests, and signatures as demanded. See `packages` for the rest."""
    check = _Check(site, ring, confirm, known, localpkg_gpgcheck=localpkg_gpgcheck)
    bad = []
    for item in items:
        try:
            check.one(item, paths[item.nevra])
        except BadPackage as error:
            bad.append(error)
    if bad:
        raise BadPackages(bad)


def files(
    items: Sequence[Item],
    known: Mapping[str, Metadata],
    *,
    site: Site,
    progress: Progress | None = None,
    parallel: int = 0,
) -> dict[str, str]:
    """Return the path of every package file by nevra, proved against the digests of the metadata only."""
    wanted: dict[str, Wanted] = {}
    for item in items:
        wanted[item.nevra] = _wanted(item, known)
    limit = parallel or max((one.config.max_parallel_downloads for one in known.values()), default=3)
    cache = cache_of(site)
    found = fetch(tuple(wanted.values()), cache=cache, parallel=max(1, limit), progress=progress)
    store = Blobs(cache)
    return {nevra: settled(found[one.name], one, store) for nevra, one in wanted.items()}


def _wanted(item: Item, known: Mapping[str, Metadata]) -> Wanted:
    name = f"{item.name}-{item.version}-{item.release}.{item.arch}.rpm"
    if item.epoch:  # two epochs of one version have the same file name
        name = f"{item.name}-{item.evr}.{item.arch}.rpm"
    if item.repo == COMMAND_LINE:
        url = item.location if "://" in item.location else f"file://{_quoted(os.path.abspath(item.location))}"
        return Wanted(name=name, urls=(url,), checksum=item.checksum, access=Access())
    one = known.get(item.repo)
    if one is None:
        raise Refused(f"package '{item.nevra}' is of repository '{item.repo}', whose metadata is not at hand")
    if not item.checksum:
        raise Refused(
            f"repository '{item.repo}' has no digest of package '{item.nevra}'",
            hint="Tell who publishes the repository.",
        )
    urls = one.urls(item.location, item.base)
    if one.offline:
        urls = tuple(url for url in urls if url.startswith("file:"))
    return Wanted(
        name=name,
        urls=urls,
        size=item.download_size or -1,
        checksum=item.checksum,
        access=access_of(one.config),
    )


def _quoted(path: str) -> str:
    return path.replace("%", "%25")


def settled(path: str, one: Wanted, store: Blobs) -> str:
    """Return a path whose file nobody else can change between the check and its use; copies it where one could."""
    if not any(local_path(url) == path for url in one.urls):
        return path
    with doing("read the package"):
        own = (0, os.geteuid())
        file, folder = os.stat(path), os.stat(os.path.dirname(path))
        open_folder = folder.st_mode & 0o022 and not folder.st_mode & stat.S_ISVTX
        if file.st_uid in own and folder.st_uid in own and not file.st_mode & 0o022 and not open_folder:
            return path
        aside = store.partial(f"copy-{os.urandom(6).hex()}")
        try:
            shutil.copyfile(path, aside)
            got = f"sha256:{blobs.digest(aside, 'sha256')}"
            kind, digits = blobs.checksum(one.checksum) if one.checksum else ("", "")
            if digits and blobs.digest(aside, kind) != digits:
                raise Refused(f"'{path}' changed while it was read", hint="Try again.")
            return store.keep(aside, got)
        finally:
            if os.path.exists(aside):
                os.unlink(aside)


class _Check:
    """Judges packages one after the other; asks for a repository's keys once."""

    def __init__(
        self,
        site: Site,
        ring: Keyring | None,
        confirm: Confirm | None,
        known: Mapping[str, Metadata],
        *,
        localpkg_gpgcheck: bool,
    ) -> None:
        self.site = site
        self.ring = ring
        self.confirm = confirm
        self.known = known
        self.localpkg_gpgcheck = localpkg_gpgcheck
        self.asked: set[str] = set()  # repositories whose keys were offered

    def one(self, item: Item, path: str) -> None:
        """Check one package. Raises BadPackage."""
        config = self.known[item.repo].config if item.repo in self.known else None
        wants = demand(item, config, self.site, localpkg_gpgcheck=self.localpkg_gpgcheck)
        if not wants.signed:
            keys.check_package(path, Keyring(), "digest", nevra=item.nevra)
            return
        if self.ring is None:
            self.ring = keystore.keyring(self.site)
        try:
            keys.check_package(path, self.ring, "all", nevra=item.nevra)
            return
        except BadPackage as error:
            missing = error.kind in ("unknown", "expired") and config is not None and config.gpgkey
            if not missing or config is None or config.id in self.asked:
                raise self._told(error, item, wants) from None
        self.asked.add(config.id)
        refused = self._offer(config)
        try:
            keys.check_package(path, self.ring, "all", nevra=item.nevra)
        except BadPackage as error:
            if refused and error.kind == "unknown":
                error.hint = "Answer yes, or give -y, to trust the repository's key."
            raise self._told(error, item, wants) from None

    def _offer(self, config: RepoConfig) -> bool:
        """Ask for the keys of a repository and import those that are confirmed; tell whether any was not."""
        ring = self.ring or Keyring()
        taken, refused = keystore.offer(config.gpgkey, access_of(config), ring, self.confirm)
        for key in taken:
            keystore.import_key(self.site, key)
            ring = ring.with_keys(key)
        self.ring = ring
        return bool(refused)

    def _told(self, error: BadPackage, item: Item, wants: Demand) -> BadPackage:
        """Return the error with the package's name instead of its file's, and with who demands a signature."""
        error.file_name = f"{item.name}-{item.version}-{item.release}.{item.arch}.rpm"
        reason = error.message.partition(": ")[2]
        demanded = error.kind in ("unsigned", "unknown", "expired", "revoked")
        because = f" ({wants.because} demands a signature)" if demanded and wants.because else ""
        if error.kind == "unsigned" and (self.site.gpgcheck or item.repo == COMMAND_LINE):
            error.hint = "Ask for a signed package."
        error.message = f"package '{item.nevra}' is refused: {reason}{because}"
        return error
