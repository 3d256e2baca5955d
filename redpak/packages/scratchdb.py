"""The database that rpm works on: core OS, ancestors and node together, in memory; and the node's part of it on disk.

rpm then checks dependencies, conflicts and file conflicts of the whole family, and runs everybody's triggers. What
belongs to the core OS and the ancestors must be there as before when rpm is done; the rest is the node's.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from redpak import fs, run
from redpak.errors import RedpakError, Refused, doing
from redpak.packages.header import MAGIC, Header
from redpak.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

FILE = "rpmdb.sqlite"
PATIENCE_S = 300.0
KEEP = 8  # filled databases in the cache


class Base(Record):
    """The part of a scratch database that must stay as it is: rpm's number and SHA-256 of each header."""

    digests: tuple[tuple[int, bytes], ...]
    names: tuple[str, ...]  # nevra, in the same order
    highest: int  # the highest number of a header that is not the node's


def connect(path: str) -> closing[sqlite3.Connection]:
    """Open a database that nobody else uses, and that need not survive a crash by itself."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA synchronous=OFF")
    connection.execute("PRAGMA trusted_schema=OFF")  # scriptlets may have written to it
    return closing(connection)


@contextmanager
def reading() -> Iterator[None]:
    """Say that the database is damaged where sqlite does."""
    try:
        yield
    except sqlite3.Error as error:
        raise RedpakError(
            f"the package database cannot be read after the transaction: {error}",
            hint="A scriptlet has damaged it: nothing was changed.",
        ) from error


def fill(folder: str, base: Sequence[Header], own: str, cache: str) -> Base:
    """Make a database in `folder` of the headers `base`, and of those in the database file `own` ('' = none).

    `cache` is a directory for databases that were filled before, '' = none. Raises RedpakError.
    """
    if base:
        base_database(folder, base, cache)
    if own and os.path.exists(own):
        add(folder, own)
    where = f"{folder}/{FILE}"
    digests = []
    if base:
        with connect(where) as database:
            rows = database.execute(
                "SELECT hnum, blob FROM Packages WHERE hnum <= ? ORDER BY hnum", (len(base),)
            )
            digests = [(number, hashlib.sha256(blob).digest()) for number, blob in rows]
    if [number for number, _ in digests] != list(range(1, len(base) + 1)):
        raise RedpakError("rpm did not take over all packages of the core OS and the ancestors")
    return Base(digests=tuple(digests), names=tuple(header.nevra for header in base), highest=len(base))


def base_database(folder: str, base: Sequence[Header], cache: str) -> None:
    """Import headers in their order, or copy what was imported before."""
    total = hashlib.sha256(fs.stamp("/usr/bin/rpmdb").encode())
    for header in base:
        total.update(hashlib.sha256(header.blob).digest())
    kept = f"{cache}/scratch-{total.hexdigest()[:32]}.sqlite" if cache else ""
    where = f"{folder}/{FILE}"
    if kept and copied(kept, where):
        return
    import_headers(folder, base)
    settle(where)
    if kept:
        keep(where, kept)


def copied(kept: str, where: str) -> bool:
    """Copy a database out of the cache; False where there is none that is ours."""
    from redpak.engine.sources import only_ours

    try:
        with open(kept, "rb") as source:
            if not only_ours(os.fstat(source.fileno())):
                return False
            os.utime(source.fileno())
            with open(where, "wb") as target:
                size = os.fstat(source.fileno()).st_size
                while size > 0 and (done := os.sendfile(target.fileno(), source.fileno(), None, size)):
                    size -= done
    except OSError:
        return False
    return True


def keep(where: str, kept: str) -> None:
    """Put a filled database into the cache, and remove the ones that were used least recently; failing is no error."""
    try:
        folder = os.path.dirname(kept)
        os.makedirs(folder, mode=0o755, exist_ok=True)
        with open(where, "rb") as file:
            fs.write_atomically(kept, file.read(), mode=0o600, durable=False)
        with os.scandir(folder) as entries:
            files = [entry for entry in entries if entry.name.startswith("scratch-")]
        for entry in sorted(files, key=lambda one: one.stat().st_mtime_ns)[:-KEEP]:
            os.unlink(entry.path)
    except (OSError, RedpakError):
        pass  # the next transaction imports again


def import_headers(folder: str, headers: Iterable[Header]) -> None:
    """Have rpm add headers to the database in `folder`, in their order. Raises RedpakError."""
    stream = b"".join(MAGIC + header.blob for header in headers)
    run.tool(
        ["rpmdb", "--dbpath", folder, "--define", "_db_backend sqlite", "--importdb"],
        timeout_s=PATIENCE_S,
        stdin=stream,
        hint="Install the host's package 'rpm', version 4.16 or newer.",
    )


def empty(folder: str) -> None:
    """Have rpm make a database without packages in `folder`. Raises RedpakError."""
    run.tool(
        ["rpmdb", "--dbpath", folder, "--define", "_db_backend sqlite", "--initdb"],
        timeout_s=PATIENCE_S,
        hint="Install the host's package 'rpm', version 4.16 or newer.",
    )
    settle(f"{folder}/{FILE}")


def settle(where: str) -> None:
    """Write a database's log into it, so that it is one file that can be read where nothing can be written."""
    with connect(where) as database:
        database.execute("PRAGMA journal_mode=DELETE").fetchall()


