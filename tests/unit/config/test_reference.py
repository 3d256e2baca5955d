"""The reference page says what the merge does."""

from __future__ import annotations

from redpak.config import reference
from redpak.config.sealed_limits import BINDING


def entry(name: str) -> str:
    """Return what the page says of one setting."""
    return reference.page().partition(f"# {name}\n")[2].partition("\n#")[0]


def test_only_limits_that_bind_are_said_to_bind() -> None:
    for group, key in BINDING:
        assert "may only lower it" in entry(f"config.cgroups.{group}.{key}"), key
    for name in ("mem.min", "mem.oom_group", "cpu.weight", "cpuset.cpus_partition", "io.cost_model"):
        told = entry(f"config.cgroups.{name}")
        assert "may only lower it" not in told, name
        assert "each node sets it for its own group" in told, name
    assert "In a family" not in entry("config.cgroups.mem")
    assert "may only lower it" in entry("config.rlimits.nofile")
