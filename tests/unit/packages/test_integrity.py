"""What a package says of a file, held against the disk."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from redpak.packages import diskfile, rpmdb
from redpak.packages.diskfile import Owners
from redpak.packages.finding import Finding
from redpak.packages.header import FileEntry
from redpak.packages.integrity import Ground, audit, unowned
from redpak.packages.keys import Keyring, parse
from redpak.packages.model import Layer
from redpak.packages.treewalk import file_digest
from tests.rpms import Config, Content, Ghost, Link, Maker, key

NET_RAW, NET_ADMIN = 1 << 13, 1 << 12


def layer_at(root: Path) -> Layer:
    """Return a root directory as a node's layer."""
    return Layer(
        name="node", kind="node", path=str(root), database="rpm", rpmdb=str(root / "var/lib/rpm"), tree=str(root),
        state=str(root),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "permitted", "inheritable", "effective"),
    [
        ("cap_net_raw=ep", NET_RAW, 0, True), ("cap_net_raw,cap_net_admin=p", NET_RAW | NET_ADMIN, 0, False),
        ("= cap_net_raw+ei", 0, NET_RAW, True), ("cap_net_raw=ep cap_net_raw-e", NET_RAW, 0, False), ("", 0, 0, False),
    ],
)  # fmt: skip
def test_capabilities_are_read_as_people_write_them(
    text: str, permitted: int, inheritable: int, effective: bool
) -> None:
    assert diskfile.parsed(text) == (permitted, inheritable, effective)


def test_capabilities_are_read_as_the_kernel_keeps_them() -> None:
    data = struct.pack("<5I", 0x02000001, NET_RAW, 0, 1, 0)
    assert diskfile.decoded(data) == (NET_RAW | 1 << 32, 0, True)


def entry(user: str = "root", group: str = "root") -> FileEntry:
    """Return a file of a package."""
    return FileEntry("/x", 0o100644, 0, "", "", 0, user, group, 0, "", 0, 0, 0, 0, 0xFFFFFFFF, 0)


def owned_by(owners: Owners, uid: int, gid: int, user: str) -> list[str]:
    """Return what is wrong when a file of `user` belongs to these on disk."""
    at = os.stat_result((0o100644, 0, 0, 1, uid, gid, 0, 0, 0, 0))
    return list(owners.wrong(entry(user), at, user=True, group=False))


def test_an_ordinary_users_files_may_all_be_theirs(tmp_path: Path) -> None:
    owners = Owners([layer_at(tmp_path)])
    owners.ids["user"]["svc"] = 300
    owners.uid, owners.ranges = 1000, {"user": ((100000, 65536),)}
    assert owned_by(owners, 1000, 0, "svc") == []
    assert owned_by(owners, 100299, 0, "svc") == []
    assert owned_by(owners, 100300, 0, "svc") != []
    assert owned_by(owners, 4000, 0, "svc") != []


def test_roots_files_belong_to_whom_the_package_says(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text("svc:x:300:300::/:/bin/sh\n")
    owners = Owners([layer_at(tmp_path)])
    owners.uid = 0
    assert owned_by(owners, 300, 0, "svc") == []
    assert owned_by(owners, 0, 0, "svc") == ["belongs to user 0 instead of 'svc'"]
    assert owned_by(owners, 7, 0, "unheard-of") == []


def test_paths_go_through_the_links_of_the_layers_above(tmp_path: Path) -> None:
    core, node = tmp_path / "core", tmp_path / "node"
    (core / "usr/lib64").mkdir(parents=True)
    (core / "lib64").symlink_to("usr/lib64")
    (core / "loop").symlink_to("loop")
    (node / "usr/lib64").mkdir(parents=True)
    ground = Ground(layer_at(node), [layer_at(core)])
    assert ground.inside("/lib64/libx.so") == "/usr/lib64/libx.so"
    assert ground.disk("/lib64/libx.so") == str(node / "usr/lib64/libx.so")
    assert ground.inside("/loop/x") == "/loop/x"


@pytest.fixture
def node(tmp_path: Path) -> Path:
    maker = Maker(tmp_path / "make")
    files: dict[str, Content] = {
        "/usr/bin/a": ("#! a\n", 0o755), "/usr/lib/l": Link("../bin/a"), "/etc/a.conf": Config("one\n"),
        "/var/cache/a": Ghost(), "/usr/share/a": "a\n",
    }  # fmt: skip
    maker.plant(tmp_path / "node", [maker.rpm("a", files=files)])
    return tmp_path / "node"


def findings(node: Path, *, signed: bool = True, armored: str = "") -> list[Finding]:
    """Audit a node; `armored`: the keys that count, the packager's when left out."""
    ring = Keyring(keys=tuple(parse((armored or key().public).encode())))
    layer = layer_at(node)
    ground = Ground(layer)
    headers = rpmdb.read(layer.rpmdb)
    found = list(audit(headers, ground, ring, signed=signed, digest=file_digest))
    owned = frozenset(ground.inside(path) for header in headers for path in header.paths())
    return found + list(unowned(owned, ground))


def told(found: list[Finding]) -> list[tuple[str, str, str]]:
    """Return what was found, in short."""
    return [(one.kind, one.file or one.package, one.grade) for one in found]


@pytest.mark.needs("rpm")
def test_a_node_as_it_was_installed_has_no_findings(node: Path) -> None:
    assert told(findings(node)) == []


@pytest.mark.needs("rpm")
def test_each_change_of_a_file_has_its_name(node: Path) -> None:
    (node / "usr/bin/a").write_text("#! b\n")
    (node / "usr/share/a").chmod(0o600)
    (node / "usr/lib/l").unlink()
    (node / "usr/lib/l").symlink_to("../bin/b")
    (node / "usr/share/mine").write_text("")
    (node / "etc/a.conf").write_text("two\n")
    assert sorted(told(findings(node))) == [
        ("changed-config", "/etc/a.conf", "note"), ("changed-file", "/usr/bin/a", "fault"),
        ("changed-file", "/usr/lib/l", "fault"), ("unowned-file", "/usr/share/mine", "note"),
        ("wrong-mode", "/usr/share/a", "fault"),
    ]  # fmt: skip


@pytest.mark.needs("rpm")
def test_a_file_that_became_a_directory_is_changed(node: Path) -> None:
    (node / "usr/share/a").unlink()
    (node / "usr/share/a").mkdir()
    assert ("changed-file", "/usr/share/a", "fault") in told(findings(node))


@pytest.mark.needs("rpm")
def test_a_strangers_key_counts_only_where_nothing_has_to_be_signed(node: Path) -> None:
    stranger = key("stranger").public
    assert told(findings(node, armored=stranger)) == [("wrong-signature", "a-1-1.x86_64", "fault")]
    assert told(findings(node, armored=stranger, signed=False)) == [
        ("wrong-signature", "a-1-1.x86_64", "note")
    ]
