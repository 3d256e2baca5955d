"""What `redpak node` says when it worked, and when it did not: what, where, and what to do."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from redpak.errors import NotFound, RedpakError, Refused
from redpak.node import tree
from redpak.node.change import delete, move
from redpak.node.create import create
from tests.conftest import Program


def test_every_change_says_in_a_line_what_was_done(redpak: Program, pool: Path) -> None:
    assert redpak("node", "create", pool / "plat", "--alias", "nav").out.splitlines() == [
        f"created node '{pool}' (alias 'system'), which stands for the core OS",
        f"created node '{pool}/plat' (alias 'nav')",
    ]
    assert redpak("node", "create", pool / "plat", "--update").out == (
        f"updated node '{pool}/plat' (alias 'nav')\n"
    )
    assert redpak("node", "disable", pool / "plat").out == f"disabled node '{pool}/plat'\n"
    assert redpak("node", "disable", pool / "plat").out == f"node '{pool}/plat' was disabled already\n"
    assert redpak("node", "enable", pool / "plat").out == f"enabled node '{pool}/plat'\n"
    assert redpak("node", "move", pool / "plat", pool / "p").out == f"moved node to '{pool}/p'\n"
    assert redpak("node", "delete", pool / "p").out == f"deleted node '{pool}/p'\n"


def test_quiet_changes_say_nothing_and_json_is_json(redpak: Program, pool: Path) -> None:
    assert redpak("node", "create", "-q", pool / "plat").out == ""
    assert json.loads(redpak("node", "create", "-q", "--json", pool / "plat/app").out)["alias"] == "app"
    assert redpak("-q", "node", "delete", "-r", pool / "plat").out == ""


def test_a_bad_alias_is_one_fault_not_three(redpak: Program, pool: Path) -> None:
    failed = redpak("node", "create", pool / "a b")
    assert failed.code == 2
    assert failed.err.count("cannot be an alias") == 1
    assert "1 fault in the configuration" in failed.err
    reserved = redpak("node", "create", pool / "n", "--alias", "_private")
    assert "reserved" in reserved.err
    assert os.listdir(pool) == []


def test_a_system_node_does_not_slip_above_nodes_that_exist(pool: Path) -> None:
    create(str(pool / "deep/old"), system_node=False)
    with pytest.raises(Refused, match="would become an ancestor of the node at") as caught:
        create(str(pool / "new"))
    assert f"{pool}/deep/old" in caught.value.message
    assert "--no-system-node" in caught.value.hint
    assert sorted(os.listdir(pool)) == ["deep"]
    assert create(str(pool / "new"), system_node=False).system is None


def test_a_name_that_is_too_long_is_named_and_no_hint_misleads(pool: Path) -> None:
    with pytest.raises(RedpakError) as caught:
        create(str(pool / ("x" * 300)), alias="x", system_node=False)
    assert "redpak-aside" not in caught.value.message
    assert f"{pool}/xxx" in caught.value.message
    assert "shorter" in caught.value.hint
    assert os.listdir(pool) == []


@pytest.mark.needs("user")
def test_a_directory_that_may_not_be_written_is_named_in_full(pool: Path) -> None:
    pool.chmod(0o555)
    with pytest.raises(RedpakError) as caught:
        create(str(pool / "n"))
    assert f"'{pool}" in caught.value.message
    assert f"may write in '{pool}'" in caught.value.hint


def test_a_file_above_a_new_node_is_named_once(pool: Path) -> None:
    (pool / "file").write_text("")
    with pytest.raises(RedpakError) as caught:
        create(str(pool / "file/x"), system_node=False)
    assert caught.value.message == f"cannot create node '{pool}/file/x': '{pool}/file' not a directory"


def test_a_file_is_not_called_absent(pool: Path) -> None:
    (pool / "file").write_text("")
    with pytest.raises(NotFound, match=r"'.*file' is not a directory") as caught:
        tree.family(str(pool / "file"))
    assert "node create" not in caught.value.hint


def test_commands_in_hints_can_be_pasted(pool: Path) -> None:
    with pytest.raises(NotFound) as caught:
        tree.family(str(pool / "a b"))
    assert caught.value.hint == f"Make it with: redpak node create '{pool}/a b'"
    with pytest.raises(NotFound) as caught:
        raise tree.no_node("-d", "/nowhere/-d")
    assert caught.value.hint.endswith("redpak node create ./-d")


def test_in_a_directory_of_pools_the_nodes_are_named(pool: Path) -> None:
    create(str(pool / "alone"), system_node=False)
    with pytest.raises(NotFound) as caught:
        tree.beneath(str(pool))
    assert caught.value.hint == f"There is a node beneath it: '{pool}/alone'."


def test_deleting_what_is_not_there_offers_no_creation(pool: Path) -> None:
    create(str(pool / "plat"))
    with pytest.raises(NotFound) as caught:
        delete(str(pool / "nope"))
    assert "create" not in caught.value.hint


def test_one_node_is_not_one_nodes(pool: Path) -> None:
    create(str(pool / "plat/app"), system_node=False)
    create(str(pool / "plat/app/one"))
    with pytest.raises(Refused, match=re.escape("has 1 node beneath it: ")):
        delete(str(pool / "plat/app"))
    create(str(pool / "plat/app/two"))
    with pytest.raises(Refused, match=re.escape("has 2 nodes beneath it: ")):
        delete(str(pool / "plat/app"))


def test_a_move_to_nowhere_says_that_the_directory_is_missing(pool: Path) -> None:
    create(str(pool / "plat"))
    with pytest.raises(NotFound, match=f"'{pool}/zz' does not exist") as caught:
        move(str(pool / "plat"), str(pool / "zz/plat"))
    assert caught.value.hint == f"Type: mkdir -p {pool}/zz"


def test_bytes_that_are_no_text_are_quoted_once(pool: Path) -> None:
    with pytest.raises(RedpakError) as caught:
        create(f"{pool}/\udcff", alias="x")
    assert "''" not in caught.value.message


def test_a_configuration_file_that_is_not_there_is_not_found(redpak: Program, pool: Path) -> None:
    failed = redpak("node", "create", pool / "n", "--config", "/nonexistent.yaml")
    assert failed.code == 4
    assert "there is no file '/nonexistent.yaml'" in failed.err
