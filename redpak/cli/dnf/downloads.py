"""Getting packages, and what is said and asked about signatures and keys."""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import contextmanager

from redpak.cli.dnf.confirm import asked
from redpak.cli.dnf.progress import Downloads
from redpak.cli.dnf.session import Failed, Session
from redpak.errors import doing
from redpak.packages.model import COMMAND_LINE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from redpak.packages.keys import BadPackage, Key
    from redpak.packages.model import Item, Transaction
    from redpak.packages.repoconfig import RepoConfig

SAID = {
    "unsigned": "Package {} is not signed",
    "unknown": "Public key for {} is not installed",
    "expired": "Public key for {} is not trusted",
    "revoked": "Public key for {} is not trusted",
}
ALREADY = (
    'The GPG keys listed for the "{}" repository are already installed but they are not correct for this '
    "package.\nCheck that the correct key URLs are configured for this repository."
)


def fetched(session: Session, transaction: Transaction) -> dict[str, str]:
    """Return the files of the packages that come, checked: {nevra: path}. Raises Failed in dnf's words."""
    from redpak.packages.download import packages

    named = {item.repo for item in transaction.items if item.action != "remove"} - {COMMAND_LINE}
    with said_as_dnf_does(session, transaction.items):
        files = packages(
            transaction,
            session.metadata if named else (),
            site=session.site,
            confirm=confirmer(session),
            progress=Downloads(session),
            localpkg_gpgcheck=session.conf.flag("localpkg_gpgcheck"),
        )
    _copy(session, transaction, files)
    return files


@contextmanager
def said_as_dnf_does(session: Session, items: Iterable[Item] = ()) -> Iterator[None]:
    """Turn what goes wrong with downloads and signatures of `items` in the block into dnf's words, as Failed."""
    from redpak.packages.download import BadPackages
    from redpak.packages.fetch import FetchFailed

    try:
        yield
    except FetchFailed as error:
        lines = [f"  {name}: {why}" for name, whys in error.failed.items() for why in whys]
        raise Failed("\n".join(["Error downloading packages:", *lines])) from None
    except BadPackages as error:
        configs = {item.nevra: session.configs_by_id.get(item.repo) for item in items}
        for one in error.packages:
            _say_refused(session, one, configs)
        raise Failed("GPG check FAILED", hint=error.hint) from None


def _say_refused(session: Session, error: BadPackage, configs: Mapping[str, RepoConfig | None]) -> None:
    """Print dnf's sentence for a package that is refused, with ours where the family demands the signature."""
    text = SAID.get(error.kind, "")
    nevra = next((name for name in configs if f"package '{name}'" in error.message), "")
    config = configs.get(nevra)
    told = text.format(error.file_name) if text else f"Error: {error.message}"
    if text and error.kind != "unsigned" and config is not None and config.gpgkey:
        if session.keys_taken:
            session.info("Import of key(s) didn't help, wrong key(s)?")
        elif session.keys_refused:
            session.err("Didn't install any keys")
            return
        else:
            told = ALREADY.format(config.name)
        told += f". Failing package is: {nevra}\n GPG Keys are configured as: {', '.join(config.gpgkey)}"
    if text and session.site.gpgcheck and session.site.gpgcheck_because:
        told += f" ({session.site.gpgcheck_because} demands a signature)"
    session.err(told)


def _copy(session: Session, transaction: Transaction, files: dict[str, str]) -> None:
    """Put the packages where --downloaddir says."""
    folder = session.options.value("destdir")
    if not folder or not session.options.flag("downloadonly"):
        return
    with doing("store the packages"):
        os.makedirs(folder, exist_ok=True)
        for item in transaction.items:
            if item.nevra in files:
                shutil.copyfile(files[item.nevra], os.path.join(folder, file_name(item)))


def file_name(item: Item) -> str:
    """Return what a package's file is called."""
    name = os.path.basename(item.location)
    return name if name.endswith(".rpm") else f"{item.name}-{item.version}-{item.release}.{item.arch}.rpm"


def confirmer(session: Session, *, of_packages: bool = True) -> Callable[[Key, str], bool]:
    """Return what asks whether a key is to be trusted. `of_packages`: not the key of a repository's metadata."""

    def confirm(key: Key, url: str) -> bool:
        unattended = not session.conf.flag("assumeyes") and not (sys.stdin and sys.stdin.isatty())
        if unattended and not session.conf.flag("assumeno"):
            raise Failed(
                'Refusing to automatically import keys when running unattended.\nUse "-y" to override.'
            )
        session.err(
            f"Importing GPG key 0x{key.short_id}:\n"
            f' Userid     : "{key.userid}"\n'
            f" Fingerprint: {printable(key.fingerprint)}\n"
            f" From       : {url.removeprefix('file://')}"
        )
        if session.conf.flag("assumeno"):
            session.keys_refused += 1
            return False
        taken = session.conf.flag("assumeyes") or asked(default_yes=session.conf.flag("defaultyes"))
        if taken:
            session.keys_taken += 1
            if of_packages:
                session.info("Key imported successfully")
        else:
            session.keys_refused += 1
        return taken

    return confirm


def printable(fingerprint: str) -> str:
    """Return a fingerprint in groups of four."""
    text = fingerprint.upper()
    return " ".join(text[at : at + 4] for at in range(0, len(text), 4))
