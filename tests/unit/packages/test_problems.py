"""The texts are those that dnf 4.14 prints for the same repositories."""

from __future__ import annotations

from pathlib import Path

import pytest

from redpak.packages.problems import Unsolvable, sentences
from tests.universes import Worlds


@pytest.fixture
def worlds(tmp_path: Path) -> Worlds:
    worlds = Worlds(tmp_path)
    rpm = worlds.rpm
    worlds.repo(
        "main", rpm("broken", requires=["missing >= 3"]), rpm("top", requires=["broken"]), rpm("web"),
        rpm("rival", conflicts=["web"]), rpm("foreign", arch="aarch64"), rpm("heir", "2", obsoletes=["old < 2"]),
        rpm("selfish", conflicts=["thing"], provides=["thing"]), rpm("user", requires=["hidden"]), rpm("hidden"),
        rpm("old"),
    )  # fmt: skip
    return worlds


def failure(worlds: Worlds, *specs: str, installed: tuple[str, ...] = (), **options: bool) -> Unsolvable:
    goal = worlds.goal(*installed, excludes=["hidden"])
    for spec in specs:
        goal.install(spec)
    with pytest.raises(Unsolvable) as error:
        goal.resolve(**options)
    return error.value


@pytest.mark.parametrize(
    ("specs", "text"),
    [
        (
            ("broken",),
            "Problem: conflicting requests\n  - nothing provides missing >= 3 needed by broken-1-1.x86_64",
        ),
        (
            ("top",),
            "Problem: package top-1-1.x86_64 requires broken, but none of the providers can be installed\n"
            "  - conflicting requests\n  - nothing provides missing >= 3 needed by broken-1-1.x86_64",
        ),
        (
            ("web", "rival"),
            "Problem: package rival-1-1.x86_64 conflicts with web provided by web-1-1.x86_64\n"
            "  - conflicting requests",
        ),
        (
            ("foreign",),
            "Problem: conflicting requests\n"
            "  - package foreign-1-1.aarch64 does not have a compatible architecture",
        ),
        (
            ("old-1", "heir"),
            "Problem: package heir-2-1.x86_64 obsoletes old < 2 provided by old-1-1.x86_64\n"
            "  - conflicting requests",
        ),
        (
            ("user",),
            "Problem: package user-1-1.x86_64 requires hidden, but none of the providers can be installed\n"
            "  - conflicting requests\n  - package hidden-1-1.x86_64 is filtered out by exclude filtering",
        ),
    ],
)
def test_a_problem_is_told_in_dnfs_words(worlds: Worlds, specs: tuple[str, ...], text: str) -> None:
    assert failure(worlds, *specs).message.lstrip("\n ") == text


def test_several_problems_are_numbered(worlds: Worlds) -> None:
    text = failure(worlds, "broken", "foreign").message
    assert text.startswith("\n Problem 1: ") and "\n Problem 2: " in text


def test_each_link_says_where_its_packages_live(worlds: Worlds) -> None:
    error = failure(worlds, "rival", installed=(worlds.rpm("web"),))
    (link,) = [link for link in error.chain if "conflicts" in link.text]
    assert [(place.nevra, place.where) for place in link.places] == [
        ("rival-1-1.x86_64", "main"), ("web-1-1.x86_64", "node"),
    ]  # fmt: skip
    shown = sentences(error.problems, layers=True)
    assert "provided by web-1-1.x86_64 [rival-1-1.x86_64: main; web-1-1.x86_64: node]" in shown
    assert all("[" not in line for line in error.message.splitlines())


def test_what_would_help_is_told(worlds: Worlds) -> None:
    one = failure(worlds, "rival", installed=(worlds.rpm("web"),))
    assert one.helps == ("allow that web-1-1.x86_64 (node) is removed",)
    assert set(failure(worlds, "heir", "old-1").helps) == {"do not install heir", "do not install old-1"}
    assert failure(worlds, "broken").helps == ("enable a repository that offers missing >= 3",)
    assert failure(worlds, "user").helps == ("do not exclude hidden-1-1.x86_64",)


def test_nothing_that_would_touch_an_ancestor_is_proposed(worlds: Worlds) -> None:
    goal = worlds.goal(above=[worlds.layer("core OS", worlds.rpm("web"))])
    goal.install("rival")
    with pytest.raises(Unsolvable) as error:
        goal.resolve()
    assert error.value.helps == ()
    assert "'web-1-1.x86_64' of core OS" in error.value.hint
