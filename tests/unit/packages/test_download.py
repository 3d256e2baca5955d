"""Packages of a transaction: brought from a real server and proved as repository and family demand."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from redpak.errors import Refused
from redpak.packages import download, keystore
from redpak.packages.download import BadPackages
from redpak.packages.fetch import FetchFailed
from redpak.packages.keys import Key, Keyring
from redpak.packages.metadata import Metadata, sync
from redpak.packages.model import COMMAND_LINE, Item, Layer, Site, Transaction
from redpak.packages.repoconfig import RepoConfig
from tests.patience import PATIENCE_S
from tests.rpms import Maker
from tests.rpms import key as key_of
from tests.webserver import Web, serving

pytestmark = pytest.mark.needs("rpm")


@pytest.fixture
def maker(tmp_path: Path) -> Maker:
    return Maker(tmp_path / "made")


@pytest.fixture
def web(maker: Maker) -> Iterator[Web]:
    rpms = [maker.rpm(name, files={f"/usr/{name}": os.urandom(4000)}) for name in ("a", "b")]
    folder = maker.repo("pool", [*rpms, maker.rpm("u", sign=False), maker.rpm("m", sign=key_of("mallory"))])
    with serving(folder) as one:
        yield one


@pytest.fixture
def site(tmp_path: Path) -> Site:
    layer = Layer(name="node", kind="node", path=str(tmp_path / "node"), database="rpm", locked=False)
    return Site(
        path=str(tmp_path / "node"),
        is_node=True,
        layers=(layer,),
        arch="x86_64",
        cachedir=str(tmp_path / "cache"),
    )


def metadata(web: Web, site: Site, maker: Maker, **keys: object) -> list[Metadata]:
    given: dict[str, object] = {
        "baseurl": (web.url,), "gpgcheck": True, "gpgkey": (f"file://{maker.key_file}",), "timeout": PATIENCE_S,
    }  # fmt: skip
    config = RepoConfig(id="pool", name="Pool", **(given | keys))  # type: ignore[arg-type]
    return sync([config], site=site)


def items(found: list[Metadata], *names: str) -> list[Item]:
    import createrepo_c

    packages: list[Item] = []

    def take(one: object) -> None:
        packages.append(
            Item(
                action="install", name=one.name, epoch=int(one.epoch or 0), version=one.version, release=one.release,  # type: ignore[attr-defined]
                arch=one.arch, repo="pool", location=one.location_href, checksum=f"{one.checksum_type}:{one.pkgId}",  # type: ignore[attr-defined]
                download_size=one.size_package,  # type: ignore[attr-defined]
            )
        )  # fmt: skip

    createrepo_c.xml_parse_primary(found[0].file("primary"), pkgcb=take, do_files=False)
    return [item for item in packages if item.name in names]


def yes(_key: Key, _url: str) -> bool:
    return True


def refused(job: list[Item], found: list[Metadata], site: Site, **options: object) -> dict[str, str]:
    with pytest.raises(BadPackages) as caught:
        download.packages(job, found, site=site, **options)  # type: ignore[arg-type]
    return {error.message.split("'")[1]: error.kind for error in caught.value.packages}


def test_a_transactions_packages_are_brought_and_proved(web: Web, site: Site, maker: Maker) -> None:
    found = metadata(web, site, maker)
    gone = Item(action="remove", name="z", epoch=0, version="1", release="1", arch="noarch", repo="@System")
    job = Transaction(items=(*items(found, "a", "b"), gone))
    asked: list[str] = []

    def confirm(key: Key, url: str) -> bool:
        asked.append(url)
        return True

    paths = download.packages(job, found, site=site, confirm=confirm)
    assert sorted(paths) == ["a-1-1.x86_64", "b-1-1.x86_64"]
    assert Path(paths["a-1-1.x86_64"]).read_bytes() == (web.folder / "Packages/a-1-1.x86_64.rpm").read_bytes()
    assert asked == [f"file://{maker.key_file}"]  # once for all of them
    assert keystore.keyring(site).keys[0].fingerprint == key_of().fingerprint
    web.broken = {path: 500 for path in web.paths()}
    assert (
        download.packages(job, found, site=site) == paths
    )  # from the cache, with the key that is now trusted


def test_nothing_is_trusted_without_consent(web: Web, site: Site, maker: Maker) -> None:
    found = metadata(web, site, maker)
    assert refused(items(found, "a"), found, site) == {"a-1-1.x86_64": "unknown"}
    assert refused(items(found, "a"), found, site, confirm=lambda _key, _url: False) == {
        "a-1-1.x86_64": "unknown"
    }
    assert keystore.keyring(site) == Keyring()


def test_all_packages_that_are_refused_are_named(web: Web, site: Site, maker: Maker) -> None:
    found = metadata(web, site, maker)
    told = refused(items(found, "a", "u", "m"), found, site, confirm=yes)
    assert told == {"u-1-1.x86_64": "unsigned", "m-1-1.x86_64": "unknown"}


def test_a_repository_may_do_without_signatures(web: Web, site: Site, maker: Maker) -> None:
    found = metadata(web, site, maker, gpgcheck=False)
    assert len(download.packages(items(found, "a", "u", "m"), found, site=site)) == 3
    assert not (Path(site.path) / ".redpak/keys").exists()


def test_the_familys_demand_binds_every_repository(web: Web, site: Site, maker: Maker) -> None:
    found = metadata(web, site, maker, gpgcheck=False)
    strict = site.but(gpgcheck=True, gpgcheck_because="/nodes/etc/redpak.yaml:7")
    with pytest.raises(BadPackages) as caught:
        download.packages(items(found, "u"), found, site=strict, confirm=yes)
    assert str(caught.value) == (
        "package 'u-1-1.x86_64' is refused: it is not signed (/nodes/etc/redpak.yaml:7 demands a signature)"
    )
    assert download.packages(items(found, "a"), found, site=strict, confirm=yes)


def test_a_swapped_package_is_not_fetched_into_anothers_place(web: Web, site: Site, maker: Maker) -> None:
    found = metadata(web, site, maker)
    (a,) = items(found, "a")
    web.replaced[f"/{a.location}"] = (web.folder / "Packages/b-1-1.x86_64.rpm").read_bytes()
    with pytest.raises(FetchFailed) as caught:
        download.packages([a], found, site=site, confirm=yes)
    assert " instead of " in caught.value.failed["a-1-1.x86_64.rpm"][0]


def test_metadata_that_calls_a_package_another_is_found_out(web: Web, site: Site, maker: Maker) -> None:
    found = metadata(web, site, maker)
    (b,) = items(found, "b")
    renamed = b.but(name="a")
    assert refused([renamed], found, site, confirm=yes) == {"a-1-1.x86_64": "swapped"}


def test_a_package_without_a_digest_is_refused(web: Web, site: Site, maker: Maker) -> None:
    found = metadata(web, site, maker)
    (a,) = items(found, "a")
    with pytest.raises(Refused, match="has no digest of package"):
        download.packages([a.but(checksum="")], found, site=site)
    with pytest.raises(Refused, match="does not lie beneath"):
        download.packages([a.but(location="../../etc/passwd")], found, site=site)


def test_files_given_by_name_are_checked_as_they_are_asked_to(maker: Maker, site: Site) -> None:
    def item(path: str, name: str) -> Item:
        return Item(
            action="install", name=name, epoch=0, version="1", release="1", arch="x86_64", repo=COMMAND_LINE,
            location=path,
        )  # fmt: skip

    good, bare = maker.rpm("good"), maker.rpm("bare", sign=False)
    job = [item(good, "good"), item(bare, "bare")]
    assert download.packages(job, [], site=site) == {"good-1-1.x86_64": good, "bare-1-1.x86_64": bare}
    told = refused(job, [], site, ring=Keyring(keys=tuple(keys_of(maker))), localpkg_gpgcheck=True)
    assert told == {"bare-1-1.x86_64": "unsigned"}
    with serving(maker.pool) as web:
        path = download.packages([item(f"{web.url}/good-1-1.x86_64.rpm", "good")], [], site=site)[
            "good-1-1.x86_64"
        ]
        assert Path(path).read_bytes() == Path(good).read_bytes()


def keys_of(maker: Maker) -> list[Key]:
    from redpak.packages.keys import parse

    return parse(maker.key.encode())


def test_a_local_repository_is_used_in_place(maker: Maker, site: Site) -> None:
    folder = maker.repo("pool", [maker.rpm("a")])
    found = sync([RepoConfig(id="pool", baseurl=(f"file://{folder}",))], site=site)
    paths = download.packages(items(found, "a"), found, site=site)
    assert paths == {"a-1-1.x86_64": str(folder / "Packages/a-1-1.x86_64.rpm")}
    os.chmod(folder / "Packages", 0o777)  # anybody could put another file there after the check
    (path,) = download.packages(items(found, "a"), found, site=site).values()
    assert path.startswith(site.cachedir)
    shutil.copy(maker.rpm("b"), folder / "Packages/a-1-1.x86_64.rpm")
    with pytest.raises(FetchFailed, match=r"bytes instead of|has digest"):
        download.packages(items(found, "a"), found, site=site.but(cachedir=f"{site.cachedir}2"))


def test_download_alone_asks_for_no_signature(web: Web, site: Site, maker: Maker) -> None:
    found = metadata(web, site, maker)
    assert download.packages(items(found, "u"), found, site=site, verify=False)
