"""The grammar of dnf's command line, and the [main] configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from redpak.cli.dnf import config, main, options, table
from redpak.cli.dnf.options import Argument, CommandLineError, Option
from redpak.cli.dnf.session import read_conf

PACKAGES = (Argument(dest="packages", count="+", metavar="PACKAGE"),)


def parse(line: str, own: tuple[Option, ...] = ()) -> options.Parsed:
    return options.parse(line.split(), "dnf install", own, PACKAGES)


def test_options_may_stand_anywhere() -> None:
    args = parse("-y install --best foo --installroot /r bar -x a,b")
    assert args.command == "install"
    assert args.values("packages") == ("foo", "bar")
    assert args.flag("assumeyes") and args.flag("best")
    assert args.value("installroot") == "/r"
    assert args.values("exclude") == ("a", "b")


def test_names_of_options_may_be_shortened() -> None:
    assert parse("install --assumey foo").flag("assumeyes")


def test_an_unknown_option_is_said_as_dnf_says_it(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CommandLineError, match="unrecognized arguments: --bogus"):
        parse("install foo --bogus")
    assert main.main(["--installroot", "/nowhere", "install", "--bogus", "x"]) == 2
    assert capfd.readouterr().err.endswith("redwrap-dnf install: error: unrecognized arguments: --bogus\n")
    assert main.main(["--installroot", "/nowhere", "install", "x", "--best", "--nobest"]) == 1
    said = capfd.readouterr()
    assert said.out.startswith("usage: redwrap-dnf")
    assert said.err == "Command line error: argument --nobest: not allowed with argument -b/--best\n"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("install", "the following arguments are required: PACKAGE"),
        ("install x --best --nobest", "argument --nobest: not allowed with argument -b/--best"),
        ("install x --repo a --disablerepo b", "argument --disablerepo: not allowed with argument --repo/--repoid"),
        ("install x --repofrompath a", "argument --repofrompath: bad format: a"),
        ("install x -d loud", "argument -d/--debuglevel: invalid int value: 'loud'"),
        ("install x --sec-severity Bad", "argument --sec-severity/--secseverity: invalid choice: 'Bad'"),
        ("install x --installroot", "argument --installroot: expected one argument"),
    ],
)  # fmt: skip
def test_a_wrong_line_is_said_in_argparse_words(line: str, told: str) -> None:
    with pytest.raises(CommandLineError) as caught:
        parse(line)
    assert told in caught.value.message


def test_the_order_of_enablerepo_and_disablerepo_is_kept() -> None:
    args = parse("install x --disablerepo=* --enablerepo=a,b")
    assert args.values("repos_ed") == ("--disablerepo=*", "--enablerepo=a", "--enablerepo=b")


def test_a_command_may_have_several_names() -> None:
    found = table.find("erase")
    assert found is not None and found.names[0] == "remove"
    assert table.find("frob") is None
    assert table.form_of("install-nevra") == "nevra"
    assert table.form_of("distro-sync") == ""


def test_every_command_has_its_module_and_help() -> None:
    names = [name for command in table.COMMANDS for name in command.names]
    assert len(names) == len(set(names))
    for command in table.COMMANDS:
        module = main.load(command)
        text = main.help_of(command, module.OPTIONS, module.ARGUMENTS, "redwrap-dnf")
        assert text.startswith(f"usage: redwrap-dnf {command.names[0]} [options]")
        assert callable(module.run)


def test_an_unknown_command_is_an_error_of_dnf(capfd: pytest.CaptureFixture[str]) -> None:
    assert main.main(["--installroot", "/nowhere", "instal", "x"]) == 1
    said = capfd.readouterr().err
    assert said.startswith("No such command: instal. Please use redwrap-dnf --help\nIt could be a DNF plugin")
    assert "Did you mean 'install'?" in said


def test_a_place_is_needed_and_only_one(capfd: pytest.CaptureFixture[str]) -> None:
    assert main.main(["install", "x"]) == 2
    assert "no node: --redpath=PATH is missing" in capfd.readouterr().err
    assert main.main(["--redpath", "/a", "--installroot", "/b", "install", "x"]) == 2


# ---- configuration ----


def conf_of(tmp_path: Path, text: str, line: str = "") -> config.Conf:
    (tmp_path / "etc/dnf").mkdir(parents=True, exist_ok=True)
    (tmp_path / "etc/dnf/dnf.conf").write_text(text)
    return read_conf(parse(f"install x {line}"), str(tmp_path), is_node=False)


def test_the_command_line_goes_before_the_file_and_the_file_before_the_defaults(tmp_path: Path) -> None:
    conf = conf_of(tmp_path, "[main]\nbest=1\nobsoletes=0\n", "--nobest --setopt=installonly_limit=5")
    assert not conf.flag("best") and conf.source("best") == "command line"
    assert not conf.flag("obsoletes") and conf.source("obsoletes") == "file"
    assert conf.number("installonly_limit") == 5
    assert conf.flag("strict") and conf.source("strict") == "default"


def test_excludes_add_up_and_an_empty_first_one_starts_anew(tmp_path: Path) -> None:
    text = "[main]\nexclude=a b\n"
    assert conf_of(tmp_path, text, "-x c").list("excludepkgs") == ("a", "b", "c")
    assert conf_of(tmp_path, text, "--setopt=excludepkgs=,c").list("excludepkgs") == ("c",)
    assert conf_of(tmp_path, text, "--setopt=excludepkgs=").list("excludepkgs") == ()


def test_what_is_no_truth_value_is_an_error_and_what_nobody_knows_a_note(tmp_path: Path) -> None:
    with pytest.raises(config.ConfigError, match="invalid boolean value 'perhaps'"):
        conf_of(tmp_path, "", "--setopt=best=perhaps")
    assert conf_of(tmp_path, "", "--setopt=wonder=1").unknown == ["wonder"]


def test_a_bad_value_of_the_file_is_left_out_unless_it_would_check_less(tmp_path: Path) -> None:
    conf = conf_of(tmp_path, "[main]\nbest=perhaps\nwonder=1\n")
    assert not conf.flag("best") and not conf.unknown
    assert "Invalid configuration value: best=perhaps in " in conf.notes[0]
    with pytest.raises(config.ConfigError):
        conf_of(tmp_path, "[main]\ngpgcheck=perhaps\n")


def test_a_configuration_that_is_named_must_exist(tmp_path: Path) -> None:
    with pytest.raises(config.ConfigError, match="does not exist"):
        read_conf(parse("install x -c /not/there.conf"), str(tmp_path), is_node=False)


def test_keys_of_repositories_are_handed_on_only_where_somebody_set_them(tmp_path: Path) -> None:
    conf = conf_of(tmp_path, "[main]\ngpgcheck=1\n", "--setopt=retries=3")
    assert conf.repository_defaults() == (("gpgcheck", "1"), ("retries", "3"))
