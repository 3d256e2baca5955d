from __future__ import annotations

import gc
import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from redpak.errors import RedpakError
from redpak.packages.model import COMMAND_LINE, SYSTEM
from tests.universes import Worlds

if TYPE_CHECKING:
    from redpak.packages.model import Reason


@pytest.fixture
def worlds(tmp_path: Path) -> Worlds:
    return Worlds(tmp_path)


def test_several_databases_are_one_installed_system_and_each_package_knows_its_layer(worlds: Worlds) -> None:
    core = worlds.layer("core OS", worlds.rpm("lib", "1.0"))
    node = worlds.layer("node", worlds.rpm("app", "2.0", requires=["lib"]), locked=False)
    universe = worlds.universe(core, node)
    found = {package.name: package for package in universe.query().installed()}
    assert set(found) == {"lib", "app"}
    assert (found["lib"].where, found["app"].where) == ("core OS", "node")
    assert (found["lib"].locked, found["app"].locked) == (True, False)
    assert [package.name for package in universe.query().own()] == ["app"]
    assert universe.pool.providers(universe.pool.dep("lib")) == [found["lib"].id]


def test_a_package_tells_what_repoquery_shows(worlds: Worlds) -> None:
    worlds.repo(
        "main",
        worlds.rpm(
            "tool", "1.2", "3", epoch=4, summary="A tool", description="It does.", url="http://example.com",
            license="MIT", vendor="Somebody", packager="P <p@example.com>", group="Tools",
            requires=["lib >= 2", "post: shell"], provides=["tool(x)"], conflicts=["old"], obsoletes=["older < 3"],
            recommends=["docs"], suggests=["more"], supplements=["thing"], enhances=["that"],
            files={"/usr/bin/tool": "x", "/usr/share/tool/data": "yy"},
        ),
    )  # fmt: skip
    package = worlds.universe().query().named(["tool"])[0]
    assert package.nevra == "tool-4:1.2-3.x86_64"
    assert (package.epoch, package.version, package.release, package.evr) == (4, "1.2", "3", "4:1.2-3")
    assert (package.repo, package.layer, package.installed) == ("main", None, False)
    assert (package.summary, package.description) == ("A tool", "It does.")
    assert (package.url, package.license, package.vendor) == ("http://example.com", "MIT", "Somebody")
    assert (package.packager, package.group) == ("P <p@example.com>", "Tools")
    assert package.sourcerpm == "tool-1.2-3.src.rpm"
    assert package.location == "Packages/tool-1.2-3.x86_64.rpm"
    assert package.checksum.startswith("sha256:") and len(package.checksum) == 71
    assert package.downloadsize > 0 and package.buildtime > 0
    assert package.requires == ["lib >= 2", "shell"]
    assert package.dependencies("requires_pre") == ["shell"]
    assert "tool(x)" in package.provides and "tool = 4:1.2-3" in package.provides
    assert (package.conflicts, package.obsoletes, package.recommends) == (["old"], ["older < 3"], ["docs"])
    assert (package.suggests, package.supplements, package.enhances) == (["more"], ["thing"], ["that"])
    assert sorted(package.files) == ["/usr/bin/tool", "/usr/share/tool/data"]


def test_an_installed_package_tells_the_same_from_its_header(worlds: Worlds) -> None:
    rpm = worlds.rpm("tool", "1", summary="A tool", requires=["shell"], files={"/opt/tool/data": "yy"})
    universe = worlds.universe(worlds.layer("node", rpm, locked=False), reasons={"tool.x86_64": "dependency"})
    package = universe.query()[0]
    assert (package.repo, package.summary, package.requires) == (SYSTEM, "A tool", ["shell"])
    assert package.files == ["/opt/tool/data"]
    assert (package.reason, package.location, package.checksum) == ("dependency", "", "")
    assert universe.query().with_file(["/opt/tool/data"]).numbers == (package.id,)


def test_a_handle_keeps_its_pool_alive(worlds: Worlds) -> None:
    worlds.repo("main", worlds.rpm("tool", "1", requires=["lib"]))
    package = worlds.universe().query()[0]
    gc.collect()
    assert (package.name, package.requires) == ("tool", ["lib"])


