"""Evaluation of what is only known at start (unconfined here: the host ring runs it confined)."""

from __future__ import annotations

import os

import pytest

from redpak.engine import commands, run
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


def known(given: LaunchSpec) -> list[str]:
    """Return the words of a LaunchSpec when everything is evaluated."""
    return [one if isinstance(one, str) else str(one.content) for one in commands.settle(given).args]


def test_commands_answer_in_their_own_places() -> None:
    slow = Run(command="sleep 0.05; echo slow")
    given = spec(
        "--setenv",
        "A",
        value("<", slow, "|", Run(command="echo quick"), ">"),
        descriptors=(Blob(content=text(slow)),),
    )
    done = commands.settle(given)
    assert known(given) == ["--setenv", "A", "<slow|quick>"]
    assert done.descriptors == (Blob(content=text("slow\n")),)


def test_newlines_are_stripped_or_kept() -> None:
    command = Run(command="echo x; echo; echo")
    assert known(spec(value(command), value(command, strip=False))) == ["x", "x\n\n\n"]


def test_asked_values_are_new_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIVEN", "it's")
    monkeypatch.delenv("NOT_GIVEN", raising=False)
    pid, one, other, given, absent = known(
        run.inherit(
            spec(
                value(Ask(name="PID")),
                value(Ask(name="UUID")),
                value(Ask(name="UUID")),
                value(inherited="GIVEN"),
                value(inherited="NOT_GIVEN"),
            )
        )
    )
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


def test_the_callers_environment_is_added_to_what_the_plan_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SEEN", "GONE", "KEPT", "rp_7"):
        monkeypatch.setenv(name, "the caller's")
    words = known(run.inherit(spec("--setenv", "SEEN", "ours", "--unsetenv", "GONE", inherit_env=True)))
    assert words[-5:] == ["--setenv", "SEEN", "ours", "--unsetenv", "GONE"]
    theirs = [words[at + 1] for at in range(0, len(words) - 5, 3)]
    assert "KEPT" in theirs
    assert not {"SEEN", "GONE", "rp_7"} & set(theirs)


def test_sources_that_commands_name_are_settled_first() -> None:
    made = plan(bind("/a", text(Run(command="echo /usr"))), bind("/b", "/etc"), profile="upstream-2.5")
    settled = commands.settle_sources(made, "/none").mounts
    assert settled[0] == bind("/a", "/usr\n")  # that profile keeps the newline
    assert settled[1] == bind("/b", "/etc")
