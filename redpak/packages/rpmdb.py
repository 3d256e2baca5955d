"""Read an rpm database (sqlite) without rpm: no lock is taken, no file is made beside it, nothing is written.

Works for databases of any architecture, in read-only directories, while rpm writes to them, and with changes that a
killed rpm left in the write-ahead log.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import time
from typing import TYPE_CHECKING

from redpak import fs
from redpak.errors import Busy, RedpakError, doing
from redpak.packages.header import Header

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

FILE = "rpmdb.sqlite"
_OTHERS = {"Packages.db": "ndb", "Packages": "bdb"}  # what older or other systems' rpm writes
PATIENCE_S = 5.0  # how long a database may keep changing while we read it


def read(folder: str) -> list[Header]:
    """Return every header of the database in a directory, public keys (Header.is_key) included.

    [] where there is none. Raises RedpakError for another format and for a damaged one, Busy when rpm keeps writing.
    """
    return [header for _, header in numbered(folder)]


def numbered(folder: str) -> list[tuple[int, Header]]:
    """Return what `read` does, each with rpm's number of it: later ones are higher."""
    where = file_of(folder)
    if not where:
        return []
    rows = _steadily(where, lambda: _rows(where))
    return [(number, Header(blob, f"{where}: package {number}")) for number, blob in rows]


def providing(folder: str, capability: str) -> list[Header]:
    """Return the headers that provide a capability of that name, through the database's own index."""
    where = file_of(folder)
    if not where:
        return []
    rows = _steadily(where, lambda: _rows(where, capability))
    return [Header(blob, f"{where}: package {number}") for number, blob in rows]


def file_of(folder: str) -> str:
    """Return the path of a directory's database, '' when it has none. Raises RedpakError for another format."""
    where = os.path.join(folder, FILE)
    with doing("read the package database"):
        if _exists(where):
            return where
        for name, kind in _OTHERS.items():
            if _exists(os.path.join(folder, name)):
                raise RedpakError(
                    f"the package database in '{folder}' is of kind '{kind}', which cannot be read here",
                    hint="Convert it to sqlite, on its own system, with: "
                    "rpmdb --rebuilddb --define '_db_backend sqlite'",
                )
    return ""


def stamp(folder: str) -> str:
    """Return what changes with every change of a directory's database: for caches. '' where there is none."""
    where = file_of(folder)
    return f"{fs.stamp(where)}/{fs.stamp(where + '-wal')}" if where else ""


def digest(folder: str) -> str:
    """Return SHA-256 over the content of a directory's database, whatever the order and the file's layout."""
    return digest_of(read(folder))


def digest_of(headers: Iterable[Header]) -> str:
    """Return what `digest` does, for headers that have been read."""
    each = sorted(hashlib.sha256(header.blob).digest() for header in headers)
    return hashlib.sha256(b"".join(each)).hexdigest()


def _exists(path: str) -> bool:
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _steadily(where: str, rows: Callable[[], list[tuple[int, bytes]]]) -> list[tuple[int, bytes]]:
    """Return rows that were read while nothing changed."""
    until = time.monotonic() + PATIENCE_S
    while True:
        before = _state(where)
        failed: sqlite3.Error | None = None
        found: list[tuple[int, bytes]] = []
        try:
            found = rows()
        except sqlite3.Error as error:
            failed = error
        if _state(where) == before:
            if failed is None:
                return found
            raise RedpakError(
                f"the package database '{where}' cannot be read: {failed}",
                hint="Restore it, or try: rpmdb --rebuilddb",
            ) from failed
        if time.monotonic() > until:
            raise Busy(f"the package database '{where}' keeps changing", hint="Try again when rpm is done.")
        time.sleep(0.02)


def _state(where: str) -> tuple[str, str, bytes]:
    """Return what differs once the database or its write-ahead log was written, or the log was started anew."""
    with doing("read the package database"):
        log = where + "-wal"
        try:
            with open(log, "rb") as file:
                salt = file.read(32)
        except FileNotFoundError:
            salt = b""
        return fs.stamp(where), fs.stamp(log), salt


def _rows(where: str, capability: str | None = None) -> list[tuple[int, bytes]]:
    """Read the packages, or those that provide something, together with what is only in the write-ahead log."""
    try:
        pending = os.path.getsize(where + "-wal") > 0
    except FileNotFoundError:
        pending = False
    if not pending:
        return list(_query(where, "mode=ro&immutable=1", capability))
    # Reading through the log needs a shared index beside it, and so a writable directory and rpm's consent. A copy
    # needs neither. The database is copied first: what moves from the log to it meanwhile is found in both.
    import shutil
    import tempfile

    with doing("read the package database"), tempfile.TemporaryDirectory(prefix="redpak-") as aside:
        copy = os.path.join(aside, FILE)
        shutil.copyfile(where, copy)
        shutil.copyfile(where + "-wal", copy + "-wal")
        return list(_query(copy, "mode=rw", capability))


def _query(where: str, options: str, capability: str | None) -> Iterator[tuple[int, bytes]]:
    from urllib.parse import quote

    if os.path.getsize(where) == 0:
        return
    connection = sqlite3.connect(f"file:{quote(where)}?{options}", uri=True)
    try:
        ask = "SELECT hnum, blob FROM Packages"
        values: tuple[str, ...] = ()
        if capability is not None:
            ask += " WHERE hnum IN (SELECT hnum FROM Providename WHERE key = ?)"
            values = (capability,)
        kinds = connection.execute(
            "SELECT DISTINCT type FROM sqlite_master WHERE name IN ('Packages', 'Providename')"
        )
        if kinds.fetchall() != [("table",)]:  # a view could be anything, even without an end
            raise sqlite3.DatabaseError("it has no table of packages")
        for number, blob in connection.execute(ask + " ORDER BY hnum", values):
            if not isinstance(number, int) or not isinstance(blob, bytes):
                raise sqlite3.DatabaseError("a package is no header")
            yield number, blob
    finally:
        connection.close()
