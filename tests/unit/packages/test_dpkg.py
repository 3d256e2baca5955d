"""A Debian system as the core OS of rpm packages."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from redpak import paths
from redpak.errors import RedpakError
from redpak.packages import core, dpkg, offers
from redpak.packages.header import MAGIC, Header
from redpak.packages.model import Layer
from tests.rpms import Maker

STATUS = """\
Package: dpkg
Status: install ok installed
Architecture: amd64
Version: 1.21.22

Package: libssl3
Status: install ok installed
Architecture: amd64
Multi-Arch: same
Version: 3.0.15-1~deb12u1
Description: first line
 Version: not a field
 .
 more

Package: libssl3
Status: install ok installed
Architecture: i386
Version: 3.0.15-1~deb12u1

Package: bash
Status: hold ok installed
Architecture: amd64
Version: 1:5.2.15-2+b7

Package: tzdata
Status: install ok installed
Architecture: all
Version: 2024a-0+deb12u1

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1

Package: broken
Status: install ok half-configured
Architecture: amd64
Version: 1
"""


@pytest.fixture
def debian(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a small Debian system: its status, some programs, a library, /bin as a link."""
    monkeypatch.setattr(paths, "cache", lambda: str(tmp_path / "cache"))
    root = tmp_path / "debian"
    for folder in (
        "var/lib/dpkg",
        "usr/bin",
        "usr/sbin",
        "usr/lib/x86_64-linux-gnu",
        "etc/ld.so.conf.d",
        "usr/share/perl5",
    ):
        (root / folder).mkdir(parents=True)
    (root / "var/lib/dpkg/status").write_text(STATUS)
    for name in ("bin", "sbin", "lib"):
        (root / name).symlink_to(f"usr/{name}")
    (root / "usr/bin/bash").write_text("x")
    (root / "usr/bin/sh").symlink_to("bash")
    (root / "usr/bin/awk").symlink_to("/etc/alternatives/awk")
    (root / "usr/bin/dangling").symlink_to("/nowhere")
    (root / "usr/bin/python3").symlink_to("python3.11")
    (root / "usr/bin/python3.11").write_text("x")
    (root / "usr/bin/perl").write_text("x")
    (root / "usr/bin/mawk").write_text("x")
    (root / "etc/alternatives").mkdir()
    (root / "etc/alternatives/awk").symlink_to("/usr/bin/mawk")
    (root / "etc/debian_version").write_text("12.5\n")
    (root / "etc/ld.so.conf").write_text("include /etc/ld.so.conf.d/*.conf\n")
    (root / "etc/ld.so.conf.d/x.conf").write_text("/lib/x86_64-linux-gnu\n")
    return root


def provided(root: Path) -> dict[str, str]:
    (header,) = dpkg.headers(str(root))
    return {name: evr for name, _, evr in header.provides}


def test_debian_packages_have_names_of_their_own(debian: Path) -> None:
    found = provided(debian)
    assert found["deb(libssl3)"] == "3.0.15-1~deb12u1"
    assert found["deb(libssl3:i386)"] == "3.0.15-1~deb12u1"
    assert found["deb(bash)"] == "1:5.2.15-2+b7"
    assert found["deb(tzdata)"] == "2024a-0+deb12u1"
    assert not {"bash", "libssl3", "tzdata", "dpkg", "deb(gone)", "deb(broken)"} & found.keys()


def test_programs_are_there_under_every_name_and_only_if_they_exist(debian: Path) -> None:
    found = provided(debian)
    for path in (
        "/bin/sh",
        "/usr/bin/sh",
        "/usr/bin/bash",
        "/bin/bash",
        "/usr/bin/awk",
        "/etc/debian_version",
    ):
        assert path in found
    assert "/usr/bin/dangling" not in found
    assert not any(name.startswith("rpmlib(") or name.startswith("config(") for name in found)


def test_python_and_perl_are_offered_by_what_they_find(debian: Path) -> None:
    site = debian / "usr/lib/python3/dist-packages"
    for name in (
        "PyYAML-6.0.egg-info",
        "charset_normalizer-3.0.1.dist-info",
        "odd-1.0rc1.dist-info",
        "zope.interface-5.0.dist-info",
    ):
        (site / name).mkdir(parents=True)
    (debian / "usr/share/perl5/File").mkdir()
    (debian / "usr/share/perl5/File/Which.pm").touch()
    (debian / "usr/share/perl5/Git.pm").touch()
    found = provided(debian)
    assert found["python(abi)"] == "3.11"
    assert found["python3dist(pyyaml)"] == found["python3.11dist(pyyaml)"] == "6"
    assert found["python3dist(charset-normalizer)"] == "3.0.1"
    assert found["python3dist(zope-interface)"] == "5"
    assert "python3dist(odd)" not in found
    assert {"perl(File::Which)", "perl(Git)"} <= found.keys()


@pytest.mark.needs("cc")
def test_libraries_are_offered_under_the_name_that_the_loader_looks_for(debian: Path, tmp_path: Path) -> None:
    library = Maker(tmp_path).library("libq.so.1", {"one": "Q_1", "two": "Q_2"})
    folder = debian / "usr/lib/x86_64-linux-gnu"
    (folder / "libq.so.1.0.0").write_bytes(library)
    (folder / "libq.so.1").symlink_to("libq.so.1.0.0")
    (folder / "libq.so").symlink_to("libq.so.1")
    (folder / "libdamaged.so.1").write_bytes(library[:100])
    (folder / "libtext.so").write_text("/* GNU ld script */\n")
    (debian / "usr/lib/private").mkdir()
    (debian / "usr/lib/private/libp.so.1").write_bytes(Maker(tmp_path).library("libp.so.1"))
    names = sorted(name for name in provided(debian) if ".so" in name)
    assert names == [
        "/etc/ld.so.conf",
        "/etc/ld.so.conf.d",
        *(f"libq.so.1({v})(64bit)" for v in ("", "Q_1", "Q_2")),
    ]


