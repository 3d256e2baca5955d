"""The difference of two plans, item by item."""

from __future__ import annotations

import json

import pytest

from redpak.origin import DEFAULT, Origin
from redpak.plan import diff
from redpak.plan.model import Capability, Choice, FileInput, Limit, Namespace, Plan, Rlimit, SetVar, UnsetVar
from redpak.plan.ops import Bind, Dir, Lock
from redpak.plan.tidy import tidy
from redpak.text import text

HERE = Origin(file="/n/etc/redpak.yaml", line=3)
THERE = Origin(file="/n/etc/redpak.yaml", line=9)
USR = Bind(dst="/usr", src=text("/usr"), because=HERE)


def plan(**given: object) -> Plan:
    base = Plan(
        node="/n", profile="sealed", family=(), mounts=(USR,), environ=(), namespaces=(), uid=1, gid=1
    )
    return tidy(base.but(**given))


def test_a_plan_does_not_differ_from_itself() -> None:
    assert diff.diff(plan(), plan()) == []


def test_who_asked_does_not_count_unless_everything_does() -> None:
    moved = plan(mounts=(USR.but(because=THERE),), files=(FileInput(path="/x", sha256="1"),))
    assert diff.diff(plan(), moved) == []
    assert [change.thing for change in diff.diff(plan(), moved, everything=True)] == [
        "mount /usr",
        "input /x",
    ]


@pytest.mark.parametrize(
    ("given", "thing"),
    [
        ({"node": "/m"}, "node"),
        ({"uid": 0}, "uid"),
        ({"command": ("sh",)}, "command"),
        ({"mounts": (USR.but(readonly=False),)}, "mount /usr"),
        ({"mounts": (USR.but(missing="skip"),)}, "mount /usr"),
        ({"mounts": (USR.but(beneath="/n"),)}, "mount /usr"),
        ({"mounts": (USR, Lock(dst="/usr", because=HERE))}, "lock /usr"),
        ({"environ": (SetVar(key="A", value=text("1"), because=HERE),)}, "variable A"),
        ({"environ": (UnsetVar(key="A", because=HERE),)}, "variable A"),
        ({"namespaces": (Namespace(kind="net", mode="host", because=HERE),)}, "namespace net"),
        ({"capabilities": (Capability(name="CAP_CHOWN", because=HERE),)}, "capability CAP_CHOWN"),
        ({"rlimits": (Rlimit(name="nofile", soft=1, hard=2, because=HERE),)}, "rlimit nofile"),
        ({"limits": (Limit(node="/n", key="pids.max", value="5", because=HERE),)}, "limit pids.max of /n"),
        ({"choices": (Choice(name="hostname", value="h", because=HERE),)}, "setting hostname"),
    ],
    ids=str,
)
def test_every_kind_of_difference_is_found_in_both_directions(given: dict[str, object], thing: str) -> None:
    assert [change.thing for change in diff.diff(plan(), plan(**given))] == [thing]
    assert [change.thing for change in diff.diff(plan(**given), plan())] == [thing]


def test_a_difference_reads_well() -> None:
    old = plan(mounts=(USR, Dir(dst="/var", because=HERE)))
    new = plan(mounts=(USR.but(readonly=False, because=THERE), Dir(dst="/srv", because=DEFAULT)))
    assert diff.lines(diff.diff(old, new)) == [
        "~ mount /usr",
        "    was ro /usr   [/n/etc/redpak.yaml:3]",
        "    now rw /usr   [/n/etc/redpak.yaml:9]",
        "- mount /var: dir (empty)   [/n/etc/redpak.yaml:3]",
        "+ mount /srv: dir (empty)   [default]",
    ]


def test_a_difference_is_data() -> None:
    shown = json.loads(json.dumps(diff.document(diff.diff(plan(), plan(uid=0, mounts=())))))
    assert shown == [
        {
            "change": "changed",
            "thing": "uid",
            "before": {"value": "1", "origin": None},
            "after": {"value": "0", "origin": None},
        },
        {
            "change": "removed",
            "thing": "mount /usr",
            "before": {"value": "ro /usr", "origin": {"file": "/n/etc/redpak.yaml", "line": 3}},
            "after": None,
        },
    ]
