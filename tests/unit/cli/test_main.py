"""The frame of the command line: dispatch, help, and errors that become text and exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from redpak import errors, log
from redpak.cli import table
from redpak.cli.main import guard, main
from redpak.origin import Origin
from tests.patience import PATIENCE_S


@pytest.fixture(autouse=True)
def _quiet_again() -> Iterator[None]:
    yield
    log.level, log.colour = log.WARNING, None


@pytest.fixture(autouse=True)
def _no_debug(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REDPAK_DEBUG", raising=False)
    monkeypatch.setenv("NO_COLOR", "1")


def fail(error: BaseException) -> Callable[[], int]:
    def act() -> int:
        raise error

    return act


def test_a_missing_extra_is_one_clear_error(capsys: pytest.CaptureFixture[str]) -> None:
    error = ModuleNotFoundError("No module named 'solv'", name="solv")
    assert guard(fail(error)) == 1
    said = capsys.readouterr().err
    assert "there is no Python module 'solv'" in said
    assert "pip install 'redpak[packages]'" in said
    assert guard(fail(ModuleNotFoundError("No module named 'other'", name="other"))) == 1
    assert "unexpected ModuleNotFoundError" in capsys.readouterr().err


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    for command in table.COMMANDS:
        assert command.name in out
        assert command.help in out


def test_no_command_is_a_usage_error_with_the_help_on_standard_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([]) == 2
    got = capsys.readouterr()
    assert got.out == ""
    assert "Usage: redpak COMMAND" in got.err


def test_the_version_is_printed_as_text_and_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("redpak ")
    assert main(["--version", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["plan"] == 1


@pytest.mark.parametrize("words", [["help", "run"], ["run", "--help"], ["-v", "run", "-h"]], ids=" ".join)
def test_help_for_a_command_can_be_asked_both_ways(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 0
    assert capsys.readouterr().out.startswith("Usage: redpak run PATH [options] [--] [CMD...]")


def test_help_for_a_noun_lists_its_verbs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["node", "--help"]) == 0
    assert "create" in capsys.readouterr().out
    assert main(["node"]) == 2
    got = capsys.readouterr()
    assert (got.out, "create" in got.err) == ("", True)


@pytest.mark.parametrize(
    ("words", "says", "hint"),
    [
        (["plna"], "unknown command 'plna'", "Did you mean 'plan'?"),
        (["xyzzy"], "unknown command 'xyzzy'", "Run 'redpak --help'."),
        (["node", "creat"], "unknown command 'node creat'", "Did you mean 'create'?"),
        (["node", "-x"], "'redpak node' needs a verb before '-x'", "Run 'redpak node --help'."),
        (["--hlep"], "unknown option '--hlep'", "Did you mean '--help'?"),
        (["--color", "blue", "help"], "option '--color' cannot be 'blue'", "Choose one of"),
        (["--version", "x"], "unexpected argument 'x'", "Run 'redpak --version --json'."),
        (["run"], "'PATH' is missing: the node", "Run 'redpak run --help'."),
    ],
    ids=str,
)
def test_a_wrong_command_line_exits_with_2_and_a_hint(
    words: list[str], says: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    got = capsys.readouterr()
    assert got.out == ""
    assert got.err.startswith(f"redpak: error: {says}\nhint: {hint}")


@pytest.mark.parametrize(
    ("words", "level"),
    [
        (["help"], log.WARNING),
        (["-v", "help"], log.INFO),
        (["-v", "help", "-v"], log.DEBUG),
        (["-vv", "help", "-vv"], log.DEBUG),
        (["-q", "help"], log.ERROR),
        (["help", "-q"], log.ERROR),
    ],
    ids=str,
)
def test_verbosity_adds_up(words: list[str], level: int) -> None:
    assert main(words) == 0
    assert log.level == level


def test_colour_is_decided_by_the_option() -> None:
    main(["--color=always", "help"])
    assert log.colourful()
    main(["help", "--color", "never"])
    assert not log.colourful()
    main(["--color", "auto", "help"])
    assert log.colour is None


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.RedpakError("x"), 1),
        (errors.Usage("x"), 2),
        (errors.BadConfig([]), 2),
        (errors.Refused("x"), 3),
        (errors.NotFound("x"), 4),
        (errors.Busy("x"), 5),
        (errors.LaunchFailed("x"), 125),
        (errors.CannotRun("x"), 126),
        (errors.NoProgram("x"), 127),
        (KeyboardInterrupt(), 130),
        (ValueError("x"), 1),
        (OSError(28, "No space left on device", "/x"), 1),
    ],
    ids=repr,
)
def test_every_error_has_its_exit_code(error: BaseException, code: int) -> None:
    assert guard(fail(error)) == code


@pytest.mark.parametrize("error", [errors.RedpakError("x"), ValueError("x")], ids=repr)
def test_what_breaks_before_a_launch_cannot_be_taken_for_the_programs_code(error: Exception) -> None:
    assert guard(fail(error), broke=125) == 125


def test_every_fault_stands_on_its_own_line_as_compilers_write_it(capsys: pytest.CaptureFixture[str]) -> None:
    faults = [
        errors.Fault(
            origin=Origin(file="/a.yaml", line=3, column=7), message="no such mode", hint="Use Public"
        ),
        errors.Fault(origin=Origin(file="/b.yaml", line=1, column=1), message="no alias"),
    ]
    assert guard(fail(errors.BadConfig(faults, hint="Fix them."))) == 2
    assert capsys.readouterr().err.splitlines() == [
        "/a.yaml:3:7: no such mode (Use Public)",
        "/b.yaml:1:1: no alias",
        "redpak: error: 2 faults in the configuration",
        "hint: Fix them.",
    ]


def test_a_name_cannot_give_orders_to_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    guard(fail(errors.NotFound("no node '\x1b[2J\u202e'", hint="see '\x07'")))
    err = capsys.readouterr().err
    assert "\x1b" not in err
    assert "\u202e" not in err
    assert "\x07" not in err


def test_what_nobody_expected_is_one_line_that_says_where(capsys: pytest.CaptureFixture[str]) -> None:
    guard(fail(ValueError("two\nlines")))
    first, hint = capsys.readouterr().err.splitlines()
    assert first.startswith("redpak: error: unexpected ValueError at ")
    assert first.endswith(": two lines")
    assert hint.startswith("hint: Set REDPAK_DEBUG=1")


def test_the_traceback_is_there_for_those_who_ask(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDPAK_DEBUG", "1")
    guard(fail(ValueError("x")))
    assert "Traceback" in capsys.readouterr().err


def test_an_unexpected_os_error_names_the_file(capsys: pytest.CaptureFixture[str]) -> None:
    guard(fail(OSError(28, "No space left on device", "/x")))
    assert "unexpected failure '/x': no space left on device" in capsys.readouterr().err


# As processes


def redpak(*words: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
    code = "from redpak.cli.main import entry; entry()"
    root = os.path.dirname(os.path.dirname(sys.modules["redpak"].__path__[0] + "/"))
    environ = {"PATH": "/usr/bin:/bin", "PYTHONPATH": root}
    argv = [sys.executable, "-c", code, *words]
    done: subprocess.CompletedProcess[bytes] = subprocess.run(
        argv, env=environ, check=False, timeout=PATIENCE_S, **options
    )
    return done


def test_a_reader_that_goes_away_is_no_error_to_talk_about() -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        done = redpak("--help", stdout=write, stderr=subprocess.PIPE)
    finally:
        os.close(write)
    assert done.returncode == 141
    assert done.stderr == b""


def test_a_full_disk_is_an_error() -> None:
    with open("/dev/full", "w") as full:
        done = redpak("--help", stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 1
    assert b"no space left on device" in done.stderr


def test_closed_standard_streams_do_no_harm() -> None:
    done = redpak("--help", stdout=subprocess.PIPE, preexec_fn=lambda: os.close(2))
    assert done.returncode == 0
    assert redpak("--help", preexec_fn=lambda: os.close(1)).returncode == 0


def test_help_imports_no_heavy_module() -> None:
    script = (
        "from redpak.cli.main import main; main(['--help']); main(['run', '--help']);"
        "heavy = {'argparse', 're', 'json', 'typing', 'dataclasses', 'enum', 'subprocess', 'pathlib', 'yaml',"
        " 'contextlib', 'hashlib', 'ctypes'} & set(sys.modules); sys.exit(repr(heavy) if heavy else 0)"
    )
    root = os.path.dirname(os.path.dirname(sys.modules["redpak"].__path__[0] + "/"))
    argv = [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {root!r}); {script}"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr


def test_help_lists_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help", "settings"]) == 0
    assert "  config.share_net " in capsys.readouterr().out
