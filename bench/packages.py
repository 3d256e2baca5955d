"""How long packages take: beside rpm itself and dnf, doing the same work on the same machine in the same minutes.

    python bench/packages.py [--rounds N] [--json] [PART…]

Parts: install (30 packages into a node, beside `rpm -i --root` and dnf), solve (one package out of a repository of
60,000, beside dnf), prove (a tree of 100 nodes with 2,600 packages, and what-if questions). Each round runs every
contestant once, in turn. Figures are medians of wall-clock time from posix_spawn(3) to the end of wait4(2); a ratio is
the median of the rounds' ratios, so it does not depend on how the machine's speed drifts.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(HERE))

from tests.rpms import Maker  # noqa: E402  the checkout's own maker of packages

PACKAGES, FILES = 30, 6
LARGE = 60_000
NODES, PER_NODE = 100, 26
GOALS = {"install": 1.5, "solve": 1.0, "memory": 150.0, "prove": 1.0, "what-if": 1.5}
PRIMARY = """\
<package type="rpm"><name>p{n}</name><arch>noarch</arch><version epoch="0" ver="1" rel="1"/><checksum type="sha256" \
pkgid="YES">{digest}</checksum><summary>Package {n}</summary><description>One of very many</description><packager/>\
<url/><time file="1" build="1"/><size package="1000" installed="1000" archive="1000"/>\
<location href="p{n}-1-1.noarch.rpm"/>\
<format><rpm:license>MIT</rpm:license><rpm:vendor/><rpm:group/><rpm:buildhost/>\
<rpm:sourcerpm>p{n}-1-1.src.rpm</rpm:sourcerpm>\
<rpm:header-range start="1" end="2"/><rpm:provides><rpm:entry name="p{n}" flags="EQ" epoch="0" ver="1" rel="1"/>\
<rpm:entry name="lib{n}.so.1()(64bit)"/></rpm:provides><rpm:requires>{requires}</rpm:requires>\
<file>/usr/bin/p{n}</file></format></package>
"""
REPOMD = """\
<?xml version="1.0" encoding="UTF-8"?>
<repomd xmlns="http://linux.duke.edu/metadata/repo"><revision>1</revision>
<data type="primary"><checksum type="sha256">{packed}</checksum><open-checksum type="sha256">{plain}</open-checksum>\
<location href="repodata/primary.xml.gz"/><timestamp>1</timestamp><size>{size}</size>\
<open-size>{open_size}</open-size></data>
</repomd>
"""


class Run:
    """One program run: how long it took, what it held in memory, what it said."""

    def __init__(
        self, argv: list[str], *, cwd: Path, environ: Mapping[str, str], ok: tuple[int, ...] = (0,)
    ) -> None:
        log = cwd / "said"
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ]
        begin = time.perf_counter()
        program = shutil.which(argv[0], path=environ["PATH"]) or argv[0]
        pid = os.posix_spawn(program, argv, dict(environ), file_actions=actions)
        _, status, used = os.wait4(pid, 0)
        self.seconds = time.perf_counter() - begin
        self.cpu = used.ru_utime + used.ru_stime
        self.mib = used.ru_maxrss / 1024
        self.said = log.read_text(errors="replace")
        code = os.waitstatus_to_exitcode(status)
        if code not in ok:
            raise SystemExit(f"bench: {' '.join(argv)[:200]} ended with {code}:\n{self.said}")


class Bench:
    """A scratch directory with everything that the parts need."""

    def __init__(self, at: Path, rounds: int) -> None:
        self.at = at
        self.rounds = rounds
        self.maker = Maker(at / "maker")
        self.environ = {
            "PATH": f"{HERE / '.venv/bin'}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
            "LANG": "C.UTF-8", "HOME": str(at), "XDG_CACHE_HOME": str(at / "cache"),
        }  # fmt: skip
        (at / ".rpmmacros").write_text("%_dbpath /var/lib/rpm\n")  # Debian's rpm looks in the home directory
        self.results: dict[str, object] = {}
        self.missed: list[str] = []

    def run(self, *words: str | Path, ok: tuple[int, ...] = (0,)) -> Run:
        """Run a program to its end."""
        return Run([str(word) for word in words], cwd=self.at, environ=self.environ, ok=ok)

    def dnf(self, *words: str | Path, ok: tuple[int, ...] = (0,)) -> Run:
        """Run dnf with nothing of this host's configuration."""
        config = self.at / "dnf.conf"
        if not config.exists():
            config.write_text(
                f"[main]\ncachedir={self.at / 'dnf-cache'}\nreposdir={self.at / 'dnf-repos'}\nplugins=0\n"
            )
        return self.run("dnf", "-c", config, "--releasever=1", "-y", *words, ok=ok)

    def node(self, name: str, core: Path | str, repo: str = "") -> Path:
        """Make a node on a core OS."""
        path = self.at / "pool" / name
        path.parent.mkdir(exist_ok=True)
        self.run(
            "redwrap-dnf", f"--redpath={path}", "manager", "--create", f"--alias={name}", "--no-system-node"
        )
        config = path / "etc/redpak.yaml"
        config.write_text(config.read_text().replace("\nconfig:\n", f"\nconfig:\n  core-os: {core}\n", 1))
        if repo:
            (path / "etc/yum.repos.d/bench.repo").write_text(repo)
        return path

    def compare(self, part: str, ways: Mapping[str, Callable[[], Run]], *, base: str) -> dict[str, float]:
        """Run all contestants in turn; print medians and ratios to `base`; return the ratios."""
        taken: dict[str, list[Run]] = {name: [] for name in ways}
        for turn in range(self.rounds + 1):
            for name, way in ways.items():
                run = way()
                if turn:  # the first one fills caches
                    taken[name].append(run)
        ratios: dict[str, float] = {}
        for name, runs in taken.items():
            pairs = zip(runs, taken[base], strict=True)
            ratios[name] = statistics.median(mine.seconds / other.seconds for mine, other in pairs)
            seconds = statistics.median(run.seconds for run in runs)
            cpu = statistics.median(run.cpu for run in runs)
            mib = statistics.median(run.mib for run in runs)
            print(f"  {name:44} {seconds:7.3f} s  cpu {cpu:6.3f} s  {mib:6.0f} MiB  × {ratios[name]:5.2f}")
            self.results[f"{part}: {name}"] = {"s": seconds, "cpu_s": cpu, "mib": mib, "ratio": ratios[name]}
        return ratios

    def goal(self, what: str, value: float, limit: float, unit: str) -> None:
        """Say whether a promise is kept."""
        kept = value <= limit
        print(
            f"  {'kept' if kept else 'MISSED'}: {what} {value:.2f} {unit} (promised: at most {limit:g} {unit})"
        )
        if not kept:
            self.missed.append(what)

    def seconds(self, name: str) -> float:
        """Return a median that was measured."""
        entry = self.results[name]
        assert isinstance(entry, dict)
        return float(entry["s"])


