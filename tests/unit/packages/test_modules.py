"""Module metadata decides which packages are not to be chosen, and says why."""

from __future__ import annotations

from pathlib import Path

import pytest

from redpak.errors import RedpakError
from redpak.packages import modules
from redpak.packages.goal import Goal
from redpak.packages.metadata import sync
from redpak.packages.model import Layer, Site
from redpak.packages.problems import Unsolvable
from redpak.packages.repoconfig import RepoConfig
from redpak.packages.universe import Universe
from redpak.packages.wishes import NoMatch
from tests.rpms import Maker

pytestmark = pytest.mark.needs("rpm")


def stream(name: str, version: str, *rpms: str, build: int = 1) -> str:
    listed = "".join(f"    - {rpm}\n" for rpm in rpms)
    return (
        f'---\ndocument: modulemd\nversion: 2\ndata:\n  name: {name}\n  stream: "{version}"\n  version: {build}\n'
        f"  context: abc\n  arch: x86_64\n  artifacts:\n    rpms:\n{listed}...\n"
    )


def default(name: str, version: str) -> str:
    return (
        f'---\ndocument: modulemd-defaults\nversion: 1\ndata:\n  module: {name}\n  stream: "{version}"\n...\n'
    )


TEXT = (
    stream("js", "18", "js-0:18.1-1.x86_64", "npm-2:9-1.x86_64", build=20)
    + stream("js", "18", "js-0:18.0-1.x86_64", build=10)
    + stream("js", "20", "js-0:20.0-1.x86_64")
    + stream("perl", "5", "perl-0:5-1.x86_64")
    + default("js", "18")
)


def test_streams_and_defaults_are_read() -> None:
    found = modules.parse(TEXT.encode(), what="modules")
    assert [(one.label, one.version) for one in found.streams] == [
        ("js:18", 20), ("js:18", 10), ("js:20", 1), ("perl:5", 1),
    ]  # fmt: skip
    assert found.streams[0].packages == ("js-18.1-1.x86_64", "npm-2:9-1.x86_64")
    assert found.defaults == (("js", "18"),)


def test_only_the_newest_build_of_default_streams_can_be_chosen() -> None:
    rules = modules._filter([modules.parse(TEXT.encode(), what="modules")])
    assert rules.why("js", "js-18.1-1.x86_64") == ""
    assert rules.why("npm", "npm-2:9-1.x86_64") == ""
    assert rules.why("js", "js-18.0-1.x86_64") == "it belongs to an older build of module stream js:18"
    assert rules.why("js", "js-20.0-1.x86_64") == "it belongs to module stream js:20, which is not enabled"
    assert rules.why("perl", "perl-5-1.x86_64") == "it belongs to module stream perl:5, which is not enabled"
    assert rules.why("js", "js-30-1.x86_64") == "module stream js:18 takes its place"
    assert rules.why("js", "js-30-1.x86_64", hotfix=True) == ""
    assert rules.why("other", "other-1-1.x86_64") == ""


def test_two_defaults_are_none() -> None:
    rules = modules._filter([modules.parse((TEXT + default("js", "20")).encode(), what="modules")])
    assert "not enabled" in rules.why("js", "js-18.1-1.x86_64")


def test_a_repository_brings_its_modules(tmp_path: Path) -> None:
    maker = Maker(tmp_path)
    folder = maker.repo("pool", [maker.rpm("js", "20.0")], modules=TEXT)
    layer = Layer(name="node", kind="node", path=str(tmp_path / "node"), database="rpm", locked=False)
    site = Site(
        path=layer.path, is_node=True, layers=(layer,), arch="x86_64", cachedir=str(tmp_path / "cache")
    )
    found = sync([RepoConfig(id="pool", baseurl=(f"file://{folder}",))], site=site)
    for _ in range(2):  # read, then kept
        assert "js:20, which is not enabled" in modules.filter_of(found).why("js", "js-20.0-1.x86_64")
    assert not modules.filter_of([])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: &x [1]\nb: *x\n", "aliases"),
        ("[" * 5000, "nested too deeply"),
        ("a: [", "is no YAML"),
        ("a: b: c", "is no YAML"),
    ],
)
def test_hostile_documents_are_refused(text: str, told: str) -> None:
    with pytest.raises(RedpakError, match=told):
        modules.parse(text.encode(), what="modules")


def test_documents_of_other_kinds_mean_nothing() -> None:
    assert (
        modules.parse(b"--- just text\n...\n---\n- 1\n---\ndocument: modulemd\ndata: x\n", what="m")
        == modules.Modules()
    )


def test_the_solver_never_chooses_what_modules_hide(tmp_path: Path) -> None:
    maker = Maker(tmp_path)
    rpms = [maker.rpm("js", "18.1"), maker.rpm("js", "20.0"), maker.rpm("js", "30"), maker.rpm("perl", "5")]
    rpms.append(maker.rpm("app", requires=["perl"]))
    folder = maker.repo("pool", rpms, modules=TEXT)
    layer = Layer(name="node", kind="node", path=str(tmp_path / "node"), database="none", locked=False)
    site = Site(
        path=layer.path, is_node=True, layers=(layer,), arch="x86_64", cachedir=str(tmp_path / "cache")
    )
    found = sync([RepoConfig(id="pool", baseurl=(f"file://{folder}",))], site=site)
    universe = Universe((layer,), found, arch="x86_64", cachedir=site.cachedir)
    goal = Goal(universe)
    goal.install("js")
    assert [item.nevra for item in goal.resolve().items] == ["js-18.1-1.x86_64"]
    with pytest.raises(NoMatch, match="modular filtering for argument: perl") as caught:
        Goal(universe).install("perl")
    assert "it belongs to module stream perl:5, which is not enabled" in caught.value.hint
    goal = Goal(universe)
    goal.install("app")
    with pytest.raises(Unsolvable) as broken:
        goal.resolve()
    assert "module stream perl:5" in f"{broken.value.message}{broken.value.__dict__}"
