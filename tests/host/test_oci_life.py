"""The life of a container: every command in every state, as the runtime specification and its clients expect it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.host.oci_site import Site
from tests.patience import PATIENCE_S, eventually

pytestmark = pytest.mark.needs("userns", "program:busybox")
FOREVER = ("sleep", "1000")
ENDS_WELL = ("sh", "-c", "trap 'exit 3' TERM; touch /tmp/ready; while :; do sleep 0.05; done")


@pytest.fixture
def oci(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    site.clean()


def test_a_container_goes_through_its_states(oci: Site) -> None:
    oci.create("a", *FOREVER, annotations={"k": "v"})
    state = oci.state("a")
    assert (state["status"], state["id"], state["ociVersion"]) == ("created", "a", "1.2.0")
    assert state["annotations"] == {"k": "v"}
    assert state["bundle"] == str(oci.scratch / "bundle-a")
    pid = state["pid"]
    assert Path(f"/proc/{pid}/cmdline").read_bytes() != b"sleep\x001000\x00"
    assert oci("start", "a").code == 0
    assert oci.state("a")["status"] == "running"
    oci.becomes(pid, *FOREVER)
    assert oci("kill", "a", "KILL").code == 0
    oci.ended("a", pid)
    state = oci.state("a")
    assert (state["status"], state["pid"]) == ("stopped", 0)
    assert oci("delete", "a").code == 0
    gone = oci("state", "a")
    assert (gone.code, "does not exist" in gone.err) == (1, True)


def test_what_a_state_does_not_allow_is_refused_and_changes_nothing(oci: Site) -> None:
    oci.create("a", *FOREVER)
    before = oci.state("a")
    refused = oci("delete", "a")
    assert (refused.code, "not stopped" in refused.err) == (1, True)
    again = oci("create", "--bundle", oci.scratch / "bundle-a", "a")
    assert (again.code, "already exists" in again.err) == (1, True)
    assert oci.state("a") == before
    assert oci("start", "a").code == 0
    twice = oci("start", "a")
    assert (twice.code, "already running" in twice.err) == (1, True)
    assert oci("delete", "a").code == 1
    assert oci("kill", "a", "NOPE").code == 1
    assert oci.state("a")["status"] == "running"
    assert oci("kill", "a", "9").code == 0
    oci.ended("a", before["pid"])
    assert "has stopped" in oci("start", "a").err
    killed = oci("kill", "a", "TERM")
    assert (killed.code, "container not running" in killed.err) == (1, True)
    assert "container not running" in oci("exec", "a", "true").err


@pytest.mark.parametrize(
    "command", ["state", "start", "kill", "delete", "exec", "pause", "resume", "ps", "events"]
)
def test_a_container_that_is_not_there_is_said_not_to_exist(oci: Site, command: str) -> None:
    done = oci(command, "none", *(["true"] if command == "exec" else []))
    assert (done.code, "does not exist" in done.err) == (255 if command == "exec" else 1, True)
    assert done.out == ""


def test_to_delete_by_force_what_is_not_there_is_no_error(oci: Site) -> None:
    assert oci("delete", "--force", "none").code == 0


def test_force_deletes_a_container_in_any_state(oci: Site) -> None:
    for name in ("created", "running"):
        oci.create(name, *FOREVER)
    oci("start", "running")
    pids = [oci.state(name)["pid"] for name in ("created", "running")]
    for name in ("created", "running"):
        assert oci("delete", "--force", name).code == 0
    for name, pid in zip(("created", "running"), pids, strict=True):
        oci.ended(name, pid)
    assert os.listdir(oci.root) == []


def test_a_signal_reaches_the_program_and_its_exit_code_comes_back(oci: Site) -> None:
    bundle = oci.bundle("a", *ENDS_WELL)
    with oci.popen(
        "run", "--bundle", bundle, "a", stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as running:
        while oci("exec", "a", "test", "-e", "/tmp/ready").code != 0:
            assert running.poll() is None, running.communicate()
        running.terminate()  # the runtime hands it on
        assert running.wait(PATIENCE_S) == 3, running.stdout.read() if running.stdout else ""
    assert oci("state", "a").code == 1


@pytest.mark.parametrize(("script", "code"), [("exit 0", 0), ("exit 42", 42), ("kill -KILL $$", 137)])
def test_run_ends_as_the_program_does(oci: Site, script: str, code: int) -> None:
    ended = oci.run("a", "sh", "-c", f"sh -c '{script}'; exit $?")
    assert ended.code == code, ended
    assert os.listdir(oci.root) == []


def test_run_passes_input_and_output_through(oci: Site) -> None:
    done = oci.run("a", "sh", "-c", "cat; echo err >&2", stdin=b"fed\n")
    assert (done.out, done.err) == ("fed\n", "err\n")


def test_a_kept_container_is_deleted_by_hand(oci: Site) -> None:
    assert oci("run", "--keep", "--bundle", oci.bundle("a", "true"), "a").code == 0
    assert oci.state("a")["status"] == "stopped"
    assert oci("delete", "a").code == 0


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("/no/such", "no such file or directory"),
        ("nosuch", "executable file not found"),
        ("/etc", "permission denied"),
    ],
)
def test_a_program_that_cannot_be_run_is_said_so_in_the_words_that_clients_look_for(
    oci: Site, program: str, words: str
) -> None:
    log = oci.scratch / "log"
    made = oci("--log", log, "--log-format", "json", "create", "--bundle", oci.bundle("a", program), "a")
    assert made.code == 1
    (line,) = log.read_text().splitlines()
    said = json.loads(line)
    assert (said["level"], program in said["msg"], words in said["msg"]) == ("error", True, True), said
    assert oci("state", "a").code == 1


def test_the_program_of_a_created_container_does_not_see_a_later_change_of_the_bundle(oci: Site) -> None:
    oci.create("a", "sh", "-c", "test $A = 1 && sleep 1000")
    oci.bundle("a", "false", process={"env": ["PATH=/bin", "A=2"]})
    oci("start", "a")
    done = oci("exec", "a", "sh", "-c", "echo $A")
    assert done.out == "1\n", done


def test_exec_changes_what_its_options_say(oci: Site) -> None:
    oci.create("a", *FOREVER)
    oci("start", "a")
    done = oci("exec", "--env", "B=2", "--cwd", "/tmp", "a", "sh", "-c", "echo $A $B $PWD $(id -u); exit 7")
    assert (done.out, done.code) == ("1 2 /tmp 0\n", 7), done
    assert oci("exec", "a", "cat", "/proc/self/status").out.count("NoNewPrivs:\t1") == 1


def test_exec_takes_a_document(oci: Site) -> None:
    oci.create("a", *FOREVER)
    oci("start", "a")
    document = oci.scratch / "process.json"
    document.write_text(
        json.dumps(
            {
                "args": ["sh", "-c", "echo $X"],
                "cwd": "/",
                "env": ["PATH=/bin", "X=5"],
                "user": {"uid": 0, "gid": 0},
            }
        )
    )
    assert oci("exec", "--process", document, "a").out == "5\n"
    pid_file = oci.scratch / "pid"
    document.write_text(document.read_text().replace("echo $X", "sleep 1000"))
    assert oci("exec", "--detach", "--pid-file", pid_file, "--process", document, "a").code == 0
    pid = int(pid_file.read_text())
    oci.becomes(pid, *FOREVER)  # the last command of a shell takes its place
    oci("delete", "--force", "a")
    oci.ended("exec", pid)


def test_what_cannot_be_run_by_exec_is_said_so(oci: Site) -> None:
    oci.create("a", *FOREVER)
    oci("start", "a")
    done = oci("exec", "a", "/no/such")
    assert (done.code, "no such file or directory" in done.err) == (255, True), done


def test_the_list_shows_every_container(oci: Site) -> None:
    for name in ("b", "a"):
        oci.create(name, *FOREVER)
    assert oci("list", "--quiet").out == "a\nb\n"
    found = json.loads(oci("list", "--format", "json").out)
    assert [(one["id"], one["status"]) for one in found] == [("a", "created"), ("b", "created")]
    first, *rows = oci("list").out.splitlines()
    assert first.split() == ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]
    assert [row.split()[0] for row in rows] == ["a", "b"]


def test_descriptors_are_preserved_when_asked_and_closed_when_not(oci: Site) -> None:
    read, write = os.pipe()
    bundle = oci.bundle("a", "sh", "-c", "echo here >&3")
    try:
        argv = [*oci.argv, "run", "--preserve-fds", "1", "--bundle", str(bundle), "a"]
        given = [(os.POSIX_SPAWN_DUP2, write, 3)]
        pid = os.posix_spawn(argv[0], argv, oci.environ(), file_actions=given)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert os.read(read, 100) == b"here\n"
        ended = oci.run("b", "sh", "-c", "test -e /proc/self/fd/3 && exit 9; exit 0")
        assert ended.code == 0, ended
    finally:
        os.close(read)
        os.close(write)


def test_a_terminal_that_nobody_would_take_is_refused(oci: Site) -> None:
    made = oci("create", "--bundle", oci.bundle("a", "true", process={"terminal": True}), "a")
    assert (made.code, "console socket" in made.err) == (1, True)


HOOK = """#!/bin/sh
echo "$1 $(cat)" >>"$2"
exit "$3"
"""


def hooks(oci: Site, **codes: int) -> dict[str, list[dict[str, object]]]:
    """Return a hook for each phase that writes its state to a file; those in `codes` end with that code."""
    program = oci.scratch / "hook"
    program.write_text(HOOK)
    program.chmod(0o755)
    phases = ("prestart", "createRuntime", "createContainer", "poststart", "poststop")
    return {
        phase: [
            {"path": str(program), "args": ["hook", phase, str(oci.scratch / "told"), str(codes.get(phase, 0))],
             "env": ["PATH=/usr/bin:/bin"]}
        ]
        for phase in phases
    }  # fmt: skip


def told(oci: Site) -> list[tuple[str, str]]:
    """Return phase and status of each hook that ran, in order."""
    file = oci.scratch / "told"
    lines = file.read_text().splitlines() if file.exists() else []
    return [(line.partition(" ")[0], json.loads(line.partition(" ")[2])["status"]) for line in lines]


def test_hooks_run_in_their_phases_and_are_told_the_state(oci: Site) -> None:
    oci.create("a", *FOREVER, hooks=hooks(oci))
    assert told(oci) == [
        ("prestart", "creating"),
        ("createRuntime", "creating"),
        ("createContainer", "creating"),
    ]
    pid = oci.state("a")["pid"]
    oci("start", "a")
    assert told(oci)[3:] == [("poststart", "running")]
    oci("kill", "a", "KILL")
    oci.ended("a", pid)
    oci("delete", "a")
    assert told(oci)[4:] == [("poststop", "stopped")]


@pytest.mark.parametrize("phase", ["prestart", "createRuntime", "createContainer"])
def test_a_failing_hook_undoes_the_creation(oci: Site, phase: str) -> None:
    made = oci("create", "--bundle", oci.bundle("a", *FOREVER, hooks=hooks(oci, **{phase: 5})), "a")
    assert (made.code, phase in made.err) == (1, True), made
    assert oci("state", "a").code == 1
    assert told(oci)[-1] == ("poststop", "stopped")


def test_a_failing_poststart_hook_is_only_warned_of(oci: Site) -> None:
    oci.create("a", *FOREVER, hooks=hooks(oci, poststart=5))
    begun = oci("start", "a")
    assert (begun.code, "poststart" in begun.err) == (0, True)
    assert oci.state("a")["status"] == "running"


def test_a_failing_poststop_hook_is_only_warned_of(oci: Site) -> None:
    oci.create("a", *FOREVER, hooks=hooks(oci, poststop=5))
    gone = oci("delete", "--force", "a")
    assert (gone.code, "poststop" in gone.err) == (0, True), gone
    assert oci("state", "a").code == 1


@pytest.mark.needs("root")
def test_a_paused_container_stands_still(oci: Site) -> None:
    oci.create("a", *FOREVER)
    oci("start", "a")
    assert oci("pause", "a").code == 0
    assert oci.state("a")["status"] == "paused"
    assert "paused" in oci("exec", "a", "true").err
    assert oci("pause", "a").code == 1
    assert oci("resume", "a").code == 0
    assert oci.state("a")["status"] == "running"
    assert oci("resume", "a").code == 1
    oci("pause", "a")
    assert oci("delete", "--force", "a").code == 0


@pytest.mark.needs("root")
def test_the_processes_of_a_container_are_listed_and_killed_together(oci: Site) -> None:
    oci.create("a", "sh", "-c", "sleep 1000 & sleep 1001 & wait")
    pid = oci.state("a")["pid"]
    oci("start", "a")
    eventually(lambda: len(json.loads(oci("ps", "--format", "json", "a").out)), 3)
    assert pid in json.loads(oci("ps", "--format", "json", "a").out)
    assert oci("ps", "a").out.count("sleep 100") >= 2
    assert oci("kill", "--all", "a", "KILL").code == 0
    oci.ended("a", pid)
    assert json.loads(oci("ps", "--format", "json", "a").out) == []
    assert oci("kill", "--all", "a", "KILL").code == 0


@pytest.mark.needs("root")
def test_limits_are_set_changed_and_counted(oci: Site) -> None:
    oci.create("a", *FOREVER, linux={"resources": {"pids": {"limit": 50}}})
    oci("start", "a")
    assert oci("update", "--pids-limit", "60", "a").code == 0
    line = json.loads(oci("events", "--stats", "a").out)
    assert (line["type"], line["id"], line["data"]["pids"]["limit"]) == ("stats", "a", 60)
    done = oci("update", "-r", "-", "a", stdin=b'{"pids": {"limit": 70}}')
    assert done.code == 0, done
    assert json.loads(oci("events", "--stats", "a").out)["data"]["pids"]["limit"] == 70


def test_checkpointing_is_refused_by_name(oci: Site) -> None:
    for command in ("checkpoint", "restore"):
        done = oci(command, "a")
        assert (done.code, command in done.err) == (1, True)


@pytest.mark.parametrize(
    "words",
    [(), ("nothing",), ("create",), ("start",), ("start", "a", "b"), ("kill", "a/b"), ("--nope", "list")],
)
def test_a_wrong_command_line_is_one_line_and_never_success(oci: Site, words: tuple[str, ...]) -> None:
    done = oci(*words)
    assert "Traceback" not in done.err
    assert done.code == 1 or not words
