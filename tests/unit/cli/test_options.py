"""The table-driven parser: what the user may write, what is refused, and what the help says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redpak.cli.options import Argument, Arguments, Option, Verb, folded, help_text, parse, usage_line
from redpak.errors import Usage


def verb(*arguments: Argument, launches: bool = False) -> Verb:
    return Verb(
        name="do",
        summary="Do it.",
        arguments=arguments,
        options=(
            Option(name="admin", short="a", help="as admin"),
            Option(name="output", short="o", metavar="FILE", kind="value", help="where to"),
            Option(name="set", metavar="X", kind="repeat", help="settings"),
            Option(name="how", metavar="WAY", kind="value", choices=("fast", "slow"), help="how"),
        ),
        examples=(("redpak do x", "does x"),),
        launches=launches,
        main=lambda _args: 0,
    )


PATH = Argument(name="PATH", help="the node")
MORE = Argument(name="MORE", help="more", kind="optional")
MANY = Argument(name="THING", help="things", kind="many")
CMD = Argument(name="CMD", help="the program", kind="command")


def test_options_may_stand_before_and_after_words() -> None:
    args = parse(verb(PATH, MORE), ["-a", "x", "--output", "f", "y", "--how=fast"])
    assert (args.word("PATH"), args.word("MORE")) == ("x", "y")
    assert args.flag("admin")
    assert (args.value("output"), args.value("how")) == ("f", "fast")


@pytest.mark.parametrize(
    "words", [["--output", "f"], ["--output=f"], ["-o", "f"], ["-of"], ["-ao", "f"], ["-aof"]], ids=" ".join
)
def test_a_value_may_be_written_in_every_usual_way(words: list[str]) -> None:
    assert parse(verb(), words).value("output") == "f"


def test_the_last_value_counts_and_repeated_ones_are_kept_in_order() -> None:
    args = parse(verb(), ["-o", "1", "-o2", "--set", "a", "--set=b=c", "--set="])
    assert args.value("output") == "2"
    assert args.values("set") == ("a", "b=c", "")
    assert args.value("how", "none") == "none"


def test_a_value_may_look_like_an_option() -> None:
    assert parse(verb(), ["-o", "--admin"]).value("output") == "--admin"


def test_verbosity_is_counted() -> None:
    assert parse(verb(), ["-vv", "--verbose"]).count("verbose") == 3


def test_a_double_dash_ends_the_options() -> None:
    args = parse(verb(PATH, MANY), ["x", "--", "-a", "--", "y"])
    assert not args.flag("admin")
    assert args.words("THING") == ("-a", "--", "y")


def test_a_lone_dash_is_a_word() -> None:
    assert parse(verb(PATH), ["-"]).word("PATH") == "-"


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (["x"], ()),
        (["x", "ls", "-l", "-a"], ("ls", "-l", "-a")),
        (["x", "-a", "--", "ls", "-a"], ("ls", "-a")),
        (["-a", "x", "--", "-ls"], ("-ls",)),
        (["--", "x", "ls"], ("ls",)),
        (["x", "ls", "--", "y"], ("ls", "--", "y")),
        (["x", "--", "--", "y"], ("--", "y")),
        (["x", "--"], ()),
    ],
    ids=" ".join,
)
def test_the_first_word_after_the_path_starts_the_command(words: list[str], command: tuple[str, ...]) -> None:
    args = parse(verb(PATH, CMD), words)
    assert args.word("PATH") == "x"
    assert args.words("CMD") == command


@given(st.lists(st.text()))
def test_whatever_the_command_is_it_comes_through_behind_a_double_dash(command: list[str]) -> None:
    assert parse(verb(PATH, CMD), ["x", "--", *command]).words("CMD") == tuple(command)


@pytest.mark.parametrize(
    ("words", "says", "hint"),
    [
        ([], "'PATH' is missing: the node", "Run 'redpak do --help'."),
        (["x", "y"], "unexpected argument 'y'", "Run 'redpak do --help'."),
        (["x", "--amdin"], "unknown option '--amdin'", "Did you mean '--admin'?"),
        (["x", "-z"], "unknown option '-z'", "Run 'redpak do --help'."),
        (["x", "--output"], "option '--output' needs a value (FILE)", "Run 'redpak do --help'."),
        (["x", "-o"], "option '-o' needs a value (FILE)", "Run 'redpak do --help'."),
        (["x", "--admin=yes"], "option '--admin' takes no value", "Run 'redpak do --help'."),
        (["x", "--how=fats"], "option '--how' cannot be 'fats'", "Choose one of fast, slow."),
    ],
    ids=str,
)
def test_a_wrong_command_line_is_refused_with_a_hint(words: list[str], says: str, hint: str) -> None:
    with pytest.raises(Usage) as caught:
        parse(verb(PATH), words)
    assert (caught.value.message, caught.value.hint) == (says, hint)


def test_help_needs_no_arguments() -> None:
    assert parse(verb(PATH), ["--help"]).flag("help")


def test_an_unknown_name_in_the_code_is_an_error() -> None:
    args = Arguments(verb())
    with pytest.raises(KeyError):
        args.flag("amdin")


def test_help_shows_usage_then_examples_then_options_then_exit_codes() -> None:
    shown = help_text(verb(PATH, MORE, CMD))
    order = ["Usage: redpak do PATH [MORE] [options] [--] [CMD...]", "Do it.", "Examples:", "redpak do x"]
    order += ["Arguments:", "Options:", "-o, --output FILE", "-h, --help", "Exit codes:"]
    places = [shown.index(piece) for piece in order]
    assert places == sorted(places)


def test_only_what_launches_tells_the_codes_of_launches() -> None:
    assert "128+n" in help_text(verb(launches=True))
    assert "128+n" not in help_text(verb())


def test_another_program_has_its_own_name_in_usage_and_hints() -> None:
    other = verb(PATH).but(program="redwrap", name="")
    assert usage_line(other) == "redwrap PATH [options]"
    with pytest.raises(Usage) as caught:
        parse(other, [])
    assert caught.value.hint == "Run 'redwrap --help'."


@given(st.lists(st.text("abc", min_size=1, max_size=30)), st.integers(0, 20))
def test_folding_loses_no_word_and_keeps_to_the_width(words: list[str], indent: int) -> None:
    lines = folded(" ".join(words), indent, 60)
    assert " ".join(lines).split() == words
    assert all(len(line) <= 60 for line in lines)
