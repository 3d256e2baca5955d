"""A tree proven as a whole: what the command says, what the cache may keep, what a change would break."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from redpak.node import prove, prove_cache, prove_plan, whatif
from redpak.node.site import site_of
from redpak.packages.model import COMMAND_LINE, Item, Transaction
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


def test_a_sound_tree_is_coherent_for_people_and_for_programs(tree: Tree, redpak: Program) -> None:
    ran = redpak("prove", tree.nodes, "--core-os", tree.core)
    assert ran.code == 0, ran
    assert "Coherent: 3 nodes." in ran.out
    said = json.loads(redpak("prove", tree.nodes, "--core-os", tree.core, "--json").out)
    assert (said["coherent"], [node["alias"] for node in said["nodes"]]) == (
        True,
        ["core OS", "platform", "app", "tool"],
    )
    assert all(node["faults"] == [] for node in said["nodes"])


def test_a_fault_is_told_with_its_node_and_what_stands_on_it(tree: Tree, redpak: Program) -> None:
    tree.add("platform", tree.maker.rpm("bad", requires=["nobody"]))
    ran = redpak("prove", tree.nodes, "--core-os", tree.core)
    assert ran.code == 1
    assert (
        "fault: missing-requirement: nothing provides nobody needed by bad-1-1.x86_64 [platform]" in ran.out
    )
    assert ran.out.count("stands on platform") == 2


def test_a_proof_needs_no_core_os_that_is_here(tree: Tree, redpak: Program, tmp_path: Path) -> None:
    manifest = tmp_path / "core.json"
    assert redpak("node", "manifest", tree.core, "-o", manifest).code == 0
    ran = redpak("prove", tree.nodes, "--core-os", manifest, "--json")
    assert ran.code == 0, ran
    tree.drop("platform", "plat-z")
    assert redpak("prove", tree.nodes, "--core-os", manifest).code == 1


def test_a_node_is_proven_with_those_above_it(tree: Tree, redpak: Program) -> None:
    said = json.loads(redpak("prove", tree.root("tool"), "--core-os", tree.core, "--json").out)
    assert [node["alias"] for node in said["nodes"]] == ["core OS", "platform", "tool"]


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["/nowhere"], 4, "does not exist"), (["."], 4, "there is no node"), ([".", "--sign", "k"], 2, "--certificate"),
        ([".", "--if", "x: remove y", "--certificate", "c"], 2, "exclude each other"),
        ([".", "--core-os", "/nowhere.json"], 4, "there is no node"),
    ],
)  # fmt: skip
def test_wrong_words_are_told(
    words: list[str], code: int, told: str, redpak: Program, tmp_path: Path
) -> None:
    ran = redpak("prove", *words, cwd=tmp_path)
    assert (ran.code, told in ran.err) == (code, True), ran


def test_a_package_may_say_that_it_hides_a_file(tree: Tree) -> None:
    declared = {"files": {"/usr/bin/ui": ("#! mine\n", 0o755)}, "provides": ["redpak-shadows(/usr/bin/ui)"]}
    tree.add("app", tree.maker.rpm("mine", **declared))  # type: ignore[arg-type]
    report = tree.prove()
    assert report.coherent
    notes = [
        (one.kind, one.grade) for member in report.members if member.name == "app" for one in member.notes
    ]
    assert notes == [("shadowed-program", "note")]


# ---- the cache ----


def parts(report: prove.Report) -> dict[str, tuple[int, int]]:
    """Return how many of each part were known, of how many."""
    return {part: (known, count) for part, known, count in report.cached}


def test_a_second_proof_takes_everything_from_the_first(tree: Tree) -> None:
    assert all(known == 0 for known, _ in parts(tree.prove()).values())
    assert all(known == count for known, count in parts(tree.prove()).values())
    assert all(known == 0 for known, _ in parts(tree.prove(fresh=True)).values())


def test_a_change_that_hides_its_time_and_size_is_seen(tree: Tree) -> None:
    file = tree.root("app") / "usr/share/nav/map"
    before = file.stat()
    assert tree.prove().coherent
    assert tree.prove().coherent
    file.write_text("mop\n")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    (fault,) = tree.faults()
    assert (fault.kind, fault.file) == ("changed-file", "/usr/share/nav/map")


def test_what_was_mended_is_no_fault_any_more(tree: Tree) -> None:
    file = tree.root("app") / "usr/share/nav/map"
    file.write_text("other\n")
    assert [fault.kind for fault in tree.faults()] == ["changed-file"]
    file.write_text("map\n")
    assert tree.faults() == []


def test_only_what_stands_on_a_change_is_proven_anew(tree: Tree) -> None:
    tree.prove()
    tree.add("tool", tree.maker.rpm("more"))
    assert parts(tree.prove())["dependencies"] == (3, 4)


def test_a_damaged_or_foreign_cache_is_no_cache(tree: Tree) -> None:
    tree.prove()
    for file in Path(prove_cache.folder()).iterdir():
        file.write_bytes(b"\0" * 64)
    assert tree.prove().coherent


# ---- what if ----


def test_what_if_names_the_nodes_and_touches_nothing(tree: Tree, redpak: Program) -> None:
    before = (tree.root("platform") / "var/lib/rpm/rpmdb.sqlite").read_bytes()
    ran = redpak("prove", tree.nodes, "--core-os", tree.core, "--if", "platform: remove plat-ui")
    assert ran.code == 1
    assert "BAD   app" in ran.out
    assert "BAD   tool" not in ran.out
    assert "plat-ui-2-1.x86_64 [platform] provides libui.so.1()(64bit), and goes" in ran.out
    assert (tree.root("platform") / "var/lib/rpm/rpmdb.sqlite").read_bytes() == before
    assert redpak("prove", tree.nodes, "--core-os", tree.core, "--if", "app: remove app-data").code == 0


def test_what_if_takes_package_files_also_for_the_core_os(tree: Tree) -> None:
    folder = tree.maker.folder / "new"
    new = tree.maker.rpm("core-ca", "2025", files={"/usr/share/ca/list": "two\n"}, folder=folder)
    answer = whatif.ask(str(tree.nodes), [f"core: upgrade {new}"], core=str(tree.core))
    assert [harm.name for harm in answer.harms] == ["platform", "app", "tool"]
    assert answer.goes == (("core OS", "core-ca-2024-1.x86_64"),)
    fixed = tree.maker.rpm("core-ca", "2026", provides=["ca = 2026"], folder=folder)
    assert whatif.ask(str(tree.nodes), [f"core: upgrade {fixed}"], core=str(tree.core)).harms == ()


def test_what_if_asks_the_repositories_of_a_node(tree: Tree) -> None:
    folder = tree.maker.folder / "newer"
    newer = tree.maker.rpm("plat-z", "2", provides=["z-api = 4"], folder=folder)
    place = tree.maker.repo("newer", [newer])
    (tree.root("platform") / "etc/yum.repos.d").mkdir(exist_ok=True)
    text = tree.maker.repo_file("newer", place, repo_gpgcheck=0)
    (tree.root("platform") / "etc/yum.repos.d/newer.repo").write_text(text)
    answer = whatif.ask(str(tree.nodes), ["platform: upgrade plat-z"], core=str(tree.core))
    assert answer.comes == (("platform", "plat-z-2-1.x86_64"),)
    assert answer.refused  # plat-ui needs the old library
    assert {harm.name for harm in answer.harms} == {"platform", "app", "tool"}


@pytest.mark.parametrize(
    ("change", "code", "told"),
    [
        ("nonsense", 2, "is no change of a node"), ("app: eat bread", 2, "is no change"),
        ("nobody: remove x", 4, "no node"),
        ("app: remove x", 4, "is not installed"), ("core: remove x", 4, "is not installed"),
        ("app: install ./x.rpm", 4, "there is no package file './x.rpm'"),
        ("app: install nothing-like-it", 4, "no package 'nothing-like-it'"),
    ],
)  # fmt: skip
def test_wrong_changes_are_told(change: str, code: int, told: str, tree: Tree, redpak: Program) -> None:
    ran = redpak("prove", tree.nodes, "--core-os", tree.core, "--if", change)
    assert (ran.code, told in ran.err) == (code, True), ran


def test_a_change_after_which_all_is_as_before_breaks_nothing(tree: Tree, redpak: Program) -> None:
    words = ("prove", tree.nodes, "--core-os", tree.core, "--if", "platform: upgrade plat-z")
    ran = redpak(*words)
    assert (ran.code, "cannot be made" in ran.out) == (0, False), ran
    assert "'platform: upgrade plat-z' changes nothing" in ran.out
    said = json.loads(redpak(*words, "--json").out)
    assert (said["possible"], len(said["unchanged"])) == (True, 1)


def test_a_broken_repository_file_is_named_with_its_line(tree: Tree, redpak: Program) -> None:
    file = tree.root("platform") / "etc/yum.repos.d/bad.repo"
    file.parent.mkdir(exist_ok=True)
    file.write_text("[bad\n")
    seen = tree.root("platform") / ".redpak/repos"
    seen.mkdir(parents=True, exist_ok=True)
    (seen / "bad.json").write_text("{}")
    ran = redpak("prove", tree.nodes, "--core-os", tree.core)
    assert (ran.code, f"unreadable-metadata: {file}:1: ']' is missing" in ran.out) == (1, True), ran


def test_a_launch_with_other_programs_than_the_proven_core_os_is_a_note(tree: Tree, redpak: Program) -> None:
    config = tree.root("platform") / "etc/redpak.yaml"
    text = config.read_text()
    config.write_text(text.replace("config:\n", f"config:\n  core-os: {tree.core}\n", 1))
    notes = [one for member in prove.prove(str(tree.nodes)).members for one in member.notes]
    assert [(one.kind, one.name) for one in notes if one.kind == "other-core"] == [("other-core", "platform")]
    assert f"about core OS '{tree.core}'" in next(one.text for one in notes if one.kind == "other-core")
    asked = [
        one for member in prove.prove(str(tree.nodes), core=str(tree.core)).members for one in member.notes
    ]
    assert all(one.kind != "other-core" for one in asked)


@pytest.mark.parametrize(
    ("core", "source", "place"),
    [
        ("/", "/usr", "/usr"), ("", "/usr", "/usr"), ("/img", "/usr", "/img/usr"), ("/img", "/", "/img/"),
        ("/img", "/img", "/img"), ("/img", "/img/usr", "/img/usr"), ("/img", "/img2", "/img/img2"),
    ],
)  # fmt: skip
def test_a_source_of_the_core_os_is_beneath_its_root_however_it_is_written(
    core: str, source: str, place: str
) -> None:
    assert prove_plan.beneath(core, source) == place


def item(action: str, name: str, version: str, **said: object) -> Item:
    """Return one item of a transaction."""
    given = {"repo": "@System", "reason": "user", **said}
    return Item(action=action, name=name, epoch=0, version=version, release="1", arch="x86_64", **given)  # type: ignore[arg-type]


def test_a_transaction_that_breaks_a_descendant_is_named(tree: Tree) -> None:
    site = site_of(str(tree.root("platform")), core=str(tree.core))
    broken = prove.breaks(site, Transaction(items=(item("remove", "plat-ui", "2"),)))
    assert {one.node for one in broken} == {"app"}
    assert "plat-ui-2-1.x86_64 [platform] provides libui.so.1()(64bit), and goes" in str(broken[0])
    assert prove.breaks(site, Transaction(items=(item("remove", "plat-bus", "1"),))) != []
    leaf = site_of(str(tree.root("app")), core=str(tree.core))
    assert prove.breaks(leaf, Transaction(items=(item("remove", "app-data", "1"),))) == []


def test_a_transaction_may_bring_what_the_descendants_need(tree: Tree) -> None:
    site = site_of(str(tree.root("platform")), core=str(tree.core))
    folder = tree.maker.folder / "next"
    same = ["libui.so.1()(64bit)"]
    good = tree.maker.rpm("plat-ui", "3", provides=same, folder=folder)
    bad = tree.maker.rpm("plat-ui", "4", provides=same, conflicts=["app-nav"], folder=folder)
    for path, version, breaks in ((good, "3", False), (bad, "4", True)):
        up = item(
            "upgrade", "plat-ui", version, repo=COMMAND_LINE, location=path, replaces=("plat-ui-2-1.x86_64",)
        )
        assert bool(prove.breaks(site, Transaction(items=(up,)))) is breaks


# ---- audit ----


def test_an_audit_names_what_is_not_as_it_was_built(tree: Tree, redpak: Program) -> None:
    ran = redpak("node", "audit", tree.root("app"), "--all", "--core-os", tree.core)
    assert (ran.code, "BAD" in ran.out) == (0, False), ran
    (tree.root("platform") / "usr/bin/ui").write_text("#! mine\n")
    (tree.root("platform") / "usr/bin/more").write_text("#! mine\n")
    assert redpak("node", "audit", tree.root("app"), "--core-os", tree.core).code == 0
    ran = redpak("node", "audit", tree.root("app"), "--all", "--core-os", tree.core, "--json")
    assert ran.code == 1
    found = {
        one["alias"]: [(f["kind"], f["file"]) for f in one["findings"]]
        for one in json.loads(ran.out)["nodes"]
    }
    assert found["platform"] == [("changed-file", "/usr/bin/ui"), ("unowned-file", "/usr/bin/more")]
    assert found["app"] == []


def test_an_audit_of_no_node_is_told(redpak: Program, tmp_path: Path) -> None:
    assert redpak("node", "audit", tmp_path).code == 4
