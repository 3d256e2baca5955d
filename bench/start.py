"""How long a start takes: bubblewrap, a frozen launcher, `redpak run`, the native engine, a prepared tree, others.

    python bench/start.py [--pairs N] [--json] [--bwrap FILE]

Three nodes, 25 mounts, /bin/true. Each round starts every contestant once, one after the other, so that all see the
same machine; figures are medians of wall-clock time from posix_spawn(3) to the end of wait4(2). The ratio of two
contestants is the median of the rounds' ratios: it does not depend on how the machine's speed drifts.
"Warm" is a process that has everything imported and the plan lowered, as an agent has for its fiftieth container.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from redpak.engine.spec import LaunchSpec

HERE = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(HERE))

GOAL_RATIO = 1.15  # frozen ÷ the same bwrap command line
GOAL_EXTRA_MS = 60.0  # unfrozen − bwrap
GOAL_NATIVE = 0.8  # native from a warm process ÷ the same bwrap command line
GOAL_PREPARED = 0.4  # a prepared tree ÷ the same bwrap command line
WARM_UP = 3
MOUNTS = 25
Action = tuple[int, int, str, int, int] | tuple[int, int, int]  # posix_spawn(3): open or place a descriptor
Start = Callable[[], float]  # starts a program, waits for its end, and returns the milliseconds
QUIET: list[Action] = [(os.POSIX_SPAWN_OPEN, 2, "/dev/null", os.O_WRONLY, 0)]

PLATFORM = """\
headers: {{alias: platform}}
exports:
  - {{mode: Restricted, mount: /usr, path: /usr}}
{links}
  - {{mode: Procfs, mount: /proc}}
  - {{mode: Devfs, mount: /dev}}
  - {{mode: Tmpfs, mount: /tmp}}
  - {{mode: Restricted, mount: /platform, path: $NODE_PATH/usr}}
{etc}
config: {{path: /usr/bin, hostname: bench}}
"""
MIDDLEWARE = """\
headers: {{alias: middleware}}
exports:
{binds}
environ:
  - {{key: LEVEL, value: middleware}}
"""
APPLICATION = """\
headers: {{alias: application}}
exports:
{binds}
environ:
  - {{key: STAGE, value: application}}
