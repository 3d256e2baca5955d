"""Finding families and the nodes beneath a directory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from redpak.errors import BadConfig, NotFound, Refused
from redpak.node import status, tree


def node(at: Path, alias: str = "", *, state: str = "Enable", config: str = "") -> Path:
    """Make a node by hand."""
    (at / "etc").mkdir(parents=True)
    (at / ".rednode.yaml").write_text(f"realpath: {at}\ninfo: by hand\ntimestamp: 1\nstate: {state}\n")
    (at / "etc/redpak.yaml").write_text(config or f"headers:\n  alias: {alias or at.name}\n")
    return at


def test_ancestors_are_spelled_with_a_trailing_slash_and_the_leaf_as_given(tmp_path: Path) -> None:
    node(tmp_path / "a")
    leaf = node(tmp_path / "a/b")
    found = tree.family(str(leaf))
    assert [one.path for one in found.nodes] == [f"{tmp_path}/a/", f"{tmp_path}/a/b"]
    assert [one.real for one in found.nodes] == [f"{tmp_path}/a", f"{tmp_path}/a/b"]
    assert tree.family(f"{leaf}/").leaf.path == f"{leaf}/"


def test_directories_between_that_are_no_nodes_are_skipped(tmp_path: Path) -> None:
    node(tmp_path / "a")
    leaf = node(tmp_path / "a/plain/b")
    assert [one.alias for one in tree.family(str(leaf)).nodes] == ["a", "b"]


def test_relative_paths_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node(tmp_path / "a")
    leaf = node(tmp_path / "a/b")
    for where, path in ((leaf, "."), (tmp_path / "a", "b"), (tmp_path, "a/b"), (leaf, "../b"), (leaf, "./")):
        monkeypatch.chdir(where)
        found = tree.family(path)
        assert [one.real for one in found.nodes] == [f"{tmp_path}/a", str(leaf)], path


@pytest.mark.parametrize("name", ["link", "link/", "a/../link", "//{}/link"])
def test_another_name_of_a_node_does_not_leave_out_its_ancestors(tmp_path: Path, name: str) -> None:
    node(tmp_path / "a")
    leaf = node(tmp_path / "a/b")
    (tmp_path / "link").symlink_to(leaf)
    path = name.format(tmp_path) if name.startswith("//") else f"{tmp_path}/{name}"
    assert [one.alias for one in tree.family(path).nodes] == ["a", "b"]


def test_red_pak_goes_by_the_name_that_was_typed(tmp_path: Path) -> None:
    node(tmp_path / "a")
    leaf = node(tmp_path / "a/b")
    (tmp_path / "link").symlink_to(leaf)
    assert [one.path for one in tree.family(f"{tmp_path}/link", lenient=True).nodes] == [f"{tmp_path}/link"]


def test_a_disabled_member_is_refused_by_name(tmp_path: Path) -> None:
    node(tmp_path / "a", state="Disable")
    leaf = node(tmp_path / "a/b")
    with pytest.raises(Refused, match="node 'a'") as error:
        tree.family(str(leaf))
    assert f"redpak node enable {tmp_path}/a" in error.value.hint
    assert tree.family(str(leaf), any_state=True).nodes[0].state == "Disable"


def test_the_faults_of_all_files_come_at_once(tmp_path: Path) -> None:
    node(tmp_path / "a", config="headers:\n  alias: 'no good'\n")
    leaf = node(tmp_path / "a/b", config="headers:\n  alias: b\nnonsense: 1\n")
    (leaf / ".rednode.yaml").write_text("state: Enable\n")
    (leaf / "etc/redpak-admin.yaml").write_text("headers: 3\n")
    with pytest.raises(BadConfig) as error:
        tree.family(str(leaf), admin=True)
    files = {fault.origin.file for fault in error.value.faults}
    assert {os.path.basename(file) for file in files} == {"redpak.yaml", ".rednode.yaml", "redpak-admin.yaml"}
    assert len(files) == 4


def test_a_node_without_configuration_is_a_fault(tmp_path: Path) -> None:
    leaf = node(tmp_path / "a")
    (leaf / "etc/redpak.yaml").unlink()
    with pytest.raises(BadConfig) as error:
        tree.family(str(leaf))
    assert "no configuration" in error.value.faults[0].message


def test_the_older_file_name_counts_while_the_newer_is_absent(tmp_path: Path) -> None:
    leaf = node(tmp_path / "a")
    (leaf / "etc/redpak.yaml").rename(leaf / "etc/redpack.yaml")
    assert tree.family(str(leaf)).leaf.normal.file.endswith("redpack.yaml")


def test_admin_files_are_read_in_admin_mode_only(tmp_path: Path) -> None:
    leaf = node(tmp_path / "a")
    (leaf / "etc/redpak-admin.yaml").write_text("headers:\n  alias: admin-of-a\n")
    assert tree.family(str(leaf)).leaf.admin is None
    admin = tree.family(str(leaf), admin=True).leaf.admin
    assert admin is not None
    assert admin.alias == "admin-of-a"


def test_what_is_no_node_is_not_found_and_the_likeliest_is_named(tmp_path: Path) -> None:
    node(tmp_path / "pool")
    node(tmp_path / "pool/platform")
    with pytest.raises(NotFound) as error:
        tree.family(str(tmp_path / "pool/platfrom"))
    assert f"'{tmp_path}/pool/platform'" in error.value.hint
    (tmp_path / "pool/xyz").mkdir()
    with pytest.raises(NotFound, match="not a node") as error:
        tree.family(str(tmp_path / "pool/xyz"))
    assert "nearest node above" in error.value.hint
    for path in ("", "a\0b", str(tmp_path / "nothing/at/all")):
        with pytest.raises(NotFound):
            tree.family(path)


def test_inputs_name_every_file_that_matters_also_absent_ones(tmp_path: Path) -> None:
    node(tmp_path / "a")
    leaf = node(tmp_path / "a/plain/b")
    (leaf / "etc/redpak.yaml").rename(leaf / "etc/redpack.yaml")
    found = [file for file in tree.inputs(str(leaf), admin=True) if file.startswith(str(tmp_path) + "/")]
    assert [os.path.relpath(file, tmp_path) for file in found] == [
        ".rednode.yaml",
        "a/.rednode.yaml",
        "a/etc/redpak.yaml",
        "a/etc/redpak-admin.yaml",
        "a/etc/redpack-admin.yaml",
        "a/plain/.rednode.yaml",
        "a/plain/b/.rednode.yaml",
        "a/plain/b/etc/redpak.yaml",
        "a/plain/b/etc/redpack.yaml",
        "a/plain/b/etc/redpak-admin.yaml",
        "a/plain/b/etc/redpack-admin.yaml",
    ]
    assert not any("admin" in file for file in tree.inputs(str(leaf)))
    assert "/.rednode.yaml" not in tree.inputs(str(leaf))


def test_looking_down_finds_nodes_but_enters_no_link_and_no_hidden_directory(tmp_path: Path) -> None:
    pool = node(tmp_path / "pool", "system")
    for name in ("b", "a", "a/c", "plain/d", ".hidden", "usr/e"):
        node(pool / name)
    (pool / "loop").symlink_to(pool)
    top = tree.beneath(str(pool))
    assert [child.path for child in top.children] == [f"{pool}/a", f"{pool}/b", f"{pool}/plain/d"]
    assert [child.alias for child in top.children[0].children] == ["c"]


def test_looking_down_shows_broken_nodes_instead_of_failing(tmp_path: Path) -> None:
    pool = node(tmp_path / "pool")
    broken = node(pool / "broken", config="headers: [\n")
    (broken / ".rednode.yaml").write_text("state: Maybe\n")
    child = tree.beneath(str(pool)).children[0]
    assert (child.alias, child.state) == ("?", "?")
    assert len(child.faults) >= 2


def test_the_launch_path_imports_nothing_slow() -> None:
    code = (
        "import sys; before = set(sys.modules); import redpak.node.tree; new = set(sys.modules) - before; "
        "slow = {'yaml', 'json', 're', 'typing', 'dataclasses', 'enum', 'pathlib', 'subprocess', 'ctypes', 'hashlib'}; "
        "sys.exit(', '.join(sorted(new & slow)) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {os.getcwd()!r}); {code}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_a_status_of_another_host_path_is_no_obstacle(tmp_path: Path) -> None:
    leaf = node(tmp_path / "a")
    status.write(status.new(str(leaf)).but(realpath="/elsewhere"))
    assert tree.family(str(leaf)).leaf.real == str(leaf)