def schema(database: sqlite3.Connection, name: str = "main") -> list[tuple[str, str, str]]:
    """Return (kind, name, SQL) of everything in a database but sqlite's own."""
    return sorted(
        (kind, title, sql)
        for kind, title, sql in database.execute(f"SELECT type, name, sql FROM {name}.sqlite_master")
        if not title.startswith("sqlite_")
    )


def columns(database: sqlite3.Connection, table: str, number: str) -> str:
    """Return the columns of a table for a SELECT, with `number` (SQL) in place of the header's number."""
    rows = database.execute("SELECT name FROM pragma_table_info(?) ORDER BY cid", (table,))
    return ", ".join(number if name == "hnum" else quoted(name) for (name,) in rows)


def quoted(name: str) -> str:
    """Return a name as SQL has it."""
    return '"' + name.replace('"', '""') + '"'


def add(folder: str, own: str) -> None:
    """Add the packages of the database file `own`, their numbers after those that are there."""
    where = f"{folder}/{FILE}"
    if not os.path.exists(where):
        aside = f"{folder}/own.sqlite"  # it may have a log: sqlite reads both
        copy(own, aside)
        os.rename(aside, where)
        return
    aside = f"{folder}/own.sqlite"
    copy(own, aside)
    with connect(where) as database:
        database.execute("ATTACH ? AS own", (aside,))
        same = schema(database) == schema(database, "own")
        if same:
            merge(database)
        database.execute("DETACH own")
    if not same:  # another version of rpm made it
        from redpak.packages import rpmdb

        import_headers(folder, rpmdb.read(os.path.dirname(own)))
        settle(where)
    os.unlink(aside)


def copy(own: str, to: str) -> None:
    """Copy a database with what is only in its log."""
    import shutil

    with doing("copy the node's package database"):
        shutil.copyfile(own, to)
        log = own + "-wal"
        if os.path.exists(log) and os.path.getsize(log):
            shutil.copyfile(log, to + "-wal")
            settle(to)


def merge(database: sqlite3.Connection) -> None:
    """Add all rows of the attached database 'own', of the same schema."""
    (above,) = database.execute("SELECT coalesce(max(hnum), 0) FROM Packages").fetchone()
    database.execute("BEGIN")
    for kind, table, _ in schema(database):
        if kind == "table":
            taken = columns(database, table, f"hnum + {int(above)}")
            database.execute(f"INSERT INTO main.{quoted(table)} SELECT {taken} FROM own.{quoted(table)}")
    database.execute("COMMIT")


def seal(folder: str, *, whole: bool) -> None:
    """Take the database back from rpm and its scriptlets, before we open it: nothing else may lie beside it.

    Whoever can write to the directory could leave a link, or a journal that makes sqlite remove the files that it
    names. rpm itself keeps a log, no journal. Not `whole`: only the journal goes. Call it when nobody works in the
    directory any more. Raises OSError.
    """
    for entry in list(os.scandir(folder)):
        known = entry.name in (FILE, f"{FILE}-wal") and entry.is_file(follow_symlinks=False)
        unwanted = not known if whole else entry.name == f"{FILE}-journal"
        if unwanted and not entry.is_dir(follow_symlinks=False):
            os.unlink(entry.path)


def check(folder: str, base: Base) -> None:
    """Raise Refused unless everything of the core OS and the ancestors is still in the database."""
    with reading(), connect(f"{folder}/{FILE}") as database:
        for kind, name, sql in schema(database):
            if kind not in ("table", "index") or sql.upper().split()[:2] == ["CREATE", "VIRTUAL"]:
                raise sqlite3.DatabaseError(f"{kind} '{name}' is not rpm's")
        rows = database.execute("SELECT hnum, blob FROM Packages WHERE hnum <= ?", (base.highest,))
        now: Mapping[int, bytes] = {number: blob for number, blob in rows}
    gone = []
    for (number, digest), name in zip(base.digests, base.names, strict=True):
        blob = now.get(number)
        # rpm notes in a package's header that another package's file is in the place of one of its own
        if blob is None or (hashlib.sha256(blob).digest() != digest and Header(blob).nevra != name):
            gone.append(name)
    if gone:
        raise Refused(
            f"the transaction would remove {', '.join(gone[:5])}{', …' if len(gone) > 5 else ''}, "
            "which is not the node's own",
            hint="Change it in the node that has it.",
        )


def extract(folder: str, base: Base, to: str) -> list[Header]:
    """Write the node's packages into a new database file and return their headers. Raises RedpakError."""
    with reading(), connect(to) as database:
        database.execute("ATTACH ? AS all_", (f"{folder}/{FILE}",))
        parts = schema(database, "all_")
        database.execute("PRAGMA main.journal_mode=OFF").fetchall()
        database.execute("BEGIN")
        for kind, table, sql in parts:
            if kind == "table":
                database.execute(sql)
                database.execute(
                    f"INSERT INTO main.{quoted(table)} SELECT * FROM all_.{quoted(table)} WHERE hnum > ?",
                    (base.highest,),
                )
        for kind, _, sql in parts:
            if kind != "table" and sql:
                database.execute(sql)
        database.execute("COMMIT")
        rows = database.execute("SELECT blob FROM main.Packages ORDER BY hnum").fetchall()
        database.execute("DETACH all_")
    os.chmod(to, 0o644)
    return [Header(blob, to) for (blob,) in rows]
