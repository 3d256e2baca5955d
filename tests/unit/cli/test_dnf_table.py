"""The transaction as dnf prints it: every expected text here was printed by dnf 4.14."""

from __future__ import annotations

import pytest

from redpak.cli.dnf import columns, transaction_table
from redpak.packages.model import Item, Skipped, Transaction


@pytest.fixture(autouse=True)
def no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "terminal", lambda: 0)


def item(action: str, name: str, version: str, **more: object) -> Item:
    values: dict[str, object] = {"release": "1", "arch": "x86_64", "repo": "base", "epoch": 0, **more}
    return Item(action=action, name=name, version=version, **values)  # type: ignore[arg-type]


UPGRADE = """\
================================================================================
 Package          Architecture     Version              Repository         Size
================================================================================
Installing:
 new              x86_64           2.0-1                updates           2.0 k
     replacing  old.x86_64 1.0-1
Upgrading:
 app              x86_64           1.1-1                updates           2.0 k
 epoch            x86_64           2:0.5-1              updates           1.5 k
 lib              x86_64           1.1-1                updates           2.0 k
 lonely           x86_64           2.0-1                updates           2.0 k
Installing dependencies:
 extra            x86_64           1.0-1                updates           1.5 k
Skipping packages with broken dependencies:
 lonely           x86_64           2.1-1                updates           2.0 k

Transaction Summary
================================================================================
Install  2 Packages
Upgrade  4 Packages
Skip     1 Package
"""


def upgrade() -> Transaction:
    new = {"repo": "updates", "download_size": 2010}
    return Transaction(
        items=(
            item("upgrade", "lonely", "2.0", replaces=("lonely-1.0-1.x86_64",), **new),
            item("upgrade", "lib", "1.1", replaces=("lib-1.0-1.x86_64",), **new),
            item("install", "extra", "1.0", repo="updates", download_size=1530, reason="dependency"),
            item("upgrade", "app", "1.1", replaces=("app-1.0-1.x86_64",), **new),
            item("upgrade", "epoch", "0.5", epoch=2, repo="updates", download_size=1530),
            item("install", "new", "2.0", replaces=("old-1.0-1.x86_64",), obsoletes=("old-1.0-1.x86_64",), **new),
        ),
        skipped=(
            Skipped(nevra="lonely-2.1-1.x86_64", name="lonely", evr="2.1-1", arch="x86_64", repo="updates",
                    size=2010, why="broken"),
        ),
    )  # fmt: skip


def test_the_table_is_that_of_dnf() -> None:
    assert transaction_table.table(upgrade()) == UPGRADE


def test_what_was_done_is_shown_in_columns() -> None:
    assert transaction_table.done(upgrade()) == [
        "Upgraded:",
        "  app-1.1-1.x86_64  epoch-2:0.5-1.x86_64  lib-1.1-1.x86_64  lonely-2.0-1.x86_64 ",
        "Installed:",
        "  extra-1.0-1.x86_64                      new-2.0-1.x86_64                     ",
        "Skipped:",
        "  lonely-2.1-1.x86_64                                                           ",
    ]


REMOVAL = """\
================================================================================
 Package          Architecture      Version           Repository           Size
================================================================================
Removing:
 lib              x86_64            1.1-1             @updates              4  
Removing dependent packages:
 app              x86_64            1.1-1             @updates             15  
Removing unused dependencies:
 docs             noarch            1.0-1             @base                 2  
 extra            x86_64            1.0-1             @updates              0  

Transaction Summary
================================================================================
Remove  4 Packages
"""  # noqa: W291


def test_removals_are_shown_by_why_they_go_and_where_they_came_from() -> None:
    gone = Transaction(
        items=(
            item("remove", "lib", "1.1", reason="user", install_size=4, repo="@System"),
            item("remove", "app", "1.1", reason="dependency", install_size=15, repo="@System"),
            item("remove", "docs", "1.0", reason="clean", install_size=2, arch="noarch", repo="@System"),
            item("remove", "extra", "1.0", reason="clean", repo="@System"),
        )
    )
    came = {
        "lib-1.1-1.x86_64": "@updates", "app-1.1-1.x86_64": "@updates", "docs-1.0-1.noarch": "@base",
        "extra-1.0-1.x86_64": "@updates",
    }  # fmt: skip
    assert transaction_table.table(gone, origins=came) == REMOVAL
    assert transaction_table.sizes(gone) == ["Freed space: 21  "]


def test_nothing_is_no_table() -> None:
    assert transaction_table.table(Transaction()) == ""


def test_sizes_tell_downloads_from_what_is_here() -> None:
    two = Transaction(
        items=(
            item("install", "a", "1", download_size=3000, install_size=16),
            item("install", "b", "1", download_size=3000),
        )
    )
    assert transaction_table.sizes(two) == ["Total download size: 5.9 k", "Installed size: 16  "]
    assert transaction_table.sizes(two, cached=6000) == ["Total size: 5.9 k", "Installed size: 16  "]
    assert transaction_table.sizes(two, cached=3000)[:2] == [
        "Total size: 5.9 k",
        "Total download size: 2.9 k",
    ]


def test_newer_versions_of_one_name_stand_below_older_ones() -> None:
    made = Transaction(items=(item("install", "kernel", "10"), item("install", "kernel", "9")))
    lines = transaction_table.table(made).splitlines()
    assert [line.split()[2] for line in lines if line.startswith(" kernel")] == ["9-1", "10-1"]


@pytest.mark.parametrize(
    ("size", "shown"),
    [(0, "0  "), (999, "999  "), (1000, "1.0 k"), (2048, "2.0 k"), (10200, "10 k"), (5 << 20, "5.0 M"),
     (1 << 40, "1.0 T")],
)  # fmt: skip
def test_sizes_are_written_as_dnf_writes_them(size: int, shown: str) -> None:
    assert columns.number(size) == shown


def test_long_names_make_the_table_wider_where_there_is_no_terminal() -> None:
    long = "a" * 70
    text = transaction_table.table(Transaction(items=(item("install", long, "1"),)))
    assert f" {long}   x86_64  1-1 base" in text
    assert text.startswith("=" * 97 + "\n")


def test_a_narrow_terminal_folds_long_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "terminal", lambda: 40)
    text = transaction_table.table(
        Transaction(items=(item("install", "a" * 60, "1"), item("install", "b", "1")))
    )
    assert " " + "a" * 60 + "\n" in text
