"""Reading and making rpm headers. Real rpm is the judge where it is installed."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redpak.packages import header_tags, rpmdb
from redpak.packages.header import MAGIC, BadHeader, Header, from_rpm
from redpak.packages.header_write import encode
from tests.patience import PATIENCE_S
from tests.rpms import Config, Dir, Ghost, Link, Maker

TAGS: dict[str, Any] = {
    "name": "core-os", "version": "12", "release": "1", "arch": "noarch", "os": "linux", "summary": "What is there",
    "description": "Two\nlines", "group": "System", "license": "none", "size": 7, "sourcerpm": "x-1-1.src.rpm",
    "epoch": 3, "installtime": 1700000000,
    "providename": ["core-os", "libc.so.6(GLIBC_2.34)(64bit)", "/bin/sh"], "provideflags": [8, 0, 0],
    "provideversion": ["3:12-1", "", ""],
    "requirename": ["(a if b)"], "requireflags": [0], "requireversion": [""],
    "basenames": ["env", "x"], "dirnames": ["/usr/bin/", "/opt/ü/"], "dirindexes": [0, 1],
    "filemodes": [0o100755, 0o40755], "filesizes": [7, 0], "fileflags": [0, 0], "filelinktos": ["", ""],
    "filedigests": ["ab" * 32, ""], "fileusername": ["root"] * 2, "filegroupname": ["root"] * 2, "filerdevs": [0, 0],
    "filemtimes": [0, 0], "filedevices": [1, 1], "fileinodes": [1, 2], "filestates": [0, 0], "filedigestalgo": 8,
}  # fmt: skip


def read_everything(header: Header) -> None:
    """Ask for all that a header can tell."""
    for name in dir(Header):
        if isinstance(getattr(Header, name), property):
            getattr(header, name)
    list(header.files())
    header.signed_bytes()
    header.added()
    for number in header.numbers():
        for read in (header.text_of, header.texts_of, header.integers_of, header.binary_of):
            try:
                read(number)
            except BadHeader:
                pass


def rpm(*argv: str) -> str:
    done = subprocess.run(["rpm", *argv], capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return done.stdout


def test_what_was_encoded_is_read_back() -> None:
    header = Header(encode(TAGS))
    assert (header.name, header.epoch, header.version, header.release) == ("core-os", 3, "12", "1")
    assert header.nevra == "core-os-3:12-1.noarch"
    assert header.provides[1] == ("libc.so.6(GLIBC_2.34)(64bit)", 0, "")
    assert header.requires == (("(a if b)", 0, ""),)
    assert header.conflicts == header.obsoletes == header.supplements == ()
    assert header.description == "Two\nlines"
    assert [file.path for file in header.files()] == ["/usr/bin/env", "/opt/ü/x"]
    assert next(header.files()).digest == "ab" * 32
    assert header.digest_algorithm == "sha256"
    assert header.sha256 == header.digest
    assert header.installtime == 1700000000


def test_only_what_rpm_adds_lies_behind_the_region() -> None:
    header = Header(encode(TAGS))
    added = {"installtime", "filestates", "sha1header", "sha256header"}
    assert set(header.added()) == {header_tags.TAGS[name][0] for name in added}


def test_names_that_are_no_utf8_survive() -> None:
    name = os.fsdecode(b"\xff\xfe-file")
    header = Header(encode({**TAGS, "basenames": [name, "x"]}))
    assert next(header.files()).path == f"/usr/bin/{name}"


def test_long_arrays_of_long_texts_are_read() -> None:
    names = [f"{number:05}" * 60 for number in range(3000)]
    header = Header(
        encode({"name": "a", "version": "1", "release": "1", "arch": "noarch", "providename": names})
    )
    assert [name for name, _, _ in header.provides] == names


def test_what_was_added_later_goes_before_what_was_built() -> None:
    """As in rpm: so whoever trusts a signature has to look at `added`."""
    built = encode({"name": "a", "version": "1", "release": "1", "arch": "noarch"})
    tags, size = int.from_bytes(built[:4], "big"), int.from_bytes(built[4:8], "big")
    start = 8 + 16 * tags
    more = (
        (1000).to_bytes(4, "big") + (6).to_bytes(4, "big") + size.to_bytes(4, "big") + (1).to_bytes(4, "big")
    )
    sizes = (tags + 1).to_bytes(4, "big") + (size + 5).to_bytes(4, "big")
    header = Header(sizes + built[8:start] + more + built[start:] + b"evil\0")
    assert header.name == "evil"
    assert 1000 in header.added()
    assert header.signed_bytes() == Header(built).signed_bytes()


@pytest.mark.parametrize(
    ("blob", "why"),
    [
        (b"", "too short"),
        (b"\0" * 8, "claims 0 tags"),
        (b"\xff\xff\xff\xff\0\0\0\0", "claims 4294967295 tags"),
        (b"\0\0\0\1\xff\xff\xff\xff", "claims 1 tags and 4294967295 bytes"),
        (encode(TAGS) + b"x", "claims"),
        (encode(TAGS)[:-1], "claims"),
    ],
)
def test_a_header_of_another_size_is_refused(blob: bytes, why: str) -> None:
    with pytest.raises(BadHeader, match=why):
        Header(blob)


def one_tag(number: int, kind: int, at: int, count: int, store: bytes) -> Header:
    parts = [1, len(store), number, kind, at & 0xFFFFFFFF, count]
    return Header(b"".join(part.to_bytes(4, "big") for part in parts) + store, "x.rpm")


@pytest.mark.parametrize(
    "header",
    [
        one_tag(1000, 6, -1, 1, b"a\0"),
        one_tag(1000, 6, 2, 1, b"a\0"),
        one_tag(1000, 6, 0, 1, b"ab"),
        one_tag(1000, 4, 0, 1, b"\0\0\0\0"),
        one_tag(1047, 8, 0, 3, b"a\0b\0"),
        one_tag(1047, 8, 0, 0xFFFFFFFF, b"a\0b\0"),
        one_tag(1047, 8, 0, 0, b"a\0b\0"),
        one_tag(1003, 4, 0, 0xFFFFFFFF, b"\0\0\0\1"),
        one_tag(1003, 6, 0, 1, b"1\0"),
        one_tag(1117, 8, 0, 1, b"file\0"),
        one_tag(63, 7, 0, 16, b"\0" * 16),
    ],
)  # fmt: skip
def test_a_value_outside_of_the_header_or_of_another_kind_is_one_clear_error(header: Header) -> None:
    with pytest.raises(BadHeader, match=r"the package header of 'x.rpm' is damaged: "):
        header.text("name")
        header.texts("providename")
        header.integer("epoch")
        list(header.files())
        header.signed_bytes()


@pytest.mark.parametrize("wrong", [{"dirindexes": [0, 2]}, {"dirindexes": [0]}, {"filemodes": [0o100644]}])
def test_files_that_do_not_match_are_one_clear_error(wrong: dict[str, Any]) -> None:
    with pytest.raises(BadHeader, match="damaged"):
        list(Header(encode({**TAGS, **wrong})).files())


def test_a_dependency_without_its_version_is_one_clear_error() -> None:
    with pytest.raises(BadHeader, match="do not match"):
        _ = Header(encode({**TAGS, "provideversion": ["1"]})).provides


@settings(max_examples=150)
@given(st.lists(st.tuples(st.integers(0, 600), st.integers(0, 255)), min_size=1, max_size=6))
def test_a_mutated_header_is_read_or_refused_and_nothing_else(changes: list[tuple[int, int]]) -> None:
    blob = bytearray(encode(TAGS))
    for at, value in changes:
        blob[at % len(blob)] = value
    try:
        read_everything(Header(bytes(blob)))
    except BadHeader as error:
        assert "damaged" in error.message


@settings(max_examples=150)
@given(st.binary(max_size=200), st.integers(1, 6))
def test_noise_is_read_or_refused_and_nothing_else(noise: bytes, tags: int) -> None:
    tags = min(tags, len(noise) // 16)
    blob = tags.to_bytes(4, "big") + (len(noise) - 16 * tags).to_bytes(4, "big") + noise
    try:
        read_everything(Header(blob))
    except BadHeader as error:
        assert "damaged" in error.message


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "a\0b"},
        {"name": ["a"]},
        {"providename": "a"},
        {"providename": []},
        {"epoch": -1},
        {"epoch": 1 << 32},
        {"filemodes": [1 << 16]},
    ],
)
def test_what_a_tag_cannot_hold_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="tag"):
        encode({**TAGS, **wrong})


@pytest.mark.needs("rpm")
def test_rpm_takes_an_encoded_header_and_says_the_same(tmp_path: Path) -> None:
    db = f"--dbpath={tmp_path}"
    rpm(db, "--initdb")
    blob = encode(TAGS)
    done = subprocess.run(["rpmdb", db, "--importdb"], input=MAGIC + blob, capture_output=True, check=True)
    assert not done.stderr
    assert rpm(db, "-qa") == "core-os-12-1.noarch\n"
    assert rpm(db, "-q", "--provides", "core-os").split("\n")[1] == "libc.so.6(GLIBC_2.34)(64bit)"
    assert rpm(db, "-q", "--requires", "core-os") == "(a if b)\n"
    assert rpm(db, "-q", "--whatprovides", "/bin/sh") == "core-os-12-1.noarch\n"
    assert rpm(db, "-qf", "/usr/bin/env") == "core-os-12-1.noarch\n"
    assert (
        rpm(db, "-q", "--qf", "%{EPOCH} %{INSTALLTIME} %{SUMMARY}", "core-os") == "3 1700000000 What is there"
    )
    (kept,) = rpmdb.read(str(tmp_path))
    assert kept.blob == blob


@pytest.mark.needs("rpm")
def test_a_package_file_says_what_rpm_says(tmp_path: Path) -> None:
    maker = Maker(tmp_path)
    path = maker.rpm(
        "thing", "1.0~rc1", "2", epoch=4, arch="noarch",
        requires=["bash >= 5", "(a if b)"], conflicts=["old < 2"], obsoletes=["ancient"], recommends=["nice"],
        suggests=["maybe"], supplements=["host"], enhances=["more"],
        scripts={"pre": "echo hello", "post": "-- lua\nprint(1)"},
        files={"/etc/thing.conf": Config("a=1\n"), "/opt/thing": Dir(), "/opt/thing/run": (b"#!/bin/sh\n", 0o755),
               "/opt/thing/link": Link("run"), "/var/log/thing.log": Ghost(), "/opt/thing/own": ("x", 0o600, "svc")},
    )  # fmt: skip
    signature, header, offset = from_rpm(path)
    assert header.nevra == "thing-4:1.0~rc1-2.noarch"
    ask = "[%{FILENAMES}|%{FILEMODES:octal}|%{FILEDIGESTS}|%{FILELINKTOS}|%{FILEFLAGS}|%{FILEUSERNAME}|%{FILESIZES}\n]"
    said = rpm("-qp", "--nosignature", "--qf", ask, path)
    mine = "".join(
        f"{f.path}|{f.mode:o}|{f.digest}|{f.link}|{f.flags}|{f.user}|{f.size}\n" for f in header.files()
    )
    assert mine == said
    for kind in (
        "provides",
        "requires",
        "conflicts",
        "obsoletes",
        "recommends",
        "suggests",
        "supplements",
        "enhances",
    ):
        shown = {0: "", 2: " < ", 4: " > ", 8: " = ", 10: " <= ", 12: " >= "}
        lines = [f"{name}{shown[flags & 14]}{evr}" for name, flags, evr in getattr(header, kind)]
        assert sorted(lines) == sorted(rpm("-qp", "--nosignature", f"--{kind}", path).splitlines())
    assert header.scripts["pre"].program == ("/bin/sh",)
    assert "echo hello" in header.scripts["pre"].body
    assert header.scripts["post"].program == ("<lua>",)
    assert header.digest == signature.sha256
    assert signature.signature
    assert Path(path).read_bytes()[offset : offset + 2] == b"\x1f\x8b"


@pytest.mark.needs("rpm")
def test_an_installed_header_keeps_what_was_signed(tmp_path: Path) -> None:
    maker = Maker(tmp_path)
    path = maker.rpm("thing", files={"/opt/x": b"x"})
    maker.database([path], tmp_path / "db")
    signature, header, _ = from_rpm(path)
    (installed,) = rpmdb.read(str(tmp_path / "db"))
    assert installed.signed_bytes() == header.signed_bytes()
    assert installed.digest == installed.sha256 == header.digest
    assert installed.signature == signature.signature
    assert installed.installtime
    assert not header.installtime
    assert next(installed.files()).state == header_tags.STATE_NORMAL


@pytest.mark.needs("rpm")
def test_a_package_file_is_refused_when_it_is_cut_or_has_unsigned_tags(tmp_path: Path) -> None:
    path = Path(Maker(tmp_path).rpm("thing"))
    whole = path.read_bytes()
    for size in (0, 3, 95, 100, 112, 300, 1000):
        (tmp_path / "cut.rpm").write_bytes(whole[:size])
        with pytest.raises(BadHeader, match=r"no (complete )?rpm package"):
            from_rpm(str(tmp_path / "cut.rpm"))
    at = whole.rindex(MAGIC) + 8
    header = from_rpm(str(path))[1]
    tags, size = int.from_bytes(whole[at : at + 4], "big"), int.from_bytes(whole[at + 4 : at + 8], "big")
    index = header.blob[8 : 8 + 16 * tags]
    more = b"".join(part.to_bytes(4, "big") for part in (1000, 6, size, 1))
    evil = (tags + 1).to_bytes(4, "big") + (size + 5).to_bytes(4, "big") + index + more
    path.write_bytes(
        whole[:at] + evil + header.blob[8 + 16 * tags :] + b"evil\0" + whole[at + len(header.blob) :]
    )
    with pytest.raises(BadHeader, match="more in its header than was signed"):
        from_rpm(str(path))
