"""`./dev demo`: three nodes of real software on this host, a service in the leaf, and what redpak can say about it.

Everything happens in one scratch directory, which is removed at the end, however that comes.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from demo.plain import Plain
from demo.software import DATABASE, GATEWAY, Apt, NoSoftware, can_fetch
from redpak import paths

HERE = Path(__file__).resolve().parent
PROGRAMS = HERE.parent / ".venv" / "bin"
PLATFORM = "pool/platform"
MIDDLEWARE = f"{PLATFORM}/middleware"
APPLICATION = f"{MIDDLEWARE}/application"
READY_S = 30  # how long the service may take to answer
STOP_S = 10  # how long it may take to end
ROUNDS = 40  # how often start times are measured

GREEDY = """\
headers:
  alias: greedy
  name: greedy
exports:
- mode: Public
  mount: /nodes/platform/usr
  path: {platform}/usr
"""


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


def fill(stage: Stage) -> None:
    """Unpack the software into the nodes."""
    apt = Apt(stage.at / "apt")
    needed = apt.libraries_of(DATABASE, GATEWAY)
    ours = [name for name in needed if not apt.on_the_core_os(name)]
    for node, names in ((PLATFORM, ours), (MIDDLEWARE, [DATABASE, "redis-server"]), (APPLICATION, [GATEWAY])):
        size = apt.unpack(names, stage.at / node)
        print(f"  {Path(node).name:12} {size / 2**20:5.1f} MiB  {' '.join(names)}")
    shared = [name for name in needed if name not in ours]
    print(
        f"  {'core OS':12}   0.0 MiB  {' '.join(shared) or '(nothing more)'}: there already, shared, not copied"
    )
    shutil.copy(HERE / "visits", stage.at / APPLICATION / "usr/bin/visits")


def count(stage: Stage) -> None:
    """Say how much there is to see."""
    text = subprocess.run(
        ["redpak", "plan", "--json", APPLICATION],
        cwd=stage.at,
        env=stage.environ,
        capture_output=True,
        check=True,
    ).stdout
    plan = json.loads(text)
    print(f"  (in all: {len(plan['mounts'])} mounts, {len(plan['environ'])} variables)")


def serve(stage: Stage) -> None:
    """Run the service, talk to it from both sides, and end it."""
    http, database = free_port(), free_port()
    stage.start("redpak", "run", APPLICATION, "--", "visits", str(http), str(database))
    wait_until_ready(stage, http)
    print("  it answers; three visits over HTTP, from outside:")
    for _ in range(3):
        print(f"  GET http://127.0.0.1:{http}/INCR/visits → {ask(http, '/INCR/visits')}")
    print("  and the database's view, from inside, in a sandbox of its own:")
    said = stage.type("redpak", "run", APPLICATION, "--", "redis-cli", "-p", str(database), "get", "visits")
    if said.strip() != "3":
        raise Failed("the database should have counted three visits")
    print(bold("$ kill -TERM $!"))
    code = stage.stop()
    print(f"  the service ended by itself with exit code {code}")
    if code:
        raise Failed("it should have ended with 0")


def measure(stage: Stage) -> None:
    """Compare start times of the frozen launcher, of `redpak run` and of plain bubblewrap with the same arguments."""

    def start(*words: str | Path) -> int:
        argv = [str(word) for word in words]
        pid = os.posix_spawn(argv[0], argv, stage.environ)  # as directly as the one it is compared with
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    redpak, leaf = PROGRAMS / "redpak", stage.at / APPLICATION
    text = subprocess.run(
        ["redpak", "plan", "--bwrap", APPLICATION, "--", "true"],
        cwd=stage.at, env=stage.environ, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    ways: dict[str, Callable[[], int]] = {
        "bwrap itself, same arguments": Plain(text, stage.at).run,
        "the frozen launcher": lambda: start(stage.at / "application"),
        "redpak run (keeps one by itself)": lambda: start(redpak, "run", leaf, "--", "true"),
        "redpak run --no-frozen": lambda: start(redpak, "run", "--no-frozen", leaf, "--", "true"),
    }
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(ROUNDS + 2):
        for name, run in ways.items():
            begin = time.perf_counter()
            code = run()
            if code:
                raise Failed(f"{name} ended with code {code}")
            if turn >= 2:  # the first ones fill caches
                taken[name].append((time.perf_counter() - begin) * 1000)
    base = taken["bwrap itself, same arguments"]
    for name, times in taken.items():
        ratio = statistics.median(mine / plain for mine, plain in zip(times, base, strict=True))
        print(f"  {name:32} {statistics.median(times):6.1f} ms   × {ratio:4.2f}")


def story(stage: Stage) -> None:
    """Tell it."""
    chapter(
        "Three nodes",
        "A node is a directory. Each is made in the one it builds upon; the host is the core OS of all.",
    )
    stage.type("redpak", "node", "create", PLATFORM, "--alias", "platform", "--no-system-node")
    stage.type("redpak", "node", "create", MIDDLEWARE, "--alias", "middleware")
    stage.type("redpak", "node", "create", APPLICATION, "--alias", "application")

    chapter(
        "Real software",
        "Packages of this host's distribution, unpacked into the nodes. Nothing is installed.",
    )
    fill(stage)
    stage.type("redpak", "run", APPLICATION, "--", "sh", "-c", "ldd /nodes/*/usr/bin/webdis | sort -k3")

    chapter(
        "Who builds on whom",
        "The application sees its ancestors' files read-only, and shares the network with the host.",
    )
    stage.type("redpak", "node", "tree", PLATFORM)
    stage.type("redpak", "node", "tree", "--svg", PLATFORM, into="tree.svg")

    chapter("What will happen", "A launch is data before it is done. This touches nothing.")
    stage.type("redpak", "plan", APPLICATION, "--", "visits", "8080", "6379", lines=40)
    count(stage)

    chapter("A service in the leaf")
    serve(stage)

    chapter("What is refused", "An ancestor's files are read-only, at run time …")
    stage.type("redpak", "run", APPLICATION, "--", "touch", "/nodes/platform/usr/lib/mine", code=1)
    print("… and no configuration further down can change that:")
    (stage.at / "greedy.yaml").write_text(GREEDY.format(platform=stage.at / PLATFORM))
    stage.type(
        "redpak",
        "node",
        "create",
        f"{PLATFORM}/greedy",
        "--alias",
        "greedy",
        "--config",
        "greedy.yaml",
        code=2,
    )

    chapter(
        "Why is this file here?",
        "Every mount and every variable knows the file and the line that asked for it.",
    )
    stage.type("redpak", "explain", APPLICATION, "/nodes/middleware/usr/bin/redis-server")
    stage.type("redpak", "explain", APPLICATION, "LD_LIBRARY_PATH")

    chapter(
        "Frozen", "A plan compiles to one readable shell script that starts as fast as bubblewrap itself."
    )
    stage.type("redpak", "freeze", APPLICATION, "-o", "application", "--", "true")
    print(f"  start and stop of 'true' in {ROUNDS} interleaved rounds, median:")
    measure(stage)


def keep(scratch: Path) -> str:
    """Copy what is worth a look out of the scratch directory, and say where to."""
    kept = HERE / "out"
    try:
        kept.mkdir(exist_ok=True)
        for name in ("tree.svg", "application"):
            shutil.copy(scratch / name, kept / name)
    except PermissionError:
        return "(The checkout belongs to somebody else, so nothing is kept.)"
    return "Kept to look at: demo/out/tree.svg (the picture), demo/out/application (the launcher)."


def cached() -> set[Path]:
    """Return what redpak keeps for root, whose cache is not in the scratch directory."""
    return {at for at in Path(paths.cache()).rglob("*") if at.is_file()} if os.geteuid() == 0 else set()


def interrupted(number: int, _frame: FrameType | None) -> None:
    """Leave by the front door, so that everything is cleaned up."""
    raise SystemExit(128 + number)


def main() -> int:
    """Run the demo and clean up."""
    if not can_fetch():
        print(
            "demo: this needs Debian's or Ubuntu's package tools (apt-get, apt-cache, dpkg-deb)",
            file=sys.stderr,
        )
        return 1
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupted)
    begin = time.monotonic()
    scratch = Path(tempfile.mkdtemp(prefix="redpak-demo."))
    stage = Stage(scratch)
    before = cached()
    try:
        print(f"in {scratch}")
        story(stage)
        chapter("Done", f"in {time.monotonic() - begin:.0f} s. {keep(scratch)}")
        return 0
    except (Failed, NoSoftware) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ndemo: interrupted", file=sys.stderr)
        return 130
    finally:
        try:
            stage.stop()
        except Failed:
            pass
        shutil.rmtree(scratch)
        for at in cached() - before:
            at.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main())