"""


def node(path: Path, config: str) -> None:
    """Make a node by hand: this measures starting, not creating."""
    (path / "etc").mkdir(parents=True)
    (path / "usr").mkdir()
    (path / "etc" / "redpak.yaml").write_text(config)
    (path / ".rednode.yaml").write_text(f"realpath: {path}\ntimestamp: 1\nstate: Enable\n")


def family(pool: Path) -> Path:
    """Make three nodes with 25 mounts together and return the leaf."""
    roots = [name for name in ("bin", "sbin", "lib", "lib32", "lib64") if Path("/", name).is_symlink()]
    links = [f"  - {{mode: Symlink, mount: /{name}, path: usr/{name}}}" for name in roots]
    files = [
        f"/etc/{name}"
        for name in ("hosts", "passwd", "group", "nsswitch.conf")
        if Path("/etc", name).is_file()
    ]
    etc = [f"  - {{mode: RestrictedFile, mount: {file}, path: {file}}}" for file in files]
    left = MOUNTS - 5 - len(links) - len(etc)
    half = left // 2
    top = pool / "platform"
    node(top, PLATFORM.format(links="\n".join(links), etc="\n".join(etc)))
    parts: list[tuple[str, Path, str, int, str]] = [
        ("middleware", top / "middleware", MIDDLEWARE, half, "Restricted"),
        ("application", top / "middleware" / "application", APPLICATION, left - half, "Private"),
    ]
    for name, path, template, count, mode in parts:
        binds = [f"  - {{mode: {mode}, mount: /{name}/{n}, path: $NODE_PATH/usr/{n}}}" for n in range(count)]
        node(path, template.format(binds="\n".join(binds)))
        for n in range(count):
            (path / "usr" / str(n)).mkdir()
    return top / "middleware" / "application"


def once(argv: list[str], environ: dict[str, str], actions: list[Action]) -> float:
    """Start a program, wait for its end, and return the milliseconds. `actions` open its descriptors."""
    before = time.perf_counter_ns()
    pid = os.posix_spawn(argv[0], argv, environ, file_actions=actions)
    _, status, _ = os.wait4(pid, 0)
    taken = (time.perf_counter_ns() - before) / 1e6
    if status:
        raise SystemExit(f"bench: {argv[:4]} ended with {os.waitstatus_to_exitcode(status)}")
    return taken


def measure(contestants: dict[str, Start], pairs: int) -> dict[str, list[float]]:
    """Return the times of each contestant, round by round."""
    for start in contestants.values():
        for _ in range(WARM_UP):
            start()
    times: dict[str, list[float]] = {name: [] for name in contestants}
    names = list(contestants)
    for turn in range(pairs):
        for name in names if turn % 2 == 0 else reversed(names):
            times[name].append(contestants[name]())
    return times


def program(argv: list[str], environ: dict[str, str], actions: list[Action] | None = None) -> Start:
    """Return a contestant that is a program."""
    return lambda: once(argv, environ, actions or [])


def joined(spec: LaunchSpec) -> Start:
    """Return a start by redpak-join from this process."""
    from redpak.engine.spec import Opened

    words = [word for word in spec.args if isinstance(word, str)]
    assert spec.joiner and len(words) == len(spec.args)
    data = b"".join(os.fsencode(word) + b"\0" for word in words)
    argv = [spec.joiner, "--args", "9", "--", *spec.program]
    opened: list[Action] = [
        (os.POSIX_SPAWN_OPEN, number, one.path, os.O_RDONLY, 0)
        for number, one in spec.numbered()
        if isinstance(one, Opened)
    ]

    def start() -> float:
        before = time.perf_counter_ns()
        fd = os.memfd_create("args")
        os.pwrite(fd, data, 0)
        once(argv, {}, [(os.POSIX_SPAWN_DUP2, fd, 9), *opened])
        os.close(fd)
        return (time.perf_counter_ns() - before) / 1e6

    return start


def lowered(leaf: Path, bwrap: str) -> LaunchSpec:
    """Return the launch of the leaf, with its filter stored."""
    from redpak.engine import bwrap as engine
    from redpak.engine import host, seccomp
    from redpak.node.plan import plan_of

    spec = engine.lower(plan_of(str(leaf), command=("/usr/bin/true",)), host.look(bwrap))
    seccomp.store(spec.seccomp, spec.seccomp_path)
    return spec


def native(leaf: Path, bwrap: str) -> Start:
    """Return the native engine, told by this process, which is warm."""
    from redpak.engine import prepared

    return joined(prepared.cold(lowered(leaf, bwrap)))


def in_python(leaf: Path, bwrap: str) -> Start:
    """Return the native engine's own code, forked from this process, which is warm."""
    from redpak.engine import run as engine
    from redpak.engine.native import run, start
    from redpak.node.plan import plan_of

    plan = plan_of(str(leaf), command=("/usr/bin/true",))
    box = run.boxed(run.prepared(plan, engine.Options(bwrap=bwrap)), plan)

    def once() -> float:
        before = time.perf_counter_ns()
        running = start.create(box)
        running.release()
        status = running.wait()
        taken = (time.perf_counter_ns() - before) / 1e6
        running.close()
        if status:
            raise SystemExit(f"bench: the native engine ended with {status}")
        return taken

    return once


def prepared(leaf: Path, bwrap: str) -> tuple[Start, Callable[[], None]]:
    """Return a start in a prepared tree from this process, and what ends the tree's keeper."""
    from redpak.engine import keepers, prepared

    spec = lowered(leaf, bwrap)
    keeper, _ = keepers.start(spec, str(leaf))
    return joined(prepared.use(spec)), lambda: keepers.end(keeper)


def plain(leaf: Path, bwrap: str) -> tuple[list[str], list[str], dict[str, list[Action]], int]:
    """Return the launcher's own bwrap command line, the same by paths, what each has to have open, and its mounts."""
    from redpak.engine import bwrap as engine
    from redpak.engine import host
    from redpak.engine.spec import Opened
    from redpak.node.plan import plan_of

    plan = plan_of(str(leaf), command=("/usr/bin/true",))
    spec = engine.lower(plan, host.look(bwrap))
    numbered = [(number, one) for number, one in spec.numbered() if isinstance(one, Opened)]
    read, path = os.O_RDONLY, os.O_PATH
    filters: list[Action] = [
        (os.POSIX_SPAWN_OPEN, number, one.path, read, 0) for number, one in numbered if one.how == "read"
    ]
    sources: list[Action] = [
        (os.POSIX_SPAWN_OPEN, number, one.path, path, 0) for number, one in numbered if one.how == "path"
    ]
    words = [word for word in spec.args if isinstance(word, str)]
    assert len(words) == len(spec.args), "the bench's nodes compute nothing at start"
    same = [spec.bwrap, *words, "--", *spec.program]
    return (
        same,
        engine.command_line(spec),
        {"bwrap": sources + filters, "bwrap-paths": filters},
        len(plan.mounts),
    )


