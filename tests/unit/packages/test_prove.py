"""Packages proven over one pool and by a walk over sets; what a change would break."""

from __future__ import annotations

import random

import pytest

from redpak.errors import RedpakError
from redpak.packages import edges, prove, richdep, whatif
from redpak.packages.coming import deps
from redpak.packages.edges import Tree, overlap
from redpak.packages.facts import Facts, Place

OPERATORS = ("and", "or", "if", "else", "with", "without")


def package(name: str, version: str = "1", **said: object) -> Facts:
    """Return a package; dependencies as texts, files as paths."""
    evr = f"{version}-1"
    given = {kind: deps(said.get(kind, ())) for kind in ("provides", "requires", "conflicts", "obsoletes")}  # type: ignore[arg-type]
    files = tuple((path, 0o100644, "aa", "", 0, 0) for path in said.get("files", ()))  # type: ignore[attr-defined]
    return Facts((
        name, 0, version, "1", "x86_64", ((name, 8, evr), *given["provides"]), given["requires"], given["conflicts"],
        given["obsoletes"], files, "",
    ))  # fmt: skip


def family(*members: list[Facts]) -> list[Place]:
    """Return databases that stand on each other: core OS, platform, app."""
    names = ("core OS", "platform", "app", "leaf")
    return [
        Place(name=names[at], path=f"/{names[at]}", parent=at - 1, packages=tuple(packages))
        for at, packages in enumerate(members)
    ]


def kinds(places: list[Place]) -> list[tuple[str, str, str]]:
    """Return kind, node and package of everything that a proof finds."""
    verdicts = prove.prove(places, arch="x86_64")
    return [(one.kind, one.name, one.package) for at in sorted(verdicts) for one in verdicts[at].findings]


# What rpm's own comparison says (rpm.ds of rpm 4.18).
@pytest.mark.parametrize(
    ("provided", "wanted", "meets"),
    [
        ("a = 1", "a > 1-1", True),
        ("a = 1", "a < 1-2", True),
        ("a = 1-1", "a > 1", False),
        ("a = 1-1", "a < 1", False),
        ("a < 1-1", "a = 1", True),
        ("a < 1", "a = 1-1", False),
        ("a >= 1", "a < 1-2", True),
        ("a = 1", "a = 1-7", True),
        ("a", "a >= 9", True),
        ("a = 0:1", "a = 1", True),
        ("a = 1:1", "a = 1", False),
        ("a = 1~rc", "a < 1", True),
        ("a = 1^git", "a > 1", True),
        ("a < 2", "a > 2", False),
        ("a <= 2", "a >= 2", True),
        ("a > 1", "a > 9", True),
    ],
)
def test_ranges_overlap_as_rpm_says(provided: str, wanted: str, meets: bool) -> None:
    (one,), (two,) = deps([provided]), deps([wanted])
    assert overlap(one, two) is overlap(two, one) is meets


@pytest.mark.parametrize(
    ("text", "have", "true"),
    [
        ("(a and b)", "a b", True), ("(a and b)", "a", False), ("(a or b or c)", "c", True), ("(a if b)", "", True),
        ("(a if b)", "b", False), ("(a if b else c)", "c", True), ("(a if b else c)", "a", False),
        ("(a unless b)", "a", True), ("(a unless b)", "a b", False), ("(a unless b else c)", "b c", True),
        ("((a and b) or (c if d))", "d", False), ("(lib.so()(64bit) or b)", "lib.so()(64bit)", True),
        ("(a with b)", "a b", False), ("(a without b)", "a b", True), ("(a >= 2 or b)", "b", True),
    ],
)  # fmt: skip
def test_a_rich_dependency_is_a_formula(text: str, have: str, true: bool) -> None:
    there = {name: {number} for number, name in enumerate(have.split())}
    assert richdep.holds(richdep.parse(text), lambda dep: there.get(dep[0], set())) is true


def test_with_asks_for_one_package_that_has_both() -> None:
    there = {"a": {1, 2}, "b": {2, 3}}
    assert richdep.meeting(richdep.parse("(a with b)"), lambda dep: there[dep[0]]) == {2}
    assert richdep.meeting(richdep.parse("(a without b)"), lambda dep: there[dep[0]]) == {1}


