from __future__ import annotations

import json
from pathlib import Path

import pytest

from redpak.engine.native.box import Caps, Limit, Process
from redpak.errors import BadConfig
from redpak.oci import process
from tests.oci_configs import FOLDER, faults, read, small

KILL, CHOWN, NET_RAW = 1 << 5, 1 << 0, 1 << 13


def first(**members: object) -> Process:
    return read(small(**{f"process__{name}": value for name, value in members.items()})).box.process


def wrong(**members: object) -> list[str]:
    told = faults(small(**{f"process__{name}": value for name, value in members.items()}))
    return [one.split(":")[0] for one in told]


def test_everything_that_a_process_may_say_is_read() -> None:
    found = first(
        args=["/bin/sh", "-c", ""], env=["A=1", "B="], cwd="/srv", terminal=True,
        consoleSize={"height": 24, "width": 80}, noNewPrivileges=True, oomScoreAdj=-500,
        user={"uid": 7, "gid": 8, "umask": 0o27, "additionalGids": [9, 10], "username": "x"},
        rlimits=[{"type": "RLIMIT_CORE", "soft": 0, "hard": (1 << 64) - 1}],
        ioPriority={"class": "IOPRIO_CLASS_IDLE", "priority": 3},
        scheduler={"policy": "SCHED_BATCH", "nice": 5, "flags": ["SCHED_FLAG_RESET_ON_FORK"]},
        execCPUAffinity={"initial": "0", "final": "1,3-5"},
    )  # fmt: skip
    assert found == Process(
        args=("/bin/sh", "-c", ""), environ=("A=1", "B="), home=True, cwd="/srv", terminal=True, rows=24, columns=80,
        no_new_privs=True, oom_score_adj=-500, uid=7, gid=8, umask=0o27, groups=(9, 10),
        rlimits=(Limit(name="core", soft=0, hard=-1),), io_priority=3 << 13 | 3,
        scheduler=(
            ("sched_policy", 3), ("sched_flags", 1), ("sched_nice", 5), ("sched_priority", 0), ("sched_runtime", 0),
            ("sched_deadline", 0), ("sched_period", 0),
        ),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("members", "where"),
    [
        ({"args": []}, "process.args"),
        ({"args": [""]}, "process.args[0]"),
        ({"args": ["a\0b"]}, "process.args[0]"),
        ({"args": "sh"}, "process.args"),
        ({"cwd": ""}, "process.cwd"),
        ({"env": ["=x"]}, "process.env[0]"),
        ({"env": ["A=1", "PATH"]}, "process.env[1]"),
        ({"env": ["A=\ud800"]}, "process.env[0]"),
        ({"user": {"uid": -1}}, "process.user.uid"),
        ({"user": {"uid": 4294967295}}, "process.user.uid"),
        ({"user": {"umask": 0o1000}}, "process.user.umask"),
        ({"user": {"uid": True}}, "process.user.uid"),
        ({"user": []}, "process.user"),
        ({"terminal": "yes"}, "process.terminal"),
        ({"oomScoreAdj": 1001}, "process.oomScoreAdj"),
        ({"rlimits": [{"type": "RLIMIT_MOON", "soft": 1, "hard": 1}]}, "process.rlimits[0].type"),
        ({"rlimits": [{"type": "RLIMIT_CPU", "soft": 2, "hard": 1}]}, "process.rlimits[0].soft"),
        ({"rlimits": [{"type": "RLIMIT_CPU", "soft": 2}]}, "process.rlimits[0].hard"),
        ({"rlimits": [{"type": "RLIMIT_CPU", "soft": 1, "hard": 1}] * 2}, "process.rlimits[1].type"),
        ({"scheduler": {"policy": "SCHED_MOON"}}, "process.scheduler.policy"),
        ({"scheduler": {}}, "process.scheduler.policy"),
        ({"scheduler": {"policy": "SCHED_OTHER", "priority": 5}}, "process.scheduler.priority"),
        ({"scheduler": {"policy": "SCHED_RR", "runtime": 5}}, "process.scheduler.runtime"),
        ({"scheduler": {"policy": "SCHED_OTHER", "nice": 20}}, "process.scheduler.nice"),
        ({"scheduler": {"policy": "SCHED_OTHER", "flags": ["X"]}}, "process.scheduler.flags[0]"),
        ({"ioPriority": {"class": "IOPRIO_CLASS_X", "priority": 1}}, "process.ioPriority.class"),
        ({"ioPriority": {"class": "IOPRIO_CLASS_RT", "priority": 8}}, "process.ioPriority.priority"),
        ({"execCPUAffinity": {"final": "1-"}}, "process.execCPUAffinity.final"),
        ({"execCPUAffinity": {"initial": "5-2"}}, "process.execCPUAffinity.initial"),
        ({"consoleSize": {"height": 70000, "width": 1}}, "process.consoleSize.height"),
    ],
)
def test_a_wrong_value_is_named(members: dict[str, object], where: str) -> None:
    assert wrong(**members) == [where]


