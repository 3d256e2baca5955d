"""The launch helper by itself: what it lets through to a sandbox, and what it keeps away from it."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import socket
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from redpak.engine import build_helper
from redpak.fs import stamp
from redpak.paths import shipped
from tests.host.processes import at_rest
from tests.patience import PATIENCE_S, eventually

pytestmark = pytest.mark.needs("bwrap", "userns", "cc")

HOST = ("--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp")
ALONE = ("--unshare-all", "--die-with-parent", "--cap-drop", "ALL", *HOST)

Launch = Callable[..., list[str]]


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the helper, built from the source that is tested."""
    target = str(tmp_path_factory.mktemp("helper") / "redpak-launch")
    os.chmod(os.path.dirname(target), 0o755)
    assert build_helper.build(shipped("engine", "launch.c"), target) == ""
    return target


@pytest.fixture
def launch(program: str, bwrap: str) -> Launch:
    """Return a function that makes the helper's command line."""

    def line(*words: str, options: tuple[str, ...] = ("-n",), args: tuple[str, ...] = ALONE) -> list[str]:
        return [program, *options, "--", bwrap, str(len(args)), *args, *words]

    return line


def done(argv: list[str], **more: object) -> subprocess.CompletedProcess[bytes]:
    """Run to the end."""
    given: dict[str, object] = {
        "stdin": subprocess.DEVNULL,
        "capture_output": True,
        "timeout": PATIENCE_S,
        **more,
    }
    if "input" in given:
        del given["stdin"]
    return subprocess.run(argv, check=False, **given)  # type: ignore[call-overload,no-any-return]


@pytest.mark.parametrize("code", [0, 3, 127, 143, 255])
def test_the_programs_own_exit_code_comes_through(launch: Launch, code: int) -> None:
    assert done(launch("/bin/sh", "-c", f"exit {code}")).returncode == code


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_death_by_a_signal_is_128_and_its_number(launch: Launch, number: int) -> None:
    assert done(launch("/bin/sh", "-c", f"kill -{int(number)} $$")).returncode == 128 + number


def test_a_start_that_fails_is_125_or_what_the_explaining_program_says(launch: Launch) -> None:
    assert done(launch("/nothing/here")).returncode == 125
    told = done(
        launch(
            "/nothing/here",
            "a b",
            options=("-n", "-x", "/bin/sh", "-x", "-c", "-x", 'echo "$@"; exit 9', "-x", "sh"),
        )
    )
    assert (told.returncode, told.stdout) == (9, b"1 /nothing/here a b\n")


def test_only_kept_descriptors_are_open_in_the_sandbox(launch: Launch) -> None:
    secret, kept = os.open("/", os.O_PATH), os.memfd_create("kept", 0)
    os.write(kept, b"kept content")
    os.lseek(kept, 0, os.SEEK_SET)
    high, five = fcntl.fcntl(secret, fcntl.F_DUPFD, 700), 5
    before = os.dup(five) if os.path.exists(f"/proc/self/fd/{five}") else -1
    os.dup2(kept, five)
    try:
        shown = done(
            launch("/bin/sh", "-c", "ls /proc/self/fd /proc/1/fd; cat /tmp/kept", options=("-n", "-k", "5"),
                   args=(*ALONE, "--ro-bind-data", "5", "/tmp/kept")),
            pass_fds=(secret, high, five),
        )  # fmt: skip
    finally:
        if before >= 0:
            os.dup2(before, five)
            os.close(before)
        else:
            os.close(five)
        for fd in (secret, kept, high):
            os.close(fd)
    assert shown.stdout.endswith(b"kept content"), shown
    numbers = {int(word) for word in shown.stdout.split() if word.isdigit()}
    assert numbers <= {0, 1, 2, 3, 4}, shown  # 3: the directory that ls reads; 4: an eventfd of bwrap's own
    links = done(launch("/bin/sh", "-c", "ls -l /proc/1/fd /proc/self/fd"), pass_fds=())
    for line in links.stdout.decode().splitlines():
        if " -> " in line and int(line.split(" -> ")[0].split()[-1]) > 2:
            assert line.split(" -> ")[1].startswith(("anon_inode:", "/proc/")), line


