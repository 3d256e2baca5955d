"""Query commands of dnf: list, info, search, provides, check, check-update …, word for word.

The expected texts were compared with dnf 4.14 on repositories of the same shape.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from redpak.cli.dnf import layout
from redpak.cli.dnf.main import main
from tests.rpms import Maker

Run = Callable[..., tuple[int, str, str]]


def rows(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_list_has_headings_and_where_packages_came_from(run: Run) -> None:
    code, out, _ = run("list")
    assert code == 0
    assert rows(out) == [
        ["Installed", "Packages"],
        ["app.noarch", "1.0-1", "@base"],
        ["app-doc.noarch", "1.0-1", "@base"],
        ["lib.x86_64", "1.0-1", "@base"],
        ["oldtool.noarch", "1.0-1", "@base"],
        ["tool.noarch", "2:1.0-1", "@base"],
        ["Available", "Packages"],
        ["app.noarch", "2.0-1", "updates"],
        ["broken.noarch", "1.0-1", "updates"],
        ["extra.noarch", "1.0-1", "updates"],
        ["lonely.noarch", "1.0-1", "updates"],
        ["newtool.noarch", "1.0-1", "updates"],
    ]
    assert {len(line) for line in out.splitlines() if "." in line} == {80}


@pytest.mark.parametrize(
    ("words", "heading", "names"),
    [
        (("--installed",), "Installed Packages", "app app-doc lib oldtool tool"),
        (("installed", "a*"), "Installed Packages", "app app-doc"),
        (("APP-doc",), "Installed Packages", "app-doc"),
        (("--upgrades",), "Available Upgrades", "app"),
        (("updates",), "Available Upgrades", "app"),
        (("--upgrades", "--security"), "Available Upgrades", "app"),
        (("--obsoletes",), "Obsoleting Packages", "newtool oldtool"),
        (("--autoremove",), "Autoremove Packages", "oldtool"),
        (("--available", "lonely"), "Available Packages", "lonely"),
    ],
)  # fmt: skip
def test_list_shows_one_kind(run: Run, words: tuple[str, ...], heading: str, names: str) -> None:
    _, out, _ = run("list", *words)
    lines = out.splitlines()
    assert lines[0] == heading
    assert [line.split(".")[0].strip() for line in lines[1:]] == names.split()


def test_list_of_nothing_is_an_error_only_with_names(run: Run) -> None:
    assert run("list", "nosuch") == (1, "", "Error: No matching Packages to list\n")
    assert run("list", "--extras") == (0, "", "")


def test_all_versions_are_listed_when_asked_for(run: Run) -> None:
    _, out, _ = run("list", "--showduplicates", "app")
    assert [row[1] for row in rows(out) if row[0] == "app.noarch"] == ["1.0-1", "1.0-1", "2.0-1"]


def test_info_folds_nothing_in_a_pipe(run: Run) -> None:
    _, out, _ = run("info", "--installed", "app")
    assert out.startswith(
        "Installed Packages\nName         : app\nVersion      : 1.0\nRelease      : 1\n"
        "Architecture : noarch\nSize         : 2.0  \nSource       : app-1.0-1.src.rpm\n"
        "Repository   : @System\nFrom repo    : base\nSummary      : An application\n"
        "URL          : http://example.com/app\nLicense      : MIT\nDescription  : First.\n"
        "             : \n             : Third.\n             :  * item\n\n"
    )


def test_search_wants_every_word_and_weighs_names(run: Run) -> None:
    _, out, _ = run("search", "app")
    assert out.splitlines() == [
        "========================= Name & Summary Matched: app ==========================",
        "app.noarch : The app package",
        "app-doc.noarch : The app-doc package",
    ]
    assert run("search", "app", "lonely") == (0, "", "No matches found.\n")
    _, out, _ = run("search", "--all", "lonely")
    assert out.splitlines()[0].strip("= ") == "Name & Summary & Description & URL Matched: lonely"


def test_search_says_when_a_name_is_the_word(run: Run) -> None:
    _, out, _ = run("search", "An application")
    assert out.splitlines()[0].strip("= ") == "Summary Exactly Matched: An application"


def test_provides_looks_for_files_then_capabilities_then_commands(run: Run) -> None:
    _, out, _ = run("provides", "*/README")
    assert out.split("\n\n")[0] == (
        "app-1.0-1.noarch : An application\nRepo        : @System\nMatched from:\n"
        "Filename    : /usr/share/doc/app/README"
    )
    _, out, _ = run("provides", "libf.so.1()(64bit)")
    assert "Matched from:\nProvide    : libf.so.1()(64bit)\n" in out
    _, out, _ = run("provides", "newtool")
    assert "newtool-1.0-1.noarch" in out
    code, out, err = run("provides", "nosuch")
    assert (code, out) == (1, "")
    assert err.startswith("Error: No matches found. If searching for a file, try specifying the full path")


def test_check_update_exits_with_100(run: Run) -> None:
    code, out, _ = run("check-update")
    assert code == 100
    assert rows(out) == [
        [],
        ["app.noarch", "2.0-1", "updates"],
        ["Obsoleting", "Packages"],
        ["newtool.noarch", "1.0-1", "updates"],
        ["oldtool.noarch", "1.0-1", "@base"],
    ]
    assert run("check-update", "lonely") == (0, "", "")


def test_check_update_shows_what_changed(run: Run) -> None:
    _, out, _ = run("check-update", "app", "--changelogs", "--setopt=obsoletes=0")
    assert (
        "Changelogs for app-2.0-1.noarch\n* Mon Mar 03 00:00:00 2025 Ann <ann@example.com> - 2.0-1\n- two\n"
        in out
    )
    assert "- one" not in out


def test_check_finds_nothing_in_a_sound_system(run: Run) -> None:
    assert run("check") == (0, "", "")
    code, _, err = run("check", "nosuch")
    assert code == 2
    assert "invalid choice: 'nosuch'" in err


def test_check_names_what_is_wrong(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    maker = Maker(tmp_path)
    place = tmp_path / "root"
    rpms = [
        maker.rpm("a", arch="noarch", requires=["nobody", "(c or d)"]),
        maker.rpm("b", arch="noarch", conflicts=["a"], obsoletes=["old"]),
        maker.rpm("b", "2", arch="noarch"),
    ]
    maker.database(rpms, place / "var/lib/rpm")
    maker.database([maker.rpm("old", arch="noarch")], place / "var/lib/rpm")
    assert main(["--installroot", str(place), "check"]) == 1
    said = capfd.readouterr()
    assert said.out.splitlines() == [
        "a-1-1.noarch has missing requires of (c or d)",
        "a-1-1.noarch has missing requires of nobody",
        'b-1-1.noarch has installed conflict "a": a-1-1.noarch',
        "b-1-1.noarch is a duplicate with b-2-1.noarch",
        "old-1-1.noarch is obsoleted by b-1-1.noarch",
    ]
    assert said.err == "Error: Check discovered 5 problem(s)\n"
    assert main(["--installroot", str(place), "check", "--duplicates", "--json"]) == 1
    assert [one["kind"] for one in json.loads(capfd.readouterr().out)] == ["duplicates"]


def test_repolist_fits_the_terminal(run: Run) -> None:
    _, out, _ = run("repolist", "--all")
    assert rows(out) == [
        ["repo", "id", "repo", "name", "status"],
        ["base", "base", "enabled"],
        ["off", "off", "disabled"],
        ["updates", "updates", "enabled"],
    ]
    _, out, _ = run("repolist")
    assert rows(out) == [["repo", "id", "repo", "name"], ["base", "base"], ["updates", "updates"]]


def test_repoinfo_counts_packages(run: Run) -> None:
    _, out, _ = run("repoinfo", "updates")
    told = dict(line.split(": ", 1) for line in out.splitlines() if ": " in line)
    assert told["Repo-status        "] == "enabled"
    assert told["Repo-pkgs          "] == "5"
    assert out.endswith("Total packages: 5\n")


def test_updateinfo_tells_of_what_is_installed(run: Run) -> None:
    _, out, _ = run("updateinfo")
    assert out == (
        "Updates Information Summary: available\n    1 Security notice(s)\n        1 Important Security notice(s)\n"
    )
    assert run("updateinfo", "list")[1] == "FIX-1 Important/Sec. app-2.0-1.noarch\n"
    assert run("updateinfo", "list", "--all")[1] == "  FIX-1 Important/Sec. app-2.0-1.noarch\n"
    assert run("updateinfo", "list", "cves")[1] == "CVE-2025-1 Important/Sec. app-2.0-1.noarch\n"
    assert run("updateinfo", "list", "--installed")[1] == ""
    _, out, _ = run("info-sec")
    assert out.splitlines()[3:] == [
        "  Update ID: FIX-1",
        "       Type: security",
        "    Updated: 2025-03-04 01:02:03",
        "       Bugs: 123 - crash",
        "       CVEs: CVE-2025-1",
        "Description: Closes it.",
        "           : For good.",
        "   Severity: Important",
    ]


def test_every_command_speaks_json(run: Run) -> None:
    listed = json.loads(run("list", "--installed", "--json")[1])
    assert [one["name"] for one in listed["installed"]] == ["app", "app-doc", "lib", "oldtool", "tool"]
    assert listed["installed"][0]["from_repo"] == "base"
    for line in ("info app", "search app", "provides tool", "repolist", "repoinfo base", "updateinfo", "deplist app",
                 "repoquery app", "repoquery -i app", "repoquery --requires app", "makecache", "check"):  # fmt: skip
        code, out, _ = run(*line.split(), "--json")
        assert code == 0, line
        json.loads(out)
    code, out, _ = run("check-update", "--json")
    assert code == 100
    assert json.loads(out)["obsoletes"][0]["old"]["name"] == "oldtool"


def test_download_stores_packages_and_what_they_need(run: Run, tmp_path: Path) -> None:
    code, _, _ = run("download", "app-2.0", "--destdir", str(tmp_path / "got"))
    assert (code, [path.name for path in (tmp_path / "got").iterdir()]) == (0, ["app-2.0-1.noarch.rpm"])
    _, out, _ = run("download", "--url", "--resolve", "--alldeps", "app-2.0")
    names = [line.rpartition("/")[2] for line in out.splitlines()]
    assert names == [
        "app-2.0-1.noarch.rpm",
        "app-doc-1.0-1.noarch.rpm",
        "lib-1.0-1.x86_64.rpm",
        "tool-1.0-1.noarch.rpm",
    ]
    code, _, err = run("download", "nosuch")
    assert (code, err.splitlines()[0]) == (1, "No package nosuch available.")


def test_clean_removes_what_it_says_and_makecache_brings_it_back(run: Run, root: Path) -> None:
    assert run("makecache")[1].endswith("Metadata cache created.\n")
    before = sum(path.is_file() for path in (root / "cache").rglob("*"))
    assert run("clean", "expire-cache")[1] == "Cache was expired\n0 files removed\n"
    removed = int(run("clean", "all")[1].split()[0])
    after = sum(path.is_file() for path in (root / "cache").rglob("*"))
    assert removed == before - after > 0
    assert run("list", "lonely")[0] == 0
    assert run("clean")[0] == 2


def test_long_values_are_folded_in_a_terminal() -> None:
    assert layout.folded("one two three four", 14, "Key : ", "    : ") == [
        "Key : one two",
        "    : three",
        "    : four",
    ]
    text = "a long line here\n\n * item that is long\nend"
    assert layout.folded(text, 16, "K : ", "  : ") == [
        "K : a long line", "  : here", "  : ", "  :  * item that", "  :  is long end",
    ]  # fmt: skip
