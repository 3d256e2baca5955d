"""The manual comes from the tables, so every command, option and exit code is in it."""

from __future__ import annotations

import subprocess

import pytest

from redpak.cli import manpage, options, table
from redpak.cli.main import load
from tests.patience import PATIENCE_S


def test_every_command_keeps_the_contract_of_the_table() -> None:
    for command in table.COMMANDS:
        module = load(command)
        assert module.SUMMARY
        assert hasattr(module, "VERBS") or callable(module.main)


def test_every_verb_option_and_exit_code_is_in_both_forms() -> None:
    roff, markdown = manpage.roff().replace("\\-", "-"), manpage.markdown()
    for verb in manpage.verbs():
        for form in (roff, markdown):
            assert verb.called in form
            for option in verb.options:
                assert options.spelled(option) in form
    for code, _ in (*options.OWN_CODES, *options.LAUNCH_CODES):
        assert f"`{code}`" in markdown


def test_every_verb_has_help_examples_and_short_options_of_its_own() -> None:
    for verb in manpage.verbs():
        assert options.help_text(verb).startswith(f"Usage: {verb.called}")
        assert verb.examples, verb.name
        known = [*verb.options, *options.GLOBAL]
        names = [option.name for option in known]
        shorts = [option.short for option in known if option.short]
        assert len(set(names)) == len(names), verb.name
        assert len(set(shorts)) == len(shorts), verb.name
        for option in known:
            assert option.kind == "flag" or option.metavar, f"{verb.name} --{option.name}"


@pytest.mark.needs("program:groff")
def test_the_manual_is_valid_roff() -> None:
    argv = ["groff", "-man", "-Tutf8", "-ww", "-z"]
    done = subprocess.run(
        argv, input=manpage.roff().encode(), capture_output=True, check=False, timeout=PATIENCE_S
    )
    assert (done.returncode, done.stderr) == (0, b"")