def test_a_descriptor_to_keep_that_is_not_open_is_refused(launch: Launch) -> None:
    assert done(launch("/bin/true", options=("-n", "-k", "9")), close_fds=True).returncode == 125


def test_bwrap_and_the_program_get_no_variable_of_the_caller(launch: Launch) -> None:
    shown = done(
        launch("/bin/sh", "-c", "cat /proc/1/environ; env"), env={"SECRET": "1", "PATH": "/usr/bin:/bin"}
    )
    assert b"SECRET" not in shown.stdout
    assert (
        shown.stdout.split() in ([b"PWD=/"], [b"PWD=/", b"SHLVL=0", b"_=/usr/bin/env"])
        or b"PWD" in shown.stdout
    )


def test_the_first_process_names_no_host_path(launch: Launch, tmp_path: Path) -> None:
    args = (*ALONE, "--ro-bind", str(tmp_path), "/tmp/x")
    shown = done(launch("/bin/cat", "/proc/1/cmdline", args=args))
    assert b"/bin/cat" in shown.stdout
    assert str(tmp_path).encode() not in shown.stdout


KEYS = """
import ctypes, os, sys
add, ctl = {"x86_64": (248, 250), "aarch64": (217, 219)}[os.uname().machine]
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
if sys.argv[1] == "hide":
    libc.syscall(ctl, 1, None)
    assert libc.syscall(add, b"user", b"redpak-test", b"secret", 6, ctypes.c_int(-3)) > 0
    os.execv(sys.argv[2], sys.argv[2:])
print("found" if libc.syscall(ctl, 10, ctypes.c_int(-3), b"user", b"redpak-test", 0) > 0 else "nothing")
"""


def test_the_session_keyring_stays_behind(launch: Launch) -> None:
    python = os.path.realpath(sys.executable)
    look = [python, "-I", "-c", KEYS, "look"]
    direct = done([python, "-I", "-c", KEYS, "hide", *look])
    assert direct.stdout == b"found\n", direct  # the positive control: otherwise the test proves nothing
    assert done([python, "-I", "-c", KEYS, "hide", *launch(*look)]).stdout == b"nothing\n"


def test_contents_of_any_length_become_files(launch: Launch) -> None:
    parts = [bytes([65 + n]) * 100_000 for n in range(5)]
    words = ["-d", parts[0].decode()]
    for part in parts[1:]:
        words += ["-c", part.decode()]
    args = (*ALONE, "--ro-bind-data", "11", "/tmp/empty", "--ro-bind-data", "10", "/tmp/long")
    shown = done(launch("/bin/cat", "/tmp/empty", "/tmp/long", options=("-n", *words, "-d", ""), args=args))
    assert shown.stdout == b"".join(parts)


def test_a_source_is_opened_without_following_any_symlink(launch: Launch, tmp_path: Path) -> None:
    real = tmp_path.resolve() / "real"
    (real / "deep").mkdir(parents=True)
    (tmp_path / "link").symlink_to("real")
    args = (*ALONE, "--ro-bind-fd", "10", "/tmp/x")
    assert done(launch("/bin/ls", "/tmp/x", options=("-n", "-o", str(real)), args=args)).stdout == b"deep\n"
    for bad in (tmp_path / "link", tmp_path / "link" / "deep", tmp_path / "none"):
        ended = done(launch("/bin/ls", "/tmp/x", options=("-n", "-o", str(bad)), args=args))
        assert (ended.returncode, ended.stdout) == (125, b""), bad
        assert str(bad).encode() in ended.stderr
        fall = ("-n", "-e", "/bin/echo", "-e", "instead", "-o", str(bad))
        assert (
            done(launch("/bin/ls", "/tmp/x", options=fall, args=args)).stdout == b"instead /bin/ls /tmp/x\n"
        )


