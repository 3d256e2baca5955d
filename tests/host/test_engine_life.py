"""A program's exit code, signals and terminal come through, and it never outlives its launcher."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import signal
import subprocess
import termios
from pathlib import Path

import pytest

from redpak.plan.model import SetVar
from redpak.plan.ops import Dir, File
from redpak.text import Run, text
from tests.host.engine_plans import HERE, Launcher, bind, launcher, plan, shell  # noqa: F401 - the fixture `launch`
from tests.host.processes import at_rest
from tests.patience import PATIENCE_S, eventually

pytestmark = pytest.mark.needs("userns", "bwrap")


@pytest.mark.parametrize("code", [0, 1, 3, 42, 125, 126, 127, 255])
def test_the_programs_own_code_returns(launch: Launcher, code: int) -> None:
    assert launch(shell(f"exit {code}"))[0] == code


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV, signal.SIGINT])
def test_death_by_signal_n_is_128_plus_n(launch: Launcher, number: int) -> None:
    assert launch(shell(f"kill -{int(number)} $$"))[0] == 128 + number


def test_a_program_that_is_not_there_is_127(launch: Launcher) -> None:
    code, _, err = launch(plan("no-such-program"))
    assert code == 127
    assert "program 'no-such-program' is not in the sandbox" in err
    assert launch(plan("/usr/bin/no-such-program"))[0] == 127


def test_a_program_that_cannot_be_executed_is_126(launch: Launcher, pool: Path) -> None:
    script = pool / "script"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o644)
    for word in ("/script", "/usr", "/tmp", "/made"):
        mounts = (bind("/script", script), File(dst="/made", content=text("x"), because=HERE))
        assert launch(plan(word, mounts=mounts))[0] == 126, word


def test_a_script_whose_interpreter_is_missing_is_126(launch: Launcher, pool: Path) -> None:
    script = pool / "script"
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(0o755)
    code, _, err = launch(plan("/script", mounts=(bind("/script", script),)))
    assert code == 126
    assert "/no/such/interpreter" in err


def test_a_start_that_bwrap_cannot_make_is_125(launch: Launcher) -> None:
    code, out, _ = launch(shell("echo started", choices={"chdir": "/no/such/directory"}))
    assert (code, out) == (125, "")


def test_a_megabyte_passes_in_and_out(launch: Launcher) -> None:
    blob = os.urandom(1 << 19).hex().encode()
    code, out, _ = launch(plan("cat"), stdin=blob)
    assert (code, out.encode()) == (0, blob)


def test_closed_standard_descriptors_are_harmless(launch: Launcher) -> None:
    script = 'exec "$@" <&- 2>&-'
    code, out, _ = launch(shell("readlink /proc/self/fd/0; exit 5"), wrapper=["/bin/sh", "-c", script, "sh"])
    assert (code, out) == (5, "/dev/null\n")


def started(launch: Launcher, made: object, **more: object) -> subprocess.Popen[bytes]:
    """Start a plan whose program says 'ready' and return when it has."""
    argv = launch.argv(made)  # type: ignore[arg-type]
    child = subprocess.Popen(
        argv,
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        env=launch.environ,
        **more,  # type: ignore[call-overload]
    )
    assert child.stdout.readline() == b"ready\n"
    return child  # type: ignore[no-any-return]


@pytest.mark.parametrize("number", ["TERM", "INT", "HUP", "USR1", "USR2", "QUIT"])
@pytest.mark.parametrize("pid", ["new", "host"])
def test_a_signal_reaches_the_program_and_its_code_returns(launch: Launcher, number: str, pid: str) -> None:
    script = f"trap 'echo told; exit 7' {number}; echo ready; while :; do sleep 0.05; done"
    made = plan("/bin/bash", "-c", script, namespaces={"pid": pid})
    with started(launch, made) as child:
        child.send_signal(getattr(signal, f"SIG{number}"))
        assert child.communicate(timeout=PATIENCE_S)[0] == b"told\n"
        assert child.returncode == 7


def test_a_signal_during_the_start_is_not_lost(launch: Launcher) -> None:
    child = subprocess.Popen(launch.argv(shell("sleep 1000")), env=launch.environ, start_new_session=True)
    with child:
        with contextlib.suppress(ProcessLookupError):
            # the helper or the supervisor is there once it has a child
            while not Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text():
                select.select([], [], [], 0.001)
            child.send_signal(signal.SIGTERM)
        assert child.wait(timeout=PATIENCE_S) in (143, -15)


def test_nothing_lives_on_when_the_launcher_is_killed(launch: Launcher) -> None:
    reader, writer = os.pipe()
    with started(launch, shell("echo ready; sleep 1000 & exec sleep 1000"), stderr=writer) as child:
        os.close(writer)
        eventually(lambda: at_rest(child.pid))
        child.kill()
        child.wait(timeout=PATIENCE_S)
        # the write end is held by every process of the sandbox; end of file comes when the last is gone
        assert select.select([reader], [], [], PATIENCE_S)[0]
        assert os.read(reader, 1) == b""
    os.close(reader)


def on_terminal(launch: Launcher, made: object, keys: bytes, *, after: bytes) -> tuple[int, bytes, bool]:
    """Start a plan on a new terminal, press `keys` when it has said `after`; return code, screen, modes restored."""
    argv = launch.argv(made)  # type: ignore[arg-type]
    before = fresh_modes()  # of the terminal itself they might come too late
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(argv[0], argv, launch.environ)
    screen = b""
    pressed = False
    while True:
        assert select.select([terminal], [], [], PATIENCE_S)[0], screen
        try:
            said = os.read(terminal, 4096)
        except OSError:  # EIO: the last process has closed it
            said = b""
        if not said:
            break
        screen += said
        if not pressed and after in screen:
            os.write(terminal, keys)
            pressed = True
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    restored = termios.tcgetattr(terminal)[:4] == before[:4]
    os.close(terminal)
    return code, screen, restored


def fresh_modes() -> list[object]:
    """Return the modes of a new terminal."""
    first, second = os.openpty()
    modes = termios.tcgetattr(second)
    os.close(first)
    os.close(second)
    return list(modes)


def test_control_c_reaches_a_program_that_handles_it(launch: Launcher) -> None:
    script = "trap 'echo told; exit 9' INT; stty -echo; echo ready; while :; do sleep 0.05; done"
    code, screen, restored = on_terminal(launch, shell(script), b"\x03", after=b"ready")
    assert (code, b"told" in screen, restored) == (9, True, True)


def test_control_c_reaches_a_program_in_a_session_of_its_own(launch: Launcher) -> None:
    script = "trap 'echo told; exit 9' INT; echo ready; while :; do sleep 0.05; done"
    made = shell(script, choices={"new-session": True})
    code, screen, _ = on_terminal(launch, made, b"\x03", after=b"ready")
    assert (code, b"told" in screen) == (9, True)


def test_the_terminal_is_the_programs(launch: Launcher) -> None:
    code, screen, restored = on_terminal(
        launch, shell("tty <&0 >/dev/null; stty raw; echo go; head -c1"), b"x", after=b"go"
    )
    assert code == 0
    assert screen.endswith(b"x")
    assert restored


def test_a_killed_program_leaves_a_usable_terminal(launch: Launcher) -> None:
    code, _, restored = on_terminal(launch, shell("stty raw -echo; echo go; kill -9 $$"), b"", after=b"go")
    assert (code, restored) == (137, True)


def test_stop_and_continue_reach_the_shell_that_started_us(launch: Launcher) -> None:
    argv = launch.argv(shell("echo ready; read x; echo got $x", mounts=(Dir(dst="/d", because=HERE),)))
    pid, terminal = pty.fork()
    if pid == 0:
        # stands in for an interactive shell: a job in a process group of its own, in the foreground
        job = os.fork()
        if job == 0:
            os.setpgid(0, 0)
            signal.signal(signal.SIGTTOU, signal.SIG_IGN)
            os.tcsetpgrp(0, os.getpgrp())
            signal.signal(signal.SIGTTOU, signal.SIG_DFL)
            os.execve(argv[0], argv, launch.environ)
        _, status = os.waitpid(job, os.WUNTRACED)
        os.write(1, b"STOPPED\n" if os.WIFSTOPPED(status) else b"ENDED\n")
        os.killpg(job, signal.SIGCONT)
        _, status = os.waitpid(job, 0)
        os._exit(os.waitstatus_to_exitcode(status) & 255)
    screen = b""
    sent = set()
    while b"got hello" not in screen:
        assert select.select([terminal], [], [], PATIENCE_S)[0], screen
        screen += os.read(terminal, 4096)
        for seen, keys in ((b"ready", b"\x1a"), (b"STOPPED", b"hello\n")):
            if seen in screen and keys not in sent:
                os.write(terminal, keys)
                sent.add(keys)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    os.close(terminal)


def hidden_from_callers_signals() -> None:
    """Be a caller that ignores what callers ignore."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)


