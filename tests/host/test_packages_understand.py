"""Questions about a family with packages: lists with layers, who-provides, why, bills of materials, and locks."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from redpak.cli.main import main
from redpak.node.lock import tree_digest
from redpak.node.site import site_of
from tests.rpms import Maker

pytestmark = pytest.mark.needs("rpm", "userns")
Run = Callable[..., tuple[int, str, str]]


def in_child(words: list[str]) -> int:
    """Run a command in a fork: what the solver has opened ends with it."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = 125
    try:
        code = main(words)
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


class Pool:
    """A core OS, a platform with `tool`, an application with `app`, and a repository of them all."""

    def __init__(self, folder: Path) -> None:
        self.maker = Maker(folder / "maker")
        self.core = self.maker.core(folder / "core")
        self.platform = folder / "pool/plat"
        self.platform.parent.mkdir()
        shell = ("#!/bin/sh\necho hello\n", 0o755)
        self.maker.repo("goods", [
            self.maker.rpm("lib", arch="noarch", files={"/usr/lib/lib.so": "lib"}),
            self.maker.rpm("tool", arch="noarch", files={"/usr/bin/tool": shell}, requires=["lib >= 1"]),
            self.maker.rpm("app", arch="noarch", files={"/usr/bin/app": shell, "/etc/app.conf": "c"},
                           requires=["tool", "helper"], recommends=["doc"]),
            self.maker.rpm("helper", arch="noarch", files={"/usr/share/helper": "h"}),
            self.maker.rpm("doc", arch="noarch", files={"/usr/share/doc": "d"}),
        ])  # fmt: skip
        self.node("plat")
        self.leaf = self.node("plat/nav")
        assert in_child(["node", "install", str(self.platform), "tool", "-y"]) == 0
        assert in_child(["node", "install", str(self.leaf), "app", "-y"]) == 0

    def node(self, name: str) -> Path:
        """Make a node that knows the repository."""
        path = self.platform.parent / name
        alone = ["--no-system-node"] if path == self.platform else []
        assert in_child(["node", "create", str(path), *alone]) == 0
        config = path / "etc/redpak.yaml"
        if alone:
            config.write_text(
                config.read_text().replace("\nconfig:\n", f"\nconfig:\n  core-os: {self.core}\n", 1)
            )
        (path / "etc/yum.repos.d").mkdir(parents=True, exist_ok=True)
        (path / "etc/yum.repos.d/goods.repo").write_text(self.maker.repo_file("goods"))
        return path


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    folder = tmp_path_factory.mktemp("family")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        return Pool(folder)


@pytest.fixture
def run(
    pool: Pool, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Run:  # fmt: skip
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))

    def call(*words: object) -> tuple[int, str, str]:
        capfd.readouterr()
        code = in_child([str(word) for word in words])
        said = capfd.readouterr()
        return code, said.out, said.err

    return call


def test_a_list_tells_which_layer_a_package_lives_in(pool: Pool, run: Run) -> None:
    _, out, _ = run("node", "packages", pool.leaf, "installed")
    where = {line.split()[0]: line.split(maxsplit=2)[2].strip() for line in out.splitlines()[1:]}
    assert where["app.noarch"] == "@goods"
    assert where["tool.noarch"] == "plat"
    _, out, _ = run("node", "packages", pool.leaf, "installed", "--own", "--json")
    assert [one["name"] for one in json.loads(out)["installed"]] == ["app", "doc", "helper"]
    _, out, _ = run(
        "node", "repoquery", pool.leaf, "--installed", "--qf", "%{name} %{layer} %{reason}", "tool", "doc"
    )
    assert out.splitlines() == ["doc nav weak-dependency", "tool plat (none)"]
    assert run("node", "check", pool.leaf) == (0, "", "")


