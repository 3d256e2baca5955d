"""What a sandbox was told is read as bubblewrap and redpak-join read it: values are never taken for options."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from redpak.engine import inside, prepared
from redpak.errors import LaunchFailed
from redpak.paths import shipped
from redpak.state.found import JOINER, Told

ODD = ("--setenv", "--seccomp", "12", "--setenv", "A", "--caps", "--symlink", "--cap-add", "/ALL")


@pytest.mark.parametrize("starter", ["/usr/bin/bwrap", f"/usr/lib/{JOINER}"])
def test_the_value_of_a_variable_is_no_option(starter: str) -> None:
    kept = ("--caps", "0") if starter.endswith(JOINER) else ("--cap-drop", "ALL")
    told = Told(bwrap=starter, words=(*ODD, *kept, "--seccomp", "10"), program=("sh",))
    options = inside._options(told)
    assert [one[0] for one in options] == ["--setenv", "--setenv", "--symlink", kept[0], "--seccomp"]
    assert inside._kept(options) == 0
    with pytest.raises(LaunchFailed, match="filter"):  # number 10 is not there, 12 was not asked for
        inside._filters(told)


@pytest.mark.parametrize("words", [("--nothing",), ("--setenv", "A"), ("--new-session", "stray")])
def test_what_is_not_understood_is_refused(words: tuple[str, ...]) -> None:
    for starter in ("/usr/bin/bwrap", JOINER):
        with pytest.raises(LaunchFailed, match="not understood"):
            inside._options(Told(bwrap=starter, words=words, program=("sh",)))


def test_every_option_of_redpak_join_is_known() -> None:
    source = Path(shipped("engine", "join.c")).read_text()
    asked = set(re.findall(r'"(--[a-z-]+)"', source)) - {"--json-status-fd", "--args"}
    assert asked == set(prepared.JOIN_WORDS)
