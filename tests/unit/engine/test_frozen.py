"""Frozen launchers: whatever a configuration says arrives at the helper unchanged, in every shell."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from redpak import paths
from redpak.engine import frozen
from redpak.engine.spec import Blob, Join, LaunchSpec, Opened, Value
from redpak.fs import stamp
from redpak.origin import Origin
from redpak.plan.model import EnvInput, FileInput, Plan, Rlimit
from redpak.plan.ops import Bind, Tmpfs
from redpak.text import Ask, Run, Text, text
from tests.patience import PATIENCE_S

SHELLS = {
    name: argv
    for name, argv in {
        "sh": ["/bin/sh"],
        "dash": [shutil.which("dash") or ""],
        "bash": [shutil.which("bash") or "", "--posix"],
        "busybox": [shutil.which("busybox") or "", "sh"],
    }.items()
    if os.path.exists(argv[0])
}
HERE = Origin(file="/n/etc/redpak.yaml", line=3)
# A stand-in for the helper: a command's output is the command itself, the launch is its arguments, with the values of
# variables in place of their names.
HELPER = """#!/bin/sh
case $1 in
-q) exit 0 ;;
-i) ;;
*) for last; do :; done; printf %s "$last"; exit ;;
esac
while [ "$1" != -- ]; do
    case $1 in
    -[vm]) eval "value=\\${$2-}"; printf '%s\\0' "$1" "$value"; shift 2 ;;
    -[fj]) printf '%s\\0' "$1" "$2" "$3"; shift 3 ;;
    -[snt]) printf '%s\\0' "$1"; shift ;;
    *) printf '%s\\0' "$1" "$2"; shift 2 ;;
    esac
done
printf '%s\\0' "$@"
"""

# Every string that a program can get: bytes without NUL.
words = st.binary(max_size=24).map(lambda data: os.fsdecode(data.replace(b"\0", b"")))
nasty = st.text(alphabet="'\"\\$`!*?[]{}()<>|&;#~=%-\n\t\r \x01\x7f\x80\x81\x88\xff\u202eaé€", max_size=12)
strings = words | nasty
numbers = st.integers(min_value=3, max_value=9)


def plan_of(**more: object) -> Plan:
    """Return a plan with nothing in it."""
    given_: dict[str, object] = {
        "node": "/n",
        "profile": "sealed",
        "family": (),
        "mounts": (),
        "environ": (),
        "namespaces": (),
        "uid": 7,
        "gid": 8,
    }
    return Plan(**{**given_, **more})  # type: ignore[arg-type]


def spec_of(**more: object) -> LaunchSpec:
    """Return a launch with nothing in it."""
    given_: dict[str, object] = {"bwrap": "/usr/bin/bwrap", "args": ("--tmpfs", "/"), "uid": 7, "gid": 8}
    return LaunchSpec(**{**given_, **more})  # type: ignore[arg-type]


def started(
    folder: Path,
    plan: Plan,
    spec: LaunchSpec,
    *,
    shell: str = "sh",
    program: tuple[str, ...] = (),
    environ: dict[str, str] | None = None,
    origins: frozen.Origins = frozen.Origins(path="/n"),  # noqa: B008 - a frozen value
) -> list[str]:
    """Return what the helper was started with."""
    helper = folder / "it's a helper"
    if not helper.exists():
        helper.write_text(HELPER)
        helper.chmod(0o755)
    launcher = folder / "launcher"
    assert frozen.why_not(plan, spec, str(helper)) == ""
    launcher.write_bytes(frozen.encoded(frozen.script(plan, spec, helper=str(helper), origins=origins)))
    done = subprocess.run(
        [*SHELLS[shell], str(launcher), *program],
        env={"PATH": "/nowhere", **(environ or {})},
        capture_output=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert (done.returncode, done.stderr) == (0, b""), done
    return [os.fsdecode(word) for word in done.stdout.split(b"\0")[:-1]]


def options(argv: list[str]) -> list[tuple[str, ...]]:
    """Return the helper's options with their values, as the helper reads them."""
    found: list[tuple[str, ...]] = []
    at = 0
    while argv[at] != "--":
        count = {"-f": 3, "-j": 3, "-s": 1, "-n": 1, "-t": 1}.get(argv[at], 2)
        found.append(tuple(argv[at : at + count]))
        at += count
    return found