def test_package_files_join_under_their_own_repository(worlds: Worlds) -> None:
    path = worlds.rpm("local", "1", requires=["lib"])
    worlds.repo("main", worlds.rpm("lib", "1"))
    universe = worlds.universe(local=[path])
    package = universe.query().named(["local"])[0]
    assert (package.repo, package.location) == (COMMAND_LINE, path)
    assert package.downloadsize == os.path.getsize(path)
    assert (
        universe.local_checksum(package.id) == f"sha256:{hashlib.sha256(Path(path).read_bytes()).hexdigest()}"
    )
    assert universe.local_checksum(universe.query().named(["lib"])[0].id) == ""


def test_lists_of_files_are_loaded_only_when_somebody_asks_for_such_a_file(worlds: Worlds) -> None:
    main = worlds.repo("main", worlds.rpm("tool", files={"/usr/bin/tool": "x", "/opt/tool/data": "y"}))
    universe = worlds.universe()
    assert universe.query().providing(["/usr/bin/tool"])
    assert main.opened == ["primary"]
    assert [package.name for package in universe.query().with_file(["/opt/tool/da*"])] == ["tool"]
    assert "filelists" in main.opened


def test_lists_of_files_are_loaded_for_a_dependency_that_needs_them(worlds: Worlds) -> None:
    user = worlds.rpm("user", requires=["/opt/tool/data"])
    main = worlds.repo("main", worlds.rpm("tool", files={"/opt/tool/data": "y"}), user)
    universe = worlds.universe()
    assert "filelists" in main.opened
    owner = universe.query().named(["tool"])[0]
    assert universe.pool.providers(universe.pool.dep("/opt/tool/data")) == [owner.id]


@pytest.mark.parametrize("compression", ["", "gz", "zst", "xz", "bz2"])
def test_metadata_of_every_compression_is_read(worlds: Worlds, compression: str) -> None:
    worlds.repo("main", worlds.rpm("tool"), compression=compression)
    assert [package.name for package in worlds.universe().query()] == ["tool"]


def test_a_second_universe_reads_the_cache_and_not_the_metadata(worlds: Worlds, tmp_path: Path) -> None:
    main = worlds.repo("main", worlds.rpm("tool", files={"/opt/tool/data": "y"}))
    first = worlds.universe(filelists=True)
    main.opened.clear()
    second = worlds.universe(filelists=True)
    assert main.opened == []
    assert second.query()[0].files == first.query()[0].files == ["/opt/tool/data"]
    assert not [name for name in os.listdir(tmp_path / "cache/solv") if not name.endswith(".solv")]


def test_a_damaged_cache_is_made_anew(worlds: Worlds, tmp_path: Path) -> None:
    worlds.repo("main", worlds.rpm("tool"))
    worlds.universe()
    for file in (tmp_path / "cache/solv").iterdir():
        file.write_bytes(b"SOLV" + b"\xff" * 50)
    assert [package.name for package in worlds.universe().query()] == ["tool"]


def test_a_cache_that_others_may_write_is_not_believed(worlds: Worlds, tmp_path: Path) -> None:
    main = worlds.repo("main", worlds.rpm("tool"))
    worlds.universe()
    for file in (tmp_path / "cache/solv").iterdir():
        file.chmod(0o666)
    main.opened.clear()
    worlds.universe()
    assert main.opened == ["primary"]


def test_no_file_of_the_cache_stays_open(worlds: Worlds) -> None:
    worlds.repo("main", worlds.rpm("tool"))
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):  # made, and loaded
        assert worlds.universe().query()
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_cache_that_cannot_be_written_is_done_without(worlds: Worlds, tmp_path: Path) -> None:
    worlds.repo("main", worlds.rpm("tool"))
    (tmp_path / "cache").write_text("in the way")
    assert [package.name for package in worlds.universe().query()] == ["tool"]


def test_a_damaged_primary_is_one_clear_error(worlds: Worlds) -> None:
    main = worlds.repo("main", worlds.rpm("tool"), compression="")
    path = Path(main.file("primary"))
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(RedpakError, match=r"cannot read '.*primary\.xml'"):
        worlds.universe()


