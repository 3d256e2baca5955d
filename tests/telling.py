"""A pytest plugin (-p tests.telling): a test that takes longer than REDPAK_TEST_TELL_S seconds tells where it is.

By a signal: pytest has a thread for its own faulthandler_timeout, and what a thread holds at the moment of a raw
clone(2), such as the lock of malloc(3), the child never gets.
"""

from __future__ import annotations

import faulthandler
import os
import signal
from collections.abc import Iterator

import pytest

SECONDS = int(os.environ.get("REDPAK_TEST_TELL_S", "100"))


def pytest_configure() -> None:
    """Tell it on what is standard error now: that of a test is caught."""
    faulthandler.register(signal.SIGALRM, file=os.dup(2), all_threads=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Iterator[None]:
    """Set the alarm for one test. It is not inherited (alarm(2))."""
    signal.alarm(SECONDS)
    try:
        return (yield)
    finally:
        signal.alarm(0)