@pytest.mark.parametrize(
    "text", ["(a", "(a and)", "(a and b or c)", "a and b", "(a b)", "()", "(a and b) c", "(a < )"]
)
def test_what_is_no_formula_is_refused(text: str) -> None:
    with pytest.raises(RedpakError, match="is no dependency"):
        richdep.parse(text)


def test_a_sound_family_has_no_findings() -> None:
    places = family(
        [package("glibc", provides=["libc.so.6"]), package("sh", files=["/bin/sh"])],
        [package("ui", "2", requires=["libc.so.6", "/bin/sh"], conflicts=["app-old"])],
        [package("app", requires=["ui >= 2", "(ui with ui)", "(nothing if absent)"])],
    )
    assert kinds(places) == []
    assert all(one.satisfiable for one in prove.prove(places, arch="x86_64").values())


def test_what_is_installed_already_is_no_excuse() -> None:
    """A proof that only asks to keep what is installed would be green here."""
    assert kinds(family([], [package("ui", requires=["libgone.so.1"])])) == [
        ("missing-requirement", "platform", "ui-1-1.x86_64")
    ]


def test_a_parent_is_not_helped_by_its_child() -> None:
    places = family([], [package("ui", requires=["late"])], [package("late")])
    assert kinds(places) == [("missing-requirement", "platform", "ui-1-1.x86_64")]
    verdicts = prove.prove(places, arch="x86_64")
    assert not verdicts[1].satisfiable
    assert (
        "late-1-1.x86_64 [app] provides late, but not to this node: it is no ancestor"
        in verdicts[1].findings[0].chain
    )


def test_siblings_do_not_meet() -> None:
    places = [
        *family([], [package("a", conflicts=["b"])]),
        Place(name="other", path="/o", parent=0, packages=(package("b"),)),
    ]
    assert kinds(places) == []


@pytest.mark.parametrize(
    ("above", "below", "kind", "who"),
    [
        ({"conflicts": ["mine"]}, {}, "conflict", "theirs"), ({}, {"conflicts": ["theirs < 2"]}, "conflict", "mine"),
        ({"obsoletes": ["mine"]}, {}, "obsoleted", "theirs"), ({}, {"obsoletes": ["theirs <= 1"]}, "obsoleted", "mine"),
        ({"requires": ["(x if mine)"]}, {}, "missing-requirement", "theirs"),
    ],
)  # fmt: skip
def test_a_clash_across_nodes_shows_in_the_younger_one(
    above: dict[str, list[str]], below: dict[str, list[str]], kind: str, who: str
) -> None:
    assert kinds(family([], [package("theirs", "1", **above)], [package("mine", "1", **below)])) == [
        (kind, "app", f"{who}-1-1.x86_64")
    ]


def test_obsoletes_go_by_names_and_conflicts_by_what_is_provided() -> None:
    other = package("real", provides=["virtual"])
    assert kinds(family([other], [package("a", obsoletes=["virtual"])])) == []
    assert kinds(family([other], [package("a", conflicts=["virtual"])])) == [
        ("conflict", "platform", "a-1-1.x86_64")
    ]
    assert kinds(family([], [package("a", provides=["virtual"], conflicts=["virtual"])])) == []


def test_a_package_is_not_there_twice_but_kernels_may_be() -> None:
    assert kinds(family([package("a")], [package("a", "2")])) == [("duplicate", "platform", "a-2-1.x86_64")]
    kernels = [package("k", version, provides=["kernel"]) for version in ("1", "2")]
    assert kinds(family(kernels)) == []


@pytest.mark.parametrize("seed", range(12))
def test_solver_and_walk_agree_on_random_trees(seed: int) -> None:
    chosen = random.Random(seed)
    for _ in range(40):
        found = kinds(family(*(made(chosen, letters) for letters in ("ab", "cd", "ef"))))
        assert "disagreement" not in {kind for kind, _, _ in found}


