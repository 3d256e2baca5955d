"""Evaluation of what is only known at start (unconfined here: the host ring runs it confined)."""

from __future__ import annotations

import os

import pytest

from redpak.engine import commands
from redpak.engine.spec import Blob, LaunchSpec, Value
from redpak.errors import LaunchFailed
from redpak.text import Ask, Run, text
from tests.unit.engine.plans import HERE, bind, plan

pytestmark = pytest.mark.needs("program:bash")


def spec(*args: str | Value, **more: object) -> LaunchSpec:
    """Return a LaunchSpec whose commands run unconfined."""
    return LaunchSpec(bwrap="/none", args=args, uid=os.getuid(), gid=os.getgid(), confine=False, **more)  # type: ignore[arg-type]


def value(*parts: object, **more: object) -> Value:
    """Return an open word."""
    return Value(content=text(*parts), because=HERE, **more)  # type: ignore[arg-type]


def test_commands_answer_in_their_own_places() -> None:
    slow = Run(command="sleep 0.05; echo slow")
    given = spec(
        "--setenv",
        "A",
        value("<", slow, "|", Run(command="echo quick"), ">"),
        descriptors=(Blob(content=text(slow)),),
    )
    done = commands.settle(given)
    assert done.args == ("--setenv", "A", "<slow|quick>")
    assert done.descriptors == (Blob(content=text("slow\n")),)


def test_newlines_are_stripped_or_kept() -> None:
    run = Run(command="echo x; echo; echo")
    assert commands.settle(spec(value(run), value(run, strip=False))).args == ("x", "x\n\n\n")


def test_asked_values_are_new_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIVEN", "it's")
    monkeypatch.delenv("NOT_GIVEN", raising=False)
    pid, one, other, given, absent = commands.settle(
        spec(
            value(Ask(name="PID")),
            value(Ask(name="UUID")),
            value(Ask(name="UUID")),
            value(inherited="GIVEN"),
            value(inherited="NOT_GIVEN"),
        )
    ).args
    assert pid == str(os.getpid())
    assert one != other
    assert (given, absent) == ("it's", "")


@pytest.mark.parametrize(
    ("command", "part"),
    [
        ("exit 3", "failed with code 3"),
        ("kill -9 $$", "killed by signal 9"),
        ("head -c 2000000 /dev/zero", "more than 1048576 bytes"),
        ("cd /", "failed with code 1"),
    ],
)
def test_a_command_that_fails_is_named(command: str, part: str) -> None:
    with pytest.raises(LaunchFailed, match=part) as told:
        commands.settle(spec(value(Run(command=command)), value(Run(command="sleep 100"))))
    assert "etc/redpak.yaml:7" in told.value.message


def test_a_command_that_hangs_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "TIMEOUT_S", 0.1)
    with pytest.raises(LaunchFailed, match="ran longer"):
        commands.settle(spec(value(Run(command="sleep 100"))))


def test_a_nul_byte_never_reaches_the_arguments() -> None:
    with pytest.raises(LaunchFailed, match="NUL"):
        commands.settle(spec("A", value(Run(command="printf 'a\\0--bind'"))))


def test_the_callers_environment_goes_in_front(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEEN", "x")
    done = commands.settle(spec("--setenv", "SEEN", "ours", inherit_env=True))
    assert done.args[-3:] == ("--setenv", "SEEN", "ours")
    assert ("--setenv", "SEEN", "x") in [done.args[at : at + 3] for at in range(0, len(done.args), 3)]


def test_sources_that_commands_name_are_settled_first() -> None:
    made = plan(bind("/a", text(Run(command="echo /usr"))), bind("/b", "/etc"), profile="upstream-2.5")
    settled = commands.settle_sources(made, "/none").mounts
    assert settled[0] == bind("/a", "/usr\n")  # that profile keeps the newline
    assert settled[1] == bind("/b", "/etc")
