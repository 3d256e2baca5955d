from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from redpak.errors import BadConfig, Usage
from redpak.oci import update
from redpak.oci.commands import COMMANDS
from redpak.oci.options import parse


def asked(*words: str) -> dict[str, Any]:
    known = COMMANDS["update"][2]
    assert known is not None
    return update.asked(parse(words, known)[0])


def test_every_option_becomes_the_number_that_the_specification_has_for_it() -> None:
    assert asked(
        "--memory",
        "64m",
        "--memory-swap=-1",
        "--pids-limit",
        "50",
        "--cpu-quota",
        "-1",
        "--cpuset-cpus",
        "0-1",
    ) == {
        "memory": {"limit": 64 << 20, "swap": -1},
        "pids": {"limit": 50},
        "cpu": {"quota": -1, "cpus": "0-1"},
    }


def test_zero_asks_for_nothing_but_an_idle_class() -> None:
    assert asked("--memory", "0", "--cpu-idle", "0") == {"cpu": {"idle": 0}}


def test_a_document_replaces_the_options(tmp_path: Path) -> None:
    file = tmp_path / "r.json"
    file.write_text(json.dumps({"memory": {"limit": 5}}))
    assert asked("-r", str(file), "--memory", "64m") == {"memory": {"limit": 5}}


def test_a_document_that_is_none_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "r.json"
    file.write_text("{")
    with pytest.raises(BadConfig):
        asked("-r", str(file))
    file.write_text("[]")
    with pytest.raises(Usage):
        asked("-r", str(file))


@pytest.mark.parametrize(
    ("text", "size"), [("1", 1), ("1k", 1024), ("1.5G", 3 << 29), ("2MiB", 2 << 20), ("-1", -1)]
)
def test_a_size_may_have_a_unit(text: str, size: int) -> None:
    assert update.size(text, "memory") == size


@pytest.mark.parametrize("text", ["", "m", "x", "-2", "1e9999g", "inf", "nan", "99999999999p", "1 2"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(Usage):
        update.size(text, "memory")


def test_to_change_nothing_is_no_update() -> None:
    with pytest.raises(Usage):
        asked()


def test_what_cannot_be_had_is_refused_by_name() -> None:
    with pytest.raises(Usage, match="l3-cache-schema"):
        asked("--l3-cache-schema", "L3:0=f")
