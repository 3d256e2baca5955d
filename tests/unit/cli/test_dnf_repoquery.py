"""`repoquery`: criteria, forms, trees. The expected texts were compared with those of dnf 4.14."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from redpak.cli.dnf import repoquery_format

Run = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize(
    ("line", "lines"),
    [
        ("app", "app-0:1.0-1.noarch app-0:2.0-1.noarch"),
        ("--nvr app", "app-1.0-1 app-2.0-1"),
        ("--envra tool", "2:tool-1.0-1.noarch"),
        ("--latest-limit 1 app", "app-0:2.0-1.noarch"),
        ("--latest-limit=-1 app", "app-0:1.0-1.noarch"),
        ("--installed app", "app-0:1.0-1.noarch"),
        ("--upgrades", "app-0:2.0-1.noarch"),
        ("--unneeded", "oldtool-0:1.0-1.noarch"),
        ("--userinstalled --nvr", "app-1.0-1"),
        ("--whatrequires lib", "app-0:1.0-1.noarch app-0:2.0-1.noarch extra-0:1.0-1.noarch"),
        ("--whatrequires lib --exactdeps", "app-0:1.0-1.noarch app-0:2.0-1.noarch extra-0:1.0-1.noarch"),
        ("--whatrequires tool", "app-0:1.0-1.noarch app-0:2.0-1.noarch"),
        ("--whatrequires tool --exactdeps", ""),
        ("--whatrequires tool --recursive",
         "app-0:1.0-1.noarch app-0:2.0-1.noarch extra-0:1.0-1.noarch"),
        ("--whatprovides /usr/bin/tool", "tool-2:1.0-1.noarch"),
        ("--whatobsoletes oldtool", "newtool-0:1.0-1.noarch"),
        ("--whatconflicts badtool", "oldtool-0:1.0-1.noarch"),
        ("--whatrecommends app-doc", "app-0:1.0-1.noarch"),
        ("--whatsupplements app", "app-doc-0:1.0-1.noarch"),
        ("--requires --resolve app", "lib-0:1.0-1.x86_64 tool-2:1.0-1.noarch"),
        ("--location lonely", "file://{updates}/Packages/lonely-1.0-1.noarch.rpm"),
        ("-f /usr/bin/app --nvr", "app-1.0-1 app-2.0-1"),
        ("--arch x86_64", "lib-0:1.0-1.x86_64"),
        ("--repo base --nvr app", "app-1.0-1"),
        ("-l lib", "/usr/lib64/libf.so.1"),
        ("-s lib", "lib-1.0-1.src.rpm"),
        ("--security", "app-0:2.0-1.noarch"),
        ("--qf [%-8{name}][%8{version}] lonely", "[ lonely][1.0 ]"),
        ("--installed --qf %{name}:%{reason}:%{from_repo}: app-doc", "app-doc:weak-dependency:base:"),
        ("nosuch", ""),
    ],
)  # fmt: skip
def test_repoquery_answers(run: Run, root: Path, line: str, lines: str) -> None:
    code, out, _ = run("repoquery", *line.split())
    assert code == 0
    updates = root.parent / "repos/updates"
    assert " ".join(out.split()) == lines.format(updates=updates)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("--resolve app", "Option '--resolve' has to be used together with one of the '--conflicts', "),
        ("--recursive app", "Option '--recursive' has to be used with '--whatrequires <REQ>' "),
        ("--exactdeps app", "argument --exactdeps requires --whatrequires or --whatdepends option"),
        ("--available --extras", "argument --available: not allowed with argument --extras"),
        ("--obsoletes --requires app", "argument --obsoletes: not allowed with argument --requires"),
        ("--tree app", "No valid switch specified\nusage: dnf repoquery [--conflicts|"),
        ("--qf %{nosuch} app", "'Package' object has no attribute 'nosuch'"),
        ("--groupmember app", "groups are not supported: name the packages"),
    ],
)
def test_repoquery_says_what_does_not_fit(run: Run, line: str, told: str) -> None:
    code, out, err = run("repoquery", *line.split())
    assert (code, out) == (1, "")
    assert err.startswith(f"Error: {told}")


def test_a_tree_does_not_go_into_a_package_twice(run: Run) -> None:
    _, out, _ = run("repoquery", "--tree", "--whatrequires", "lib", "--repo", "updates")
    assert out.splitlines() == [
        "app-0:2.0-1.noarch",
        " \\_ extra-0:1.0-1.noarch [1: (app and lib)]",
        "extra-0:1.0-1.noarch",
    ]


def test_a_tree_speaks_json(run: Run) -> None:
    _, out, _ = run("repoquery", "--tree", "--requires", "app-2.0", "--json")
    (app,) = json.loads(out)
    assert app["package"] == "app-2.0-1.noarch"
    assert [one["package"] for one in app["beneath"]] == ["lib-1.0-1.x86_64", "tool-2:1.0-1.noarch"]
    assert "reason" in json.loads(run("repoquery", "--querytags", "--json")[1])


def test_deplist_names_the_latest_provider(run: Run) -> None:
    _, out, _ = run("deplist", "app", "--repo", "base")
    assert out.splitlines() == [
        "package: app-1.0-1.noarch",
        "  dependency: /usr/bin/tool",
        "   provider: tool-2:1.0-1.noarch",
        "  dependency: lib >= 1.0",
        "   provider: lib-1.0-1.x86_64",
        "  dependency: libf.so.1()(64bit)",
        "   provider: lib-1.0-1.x86_64",
    ]


def test_a_change_log_comes_from_the_repository(run: Run) -> None:
    _, out, _ = run("repoquery", "--changelogs", "app-2.0")
    assert out == "Changelog for app-2.0-1.noarch\n* Mon Mar 03 2025 Ann <ann@example.com> - 2.0-1\n- two\n\n"


def test_a_query_format_pads_as_dnf_does() -> None:
    assert repoquery_format.compiled(r"a%10{name}\n%-5{Version}") == [
        ("a", "name", 10), ("\n", "version", -5), ("", "", 0),
    ]  # fmt: skip
