"""A certificate: the same for the same tree, signed, and held against the tree by another witness."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from redpak.node import certificate, prove_cache, witness
from tests.conftest import Program
from tests.planted import Tree, World

pytestmark = pytest.mark.needs("rpm", "cc")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("world"))


@pytest.fixture
def tree(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tree:
    monkeypatch.setattr(prove_cache, "FOLDER", str(tmp_path / "proofs"))
    return world.copy(tmp_path)


def make_key(at: Path) -> Path:
    """Make an Ed25519 key pair; the public one lies beside it, as .pub."""
    subprocess.run(
        ["openssl", "genpkey", "-algorithm", "ed25519", "-out", at], check=True, capture_output=True
    )
    subprocess.run(
        ["openssl", "pkey", "-in", at, "-pubout", "-out", f"{at}.pub"], check=True, capture_output=True
    )
    return at


@pytest.fixture
def key(tmp_path: Path) -> Path:
    return make_key(tmp_path / "key.pem")


@pytest.fixture
def cert(tree: Tree, key: Path, tmp_path: Path) -> Path:
    made = tmp_path / "tree.cert"
    certificate.write(str(made), tree.prove(), key=str(key), core=str(tree.core))
    return made


def kinds(cert: Path, tree: Tree, key: Path | str = "") -> set[str]:
    """Return the kinds of faults that the witness finds."""
    checked = witness.verify(str(cert), str(tree.nodes), key=str(key), core=str(tree.core))
    found = {one.kind for one in checked.findings if one.grade == "fault"}
    assert checked.good == (not found)
    return found


def test_canonical_json_is_one_text_and_has_no_fractions() -> None:
    assert certificate.canonical({"b": [1, "é"], "a": None}) == b'{"a":null,"b":[1,"\\u00e9"]}'
    with pytest.raises(ValueError, match="fractions"):
        certificate.canonical({"a": [1.5]})


def test_the_same_tree_has_the_same_certificate_wherever_it_lies(
    world: World, tree: Tree, cert: Path, key: Path, tmp_path: Path
) -> None:
    again, elsewhere = tmp_path / "again.cert", tmp_path / "elsewhere"
    elsewhere.mkdir()
    other = world.copy(elsewhere)
    certificate.write(str(again), other.prove(), key=str(key), core=str(other.core))
    assert again.read_bytes() == cert.read_bytes()
    assert kinds(cert, other, f"{key}.pub") == set()


def test_a_certificate_says_what_was_proved_under_which_inputs(cert: Path) -> None:
    said = json.loads(cert.read_text())
    assert said["coherent"] is True
    assert said["checks"] == ["configuration", "dependencies", "files", "loader", "integrity", "metadata"]
    platform = next(one for one in said["members"] if one["alias"] == "platform")
    assert [nevra for nevra, _ in platform["packages"]] == [
        "plat-bus-1-1.x86_64",
        "plat-ui-2-1.x86_64",
        "plat-z-1.2-1.x86_64",
    ]
    assert {name for name, _ in platform["configuration"]} >= {".rednode.yaml", "etc/redpak.yaml"}


def test_the_command_writes_and_verifies_one(tree: Tree, key: Path, redpak: Program, tmp_path: Path) -> None:
    cert = tmp_path / "c"
    ran = redpak("prove", tree.nodes, "--core-os", tree.core, "--certificate", cert, "--sign", key)
    assert ran.code == 0, ran
    ran = redpak("verify", cert, tree.nodes, "--core-os", tree.core, "--key", f"{key}.pub")
    assert (ran.code, "Verified: 4 members" in ran.out) == (0, True), ran
    other = f"{make_key(tmp_path / 'other.pem')}.pub"
    ran = redpak("verify", cert, tree.nodes, "--core-os", tree.core, "--key", other)
    assert (ran.code, "(not the key that was asked for)" in ran.out) == (1, True), ran
    (tree.root("tool") / "usr/bin/tool").write_text("#! mine\n")
    ran = redpak("verify", cert, tree.nodes, "--core-os", tree.core, "--json")
    assert ran.code == 1
    assert {one["kind"] for one in json.loads(ran.out)["findings"]} >= {"changed-file", "changed-files"}


def test_a_tree_that_is_not_coherent_gets_none(tree: Tree, redpak: Program, tmp_path: Path) -> None:
    tree.add("app", tree.maker.rpm("bad", requires=["nobody"]))
    ran = redpak("prove", tree.nodes, "--core-os", tree.core, "--certificate", tmp_path / "c")
    assert (ran.code, "not coherent" in ran.err) == (3, True), ran
    assert "fault: " in ran.out
    assert not (tmp_path / "c").exists()


def test_a_changed_certificate_and_another_signer_are_found(
    tree: Tree, cert: Path, key: Path, tmp_path: Path
) -> None:
    assert kinds(cert, tree, f"{key}.pub") == set()
    assert kinds(cert, tree, f"{make_key(tmp_path / 'other.pem')}.pub") == {"wrong-signature"}
    said = json.loads(cert.read_text())
    said["redpak"] = "99"
    changed = tmp_path / "changed"
    changed.write_text(json.dumps(said))
    assert kinds(changed, tree) == {"wrong-signature"}
    del said["signature"]
    changed.write_text(json.dumps(said))
    assert kinds(changed, tree) == set()
    assert kinds(changed, tree, f"{key}.pub") == {"missing-signature"}


def test_every_change_of_the_tree_is_named(world: World, tree: Tree, cert: Path) -> None:
    tree.add("app", tree.maker.rpm("more", requires=["nobody"]))
    world.configure(tree.nodes, "tool", config="  umask: '077'\n")
    assert kinds(cert, tree) == {
        "changed-package",
        "missing-requirement",
        "disagreement",
        "changed-configuration",
    }


def test_nodes_that_came_or_went_are_named(tree: Tree, cert: Path) -> None:
    tree.root("tool").rename(tree.nodes / "platform/other")
    assert kinds(cert, tree) >= {"unknown-node", "missing-node"}


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"schema": "redpak certificate 1", "members": [{}]}', "\xff"]
)
def test_what_is_no_certificate_is_refused(text: str, tree: Tree, redpak: Program, tmp_path: Path) -> None:
    (tmp_path / "c").write_bytes(text.encode("latin-1"))
    ran = redpak("verify", tmp_path / "c", tree.nodes)
    assert (ran.code, "is no certificate" in ran.err) == (2, True), ran


def test_a_key_of_another_kind_is_refused(tree: Tree, redpak: Program, tmp_path: Path) -> None:
    key = tmp_path / "rsa.pem"
    subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
    ran = redpak("prove", tree.nodes, "--core-os", tree.core, "--certificate", tmp_path / "c", "--sign", key)
    assert (ran.code, "is no Ed25519 key" in ran.err) == (2, True), ran
    assert not (tmp_path / "c").exists()