def peers(pool: Path) -> dict[str, list[str]]:
    """Return command lines of other container programs that work here, each starting /bin/true with the host's /usr."""
    found: dict[str, list[str]] = {}
    root = pool / "rootfs"
    for name in ("usr", "proc", "dev", "tmp", "etc"):
        (root / name).mkdir(parents=True)
    for name in ("bin", "sbin", "lib", "lib64"):
        if Path("/", name).is_symlink():
            (root / name).symlink_to(f"usr/{name}")
    nspawn = shutil.which("systemd-nspawn")
    if nspawn and os.geteuid() == 0:
        found["systemd-nspawn"] = [
            nspawn,
            "-q",
            "--register=no",
            "--keep-unit",
            "--bind-ro=/usr",
            "-D",
            str(root),
            "/usr/bin/true",
        ]
    for name in ("crun", "runc"):
        program = shutil.which(name)
        if program and os.geteuid() == 0:
            bundle = pool / name
            bundle.mkdir()
            document = json.loads(
                subprocess.run([program, "spec"], cwd=bundle, capture_output=True, check=False).stdout or "{}"
            )
            if not document:
                document = json.loads((bundle / "config.json").read_text())
            document["process"].update(terminal=False, args=["/usr/bin/true"])
            document["root"] = {"path": str(root), "readonly": True}
            document["mounts"].append(
                {"destination": "/usr", "source": "/usr", "type": "bind", "options": ["rbind", "ro"]}
            )
            (bundle / "config.json").write_text(json.dumps(document))
            found[name] = [program, "run", "--bundle", str(bundle), f"redpak-bench-{os.getpid()}"]
    podman = shutil.which("podman")
    if podman:
        runtime = ["--runtime", shutil.which("runc") or "crun"] if os.geteuid() == 0 else []
        found["podman"] = [
            podman,
            "--cgroup-manager=cgroupfs",
            *runtime,
            "run",
            "--rm",
            "--ulimit=nofile=1024:1024",
            "--ulimit=nproc=1024:1024",
            "--network=none",
            "--volume=/usr:/usr:ro",
            "--rootfs",
            str(root),
            "/usr/bin/true",
        ]
    return found


