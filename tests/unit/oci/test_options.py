from __future__ import annotations

import pytest

from redpak.errors import Usage
from redpak.oci import about
from redpak.oci.commands import COMMANDS, GLOBAL
from redpak.oci.options import parse
from redpak.oci.texts import TEXTS

KNOWN = {"bundle": "b=", "detach": "d", "env": "e=*", "pid-file": "="}


@pytest.mark.parametrize(
    "words",
    [
        ["--bundle", "/b", "x"],
        ["--bundle=/b", "x"],
        ["-bundle", "/b", "x"],
        ["-b", "/b", "x"],
        ["-b=/b", "x"],
        ["x", "--bundle", "/b"],
    ],
)
def test_a_value_is_found_however_it_is_written(words: list[str]) -> None:
    options, rest = parse(words, KNOWN)
    assert (options.text("bundle"), rest) == ("/b", ["x"])


def test_an_option_that_may_be_repeated_keeps_every_value_in_order() -> None:
    options, rest = parse(["-e", "A=1", "--env=B=2=3", "x"], KNOWN)
    assert (options.several("env"), rest) == (["A=1", "B=2=3"], ["x"])


def test_a_flag_can_be_said_not_to_be_there() -> None:
    assert parse(["--detach"], KNOWN)[0].flag("detach")
    assert parse(["--detach=true"], KNOWN)[0].flag("detach")
    assert not parse(["--detach=false"], KNOWN)[0].flag("detach")


def test_what_follows_two_dashes_is_no_option() -> None:
    assert parse(["--", "-d", "--bundle"], KNOWN)[1] == ["-d", "--bundle"]


def test_the_options_of_the_program_to_run_are_its_own() -> None:
    options, rest = parse(["-d", "box", "ls", "-b", "--env"], KNOWN, stop_at=1)
    assert (options.flag("detach"), options.text("bundle"), rest) == (True, "", ["box", "ls", "-b", "--env"])


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--nothing"], "there is no option '--nothing'"),
        (["-x"], "there is no option '-x'"),
        (["--bundle"], "wants a value"),
        (["--detach=perhaps"], "neither"),
        (["---bundle", "x"], "there is no option"),
    ],
)
def test_a_wrong_option_is_named(words: list[str], part: str) -> None:
    with pytest.raises(Usage, match=part):
        parse(words, KNOWN)


def test_a_number_is_a_number() -> None:
    options, _ = parse(["--pid-file", "12x"], KNOWN)
    with pytest.raises(Usage, match="whole number"):
        options.number("pid-file")


def test_every_option_says_what_it_does_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    for name, known in {"": GLOBAL, **{name: entry[2] or {} for name, entry in COMMANDS.items()}}.items():
        about.usage(name)
        lines = capsys.readouterr().out.splitlines()
        assert set(TEXTS.get(name, {})) == set(known)
        for option, kind in known.items():
            (line,) = [
                one for one in lines if one.startswith(f"  --{option}") and one[4 + len(option)] in " ,"
            ]
            words, _, text = line.strip().partition("  ")
            assert text.strip(), line
            assert words.endswith(option) == ("=" not in kind and not kind[:1].isalpha()), line
            assert len(line) <= 110
