"""`./dev demo`: nodes of real software, installed as packages, a service in the leaf, and what redpak can say about it.

Everything happens in one scratch directory, which is removed at the end, however that comes.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from demo.convert import Workshop
from demo.plain import Plain
from demo.software import DATABASE, GATEWAY, OTHER, SERVER, Apt, NoSoftware, can_fetch
from demo.stage import HERE, PROGRAMS, Failed, Stage, ask, bold, chapter, free_port, wait_until_ready
from redpak import paths

PLATFORM = "pool/platform"
MIDDLEWARE = f"{PLATFORM}/middleware"
APPLICATION = f"{MIDDLEWARE}/application"
SECOND = f"{MIDDLEWARE}/cache"
LIBRARY = "libhiredis0.14"  # what the parent must not lose
ROUNDS = 20  # how often start times are measured

GREEDY = """\
headers:
  alias: greedy
  name: greedy
exports:
- mode: Public
  mount: /nodes/platform/usr
  path: {platform}/usr
"""


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


def make_repositories(stage: Stage, shop: Workshop) -> list[str]:
    """Turn Debian packages into RPM packages; return the names of the libraries that the core OS lacks."""
    apt = Apt(stage.at / "apt")
    needed = apt.libraries_of(DATABASE, GATEWAY, OTHER)
    libraries = [name for name in needed if not apt.on_the_core_os(name)]
    names = [*libraries, DATABASE, SERVER, GATEWAY, OTHER]
    packages = [shop.from_deb(deb, names) for deb in apt.fetch(names)]
    packages.append(shop.visits("1", [SERVER, GATEWAY]))
    shop.repository("real", packages)
    # An update as it happens: the library's next release has another soname, and nobody was rebuilt for it.
    event = next(path for path in packages if path.name.startswith(LIBRARY))
    shop.repository("updates", [shop.next_release(LIBRARY), shop.visits("2", [SERVER, GATEWAY])])
    size = sum(path.stat().st_size for path in packages)
    print(
        f"  {len(packages)} packages, {size / 2**20:.1f} MiB, signed one by one and as a list, such as {event.name}"
    )
    shared = [name for name in needed if name not in libraries]
    print(f"  not packed, since the core OS has them: {' '.join(shared) or 'nothing'}")
    return libraries


def dnf(stage: Stage, node: str, *words: str, code: int = 0, lines: int = 0) -> str:
    """Type a command of dnf for a node."""
    return stage.type("redwrap-dnf", f"--redpath={node}", *words, code=code, lines=lines)


def add_repository(stage: Stage, node: str, name: str) -> None:
    """Let a node install from a repository of the workshop."""
    source = ("add", node, f"workshop/{name}", "--id", name)
    stage.type("redpak", "node", "repo", *source, "--gpgkey", "workshop/RPM-GPG-KEY-demo", "--repo-gpgcheck")


def packages(stage: Stage, shop: Workshop) -> None:
    """Install, run, install beside it, try to break it, prove it, go back, throw away."""
    chapter(
        "A signed repository", "Made here, now, of this host's distribution: real programs as RPM packages."
    )
    libraries = make_repositories(stage, shop)
    for node in (PLATFORM, MIDDLEWARE, APPLICATION):
        add_repository(stage, node, "real")

    chapter("Install", "The platform brings libraries. What the core OS has is not installed again.")
    dnf(stage, PLATFORM, "-y", "repoquery", "libh*")
    dnf(stage, PLATFORM, "-y", "install", *libraries, lines=40)
    chapter(
        "… in the child",
        "Its dependencies live in the parent and in the core OS: they are seen, and left alone.",
    )
    dnf(stage, MIDDLEWARE, "-y", "install", SERVER)
    dnf(stage, APPLICATION, "-y", "install", "visits-1")
    stage.type("redpak", "run", APPLICATION, "--", "rpm", "-qa")
    stage.type(
        "redpak",
        "node",
        "rpm",
        "--all",
        APPLICATION,
        "--",
        "-q",
        "--whatprovides",
        "libhiredis.so.0.14()(64bit)",
    )
    stage.type("redpak", "run", APPLICATION, "--", "sh", "-c", "ldd /nodes/*/usr/bin/webdis | sort -k3")


def coherence(stage: Stage) -> None:
    """A second leaf, an update that would break both, a proof, a way back, and the end of a node."""
    chapter(
        "A second leaf",
        "Another application on the same middleware and platform. What it needs is there.",
    )
    stage.type("redwrap-dnf", f"--redpath={SECOND}", "manager", "--create", "--alias=cache")
    add_repository(stage, SECOND, "real")
    dnf(stage, SECOND, "-y", "install", OTHER)
    stage.type("redpak", "run", SECOND, "--", "memcached", "--version")

    chapter(
        "Try to break it from the parent", "The children's children need what is removed or updated here."
    )
    dnf(stage, PLATFORM, "-y", "remove", LIBRARY, code=3)
    add_repository(stage, PLATFORM, "updates")
    dnf(stage, PLATFORM, "-y", "upgrade", code=3)
    print("What would break can be asked before:")
    stage.type("redpak", "prove", PLATFORM, "--if", f"{PLATFORM}: upgrade {LIBRARY}", code=1)

    chapter(
        "Prove",
        "Requirements, conflicts, shadowed files, the loader's search order, signatures, digests, plans.",
    )
    stage.type("openssl", "genpkey", "-algorithm", "ed25519", "-out", "release.pem")
    stage.type("openssl", "pkey", "-in", "release.pem", "-pubout", "-out", "release.pub")
    stage.type("redpak", "prove", PLATFORM, "--certificate", "nodes.cert", "--sign", "release.pem")
    print("On the device, by a second program that does not ask the solver:")
    stage.type("redpak", "verify", "nodes.cert", PLATFORM, "--key", "release.pub")
    stage.type("redpak", "why", LIBRARY, PLATFORM)

    chapter(
        "Update, and go back",
        "Each change makes a new generation in one step; the old ones stay for a while.",
    )
    add_repository(stage, APPLICATION, "updates")
    dnf(stage, APPLICATION, "-y", "upgrade", "visits")
    stage.type("redpak", "run", APPLICATION, "--", "rpm", "-q", "visits")
    dnf(stage, APPLICATION, "history", "list")
    stage.type("redpak", "node", "rollback", APPLICATION, "1", "-y")
    stage.type("redpak", "run", APPLICATION, "--", "rpm", "-q", "visits")

    chapter("Delete a node", "A node is a directory.")
    stage.type("rm", "-rf", SECOND)
    stage.type("redpak", "node", "tree", PLATFORM)


def story(stage: Stage, shop: Workshop) -> None:
    """Tell it."""
    chapter(
        "Three nodes",
        "A node is a directory. Each is made in the one it builds upon; the host is the core OS of all.",
    )
    stage.type(
        "redwrap-dnf", f"--redpath={PLATFORM}", "manager", "--create", "--alias=platform", "--no-system-node"
    )
    stage.type("redwrap-dnf", f"--redpath={MIDDLEWARE}", "manager", "--create", "--alias=middleware")
    stage.type("redwrap-dnf", f"--redpath={APPLICATION}", "manager", "--create", "--alias=application")

    packages(stage, shop)

    chapter("A service in the leaf")
    serve(stage)

    coherence(stage)

    chapter("What will happen", "A launch is data before it is done. This touches nothing.")
    stage.type("redpak", "plan", APPLICATION, "--", "visits", "8080", "6379", lines=40)
    count(stage)
    stage.type("redpak", "node", "tree", "--svg", PLATFORM, into="tree.svg")

    chapter("What is refused", "An ancestor's files are read-only, at run time …")
    stage.type("redpak", "run", APPLICATION, "--", "touch", "/nodes/platform/usr/lib/mine", code=1)
    print("… and no configuration further down can change that:")
    (stage.at / "greedy.yaml").write_text(GREEDY.format(platform=stage.at / PLATFORM))
    greedy = ("create", f"{PLATFORM}/greedy", "--alias", "greedy", "--config", "greedy.yaml")
    stage.type("redpak", "node", *greedy, code=2)

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
    shop = None
    try:
        print(f"in {scratch}")
        shop = Workshop(scratch / "workshop")
        story(stage, shop)
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
        if shop:
            shop.close()
        shutil.rmtree(scratch)
        for at in cached() - before:
            at.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main())