def test_a_changed_input_starts_the_fallback_instead(launch: Launch, tmp_path: Path) -> None:
    file, link = tmp_path / "file", tmp_path / "link"
    file.write_text("one")
    link.symlink_to("file")
    mark = stamp(str(file))

    def run(*known: str) -> bytes:
        given: list[str] = []
        for word in known:
            given += ["-f", *word.split("=", 1)]
        told = done(launch("/bin/echo", "sandbox", options=("-n", *given, "-e", "/bin/echo", "-e", "again")))
        return told.stdout.split()[0]

    assert run(f"{mark}={file}", f"-={tmp_path}/none", f"-={file}/none", f"@file={link}") == b"sandbox"
    assert run(f"{mark[:-1]}={file}") == b"again"
    assert run(f"-={file}") == b"again"
    assert run(f"{mark}={tmp_path}/none") == b"again"
    assert run(f"@other={link}") == b"again"
    assert run(f"@file={file}") == b"again"
    file.write_text("two")
    assert run(f"{mark}={file}") == b"again"
    assert done(launch("/bin/true", options=("-f", "-", str(file)))).returncode == 125  # no fallback: refused


def test_another_identity_starts_the_fallback_instead(launch: Launch) -> None:
    fall = ("-e", "/bin/echo", "-e", "again")
    mine = f"{os.getuid()}:{os.getgid()}"
    assert done(launch("/bin/echo", "sandbox", options=("-n", "-i", mine, *fall))).stdout == b"sandbox\n"
    assert done(launch("/bin/echo", "sandbox", options=("-n", "-i", "65533:65533", *fall))).stdout.startswith(
        b"again"
    )


BROKEN: list[list[str]] = [
    [],
    ["--"],
    ["--", "/usr/bin/bwrap"],
    ["--", "/usr/bin/bwrap", "9", "a", "b"],
    ["--", "/usr/bin/bwrap", "2", "--version", "x"],
    ["--", "b", "-1", "x", "y"],
    ["-z", "a", "--", "b", "1", "c", "d"],
    ["-o"],
    ["", "", "", "", ""],
]


@pytest.mark.parametrize("words", BROKEN)
def test_a_broken_command_line_is_refused(program: str, words: list[str]) -> None:
    ended = done([program, *words])
    assert ended.returncode == 125
    assert ended.stderr.startswith(b"redpak: error: ")


def reading(process: subprocess.Popen[bytes]) -> int:
    assert process.stdout is not None
    return process.stdout.fileno()


def wait_for(fd: int, wanted: bytes) -> bytes:
    """Read from `fd` until `wanted` was there."""
    said = b""
    until = time.monotonic() + PATIENCE_S
    while wanted not in said:
        assert select.select([fd], [], [], max(0, until - time.monotonic()))[0], (
            f"only {said!r}, not {wanted!r}"
        )
        try:
            more = os.read(fd, 4096)
        except OSError:  # the terminal's other side is gone
            more = b""
        assert more, f"ended after {said!r}, without {wanted!r}"
        said += more
    return said


def trapping(name: str) -> tuple[str, ...]:
    """Return a program that says 'ready', and exits with 7 when it gets a signal."""
    code = (
        "import signal, sys, os, time\n"
        f"signal.signal(signal.SIG{name}, lambda *_: (os.write(1, b'got'), os._exit(7)))\n"
        "os.write(1, b'ready')\nwhile True: time.sleep(0.05)\n"  # pause() would miss one that comes right before it
    )
    return (os.path.realpath(sys.executable), "-I", "-S", "-c", code)


@pytest.mark.parametrize("name", ["TERM", "INT", "HUP", "QUIT", "USR1", "USR2"])
def test_a_signal_reaches_the_program_and_its_own_code_returns(launch: Launch, name: str) -> None:
    with subprocess.Popen(
        launch(*trapping(name)), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    ) as process:
        wait_for(reading(process), b"ready")
        process.send_signal(getattr(signal, f"SIG{name}"))
        assert process.wait(PATIENCE_S) == 7


def test_without_a_pid_namespace_a_signal_reaches_the_program_too(launch: Launch) -> None:
    args = ("--unshare-user", "--die-with-parent", *HOST)
    with subprocess.Popen(
        launch(*trapping("TERM"), options=(), args=args), stdout=subprocess.PIPE
    ) as process:
        wait_for(reading(process), b"ready")
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 7