def test_a_hangup_does_not_end_what_nohup_started(launch: Launcher) -> None:
    script = "grep SigIgn /proc/self/status >&2; trap 'exit 7' TERM; echo ready; while :; do sleep 0.05; done"
    with started(
        launch,
        plan("/bin/bash", "-c", script),
        preexec_fn=hidden_from_callers_signals,
        start_new_session=True,
        stderr=subprocess.PIPE,
    ) as child:
        os.killpg(child.pid, signal.SIGHUP)  # as a shell does to its jobs
        child.send_signal(signal.SIGHUP)
        assert child.poll() is None
        child.send_signal(signal.SIGTERM)
        assert child.wait(timeout=PATIENCE_S) == 7
        assert child.stderr is not None
        assert child.stderr.read().split() == [b"SigIgn:", b"0" * 16]


def test_without_nohup_a_hangup_ends_it(launch: Launcher) -> None:
    with started(launch, shell("echo ready; exec sleep 1000"), start_new_session=True) as child:
        os.killpg(child.pid, signal.SIGHUP)
        assert child.wait(timeout=PATIENCE_S) == 128 + signal.SIGHUP


def test_a_signal_at_any_moment_of_the_start_ends_it_with_that_signal(launch: Launcher) -> None:
    argv = launch.argv(shell("sleep 1000"))
    for delay_ms in range(0, 30, 3):
        with subprocess.Popen(argv, env=launch.environ) as child:
            with contextlib.suppress(FileNotFoundError):
                while not Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text():
                    select.select([], [], [], 0.001)
            select.select([], [], [], delay_ms / 1000)
            child.send_signal(signal.SIGTERM)
            assert child.wait(timeout=PATIENCE_S) in (143, -15), delay_ms