def install(bench: Bench) -> None:
    """Install 30 packages: with redpak into a node, with rpm and dnf into a root directory."""
    maker = bench.maker
    print(f"install: {PACKAGES} packages with {PACKAGES * FILES} files and a script each, metadata cached")
    core = maker.core(bench.at / "core")
    bench.run("rpmkeys", "--root", core, "--dbpath", "/var/lib/rpm", "--import", maker.key_file)
    rpms = [
        maker.rpm(
            f"pkg{n}", requires=[f"pkg{n - 1}"] if n else [], scripts={"post": ":"},
            files={f"/usr/share/pkg{n}/{f}": os.urandom(4096) for f in range(FILES)},
        )
        for n in range(PACKAGES)
    ]  # fmt: skip
    maker.repo("bench", rpms)
    repo = maker.repo_file("bench")
    (bench.at / "dnf-repos").mkdir(exist_ok=True)
    (bench.at / "dnf-repos/bench.repo").write_text(repo)
    node = bench.node("bench", core, repo)
    last = f"pkg{PACKAGES - 1}"
    count = 0

    def root() -> Path:
        nonlocal count
        count += 1
        at = bench.at / f"root{count}"
        shutil.copytree(core, at, symlinks=True)
        os.sync()
        return at

    def by_rpm() -> Run:
        at = root()
        return bench.run("rpm", "--root", at, "--dbpath", "/var/lib/rpm", "--force-debian", "-i", *rpms)

    def by_dnf() -> Run:
        return bench.dnf(
            f"--installroot={root()}", "--setopt=gpgcheck=0", "--setopt=repo_gpgcheck=0", "install", last
        )

    def by_redpak() -> Run:
        done = bench.run("redwrap-dnf", f"--redpath={node}", "-y", "install", last)
        bench.run("redwrap-dnf", f"--redpath={node}", "-y", "remove", "pkg0")
        os.sync()
        return done

    ways: dict[str, Callable[[], Run]] = {"rpm -i --root": by_rpm, "redwrap-dnf install": by_redpak}
    if shutil.which("dnf"):
        ways["dnf --installroot install"] = by_dnf
    ratios = bench.compare("install", ways, base="rpm -i --root")
    bench.goal("install ÷ rpm", ratios["redwrap-dnf install"], GOALS["install"], "×")


