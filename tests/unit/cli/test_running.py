"""The commands for what runs: sizes and times as people write them, paths inside, and what is refused."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from redpak import log
from redpak.cli import containers, cp, grouped, sizes
from redpak.cli.main import main
from redpak.errors import Usage
from redpak.oci import store
from redpak.state import journal, place


@pytest.fixture(autouse=True)
def _own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(place.NAMED, str(tmp_path / "runtime"))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(log, "level", log.WARNING)


@pytest.mark.parametrize(
    ("said", "means"),
    [("0", 0), ("512", 512), ("64K", 65536), ("4m", 4 << 20), ("1GiB", 1 << 30), ("2kb", 2048)],
)
def test_sizes_are_read_as_people_write_them(said: str, means: int) -> None:
    assert sizes.size_bytes(said, "o") == means


@pytest.mark.parametrize("said", ["", "x", "1.5M", "-1", "M", "1X", "١"])
def test_what_is_no_size_is_refused(said: str) -> None:
    with pytest.raises(Usage, match="'--o'"):
        sizes.size_bytes(said, "o")


@pytest.mark.parametrize(
    ("said", "means"), [("90", 90), ("0.5s", 0.5), ("10m", 600), ("1h30m", 5400), ("7d", 604800)]
)
def test_spans_are_read_as_people_write_them(said: str, means: float) -> None:
    assert sizes.span_s(said, "o") == means


@pytest.mark.parametrize("said", ["", "s", "1x", "1..2s", "m5", "-1", "٣s"])
def test_what_is_no_span_is_refused(said: str) -> None:
    with pytest.raises(Usage):
        sizes.span_s(said, "o")


def test_a_moment_is_a_span_before_now_or_a_date() -> None:
    before = time.time()
    assert before <= sizes.moment("10m", "since") + 600 <= time.time()
    assert sizes.moment("2026-11-22T08:40:00Z", "since") == 1795336800.0
    with pytest.raises(Usage):
        sizes.moment("2026-99-99", "since")


def test_what_is_shown_to_people_is_short() -> None:
    assert [sizes.shown(size) for size in (0, 1023, 1024, 3 << 20, 5 << 40)] == [
        "0B",
        "1023B",
        "1.0K",
        "3.0M",
        "5.0T",
    ]
    assert [sizes.age(span) for span in (-1, 59, 60, 7199, 7200, 172800)] == [
        "0s",
        "59s",
        "1m",
        "119m",
        "2h",
        "2d",
    ]


@pytest.mark.parametrize(
    ("word", "means"),
    [
        ("web:/tmp/a", ("web", "/tmp/a")),
        ("./web:/tmp", ("", "./web:/tmp")),
        ("/abs:/tmp", ("", "/abs:/tmp")),
        ("dir/web:/x", ("", "dir/web:/x")),
        ("plain", ("", "plain")),
        ("web:/a:b", ("web", "/a:b")),
    ],
)
def test_a_path_inside_has_its_sandbox_before_a_colon(word: str, means: tuple[str, str]) -> None:
    assert cp.parted(word) == means


@pytest.mark.parametrize("word", ["web:relative", "web:", ":/a"])
def test_a_path_inside_that_is_not_whole_is_refused(word: str) -> None:
    with pytest.raises(Usage):
        cp.parted(word)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["ps", "--nonsense"], 2),
        (["stop"], 2),
        (["stop", "nosuch"], 4),
        (["stop", "-t", "soon", "nosuch"], 2),
        (["kill", "-s", "NO", "nosuch"], 2),
        (["exec", "nosuch"], 2),
        (["exec", "nosuch", "true"], 4),
        (["exec", "--tty", "--no-tty", "nosuch", "true"], 2),
        (["exec", "-e", "=x", "nosuch", "true"], 4),
        (["wait", "nosuch"], 4),
        (["logs", "--tail", "many", "nosuch"], 2),
        (["logs", "--tail", "all", "nosuch"], 4),
        (["logs", "--since", "9999999999999999999d", "nosuch"], 2),
        (["exec", "-it", "nosuch", "true"], 2),
        (["exec", "-i", "nosuch", "true"], 4),
        (["run", "-d", "--log-size", "0", "/nosuch"], 2),
        (["run", "-d", "--log-size", "63K", "/nosuch"], 2),
        (["logs", "nosuch"], 4),
        (["events", "--filter", "colour=red"], 2),
        (["events", "--filter", "event=party"], 2),
        (["cp", "a", "b"], 2),
        (["rm"], 2),
        (["rm", "--ended"], 0),
        (["run", "--name", "x", "/nosuch"], 2),
        (["run", "-d", "--log-size", "big", "/nosuch"], 2),
    ],
)
def test_every_mistake_has_its_code_and_no_traceback(
    words: list[str], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == code
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    assert (said.err == "") == (code == 0)


@pytest.mark.parametrize("words", [["stop"], ["exec", "-T"], ["logs"], ["inspect", "--json"]])
def test_a_container_of_redpak_oci_is_left_to_that(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    id_ = "0123456789abcdef"
    (tmp_path / "states" / id_).mkdir(parents=True)
    monkeypatch.setattr(store, "default_root", lambda: str(tmp_path / "states"))
    for word in (id_, id_[: containers.SHOWN_ID]):
        assert main([*words, word, *(["true"] if "exec" in words else [])]) == 4
        said = capsys.readouterr().err
        assert f"'{word}' is a container of redpak-oci" in said
        assert f"redpak-oci state {id_};" in said
    assert main(["stop", id_[:5]]) == 4
    assert "redpak-oci" not in capsys.readouterr().err


def test_events_of_the_past_can_be_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    for id_, name, event in (("a1", "web", "start"), ("b2", "db", "start"), ("a1", "web", "exit")):
        journal.note(event, id_, name=name)

    def told(*words: str) -> list[tuple[str, str]]:
        assert main(["events", "--no-follow", "--json", *words]) == 0
        shown = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        return [(one["id"], one["event"]) for one in shown]

    assert told() == [("a1", "start"), ("b2", "start"), ("a1", "exit")]
    assert told("--filter", "name=web", "--filter", "event=exit") == [("a1", "exit")]
    assert told("--filter", "id=b") == [("b2", "start")]
    assert told("--since", "2000-01-01T00:00:00Z") == told()
    assert main(["events", "--no-follow"]) == 0
    assert "start    a1 name=web" in capsys.readouterr().out


def test_nothing_that_runs_is_an_empty_list_and_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ps", "--all", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert [one for one in shown if one["detached"] and one["engine"] != "redpak-oci"] == []
    assert main(["stats", "--no-stream", "--json"]) == 0
    assert isinstance(json.loads(capsys.readouterr().out), list)


def test_an_event_shows_a_command_as_a_shell_takes_it(capsys: pytest.CaptureFixture[str]) -> None:
    journal.note("exec", "a1", name="web", command=["sh", "-c", "echo 'a b'"], pid=7)
    assert main(["events", "--no-follow"]) == 0
    assert """command=sh -c 'echo '"'"'a b'"'"'' pid=7""" in capsys.readouterr().out


def test_quiet_ps_prints_ids_and_no_headings(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ps", "-q"]) == 0
    assert "NODE" not in capsys.readouterr().out


@pytest.mark.parametrize(("word", "here"), [("unpause", "redpak resume"), ("attach", "redpak enter")])
def test_words_of_other_container_programs_are_translated(
    word: str, here: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([word, "web"]) == 2
    assert here in capsys.readouterr().err


def test_the_smallest_limit_of_a_family_counts(tmp_path: Path) -> None:
    groups = (
        tmp_path / "redpak:base",
        tmp_path / "redpak:base/redpak:app",
        tmp_path / "redpak:base/redpak:app/leaf-1",
    )
    for group, limit in zip(groups, ("4096", "8192", "max"), strict=True):
        group.mkdir()
        (group / "memory.max").write_text(f"{limit}\n")
    (tmp_path / "memory.max").write_text("1\n")  # of somebody else's, above the family
    assert grouped.tightest({"": str(groups[-1])}, "memory", ("memory.max",)) == 4096
    assert grouped.tightest({"": str(groups[-1])}, "pids", ("pids.max",)) is None