def test_a_signal_to_the_whole_group_does_not_end_the_sandbox_under_the_program(launch: Launch) -> None:
    argv = launch(*trapping("TERM"))
    with subprocess.Popen(argv, stdout=subprocess.PIPE, start_new_session=True) as process:
        wait_for(reading(process), b"ready")
        os.killpg(process.pid, signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 7


def test_a_signal_during_the_start_is_not_lost(launch: Launch) -> None:
    for delay_ms in range(0, 24, 3):
        with subprocess.Popen(
            launch("/bin/sh", "-c", "exec sleep 1000"), stdin=subprocess.DEVNULL
        ) as process:
            select.select([], [], [], delay_ms / 1000)
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE_S) in (128 + signal.SIGTERM, -signal.SIGTERM), delay_ms


def test_killing_the_helper_leaves_nothing(launch: Launch) -> None:
    # That nothing is left is for the fixture `nothing_is_left_behind` to say.
    for argv in (
        launch(*trapping("TERM")),
        launch(*trapping("TERM"), options=(), args=("--die-with-parent", "--unshare-user", *HOST)),
    ):
        with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
            wait_for(reading(process), b"ready")
            eventually(lambda: at_rest(process.pid))
            process.kill()
            assert process.wait(PATIENCE_S) == -signal.SIGKILL


def test_a_mebibyte_goes_in_and_comes_out(launch: Launch) -> None:
    data = os.urandom(1 << 20)
    assert done(launch("/bin/cat"), input=data).stdout == data


def test_signal_state_of_the_caller_does_not_reach_the_program(launch: Launch) -> None:
    def ignore() -> None:
        for number in (signal.SIGINT, signal.SIGPIPE, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGUSR1, signal.SIGCHLD])

    show = launch("/bin/sh", "-c", "exec grep -E 'Sig(Blk|Ign)' /proc/self/status")
    shown = done(show, preexec_fn=ignore, restore_signals=False)
    assert shown.stdout.split() == [b"SigBlk:", b"0" * 16, b"SigIgn:", b"0" * 16]


def test_closed_standard_descriptors_become_dev_null(launch: Launch) -> None:
    show = "import os; os.write(2, ' '.join(os.readlink(f'/proc/self/fd/{n}') for n in (0, 1)).encode())"
    closed = ["/bin/sh", "-c", 'exec "$@" 0<&- 1<&-', "sh"]
    ended = done([*closed, *launch(os.path.realpath(sys.executable), "-I", "-c", show)])
    assert ended.stderr == b"/dev/null /dev/null"


def test_standard_descriptors_block(launch: Launch) -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    try:
        assert done(launch("/bin/true"), stdout=writer, capture_output=False).returncode == 0
        assert os.get_blocking(writer)
    finally:
        os.close(reader)
        os.close(writer)


def test_resource_limits_hold_in_the_sandbox(launch: Launch) -> None:
    shown = done(launch("/bin/sh", "-c", "ulimit -Sn; ulimit -Hn", options=("-n", "-l", "7:64:128")))
    assert shown.stdout.split() == [b"64", b"128"]
    assert done(launch("/bin/true", options=("-n", "-l", "7:9:1"))).returncode == 125


CONNECT = "import socket,sys; s=socket.socket(socket.AF_UNIX); s.connect(chr(0)+sys.argv[1]); print('in')"


@pytest.mark.needs("landlock6")
def test_a_scoped_sandbox_does_not_reach_abstract_sockets_of_the_host(launch: Launch) -> None:
    name = f"redpak-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"\0{name}")
        listener.listen()
        words = (os.path.realpath(sys.executable), "-I", "-c", CONNECT, name)
        args = ("--unshare-user", "--unshare-pid", "--die-with-parent", *HOST)
        assert done(launch(*words, args=args)).stdout == b"in\n"  # the positive control
        scoped = done(launch(*words, args=args, options=("-n", "-s")))
        assert scoped.returncode == 1
        assert b"PermissionError" in scoped.stderr


# A terminal


