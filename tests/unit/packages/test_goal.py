from __future__ import annotations

from pathlib import Path

import pytest

from redpak.packages.advisories import Wanted
from redpak.packages.goal import Goal, NoMatch, Policy
from redpak.packages.problems import Unsolvable
from tests.universes import Worlds, done


@pytest.fixture
def worlds(tmp_path: Path) -> Worlds:
    return Worlds(tmp_path)


def reasons_of(goal: Goal, **options: bool) -> dict[str, str]:
    return {item.name: item.reason for item in goal.resolve(**options).items}


def test_install_brings_what_is_required_and_recommended_and_says_why(worlds: Worlds) -> None:
    app = worlds.rpm("app", requires=["lib"], recommends=["docs"], suggests=["more"])
    worlds.repo("main", app, *(worlds.rpm(name) for name in ("lib", "docs", "more")))
    goal = worlds.goal()
    goal.install("app")
    assert reasons_of(goal) == {"app": "user", "lib": "dependency", "docs": "weak"}
    assert reasons_of(goal, weak_deps=False) == {"app": "user", "lib": "dependency"}


def test_an_item_says_all_that_downloading_needs(worlds: Worlds) -> None:
    worlds.repo("main", worlds.rpm("app", "1", "2", epoch=3))
    goal = worlds.goal()
    goal.install("app")
    (item,) = goal.resolve().items
    assert (item.nevra, item.repo, item.location) == (
        "app-3:1-2.x86_64",
        "main",
        "Packages/app-1-2.x86_64.rpm",
    )
    assert item.checksum.startswith("sha256:") and item.download_size > 0


def test_an_item_says_what_made_the_solver_choose_it(worlds: Worlds) -> None:
    app = worlds.rpm("app", requires=["lib >= 1"], recommends=["docs"])
    worlds.repo("main", app, worlds.rpm("lib"), worlds.rpm("docs"), worlds.rpm("extra", supplements=["lib"]))
    goal = worlds.goal()
    goal.install("app")
    assert {item.name: item.because for item in goal.resolve().items} == {
        "app": "asked for",
        "lib": "app-1-1.x86_64 requires lib >= 1",
        "docs": "app-1-1.x86_64 recommends docs",
        "extra": "extra-1-1.x86_64 supplements lib",
    }


def test_what_an_ancestor_has_is_used_and_not_installed_again(worlds: Worlds) -> None:
    lib = worlds.rpm("lib", "1")
    worlds.repo("main", lib, worlds.rpm("lib", "2"), worlds.rpm("app", requires=["lib"]))
    goal = worlds.goal(above=[worlds.layer("core OS", lib)])
    goal.install("app")
    assert done(goal.resolve()) == ["install app-1-1.x86_64"]


def test_a_package_of_an_ancestor_counts_as_installed_also_when_a_newer_one_is_offered(
    worlds: Worlds,
) -> None:
    worlds.repo("main", worlds.rpm("lib", "2"))
    goal = worlds.goal(above=[worlds.layer("core OS", worlds.rpm("lib", "1"))])
    goal.install("lib")
    assert [note.text for note in goal.notes] == ["Package lib-1-1.x86_64 is already installed (in core OS)."]
    assert not goal.resolve()


@pytest.mark.parametrize("allow_erasing", [False, True])
@pytest.mark.parametrize(
    ("wish", "relation"),
    [("lib-2", {}), ("rival", {"conflicts": ["lib"]}), ("heir", {"obsoletes": ["lib < 9"]}),
     ("picky", {"requires": ["lib >= 2"]})],
)  # fmt: skip
def test_an_ancestors_package_is_never_touched_and_the_error_names_it(
    worlds: Worlds, wish: str, relation: dict[str, list[str]], allow_erasing: bool
) -> None:
    worlds.repo("main", worlds.rpm("lib", "2"), worlds.rpm(wish.partition("-")[0], "2", **relation))  # type: ignore[arg-type]
    goal = worlds.goal(above=[worlds.layer("core OS", worlds.rpm("lib", "1"))])
    goal.install(wish)
    with pytest.raises(Unsolvable) as error:
        goal.resolve(allow_erasing=allow_erasing)
    (place,) = {place for problem in error.value.problems for place in problem.locked}
    assert (place.nevra, place.layer) == ("lib-1-1.x86_64", "core OS")
    assert "'lib-1-1.x86_64' of core OS" in error.value.hint