def made(chosen: random.Random, names: str) -> list[Facts]:
    """Return packages with random dependencies among six names; no formula speaks of its own package."""
    found = []
    for name in names:
        others = [other for other in ("a", "b", "c", "d", "e", "f", "x") if other != name]

        def plain(others: list[str] = others) -> str:
            sign = chosen.choice(["", " >= 1", " = 1-1", " > 1", " < 2"])
            return chosen.choice(others) + sign

        def rich(plain: object = plain) -> str:
            one, two, three = plain(), plain(), plain()  # type: ignore[operator]
            word = chosen.choice(OPERATORS)
            return f"({one} if {two} else {three})" if word == "else" else f"({one} {word} {two})"

        requires = [chosen.choice([plain, rich])() for _ in range(chosen.choice([0, 0, 1, 2]))]
        conflicts = [plain()] if chosen.random() < 0.15 else []
        obsoletes = [plain()] if chosen.random() < 0.1 else []
        provides = [chosen.choice(["x", "x = 1", "x = 2-1"])] if chosen.random() < 0.3 else []
        version = chosen.choice(["1", "2"])
        found.append(
            package(
                name, version, requires=requires, conflicts=conflicts, obsoletes=obsoletes, provides=provides
            )
        )
    return found


# ---- what if ----


def pool() -> list[Place]:
    """Return a core OS, a platform and an app on it, and another node beside."""
    return [
        *family(
            [package("z", provides=["libz.so.1"]), package("base")],
            [package("ui", requires=["libz.so.1"])],
            [package("app", requires=["ui"])],
        ),
        Place(name="tool", path="/tool", parent=0, packages=(package("tool", requires=["base"]),)),
    ]


def test_a_new_soname_breaks_whoever_needs_the_old_one_and_says_along_which_way() -> None:
    places = pool()
    change = whatif.change(0, places[0].packages, goes=(), comes=[package("z", "2", provides=["libz.so.2"])])
    assert change.goes == ("z-1-1.x86_64",)
    platform, app = whatif.harms(places, [change], arch="x86_64")
    assert (places[platform.place].name, platform.inherited) == ("platform", False)
    assert platform.findings[0].text == "nothing provides libz.so.1 needed by ui-1-1.x86_64 [platform]"
    assert platform.findings[0].chain[0] == "z-1-1.x86_64 [core OS] provides libz.so.1, and goes"
    assert (places[app.place].name, app.inherited) == ("app", True)
    assert app.telling[0].chain[-1] == "ui-1-1.x86_64 [platform] is needed by app-1-1.x86_64 [app]"


def test_a_new_conflict_is_named_where_it_strikes() -> None:
    places = pool()
    change = whatif.change(0, places[0].packages, goes=(), comes=[package("base", "2", conflicts=["app"])])
    (harm,) = whatif.harms(places, [change], arch="x86_64")
    assert places[harm.place].name == "app"
    assert harm.findings[0].kind == "conflict"


def test_what_was_broken_before_is_not_the_changes_fault() -> None:
    places = pool()
    places[3] = places[3].but(packages=(package("tool", requires=["never"]),))
    change = whatif.change(0, places[0].packages, goes=["base-1-1.x86_64"], comes=[])
    assert whatif.harms(places, [change], arch="x86_64") == []


def test_an_update_takes_the_place_of_what_it_obsoletes() -> None:
    old = [package("old", provides=["thing"]), package("stays")]
    change = whatif.change(0, old, goes=(), comes=[package("new", obsoletes=["old < 2"], provides=["thing"])])
    assert change.goes == ("old-1-1.x86_64",)
    (after,) = whatif.applied(family(old), [change])
    assert [one.name for one in after.packages] == ["stays", "new"]


def test_several_changes_are_tried_together() -> None:
    places = pool()
    changes = [
        whatif.change(0, places[0].packages, goes=(), comes=[package("z", "2", provides=["libz.so.2"])]),
        whatif.change(1, places[1].packages, goes=(), comes=[package("ui", "2", requires=["libz.so.2"])]),
    ]
    assert whatif.harms(places, changes, arch="x86_64") == []


def test_every_broken_edge_is_listed_not_one_a_package() -> None:
    tree = Tree(family([package("a", requires=["x", "y", "z"])]))
    assert [edge.dep[0] for edge in tree.broken(0)] == ["x", "y", "z"]
    assert isinstance(tree.broken(0)[0], edges.Broken)
