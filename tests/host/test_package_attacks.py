"""Attacks by packages and their scriptlets on the node, its ancestors and the host."""

from __future__ import annotations

import base64
import os
import stat
import struct
import subprocess
from pathlib import Path

import pytest

from redpak.errors import RedpakError, Refused
from redpak.node import install
from tests.host.package_site import Place, snapshot
from tests.rpmfile import File, Script
from tests.rpms import Content, Link, Maker

pytestmark = pytest.mark.needs("rpm", "bwrap")


@pytest.fixture
def maker(tmp_path: Path) -> Maker:
    return Maker(tmp_path / "made")


@pytest.fixture
def node(pool: Path, maker: Maker) -> Place:
    return Place(pool / "node", maker)


def python(body: str) -> Script:
    return Script(body=body, program=("/usr/bin/python3", "-I"))


# ---- the node's own configuration ----


@pytest.mark.parametrize("name", ["redpak.yaml", "redpack.yaml", "redpak-admin.yaml", "redpack-admin.yaml"])
def test_no_package_brings_the_nodes_configuration(node: Place, maker: Maker, name: str) -> None:
    before = snapshot(node.path / "etc")
    with pytest.raises(Refused, match=f"etc/{name}"):
        node.change(maker.rpm("evil", files={f"/etc/{name}": "exports: []\n"}))
    assert snapshot(node.path / "etc") == before
    assert not (node.path / ".redpak/current").exists()


@pytest.mark.parametrize(
    "script",
    [
        "echo 'exports: []' > /etc/redpak.yaml", "rm /etc/redpak.yaml", "chmod 666 /etc/redpak.yaml",
        "ln -sf /tmp/mine /etc/redpak.yaml", "mkdir /etc/redpack-admin.yaml",
    ],
)  # fmt: skip
def test_no_scriptlet_changes_the_nodes_configuration(node: Place, maker: Maker, script: str) -> None:
    before = snapshot(node.path / "etc")
    with pytest.raises(Refused, match="configuration"):
        node.change(maker.rpm("evil", scripts={"post": script}))
    assert snapshot(node.path / "etc") == before


@pytest.mark.parametrize("path", ["/.rednode.yaml", "/.redpak/current", "/.redpak/repos/x.json", "/child/x"])
def test_no_package_has_a_name_of_the_nodes_directory(node: Place, maker: Maker, path: str) -> None:
    Place(node.path / "child", maker)
    before = (node.path / ".rednode.yaml").read_bytes()
    with pytest.raises(Refused, match=r"there already|the node's own"):
        node.change(maker.rpm("evil", files={path: "x"}))
    assert (node.path / ".rednode.yaml").read_bytes() == before
    assert os.listdir(node.path / ".redpak/work") == []


# ---- the database that scriptlets can write to ----


