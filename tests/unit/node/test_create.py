"""Making nodes: what is made, what is refused, and that nothing half made stays."""

from __future__ import annotations

import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from redpak.errors import BadConfig, NotFound, RedpakError, Refused, Usage
from redpak.node import guard, tree
from redpak.node.create import create
from redpak.node.write import LAYOUT


def listing(at: Path) -> dict[str, bytes]:
    """Return everything beneath a directory, with content."""
    return {
        str(path.relative_to(at)): path.read_bytes() if path.is_file() else b""
        for path in sorted(at.rglob("*"))
    }


def test_a_first_node_gets_a_system_node_above_it(pool: Path) -> None:
    made = create(str(pool / "plat"))
    assert made.system is not None
    assert (made.system.path, made.system.alias) == (str(pool), "system")
    family = tree.family(str(pool / "plat"), admin=True)
    assert [node.alias for node in family.nodes] == ["system", "plat"]
    assert family.leaf.admin is not None
    assert family.leaf.admin.alias == "admin-of-plat"
    assert family.leaf.admin.name != family.leaf.normal.name


def test_a_node_beneath_a_node_is_a_leaf(pool: Path) -> None:
    create(str(pool / "plat"))
    made = create(str(pool / "plat/app"), alias="nav")
    assert made.system is None
    leaf = tree.family(str(pool / "plat/app")).leaf
    assert leaf.alias == "nav"
    assert not [export for export in leaf.normal.exports if export.mount == "/proc"]
    assert leaf.normal.info.startswith("Node created by ")


def test_a_node_beneath_a_directory_of_a_family_needs_no_second_system_node(pool: Path) -> None:
    create(str(pool / "plat"))
    assert create(str(pool / "plat/group/app")).system is None
    assert [node.alias for node in tree.family(str(pool / "plat/group/app")).nodes] == [
        "system",
        "plat",
        "app",
    ]


def test_a_node_has_the_directories_that_let_it_start(pool: Path) -> None:
    made = create(str(pool / "alone"), system_node=False)
    assert made.system is None
    for folder in LAYOUT:
        assert (pool / "alone" / folder).is_dir()
    for node in tree.family(str(pool / "alone")).nodes:
        for export in node.normal.exports:
            if export.path and export.path.startswith("$NODE_PATH"):
                there = os.path.isfile if export.mode.endswith("File") else os.path.isdir
                assert there(export.path.replace("$NODE_PATH", node.path)), export.path


def test_the_node_on_the_core_os_tells_rpm_where_the_database_is(pool: Path) -> None:
    create(str(pool / "alone"), system_node=False)
    assert (pool / "alone/etc/rpm/macros.redpak").read_text() == "%_dbpath /var/lib/rpm\n"
    create(str(pool / "alone/leaf"))
    assert not (pool / "alone/leaf/etc/rpm").exists()


