"""Reading rpm's database beside rpm, and in the states in which a killed rpm leaves it."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from pathlib import Path

import pytest

from redpak.errors import RedpakError
from redpak.packages import rpmdb
from redpak.packages.header_write import encode
from tests.rpms import Maker


def blob(name: str, **more: object) -> bytes:
    return encode({"name": name, "version": "1", "release": "1", "arch": "noarch", **more})  # type: ignore[dict-item]


def database(folder: Path, *names: str, wal: bool = False) -> sqlite3.Connection:
    folder.mkdir(exist_ok=True)
    connection = sqlite3.connect(folder / "rpmdb.sqlite", isolation_level=None)
    if wal:
        connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE 'Packages' (hnum INTEGER PRIMARY KEY AUTOINCREMENT, blob BLOB NOT NULL)")
    connection.execute(
        "CREATE TABLE 'Providename' (key 'TEXT' NOT NULL, hnum INTEGER NOT NULL, idx INTEGER NOT NULL)"
    )
    for name in names:
        connection.execute("INSERT INTO Packages (blob) VALUES (?)", (blob(name),))
    return connection


def names(folder: Path) -> list[str]:
    return [header.name for header in rpmdb.read(str(folder))]


def test_packages_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    database(tmp_path, "b", "a", "gpg-pubkey").close()
    assert [(number, header.name) for number, header in rpmdb.numbered(str(tmp_path))] == [
        (1, "b"), (2, "a"), (3, "gpg-pubkey"),
    ]  # fmt: skip
    assert [header.is_key for header in rpmdb.read(str(tmp_path))] == [False, False, True]
    assert os.listdir(tmp_path) == ["rpmdb.sqlite"]


def test_no_database_has_no_packages(tmp_path: Path) -> None:
    assert rpmdb.read(str(tmp_path)) == rpmdb.read(str(tmp_path / "none")) == []
    assert rpmdb.providing(str(tmp_path), "x") == []
    assert rpmdb.stamp(str(tmp_path)) == ""
    (tmp_path / "rpmdb.sqlite").touch()
    assert rpmdb.read(str(tmp_path)) == []


def test_what_is_only_in_the_write_ahead_log_is_read_and_left_there(tmp_path: Path) -> None:
    source = tmp_path / "source"
    writer = database(source, "a", wal=True)
    writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    writer.execute("INSERT INTO Packages (blob) VALUES (?)", (blob("b"),))
    killed = tmp_path / "killed"  # as after a SIGKILL: the log is there, its index is not
    killed.mkdir()
    for name in ("rpmdb.sqlite", "rpmdb.sqlite-wal"):
        shutil.copy(source / name, killed / name)
    writer.close()
    killed.chmod(0o555)
    before = {path.name: path.read_bytes() for path in killed.iterdir()}
    assert names(killed) == ["a", "b"]
    assert {path.name: path.read_bytes() for path in killed.iterdir()} == before
    killed.chmod(0o755)


def test_a_transaction_that_is_not_finished_is_not_seen(tmp_path: Path) -> None:
    writer = database(tmp_path, "a", wal=True)
    writer.execute("BEGIN")
    writer.execute("INSERT INTO Packages (blob) VALUES (?)", (blob("b"),))
    assert names(tmp_path) == ["a"]
    writer.execute("COMMIT")
    assert names(tmp_path) == ["a", "b"]
    writer.close()


def test_a_cut_write_ahead_log_loses_what_was_not_committed(tmp_path: Path) -> None:
    source = tmp_path / "source"
    writer = database(source, "a", wal=True)
    writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    writer.execute("INSERT INTO Packages (blob) VALUES (?)", (blob("b", summary="x" * 30000),))
    killed = tmp_path / "killed"
    killed.mkdir()
    shutil.copy(source / "rpmdb.sqlite", killed)
    log = (source / "rpmdb.sqlite-wal").read_bytes()
    (killed / "rpmdb.sqlite-wal").write_bytes(log[: len(log) // 2])
    writer.close()
    assert names(killed) == ["a"]


@pytest.mark.parametrize(("name", "kind"), [("Packages.db", "ndb"), ("Packages", "bdb")])
def test_other_formats_are_refused_by_name(tmp_path: Path, name: str, kind: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(RedpakError, match=f"of kind '{kind}'") as caught:
        rpmdb.read(str(tmp_path))
    assert "rpmdb --rebuilddb" in caught.value.hint


@pytest.mark.parametrize("damage", ["noise", "cut", "table", "header", "text"])
def test_a_damaged_database_is_one_clear_error(tmp_path: Path, damage: str) -> None:
    connection = database(tmp_path, *"abcdefghij")
    file = tmp_path / "rpmdb.sqlite"
    match damage:
        case "table":
            connection.execute("DROP TABLE Packages")
        case "header":
            connection.execute("UPDATE Packages SET blob = x'00' WHERE hnum = 2")
        case "text":
            connection.execute("UPDATE Packages SET blob = 'text' WHERE hnum = 2")
        case _:
            pass
    connection.close()
    if damage == "noise":
        file.write_bytes(b"no database" * 1000)
    elif damage == "cut":
        file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(RedpakError, match=r"rpmdb\.sqlite"):
        rpmdb.read(str(tmp_path))


def test_names_with_signs_that_mean_something_in_a_uri_are_read(tmp_path: Path) -> None:
    folder = tmp_path / "a?b#c%20d"
    database(folder, "a").close()
    assert names(folder) == ["a"]


def test_the_digest_is_of_the_content_not_of_the_file(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    database(one, "a", "b").close()
    connection = database(two, "b", "a", "c")
    assert rpmdb.digest(str(one)) != rpmdb.digest(str(two))
    before = rpmdb.stamp(str(two))
    connection.execute("DELETE FROM Packages WHERE hnum = 3")
    connection.close()
    assert rpmdb.digest(str(one)) == rpmdb.digest(str(two))
    assert rpmdb.stamp(str(two)) != before


@pytest.mark.needs("rpm")
def test_rpms_own_database_is_read_and_nothing_appears_beside_it(tmp_path: Path) -> None:
    maker = Maker(tmp_path)
    made = [maker.rpm("one", provides=["thing = 3"]), maker.rpm("two", requires=["one"])]
    db = tmp_path / "db"
    maker.database(made, db)
    for name in ("rpmdb.sqlite-wal", "rpmdb.sqlite-shm"):
        (db / name).unlink(missing_ok=True)
    before = sorted(os.listdir(db))
    said = subprocess.run(["rpm", f"--dbpath={db}", "-qa"], capture_output=True, text=True, check=True).stdout
    for name in ("rpmdb.sqlite-wal", "rpmdb.sqlite-shm"):
        (db / name).unlink(missing_ok=True)
    assert sorted(header.nevra for header in rpmdb.read(str(db))) == sorted(said.split())
    assert [header.name for header in rpmdb.providing(str(db), "thing")] == ["one"]
    assert sorted(os.listdir(db)) == before
