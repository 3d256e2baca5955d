"""The command line that `plan --bwrap` prints means to bash what the launch means."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redpak.cli.shellword import command_line
from redpak.engine.spec import Blob, Join, LaunchSpec, Opened, Value
from redpak.origin import DEFAULT
from redpak.plan.model import Rlimit
from redpak.text import Ask, Run, Text, text
from tests.patience import PATIENCE_S

BASH = shutil.which("bash") or "/bin/bash"
SHOW = "/usr/bin/printf"  # stands for bwrap: prints its arguments, each between marks
WORD = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)


def told(spec: LaunchSpec) -> bytes:
    line = command_line(spec)
    return subprocess.run([BASH, "-c", line], capture_output=True, check=True, timeout=PATIENCE_S).stdout


def spec(**given: object) -> LaunchSpec:
    return LaunchSpec(bwrap=SHOW, args=("%s\\0",), uid=1, gid=1).but(**given)


@given(st.lists(WORD, min_size=1, max_size=6))
@settings(max_examples=40, deadline=None)
def test_every_word_reaches_bubblewrap_unchanged(words: list[str]) -> None:
    shown = told(spec(args=("%s\\0", "--", *words)))
    assert shown.decode().split("\0")[1:-1] == words


@given(WORD)
@settings(max_examples=20, deadline=None)
def test_the_content_of_a_file_reaches_its_descriptor_unchanged(content: str) -> None:
    made = spec(bwrap="/bin/cat", args=("/dev/fd/10",), descriptors=(Blob(content=text(content)),))
    assert told(made).decode() == content


def test_what_is_computed_at_start_is_computed_by_the_line() -> None:
    value = Value(content=text("a ", Run(command="echo b; echo"), "'c", Ask(name="UUID")))
    words = told(
        spec(args=("%s\\0", value, Value(content=Text(parts=()), inherited="NO_SUCH_NAME")))
    ).decode()
    first, second, _ = words.split("\0")
    assert first.startswith("a b'c")
    assert len(first) == len("a b'c") + 36
    assert second == ""


def test_output_of_a_command_keeps_its_newlines_in_a_file() -> None:
    blob = Blob(content=text(Run(command="printf 'x\\n\\n'")))
    assert told(spec(bwrap="/bin/cat", args=("/dev/fd/10",), descriptors=(blob,))) == b"x\n\n"


def test_the_filter_is_in_the_line() -> None:
    made = spec(
        bwrap="/bin/cat",
        args=("/dev/fd/11",),
        descriptors=(Opened(path="/etc"), Opened(path="/f.bpf", how="read")),
        seccomp=b"\0\1\xff",
        seccomp_path="/f.bpf",
    )
    assert told(made) == b"\0\1\xff"


def test_the_environment_is_empty_unless_it_is_inherited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OURS", "1")
    made = spec(bwrap="/usr/bin/env", args=())
    assert b"OURS" not in told(made)
    assert b"OURS=1" in told(made.but(inherit_env=True))


def test_what_a_launch_does_besides_is_said() -> None:
    made = spec(
        create=("/a b",),
        umask=0o27,
        rlimits=(Rlimit(name="nofile", soft=1, hard=-1, because=DEFAULT),),
        become=(3, 4),
        joins=(Join(kind="net", path="/run/ns"), Join(kind="user", path="/run/u", fd=9)),
        newtime=True,
        scope=True,
    )
    comments = [line for line in command_line(made).splitlines() if line.startswith("#")]
    for piece in (
        "mkdir -p '/a b'",
        "0027",
        "nofile",
        "user 3, group 4",
        "/run/ns",
        "descriptor 9",
        "Landlock",
    ):
        assert any(piece in line for line in comments)