def after(argv: list[str], *wanted: str) -> list[str]:
    """Return the values of some options of the helper, in order."""
    return [option[1] for option in options(argv) if option[0] in wanted]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory for all examples of this module."""
    return tmp_path_factory.mktemp("frozen")


@pytest.mark.parametrize("shell", list(SHELLS))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    args=st.lists(strings, min_size=2, max_size=6),
    program=st.lists(strings, min_size=1, max_size=4),
    defaults=st.lists(strings, min_size=1, max_size=4),
    inherited=strings,
    blob=strings,
    place=strings,
)
@example(
    args=["--", "'"], program=["--", "-x"], defaults=["-n"], inherited="-e", blob="\n\n", place="#'\n`id`"
)
@example(
    args=["$(id)", "`id`"], program=["*"], defaults=["~"], inherited="\\", blob="'\\''", place="\n$(id)\n"
)
@example(args=["", ""], program=[""], defaults=[""], inherited="", blob="", place="")
def test_any_string_arrives_unchanged(
    folder: Path,
    shell: str,
    args: list[str],
    program: list[str],
    defaults: list[str],
    inherited: str,
    blob: str,
    place: str,
) -> None:
    spec = spec_of(
        args=(*args, Value(content=text(), inherited="FROM_CALLER", because=Origin(file=place))),
        descriptors=(Blob(content=text(blob), because=Origin(file=place)),),
        files=(FileInput(path=f"/{place}", stamp="1.2.3.4.5"),),
        program=tuple(defaults),
    )
    plan = plan_of(
        node=f"/{place}",
        mounts=(Tmpfs(dst=f"/{place}", because=Origin(file=place, line=1)),),
        reads=(EnvInput(name="READ", value=inherited), EnvInput(name="UNSET", value=None)),
        warnings=(),
    )
    environ = {"FROM_CALLER": inherited, "READ": inherited}
    origins = frozen.Origins(path=f"/{place}", words=("--bwrap", place), key=ascii(place))
    late = ["-d", "", *(["-c", blob] if blob else []), "-a", args[-1], "-v", inherited]
    wanted = [*late, "--", "/usr/bin/bwrap", str(len(args) - 1), *args[:-1]]
    for given_, runs in ((program, program), ([], defaults)):
        argv = started(
            folder, plan, spec, shell=shell, program=tuple(given_), environ=environ, origins=origins
        )
        assert argv[-len(wanted) - len(runs) :] == [*wanted, *runs]
        at = argv.index("1.2.3.4.5")
        assert argv[at - 1 : at + 2] == ["-f", "1.2.3.4.5", f"/{place}"]
        assert f"/{place}" in argv[argv.index("--refreeze") :]


@pytest.mark.parametrize("shell", list(SHELLS))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(command=strings, before=strings, behind=strings)
@example(command="echo 'a'\n\n", before="", behind="\n")
@example(command="\n", before="\n", behind="x")
@example(command="\udc80", before="\udcc2", behind="x")
def test_a_commands_output_keeps_its_newlines_in_files_and_loses_them_in_variables(
    folder: Path, shell: str, command: str, before: str, behind: str
) -> None:
    content = text(before, Run(command=command), behind)
    spec = spec_of(
        args=(
            "--setenv",
            "KEY",
            Value(content=content, before=2, because=HERE),
            "--hostname",
            Value(content=content, strip=False, because=HERE),
        ),
        descriptors=(Blob(content=content, because=HERE),),
    )
    argv = started(folder, plan_of(), spec, shell=shell, program=("true",))
    # Bytes that are no text by themselves may become text side by side.
    stripped = os.fsdecode(os.fsencode(f"{before}{command.rstrip(chr(10))}{behind}"))
    kept = os.fsdecode(os.fsencode(f"{before}{command}{behind}"))
    assert after(argv, "-v") == [stripped, kept]
    assert after(argv, "-a") == ["--setenv", "KEY", "--hostname"]
    said = after(argv, "-d", "-c", "-m")
    assert os.fsencode("".join(said)) == os.fsencode(kept)


@pytest.mark.parametrize("shell", list(SHELLS))
def test_pid_uuid_and_date_are_new_at_every_start(folder: Path, shell: str) -> None:
    content = text(
        "a'", Ask(name="UUID"), " ", Ask(name="UUID"), " ", Ask(name="PID"), "\n", Ask(name="TODAY")
    )
    spec = spec_of(args=("--setenv", "KEY", Value(content=content, before=2, because=HERE)))
    seen = [
        after(started(folder, plan_of(), spec, shell=shell, program=("true",)), "-v")[0] for _ in range(2)
    ]
    for value in seen:
        uuids, today = value.split("\n")
        first, second, pid = uuids.removeprefix("a'").split(" ")
        assert len(first) == len(second) == 36
        assert first != second
        assert pid.isdigit()
        assert today.endswith(")")
    assert seen[0].split(" ")[0] != seen[1].split(" ")[0]


@pytest.mark.parametrize("shell", list(SHELLS))
@pytest.mark.parametrize("environ", [{}, {"READ": ""}, {"READ": "other"}, {"READ": "as it was", "UNSET": ""}])
def test_another_environment_makes_the_launcher_anew(
    folder: Path, shell: str, environ: dict[str, str]
) -> None:
    plan = plan_of(reads=(EnvInput(name="READ", value="as it was"), EnvInput(name="UNSET", value=None)))
    helper = folder / "helper-2"
    helper.write_text(HELPER)
    helper.chmod(0o755)
    launcher = folder / "launcher-2"
    said = frozen.script(plan, spec_of(), helper=str(helper), origins=frozen.Origins(path="/n"))
    python = folder / "python"
    python.write_text("#!/bin/sh\nshift 3\nprintf '%s\\n' \"$@\"\n")
    python.chmod(0o755)
    launcher.write_text(said.replace(frozen.quote(frozen.again()[0]), frozen.quote(str(python))))
    argv = [*SHELLS[shell], str(launcher), "a b", ""]
    same = subprocess.run(
        argv, env={"READ": "as it was"}, capture_output=True, check=True, timeout=PATIENCE_S
    )
    assert same.stdout.startswith(b"-i\0")
    other = subprocess.run(argv, env=environ, capture_output=True, check=True, timeout=PATIENCE_S)
    assert other.stdout.decode() == f"run\n--refreeze\n{launcher}\n--\n/n\na b\n\n"


def test_what_only_python_can_do_is_not_frozen(tmp_path: Path) -> None:
    command = Value(content=text(Run(command="id")), because=HERE)
    cases = {
        "user or group": spec_of(become=(1, 1)),
        "joins a namespace": spec_of(joins=(Join(kind="net", path="/proc/1/ns/net"),)),
        "time namespace": spec_of(newtime=True),
        "directory": spec_of(create=("/x",)),
        "whole environment": spec_of(inherit_env=True),
        "comes from a command": spec_of(descriptors=(Opened(path="/$(id)", pending=True),)),
        "outside a sandbox": spec_of(args=("--setenv", "A", command), confine=False),
        "variable 'IFS'": spec_of(args=("--setenv", "A", Value(content=text(), inherited="IFS"))),
        "variable 'A.B'": spec_of(args=("--setenv", "A", Value(content=text(), inherited="A.B"))),
        "variable '1A'": spec_of(args=("--setenv", "A", Value(content=text(), inherited="1A"))),
        "NUL": spec_of(args=("--setenv", "A", "b\0c")),
        "control characters": spec_of(descriptors=(Opened(path="/a\nb"),)),
    }
    for reason, spec in cases.items():
        assert reason in frozen.why_not(plan_of(), spec, "/helper"), reason
    assert "launch helper" in frozen.why_not(plan_of(), spec_of(), "")
    assert frozen.why_not(plan_of(), spec_of(), "/helper") == ""


def test_limits_umask_and_flags_are_passed_on(folder: Path) -> None:
    spec = spec_of(
        rlimits=(Rlimit(name="nofile", soft=10, hard=-1, because=HERE),),
        umask=0o27,
        scope=True,
        newsession=True,
        keep=(3, 5),
        descriptors=(Opened(path="/a b"), Opened(path="/f", how="read")),
    )
    argv = started(folder, plan_of(), spec, program=("true",))
    assert argv[:5] == ["-i", "7:8", "-s", "-n", "-t"]
    assert after(argv, "-l") == ["7:10:-1"]
    assert after(argv, "-k") == ["3", "5"]
    assert after(argv, "-o") == ["/a b"]
    assert after(argv, "-r") == ["/f"]
    assert "umask 0027" in (folder / "launcher").read_text()


def test_every_step_to_a_source_is_watched(tmp_path: Path) -> None:
    real = tmp_path.resolve()
    (real / "a").mkdir()
    (real / "link").symlink_to("a")
    (real / "far").symlink_to(f"{real}/link/../link")
    assert frozen.steps(f"{real}/link") == [("@a", f"{real}/link")]
    assert frozen.steps(f"{real}/far") == [
        (f"@{real}/link/../link", f"{real}/far"),
        ("@a", f"{real}/link"),
        ("@a", f"{real}/link"),
    ]
    assert frozen.steps(f"{real}/a/none/b") == [("-", f"{real}/a/none")]
    (real / "loop").symlink_to("loop")
    assert len(frozen.steps(f"{real}/loop")) == frozen.MOST_LINKS
    bind = Bind(dst="/x", src=Text(parts=(f"{real}/link",)), because=HERE)
    watched = dict((path, known) for known, path in frozen.inputs(plan_of(mounts=(bind,)), spec_of()))
    assert watched[f"{real}/link"] == "@a"
    assert watched[paths.shipped("__init__.py")] == stamp(paths.shipped("__init__.py"))


def test_only_a_launcher_of_ours_is_taken_for_one(tmp_path: Path) -> None:
    launcher = tmp_path / "launcher"
    program = ("sh", "-c", "echo 'a\nb' \udc80")
    origins = frozen.Origins(path="/n")
    said = frozen.encoded(
        frozen.script(plan_of(), spec_of(program=program), helper="/helper", origins=origins)
    )
    launcher.write_bytes(said)
    launcher.chmod(0o755)
    assert frozen.program_of(str(launcher)) == program
    (tmp_path / "link").symlink_to(launcher)
    assert frozen.program_of(str(tmp_path / "link")) is None
    launcher.chmod(0o775)
    assert frozen.program_of(str(launcher)) is None  # others could have written it
    for other in (b"", b"#!/bin/sh\necho\n", said.replace(b"# program: [", b"# program: __import__('os')[")):
        launcher.write_bytes(other)
        launcher.chmod(0o755)
        assert frozen.program_of(str(launcher)) is None
    assert frozen.program_of(str(tmp_path)) is None
    assert frozen.program_of(str(tmp_path / "none")) is None
