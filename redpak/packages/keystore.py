"""Where trusted keys are kept (a node's `.redpak/keys`, or a plain root's rpm database) and where they come from."""

from __future__ import annotations

import os
import tempfile

from redpak import fs, paths, run
from redpak.errors import RedpakError, doing
from redpak.fs import write_atomically
from redpak.packages import fetch, keys
from redpak.packages.access import Access, shown
from redpak.packages.keys import BIGGEST_KEYS, Key, Keyring

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from redpak.packages.model import Site

    Confirm = Callable[[Key, str], bool]  # the key and the URL it comes from: may it be trusted from now on?


def keyring(site: Site) -> Keyring:
    """Return the keys whose signatures on packages count in a site. Raises RedpakError."""
    if site.is_node:
        return read_directory(os.path.join(site.path, paths.TRUSTED_KEYS))
    return of_database(site.own.rpmdb)


def read_directory(directory: str) -> Keyring:
    """Return the keys of the `.asc` files in a directory; none when there is no directory."""
    with doing("read the trusted keys"):
        try:
            names = sorted(os.listdir(directory))
        except (FileNotFoundError, NotADirectoryError):
            return Keyring()
    ring = Keyring()
    for name in names:
        if name.endswith(".asc") and not name.startswith("."):
            path = os.path.join(directory, name)
            ring = ring.with_keys(*keys.parse(_read(path), where=path))
    return ring


def of_database(rpmdb: str) -> Keyring:
    """Return the keys that rpm has imported: the descriptions of its gpg-pubkey pseudo packages."""
    from redpak.packages import rpmdb as database

    ring = Keyring()
    for header in database.read(rpmdb):
        if header.is_key:
            try:
                ring = ring.with_keys(*keys.parse(header.description.encode(), where=header.nevra))
            except RedpakError:  # rpm keeps keys of kinds that cannot verify anything here
                continue
    return ring


def import_key(site: Site, key: Key) -> None:
    """Trust a key for the packages of a site from now on. Raises RedpakError."""
    if site.is_node:
        store(os.path.join(site.path, paths.TRUSTED_KEYS), key)
        return
    rpmdb = site.own.rpmdb or os.path.join(site.path, "var/lib/rpm")
    with doing("make the rpm database's directory"):
        os.makedirs(rpmdb, exist_ok=True)
    with tempfile.NamedTemporaryFile(suffix=".asc") as file:
        file.write(key.armored.encode())
        file.flush()
        hint = "Install the 'rpm' package on the host."
        run.tool(["rpmkeys", "--dbpath", rpmdb, "--import", file.name], timeout_s=60, hint=hint)


def store(directory: str, key: Key) -> str:
    """Keep a key as a file of a directory and return its path."""
    with doing("make the directory for keys"):
        os.makedirs(directory, exist_ok=True)
    path = os.path.join(directory, f"{key.fingerprint}.asc")
    write_atomically(path, key.armored.encode())
    return path


def retrieve(url: str, access: Access) -> list[Key]:
    """Return the keys at a URL or path. Raises RedpakError."""
    where = url if "://" in url else f"file://{os.path.abspath(url)}"
    try:
        data, _ = fetch.get([where], access=access, limit=BIGGEST_KEYS)
    except fetch.FetchFailed as error:
        # dnf's words
        reason = error.failed[""][-1]
        raise RedpakError(
            f"Failed to retrieve GPG key for repo: {reason}", hint="Correct 'gpgkey' of the repository."
        ) from None
    return keys.parse(data, where=shown(url))


def offer(
    urls: Sequence[str], access: Access, ring: Keyring, confirm: Confirm | None
) -> tuple[list[Key], list[Key]]:
    """Return which keys at `urls` are new and confirmed, and which were refused. Without `confirm` all are refused.

    Keys that the ring has already, and revoked ones, are in neither list.
    """
    taken: list[Key] = []
    refused: list[Key] = []
    known = {key.fingerprint: key for key in ring.keys}
    for url in urls:
        for key in retrieve(url, access):
            if known.get(key.fingerprint) == key or key.revoked:
                continue
            if confirm is not None and confirm(key, url):
                taken.append(key)
                known[key.fingerprint] = key
            else:
                refused.append(key)
    return taken, refused


def _read(path: str) -> bytes:
    with doing("read the key"), open(path, "rb", opener=fs.regular) as file:
        return file.read(BIGGEST_KEYS + 1)
