"""Hostile documents: locks, certificates, histories, databases that somebody else wrote."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from redpak.errors import RedpakError
from redpak.node import statefiles
from tests.host.package_site import snapshot

pytestmark = pytest.mark.needs("rpm", "bwrap")


# ---- hostile documents ----


def readers() -> dict[str, Callable[[str], object]]:
    from redpak.node import certificate, history
    from redpak.packages import lock, manifest, seen

    return {
        "certificate": certificate.read, "lock": lock.read, "manifest": manifest.read, "seen": seen.read,
        "history": history.read, "state": statefiles.read,
    }  # fmt: skip


@pytest.mark.parametrize("kind", sorted(readers()))
@pytest.mark.parametrize(
    "content",
    [
        b"", b"\xff\xfe", b"null", b"[]", b"{}", b"[" * 200_000, b'{"a":' * 200_000, b"9" * 10_000, b"[null]", b"[[1]]",
        b'{"items": [null], "reasons": []}', b'{"items": 1, "reasons": {}}', b'{"items": [], "reasons": {"a": [1]}}',
        b'{"source": [], "revision": {}, "timestamp": "x", "sha256": 1}',
        b'[{"path": 1, "kind": [], "had": 1, "stamp": 2}]',
        b'{"source": 1, "revision": 1, "timestamp": 1e999, "sha256": 1}', b'{"id": 1e999, "items": [], "reasons": {}}',
    ],
    ids=lambda content: content[:12].decode(errors="replace"),
)  # fmt: skip
def test_a_hostile_document_is_one_error(tmp_path: Path, kind: str, content: bytes) -> None:
    (tmp_path / "document").write_bytes(content)
    try:
        found = readers()[kind](str(tmp_path / "document"))
    except RedpakError as error:
        assert len(str(error)) < 2000
    else:
        assert kind in ("state", "history"), found


@pytest.mark.parametrize("checksum", ["sha256:../../../evil", "../../evil:00", "sha256:" + "/" * 64, "evil"])
def test_no_checksum_names_a_file_outside_of_the_cache(tmp_path: Path, checksum: str) -> None:
    from redpak.packages.fetch import Wanted, fetch

    (tmp_path / "source").write_text("x")
    before = snapshot(tmp_path)
    with pytest.raises(RedpakError):
        fetch(
            [Wanted(name="x", urls=(f"http://127.0.0.1:9/{tmp_path.name}",), checksum=checksum)],
            cache=str(tmp_path / "a/b/c/cache"),
        )
    assert {path for path in snapshot(tmp_path) if not path.startswith("a")} == before.keys()


def test_a_database_that_never_ends_is_no_database(tmp_path: Path) -> None:
    import sqlite3

    from redpak.packages import rpmdb

    with sqlite3.connect(tmp_path / "rpmdb.sqlite") as database:
        database.execute(
            "CREATE VIEW Packages AS WITH RECURSIVE r(hnum, blob) AS (SELECT 1, x'00' UNION ALL SELECT hnum + 1, blob "
            "FROM r) SELECT hnum, blob FROM r"
        )
    database.close()
    with pytest.raises(RedpakError, match="cannot be read"):
        rpmdb.read(str(tmp_path))
