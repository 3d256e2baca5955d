"""Options as getopt_long(3) reads them, and what redwrap makes of them."""

from __future__ import annotations

import pytest

from redpak.cli.compat.getopt import Switch, parse
from redpak.cli.compat.redwrap_options import request
from redpak.errors import Usage

SWITCHES = (
    Switch(key="dump", longs=("dump",)),
    Switch(key="dump-only", longs=("dump-only",), shorts="D"),
    Switch(key="admin", longs=("admin",), shorts="a", takes="optional"),
    Switch(key="node", longs=("redpath", "rpath", "rp"), shorts="r", takes="value"),
)


@pytest.mark.parametrize(
    ("words", "given"),
    [
        (["--redpath", "P"], [("node", "P")]),
        (["--redpath=P=Q"], [("node", "P=Q")]),
        (["--red", "P", "--rp=Q"], [("node", "P"), ("node", "Q")]),
        (["-r", "P"], [("node", "P")]),
        (["-rP"], [("node", "P")]),
        (["-Da"], [("dump-only", None), ("admin", None)]),
        (["-aDr"], [("admin", "Dr")]),
        (["--admin=F", "--admin="], [("admin", "F"), ("admin", "")]),
        (["--dump"], [("dump", None)]),
        (["--dump-"], [("dump-only", None)]),
        (["--r", "P"], [("node", "P")]),
    ],
)
def test_options(words: list[str], given: list[tuple[str, str | None]]) -> None:
    assert parse(words, SWITCHES, permute=True) == (given, [])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--nosuch"], "unrecognized option '--nosuch'"),
        (["--d"], "option '--d' is ambiguous; possibilities: '--dump' '--dump-only'"),
        (["--dump=x"], "option '--dump' doesn't allow an argument"),
        (["--redpath"], "option '--redpath' requires an argument"),
        (["-r"], "option requires an argument -- 'r'"),
        (["-x"], "invalid option -- 'x'"),
    ],
)
def test_wrong_options(words: list[str], told: str) -> None:
    with pytest.raises(Usage) as caught:
        parse(words, SWITCHES, permute=True)
    assert caught.value.message == told


def test_permuting_takes_options_after_words_and_two_dashes_end_them() -> None:
    words = ["a", "-D", "--", "-D"]
    assert parse(words, SWITCHES, permute=True) == ([("dump-only", None)], ["a", "-D"])
    assert parse(words, SWITCHES, permute=False) == ([], ["a", "-D", "--", "-D"])


def test_options_after_the_program_are_the_programs() -> None:
    asked = request(["--rp", "/n", "-D", "ls", "-l", "--admin", "--", "x"])
    assert asked.command == ("ls", "-l", "--admin", "--", "x")
    assert (asked.dump_only, asked.admin) == (True, False)
    assert request(["--rp", "/n", "--", "-x"]).command == ("-x",)


def test_every_option_of_redwrap() -> None:
    asked = request(
        [
            "-r/n",
            "-aF",
            "-b",
            "/b",
            "--dump",
            "-fno",
            "-uyes",
            "-U",
            "me",
            "--gid=5",
            "-S",
            "L",
            "-v7",
            "true",
        ]
    )
    assert (asked.redpath, asked.admin, asked.bwrap, asked.dump) == ("/n", True, "/b", True)
    assert (asked.strict, asked.force, asked.verbosity) == (True, False, 7)
    assert asked.overrides == {"set-user": "me", "set-group": "5", "smack": "L"}
    assert request(["--strict", "--rpath=/n"]).strict
    assert request(["--force", "--rpath=/n"]).force


@pytest.mark.parametrize("words", [["-f=x"], ["--strict=maybe"], ["-u1"], ["--verbose=loud"]])
def test_values_that_redwrap_does_not_take(words: list[str]) -> None:
    with pytest.raises(Usage):
        request([*words, "--redpath=/n"])
