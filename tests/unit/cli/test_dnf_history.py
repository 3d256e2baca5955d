"""The history: which transactions words mean, how they are shown, and what takes them back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from redpak.cli.dnf import columns, past, past_show, replay
from redpak.cli.dnf.progress import failed_scripts
from redpak.cli.dnf.session import Failed, Session
from redpak.node.history import Entry
from redpak.packages.model import Item

if TYPE_CHECKING:
    from redpak.packages.model import Action


def item(action: Action, nevra: str, replaces: tuple[str, ...] = (), obsoletes: tuple[str, ...] = ()) -> Item:
    rest, _, arch = nevra.rpartition(".")
    name, version, release = rest.rsplit("-", 2)
    return Item(action=action, name=name, epoch=0, version=version, release=release, arch=arch, repo="base",
                reason="user", replaces=replaces, obsoletes=obsoletes)  # fmt: skip


A1, A2, B1, OLD, NEW = "a-1-1.x86_64", "a-2-1.x86_64", "b-1-1.noarch", "old-1-1.x86_64", "new-1-1.x86_64"
KNOWN = [
    Entry(id=1, command="install a old", begin=100.0, end=101.0, items=(item("install", A1), item("install", OLD)),
          reasons=(("a.x86_64", "user"), ("old.x86_64", "dependency"))),
    Entry(id=2, parent=1, command="upgrade", begin=200.0, end=500.0,
          items=(item("upgrade", A2, (A1,)), item("install", NEW, (OLD,), (OLD,))),
          reasons=(("a.x86_64", "user"), ("new.x86_64", "dependency"))),
    Entry(id=3, parent=2, command="install b", begin=300.0, end=301.0, items=(item("install", B1),),
          reasons=(("a.x86_64", "user"), ("b.noarch", "weak"), ("new.x86_64", "dependency"))),
    Entry(id=4, parent=3, command="mark remove a", begin=400.0, end=400.0, changed=("a.x86_64",),
          reasons=(("a.x86_64", "dependency"), ("b.noarch", "weak"), ("new.x86_64", "dependency"))),
]  # fmt: skip


@pytest.mark.parametrize(
    ("word", "numbers"),
    [("2", {2}), ("last", {4}), ("last-1", {3}), ("-1", {3}), ("2..last", {2, 3, 4}), ("4..2", {2, 3, 4}), ("b", {3}),
     ("a*", {1, 2}), (A2, {2}), ("nobody", set()), ("99", {99})],
)  # fmt: skip
def test_words_for_transactions(word: str, numbers: set[int]) -> None:
    assert past.numbers_of(word, KNOWN) == numbers


def test_a_range_needs_numbers() -> None:
    with pytest.raises(Failed, match="Can't convert 'x' to transaction ID"):
        past.numbers_of("x..2", KNOWN)


def test_a_command_for_one_transaction_takes_no_range() -> None:
    assert past.numbers_of("2..2", KNOWN, one="undo") == {2}
    with pytest.raises(Failed, match="'undo' requires one transaction ID"):
        past.numbers_of("1..2", KNOWN, one="undo")


def test_packages_are_counted_as_dnf_counts_them() -> None:
    again = Entry(id=5, items=(item("reinstall", B1, (B1,)),))
    assert past_show.actions(again) == ("R", 2)
    split = Entry(id=6, items=(item("install", A1, (OLD,), (OLD,)), item("install", NEW, (OLD,), (OLD,))))
    assert past_show.actions(split) == ("I, O", 3)


def wishes(*entries: Entry) -> set[tuple[str, str, str]]:
    return {(wish.action, wish.nevra, wish.reason) for wish in replay.undone(entries, KNOWN)}


def test_an_upgrade_and_an_obsolescence_are_taken_back() -> None:
    assert wishes(KNOWN[1]) == {
        ("Downgraded", A2, "dependency"),
        ("Downgrade", A1, "user"),
        ("Removed", NEW, "dependency"),
        ("Install", OLD, "dependency"),  # for the reason that it had
    }


def test_several_transactions_are_taken_back_as_one_difference() -> None:
    brought = Entry(id=5, items=(item("remove", B1),))
    assert wishes(KNOWN[2], brought) == set()  # installed and removed again: nothing
    again = Entry(id=6, items=(item("install", B1),))
    assert {(action, nevra) for action, nevra, _ in wishes(KNOWN[2], brought, again)} == {("Removed", B1)}


def test_a_mark_is_taken_back_to_the_earlier_reason() -> None:
    assert wishes(KNOWN[3]) == {("Reason Change", "a.x86_64", "user")}


def test_a_transaction_is_done_again_as_it_was() -> None:
    assert [(wish.action, wish.nevra) for wish in replay.wishes_of(KNOWN[1])] == [
        ("Upgrade", A2), ("Upgraded", A1), ("Install", NEW), ("Obsoleted", OLD),
    ]  # fmt: skip


def test_the_list_is_that_of_dnf(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "terminal", lambda: 0)
    monkeypatch.setenv("TZ", "UTC")
    lines = past_show.table(KNOWN[::-1])
    assert lines[0] == "ID     | Command line             | Date and time    | Action(s)      | Altered"
    assert lines[1] == "-" * 79
    assert lines[2] == "     4 | mark remove a            | 1970-01-01 00:06 | Reason Change  |    1   "
    assert lines[4] == "     2 | upgrade                  | 1970-01-01 00:03 | I, O, U        |    3   "
    assert lines[5] == "     1 | install a old            | 1970-01-01 00:01 | Install        |    2   "


def test_the_details_name_every_package_that_changed() -> None:
    lines = past_show.details(KNOWN[1], past.installed_before(KNOWN[1], KNOWN))
    assert "End time       : Thu Jan  1 00:08:20 1970 (5 minutes)" in lines
    assert lines[lines.index("Packages Altered:") + 1 :] == [
        "    Upgrade   a-2-1.x86_64   @base",
        "    Upgraded  a-1-1.x86_64   @@System",
        "    Install   new-1-1.x86_64 @base",
        "    Obsoleted old-1-1.x86_64 @@System",
    ]
    marked = past_show.details(KNOWN[3], past.installed_before(KNOWN[3], KNOWN))
    assert marked[-1] == "    Reason Change a-2-1.x86_64 @base"


def test_what_is_stored_can_be_read_again(tmp_path: Path, session: Session) -> None:
    path = tmp_path / "t.json"
    path.write_text(json.dumps(replay.stored(KNOWN[1])))
    assert [(wish.action, wish.nevra) for wish in replay.read(session, str(path))] == [
        (wish.action, wish.nevra) for wish in replay.wishes_of(KNOWN[1])
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "Error parsing file"),
        ("[]", "array expected"),
        ("{}", 'Missing key "version"'),
        ('{"version": "x.1"}', 'Invalid major version "x", number expected'),
        ('{"version": "2.0"}', 'Incompatible major version "2"'),
        ('{"version": "1.0", "rpms": 1}', 'Unexpected type of "rpms"'),
        (
            '{"version": "1.0", "rpms": [{"action": "Install"}, {"action": "Frob", "nevra": "a"}]}',
            'key "nevra"',
        ),
        ('{"version": "1.0", "rpms": [{"action": "Frob", "nevra": "a"}]}', 'package action "Frob"'),
        ('{"version": "1.0", "groups": [{}]}', "Groups are not supported"),
    ],
)
def test_a_stored_transaction_that_is_wrong_is_refused(
    tmp_path: Path, session: Session, text: str, told: str
) -> None:
    path = tmp_path / "t.json"
    path.write_text(text)
    with pytest.raises(Failed) as caught:
        replay.read(session, str(path))
    assert told in caught.value.message and str(path) in caught.value.message


@pytest.fixture
def session(tmp_path: Path) -> Session:
    from redpak.cli.dnf import history, options

    line = ["history", "--installroot", str(tmp_path)]
    return Session(options.parse(line, "dnf history", history.OPTIONS, history.ARGUMENTS))


def test_scriptlets_that_failed_are_found_in_what_rpm_says() -> None:
    said = [
        'error: lua script failed: [string "%prein(failpre-1.0-1.x86_64)"]:2: no way',
        "error: failpre-1.0-1.x86_64: install failed",
        "warning: %post(other-2-1.noarch) scriptlet failed, exit status 1",
        "hello from %post(x-1-1.noarch)",
    ]
    assert failed_scripts(said) == [("PREIN", "failpre"), ("POSTIN", "other")]