def test_a_relative_program_is_looked_for_where_it_would_start(launch: Launcher, pool: Path) -> None:
    (pool / "text").write_text("no program")
    (pool / "good").write_text("#!/bin/sh\nexit 9\n")
    (pool / "good").chmod(0o755)
    asked: list[dict[str, object]] = [{"chdir": "/there"}, {}]
    for choices in asked:
        for word, code in (("./good", 9), ("./text", 126), ("./none", 127), ("../there/good", 9)):
            made = plan(word, mounts=(bind("/there", pool), bind(str(pool), pool)), choices=choices)
            wanted = 127 if word.startswith("..") and not choices else code
            assert launch(made, cwd=pool)[0] == wanted, (word, choices)


def test_any_words_reach_the_program(launch: Launcher) -> None:
    words = ["-x", "", "--", "--args", "a b", "*", "\udcff\udc80", "\n"]
    show = "for word; do printf '%s|' \"$word\"; done"
    code, out, _ = launch(plan("/bin/sh", "-c", show, "sh", *words))
    assert (code, out) == (
        0,
        "|".join(words).encode("utf-8", "surrogateescape").decode(errors="replace") + "|",
    )
    assert launch(plan(""))[0] == 127
    assert launch(plan("--version"))[0] == 127


def test_more_words_than_the_helper_takes_reach_the_program(launch: Launcher) -> None:
    words = ["x" * 100_000] * 18
    code, out, err = launch(plan("/bin/sh", "-c", "echo $#", "sh", *words))
    assert (code, out) == (0, "18\n"), err


def test_no_value_of_the_caller_can_be_read_by_others(launch: Launcher) -> None:
    environ = (
        SetVar(key="INHERITED", value=text(), inherited=True, because=HERE),
        SetVar(key="MADE", value=text(Run(command="echo made'-'here")), because=HERE),
    )
    mounts = (File(dst="/tmp/file", content=text(Run(command="echo in'-'file")), because=HERE),)
    script = 'cat /tmp/file; echo "$INHERITED $MADE $OTHER"; echo ready; read x'
    for more in ({}, {"choices": {"inherit-env": True}}):
        made = shell(script, environ=environ, mounts=mounts, **more)
        environment = {**launch.environ, "INHERITED": "my secret", "OTHER": "my other secret"}
        with subprocess.Popen(
            launch.argv(made), env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == b"in-file\n"
            assert child.stdout.readline().split()[:3] == [b"my", b"secret", b"made-here"]
            assert child.stdout.readline() == b"ready\n"
            todo, seen = [child.pid], b""
            while todo:
                pid = todo.pop()
                seen += Path(f"/proc/{pid}/cmdline").read_bytes()
                todo += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
            child.communicate(b"\n", timeout=PATIENCE_S)
        assert b"bwrap" in seen or b"redpak-join" in seen  # what makes the sandbox is among them
        for secret in (b"my secret", b"other secret", b"made-here", b"in-file"):
            assert secret not in seen
