"""Which operation provides a path of the sandbox, and what is behind it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from redpak.engine.interpreter import interpreter
from redpak.engine.locate import locate, program
from redpak.errors import CannotRun, NoProgram
from redpak.plan.model import SetVar
from redpak.plan.ops import Dev, Dir, File, Proc, Symlink
from redpak.text import Run, text
from tests.unit.engine.plans import HERE, bind, plan


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """Return a directory with a program, a script and links."""
    at = tmp_path.resolve()
    (at / "bin").mkdir()
    (at / "bin" / "tool").write_bytes(b"data")
    (at / "bin" / "tool").chmod(0o755)
    (at / "bin" / "plain").touch(0o644)
    (at / "bin" / "script").write_text("#! /no/interpreter -x\n")
    (at / "bin" / "script").chmod(0o755)
    os.symlink("tool", at / "bin" / "relative")
    os.symlink("/made/file", at / "bin" / "absolute")
    os.symlink("loop", at / "bin" / "loop")
    return at


def tree(host: Path) -> tuple[object, ...]:
    """Return some mounts."""
    return (
        bind("/opt/x", host),
        Symlink(dst="/bin", target="opt/x/bin", because=HERE),
        Dir(dst="/tmp", because=HERE),
        Proc(dst="/proc", because=HERE),
        Dev(dst="/dev", because=HERE),
        File(dst="/made/file", content=text("x"), because=HERE),
        bind("/by-command", text(Run(command="x"))),
    )


@pytest.mark.parametrize(
    ("path", "what", "real"),
    [
        ("/", "private", "/"),
        ("/opt", "private", "/opt"),
        ("/opt/x/bin/tool", "host", "/opt/x/bin/tool"),
        ("/bin/tool", "host", "/opt/x/bin/tool"),
        ("/bin/relative", "host", "/opt/x/bin/tool"),
        ("/bin/absolute", "made", "/made/file"),
        ("/bin/../bin/tool", "host", "/opt/x/bin/tool"),
        ("/bin/none", "missing", "/opt/x/bin/none"),
        ("/bin/none/deeper", "missing", "/opt/x/bin/none/deeper"),
        ("/none", "missing", "/none"),
        ("/tmp/none", "missing", "/tmp/none"),
        ("/made/file/x", "missing", "/made/file/x"),
        ("/proc/self", "kernel", "/proc/self"),
        ("/dev/null", "kernel", "/dev/null"),
        ("/by-command/x", "unknown", "/by-command/x"),
    ],
)
def test_a_path_leads_where_it_would_in_the_sandbox(host: Path, path: str, what: str, real: str) -> None:
    at = locate(plan(*tree(host)), path)  # type: ignore[arg-type]
    assert (at.what, at.real) == (what, real)


def test_the_file_behind_a_path_and_the_links_on_the_way_are_told(host: Path) -> None:
    at = locate(plan(*tree(host)), "/bin/relative")  # type: ignore[arg-type]
    assert at.host == f"{host}/bin/tool"
    assert at.via == ("/bin", "/opt/x/bin/relative")
    assert at.op is not None
    assert at.op.dst == "/opt/x"


def test_a_loop_ends(host: Path) -> None:
    assert locate(plan(*tree(host)), "/bin/loop").what == "loop"  # type: ignore[arg-type]


def test_a_mount_inside_a_mount_wins(host: Path) -> None:
    made = plan(*tree(host), Dir(dst="/opt/x/bin", because=HERE))  # type: ignore[arg-type]
    assert locate(made, "/opt/x/bin/tool").what == "missing"
    assert locate(made, "/opt/x/bin").what == "private"


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("tool", None),
        ("/bin/tool", None),
        ("./relative", None),
        ("/by-command/x", None),
        ("none", NoProgram),
        ("/none", NoProgram),
        ("plain", CannotRun),
        ("/tmp", CannotRun),
        ("/made/file", CannotRun),
        ("script", CannotRun),
    ],
)
def test_a_program_is_found_as_execvp_would(host: Path, name: str, error: type | None) -> None:
    made = plan(*tree(host), environ=(SetVar(key="PATH", value=text("/none:/bin"), because=HERE),))  # type: ignore[arg-type]
    found = program(made, name, {})
    assert type(found) is (error or type(None))


def test_a_search_path_that_a_command_makes_is_not_judged(host: Path) -> None:
    made = plan(*tree(host), environ=(SetVar(key="PATH", value=text(Run(command="x")), because=HERE),))  # type: ignore[arg-type]
    assert program(made, "none", {}) is None


def test_the_interpreter_of_a_script_or_program_is_read(host: Path) -> None:
    assert interpreter(str(host / "bin" / "script")) == "/no/interpreter"
    assert interpreter(str(host / "bin" / "plain")) == ""
    assert interpreter("/none") == ""
    assert "ld-" in interpreter("/bin/sh") or interpreter("/bin/sh") == ""
