"""From a path to the place where packages are changed."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from redpak import paths
from redpak.errors import BadConfig, NotFound, Refused
from redpak.node import site
from redpak.packages import manifest
from redpak.packages.header_write import encode
from tests.rpms import Maker

NOTHING: dict[str, str] = {}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "cache", lambda: str(tmp_path / "cache"))


def node(at: Path, alias: str = "", *, config: str = "", state: str = "Enable") -> Path:
    """Make a node by hand; `config` are lines of its section of that name."""
    (at / "etc").mkdir(parents=True)
    (at / ".rednode.yaml").write_text(f"realpath: {at}\ninfo: by hand\ntimestamp: 1\nstate: {state}\n")
    lines = "".join(f"  {line}\n" for line in config.splitlines())
    (at / "etc/redpak.yaml").write_text(
        f"headers:\n  alias: {alias or at.name}\n" + (f"config:\n{lines}" if lines else "")
    )
    return at


def database(folder: Path, *packages: Mapping[str, object]) -> Path:
    folder.mkdir(parents=True)
    connection = sqlite3.connect(folder / "rpmdb.sqlite")
    connection.execute("CREATE TABLE Packages (hnum INTEGER PRIMARY KEY AUTOINCREMENT, blob BLOB NOT NULL)")
    connection.execute(
        "CREATE TABLE Providename (key TEXT NOT NULL, hnum INTEGER NOT NULL, idx INTEGER NOT NULL)"
    )
    for number, package in enumerate(packages, 1):
        blob = encode({"version": "1", "release": "1", "arch": "noarch", **package})  # type: ignore[dict-item]
        connection.execute("INSERT INTO Packages VALUES (?, ?)", (number, blob))
        names = package.get("providename", [])
        assert isinstance(names, list)
        for at, name in enumerate(names):
            connection.execute("INSERT INTO Providename VALUES (?, ?, ?)", (name, number, at))
    connection.commit()
    connection.close()
    return folder


RELEASE = {
    "name": "example-release", "version": "40", "providename": ["system-release", "system-release(releasever)"],
    "provideflags": [8, 8], "provideversion": ["40-1", "12.5"],
}  # fmt: skip
GLIBC = {"name": "glibc", "arch": "aarch64", "providename": ["rtld(GNU_HASH)"]}


def test_a_family_is_its_core_os_its_ancestors_and_the_node_that_changes(tmp_path: Path) -> None:
    node(tmp_path / "a", "base")
    leaf = node(tmp_path / "a/b", "leaf")
    found = site.site_of(str(leaf), environ=NOTHING)
    assert [(layer.name, layer.kind, layer.locked) for layer in found.layers] == [
        ("core OS", "core", True), ("base", "node", True), ("leaf", "node", False),
    ]  # fmt: skip
    own = found.own
    assert (own.path, own.database, own.rpmdb) == (str(leaf), "rpm", f"{leaf}/var/lib/rpm")
    assert (own.tree, own.state) == (str(leaf), str(leaf))
    assert found.layers[0].path == "/"
    assert (found.path, found.is_node, found.arch) == (str(leaf), True, os.uname().machine)
    assert found.repositories == (f"{leaf}/etc/yum.repos.d",)


def test_a_node_with_generations_is_the_current_one(tmp_path: Path) -> None:
    leaf = node(tmp_path / "n")
    (leaf / ".redpak/generations/8").mkdir(parents=True)
    (leaf / ".redpak/current").symlink_to("generations/8")
    own = site.site_of(str(leaf), core="none", environ=NOTHING).own
    assert own.rpmdb == f"{leaf}/.redpak/generations/8/rpmdb"
    assert own.tree == f"{leaf}/.redpak/generations/8/tree"
    assert own.state == str(leaf)


def test_a_link_to_a_node_is_the_node(tmp_path: Path) -> None:
    leaf = node(tmp_path / "n")
    (tmp_path / "link").symlink_to("n")
    assert site.site_of(str(tmp_path / "link"), core="none", environ=NOTHING).path == str(leaf)


def test_a_node_that_shows_the_core_os_database_has_none_of_its_own(tmp_path: Path) -> None:
    root = tmp_path / "root"
    database(root / "var/lib/rpm", RELEASE)
    top = node(tmp_path / "pool", "system")
    (top / "var/lib").mkdir(parents=True)
    (top / "var/lib/rpm").symlink_to(root / "var/lib/rpm")
    layers = site.site_of(str(top), core=str(root), environ=NOTHING).layers
    assert [layer.database for layer in layers] == ["rpm", "none"]


@pytest.mark.parametrize("where", ["var/lib/rpm", "usr/lib/sysimage/rpm"])
def test_an_rpm_system_is_known_by_its_database(tmp_path: Path, where: str) -> None:
    database(tmp_path / "root" / where, RELEASE, GLIBC)
    leaf = node(tmp_path / "n")
    found = site.site_of(str(leaf), core=str(tmp_path / "root"), environ=NOTHING)
    assert (found.layers[0].database, found.layers[0].rpmdb) == ("rpm", f"{tmp_path}/root/{where}")
    assert found.arch == "aarch64"
    assert dict(found.variables) == {"arch": "aarch64", "basearch": "aarch64", "releasever": "12.5"}


def test_an_empty_rpm_database_on_a_debian_system_says_nothing(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "var/lib/dpkg").mkdir(parents=True)
    (root / "etc").mkdir()
    (root / "var/lib/dpkg/status").write_text(
        "Package: dpkg\nStatus: install ok installed\nArchitecture: arm64\nVersion: 1\n"
    )
    (root / "etc/os-release").write_text('NAME="Debian"\nVERSION_ID="12"\n')
    database(root / "var/lib/rpm")
    leaf = node(tmp_path / "n")
    found = site.site_of(str(leaf), core=str(root), environ=NOTHING)
    assert found.layers[0].database == "dpkg"
    assert (found.arch, dict(found.variables)["releasever"]) == ("aarch64", "12")
    (root / "var/lib/rpm/rpmdb.sqlite").unlink()
    (root / "var/lib/rpm").rmdir()
    (root / "var/lib/rpm").mkdir()
    (root / "var/lib/rpm/Packages").touch()
    assert site.root_layer(str(root)).database == "dpkg"
    (root / "var/lib/rpm/Packages").unlink()
    (root / "var/lib/rpm").rmdir()
    database(root / "var/lib/rpm", RELEASE)
    assert site.root_layer(str(root)).database == "rpm"


def test_a_link_to_the_database_stays_in_its_root(tmp_path: Path) -> None:
    database(tmp_path / "root/opt/db", RELEASE)
    (tmp_path / "root/var/lib").mkdir(parents=True)
    (tmp_path / "root/var/lib/rpm").symlink_to("/opt/db")
    assert site.root_layer(str(tmp_path / "root")).rpmdb == f"{tmp_path}/root/opt/db"
    database(tmp_path / "outside")
    (tmp_path / "other/var/lib").mkdir(parents=True)
    (tmp_path / "other/var/lib/rpm").symlink_to(tmp_path / "outside")
    assert site.root_layer(str(tmp_path / "other")).database == "none"


def test_other_roots_are_files_only(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    layer = site.root_layer(str(tmp_path / "root"))
    assert (layer.database, layer.tree) == ("none", str(tmp_path / "root"))


def test_a_manifest_brings_architecture_and_release(tmp_path: Path) -> None:
    path = tmp_path / "core.json"
    data = {
        "schema": manifest.SCHEMA,
        "kind": "rpm",
        "arch": "riscv64",
        "releasever": "7",
        "database": "",
        "packages": [],
    }
    path.write_text(json.dumps(data))
    leaf = node(tmp_path / "n")
    found = site.site_of(str(leaf), core=str(path), environ=NOTHING)
    assert (found.layers[0].database, found.layers[0].path) == ("manifest", str(path))
    assert (found.arch, dict(found.variables)["releasever"]) == ("riscv64", "7")


def test_the_oldest_node_that_names_a_core_os_decides(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    node(tmp_path / "a", config=f"core-os: {tmp_path}/one")
    leaf = node(tmp_path / "a/b", config=f"core-os: {tmp_path}/two")
    assert site.site_of(str(leaf), environ=NOTHING).layers[0].path == f"{tmp_path}/one"
    assert site.site_of(str(leaf), core="host", environ=NOTHING).layers[0].path == "/"
    assert len(site.site_of(str(leaf), core="none", environ=NOTHING).layers) == 2


@pytest.mark.parametrize(
    ("said", "path"), [("root", "a/root"), ("$NODE_PATH/root", "a/root"), ("../two", "two")]
)
def test_a_core_os_is_found_from_the_node_that_names_it(tmp_path: Path, said: str, path: str) -> None:
    node(tmp_path / "a", config=f"core-os: {said}")
    (tmp_path / "a/root").mkdir()
    (tmp_path / "two").mkdir()
    leaf = node(tmp_path / "a/b")
    assert site.site_of(str(leaf), environ=NOTHING).layers[0].path == f"{tmp_path}/{path}"


@pytest.mark.parametrize(("said", "layers"), [("none", 1), ("host", 2)])
def test_words_for_the_core_os(tmp_path: Path, said: str, layers: int) -> None:
    leaf = node(tmp_path / "a", config=f"core-os: {said}")
    assert len(site.site_of(str(leaf), environ=NOTHING).layers) == layers


def test_a_core_os_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    leaf = node(tmp_path / "n")
    with pytest.raises(NotFound, match="core OS '/nowhere' does not exist"):
        site.site_of(str(leaf), core="/nowhere", environ=NOTHING)
    top = node(tmp_path / "m", config="core-os: /nowhere")
    with pytest.raises(NotFound, match=rf"'/nowhere' does not exist \({top}/etc/redpak.yaml:4\)"):
        site.site_of(str(top), environ=NOTHING)


def test_a_parents_gpgcheck_binds_its_children(tmp_path: Path) -> None:
    top = node(tmp_path / "a", config="gpgcheck: true")
    leaf = node(tmp_path / "a/b")
    found = site.site_of(str(leaf), core="none", environ=NOTHING)
    assert found.gpgcheck is True
    assert found.gpgcheck_because == f"{top}/etc/redpak.yaml:4"
    (leaf / "etc/redpak.yaml").write_text("headers:\n  alias: b\nconfig:\n  gpgcheck: false\n")
    with pytest.raises(BadConfig):
        site.site_of(str(leaf), core="none", environ=NOTHING)


def test_a_node_may_leave_the_signatures_to_each_repository(tmp_path: Path) -> None:
    leaf = node(tmp_path / "a", config="gpgcheck: false")
    found = site.site_of(str(leaf), core="none", environ=NOTHING)
    assert (found.gpgcheck, found.gpgcheck_because) == (None, "")
    default = site.site_of(str(node(tmp_path / "c")), core="none", environ=NOTHING)
    assert default.gpgcheck is True
    assert "main.yaml" in default.gpgcheck_because


def test_the_directory_of_the_cache_is_configured(tmp_path: Path) -> None:
    leaf = node(tmp_path / "a", config="cachedir: $NODE_PATH/var/cache/dnf")
    assert site.site_of(str(leaf), core="none", environ=NOTHING).cachedir == f"{leaf}/var/cache/dnf"
    other = node(tmp_path / "c", config="cachedir: /x/$(id -u)")
    assert site.site_of(str(other), core="none", environ=NOTHING).cachedir == ""


def test_an_old_trees_database_is_where_its_file_says(tmp_path: Path) -> None:
    leaf = node(tmp_path / "a", config="rpmdir: $NODE_PATH/db")
    assert site.site_of(str(leaf), core="none", environ=NOTHING).own.rpmdb == f"{leaf}/db"


def test_a_node_that_is_not_enabled_is_refused(tmp_path: Path) -> None:
    leaf = node(tmp_path / "a", state="Disable")
    with pytest.raises(Refused, match="not enabled"):
        site.site_of(str(leaf), environ=NOTHING)
    assert site.site_of(str(leaf), environ=NOTHING, any_state=True).path == str(leaf)


def test_variables_of_the_node_win_over_the_environment_and_lose_to_the_system(tmp_path: Path) -> None:
    leaf = node(tmp_path / "a")
    for folder, name, text in (
        ("yum", "one", "yum"),
        ("dnf", "one", "dnf"),
        ("yum", "arch", "evil"),
        ("dnf", "two", "file"),
    ):
        (leaf / f"etc/{folder}/vars").mkdir(parents=True, exist_ok=True)
        (leaf / f"etc/{folder}/vars" / name).write_text(text + "\nsecond line\n")
    environ = {"DNF1": "first", "DNF_VAR_two": "environment", "DNF_VAR_three": "3", "OTHER": "no"}
    found = dict(site.site_of(str(leaf), core="none", releasever="39", environ=environ).variables)
    assert found == {
        "arch": os.uname().machine, "basearch": "x86_64" if os.uname().machine == "x86_64" else found["basearch"],
        "releasever": "39", "one": "dnf", "two": "file", "three": "3", "DNF1": "first",
    }  # fmt: skip


def test_variables_of_the_core_os_are_those_of_its_root(tmp_path: Path) -> None:
    leaf = node(tmp_path / "a")
    for root in (tmp_path / "root", leaf):
        (root / "etc/dnf/vars").mkdir(parents=True)
    (tmp_path / "root/etc/dnf/vars/place").write_text("core\n")
    (tmp_path / "root/etc/dnf/vars/other").write_text("core\n")
    (leaf / "etc/dnf/vars/place").write_text("node\n")
    found = dict(site.site_of(str(leaf), core=str(tmp_path / "root"), environ=NOTHING).variables)
    assert (found["place"], found["other"]) == ("node", "core")


def test_the_release_is_the_packages_own_version_when_it_is_named_so(tmp_path: Path) -> None:
    own = {
        **RELEASE,
        "name": "system-release",
        "providename": ["system-release"],
        "provideflags": [8],
        "provideversion": ["9"],
    }
    assert site.release_in(str(database(tmp_path / "a", own))) == "40"
    assert site.release_in(str(database(tmp_path / "b", {**own, "name": "other"}))) == "9"
    assert site.release_in(str(tmp_path / "none")) == ""


@pytest.mark.parametrize(
    ("text", "release"),
    [('VERSION_ID="12"\n', "12"), ("VERSION_ID='9.4'\n", "9.4"), ("ID=x\n", ""), ("", "")],
)
def test_the_release_of_other_systems_is_in_os_release(tmp_path: Path, text: str, release: str) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/os-release").write_text(text)
    assert site.release_of(str(tmp_path)) == release


def test_an_installroot_is_alone_and_need_not_exist(tmp_path: Path) -> None:
    root = tmp_path / "root"
    found = site.installroot(str(root), releasever="39", arch="aarch64", environ=NOTHING)
    assert (found.is_node, len(found.layers), found.arch) == (False, 1, "aarch64")
    assert (found.own.rpmdb, found.own.locked) == (f"{root}/var/lib/rpm", False)
    assert found.gpgcheck is None
    assert found.repositories == ("/etc/yum.repos.d", "/etc/yum/repos.d", "/etc/distro.repos.d")
    assert dict(found.variables)["releasever"] == "39"
    assert not root.exists()


def test_an_installroots_own_repositories_and_release_go_first(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "etc/yum.repos.d").mkdir(parents=True)
    (root / "etc/dnf/vars").mkdir(parents=True)
    (root / "etc/dnf/vars/place").write_text("here\n")
    database(root / "usr/lib/sysimage/rpm", RELEASE)
    found = site.installroot(str(root), environ=NOTHING)
    assert found.repositories == (f"{root}/etc/yum.repos.d",)
    assert found.own.rpmdb == f"{root}/usr/lib/sysimage/rpm"
    assert dict(found.variables)["place"] == "here"
    assert dict(found.variables)["releasever"] == "12.5"


def test_the_core_os_of_a_path_is_its_familys_or_itself(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    leaf = node(tmp_path / "n", config=f"core-os: {tmp_path}/root")
    assert site.core_of(str(leaf)).path == f"{tmp_path}/root"
    assert site.core_of(str(tmp_path / "root")).path == f"{tmp_path}/root"
    assert site.core_of("/").path == "/"
    with pytest.raises(NotFound, match="has no core OS"):
        site.core_of(str(node(tmp_path / "m", config="core-os: none")))
    with pytest.raises(NotFound, match="does not exist"):
        site.core_of(str(tmp_path / "absent"))


@pytest.mark.needs("rpm")
def test_a_database_made_by_rpm_tells_release_and_architecture(tmp_path: Path) -> None:
    maker = Maker(tmp_path)
    made = [
        maker.rpm("example-release", "40", provides=["system-release(releasever) = 40.1"], arch="noarch"),
        maker.rpm("glibc", provides=["rtld(GNU_HASH)"]),
    ]
    maker.database(made, tmp_path / "root/var/lib/rpm")
    subprocess.run(
        ["rpmkeys", f"--dbpath={tmp_path}/root/var/lib/rpm", "--import", maker.key_file], check=True
    )
    layer = site.root_layer(str(tmp_path / "root"))
    assert site.facts_of(layer) == site.Facts(arch="x86_64", release="40.1")
