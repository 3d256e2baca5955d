"""`redpak run`: what it hands to the engine, by the engine that starts nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from redpak import log
from redpak.cli.main import main
from redpak.cli.run import myself
from redpak.engine import fake


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("NO_COLOR", "1")
    fake.started.clear()
    yield
    fake.answer[0] = 0
    log.level = log.WARNING


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return one small node."""
    (tmp_path / "main.yaml").write_text("config: {}\n")
    monkeypatch.setenv("redpak_MAIN", str(tmp_path / "main.yaml"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    at = tmp_path / "node"
    (at / "etc").mkdir(parents=True)
    (at / ".rednode.yaml").write_text(f"realpath: {at}\ntimestamp: 1700000000000\nstate: Enable\n")
    (at / "etc/redpak.yaml").write_text("headers: {alias: node}\n")
    return str(at)


def run(*words: str) -> int:
    return main(["run", "--engine", "fake", *words])


def test_the_default_program_is_a_shell(node: str) -> None:
    assert run(node) == 0
    assert fake.started[0][0].command == ("sh",)


def test_options_behind_the_program_are_the_programs(node: str) -> None:
    assert run(node, "ls", "--strict", "-a") == 0
    plan, options = fake.started[0]
    assert plan.command == ("ls", "--strict", "-a")
    assert not options.strict


def test_options_reach_the_engine(node: str) -> None:
    assert run("--force", node, "--bwrap", "/b", "--strict", "--", "--odd") == 0
    plan, options = fake.started[0]
    assert plan.command == ("--odd",)
    assert (options.force, options.strict, options.bwrap) == (True, True, "/b")


def test_the_programs_exit_code_comes_through(node: str) -> None:
    fake.answer[0] = 130
    assert run(node, "x") == 130


def test_a_failed_start_is_explained_by_the_same_redpak_with_the_same_options(node: str) -> None:
    assert run("--admin", node, "x") == 0
    explain = fake.started[0][1].explain
    assert explain == (*myself(), "run", "--why-failed", "--admin", "--", node)
    assert main(["run", "--why-failed", "--admin", "--", node, "1", "nosuch"]) == 127


def test_an_engine_that_does_not_exist_is_a_usage_error(
    node: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "--engine", "warp", node]) == 2
    assert (
        "hint: Choose one of: auto, bwrap, native.\n" in capsys.readouterr().err
    )  # none that is for tests only


def test_what_failed_must_be_said(node: str) -> None:
    assert main(["run", "--why-failed", node, "x"]) == 2


def test_warnings_are_told_and_the_start_goes_on(node: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path(node, "etc/redpak.yaml").write_text(
        "headers: {alias: node}\nenviron: [{key: A, value: $NOBODY_KNOWS}]\n"
    )
    assert run(node, "x") == 0
    assert "NOBODY_KNOWS" in capsys.readouterr().err
    assert run("-q", node, "x") == 0
    assert capsys.readouterr().err == ""
