"""How long a start takes: plain bubblewrap, a frozen launcher, `redpak run`, and other programs of this kind.

    python bench/start.py [--pairs N] [--json] [--bwrap FILE]

Three nodes, 25 mounts, /bin/true. Each round starts every contestant once, one after the other, so that all see the
same machine; figures are medians of wall-clock time from posix_spawn(3) to the end of wait4(2). The ratio of two
contestants is the median of the rounds' ratios: it does not depend on how the machine's speed drifts.
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
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(HERE))

GOAL_RATIO = 1.15  # frozen ÷ the same bwrap command line
GOAL_EXTRA_MS = 60.0  # unfrozen − bwrap
WARM_UP = 3
MOUNTS = 25
Action = tuple[int, int, str, int, int]  # posix_spawn(3): open a file as a descriptor

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


def measure(
    contestants: dict[str, list[str]],
    environ: dict[str, str],
    pairs: int,
    opened: dict[str, list[Action]],
) -> dict[str, list[float]]:
    """Return the times of each contestant, round by round."""
    for name, argv in contestants.items():
        for _ in range(WARM_UP):
            once(argv, environ, opened.get(name, []))
    times: dict[str, list[float]] = {name: [] for name in contestants}
    names = list(contestants)
    for turn in range(pairs):
        for name in names if turn % 2 == 0 else reversed(names):
            times[name].append(once(contestants[name], environ, opened.get(name, [])))
    return times


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
        found["podman"] = [podman, "run", "--rm", "--network=none", "--rootfs", str(root), "/usr/bin/true"]
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
        "bwrap": same,
        "bwrap-paths": by_path,
        "frozen": [str(launcher), "/usr/bin/true"],
        "run": [*redpak, "run", *named, str(leaf), "/usr/bin/true"],
        "run-no-frozen": [*redpak, "run", "--no-frozen", *named, str(leaf), "/usr/bin/true"],
        "python": [sys.executable, "-I", "-S", "-c", ""],
    }
    contestants |= {name: argv for name, argv in peers(scratch).items() if works(argv, environ)}
    times = measure(contestants, environ, asked.pairs, opened)
    result = report(times)
    if asked.json:
        print(
            json.dumps(
                {"mounts": mounts, "pairs": asked.pairs, "summary": result, "times_ms": times}, indent=1
            )
        )
    else:
        show(result, mounts, asked.pairs)
    missed = result["frozen"]["ratio"] > GOAL_RATIO or result["run-no-frozen"]["extra_ms"] > GOAL_EXTRA_MS
    return 1 if asked.check and missed else 0


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
        f"goals: frozen at most {GOAL_RATIO} x bwrap; redpak run --no-frozen at most {GOAL_EXTRA_MS:g} ms more"
    )


if __name__ == "__main__":
    sys.exit(main())