def works(argv: list[str], environ: dict[str, str]) -> bool:
    """Tell whether a peer can do it here at all."""
    try:
        done = subprocess.run(
            argv, env=environ, capture_output=True, timeout=30, stdin=subprocess.DEVNULL, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Compare start times with plain bubblewrap.")
    parser.add_argument(
        "--pairs", type=int, default=60, help="rounds; each starts every contestant once (default: 60)"
    )
    parser.add_argument("--json", action="store_true", help="print all times as JSON")
    parser.add_argument("--bwrap", default="", help="the bubblewrap to use")
    parser.add_argument("--check", action="store_true", help="fail where a goal is missed")
    asked = parser.parse_args()
    if os.geteuid() == 0 and not os.environ.pop("REDPAK_BENCH_APART", ""):
        # podman leaves mounts behind, which are nobody else's business
        os.environ["REDPAK_BENCH_APART"] = "1"
        os.execvp("unshare", ["unshare", "-m", "--propagation", "private", sys.executable, *sys.argv])
    if os.geteuid() == 0 and os.path.isdir("/sys/fs/cgroup/unified"):
        # crun refuses a host with both versions of control groups: here there is one
        subprocess.run(["mount", "-t", "tmpfs", "none", "/sys/fs/cgroup/unified"], check=True)
    with tempfile.TemporaryDirectory(prefix="redpak-bench-", dir="/var/tmp") as scratch:
        return bench(Path(scratch), asked)


def bench(scratch: Path, asked: argparse.Namespace) -> int:
    """Measure in a scratch directory."""
    leaf = family(scratch)
    environ = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(scratch),
        "LANG": "C.UTF-8",
        "XDG_CACHE_HOME": str(scratch / "cache"),
    }
    os.environ.update(environ)
    installed = HERE / ".venv" / "bin" / "redpak"
    redpak = [str(installed)] if installed.exists() else [sys.executable, str(HERE / "scripts" / "redpak")]
    if not installed.exists():
        environ["PYTHONPATH"] = str(HERE)
    named = ["--bwrap", asked.bwrap] if asked.bwrap else []
    launcher = scratch / "launcher"
    subprocess.run([*redpak, "freeze", *named, "-o", str(launcher), str(leaf)], env=environ, check=True)
    same, by_path, opened, mounts = plain(leaf, asked.bwrap)
    contestants = {
        "bwrap": program(same, environ, opened["bwrap"]),
        "bwrap-paths": program(by_path, environ, opened["bwrap-paths"]),
        "frozen": program([str(launcher), "/usr/bin/true"], environ),
        "run": program([*redpak, "run", *named, str(leaf), "/usr/bin/true"], environ),
        "run-no-frozen": program(
            [*redpak, "run", "--no-frozen", *named, str(leaf), "/usr/bin/true"], environ
        ),
        "native-cold": program(
            [*redpak, "run", "--engine", "native", *named, str(leaf), "/usr/bin/true"], environ
        ),
        "native-warm": native(leaf, asked.bwrap),
        "native-python": in_python(leaf, asked.bwrap),
        "python": program([sys.executable, "-I", "-S", "-c", ""], environ),
    }
    contestants |= {
        name: program(argv, environ, QUIET) for name, argv in peers(scratch).items() if works(argv, environ)
    }
    # In a runtime directory of its own, so that the launches above find nothing prepared.
    with tempfile.TemporaryDirectory(prefix="rp-", dir="/tmp") as runtime:
        warm = {**environ, "REDPAK_RUNTIME_DIR": runtime}
        os.environ["REDPAK_RUNTIME_DIR"] = runtime
        contestants["prepared-warm"], end = prepared(leaf, asked.bwrap)
        quick = scratch / "prepared"
        subprocess.run([*redpak, "freeze", *named, "-o", str(quick), str(leaf)], env=warm, check=True)
        contestants["prepared-frozen"] = program([str(quick), "/usr/bin/true"], warm)
        try:
            times = measure(contestants, asked.pairs)
        finally:
            end()
    result = report(times)
    if asked.json:
        print(
            json.dumps(
                {"mounts": mounts, "pairs": asked.pairs, "summary": result, "times_ms": times}, indent=1
            )
        )
    else:
        show(result, mounts, asked.pairs)
    goals = (
        result["frozen"]["ratio"] <= GOAL_RATIO,
        result["run-no-frozen"]["extra_ms"] <= GOAL_EXTRA_MS,
        result["native-warm"]["ratio"] <= GOAL_NATIVE,
        result["prepared-warm"]["ratio"] <= GOAL_PREPARED,
    )
    return 1 if asked.check and not all(goals) else 0


def report(times: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    """Return medians and comparisons with plain bwrap."""
    base = times["bwrap"]
    return {
        name: {
            "median_ms": round(statistics.median(taken), 2),
            "least_ms": round(min(taken), 2),
            "ratio": round(statistics.median(mine / its for mine, its in zip(taken, base, strict=True)), 3),
            "extra_ms": round(
                statistics.median(mine - its for mine, its in zip(taken, base, strict=True)), 2
            ),
        }
        for name, taken in times.items()
    }


def show(result: dict[str, dict[str, float]], mounts: int, pairs: int) -> None:
    """Print a table."""
    names = {
        "bwrap": "bwrap, the same command line",
        "bwrap-paths": "… with paths, not descriptors",
        "frozen": "frozen launcher",
        "run": "redpak run (frozen in the cache)",
        "run-no-frozen": "redpak run --no-frozen",
        "native-cold": "redpak run --engine native",
        "native-warm": "native engine, warm process",
        "native-python": "… without redpak-join",
        "prepared-warm": "prepared tree, warm process",
        "prepared-frozen": "prepared tree, frozen launcher",
        "python": "a bare Python, for comparison",
    }
    print(f"3 nodes, {mounts} mounts, /usr/bin/true, median of {pairs} interleaved rounds")
    print(f"{'':34} {'ms':>8} {'least':>8} {'÷ bwrap':>8} {'+ ms':>8}")
    for name, row in result.items():
        told = names.get(name, name)
        print(
            f"{told:34} {row['median_ms']:8.2f} {row['least_ms']:8.2f} {row['ratio']:8.3f} {row['extra_ms']:8.2f}"
        )
    print(
        f"goals: frozen at most {GOAL_RATIO} x bwrap; redpak run --no-frozen at most {GOAL_EXTRA_MS:g} ms more;"
        f" native warm at most {GOAL_NATIVE} x, prepared warm at most {GOAL_PREPARED} x"
    )


if __name__ == "__main__":
    sys.exit(main())
