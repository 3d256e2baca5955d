"""Where the demo is played: a scratch directory in which commands are typed, and a service is started."""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROGRAMS = HERE.parent / ".venv" / "bin"
READY_S = 30  # how long the service may take to answer
STOP_S = 10  # how long it may take to end


class Failed(Exception):
    """A step did not do what the demo promises."""


def bold(text: str) -> str:
    """Mark text where the terminal can."""
    wanted = (
        sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM", "dumb") != "dumb"
    )
    return f"\x1b[1m{text}\x1b[0m" if wanted else text


def chapter(title: str, text: str = "") -> None:
    """Begin a part of the story."""
    print(f"\n{bold(f'── {title} ' + '─' * max(4, 100 - len(title)))}")
    if text:
        print(text)


class Stage:
    """The scratch directory in which every command of the demo is typed."""

    def __init__(self, at: Path) -> None:
        self.at = at
        self.environ = {**os.environ, "PATH": f"{PROGRAMS}:/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C.UTF-8"}
        self.environ["XDG_CACHE_HOME"] = str(at / "cache")
        self.service: subprocess.Popen[str] | None = None

    def type(self, *words: str, code: int = 0, lines: int = 0, into: str = "") -> str:
        """Show a command, run it, show (the first `lines` of) what it says. Raises Failed on another code."""
        print(bold(f"$ {shlex.join(words)}{' > ' + into if into else ''}"), flush=True)
        done = subprocess.run(
            words, cwd=self.at, env=self.environ, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        if into and done.returncode == 0:
            (self.at / into).write_text(done.stdout)
            return done.stdout
        said = done.stdout.rstrip("\n").splitlines()
        shown = (
            said if not lines or len(said) <= lines else [*said[:lines], f"… {len(said) - lines} more lines"]
        )
        for line in shown:
            print(f"  {line}")
        if done.returncode:
            print(f"  (exit code {done.returncode})")
        if done.returncode != code:
            rest = "\n".join(said[len(shown) - 1 :]) if shown != said else ""
            raise Failed(f"that should have ended with code {code}. {rest}")
        return done.stdout

    def start(self, *words: str) -> None:
        """Start the service in the background."""
        print(bold("$ " + shlex.join(words) + " &"), flush=True)
        self.service = subprocess.Popen(
            words, cwd=self.at, env=self.environ, stdin=subprocess.DEVNULL, text=True
        )

    def stop(self) -> int:
        """Ask the service to end, as a service manager does, and return its exit code."""
        if self.service is None:
            return 0
        service, self.service = self.service, None
        service.terminate()
        try:
            return service.wait(STOP_S)
        except subprocess.TimeoutExpired:
            service.kill()
            service.wait()
            raise Failed(f"the service did not end within {STOP_S} s of SIGTERM") from None


def free_port() -> int:
    """Return a TCP port of the loopback interface that nobody uses just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ask(port: int, path: str) -> str:
    """Send one HTTP request to the service, from outside."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
        return str(answer.read().decode())


def wait_until_ready(stage: Stage, port: int) -> None:
    """Wait for the first answer."""
    end = time.monotonic() + READY_S
    while True:
        assert stage.service is not None
        if stage.service.poll() is not None:
            raise Failed(f"the service ended with code {stage.service.returncode}")
        try:
            if "PONG" in ask(port, "/PING"):
                return
        except (urllib.error.URLError, OSError):
            pass
        if time.monotonic() > end:
            raise Failed(f"the service did not answer within {READY_S} s")
        time.sleep(0.05)