def hot_journal(names: str) -> bytes:
    """Return a journal that makes sqlite delete the file that it names: the journal of journals of a commit."""
    name = names.encode()
    tail = struct.pack(">I", 0x40000000 // 4096 + 1) + name
    return b"\xd9" + b"\0" * 511 + tail + struct.pack(
        ">II", len(name), sum(name)
    ) + bytes.fromhex("d9d505f920a163d7")  # fmt: skip


def test_a_journal_beside_the_database_deletes_no_file(node: Place, maker: Maker, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("nothing that a journal names\n")
    body = (
        f"import base64\nopen('/var/lib/rpm/rpmdb.sqlite-journal', 'wb').write("
        f"base64.b64decode({base64.b64encode(hot_journal(str(victim))).decode()!r}))\n"
    )
    node.change(maker.rpm("evil", files={"/usr/share/evil/x": "x"}, scripts={"posttrans": python(body)}))
    assert victim.exists()
    assert node.packages() == ["evil-1-1"]
    node.sound()


def test_a_link_in_the_place_of_the_database_is_not_followed(
    node: Place, maker: Maker, tmp_path: Path
) -> None:
    maker.database([maker.rpm("foreign")], tmp_path / "other")
    before = snapshot(tmp_path / "other")
    body = f"""
import os
os.rename("/var/lib/rpm/rpmdb.sqlite", "/var/lib/rpm/real")
os.symlink({str(tmp_path / "other/rpmdb.sqlite")!r}, "/var/lib/rpm/rpmdb.sqlite")
"""
    with pytest.raises(RedpakError, match="database"):
        node.change(maker.rpm("evil", scripts={"posttrans": python(body)}))
    assert snapshot(tmp_path / "other") == before


TAMPER = """
import sqlite3
database = sqlite3.connect("/var/lib/rpm/rpmdb.sqlite")
database.execute({statement!r})
database.commit()
database.close()
"""


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE VIEW Extra AS SELECT 1 AS hnum", "CREATE VIRTUAL TABLE Extra USING fts5(hnum)",
        "CREATE TRIGGER extra AFTER INSERT ON Name BEGIN DELETE FROM Name; END",
    ],
)  # fmt: skip
def test_nothing_but_tables_of_rpm_is_taken_from_the_database(
    node: Place, maker: Maker, statement: str
) -> None:
    with pytest.raises(RedpakError, match="database"):
        node.change(maker.rpm("evil", scripts={"posttrans": python(TAMPER.format(statement=statement))}))


def test_a_header_of_the_ancestors_cannot_be_dropped(node: Place, maker: Maker) -> None:
    node.change(maker.rpm("base"))
    child = Place(node.path / "child", maker)
    body = TAMPER.format(statement="DELETE FROM Packages WHERE hnum <= 2")
    with pytest.raises(Refused, match="not the node's own"):
        child.change(maker.rpm("evil", scripts={"posttrans": python(body)}))


# ---- set-user-id programs ----


