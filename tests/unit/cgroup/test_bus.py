"""What systemd is told: names that it takes, and limits as the kernel's files have them."""

from __future__ import annotations

from pathlib import Path

import pytest

from redpak.cgroup import bus, systemd
from redpak.cgroup.resources import Resources
from redpak.errors import Refused


@pytest.mark.parametrize(
    "path",
    ["system.slice:p:a b", "::a@b", "::ü", f"::{'n' * 250}", "x:p:n", "a--b.slice:p:n", ".slice:p:n", "-a.slice::n"],
)  # fmt: skip
def test_a_name_that_systemd_does_not_take_is_refused_before_it_is_asked(path: str) -> None:
    with pytest.raises(Refused):
        systemd.unit_of(path)


def test_a_scopes_group_is_found_where_the_kernel_keeps_its_name_for_itself() -> None:
    assert systemd.within("/system.slice/_memory.scope/leaf", "memory.scope") == "/system.slice/_memory.scope"
    assert systemd.within("/system.slice/a.scope", "a.scope") == "/system.slice/a.scope"
    assert systemd.within("/system.slice/not-a.scope2/x", "a.scope") == ""


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"cpu.max": "33333 99999", "cpu.weight": "59", "cpu.idle": "0"}, {
            "CPUQuotaPerSecUSec": 340000, "CPUQuotaPeriodUSec": 99999, "CPUWeight": 59}),
        ({"cpu.max": "max 100000", "cpu.weight": "0", "cpu.idle": "1"}, {
            "CPUQuotaPerSecUSec": bus.INFINITY, "CPUQuotaPeriodUSec": 100000, "CPUWeight": 0}),
        ({"memory.max": "max", "memory.high": "4096"}, {"MemoryMax": bus.INFINITY, "MemoryHigh": 4096}),
        ({"pids.max": "7"}, {"TasksMax": 7}),
        ({"io.weight": "default 200\n8:0 300"}, {"IOWeight": 200}),
        ({"io.bfq.weight": "default 190"}, {"IOWeight": 1090}),
        ({}, {}),
    ],
)  # fmt: skip
def test_systemd_is_told_what_the_files_say(
    tmp_path: Path, files: dict[str, str], told: dict[str, int]
) -> None:
    for name, words in files.items():
        (tmp_path / name).write_text(words + "\n")
    said = bus.in_force(str(tmp_path), {"cpu", "memory", "pids", "io", "cpuset"})
    assert {name: int(words[0]) for name, _, words in said} == told


@pytest.mark.parametrize(
    ("quota", "period", "percent"),
    [
        (50_000, 100_000, 50),
        (33_333, 99_999, 34),
        (1000, 1_000_000, 1),
        (1500, 100_000, 2),
        (150_000, 100_000, 150),
    ],
)
def test_systemd_is_told_whole_percents_and_never_none(quota: int, period: int, percent: int) -> None:
    said = {name: words for name, _, words in bus.properties(Resources(cpu_quota=quota, cpu_period=period))}
    assert said["CPUQuotaPerSecUSec"] == [str(percent * 10_000)]
