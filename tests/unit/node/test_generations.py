"""Generations on disk, as a launch reads them; state files put in place."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from redpak.engine.sources import generation
from redpak.node import generations, history, statefiles
from redpak.node.generations import Generation
from redpak.node.history import Entry
from redpak.node.statefiles import Change
from redpak.packages.model import Item, Transaction

EIGHT = Generation(
    node="/pool/node",
    path="/pool/node/.redpak/generations/8",
    link="generations/8",
    tops=frozenset(("usr", "opt")),
)


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("/pool/node/usr", "/pool/node/.redpak/generations/8/tree/usr"),
        ("/pool/node/usr/lib64/x", "/pool/node/.redpak/generations/8/tree/usr/lib64/x"),
        ("/pool/node/usrx", ""),
        ("/pool/node/var", ""),
        ("/pool/node/var/lib/rpm", "/pool/node/.redpak/generations/8/rpmdb"),
        ("/pool/node/var/lib/rpm/rpmdb.sqlite", "/pool/node/.redpak/generations/8/rpmdb/rpmdb.sqlite"),
        ("/pool/node/var/lib/rpmx", ""),
        ("/pool/node/child/usr", ""),
        ("/pool/node", ""),
        ("/pool/node2/usr", ""),
    ],
)
def test_what_a_path_of_a_node_leads_to(path: str, place: str) -> None:
    assert generations.mapped(path, EIGHT) == place


def test_only_a_link_of_ours_is_a_generation(tmp_path: Path) -> None:
    node = str(tmp_path)
    assert generations.current(node) == ""
    (tmp_path / ".redpak").mkdir()
    for target in (
        "/etc",
        "generations/",
        "generations/x",
        "../generations/1",
        "generations/1/..",
        "other/1",
    ):
        (tmp_path / ".redpak/current").symlink_to(target)
        assert generations.current(node) == ""
        (tmp_path / ".redpak/current").unlink()
    (tmp_path / ".redpak/current").symlink_to("generations/12")
    assert generations.current(node) == f"{node}/.redpak/generations/12"
    assert generations.number_of(generations.current(node)) == 12


def test_which_directory_a_source_is_leased_by() -> None:
    assert generation("/pool/node/.redpak/generations/8/tree/usr") == "/pool/node/.redpak/generations/8"
    assert generation("/pool/node/.redpak/generations/8") == "/pool/node/.redpak/generations/8"
    for path in ("/pool/node/usr", "/pool/node/.redpak/generations", "/pool/node/.redpak/generations/x/tree"):
        assert generation(path) == ""


def wants_all(_: str) -> bool:
    return True


def test_state_files_are_gathered_and_put_in_place_more_than_once(tmp_path: Path) -> None:
    node, made, upper = tmp_path / "node", tmp_path / "node/.redpak/generations/1", tmp_path / "upper"
    for folder in (
        node / "etc/old.d",
        made / "tree",
        made / "state",
        made / "before",
        made / "rpmdb",
        upper / "new.d",
    ):
        folder.mkdir(parents=True)
    (made / "adopted").mkdir()
    (node / "etc/changed").write_text("before")
    (node / "etc/gone").write_text("gone")
    (upper / "changed").write_text("after")
    (upper / "new.d/new").write_text("new")
    os.mknod(upper / "gone", 0o20600, os.makedev(0, 0))
    changes = statefiles.gather(
        str(node), "etc", str(upper), str(made / "state"), str(made / "before"), wants_all
    )
    assert {(one.path, one.kind, one.had) for one in changes} == {
        ("etc", "directory", True), ("etc/changed", "file", True), ("etc/gone", "gone", True),
        ("etc/new.d", "directory", False), ("etc/new.d/new", "file", False),
    }  # fmt: skip
    assert (made / "before/etc/gone").read_text() == "gone"
    assert (node / "etc/changed").read_text() == "before"
    statefiles.write(str(made / "state.json"), changes)
    assert statefiles.read(str(made / "state.json")) == changes
    told: list[str] = []
    for _ in range(2):
        (made / "pending").touch()
        statefiles.put_in_place(str(node), str(made), told.append)
        assert (node / "etc/changed").read_text() == "after"
        assert (node / "etc/new.d/new").read_text() == "new"
        assert not (node / "etc/gone").exists()
        assert not (made / "pending").exists() and not (made / "state").exists()
    assert told == []


def test_no_symbolic_link_of_a_program_leads_state_files_astray(tmp_path: Path) -> None:
    node, made = tmp_path / "node", tmp_path / "node/.redpak/generations/1"
    outside = tmp_path / "outside"
    for folder in (
        node / "var",
        made / "tree",
        made / "state/var/lib",
        made / "rpmdb",
        made / "adopted",
        outside,
    ):
        folder.mkdir(parents=True)
    (node / "var/lib").symlink_to(outside)
    (made / "state/var/lib/file").write_text("x")
    statefiles.write(
        str(made / "state.json"),
        [Change(path="var/lib", kind="directory"), Change(path="var/lib/file", kind="file"),
         Change(path="var/lib/other", kind="gone", had=True)],
    )  # fmt: skip
    (outside / "other").write_text("theirs")
    (made / "pending").touch()
    told: list[str] = []
    statefiles.put_in_place(str(node), str(made), told.append)
    assert sorted(os.listdir(outside)) == ["other"]
    assert len(told) == 4  # three changes, and var/lib/rpm
    assert not (made / "pending").exists()


def item(name: str, action: str, reason: str = "user") -> Item:
    return Item(
        action=action, name=name, epoch=0, version="1", release="1", arch="noarch", repo="r", reason=reason  # type: ignore[arg-type]
    )  # fmt: skip


def test_reasons_follow_the_packages() -> None:
    before = {"stays.noarch": "dependency", "goes.noarch": "user", "up.noarch": "user"}
    done = Transaction(items=(
        item("new", "install", "weak"), item("goes", "remove"), item("up", "upgrade", "dependency"),
        item("stays", "reinstall", "user"),
    ))  # fmt: skip
    there = {"stays.noarch", "up.noarch", "new.noarch"}
    assert dict(history.reasons_after(before, done, {}, there)) == {
        "stays.noarch": "user", "up.noarch": "user", "new.noarch": "weak"
    }  # fmt: skip
    assert dict(history.reasons_after(before, done, {"new.noarch": "user"}, there))["new.noarch"] == "user"


def test_an_entry_survives_its_document() -> None:
    entry = Entry(
        id=3, parent=2, command="install é \udcff", items=(item("a", "install"),), output=("x", "y"),
        reasons=(("a.noarch", "user"),), changed=("b.noarch",),
    )  # fmt: skip
    assert history.parse(history.encode(entry).decode("utf-8", "surrogateescape"), "here") == entry
