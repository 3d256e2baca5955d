"""What somebody new reads: help, tables and hints."""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
import termios
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest

from redpak.cli import output
from redpak.cli.options import Argument, Verb, parse
from redpak.errors import RedpakError, Usage
from redpak.fs import write_atomically
from tests.conftest import Program


@pytest.mark.parametrize("command", ["plan", "explain", "plan-diff", "freeze", "doctor", "run"])
def test_a_summary_is_folded_like_a_paragraph(redpak: Program, command: str) -> None:
    lines = redpak(command, "--help").out.splitlines()
    paragraph = lines[2 : lines.index("", 2)]
    assert all(len(line) <= 100 for line in paragraph)
    for above, below in pairwise(paragraph):
        assert len(f"{above} {below.split()[0]}") > 100, (above, below)


def test_what_must_be_given_is_not_shown_as_optional(redpak: Program) -> None:
    assert redpak("explain", "--help").out.startswith("Usage: redpak explain PATH THING... [options]\n")
    missing = redpak("explain", "/tmp")
    assert missing.code == 2
    assert "'THING' is missing" in missing.err


def test_an_argument_of_one_or_more_words_needs_one() -> None:
    verb = Verb(
        name="do",
        summary="",
        arguments=(Argument(name="THING", help="a thing", kind="some"),),
        main=lambda args: 0,
    )
    assert parse(verb, ["a", "b"]).words("THING") == ("a", "b")
    with pytest.raises(Usage, match="'THING' is missing: a thing"):
        parse(verb, [])


def test_commands_with_codes_of_their_own_say_so(redpak: Program) -> None:
    told = redpak("plan-diff", "--help").out
    assert "\n  1  they differ\n" in told
    assert "\n  1  launches cannot work\n" in redpak("doctor", "--help").out


def test_a_comparison_that_fails_is_not_a_difference(redpak: Program, tmp_path: Path) -> None:
    """As diff(1) and cmp(1): 1 is an answer, trouble is another code."""
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    assert redpak("plan-diff", loop / "x", loop / "x").code == 2


def test_a_name_that_starts_with_a_dash_gets_a_hint() -> None:
    verb = Verb(name="do", summary="", arguments=(Argument(name="PATH", help="it"),), main=lambda args: 0)
    with pytest.raises(Usage) as caught:
        parse(verb, ["-dash"])
    assert caught.value.hint == "Run 'redpak do --help'; a name that starts with '-' is written './-dash'."


def test_one_long_cell_does_not_stretch_the_column() -> None:
    long = "/nodes/a/usr/bin:" * 20
    lines = output.table([("A", "short", "f:1"), ("B", long, "f:2"), ("C", "middle", "f:3")])
    assert lines[0] == "  A  short   f:1"
    assert lines[1] == f"  B  {long}  f:2"
    assert lines[2] == "  C  middle  f:3"


def test_on_a_narrow_terminal_what_does_not_fit_goes_to_the_next_line() -> None:
    long = ":".join(["/nodes/a/usr/bin"] * 6)
    lines = output.table([("A", "short", "f:1"), ("PATH", long, "file:22")], width=60)
    assert lines[0] == "  A     short  f:1"
    assert lines[1:] == [
        "  PATH  /nodes/a/usr/bin:/nodes/a/usr/bin:/nodes/a/usr/bin:",
        "        /nodes/a/usr/bin:/nodes/a/usr/bin:/nodes/a/usr/bin",
        "        file:22",
    ]
    assert all(len(line) <= 60 for line in lines)


def test_text_without_a_place_to_break_is_broken_anywhere() -> None:
    lines = output.table([("K", "x" * 100, "f:1")], width=40)
    assert "".join(line.strip() for line in lines) == "K  " + "x" * 100 + "  f:1"
    assert all(len(line) <= 40 for line in lines)


def test_a_plan_fits_a_terminal_and_a_pipe_gets_whole_lines(redpak: Program, pool: Path) -> None:
    redpak("node", "create", pool / "platform")
    outer, inner = os.openpty()
    fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 72, 0, 0))
    words = [*redpak.argv, "plan", str(pool / "platform")]
    done = subprocess.Popen(words, stdout=inner, env=redpak.environ, cwd=pool)
    os.close(inner)
    shown = b""
    try:
        while piece := os.read(outer, 65536):
            shown += piece
    except OSError:  # how a terminal ends that nobody writes to any more
        pass
    os.close(outer)
    assert done.wait() == 0
    assert max(len(line) for line in shown.decode().splitlines()) <= 72
    piped = redpak("plan", pool / "platform", env={"COLUMNS": "72"}).out
    assert "".join(piped.split()) == "".join(shown.decode().split())
    assert f"  family  system ({pool}) > platform ({pool}/platform)\n".split() == [
        word for line in piped.splitlines() if line.startswith("family") for word in line.split()
    ]


def test_a_file_that_cannot_be_written_is_named_as_it_was_asked_for(tmp_path: Path) -> None:
    with pytest.raises(RedpakError) as caught:
        write_atomically(f"{tmp_path}/nowhere/x", b"")
    assert caught.value.message == f"cannot write '{tmp_path}/nowhere/x': no such file or directory"


def test_a_plan_can_come_through_a_pipe(redpak: Program, pool: Path) -> None:
    """As the shell's <(redpak plan NODE --json) gives it."""
    redpak("node", "create", pool / "n")
    end, start = os.pipe()
    document = redpak("plan", pool / "n", "--json").out.encode()

    def fill() -> None:
        with os.fdopen(start, "wb") as pipe:
            pipe.write(document)

    with ThreadPoolExecutor() as aside:
        writing = aside.submit(fill)
        same = redpak("plan-diff", f"/dev/fd/{end}", pool / "n", pass_fds=(end,))
        writing.result()
    os.close(end)
    assert (same.code, same.out) == (0, ""), same


def test_a_full_disk_behind_standard_output_is_no_bug_of_ours(redpak: Program, pool: Path) -> None:
    redpak("node", "create", pool / "n")
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [*redpak.argv, "node", "list", str(pool)],
            stdout=full,
            stderr=subprocess.PIPE,
            env=redpak.environ,
            check=False,
        )
    told = done.stderr.decode()
    assert (done.returncode, told) == (
        1,
        "redpak: error: cannot write to standard output: no space left on device\n",
    )


@pytest.mark.parametrize(
    ("thing", "says"),
    [
        ("namespace:foo", "hint: Choose one of cgroup, ipc, mount, net, pid, time, user, uts."),
        ("", "error: the name of the thing is empty"),
    ],
)
def test_things_that_are_not_there_get_a_hint(redpak: Program, pool: Path, thing: str, says: str) -> None:
    redpak("node", "create", pool / "n")
    assert says in redpak("explain", pool / "n", thing).err


def test_a_missing_directory_is_not_called_something_else(redpak: Program) -> None:
    assert "'/nonexistent' does not exist" in redpak("node", "list", "/nonexistent").err