def large_repository(at: Path) -> None:
    """Write the metadata of a repository with LARGE packages; there are no package files."""
    data = at / "repodata"
    data.mkdir(parents=True)
    parts = [
        '<?xml version="1.0" encoding="UTF-8"?>\n<metadata xmlns="http://linux.duke.edu/metadata/common" '
        f'xmlns:rpm="http://linux.duke.edu/metadata/rpm" packages="{LARGE}">\n'
    ]
    for n in range(LARGE):
        wanted = {n // 2, n // 3, n // 7} - {n}
        requires = "".join(f'<rpm:entry name="lib{other}.so.1()(64bit)"/>' for other in sorted(wanted))
        parts.append(PRIMARY.format(n=n, requires=requires, digest=hashlib.sha256(b"%d" % n).hexdigest()))
    plain = "".join([*parts, "</metadata>\n"]).encode()
    packed = gzip.compress(plain, 1, mtime=0)
    (data / "primary.xml.gz").write_bytes(packed)
    digest = hashlib.sha256
    (data / "repomd.xml").write_text(
        REPOMD.format(
            packed=digest(packed).hexdigest(),
            plain=digest(plain).hexdigest(),
            size=len(packed),
            open_size=len(plain),
        )
    )


def solve(bench: Bench) -> None:
    """Work out one installation from a large repository, without doing it."""
    print(f"solve: one package out of {LARGE}, from cache, answered with no")
    # In a child: what this process ever held in memory would be counted for every program that it starts.
    pid = os.fork()
    if pid == 0:
        large_repository(bench.at / "large")
        os._exit(0)
    os.waitpid(pid, 0)
    repo = bench.maker.repo_file("large", bench.at / "large", gpgcheck=0, repo_gpgcheck=0)
    node = bench.node("large", "none", repo)
    (bench.at / "dnf-repos").mkdir(exist_ok=True)
    (bench.at / "dnf-repos/bench.repo").write_text(repo)
    empty = bench.at / "empty"
    empty.mkdir()
    spec = f"p{LARGE - 1}"
    ways: dict[str, Callable[[], Run]] = {
        "redwrap-dnf install --assumeno": lambda: bench.run(
            "redwrap-dnf", f"--redpath={node}", "--assumeno", "install", spec, ok=(1,)
        ),
    }
    if shutil.which("dnf"):
        ways["dnf --installroot install --assumeno"] = lambda: bench.dnf(
            f"--installroot={empty}", "--assumeno", "install", spec, ok=(1,)
        )
    bench.compare("solve", ways, base="redwrap-dnf install --assumeno")
    entry = bench.results["solve: redwrap-dnf install --assumeno"]
    assert isinstance(entry, dict)
    bench.goal("solve", entry["s"], GOALS["solve"], "s")
    bench.goal("memory of solve", entry["mib"], GOALS["memory"], "MiB")


def tree(bench: Bench) -> Path:
    """Make a tree of NODES nodes with PER_NODE packages each, requirements along the lines of descent."""
    maker = bench.maker
    core = maker.core(bench.at / "prove-core", programs=("true",))
    top = bench.node("t0", core)
    places = [top]
    for number in range(1, NODES):
        above = places[(number - 1) // 3]
        path = above / f"t{number}"
        bench.run("redpak", "node", "create", path, "--alias", f"t{number}")
        places.append(path)
    for number, path in enumerate(places):
        rpms = []
        for n in range(PER_NODE):
            requires = [f"cap-{number}-{other}" for other in {n // 2, n // 3} if other != n]
            if number:
                requires.append(f"cap-{(number - 1) // 3}-{n}")
            rpms.append(
                maker.rpm(
                    f"t{number}-{n}", arch="noarch", requires=requires, provides=[f"cap-{number}-{n}"],
                    files={f"/usr/share/t{number}/{n}/{f}": f"{f}" for f in range(3)},
                )
            )  # fmt: skip
        maker.plant(path, rpms)
        keys = path / ".redpak/keys"
        keys.mkdir(parents=True)
        (keys / "bench.asc").write_text(maker.key)
    return top


def prove(bench: Bench) -> None:
    """Prove a large tree, and ask what an update would break."""
    print(f"prove: {NODES} nodes, {NODES * PER_NODE} packages")
    begin = time.perf_counter()
    top = tree(bench)
    print(f"  (made in {time.perf_counter() - begin:.0f} s)")
    databases = [str(path.parent) for path in top.rglob("rpmdb.sqlite")]
    script = 'for at; do rpm --dbpath "$at" -Va --nofiles --nodeps >/dev/null || exit; done'
    removal = f"{top}: remove t0-3"
    ways: dict[str, Callable[[], Run]] = {
        "redpak prove": lambda: bench.run("redpak", "prove", top),
        "redpak prove --if (a removal at the top)": lambda: bench.run(
            "redpak", "prove", top, "--if", removal, ok=(1, 3)
        ),
        "rpm -Va --nofiles of each database": lambda: bench.run("sh", "-c", script, "sh", *databases),
    }
    bench.compare("prove", ways, base="rpm -Va --nofiles of each database")
    bench.goal("prove", bench.seconds("prove: redpak prove"), GOALS["prove"], "s")
    bench.goal(
        "what-if", bench.seconds("prove: redpak prove --if (a removal at the top)"), GOALS["what-if"], "s"
    )


PARTS: dict[str, Callable[[Bench], None]] = {"install": install, "solve": solve, "prove": prove}


def main() -> int:
    """Run the parts that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)} (default: all)")
    parser.add_argument("--rounds", type=int, default=7, help="how often each contestant runs")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON at the end")
    options = parser.parse_args()
    for name in options.parts:
        if name not in PARTS:
            parser.error(f"there is no part '{name}'")
    if os.geteuid() != 0 and "install" in (options.parts or PARTS):
        print("bench: rpm and dnf can install into a directory as root only: part 'install' is left out")
        options.parts = [name for name in options.parts or PARTS if name != "install"]
    at = Path(tempfile.mkdtemp(prefix="redpak-bench."))
    bench = Bench(at, options.rounds)
    try:
        for name in options.parts or PARTS:
            PARTS[name](bench)
    finally:
        shutil.rmtree(at, ignore_errors=True)
    if options.json:
        print(json.dumps(bench.results, indent=1))
    if bench.missed:
        print(f"bench: missed: {', '.join(bench.missed)}", file=sys.stderr)
    return bool(bench.missed)


if __name__ == "__main__":
    sys.exit(main())
