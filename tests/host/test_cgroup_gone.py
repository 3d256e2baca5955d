"""A group that is removed under our hands while a family is entered: nothing of the first try stays."""

from __future__ import annotations

import os

import pytest

from redpak.cgroup import family, layout, manager
from redpak.origin import Origin
from redpak.plan.model import Limit, Member, Plan

pytestmark = [pytest.mark.needs("root"), pytest.mark.needs("cgroup-v1")]
NODE = f"/gone{os.getpid()}"


def groups() -> list[str]:
    found = []
    for mount in {*layout.look().v1.values(), layout.look().v2} - {""}:
        for folder, names, _ in os.walk(mount):
            found += [
                f"{folder}/{name}" for name in names if f"{family.PREFIX}{NODE[1:]}" in f"{folder}/{name}"
            ]
    return found


def test_a_second_try_leaves_no_leaf_of_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = tuple(
        Limit(node=NODE, key=key, value=value, because=Origin(file="f", line=1))
        for key, value in (("pids.max", "9"), ("cpuset.cpus", "0"))
    )
    plan = Plan(
        node=NODE, profile="sealed", admin=False, family=(Member(alias="x", name="", path=NODE),), mounts=(),
        environ=(), namespaces=(), limits=limits, uid=0, gid=0,
    )  # fmt: skip
    real = manager.inherit_cpuset
    times: list[str] = []

    def lost_once(at: str, *, new: bool = False) -> None:
        times.append(at)
        if len(times) == 1:
            raise FileNotFoundError(2, "No such file or directory", at)
        real(at, new=new)

    monkeypatch.setattr(manager, "inherit_cpuset", lost_once)
    group = family.enter(plan)
    leaves = {os.path.basename(at) for at in groups() if os.path.basename(at).startswith(family.LEAF)}
    assert len(times) > 1
    assert len(leaves) == 1
    group.remove()
    assert groups() == []