def test_an_answer_that_leaves_ancestors_alone_is_preferred(worlds: Worlds) -> None:
    worlds.repo(
        "main", worlds.rpm("lib", "2"), worlds.rpm("app", "2", requires=["lib >= 2"]),
        worlds.rpm("app", "1", requires=["lib"]),
    )  # fmt: skip
    goal = worlds.goal(above=[worlds.layer("core OS", worlds.rpm("lib", "1"))])
    goal.install("app")
    assert done(goal.resolve(best=False)) == ["install app-1-1.x86_64"]


@pytest.mark.parametrize("act", ["remove", "upgrade", "downgrade", "reinstall", "distro_sync"])
def test_changing_what_an_ancestor_has_is_refused_with_its_name(worlds: Worlds, act: str) -> None:
    lib = worlds.rpm("lib", "2")
    worlds.repo("main", lib, worlds.rpm("lib", "1"), worlds.rpm("lib", "3"))
    goal = worlds.goal(above=[worlds.layer("core OS", lib)])
    with pytest.raises(NoMatch, match="'core OS'") as error:
        getattr(goal, act)("lib")
    assert (error.value.spec, error.value.kind) == ("lib", "locked")


@pytest.mark.parametrize("act", ["upgrade", "distro_sync", "autoremove"])
def test_changing_everything_means_this_layer_only(worlds: Worlds, act: str) -> None:
    worlds.repo("main", worlds.rpm("lib", "2"), worlds.rpm("heir", obsoletes=["old"]), worlds.rpm("app", "2"))
    core = worlds.layer("core OS", worlds.rpm("lib", "1"), worlds.rpm("old"))
    goal = worlds.goal(worlds.rpm("app", "1"), above=[core])
    getattr(goal, act)()
    assert done(goal.resolve()) == ([] if act == "autoremove" else ["upgrade app-2-1.x86_64"])


def test_removing_takes_along_what_only_it_needed(worlds: Worlds) -> None:
    rpms = [
        worlds.rpm("app", requires=["lib"]),
        worlds.rpm("lib"),
        worlds.rpm("other"),
        worlds.rpm("user", requires=["app"]),
    ]
    goal = worlds.goal(*rpms, reasons={"lib.x86_64": "dependency", "user.x86_64": "user"})
    goal.remove("app")
    assert reasons_of(goal, allow_erasing=True) == {"app": "user", "lib": "clean", "user": "dependency"}
    kept = worlds.goal(
        policy=Policy(clean_requirements_on_remove=False), reasons={"lib.x86_64": "dependency"}
    )
    kept.remove("app")
    assert set(reasons_of(kept, allow_erasing=True)) == {"app", "user"}


def test_what_depends_on_a_removed_package_is_only_removed_when_that_is_allowed(worlds: Worlds) -> None:
    goal = worlds.goal(worlds.rpm("app", requires=["lib"]), worlds.rpm("lib"))
    goal.remove("lib")
    with pytest.raises(Unsolvable):
        goal.resolve()
    assert done(goal.resolve(allow_erasing=True)) == ["remove app-1-1.x86_64", "remove lib-1-1.x86_64"]


def test_protected_packages_stay(worlds: Worlds) -> None:
    rpms = [worlds.rpm("app", requires=["lib"]), worlds.rpm("lib")]
    for name in ("lib", "app"):
        goal = worlds.goal(*rpms, policy=Policy(protected_packages=("a*",)))
        goal.remove(name)
        with pytest.raises(
            Unsolvable, match="would result in removing the following protected packages: app"
        ):
            goal.resolve(allow_erasing=True)


def test_autoremove_takes_what_nobody_asked_for(worlds: Worlds) -> None:
    goal = worlds.goal(worlds.rpm("app"), worlds.rpm("left"), reasons={"left.x86_64": "dependency"})
    goal.autoremove()
    assert done(goal.resolve()) == ["remove left-1-1.x86_64"]


def test_an_upgrade_keeps_the_reason_and_names_what_it_replaces(worlds: Worlds) -> None:
    worlds.repo("main", worlds.rpm("lib", "2"), worlds.rpm("new", "2", obsoletes=["old < 2"]))
    goal = worlds.goal(worlds.rpm("lib", "1"), worlds.rpm("old", "1"), reasons={"lib.x86_64": "dependency"})
    goal.upgrade()
    lib, new = sorted(goal.resolve().items, key=lambda item: item.name)
    assert (lib.action, lib.reason, lib.replaces, lib.obsoletes) == (
        "upgrade",
        "dependency",
        ("lib-1-1.x86_64",),
        (),
    )
    assert (new.action, new.replaces, new.obsoletes) == ("install", ("old-1-1.x86_64",), ("old-1-1.x86_64",))


