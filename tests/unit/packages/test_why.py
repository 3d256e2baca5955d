"""Why a package is there: chains across layers, weak links, and who would miss it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from redpak.packages import core, why
from redpak.packages.header import Header, from_rpm
from redpak.packages.model import Layer
from redpak.packages.needs import Network
from redpak.packages.universe import Universe
from redpak.packages.why import Reasoned, Step
from tests.rpms import Maker


class Family:
    """Databases with packages, and reasons by package name."""

    def __init__(self, folder: Path) -> None:
        self.maker = Maker(folder)
        self.places: list[tuple[str, str, int, list[Header]]] = []
        self.reasons: dict[str, str] = {}

    def layer(self, name: str, parent: int, **packages: dict[str, Any]) -> None:
        headers = [
            from_rpm(self.maker.rpm(package.replace("_", "-"), arch="noarch", **more))[1]
            for package, more in packages.items()
        ]
        self.places.append((name, f"/{name}", parent, headers))

    def ask(self, spec: str) -> Reasoned:
        network = Network(self.places)
        needed = {need.provider for need in network.needs}

        def reason(at: int) -> str:
            return self.reasons.get(network.tree.packages[at].name, "unknown")

        def asked(at: int) -> bool:
            return reason(at) == "user" or (reason(at) == "unknown" and at not in needed)

        found = why.explain(network, why.find(network, spec), asked, reason)
        assert len(found) == 1
        return found[0]


@pytest.fixture
def family(tmp_path: Path) -> Family:
    made = Family(tmp_path)
    made.layer("core", -1, libc={})
    made.layer("platform", 0, ui={"requires": ["libc", "bus"]}, bus={"requires": ["libc"]})
    made.layer("app", 1, nav={"requires": ["ui", "map"], "recommends": ["voice"]}, map={}, voice={})
    made.layer("other", 1, game={"requires": ["bus"]})
    made.reasons = {"ui": "user", "bus": "dependency", "nav": "user", "map": "dependency", "voice": "weak"}
    return made


def test_the_way_is_the_shortest_one_link_by_link(family: Family) -> None:
    answer = family.ask("bus")
    assert (answer.nevra, answer.layer, answer.reason) == ("bus-1-1.noarch", "platform", "dependency")
    assert answer.steps == (
        Step(nevra="ui-1-1.noarch", layer="platform"),
        Step(nevra="bus-1-1.noarch", layer="platform", kind="requires", dep="bus"),
    )


def test_siblings_and_children_miss_what_goes(family: Family) -> None:
    answer = family.ask("bus")
    assert [(user.nevra, user.layer, user.misses) for user in answer.users] == [
        ("ui-1-1.noarch", "platform", True),
        ("game-1-1.noarch", "other", True),
    ]
    assert answer.lost == ("game-1-1.noarch", "nav-1-1.noarch", "ui-1-1.noarch")


def test_what_was_asked_for_needs_no_way(family: Family) -> None:
    answer = family.ask("nav")
    assert answer.steps == (Step(nevra="nav-1-1.noarch", layer="app"),)
    assert answer.users == () and answer.lost == ()


def test_a_weak_link_is_named_and_nobody_misses_it(family: Family) -> None:
    answer = family.ask("voice")
    assert [(step.nevra, step.kind) for step in answer.steps] == [
        ("nav-1-1.noarch", ""),
        ("voice-1-1.noarch", "recommends"),
    ]
    assert not answer.users[0].misses
    assert answer.lost == ()


def test_a_package_of_the_core_is_reached_from_a_node(family: Family) -> None:
    answer = family.ask("libc")
    assert [step.nevra for step in answer.steps] == ["ui-1-1.noarch", "libc-1-1.noarch"]
    assert len(answer.lost) == 4


def test_another_provider_keeps_a_user_alive(tmp_path: Path) -> None:
    family = Family(tmp_path)
    family.layer("core", -1, mail={"provides": ["mta"]})
    family.layer(
        "app",
        0,
        post={"provides": ["mta"]},
        cron={"requires": ["mta"]},
        rich={"requires": ["(post or mail)"]},
    )
    answer = family.ask("post")
    assert {(user.nevra, user.misses) for user in answer.users} == {
        ("cron-1-1.noarch", False), ("rich-1-1.noarch", False),
    }  # fmt: skip
    assert answer.lost == ()


def test_what_nobody_asked_for_says_so(tmp_path: Path) -> None:
    family = Family(tmp_path)
    family.layer("app", -1, left={}, ring_a={"requires": ["ring-b"]}, ring_b={"requires": ["ring-a"]})
    family.reasons = {"left": "dependency"}
    assert family.ask("left").steps == ()
    assert family.ask("ring-a").steps == ()


def test_a_sibling_does_not_help(tmp_path: Path) -> None:
    family = Family(tmp_path)
    family.layer("core", -1)
    family.layer("one", 0, lib={})
    family.layer("two", 0, user={"requires": ["lib"]})
    assert family.ask("lib").users == ()


@pytest.mark.parametrize("spec", ["ui", "ui.noarch", "ui-1", "ui-1-1", "ui-1-1.noarch", "u?"])
def test_packages_are_named_in_many_ways(family: Family, spec: str) -> None:
    assert family.ask(spec).nevra == "ui-1-1.noarch"


def test_the_solver_finds_the_same_providers(tmp_path: Path) -> None:
    maker = Maker(tmp_path)
    rpms = [
        maker.rpm("a", "2", epoch=1, arch="noarch", provides=["cap = 1.5", "any", "lib.so(V1)(64bit)"]),
        maker.rpm(
            "b", "1", arch="noarch", provides=["cap = 1.4~rc1-3", "any = 7"], files={"/usr/share/b": "x"}
        ),
        maker.rpm("c", "3^git", arch="noarch", files={"/usr/bin/c": "x"}),
    ]
    words = ["a", "a >= 2", "a >= 1:2", "a = 1:2-1", "a < 3", "cap", "cap > 1.4", "cap >= 1.4", "cap = 1.4~rc1",
             "cap < 1.5", "any = 3", "any > 6", "c > 3", "c <= 3", "c = 3^git-1", "/usr/share/b", "/usr/bin/c",
             "lib.so(V1)(64bit)", "nobody"]  # fmt: skip
    asking = [maker.rpm(f"q{at}", arch="noarch", requires=[word]) for at, word in enumerate(words)]
    maker.database([*rpms, *asking], tmp_path / "db")
    layer = Layer(name="n", kind="node", path="/n", database="rpm", rpmdb=str(tmp_path / "db"), locked=False)
    universe = Universe([layer], arch="x86_64", cachedir=str(tmp_path / "cache"))
    network = Network([("n", "/n", -1, core.headers(layer))])
    mine: dict[str, set[str]] = {}
    for need in network.needs:
        user, provider = (network.tree.packages[at].name for at in (need.user, need.provider))
        mine.setdefault(user, set()).add(provider)
    for at, word in enumerate(words):
        assert mine.get(f"q{at}", set()) == {one.name for one in universe.query().providing([word])}, word