def test_a_file_has_an_owner_in_some_layer_or_in_none(pool: Pool, run: Run) -> None:
    _, out, _ = run("who-provides", "/usr/bin/tool", pool.leaf)
    assert [line.split() for line in out.splitlines()] == [
        ["node", "plat", "tool-1-1.noarch", "/usr/bin/tool"],
        ["repository", "goods", "tool-1-1.noarch", "/usr/bin/tool"],
    ]
    _, out, _ = run("who-provides", pool.leaf / "usr/bin/app", pool.leaf, "--installed")
    assert out.split() == ["node", "nav", "app-1-1.noarch", "/usr/bin/app"]
    (pool.leaf / "etc/mine").write_text("x")
    _, out, _ = run("who-provides", "/etc/mine", pool.leaf, "--json")
    (found,) = json.loads(out)
    assert (found["package"], found["layer"], found["file"]) == ("-", "nav", str(pool.leaf / "etc/mine"))
    code, out, err = run("who-provides", "no-such-thing", pool.leaf)
    assert (code, out) == (4, "")
    assert "provides 'no-such-thing'" in err


def test_rpm_finds_nothing_wrong_with_a_node_that_needs_its_ancestors(pool: Pool, run: Run) -> None:
    assert run("node", "rpm", pool.leaf, "--", "-V", "app") == (0, "", "")
    assert run("node", "rpm", "--all", pool.leaf, "--", "-V", "app") == (0, "", "")
    code, out, _ = run("node", "rpm", pool.leaf, "--", "-qV", "lib")  # it is an ancestor's
    assert (code, out) == (1, "package lib is not installed\n")
    code, _, err = run("node", "rpm", pool.leaf, "--", "-K", "/nothing.rpm")  # rpm hands that to rpmkeys
    assert (code, "unknown option" in err) == (1, False), err


def test_rpm_answers_for_a_node_without_packages(pool: Pool, run: Run) -> None:
    bare = pool.node("plat/bare")
    assert run("node", "rpm", bare, "--", "-qa") == (0, "", "")
    assert run("node", "rpm", bare, "--", "-q", "app")[:2] == (1, "package app is not installed\n")
    shutil.rmtree(bare)


def test_why_goes_through_the_layers_and_looks_beneath(pool: Pool, run: Run) -> None:
    _, out, _ = run("why", "lib", pool.platform)
    assert out.splitlines() == [
        "lib-1-1.noarch [plat]",
        "  tool-1-1.noarch [plat] was asked for",
        "    requires lib >= 1: lib-1-1.noarch [plat]",
        "  would be missed by:",
        "    tool-1-1.noarch [plat] requires lib >= 1",
        "  and then by: app-1-1.noarch",
    ]
    _, out, _ = run("why", "doc", pool.leaf, "--json")
    (answer,) = json.loads(out)
    assert [step["package"] for step in answer["chain"]] == ["app-1-1.noarch", "doc-1-1.noarch"]
    assert answer["chain"][1]["kind"] == "recommends" and answer["lost"] == []
    code, _, err = run("why", "nothing", pool.leaf)
    assert code == 4 and "no package 'nothing' is installed in the family" in err


def test_a_bill_of_materials_has_digests_and_layers(pool: Pool, run: Run, tmp_path: Path) -> None:
    first, again = tmp_path / "a.json", tmp_path / "b.json"
    for path in (first, again):
        code, _, why = run("node", "sbom", pool.leaf, "-o", path, "--files")
        assert code == 0, why
    assert first.read_bytes() == again.read_bytes()
    parts = {one["name"]: one for one in json.loads(first.read_text())["packages"]}
    assert parts["app"]["checksums"][0]["algorithm"] == "SHA256"
    assert parts["app"]["filesAnalyzed"] is True
    assert "layer=plat" in parts["tool"]["comment"] and "lib" not in parts
    _, out, _ = run("node", "sbom", pool.leaf, "--format", "cyclonedx", "--all")
    assert {"app", "tool", "lib"} <= {one["name"] for one in json.loads(out)["components"]}