def test_excludes_hide_packages_of_all_repositories_and_layers(worlds: Worlds) -> None:
    worlds.repo("main", worlds.rpm("app", "1"), worlds.rpm("app", "2"), worlds.rpm("lib", "1"))
    node = worlds.layer("node", worlds.rpm("old", "1"), locked=False)
    universe = worlds.universe(node, excludes=["app-2*", "old"])
    assert [package.nevra for package in universe.query()] == ["app-1-1.x86_64", "lib-1-1.x86_64"]
    assert len(universe.query(excluded=True)) == 4
    assert len(worlds.universe(node, excludes=["app-2*", "old"], disable_excludes=["main"]).query()) == 4


def test_includes_hide_all_others_but_nothing_that_is_installed(worlds: Worlds) -> None:
    worlds.repo("main", worlds.rpm("app", "1"), worlds.rpm("lib", "1"))
    universe = worlds.universe(worlds.layer("node", worlds.rpm("old", "1"), locked=False), includes=["a*"])
    assert sorted(package.name for package in universe.query()) == ["app", "old"]


def test_a_repository_hides_its_own_packages(worlds: Worlds) -> None:
    app, lib = worlds.rpm("app", "1"), worlds.rpm("lib", "1")
    worlds.repo("one", app, lib, excludepkgs=("a*",))
    worlds.repo("two", app, lib, includepkgs=("lib.x86_64",))
    universe = worlds.universe()
    assert sorted(f"{package.name} {package.repo}" for package in universe.query()) == ["lib one", "lib two"]
    assert len(worlds.universe(disable_excludes=["two"]).query()) == 3
    assert len(worlds.universe(disable_excludes=["all"]).query()) == 4


def test_queries_know_versions(worlds: Worlds) -> None:
    worlds.repo(
        "main", *(worlds.rpm("app", version) for version in ("1", "2", "3")), worlds.rpm("other", "1")
    )
    universe = worlds.universe(worlds.layer("node", worlds.rpm("app", "2"), locked=False))
    query = universe.query()
    assert [package.version for package in query.upgrades()] == ["3"]
    assert [package.version for package in query.downgrades()] == ["1"]
    assert [package.nevra for package in query.available().latest()] == ["app-3-1.x86_64", "other-1-1.x86_64"]
    assert [package.version for package in query.available().named(["app"]).latest(-1)] == ["1", "2"]
    assert query.extras().numbers == ()


def test_what_nobody_needs_is_unneeded(worlds: Worlds) -> None:
    rpm = worlds.rpm
    rpms = [
        rpm("app", requires=["lib"], recommends=["docs"]), rpm("lib"), rpm("docs"), rpm("plugin", supplements=["lib"]),
        rpm("left", requires=["over"]), rpm("over"),
    ]  # fmt: skip
    reasons: dict[str, Reason] = {
        f"{name}.x86_64": "dependency" for name in ("lib", "docs", "plugin", "left", "over")
    }
    universe = worlds.universe(worlds.layer("node", *rpms, locked=False), reasons=reasons)
    assert sorted(package.name for package in universe.query().unneeded()) == ["left", "over"]


def test_advisories_are_read(worlds: Worlds) -> None:
    text = """<updates><update from="me" status="final" type="security" version="1"><id>FIX-1</id>
    <title>a fix</title><severity>Critical</severity><issued date="2026-01-02 00:00:00"/>
    <references><reference href="http://example.com" id="CVE-1" title="t" type="cve"/></references>
    <pkglist><collection short="c"><package name="app" version="2" release="1" epoch="0" arch="x86_64">
    <filename>app-2-1.x86_64.rpm</filename></package></collection></pkglist></update></updates>"""
    worlds.repo("main", worlds.rpm("app", "2"), updateinfo=text)
    (advisory,) = worlds.universe().advisories()
    assert (advisory.id, advisory.kind, advisory.severity, advisory.repo) == (
        "FIX-1",
        "security",
        "Critical",
        "main",
    )
    assert [fixed.nevra for fixed in advisory.packages] == ["app-2-1.x86_64"]
    assert advisory.mentions("cve", "CVE-1")