def test_obsoletes_can_be_switched_off(worlds: Worlds) -> None:
    worlds.repo("main", worlds.rpm("new", "2", obsoletes=["old < 2"]))
    goal = worlds.goal(worlds.rpm("old", "1"), policy=Policy(obsoletes=False))
    goal.upgrade()
    assert not goal.resolve()


def test_the_best_version_or_nothing(worlds: Worlds) -> None:
    worlds.repo("main", worlds.rpm("app", "2"), worlds.rpm("app", "3", requires=["missing"]))
    goal = worlds.goal(worlds.rpm("app", "1"))
    goal.upgrade()
    with pytest.raises(Unsolvable, match="cannot install the best update candidate for package app"):
        goal.resolve(best=True)
    found = goal.resolve(best=False)
    assert done(found) == ["upgrade app-2-1.x86_64"]
    assert [(one.nevra, one.why) for one in found.skipped] == [("app-3-1.x86_64", "broken")]
    assert any("nothing provides missing" in line for line in found.problems)


def test_broken_wishes_are_skipped_on_demand(worlds: Worlds) -> None:
    worlds.repo("main", worlds.rpm("app"), worlds.rpm("broken", requires=["missing"]))
    for strict, skip in ((True, True), (False, False)):
        goal = worlds.goal()
        goal.install("app", strict=strict)
        goal.install("broken", strict=strict)
        found = goal.resolve(skip_broken=skip)
        assert done(found) == ["install app-1-1.x86_64"]
        assert [one.nevra for one in found.skipped] == ["broken-1-1.x86_64"]


def test_downgrade_goes_to_the_next_lower_version(worlds: Worlds) -> None:
    worlds.repo("main", *(worlds.rpm("app", version) for version in ("1", "2", "4")))
    goal = worlds.goal(worlds.rpm("app", "3"))
    assert goal.downgrade("app")
    assert done(goal.resolve()) == ["downgrade app-2-1.x86_64"]
    lowest = worlds.goal(worlds.rpm("low", "1"))
    worlds.repo("more", worlds.rpm("low", "1"))
    lowest = worlds.goal()
    assert not lowest.downgrade("low")
    assert "of lowest version already installed" in lowest.notes[0].text


def test_a_named_version_may_be_a_downgrade(worlds: Worlds) -> None:
    worlds.repo("main", worlds.rpm("app", "1"))
    goal = worlds.goal(worlds.rpm("app", "2"))
    goal.install("app-1")
    assert done(goal.resolve()) == ["downgrade app-1-1.x86_64"]


def test_reinstall_takes_the_same_version_from_a_repository(worlds: Worlds) -> None:
    app = worlds.rpm("app", "1")
    worlds.repo("main", app, worlds.rpm("app", "2"))
    goal = worlds.goal(app, worlds.rpm("gone"))
    assert goal.reinstall("app") == 1
    (item,) = goal.resolve().items
    assert (item.action, item.nevra, item.repo) == ("reinstall", "app-1-1.x86_64", "main")
    with pytest.raises(NoMatch) as error:
        goal.reinstall("gone")
    assert error.value.kind == "not available"


def test_distro_sync_goes_up_and_down(worlds: Worlds) -> None:
    worlds.repo("main", worlds.rpm("up", "2"), worlds.rpm("down", "1"))
    goal = worlds.goal(worlds.rpm("up", "1"), worlds.rpm("down", "2"), worlds.rpm("mine"))
    goal.distro_sync()
    assert done(goal.resolve()) == ["downgrade down-1-1.x86_64", "upgrade up-2-1.x86_64"]


def test_a_better_repository_wins_over_a_newer_version(worlds: Worlds) -> None:
    worlds.repo("first", worlds.rpm("app", "1"), priority=10)
    worlds.repo("second", worlds.rpm("app", "2"))
    goal = worlds.goal()
    goal.install("app")
    assert done(goal.resolve()) == ["install app-1-1.x86_64"]


def test_the_own_architecture_is_chosen_unless_another_is_named(worlds: Worlds) -> None:
    worlds.repo("main", worlds.rpm("lib"), worlds.rpm("lib", arch="i686"), worlds.rpm("lib", arch="aarch64"))
    for spec, policy, found in (
        ("lib", Policy(), ["install lib-1-1.x86_64"]),
        ("lib.i686", Policy(), ["install lib-1-1.i686"]),
        ("lib.[xi]*", Policy(), ["install lib-1-1.i686", "install lib-1-1.x86_64"]),
    ):
        goal = worlds.goal(policy=policy)
        goal.install(spec)
        assert done(goal.resolve()) == found


