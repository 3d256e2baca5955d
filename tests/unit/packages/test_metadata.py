"""Metadata is proved before it is used: signature, digests, sizes, and that it is not older than what was seen."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import json
import lzma
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from redpak.errors import RedpakError, Refused
from redpak.packages.decompress import decompress
from redpak.packages.keys import Key
from redpak.packages.metadata import Metadata, RepoFailed, sync
from redpak.packages.model import Layer, Site
from redpak.packages.repoconfig import RepoConfig
from tests.patience import PATIENCE_S
from tests.rpms import Maker
from tests.rpms import key as key_of
from tests.webserver import Web, serving

pytestmark = pytest.mark.needs("rpm")

REPOMD = "/repodata/repomd.xml"


@pytest.fixture
def maker(tmp_path: Path) -> Maker:
    return Maker(tmp_path / "made")


@pytest.fixture
def web(maker: Maker) -> Iterator[Web]:
    folder = maker.repo("pool", [maker.rpm("a"), maker.rpm("b")])
    with serving(folder) as one:
        yield one


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return at(tmp_path / "node", tmp_path / "cache")


def at(path: Path, cache: Path, *, is_node: bool = True) -> Site:
    layer = Layer(name="node", kind="node", path=str(path), database="rpm", locked=False)
    return Site(path=str(path), is_node=is_node, layers=(layer,), arch="x86_64", cachedir=str(cache))


def config(web: Web, **keys: object) -> RepoConfig:
    return RepoConfig(id="pool", name="Pool", **({"baseurl": (web.url,), "timeout": PATIENCE_S} | keys))  # type: ignore[arg-type]


def yes(_key: Key, _url: str) -> bool:
    return True


def signed(web: Web, maker: Maker, **keys: object) -> RepoConfig:
    return config(web, **({"repo_gpgcheck": True, "gpgkey": (f"file://{maker.key_file}",)} | keys))


def why(configs: list[RepoConfig], site: Site, **options: object) -> str:
    with pytest.raises(RepoFailed) as caught:
        sync(configs, site=site, **options)  # type: ignore[arg-type]
    return " | ".join((caught.value.message, *caught.value.reasons))


def text(found: list[Metadata], kind: str = "primary") -> str:
    return Path(found[0].file(kind)).read_text()


def test_metadata_is_fetched_once_while_it_is_fresh(web: Web, site: Site) -> None:
    first = sync([config(web)], site=site)
    asked = len(web.asked)
    again = sync([config(web)], site=site)
    assert len(web.asked) == asked
    assert (
        first[0].sha256
        == again[0].sha256
        == hashlib.sha256((web.folder / REPOMD[1:]).read_bytes()).hexdigest()
    )
    assert "<name>a</name>" in text(again)
    sync([config(web)], site=site, refresh=True)
    assert web.paths()[asked:] == [REPOMD]  # the files themselves are known by their digests
    sync([config(web, metadata_expire=0)], site=site)
    assert web.paths()[asked:] == [REPOMD, REPOMD]


def test_other_files_come_when_they_are_asked_for(web: Web, site: Site) -> None:
    found = sync([config(web)], site=site)
    assert not any("filelists" in path for path in web.paths())
    path = found[0].file("filelists")
    assert path.endswith("-filelists")
    assert found[0].listed("filelists").checksum.partition(":")[2] in path  # type: ignore[union-attr]
    assert found[0].file("modules") == ""
    assert any("filelists" in path for path in web.paths())


@pytest.mark.parametrize("compression", ["gz", "zst", "xz", "bz2", ""])
def test_every_compression_is_read(maker: Maker, site: Site, compression: str) -> None:
    folder = maker.repo("other", [maker.rpm("c")], compression=compression)
    with serving(folder) as web:
        assert "<name>c</name>" in text(sync([config(web)], site=site))


def test_a_local_repository_is_looked_at_each_time(maker: Maker, site: Site) -> None:
    folder = maker.repo("local", [maker.rpm("a")], timestamp=1700000000)
    local = RepoConfig(id="local", baseurl=(f"file://{folder}",))
    assert "<name>b</name>" not in text(sync([local], site=site))
    maker.repo("local", [maker.rpm("a"), maker.rpm("b")], timestamp=1700000001)
    assert "<name>b</name>" in text(sync([local], site=site))


def test_signed_metadata_needs_a_key_that_somebody_accepts(web: Web, maker: Maker, site: Site) -> None:
    told = why([signed(web, maker)], site)
    assert "repomd.xml GPG signature verification error: Bad GPG signature: no key was accepted" in told
    asked: list[str] = []

    def confirm(key: Key, url: str) -> bool:
        asked.append(f"{key.short_id} {url}")
        return True

    found = sync([signed(web, maker)], site=site, confirm=confirm)
    assert found[0].signed_by == key_of().fingerprint
    assert len(asked) == 1
    again = sync([signed(web, maker)], site=site, refresh=True)  # nobody is asked a second time
    assert again[0].signed_by == key_of().fingerprint


def test_a_key_that_one_node_accepted_is_not_another_nodes(
    web: Web, maker: Maker, site: Site, tmp_path: Path
) -> None:
    sync([signed(web, maker)], site=site, confirm=yes)
    other = at(tmp_path / "other", tmp_path / "cache")
    assert "no key was accepted" in why([signed(web, maker)], other)


def test_another_source_of_the_same_name_needs_consent_anew(web: Web, maker: Maker, site: Site) -> None:
    sync([signed(web, maker)], site=site, confirm=yes)
    moved = signed(web, maker, baseurl=(f"{web.url}/./",))
    assert "no key was accepted" in why([moved], site)


def test_unsigned_metadata_is_refused(web: Web, maker: Maker, site: Site) -> None:
    web.broken[f"{REPOMD}.asc"] = 404
    told = why([signed(web, maker)], site, confirm=yes)
    assert "GPG verification is enabled, but GPG signature is not available. This may be an error" in told


def test_metadata_signed_by_somebody_else_is_refused(web: Web, maker: Maker, site: Site) -> None:
    data = (web.folder / REPOMD[1:]).read_bytes()
    web.replaced[f"{REPOMD}.asc"] = key_of("mallory").sign(data, armor=True)
    told = why([signed(web, maker)], site, confirm=yes)
    assert "which is not trusted here" in told


def test_changed_metadata_is_refused(web: Web, maker: Maker, site: Site) -> None:
    data = (web.folder / REPOMD[1:]).read_bytes()
    web.replaced[REPOMD] = data.replace(b"<revision>", b"<revision>9")
    assert "does not fit" in why([signed(web, maker)], site, confirm=yes)
    web.replaced[f"{REPOMD}.asc"] = b"no signature at all"
    assert "its signature cannot be read" in why([signed(web, maker)], site, confirm=yes)


def test_the_cache_is_proved_as_well(web: Web, maker: Maker, site: Site) -> None:
    sync([config(web)], site=site)  # by somebody who asks for no signature
    asked = len(web.asked)
    found = sync([signed(web, maker)], site=site, confirm=yes)
    assert found[0].signed_by
    assert len(web.asked) > asked
    kept = Path(found[0].repomd)
    kept.write_bytes(kept.read_bytes() + b"\n")
    assert "Cache-only enabled but no cache for 'pool'" in why([signed(web, maker)], site, offline=True)


def older(maker: Maker, **keys: object) -> None:
    maker.repo("pool", [maker.rpm("a")], **keys)  # type: ignore[arg-type]


def test_older_metadata_is_refused_unless_allowed(web: Web, maker: Maker, site: Site) -> None:
    older(maker, timestamp=1700000500)
    sync([config(web)], site=site)
    older(maker, timestamp=1700000400)
    told = why([config(web)], site, refresh=True)
    assert "the metadata is older than what was seen: it is of 2023-11-14 22:20:00 UTC" in told
    assert "--setopt=pool.allow_older_metadata=1" in str(sync_error([config(web)], site).hint)
    assert sync([config(web, allow_older_metadata=True)], site=site, refresh=True)[0].timestamp == 1700000400
    older(maker, timestamp=1700000450)
    assert sync([config(web)], site=site, refresh=True)[0].timestamp == 1700000450


def sync_error(configs: list[RepoConfig], site: Site) -> RepoFailed:
    with pytest.raises(RepoFailed) as caught:
        sync(configs, site=site, refresh=True)
    return caught.value


def test_a_smaller_revision_of_the_same_moment_is_older(web: Web, maker: Maker, site: Site) -> None:
    older(maker, timestamp=1700000500, revision="8")
    sync([config(web)], site=site)
    older(maker, timestamp=1700000500, revision="7")
    assert "its revision is 7, and 8 was seen before" in why([config(web)], site, refresh=True)


def test_what_was_seen_outlives_the_cache(web: Web, maker: Maker, site: Site, tmp_path: Path) -> None:
    older(maker, timestamp=1700000500)
    sync([config(web)], site=site)
    shutil.rmtree(tmp_path / "cache")
    older(maker, timestamp=1700000400)
    assert "older than what was seen" in why([config(web)], site)
    seen = json.loads((tmp_path / "node/.redpak/repos/pool.json").read_text())
    assert (seen["timestamp"], seen["source"]) == (1700000500, web.url)
    moved = config(web, baseurl=(f"{web.url}/",))  # another source starts anew
    assert sync([moved], site=site)


def test_mixed_metadata_is_refused(web: Web, maker: Maker, site: Site) -> None:
    listed = sync([config(web)], site=site, want=())[0].listed("primary")
    assert listed
    data = (web.folder / listed.href).read_bytes()
    web.replaced[f"/{listed.href}"] = gzip.compress(gzip.decompress(data).replace(b">b<", b">x<"))
    told = why([config(web)], site)
    assert "Downloading error(s): repodata/" in told
    assert " instead of " in told


def test_a_file_that_unpacks_to_something_else_is_refused(tmp_path: Path) -> None:
    packed = tmp_path / "x.gz"
    packed.write_bytes(gzip.compress(b"<x/>"))
    digest = "sha256:" + hashlib.sha256(packed.read_bytes()).hexdigest()
    right = "sha256:" + hashlib.sha256(b"<x/>").hexdigest()
    out = tmp_path / "out"
    decompress(str(packed), str(out), checksum=digest, open_checksum=right, open_size=4)
    assert out.read_bytes() == b"<x/>"
    wrong: tuple[dict[str, Any], ...] = (
        {"checksum": digest, "open_checksum": "sha256:" + "0" * 64},
        {"checksum": digest, "open_size": 3},
        {"checksum": digest, "open_size": 5},
        {"checksum": "sha256:" + "0" * 64},
    )
    for options in wrong:
        with pytest.raises(Refused):
            decompress(str(packed), str(out), **options)


@pytest.mark.parametrize("form", ["gz", "xz", "bz2", "zst"])
def test_a_bomb_is_stopped_long_before_it_is_unpacked(tmp_path: Path, form: str) -> None:
    import zstandard

    zst = zstandard.ZstdCompressor().compress
    packers: dict[str, Callable[[bytes], bytes]] = {
        "gz": gzip.compress,
        "xz": lzma.compress,
        "bz2": bz2.compress,
        "zst": zst,
    }
    bomb = tmp_path / "bomb"
    bomb.write_bytes(packers[form](bytes(8 << 20)))
    digest = "sha256:" + hashlib.sha256(bomb.read_bytes()).hexdigest()
    with pytest.raises(Refused, match="unpacks to more than 1000 bytes"):
        decompress(str(bomb), str(tmp_path / "out"), checksum=digest, open_size=1000)
    assert (tmp_path / "out").stat().st_size == 0


def test_a_bomb_that_announces_nothing_is_stopped_as_well(tmp_path: Path) -> None:
    import zstandard

    bomb = tmp_path / "bomb"
    bomb.write_bytes(zstandard.ZstdCompressor().compress(bytes(100 << 20)))
    digest = "sha256:" + hashlib.sha256(bomb.read_bytes()).hexdigest()
    with pytest.raises(Refused, match="unpacks to more than 67108864 bytes"):
        decompress(str(bomb), str(tmp_path / "out"), checksum=digest)


DAMAGED = [b"\x1f\x8bnonsense", b"\xfd7zXZ\0nonsense", b"BZh9nonsense", b"\x28\xb5\x2f\xfdnonsense"]


@pytest.mark.parametrize("data", DAMAGED)
def test_damaged_files_are_named(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x"
    path.write_bytes(data)
    with pytest.raises(RedpakError, match="is damaged"):
        decompress(str(path), str(tmp_path / "out"), checksum="sha256:" + hashlib.sha256(data).hexdigest())


def test_a_repository_that_does_not_answer_fails_in_dnfs_words(web: Web, site: Site) -> None:
    web.broken[REPOMD] = 404
    heard: list[str] = []
    with pytest.raises(RepoFailed) as caught:
        sync([config(web)], site=site, warn=heard.append)
    assert caught.value.message == (
        "Failed to download metadata for repo 'pool': Cannot download repomd.xml: "
        "Cannot download repodata/repomd.xml: All mirrors were tried"
    )
    assert heard == [
        "Errors during downloading metadata for repository 'pool':\n"
        f"  - Status code: 404 for {web.url}/repodata/repomd.xml"
    ]


def test_a_repository_that_may_be_missing_is_left_out(web: Web, maker: Maker, site: Site) -> None:
    heard: list[str] = []
    gone = RepoConfig(id="gone", baseurl=(f"{web.url}/gone",), skip_if_unavailable=True, timeout=PATIENCE_S)
    found = sync([gone, config(web)], site=site, warn=heard.append)
    assert [one.id for one in found] == ["pool"]
    assert heard[-2].startswith(
        "Error: Failed to download metadata for repo 'gone': Cannot download repomd.xml"
    )
    assert heard[-1] == "Ignoring repositories: gone"


def test_an_expired_cache_is_a_choice_and_no_default(web: Web, site: Site) -> None:
    sync([config(web)], site=site)
    web.broken[REPOMD] = 503
    error = sync_error([config(web, metadata_expire=0)], site)
    assert "by --cacheonly" in error.hint
    assert "--disablerepo=pool" in error.hint
    found = sync([config(web, metadata_expire=0)], site=site, offline=True)
    assert found[0].expired
    assert "<name>a</name>" in text(found)


def test_without_a_cache_nothing_can_be_done_offline(web: Web, site: Site) -> None:
    assert "Cache-only enabled but no cache for 'pool'" in why([config(web)], site, offline=True)
    assert web.asked == []


def test_a_mirror_list_leads_to_the_first_mirror_that_works(web: Web, maker: Maker, site: Site) -> None:
    (web.folder / "list").write_text(f"# mirrors\n{web.url}/nope\n{web.url}\n")
    found = sync([config(web, baseurl=(), mirrorlist=f"{web.url}/list")], site=site)
    assert found[0].bases == (web.url, f"{web.url}/nope")
    assert found[0].urls("Packages/a.rpm")[0] == f"{web.url}/Packages/a.rpm"


def metalink(web: Web, digest: str) -> None:
    (web.folder / "metalink").write_text(
        f"<metalink><files><file name='repomd.xml'><verification><hash type='sha256'>{digest}</hash></verification>"
        f"<resources><url preference='9'>{web.url}/repodata/repomd.xml</url></resources></file></files></metalink>"
    )


def test_a_metalink_says_which_repomd_is_current(web: Web, site: Site) -> None:
    linked = config(web, baseurl=(), metalink=f"{web.url}/metalink")
    metalink(web, "0" * 64)
    assert "repomd.xml is not the one that the metalink names" in why([linked], site)
    metalink(web, hashlib.sha256((web.folder / REPOMD[1:]).read_bytes()).hexdigest())
    assert sync([linked], site=site)[0].id == "pool"


def test_a_remote_repository_cannot_point_at_files_of_this_host(web: Web, site: Site) -> None:
    one = sync([config(web)], site=site)[0]
    assert one.urls("x.rpm", "http://other.example/y") == ("http://other.example/y/x.rpm",)
    with pytest.raises(Refused, match="leads to a file of this host"):
        one.urls("passwd", "file:///etc")
    with pytest.raises(Refused, match="does not lie beneath"):
        one.urls("../x.rpm")


def test_a_password_is_written_where_only_its_owner_reads(web: Web, site: Site, tmp_path: Path) -> None:
    web.password = "me:word"
    found = sync([config(web, baseurl=(web.url.replace("//", "//me:word@"),))], site=site)
    assert "<name>a</name>" in text(found)
    for path in [p for top in (tmp_path / "cache", tmp_path / "node") for p in top.rglob("*") if p.is_file()]:
        assert b"word" not in path.read_bytes() or path.stat().st_mode & 0o077 == 0, path


def test_a_check_that_nobody_makes_is_not_promised(web: Web, site: Site) -> None:
    assert "OCSP stapling" in why([config(web, sslverifystatus=True)], site)
    assert web.asked == []


def test_an_endless_repomd_is_cut_off(web: Web, site: Site) -> None:
    web.endless.add(REPOMD)
    assert "more than 16777216 bytes" in why([config(web)], site)


def test_a_plain_root_remembers_in_the_cache(web: Web, maker: Maker, tmp_path: Path) -> None:
    root = at(tmp_path / "root", tmp_path / "cache", is_node=False)
    older(maker, timestamp=1700000500)
    sync([config(web)], site=root)
    assert not (tmp_path / "root").exists()
    older(maker, timestamp=1700000400)
    assert "older than what was seen" in why([config(web)], root, refresh=True)


def test_an_unwritable_node_can_still_be_asked(web: Web, tmp_path: Path) -> None:
    (tmp_path / "node").write_text("no directory")
    assert sync([config(web)], site=at(tmp_path / "node", tmp_path / "cache"))


def test_files_that_nothing_refers_to_are_removed_in_time(web: Web, maker: Maker, site: Site) -> None:
    first = sync([config(web)], site=site)[0].file("primary")
    older(maker, timestamp=1700000500)
    second = sync([config(web)], site=site, refresh=True)[0].file("primary")
    assert first != second
    assert os.path.exists(first)
    os.utime(first, (1, 1))
    sync([config(web)], site=site, refresh=True)
    assert not os.path.exists(first)
    assert os.path.exists(second)
