"""The native engine looks at a plan once, whoever makes the sandbox then."""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

import pytest

from redpak.engine import bwrap, host, run
from tests.host.engine_plans import shell

if TYPE_CHECKING:
    from redpak.engine.spec import LaunchSpec
    from redpak.plan.model import Plan


class Lowered(Exception):
    """The plan was lowered: far enough."""


@pytest.mark.needs("cc")  # with a compiler there is redpak-join: ./dev setup builds it
@pytest.mark.parametrize("helper", [True, False])
def test_a_plan_is_lowered_once(helper: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDPAK_NO_HELPER", "" if helper else "1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    called = {bwrap.lower.__code__: 0, host.look.__code__: 0}

    def count(frame: FrameType, event: str, _argument: object) -> None:
        if event == "call" and frame.f_code in called:
            called[frame.f_code] += 1

    def stop(_plan: Plan, _spec: LaunchSpec) -> NoReturn:
        raise Lowered

    sys.setprofile(count)
    try:
        with pytest.raises(Lowered):
            run.run(shell("true"), engine="native", lowered=stop)
    finally:
        sys.setprofile(None)
    assert list(called.values()) == [1, 1]