class Terminal:
    """A program at a terminal of its own."""

    def __init__(self, argv: list[str]) -> None:
        self.pid, self.fd = os.forkpty()
        if self.pid == 0:
            os.execv(argv[0], argv)

    def type(self, keys: bytes) -> None:
        os.write(self.fd, keys)

    def modes(self) -> list[object]:
        return list(termios.tcgetattr(self.fd))

    def change(self, options: int = 0) -> int:
        """Wait for the program to end or stop and return its status."""
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            pid, status = os.waitpid(self.pid, options | os.WNOHANG)
            if pid:
                return status
            select.select([self.fd], [], [], 0.01)
        raise AssertionError("it neither ended nor stopped")


@pytest.fixture
def terminal() -> Iterator[Callable[[list[str]], Terminal]]:
    """Return a function that starts a program at a new terminal."""
    made: list[Terminal] = []

    def start(argv: list[str]) -> Terminal:
        made.append(Terminal(argv))
        return made[-1]

    yield start
    for one in made:
        os.close(one.fd)


@pytest.mark.needs("pty")
@pytest.mark.parametrize("options", [("-n",), ("-n", "-t")], ids=["same session", "new session"])
def test_control_c_is_for_the_program_to_answer(
    launch: Launch, terminal: Callable[[list[str]], Terminal], options: tuple[str, ...]
) -> None:
    args = (*ALONE, "--new-session") if "-t" in options else ALONE
    at = terminal(launch(*trapping("INT"), options=options, args=args))
    wait_for(at.fd, b"ready")
    at.type(b"\x03")
    wait_for(at.fd, b"got")
    assert os.waitstatus_to_exitcode(at.change()) == 7


@pytest.mark.needs("pty")
def test_control_c_ends_a_program_that_does_not_answer(
    launch: Launch, terminal: Callable[[list[str]], Terminal]
) -> None:
    at = terminal(launch("/bin/sh", "-c", "echo ready; exec sleep 1000"))
    wait_for(at.fd, b"ready")
    at.type(b"\x03")
    assert os.waitstatus_to_exitcode(at.change()) == 128 + signal.SIGINT


SHELL = """
import os, signal, sys
pid = os.fork()
if pid:  # the session's leader: without it the group below would be an orphan, whose stop the kernel discards
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
signal.signal(signal.SIGTSTP, signal.SIG_IGN)
os.setpgid(0, 0)
os.tcsetpgrp(0, os.getpgrp())
pid = os.fork()
if not pid:
    signal.signal(signal.SIGTSTP, signal.SIG_DFL)
    os.execv(sys.argv[1], sys.argv[1:])
status = os.waitpid(pid, os.WUNTRACED)[1]
print("stopped" if os.WIFSTOPPED(status) else status, flush=True)
os.killpg(0, signal.SIGCONT)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


@pytest.mark.needs("pty")
def test_control_z_stops_the_launch_and_it_can_be_continued(
    launch: Launch, terminal: Callable[[list[str]], Terminal]
) -> None:
    code = (
        "import sys; print('ready', flush=True); sys.stdin.readline(); print('on', flush=True); sys.exit(7)"
    )
    python = os.path.realpath(sys.executable)
    at = terminal([python, "-I", "-c", SHELL, *launch(python, "-I", "-c", code)])
    wait_for(at.fd, b"ready")
    at.type(b"\x1a")
    wait_for(at.fd, b"stopped")
    at.type(b"\n")
    wait_for(at.fd, b"on")
    assert os.waitstatus_to_exitcode(at.change()) == 7


@pytest.mark.needs("pty")
def test_the_terminal_is_as_before_however_the_program_ends(
    launch: Launch, terminal: Callable[[list[str]], Terminal]
) -> None:
    spoil = "import os,signal,tty; tty.setraw(0); os.write(1, b'ready'); os.kill(os.getpid(), signal.SIGKILL)"
    first, second = os.openpty()
    wanted = termios.tcgetattr(second)
    os.close(first)
    os.close(second)
    at = terminal(launch(os.path.realpath(sys.executable), "-I", "-c", spoil))
    wait_for(at.fd, b"ready")
    assert os.waitstatus_to_exitcode(at.change()) == 128 + signal.SIGKILL
    assert at.modes() == list(wanted)
