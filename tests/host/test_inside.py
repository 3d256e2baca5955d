"""A function in a namespace of its own: what it tells, how it fails, and who is waited for."""

from __future__ import annotations

import os
import signal

import pytest

from redpak.errors import Busy, RedpakError
from redpak.packages.inside import inside
from redpak.packages.transaction import RpmRefused


def test_a_result_and_what_is_told_come_back_in_order() -> None:
    heard: list[object] = []

    def work(tell: object) -> tuple[int, int]:
        for number in range(3):
            tell(("step", number))  # type: ignore[operator]
        return os.geteuid(), len(os.listdir("/proc/self/task"))

    assert inside(work, hear=heard.append) == (0, 1)
    assert heard == [("step", 0), ("step", 1), ("step", 2)]


def test_errors_come_back_as_they_were() -> None:
    def refuse(_: object) -> None:
        error = RpmRefused("no", hint="Do.")
        error.lines = ("a", "b")
        raise error

    with pytest.raises(RpmRefused, match="no") as caught:
        inside(refuse)
    assert (caught.value.hint, caught.value.lines, caught.value.code) == ("Do.", ("a", "b"), 3)

    def strange(_: object) -> None:
        raise ZeroDivisionError("odd")

    with pytest.raises(ZeroDivisionError, match="odd"):
        inside(strange)


def test_a_child_that_is_killed_is_told_of() -> None:
    def die(_: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(RedpakError, match="killed by signal 9"):
        inside(die)


def test_nobody_waits_for_ever_when_the_listener_fails() -> None:
    def talk(tell: object) -> None:
        while True:
            tell("x" * 10_000)  # type: ignore[operator]

    def listen(_: object) -> None:
        raise Busy("enough")

    with pytest.raises(Busy, match="enough"):
        inside(talk, hear=listen)