def test_old_kernels_go_when_there_are_too_many(worlds: Worlds) -> None:
    worlds.repo("main", worlds.rpm("kernel", "4"))
    kernels = [worlds.rpm("kernel", version) for version in ("1", "2", "3")]
    goal = worlds.goal(*kernels, policy=Policy(installonly_limit=3))
    goal.upgrade()
    assert done(goal.resolve()) == ["install kernel-4-1.x86_64", "remove kernel-1-1.x86_64"]
    running = worlds.goal(policy=Policy(installonly_limit=3, running_kernel="kernel-1-1.x86_64"))
    running.upgrade()
    assert done(running.resolve()) == ["install kernel-4-1.x86_64", "remove kernel-2-1.x86_64"]


def test_weak_dependencies_that_were_once_refused_stay_away(worlds: Worlds) -> None:
    app = worlds.rpm("app", recommends=["docs"])
    worlds.repo("main", worlds.rpm("docs"), worlds.rpm("other", recommends=["docs"]))
    for policy, found in (
        (Policy(), {"other"}),
        (Policy(exclude_from_weak_autodetect=False), {"other", "docs"}),
        (Policy(exclude_from_weak_autodetect=False, exclude_from_weak=("do*",)), {"other"}),
    ):
        goal = worlds.goal(app, policy=policy)
        goal.install("other")
        assert set(reasons_of(goal)) == found


def test_other_vendors_may_be_refused(worlds: Worlds) -> None:
    worlds.repo("main", worlds.rpm("app", "2", vendor="Other"))
    goal = worlds.goal(worlds.rpm("app", "1", vendor="Mine"), policy=Policy(allow_vendor_change=False))
    goal.upgrade()
    assert not goal.resolve()


def test_only_what_advisories_speak_of_is_upgraded(worlds: Worlds) -> None:
    text = """<updates><update type="security"><id>FIX</id><pkglist><collection>
    <package name="app" epoch="0" version="2" release="1" arch="x86_64"/>
    </collection></pkglist></update></updates>"""
    rpm = worlds.rpm
    worlds.repo("main", rpm("app", "2"), rpm("app", "3"), rpm("lib", "2"), updateinfo=text)
    universe = worlds.universe(worlds.layer("node", rpm("app", "1"), rpm("lib", "1"), locked=False))
    advisories = tuple(universe.advisories())
    for minimal, found in ((True, ["upgrade app-2-1.x86_64"]), (False, ["upgrade app-3-1.x86_64"])):
        wanted = Wanted(advisories=advisories, kinds=("security",), minimal=minimal)
        goal = Goal(universe, Policy(advisories=wanted))
        goal.upgrade()
        assert done(goal.resolve()) == found


@pytest.mark.parametrize(
    ("act", "spec", "kind"),
    [("install", "nothing", "none"), ("remove", "nothing", "not installed"), ("upgrade", "nothing", "none"),
     ("upgrade", "app", "not installed"), ("downgrade", "app", "not installed"), ("reinstall", "app", "not installed"),
     ("install", "hidden", "excluded"), ("remove", "secret", "excluded"), ("install", "@group", "group")],
)  # fmt: skip
def test_a_spec_that_means_nothing_is_told_with_the_reason(
    worlds: Worlds, act: str, spec: str, kind: str
) -> None:
    worlds.repo("main", worlds.rpm("app"), worlds.rpm("hidden"))
    goal = worlds.goal(worlds.rpm("secret"), excludes=["hidden", "secret"])
    with pytest.raises(NoMatch) as error:
        getattr(goal, act)(spec)
    assert error.value.kind == kind


def test_package_files_are_installed_and_refused_like_dnf_does(worlds: Worlds) -> None:
    goal = worlds.goal(worlds.rpm("app", "2"))
    old, new = goal.universe.add_files([worlds.rpm("app", "1"), worlds.rpm("app", "3")])
    assert not goal.upgrade_package(old)
    assert goal.downgrade_package(old)
    assert done(goal.resolve()) == ["downgrade app-1-1.x86_64"]
    again = worlds.goal()
    (new,) = again.universe.add_files([worlds.rpm("app", "3")])
    assert again.upgrade_package(new)
    assert done(again.resolve()) == ["upgrade app-3-1.x86_64"]


def test_lists_of_files_that_are_loaded_in_between_do_no_harm(worlds: Worlds) -> None:
    worlds.repo("main", worlds.rpm("one"), worlds.rpm("two", files={"/opt/two/data": "x"}))
    goal = worlds.goal()
    goal.install("one")
    goal.install("/opt/two/data")
    assert done(goal.resolve()) == ["install one-1-1.x86_64", "install two-1-1.x86_64"]