def test_a_home_that_is_said_is_not_looked_up() -> None:
    assert not first(env=["HOME=/x"]).home


def test_a_capability_that_nobody_knows_is_told_and_left_out() -> None:
    found = read(small(process__capabilities={"bounding": ["CAP_KILL", "CAP_MOON"]}))
    assert found.box.process.caps == Caps(bounding=KILL)
    assert found.warnings == (
        "process.capabilities.bounding: there is no capability 'CAP_MOON', ignoring it",
    )


def test_sets_are_made_such_that_the_kernel_takes_them() -> None:
    kinds = {"effective": ["CAP_KILL", "CAP_CHOWN"], "permitted": ["CAP_KILL"], "ambient": ["CAP_KILL"]}
    found = read(small(process__capabilities=kinds))
    assert found.box.process.caps == Caps(effective=KILL, permitted=KILL)
    assert len(found.warnings) == 2


def test_the_document_of_exec_is_a_process() -> None:
    given = json.loads((FOLDER / "podman-exec-process.json").read_text())
    found, warnings = process.parse(given)
    assert (found.args, warnings) == (tuple(given["args"]), [])


def test_a_broken_document_of_exec_has_all_its_faults(tmp_path: Path) -> None:
    (tmp_path / "p").write_text('{"cwd": "x",\n "args": [1]}')
    with pytest.raises(BadConfig) as error:
        process.load(str(tmp_path / "p"))
    assert [str(one).split(" ")[0] for one in error.value.faults] == [
        f"{tmp_path}/p:2:11:",
        f"{tmp_path}/p:1:9:",
    ]
    with pytest.raises(BadConfig):
        process.parse([])


BASE = Process(
    args=("init",),
    environ=("A=1", "B=2"),
    uid=5,
    gid=6,
    groups=(7,),
    caps=Caps(bounding=KILL, permitted=KILL),
)


def test_the_command_line_of_exec_changes_the_containers_own_process() -> None:
    found, warnings = process.changed(
        BASE, ("ls", "-l"), env=("B=3", "C=4"), cwd="/tmp", user="8:9", groups=(10,), caps=("CAP_CHOWN", "CAP_MOON")
    )  # fmt: skip
    assert (found.args, found.environ, found.cwd) == (("ls", "-l"), ("A=1", "B=3", "C=4"), "/tmp")
    assert (found.uid, found.gid, found.groups) == (8, 9, (7, 10))
    both = KILL | CHOWN
    assert found.caps == Caps(
        bounding=both, effective=CHOWN, permitted=both, inheritable=CHOWN, ambient=CHOWN
    )
    assert warnings == ["cap: there is no capability 'CAP_MOON', ignoring it"]


def test_without_options_exec_has_the_rights_of_the_first_process() -> None:
    found, _ = process.changed(BASE, ("ls",))
    assert found == BASE.but(args=("ls",))


@pytest.mark.parametrize("user", ["root", "1:2:3", "-1", "1:", "99999999999"])
def test_a_user_is_numbers(user: str) -> None:
    with pytest.raises(BadConfig):
        process.changed(BASE, ("ls",), user=user)


def test_a_label_that_the_kernel_cannot_give_is_refused_for_exec_too() -> None:
    with pytest.raises(BadConfig):
        process.changed(BASE, ("ls",), apparmor="p", has=lambda _: False)
    assert process.changed(BASE, ("ls",), apparmor="p", has=lambda _: True)[0].apparmor == "p"


def test_unconfined_is_what_everything_is_without_apparmor() -> None:
    found, _ = process.changed(BASE, ("ls",), apparmor="unconfined", has=lambda _: False)
    assert not found.apparmor
    found, _ = process.changed(BASE.but(apparmor="p"), ("ls",), apparmor="unconfined", has=lambda _: True)
    assert found.apparmor == "unconfined"
    with pytest.raises(BadConfig):
        process.changed(BASE, ("ls",), selinux="unconfined", has=lambda _: False)


def test_what_cannot_be_granted_is_taken_from_all_five_sets() -> None:
    every = dict.fromkeys(process.SETS, KILL | NET_RAW)
    assert process.fit(Caps(**every), KILL) == Caps(**dict.fromkeys(process.SETS, KILL))