def test_a_failed_creation_takes_the_macros_away_again(pool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (pool / "there").mkdir()
    monkeypatch.setattr("redpak.node.status.new", lambda path: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        create(str(pool / "there"), system_node=False)
    assert not list((pool / "there").iterdir())


def test_others_may_start_what_one_user_made(pool: Path) -> None:
    old = os.umask(0o022)
    try:
        create(str(pool / "x/plat"))
        create(str(pool / "x/plat/app"))
    finally:
        os.umask(old)
    for path in (pool / "x").rglob("*"):
        wanted = 0o755 if path.is_dir() else 0o644
        assert path.stat().st_mode & 0o777 == wanted, path


def test_missing_directories_above_are_made(pool: Path) -> None:
    made = create(str(pool / "x/y/z"))
    assert made.system is not None
    assert made.system.path == str(pool / "x/y")
    assert not tree.is_node(str(pool / "x"))


def test_values_stay_as_written_and_comments_too(pool: Path, tmp_path: Path) -> None:
    config = tmp_path / "my.yaml"
    config.write_text(
        "# mine\nheaders:\n  alias: whatever\n\n# why\nexports:\n- mode: Tmpfs # fast\n  mount: /x/$NODE_ALIAS\n"
    )
    create(str(pool / "node"), config=str(config))
    text = (pool / "node/etc/redpak.yaml").read_text()
    assert text.startswith("# mine\nheaders:\n  alias: node\n")
    assert text.endswith("\n\n# why\nexports:\n- mode: Tmpfs # fast\n  mount: /x/$NODE_ALIAS\n")


def test_every_fault_of_a_given_file_is_told_and_nothing_made(pool: Path, tmp_path: Path) -> None:
    config = tmp_path / "bad.yaml"
    config.write_text(
        "headers:\n  alias: x\nexports:\n- mode: Pubic\n  mount: /x\n- mode: Tmpfs\n  mount: relative\nnonsense: 1\n"
    )
    before = listing(pool)
    with pytest.raises(BadConfig) as error:
        create(str(pool / "n/m"), config=str(config), alias="not good")
    lines = {(fault.origin.file, fault.origin.line) for fault in error.value.faults}
    assert {(str(config), 4), (str(config), 7), (str(config), 8)} <= lines
    assert any("'not good' cannot be an alias" in fault.message for fault in error.value.faults)
    assert listing(pool) == before


def test_a_file_that_contradicts_the_family_is_refused_with_both_lines(pool: Path, tmp_path: Path) -> None:
    create(str(pool / "plat"))
    config = tmp_path / "loose.yaml"
    config.write_text("headers:\n  alias: x\nconfig:\n  share_pid: enabled\n")
    before = listing(pool)
    with pytest.raises(BadConfig) as error:
        create(str(pool / "plat/app"), config=str(config))
    told = " ".join(map(str, error.value.faults))
    assert f"{config}:4" in told or "redpak.yaml:4" in told
    assert str(pool / "etc/redpak.yaml") in told
    assert listing(pool) == before


def test_an_existing_node_is_not_overwritten(pool: Path) -> None:
    create(str(pool / "n"))
    before = listing(pool)
    with pytest.raises(Refused, match="is a node already"):
        create(str(pool / "n"))
    assert listing(pool) == before


def test_update_renews_all_but_the_headers(pool: Path) -> None:
    create(str(pool / "n"), alias="nick")
    old = tree.family(str(pool / "n"), admin=True).leaf
    file = pool / "n/etc/redpak.yaml"
    file.write_text(file.read_text().replace("umask", "umask").partition("exports:")[0])
    (pool / "n/usr/bin/tool").write_text("x")
    made = create(str(pool / "n"), update=True)
    assert made.updated
    new = tree.family(str(pool / "n"), admin=True).leaf
    assert (new.alias, new.normal.name, new.normal.info) == (old.alias, old.normal.name, old.normal.info)
    assert old.admin is not None
    assert new.admin is not None
    assert new.admin.name == old.admin.name
    assert len(new.normal.exports) == len(old.normal.exports)
    assert (pool / "n/usr/bin/tool").read_text() == "x"
    with pytest.raises(Usage, match="keeps the alias"):
        create(str(pool / "n"), update=True, alias="other")
    with pytest.raises(Refused, match="does not exist"):
        create(str(pool / "nothing"), update=True)


def test_update_repairs_a_configuration_that_cannot_be_read(pool: Path) -> None:
    create(str(pool / "n"))
    (pool / "n/etc/redpak.yaml").write_text("headers: [")
    create(str(pool / "n"), update=True)
    assert tree.family(str(pool / "n")).leaf.alias == "n"


def test_an_existing_directory_becomes_a_node_and_keeps_what_it_has(pool: Path) -> None:
    (pool / "n/usr").mkdir(parents=True)
    (pool / "n/usr/keep").write_text("me")
    create(str(pool / "n"))
    assert (pool / "n/usr/keep").read_text() == "me"
    assert tree.is_node(str(pool / "n"))


def test_a_configuration_that_is_somebodys_is_not_taken_over(pool: Path) -> None:
    (pool / "n/etc").mkdir(parents=True)
    (pool / "n/etc/redpak.yaml").write_text("headers:\n  alias: theirs\n")
    before = listing(pool)
    with pytest.raises(Refused, match="exists already"):
        create(str(pool / "n"))
    assert listing(pool) == before
    assert create(str(pool / "n"), update=True).alias == "theirs"


def test_aliases_are_unique_above_and_below(pool: Path) -> None:
    create(str(pool / "a/b"), system_node=False, alias="one")
    with pytest.raises(Refused, match="taken"):
        create(str(pool / "a/b/c"), alias="one")
    with pytest.raises(Refused, match="taken"):
        create(str(pool / "a"), alias="one", system_node=False)
    with pytest.raises(Refused, match="taken"):
        create(str(pool / "a/b/system/x"), alias="one")


@pytest.mark.parametrize("alias", ["a b", "a/b", "é", "_private", "a\nb", "$X"])
def test_what_cannot_be_an_alias_is_refused(pool: Path, alias: str) -> None:
    with pytest.raises(BadConfig):
        create(str(pool / "n"), alias=alias)
    assert not list(pool.iterdir())


def test_a_directory_name_that_is_no_alias_asks_for_one(pool: Path) -> None:
    with pytest.raises(BadConfig) as error:
        create(str(pool / "v1.2"))
    assert "--alias" in error.value.faults[0].hint
    assert create(str(pool / "v1.2"), alias="v1").alias == "v1"


def test_some_places_are_refused(pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Refused):
        create("/")
    with pytest.raises(Refused, match="system node"):
        create("/redpak-test-node")
    open_for_all = tmp_path / "open"
    open_for_all.mkdir()
    open_for_all.chmod(0o1777)
    with pytest.raises(Refused, match="writable by everybody"):
        create(str(open_for_all / "n"))
    monkeypatch.setenv("HOME", str(pool))
    with pytest.raises(Refused, match="holds much else"):
        create(str(pool / "n"))
    (pool / "file").write_text("")
    (pool / "link").symlink_to(tmp_path)
    for name in ("file", "link"):
        with pytest.raises(Refused, match="not a directory"):
            create(str(pool / name), system_node=False)
    assert sorted(os.listdir(pool)) == ["file", "link"]


def test_no_symbolic_link_in_an_existing_directory_is_followed(pool: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (pool / "n").mkdir()
    (pool / "n/etc").symlink_to(victim)
    with pytest.raises(RedpakError):
        create(str(pool / "n"), system_node=False)
    assert not list(victim.iterdir())
    assert os.listdir(pool / "n") == ["etc"]


def test_unknown_templates_and_double_asks_are_refused(pool: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        create(str(pool / "n"), template_normal="nonsense")
    with pytest.raises(Usage):
        create(str(pool / "n"), template_normal="leaf", config="x")
    with pytest.raises(NotFound):
        create(str(pool / "n"), config=str(tmp_path / "nothing"))
    for path in ("", "a\0b", f"{pool}/\udcff"):
        with pytest.raises(Usage):
            create(path)
    assert not list(pool.iterdir())


def in_child(act: Any) -> int:
    """Run `act` in a fork of this process; return its wait status."""
    pid = os.fork()
    if pid == 0:
        try:
            act()
        except BaseException:  # noqa: BLE001 - a child of the tests must not run their clean-up
            os._exit(1)
        os._exit(0)
    return os.waitpid(pid, 0)[1]


def test_a_create_that_fails_midway_leaves_nothing(pool: Path) -> None:
    (pool / "there").mkdir()
    before = listing(pool)

    def act() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))  # the configuration does not fit
        create(str(pool / sys.argv[-1]))

    for name in ("new/deep", "there", "there/below"):
        sys.argv.append(name)
        assert os.waitstatus_to_exitcode(in_child(act)) == 1
        sys.argv.pop()
        assert listing(pool) == before, name


@pytest.mark.parametrize(("name", "step"), [("new", 3), ("there", 2), ("deep/er", 4)])
def test_a_create_that_is_killed_anywhere_is_finished_by_the_next(
    pool: Path, tmp_path: Path, name: str, step: int
) -> None:
    for model in ("root", "leaf", "full"):
        for kind in ("normal", "admin"):
            (tmp_path / f"{model}-{kind}.yaml").write_text("headers:\n  alias: x\n")
    small = (str(tmp_path),)
    deaths = 0
    for after in range(0, 200, step):
        home = pool / f"p{after}"
        (home / "there").mkdir(parents=True)

        def act(home: Path = home, after: int = after) -> None:
            left = after

            def hook(event: str, args: tuple[Any, ...]) -> None:
                nonlocal left
                writes = event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_CREAT)
                if event in ("os.mkdir", "os.rename", "os.remove", "os.rmdir") or writes:
                    left -= 1
                    if left < 0:
                        os.kill(os.getpid(), signal.SIGKILL)

            sys.addaudithook(hook)
            create(str(home / name), directories=small)

        ended = os.waitstatus_to_exitcode(in_child(act))
        assert ended in (0, -signal.SIGKILL)
        if ended == 0:
            break
        deaths += 1
        for at in (home, home / name):  # what is a node already is whole
            if tree.is_node(str(at)):
                tree.family(str(at), admin=True)
        if not tree.is_node(str(home / name)):
            create(str(home / name), directories=small)
        assert [node.alias for node in tree.family(str(home / name), admin=True).nodes][-1] == name.split(
            "/"
        )[-1]
        assert not list(home.rglob(f"{guard.ASIDE}*"))
    else:
        pytest.fail("it never finished")
    assert deaths > 5
