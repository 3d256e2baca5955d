from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from redpak.packages import capability
from redpak.packages.select import parse, select
from redpak.packages.universe import Universe
from tests.universes import Worlds

if TYPE_CHECKING:
    from redpak.packages.select import Form


@pytest.fixture(scope="module")
def universe(tmp_path_factory: pytest.TempPathFactory) -> Universe:
    worlds = Worlds(tmp_path_factory.mktemp("select"))
    rpm = worlds.rpm
    worlds.repo(
        "main", rpm("app", "1.0"), rpm("app", "2.0", files={"/usr/bin/app": "x", "/opt/app/data": "y"}),
        rpm("app", "2.0", arch="i686"), rpm("app-tools", "1.0", "5", "noarch", epoch=3), rpm("app.old", "1"),
        rpm("web", "7", provides=["webserver = 3", "httpd(x)"]), rpm("other", provides=["webserver = 1"]),
    )  # fmt: skip
    return worlds.universe()


@pytest.mark.parametrize(
    ("spec", "found"),
    [
        ("app", "app-1.0-1.x86_64 app-2.0-1.i686 app-2.0-1.x86_64"),
        ("app.i686", "app-2.0-1.i686"),
        ("app.old", "app.old-1-1.x86_64"),
        ("app-2.0", "app-2.0-1.i686 app-2.0-1.x86_64"),
        ("app-2.0-1", "app-2.0-1.i686 app-2.0-1.x86_64"),
        ("app-0:2.0-1.i686", "app-2.0-1.i686"),
        ("app-1:2.0-1.i686", ""),
        ("app-tools", "app-tools-3:1.0-5.noarch"),
        ("app-tools-1.0", "app-tools-3:1.0-5.noarch"),
        ("app-tools-3:1.0", "app-tools-3:1.0-5.noarch"),
        ("app-tools-2:1.0", ""),
        ("app-*", "app-tools-3:1.0-5.noarch"),
        ("a*.i686", "app-2.0-1.i686"),
        ("app-[12].0-*.x86_64", "app-1.0-1.x86_64 app-2.0-1.x86_64"),
        ("*-1.0-5.noarch", "app-tools-3:1.0-5.noarch"),
        ("webserver", "other-1-1.x86_64 web-7-1.x86_64"),
        ("webserver >= 2", "web-7-1.x86_64"),
        ("webserver = 1", "other-1-1.x86_64"),
        ("httpd(*", "web-7-1.x86_64"),
        ("/usr/bin/app", "app-2.0-1.x86_64"),
        ("/opt/app/data", "app-2.0-1.x86_64"),
        ("/opt/*/da?a", "app-2.0-1.x86_64"),
        ("*/bin/app", "app-2.0-1.x86_64"),
        ("App", ""),
        ("nothing", ""),
        ("", ""),
        ("(", ""),
        ("a b c", ""),
    ],
)
def test_a_spec_means_what_dnf_takes_it_for(universe: Universe, spec: str, found: str) -> None:
    query = select(universe, spec).query
    assert " ".join(sorted(package.nevra for package in query)) == found


def test_case_can_be_ignored(universe: Universe) -> None:
    assert {package.name for package in select(universe, "APP", icase=True).query} == {"app"}
    assert {package.name for package in select(universe, "WebServer", icase=True).query} == {"web", "other"}


def test_the_form_can_be_demanded(universe: Universe) -> None:
    assert not select(universe, "app", forms=("nevra",), provides=False, files=False).query
    assert select(universe, "app.old", forms=("name",)).query[0].name == "app.old"
    assert select(universe, "app.i686", forms=("na",)).query[0].arch == "i686"


def test_how_a_spec_was_understood_is_told(universe: Universe) -> None:
    app, old, web = select(universe, "app"), select(universe, "app-2.0"), select(universe, "webserver")
    assert app.nevra is not None and app.nevra.just_name
    assert old.nevra is not None and (old.nevra.name, old.nevra.version) == ("app", "2.0")
    assert web.nevra is None


@pytest.mark.parametrize("form", ["nevra", "nevr", "nev", "na", "name"])
def test_a_spec_with_the_signs_of_a_dependency_is_no_nevra(form: Form) -> None:
    assert parse("a >= 1", form) is None
    assert parse("/usr/bin/a", form) is None


def test_a_dependency_is_read_with_all_its_relations(universe: Universe) -> None:
    pool = universe.pool
    texts = ["a", "a < 1", "a <= 1", "a = 1:2-3", "a >= 1", "a > 1", "(a if b)", "libx.so.1()(64bit)"]
    for text in texts:
        (dep,) = capability.meant(pool, text)
        assert pool.dep_str(dep) == text
    assert capability.meant(pool, "a == 1") == capability.meant(pool, "a = 1")
    assert capability.meant(pool, "(a if") == capability.meant(pool, "a ~ 3") == []