def test_the_same_lock_gives_the_same_tree(pool: Pool, run: Run, tmp_path: Path) -> None:
    secret = Ed25519PrivateKey.generate()
    key = tmp_path / "key.pem"
    key.write_bytes(secret.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                         serialization.NoEncryption()))  # fmt: skip
    lock = tmp_path / "nav.lock"
    assert run("node", "lock", pool.leaf, "-o", lock, "--sign", key, "--days", "2")[0] == 0
    nodes = [pool.node(f"plat/{name}") for name in ("one", "two")]
    for node in nodes:
        code, out, err = run("node", "install", node, "--locked", lock, "-y")
        assert code == 0, out + err
    digests = {tree_digest(site_of(str(node))) for node in (pool.leaf, *nodes)}
    assert run("node", "lock", nodes[0], "--digest")[1].strip() in digests
    assert len(digests) == 1
    reasons = json.loads(run("node", "packages", nodes[0], "installed", "--own", "--json")[1])["installed"]
    assert {one["name"]: one["reason"] for one in reasons} == {
        "app": "user",
        "doc": "weak",
        "helper": "dependency",
    }
    assert run("node", "install", nodes[0], "--locked", lock, "-y")[1].endswith("Nothing to do.\nComplete!\n")

    assert run("node", "remove", nodes[0], "doc", "-y")[0] == 0
    assert tree_digest(site_of(str(nodes[0]))) not in digests
    assert run("node", "install", nodes[0], "--locked", lock, "-y")[0] == 0
    assert tree_digest(site_of(str(nodes[0]))) in digests


def test_a_lock_is_refused_where_its_ancestors_differ(pool: Pool, run: Run, tmp_path: Path) -> None:
    lock = tmp_path / "nav.lock"
    assert run("node", "lock", pool.leaf, "-o", lock)[0] == 0
    alone = pool.platform.parent / "alone"
    assert run("node", "create", alone, "--no-system-node")[0] == 0
    code, _, err = run("node", "install", alone, "--locked", lock, "-y")
    assert code == 3
    assert "'plat' is an ancestor in the lock, and not here" in err
    said = json.loads(lock.read_text())
    said["packages"][0]["checksum"] = "sha256:" + "0" * 64
    lock.write_text(json.dumps(said))
    fresh = pool.node("plat/fresh")
    code, _, err = run("node", "install", fresh, "--locked", lock, "-y")
    assert code == 1 and "instead of sha256:0000" in err
    assert not (fresh / ".redpak/current").exists()


def test_a_lock_may_be_tried_and_fetched_without_being_installed(
    pool: Pool, run: Run, tmp_path: Path
) -> None:
    lock = tmp_path / "nav.lock"
    assert run("node", "lock", pool.leaf, "-o", lock, "--counter", "30")[0] == 0
    node = pool.node("plat/careful")
    for words in (("-y", "--downloadonly"), ("-y", "--test"), ("--assumeno",)):
        run("node", "install", node, "--locked", lock, *words)
        assert not (node / ".redpak/current").exists()
        assert not (node / ".redpak/lock-seen.json").exists()
    assert run("node", "install", node, "--locked", lock, "-y")[0] == 0
    assert json.loads((node / ".redpak/lock-seen.json").read_text())["counter"] == 30
    said = json.loads(lock.read_text())
    lock.write_text(json.dumps({**said, "counter": 29}))
    code, _, err = run("node", "install", node, "--locked", lock, "-y")
    assert code == 3 and "its counter is 29, and lock 30 was used already" in err


def test_clean_all_removes_generations_that_nobody_needs(pool: Pool, run: Run) -> None:
    node = pool.node("plat/old")
    for at in range(3):
        for verb in ("install", "remove"):
            assert run("node", verb, node, "helper", "-y")[0] == 0, at
    before = {path.name for path in (node / ".redpak/generations").iterdir()}
    _, out, _ = run("node", "clean", node, "all", "--json")
    after = {path.name for path in (node / ".redpak/generations").iterdir()}
    assert {str(number) for number in json.loads(out)["generations"]} == before - after
    assert len(json.loads(run("node", "history", node, "--json")[1])) == 6