def test_no_program_of_a_node_has_anybodys_rights_outside(node: Place, maker: Maker) -> None:
    node.change(maker.rpm("evil", files={
        "/usr/bin/set-id": ("x", 0o6755), "/var/lib/evil/set-id": ("x", 0o4755),
        "/usr/bin/capable": File(data=b"x", mode=0o755, caps="cap_sys_admin=ep"),
    }, scripts={"post": "cp /usr/bin/set-id /usr/bin/later; chmod 4755 /usr/bin/later /etc/hostname"}))  # fmt: skip
    found = []
    for top in (node.path, node.generation):
        for here, _, files in os.walk(top):
            for name in files:
                path = Path(here, name)
                if not path.is_symlink() and path.stat().st_mode & (stat.S_ISUID | stat.S_ISGID):
                    found.append(path)
                if not path.is_symlink() and "security.capability" in os.listxattr(path):
                    found.append(path)
    assert found == []
    said = subprocess.run(
        ["rpm", "--dbpath", node.generation / "rpmdb", "-q", "--qf", "[%{FILENAMES} %{FILEMODES:octal}\n]", "evil"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert "/usr/bin/set-id 106755" in said


# ---- what a scriptlet sees ----


def test_a_scriptlet_sees_nobodys_home(node: Place, maker: Maker) -> None:
    node.change(maker.rpm("nosy", scripts={"post": "echo HOMES $(ls -A /home /root 2>/dev/null)"}))
    said = next(line for line in node.output.splitlines() if line.startswith("HOMES"))
    assert said.replace("/home:", "").replace("/root:", "").split() == ["HOMES"]


@pytest.mark.needs("root")
def test_a_scriptlet_that_root_installs_sees_no_secret_of_the_host(node: Place, maker: Maker) -> None:
    secrets = [path for path in ("/etc/shadow", "/etc/gshadow", "/etc/sudoers", "/etc/ssl/private")
               if os.path.exists(path) and not os.stat(path).st_mode & 0o004]  # fmt: skip
    assert secrets
    within = " ".join(f"{one}/* {one}" for one in secrets)
    look = f"ls -lAd {within} 2>/dev/null; cat {' '.join(secrets)}; cat /etc/passwd"
    node.change(maker.rpm("nosy", scripts={"post": look}))
    assert "root:x:0:0" in node.output
    for path in secrets:
        if os.path.isfile(path):
            for line in Path(path).read_text().splitlines():
                assert line not in node.output


def test_a_scriptlet_leaves_no_process_behind(node: Place, maker: Maker) -> None:
    word = f"4711.{os.getpid()}"  # others may run this at the same time
    node.change(maker.rpm("daemon", scripts={"post": f"setsid sleep {word} >/dev/null 2>&1 </dev/null &"}))
    mine = b"sleep\0" + word.encode()
    running = [path for path in Path("/proc").glob("[0-9]*/cmdline") if mine in _bytes_of(path)]
    assert running == []


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_what_a_scriptlet_says_is_bounded(node: Place, maker: Maker) -> None:
    node.change(maker.rpm("loud", scripts={
        "pre": "yes 'all work and no play' | head -c 30000000", "post": "head -c 20000000 /dev/zero | tr '\\0' x",
    }))  # fmt: skip
    entry = install.history(node.site)[-1]
    assert sum(len(line) for line in entry.output) < 2 << 20
    assert len(node.output) < 4 << 20


# ---- hostile paths ----


def test_a_payload_cannot_climb_out_through_links(node: Place, maker: Maker, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    linked = maker.rpm("linked", files={
        "/usr/share/app/out": Link(str(outside)), "/usr/share/app/up": Link("../" * 30 + str(outside)[1:]),
        "/var/lib/out": Link(str(outside)),
    })  # fmt: skip
    node.change(linked)
    files: dict[str, Content] = {
        "/usr/share/app/out/evil": "x", "/usr/share/app/up/evil": "x", "/var/lib/out/evil": "x",
    }  # fmt: skip
    try:
        node.change(maker.rpm("evil", files=files))
    except RedpakError:
        pass
    assert os.listdir(outside) == []
    assert not (node.path / "etc/../../escaped").exists()


def test_a_payload_with_dots_stays_in_the_node(node: Place, maker: Maker, tmp_path: Path) -> None:
    def around() -> set[str]:
        return {path for path in snapshot(tmp_path) if not path.startswith(("pool/node/", "made/"))}

    evil = maker.rpm("evil", files={"/usr/share/../../../../escaped/here": "x"})
    before = around()
    try:
        node.change(evil)
    except RedpakError:
        pass
    assert around() == before
    assert not os.path.lexists("/escaped")


def test_a_device_in_a_package_is_no_device(node: Place, maker: Maker) -> None:
    try:
        node.change(maker.rpm("evil", files={"/usr/share/disk": File(mode=stat.S_IFBLK | 0o666)}))
    except RedpakError:
        return
    assert not stat.S_ISBLK(node.tree("usr/share/disk").lstat().st_mode)


def test_a_journal_in_a_plain_directory_deletes_no_file_later(tmp_path: Path, maker: Maker) -> None:
    victim = tmp_path / "victim"
    victim.write_text("nothing that a journal names\n")
    root = Place(tmp_path / "root", maker, plain=True)
    encoded = base64.b64encode(hot_journal(str(victim))).decode()
    lua = Script(
        body="os.rename('/usr/share/evil/journal', '/var/lib/rpm/rpmdb.sqlite-journal')", program=("<lua>",)
    )
    root.change(maker.rpm("evil", files={"/usr/share/evil/journal": base64.b64decode(encoded)},
                          scripts={"posttrans": lua}))  # fmt: skip
    assert not (root.path / "usr/share/evil/journal").exists()
    assert not (root.path / "var/lib/rpm/rpmdb.sqlite-journal").exists()
    assert victim.exists()