def test_it_is_made_anew_when_something_changed_and_only_then(debian: Path, tmp_path: Path) -> None:
    (first,) = dpkg.headers(str(debian))
    (kept,) = os.listdir(tmp_path / "cache/core")
    before = os.stat(tmp_path / "cache/core" / kept).st_mtime_ns
    assert dpkg.headers(str(debian))[0].blob == first.blob
    assert os.stat(tmp_path / "cache/core" / kept).st_mtime_ns == before
    (debian / "usr/bin/new").write_text("x")
    assert "/usr/bin/new" in provided(debian)
    (debian / "etc/other.conf").touch()
    assert "/etc/other.conf" in provided(debian)
    (debian / "var/lib/dpkg/status").write_text(STATUS.replace("2024a", "2025a"))
    assert provided(debian)["deb(tzdata)"] == "2025a-0+deb12u1"


def test_a_damaged_cache_is_not_believed(debian: Path, tmp_path: Path) -> None:
    (first,) = dpkg.headers(str(debian))
    (kept,) = (tmp_path / "cache/core").iterdir()
    kept.write_bytes(kept.read_bytes()[:-5])
    assert dpkg.headers(str(debian))[0].blob == first.blob


def test_the_same_system_gives_the_same_bytes(debian: Path) -> None:
    assert dpkg.made(str(debian)) == dpkg.made(str(debian))
    assert Header(dpkg.made(str(debian))).nevra == "core-os-12.5-0.noarch"


def test_a_status_that_cannot_be_read_is_one_clear_error(debian: Path) -> None:
    (debian / "var/lib/dpkg/status").unlink()
    with pytest.raises(RedpakError, match="cannot read dpkg's status"):
        dpkg.headers(str(debian))


def test_a_core_os_without_any_database_offers_its_files(debian: Path) -> None:
    layer = Layer(
        name="core OS", kind="core", path=str(debian), database="none", tree=str(debian), state=str(debian)
    )
    (header,) = core.headers(layer)
    names = {name for name, _, _ in header.provides}
    assert "/bin/sh" in names
    assert not any(name.startswith("deb(") for name in names)
    assert core.headers(layer.but(kind="node")) == []
    assert core.stamp(layer) == core.stamp(layer) != ""


@pytest.mark.needs("rpm")
def test_rpm_finds_what_the_core_os_offers(debian: Path, tmp_path: Path) -> None:
    db = f"--dbpath={tmp_path}/db"
    subprocess.run(["rpm", db, "--initdb"], check=True)
    blob = MAGIC + dpkg.headers(str(debian))[0].blob
    subprocess.run(["rpmdb", db, "--importdb"], input=blob, check=True)
    maker = Maker(tmp_path)
    good = maker.rpm(
        "good", requires=["/usr/bin/awk", "deb(libssl3) >= 3.0", "python(abi) = 3.11"], scripts={"post": ":"}
    )
    bad = maker.rpm("bad", requires=["libssl3"])

    def test(rpm: str) -> subprocess.CompletedProcess[str]:
        options = ["-i", "--test", "--justdb", "--nosignature", "--force-debian"]
        return subprocess.run(["rpm", db, *options, rpm], capture_output=True, text=True, check=False)

    assert test(good).returncode == 0
    assert "libssl3 is needed by bad-1-1.x86_64" in test(bad).stderr


@pytest.mark.needs("program:dpkg-query")
def test_dpkg_agrees_on_what_is_installed_here() -> None:
    if not os.path.exists("/var/lib/dpkg/status"):
        return
    ask = "${Package} ${Version} ${Architecture} ${db:Status-Status}\n"
    said = subprocess.run(["dpkg-query", "-W", "-f", ask], capture_output=True, text=True, check=True).stdout
    theirs = sorted(line.rsplit(" ", 1)[0] for line in said.splitlines() if line.endswith(" installed"))
    assert sorted(f"{one.name} {one.version} {one.arch}" for one in dpkg.packages("/")) == theirs
    assert dpkg.arch("/") == subprocess.run(
        ["dpkg", "--print-architecture"], capture_output=True, text=True, check=True
    ).stdout.strip()  # fmt: skip


def test_this_host_offers_its_own_shell() -> None:
    assert {("/bin/sh", ""), ("/usr/bin/env", "")} <= set(offers.offered("/"))


@pytest.mark.needs("rpm")
def test_who_asks_for_a_debian_package_by_its_plain_name_is_told_the_other_one(
    debian: Path, tmp_path: Path
) -> None:
    from redpak.packages.goal import Goal
    from redpak.packages.problems import Unsolvable
    from redpak.packages.universe import Universe

    system = Layer(
        name="core OS", kind="core", path=str(debian), database="dpkg", tree=str(debian), state=str(debian)
    )
    node = Layer(
        name="n", kind="node", path=str(tmp_path), database="rpm", rpmdb=str(tmp_path / "none"), locked=False
    )
    path = Maker(tmp_path).rpm("app", requires=["libssl3 >= 3", "nobody"])
    universe = Universe([system, node], arch="x86_64", cachedir=str(tmp_path / "solv"))
    goal = Goal(universe)
    goal.install_package(universe.add_files([path])[0])
    with pytest.raises(Unsolvable) as caught:
        goal.resolve()
    assert (
        "ask for 'deb(libssl3)': that is what the Debian core OS calls its own 'libssl3'"
        in caught.value.helps
    )
    assert not any("deb(nobody)" in text for text in caught.value.helps)
