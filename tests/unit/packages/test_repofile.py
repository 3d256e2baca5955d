"""`.repo` files as dnf reads them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from redpak.errors import BadConfig, NotFound, Refused, Usage
from redpak.packages import inifile, reposetup
from redpak.packages.model import Layer, Site
from redpak.packages.repoconfig import NEVER, RepoConfig, UnknownRepo, set_key
from redpak.packages.repofile import configured
from redpak.packages.variables import basearch, read, substitute

VARIABLES = {"releasever": "12", "basearch": "x86_64", "empty": ""}


def site(folder: Path, *, is_node: bool = False) -> Site:
    layer = Layer(name="root", kind="node", path=str(folder), database="rpm", locked=False)
    return Site(
        path=str(folder),
        is_node=is_node,
        layers=(layer,),
        arch="x86_64",
        repositories=(str(folder),),
        variables=(("releasever", "12"),),
        cachedir=str(folder / "cache"),
    )


def values(text: str) -> dict[str, dict[str, str]]:
    return {s.id: {e.key: e.value for e in s.entries} for s in inifile.parse("x.repo", text)}


def faults(text: str) -> list[str]:
    with pytest.raises(BadConfig) as caught:
        inifile.parse("x.repo", text)
    return [str(fault) for fault in caught.value.faults]


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("[a]\nk=1\n", {"a": {"k": "1"}}),
        ("# c\n; d\n\n[a] # said\nk = 1  \n", {"a": {"k": "1"}}),
        ("[a]\nk=1\n 2\n\t3\nz=4", {"a": {"k": "1\n2\n3", "z": "4"}}),
        ("[a]\nk=1\n #c\n 3\n", {"a": {"k": "1\n#c\n3"}}),
        ("[a]\nk=\n  x\n  y\n", {"a": {"k": "\nx\ny"}}),
        ("[a]\nk=1\nk=2\n", {"a": {"k": "2"}}),
        ("[a]\nk=1\n[b]\nz=1\n[a]\nq=2\n", {"a": {"k": "1", "q": "2"}, "b": {"z": "1"}}),
        ("\ufeff[a]\nk=1".removeprefix("\ufeff"), {"a": {"k": "1"}}),
        ("[a]\r\nk=1\r\nz=2\r\n", {"a": {"k": "1", "z": "2"}}),
        ("[a]\nk='x'\nq=\"y\"\nz=1 ;c\n", {"a": {"k": "x", "q": "y", "z": "1 ;c"}}),
        (" [a]\nk=1\n", {"a": {"k": "1"}}),
        ("[a]\nk=1\n [b]\nz=1\n", {"a": {"k": "1"}, "b": {"z": "1"}}),
    ],
)
def test_the_grammar_is_dnfs(text: str, means: dict[str, dict[str, str]]) -> None:
    assert values(text) == means


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("k=1\n[a]\n", 1),
        ("[a\nk=1\n", 1),
        ("[a] junk\nk=1\n", 1),
        ("[]\nk=1\n", 1),
        ("[a]\n k=1\n", 2),
        ("[a]\nk=1\n\n 2\n", 4),
        ("[a]\nk=1\n#c\n 2\n", 4),
        ("[a]\nk:1\n", 2),
        ("[a]\n=1\n", 2),
    ],
)
def test_what_dnf_refuses_is_refused_with_its_line(text: str, line: int) -> None:
    assert [fault.partition(" ")[0] for fault in faults(text)] == [f"x.repo:{line}:"]


def test_all_faults_of_a_file_are_told_at_once() -> None:
    assert len(faults("[a]\nnope\n=1\n[b\n[c] d\n")) == 4


ORACLE = """
import sys, json, libdnf
p = libdnf.conf.ConfigParser()
p.read(sys.argv[1])
d = p.getData()
print(json.dumps({s: {o: p.getValue(s, o) for o in p.options(s)} for s in d}))
"""


def libdnf_reads(path: Path) -> dict[str, dict[str, str]] | None:
    import json

    done = subprocess.run(
        ["/usr/bin/python3", "-c", ORACLE, str(path)], capture_output=True, text=True, check=False
    )
    assert "No module" not in done.stderr, "dnf is there without its own library"
    return json.loads(done.stdout) if done.returncode == 0 else None


@pytest.mark.needs("dnf")
@pytest.mark.parametrize(
    "text",
    [
        "[a]\nname=A $releasever\nbaseurl=http://x/a, http://y/b\n\thttp://z/c\n# c\nenabled = 0\n",
        "[a]\nk = 'q u o t e d'\nz=\"\n",
        "[a]\nk=1\n   \n 2\n",
        "[a]\nk==1=2\n;x\n[b]# t\nz= \n",
        "[a]\nk=1\n  [b]\n  c\n",
        "[a]\nk=1\n  [b]\nz=2\n",
        "[a]\nk=x\\\n  y\n",
        "[a]\nk=1\n  \nz=2\n   \n[b]\n \ny=1\n",
        "[a]\r\nk=1\r\n\r\n 2\r\n",
        "[a]\r\nk=1\r\n\r\n[b]\r\nz=1\r\n 2\r\n",
    ],
)
def test_libdnf_itself_reads_the_same(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.repo"
    path.write_text(text)
    try:
        ours: dict[str, dict[str, str]] | None = values(text)
    except BadConfig:
        ours = None
    assert libdnf_reads(path) == ours


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("$releasever", "12"),
        ("${releasever}/$basearch-x", "12/x86_64-x"),
        ("$releaseverx $RELEASEVER ${nope} $ ${} ${", "$releaseverx $RELEASEVER ${nope} $ ${} ${"),
        ("a$$releasever", "a$12"),
        ("\\$releasever", "\\12"),
        ("${nope:-x} ${empty:-f} ${releasever:-q}", "x f 12"),
        ("${nope:+y}${empty:+y}${releasever:+y}", "y"),
        ("${nope:-${basearch}-${other:-z}}", "x86_64-z"),
        ("${nope:-a\\}b}", "a}b"),
        ("${nope:-a", "${nope:-a"),
        ("${nope:-$releasever", "${nope:-12"),
    ],
)
def test_variables_are_replaced(text: str, value: str) -> None:
    assert substitute(text, VARIABLES) == value


def test_endless_nesting_of_variables_ends() -> None:
    assert substitute("${a:-" * 5000 + "x" + "}" * 5000, {}).startswith("${a:-")


def test_variables_come_from_directories_and_later_ones_win(tmp_path: Path) -> None:
    for name, text in (("one", "1\nmore\n"), ("two", "2")):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "x").write_text(text)
        (folder / name).write_text(" kept \n")
    found = read([str(tmp_path / "one"), str(tmp_path / "two"), str(tmp_path / "none")])
    assert found == {"x": "2", "one": " kept ", "two": " kept "}


def test_the_base_architecture_is_the_familys() -> None:
    assert [basearch(arch) for arch in ("i686", "amd64", "armv7hl", "aarch64")] == [
        "i386", "x86_64", "armhfp", "aarch64",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("enabled", "True", True),
        ("enabled", "off", False),
        ("metadata_expire", "1.5h", 5400),
        ("metadata_expire", "never", NEVER),
        ("metadata_expire", "48", 48),
        ("throttle", "50%", 0.5),
        ("throttle", "1k", 1024.0),
        ("minrate", "1k", 1024),
        ("timeout", "1m", 60.0),
        ("cost", "-1", -1),
        ("excludepkgs", "a,b c\nd", ("a", "b", "c", "d")),
        ("exclude", "a", ("a",)),
        ("gpgkey", "file:///a, file:///b\n file:///c", ("file:///a", "file:///b", "file:///c")),
        ("ip_resolve", "4", "ipv4"),
        ("proxy", "", "_none_"),
    ],
)
def test_values_have_dnfs_types(key: str, text: str, value: object) -> None:
    config = set_key(RepoConfig(id="x"), key, text)
    assert getattr(config, "excludepkgs" if key == "exclude" else key) == value


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("enabled", "maybe"),
        ("enabled", ""),
        ("metadata_expire", "1w"),
        ("metadata_expire", "-2"),
        ("throttle", "200%"),
        ("bandwidth", "1MB"),
        ("cost", "x"),
        ("ip_resolve", "x"),
        ("retries", "-1"),
    ],
)
def test_values_that_mean_nothing_are_refused(key: str, text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        set_key(RepoConfig(id="x"), key, text)


REPOS = """\
[one]
name=One $releasever
baseurl=http://h/$basearch/one
priority=5
excludepkgs=a
[two]
name=Two
mirrorlist=http://h/list
enabled=0
[three]
name=Three
metalink=http://h/meta
cost=7
[nowhere]
name=Nowhere
"""


def test_repositories_are_sorted_and_filled_in(tmp_path: Path) -> None:
    (tmp_path / "a.repo").write_text(REPOS)
    heard: list[str] = []
    found = configured(site(tmp_path), warn=heard.append, environ={})
    assert [(one.id, one.enabled) for one in found] == [("one", True), ("three", True), ("two", False)]
    assert (found[0].name, found[0].baseurl) == ("One 12", ("http://h/x86_64/one",))
    assert found[0].origin.line == 1
    assert heard == ["Repository 'nowhere' has no mirror or baseurl set."]


def test_the_command_line_switches_repositories(tmp_path: Path) -> None:
    (tmp_path / "a.repo").write_text(REPOS)

    def ids(**options: object) -> list[str]:
        found = configured(site(tmp_path), environ={}, **options)  # type: ignore[arg-type]
        return [one.id for one in found if one.enabled]

    assert ids(enable=["two"]) == ["one", "three", "two"]
    assert ids(disable=["t*"]) == ["one"]
    assert ids(switches=[("*", False), ("tw*", True)]) == ["two"]
    assert ids(switches=[("tw*", True), ("*", False)]) == []
    assert ids(repo=["two", "one"]) == ["one", "two"]
    assert ids(repo=["nope*"], strict=False) == []
    assert ids(repofrompath=[("new", "/some/where")]) == ["one", "three", "new"]
    with pytest.raises(UnknownRepo, match="Unknown repo: 'four'"):
        ids(repo=["four"])


def test_setopt_changes_keys_of_repositories(tmp_path: Path) -> None:
    (tmp_path / "a.repo").write_text(REPOS)
    heard: list[str] = []
    overrides = [
        ("*", "gpgcheck", "1"), ("one", "excludepkgs", "b"), ("three", "excludepkgs", ""), ("t*", "cost", "1"),
        ("one", "colour", "red"), ("one", "baseurl", "http://other/$releasever"),
    ]  # fmt: skip
    found = {
        one.id: one for one in configured(site(tmp_path), overrides=overrides, warn=heard.append, environ={})
    }
    assert all(one.gpgcheck for one in found.values())
    assert found["one"].excludepkgs == ("a", "b")
    assert found["one"].baseurl == ("http://other/12",)
    assert found["two"].cost == found["three"].cost == 1
    assert "Repo one did not have a colour attr. before setopt" in heard
    with pytest.raises(BadConfig) as caught:
        configured(site(tmp_path), overrides=[("one", "gpgcheck", "perhaps")], environ={})
    assert "Error parsing --setopt with key 'one.gpgcheck', value 'perhaps'" in str(caught.value.faults[0])


def test_defaults_of_main_reach_every_repository(tmp_path: Path) -> None:
    (tmp_path / "a.repo").write_text(REPOS)
    main = {"gpgcheck": "1", "excludepkgs": "all", "skip_if_unavailable": "yes", "best": "1"}
    found = configured(site(tmp_path), main=main, environ={})
    assert all(one.gpgcheck and one.skip_if_unavailable for one in found)
    assert found[1].excludepkgs == ()


def test_environment_variables_reach_repositories(tmp_path: Path) -> None:
    (tmp_path / "a.repo").write_text("[a]\nname=$DNF1 $colour\nbaseurl=http://x/\n")
    found = configured(site(tmp_path), environ={"DNF1": "one", "DNF_VAR_colour": "red", "DNFX": "no"})
    assert found[0].name == "one red"


def test_a_broken_file_stops_a_node_and_is_left_out_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "bad.repo").write_text("[a\n")
    (tmp_path / "good.repo").write_text("[b]\nname=B\nbaseurl=http://x/\n")
    heard: list[str] = []
    assert [one.id for one in configured(site(tmp_path), warn=heard.append, environ={})] == ["b"]
    assert heard[-1] == f"Warning: failed loading '{tmp_path}/bad.repo', skipping."
    with pytest.raises(BadConfig):
        configured(site(tmp_path, is_node=True), environ={})


def test_a_check_that_cannot_be_read_is_never_taken_for_off(tmp_path: Path) -> None:
    (tmp_path / "a.repo").write_text("[a]\nname=A\nbaseurl=http://x/\ngpgcheck=ture\n")
    with pytest.raises(BadConfig) as caught:
        configured(site(tmp_path), environ={})
    assert str(caught.value.faults[0]).startswith(f"{tmp_path}/a.repo:4: 'gpgcheck' of repository 'a'")


def test_the_first_of_two_repositories_with_one_id_counts(tmp_path: Path) -> None:
    (tmp_path / "a.repo").write_text("[x]\nname=A\nbaseurl=http://a/\n")
    (tmp_path / "b.repo").write_text("[x]\nname=B\nbaseurl=http://b/\n")
    heard: list[str] = []
    assert [one.name for one in configured(site(tmp_path), warn=heard.append, environ={})] == ["A"]
    assert heard == ["Repository x is listed more than once in the configuration"]


def test_passwords_are_not_shown() -> None:
    config = RepoConfig(id="x", password="secret", username="me")
    assert "secret" not in repr(config)
    assert "secret" not in f"{config}"


def test_a_repository_is_added_switched_and_removed(tmp_path: Path) -> None:
    folder = tmp_path / "etc/yum.repos.d"
    made = reposetup.add(
        str(folder), "https://h.example/el9/$basearch", keys={"gpgkey": "https://h.example/KEY"}
    )
    assert made.ids == ("h.example_el9__basearch",)
    text = Path(made.path).read_text()
    assert "gpgcheck=1\n" in text
    assert "baseurl=https://h.example/el9/$basearch\n" in text
    name = made.ids[0]
    assert reposetup.switch(str(folder), ["h.*"], enabled=False) == [(name, True)]
    assert reposetup.switch(str(folder), [name], enabled=False) == [(name, False)]
    assert Path(made.path).read_text() == text.replace("enabled=1", "enabled=0")
    with pytest.raises(Refused):
        reposetup.add(str(folder), "https://h.example/el9/$basearch")
    with pytest.raises(NotFound):
        reposetup.remove(str(folder), [name, "other"])
    assert reposetup.remove(str(folder), [name]) == [(name, made.path)]
    assert list(folder.iterdir()) == []


def test_other_bytes_of_a_file_stay_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "v.repo"
    before = (
        "# vendor\n\n[a]\nname = A  \nbaseurl=http://x\n    http://y\n; note\n[b]\nname=B\nbaseurl=http://z"
    )
    path.write_text(before)
    reposetup.switch(str(tmp_path), ["a"], enabled=False)
    assert path.read_text() == before.replace("[a]\n", "[a]\nenabled=0\n")
    reposetup.switch(str(tmp_path), ["a"], enabled=True)
    reposetup.switch(str(tmp_path), ["b"], enabled=False)
    reposetup.remove(str(tmp_path), ["a"])
    assert path.read_text() == "# vendor\n\n[b]\nenabled=0\nname=B\nbaseurl=http://z"


def test_a_vendors_file_is_taken_whole_or_not_at_all(tmp_path: Path) -> None:
    vendor = tmp_path / "vendor.repo"
    folder = tmp_path / "repos"
    vendor.write_text("[a]\nname=A\nbaseurl=http://x\n[b]\nname=B\nbaseurl=http://y\ngpgcheck=1\n")
    made = reposetup.add(str(folder), str(vendor))
    assert made.ids == ("a", "b")
    assert len(made.warnings) == 1  # packages that must be signed, and no key
    bad = tmp_path / "bad.repo"
    bad.write_text("[c]\nname=C\n[d]\nenabled=perhaps\nbaseurl=http://x\n")
    with pytest.raises(BadConfig) as caught:
        reposetup.add(str(folder), str(bad))
    assert len(caught.value.faults) == 2
    assert [path.name for path in folder.iterdir()] == ["vendor.repo"]


def test_keys_without_effect_are_told(tmp_path: Path) -> None:
    vendor = tmp_path / "vendor.repo"
    vendor.write_text("[a]\nname=A\nbaseurl=http://x\ndeltarpm=1\ncountme=1\ncolour=red\n")
    assert reposetup.add(str(tmp_path / "repos"), str(vendor)).warnings == (
        "'a': unknown key 'colour', ignoring",
        "'a': 'deltarpm' has no effect: whole packages are downloaded",
    )


def test_a_file_with_a_password_is_for_its_owner_only(tmp_path: Path) -> None:
    made = reposetup.add(str(tmp_path), "https://me:word@h.example/x")
    assert Path(made.path).stat().st_mode & 0o777 == 0o600
    assert "word" not in made.ids[0]


def test_an_id_cannot_leave_its_directory(tmp_path: Path) -> None:
    with pytest.raises(Usage):
        reposetup.add(str(tmp_path), "http://x/", name="../x")
