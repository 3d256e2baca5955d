"""`redpak node repo`: what people type and what they are told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from redpak import log
from redpak.cli.main import main
from redpak.packages.readurl import local_path


@pytest.fixture(autouse=True)
def _quiet_again() -> Iterator[None]:
    yield
    log.level, log.colour = log.WARNING, None


@pytest.fixture
def node(tmp_path: Path) -> Path:
    path = tmp_path / "app"
    assert main(["-q", "node", "create", str(path), "--no-system-node"]) == 0
    return path


def said(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out


def test_a_repository_is_added_listed_switched_and_removed(
    node: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = "https://h.example/el9/$basearch"
    file = node / "etc/yum.repos.d/vendor.repo"
    options = [
        "--id",
        "vendor",
        "--gpgkey",
        "https://h.example/KEY",
        "--set",
        "priority=7",
        "--repo-gpgcheck",
    ]
    assert main(["node", "repo", "add", str(node), url, *options]) == 0
    assert said(capsys).endswith(f"added repository 'vendor' ({file})\n")
    assert main(["node", "repo", "list", str(node)]) == 0
    lines = said(capsys).splitlines()
    assert lines[0].split() == ["ID", "STATE", "CHECKS", "SOURCE", "NAME"]
    assert lines[1].split()[:3] == ["vendor", "enabled", "packages+metadata"]
    assert main(["node", "repo", "list", str(node), "--json"]) == 0
    (one,) = json.loads(said(capsys))
    assert (one["id"], one["priority"], one["gpgcheck"], one["line"]) == ("vendor", 7, True, 1)
    assert main(["node", "repo", "disable", str(node), "v*"]) == 0
    assert main(["node", "repo", "disable", str(node), "vendor"]) == 0
    assert said(capsys).splitlines() == [
        "disabled repository 'vendor'", "repository 'vendor' was disabled already",
    ]  # fmt: skip
    assert main(["node", "repo", "list", str(node)]) == 0
    assert said(capsys) == "no enabled repositories\n"
    assert main(["node", "repo", "list", str(node), "--all"]) == 0
    assert "disabled" in said(capsys)
    assert main(["node", "repo", "enable", str(node), "vendor"]) == 0
    assert main(["node", "repo", "remove", str(node), "vendor"]) == 0
    assert not file.exists()


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["node", "repo"], 2, "Usage: redpak node repo VERB"),
        (["node", "repo", "lst"], 2, "Did you mean 'list'?"),
        (["node", "repo", "--all"], 2, "needs a verb before '--all'"),
        (["node", "repo", "list", "NOWHERE"], 4, "NOWHERE"),
        (["node", "repo", "remove", "NODE", "x"], 4, "there is no repository 'x'"),
        (["node", "repo", "add", "NODE", "./nothing"], 4, "'./nothing' does not exist"),
        (["node", "repo", "add", "NODE", "https://h/", "--set", "oops"], 2, "'oops' is no setting"),
        (["node", "repo", "add", "NODE", "https://h/", "--set", "gpgcheck=ture"], 2, "neither yes nor no"),
        (
            ["node", "repo", "add", "NODE", "https://h/", "--mirrorlist", "--metalink"],
            2,
            "exclude each other",
        ),
        (
            ["node", "repo", "add", "NODE", "https://h/", "--id", "../x"],
            2,
            "cannot be the id of a repository",
        ),
        (
            ["node", "repo", "add", "NODE", "https://h/", "--id", "main"],
            2,
            "the section of dnf's own options",
        ),
        (
            ["node", "repo", "add", "NODE", "https://h/", "--gpgkey", "./nokey"],
            4,
            "key './nokey' does not exist",
        ),
    ],
)
def test_mistakes_are_told(
    node: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], code: int, told: str
) -> None:
    given = {"NODE": str(node), "NOWHERE": str(tmp_path / "NOWHERE")}
    assert main([given.get(word, word) for word in words]) == code
    assert told in capsys.readouterr().err
    assert list((node / "etc/yum.repos.d").glob("*")) == []


def test_help_of_a_noun_of_two_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["node", "repo", "--help"]) == 0
    text = said(capsys)
    assert "Add, list, remove, enable and disable" in text
    assert "  remove " in text
    assert main(["help", "node", "repo", "add"]) == 0
    assert said(capsys).startswith("Usage: redpak node repo add PATH SOURCE [options]")


def test_a_directory_and_a_key_with_blanks_in_their_names_are_found_again(
    node: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my repo, $new/repodata").mkdir(parents=True)
    (tmp_path / "my key").write_text("")
    monkeypatch.chdir(tmp_path)
    assert (
        main(["node", "repo", "add", str(node), "./my repo, $new", "--id", "blank", "--gpgkey", "my key"])
        == 0
    )
    capsys.readouterr()
    assert main(["node", "repo", "list", str(node), "--json"]) == 0
    (one,) = json.loads(said(capsys))
    assert [local_path(url) for url in one["baseurl"]] == [str(tmp_path / "my repo, $new")]
    assert [local_path(url) for url in one["gpgkey"]] == [str(tmp_path / "my key")]


def test_a_file_without_repositories_is_told_apart(
    node: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "only.repo").write_text("[main]\ngpgcheck=0\n")
    assert main(["node", "repo", "add", str(node), str(tmp_path / "only.repo")]) == 3
    assert "there is no repository in" in capsys.readouterr().err
