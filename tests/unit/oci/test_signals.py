from __future__ import annotations

import signal

import pytest

from redpak.errors import Usage
from redpak.oci import signals


@pytest.mark.parametrize("word", ["TERM", "SIGTERM", "term", "sigterm", "15"])
def test_a_signal_has_many_spellings(word: str) -> None:
    assert signals.number(word) == signal.SIGTERM


def test_every_signal_of_this_system_is_known_by_its_name() -> None:
    assert {name.name: signals.number(name.name) for name in signal.Signals} == {
        name.name: name.value for name in signal.Signals
    }


def test_real_time_signals_are_counted_from_either_end() -> None:
    assert signals.number("RTMIN+3") == signal.SIGRTMIN + 3
    assert signals.number("SIGRTMAX-1") == signal.SIGRTMAX - 1


def test_no_signal_at_all_asks_whether_there_is_somebody() -> None:
    assert signals.number("0") == 0


@pytest.mark.parametrize(
    "word", ["", "NOPE", "65", "-9", "SIG_BLOCK", "_DFL", "RTMIN+99", "RTMAX-99", "9.5", "٩"]
)
def test_what_is_no_signal_is_refused(word: str) -> None:
    with pytest.raises(Usage):
        signals.number(word)
