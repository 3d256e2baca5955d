"""Mirror lists and metalinks, and what of the metadata's XML is refused."""

from __future__ import annotations

import pytest

from redpak.errors import RedpakError, Refused
from redpak.packages import mirrors, repomd, xmltree

DIGEST = "a" * 64
OLDER = "b" * 64

METALINK = f"""<?xml version="1.0" encoding="utf-8"?>
<metalink version="3.0" xmlns="http://www.metalinker.org/" xmlns:mm0="http://fedorahosted.org/mirrormanager">
 <files><file name="repomd.xml">
  <mm0:timestamp>1700000000</mm0:timestamp><size>10</size>
  <verification><hash type="md5">{"c" * 32}</hash><hash type="sha256">{DIGEST}</hash></verification>
  <mm0:alternates><mm0:alternate><mm0:timestamp>1690000000</mm0:timestamp>
   <verification><hash type="sha256">{OLDER}</hash></verification></mm0:alternate></mm0:alternates>
  <resources maxconnections="1">
   <url protocol="rsync" type="rsync" preference="100">rsync://a/x/repodata/repomd.xml</url>
   <url protocol="http" type="http" preference="50">http://b/x/repodata/repomd.xml</url>
   <url protocol="https" type="https" preference="99">https://c/y/repodata/repomd.xml</url>
   <url protocol="http" type="http" preference="98">http://d/y/elsewhere.xml</url>
  </resources>
 </file></files></metalink>
""".encode()


def test_a_mirror_list_is_read_line_by_line() -> None:
    text = b"# comment\nhttp://a/x/\n\n  https://b/y\nftp://c/z\nrsync://d\nfile:///e\nhttp://a/x\nnonsense\n"
    assert mirrors.parse(text, what="list").bases == ("http://a/x", "https://b/y", "file:///e")


def test_a_metalink_names_mirrors_by_preference_and_what_is_current() -> None:
    found = mirrors.parse(METALINK, what="metalink")
    assert found.bases == ("https://c/y", "http://b/x")
    assert found.digests == (f"sha256:{DIGEST}", f"sha256:{OLDER}")
    assert found.timestamp == 1700000000


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"# nothing\n",
        b"ftp://a\n",
        b"<metalink><files></files></metalink>",
        b"<metalink><files><file name='repomd.xml'><resources/></file></files></metalink>",
        b"<metalink>",
        b"<html>captive portal</html>",
    ],
)
def test_a_list_without_mirrors_is_an_error(text: bytes) -> None:
    with pytest.raises(RedpakError):
        mirrors.parse(text, what="list")


def test_entities_are_not_expanded() -> None:
    bomb = b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><repomd>&b;</repomd>'
    with pytest.raises(RedpakError, match="document type"):
        xmltree.parse(bomb, what="repomd.xml")
    with pytest.raises(RedpakError, match="too many"):
        xmltree.parse(b"<a>" * 100, what="repomd.xml")


def listing(location: str, *, checksum: str = DIGEST, kind: str = "sha256", base: str = "") -> bytes:
    where = f' xml:base="{base}"' if base else ""
    return (
        '<repomd xmlns="http://linux.duke.edu/metadata/repo"><revision>7</revision><data type="primary">'
        f'<checksum type="{kind}">{checksum}</checksum><location{where} href="{location}"/>'
        "<timestamp>1700000000.5</timestamp><size>12</size></data></repomd>"
    ).encode()


def test_a_repomd_is_read() -> None:
    found = repomd.parse(listing("repodata/primary.xml.gz"), what="repomd.xml")
    assert (found.revision, found.timestamp) == ("7", 1700000000)
    assert found.files[0].checksum == f"sha256:{DIGEST}"
    assert (found.files[0].size, found.files[0].open_size) == (12, -1)


@pytest.mark.parametrize(
    "location",
    [
        "../x", "/etc/passwd", "a/../../x", "%2e%2e/x", "a/%252e%252e/x", "a/..%2fx", "", "a\\..\\x", "%2Fetc/passwd",
        "a&#10;b",
    ],
)  # fmt: skip
def test_a_location_stays_beneath_the_repository(location: str) -> None:
    with pytest.raises(Refused, match="does not lie beneath"):
        repomd.parse(listing(location), what="repomd.xml")


@pytest.mark.parametrize("base", ["ftp://x/", "javascript:x", "../x", "file://host/x", "http://x/../y"])
def test_only_plain_bases_are_followed(base: str) -> None:
    with pytest.raises(Refused):
        repomd.parse(listing("x", base=base), what="repomd.xml")


@pytest.mark.parametrize(
    "text",
    [
        listing("x", checksum="abc"),
        listing("x", checksum="d" * 32, kind="md5"),
        b"<repomd/>",
        b"<html/>",
        b"not xml",
        b"",
        listing("x").replace(b"</repomd>", b"") + listing("x")[listing("x").index(b"<data") :],
    ],
)
def test_a_repomd_that_proves_nothing_is_refused(text: bytes) -> None:
    with pytest.raises(RedpakError):
        repomd.parse(text, what="repomd.xml")


def test_odd_names_become_urls_that_mean_them() -> None:
    assert repomd.join("http://h/x/", "a#b c?d+e~1.rpm") == "http://h/x/a%23b%20c%3Fd+e~1.rpm"
