"""plan, explain and plan-diff on a real family of nodes: what they print, and that they touch nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from redpak import log
from redpak.cli.main import main

OLD = """\
headers: {alias: old}
config: {hostname: first, path: /usr/bin}
exports:
  - {mode: Restricted, mount: /usr, path: /usr}
  - {mode: Symlink, mount: /bin, path: usr/bin}
  - {mode: Execfd, mount: /etc/passwd, path: touch RAN}
environ:
  - {key: COLOUR, value: red}
"""
LEAF = """\
headers: {alias: leaf}
config: {hostname: second}
exports:
  - {mode: Public, mount: /data, path: $NODE_PATH/data}
environ:
  - {key: COLOUR, value: green}
  - {key: MADE, value: $(touch RAN)}
"""


@pytest.fixture(autouse=True)
def _quiet_again(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("NO_COLOR", "1")
    yield
    log.level, log.colour = log.WARNING, None


@pytest.fixture
def leaf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a leaf below one ancestor, with defaults of the core OS that say nothing."""
    main_file = tmp_path / "main.yaml"
    main_file.write_text("config: {}\n")
    monkeypatch.setenv("redpak_MAIN", str(main_file))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    for node, text in ((tmp_path / "old", OLD), (tmp_path / "old/leaf", LEAF)):
        (node / "etc").mkdir(parents=True)
        (node / ".rednode.yaml").write_text(f"realpath: {node}\ntimestamp: 1700000000000\nstate: Enable\n")
        (node / "etc/redpak.yaml").write_text(text)
    return tmp_path / "old/leaf"


def everything(root: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in root.rglob("*")}


def test_a_plan_is_a_table_with_the_file_and_line_of_everything(
    leaf: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", str(leaf), "--", "ls", "a b"]) == 0
    got = capsys.readouterr()
    shown = [" ".join(line.split()) for line in got.out.splitlines()]
    old = leaf.parent / "etc/redpak.yaml"
    assert f"node {leaf}" in shown
    assert "command ls 'a b'" in shown
    assert f"ro /usr /usr {old}:4" in shown
    assert f"new file /etc/passwd will run: touch RAN {old}:6" in shown
    assert f"COLOUR red {old}:8" in shown
    assert f"hostname first {old}:2" in shown
    assert "none" in shown
    assert any(line.startswith("variable COLOUR green") for line in shown)
    assert got.err == ""


def test_a_dry_run_touches_nothing(leaf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = everything(tmp_path)
    for words in (["plan"], ["plan", "--json"]):
        assert main([*words, str(leaf)]) == 0
    assert main(["explain", str(leaf), "/usr/bin", "MADE", "net"]) == 0
    assert main(["plan-diff", str(leaf), str(leaf.parent)]) == 1
    assert everything(tmp_path) == before
    capsys.readouterr()


def test_a_plan_can_be_kept_and_compared(
    leaf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", str(leaf), "--json"]) == 0
    kept = tmp_path / "kept.json"
    kept.write_text(capsys.readouterr().out)
    assert json.loads(kept.read_text())["redpak-plan"] == 1
    assert main(["plan-diff", str(kept), str(leaf)]) == 0
    assert capsys.readouterr().out == ""
    config = leaf / "etc/redpak.yaml"
    config.write_text(config.read_text().replace("mode: Public", "mode: Restricted"))
    assert main(["plan-diff", str(kept), str(leaf)]) == 1
    assert capsys.readouterr().out.startswith("~ mount /data\n    was rw ")
    assert main(["plan-diff", "--json", str(kept), str(leaf)]) == 1
    [change] = json.loads(capsys.readouterr().out)
    assert change["after"]["origin"] == {"file": str(config), "line": 4, "column": 5}


def test_only_one_form_of_a_plan_can_be_asked(leaf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", str(leaf), "--json", "--bwrap"]) == 2
    assert "exclude each other" in capsys.readouterr().err


def test_a_file_that_is_no_plan_is_a_fault_with_its_name(
    leaf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.json").write_text("{}")
    assert main(["plan-diff", str(tmp_path / "x.json"), str(leaf)]) == 2
    assert capsys.readouterr().err.startswith(f"{tmp_path / 'x.json'}: the document is no plan")


def test_explain_follows_the_hosts_own_symlinks(leaf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (leaf / "data").mkdir()
    (leaf / "data/link").symlink_to("/usr/bin")
    assert main(["explain", str(leaf), "/data/link"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("path /data/link: the host's '/usr/bin', read-only")
    assert "leads to     /usr/bin, following symlinks" in out
    assert f"[{leaf.parent / 'etc/redpak.yaml'}:4]" in out


def test_explain_answers_several_questions_as_json(leaf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", str(leaf), "hostname", "$COLOUR", "CAP_CHOWN", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [one["thing"] for one in told] == ["setting hostname", "variable COLOUR", "capability CAP_CHOWN"]
    assert [one["asked"] for one in told[0]["lost"]] == ["second"]
    assert told[1]["origin"]["line"] == 8


def test_explain_needs_a_question_and_knows_what_looks_alike(
    leaf: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", str(leaf)]) == 2
    assert main(["explain", str(leaf), "COLOR"]) == 4
    assert "hint: Did you mean 'COLOUR'" in capsys.readouterr().err


def test_what_is_no_node_is_not_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["plan"], ["explain", "x"], ["plan-diff"]):
        words = [command[0], str(tmp_path), *command[1:]]
        assert main([*words, str(tmp_path)] if command[0] == "plan-diff" else words) == 4
    capsys.readouterr()


def test_a_strict_plan_takes_redefinitions_as_errors(leaf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", str(leaf), "--strict"]) == 2
    err = capsys.readouterr().err
    assert f"{leaf / 'etc/redpak.yaml'}:2:" in err
    assert f"{leaf / 'etc/redpak.yaml'}:6:" in err


def test_every_fault_of_the_family_is_reported_at_once(
    leaf: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (leaf / "etc/redpak.yaml").write_text("headers: {alias: leaf}\nexprots: []\nenviron: 3\n")
    (leaf.parent / "etc/redpak.yaml").write_text("headers: {alias: 'a b'}\n")
    assert main(["plan", str(leaf)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len([line for line in lines if line.startswith(str(leaf.parent) + "/")]) >= 3


def test_names_cannot_give_orders_to_the_terminal(leaf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = leaf / "etc/redpak.yaml"
    config.write_text(config.read_text() + '  - {key: EVIL, value: "\\e[2J\\nfake"}\n')
    assert main(["plan", str(leaf)]) == 0
    assert main(["explain", str(leaf), "EVIL"]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\nfake" not in out


def test_the_schema_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    assert "properties" in json.loads(capsys.readouterr().out)
