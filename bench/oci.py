"""How long the commands of an OCI runtime take: redpak-oci beside runc and crun, on the same bundle, as root.

Every round takes the runtimes in a new random order; a wait for the program to end is not counted. Figures are
medians in milliseconds; the ratio is to runc. "exec" has the program on the command line, "exec -p" in a file as
container engines do. Everything happens in a mount namespace of its own, and in control groups below /redpak-bench.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
OURS = REPOSITORY / "scripts" / "redpak-oci"
CGROUP = "/redpak-bench"


class Runtime:
    """One runtime: what it is called with, and what its commands took."""

    def __init__(self, program: str, scratch: Path) -> None:
        self.program = program
        self.name = os.path.basename(program)
        self.root = scratch / f"root-{self.name}"
        self.log = scratch / f"log-{self.name}"
        self.took: dict[str, list[float]] = {}

    def __call__(self, what: str, *words: str) -> float:
        """Run one command; return and keep the milliseconds that it took. Ends the program when it fails."""
        argv = [self.program, "--root", str(self.root), "--log", str(self.log), *words]
        closed = [(os.POSIX_SPAWN_OPEN, fd, "/dev/null", os.O_RDWR, 0) for fd in (0, 1, 2)]
        before = time.perf_counter()
        pid = os.posix_spawn(argv[0], argv, os.environ, file_actions=closed)
        _, status, used = os.wait4(pid, 0)
        took = (time.perf_counter() - before) * 1000
        code = os.waitstatus_to_exitcode(status)
        if code:
            said = self.log.read_text() if self.log.exists() else ""
            sys.exit(f"{' '.join(argv)}: exit code {code}\n{said}")
        self.took.setdefault(what, []).append(took)
        self.took.setdefault(f"{what} cpu", []).append((used.ru_utime + used.ru_stime) * 1000)
        return took

    def median(self, what: str) -> float:
        """Return the median of what a command took."""
        return statistics.median(self.took[what])


def bundle(scratch: Path, name: str, args: list[str]) -> Path:
    """Make a bundle that runs a program of busybox."""
    at = scratch / name
    for folder in ("bin", "proc", "dev", "sys"):
        (at / "rootfs" / folder).mkdir(parents=True)
    shutil.copy("/bin/busybox", at / "rootfs/bin/busybox")
    for applet in ("true", "sleep", "sh"):
        (at / "rootfs/bin" / applet).symlink_to("busybox")
    subprocess.run(["runc", "spec"], cwd=at, check=True)
    config = json.loads((at / "config.json").read_text())
    config["process"].update(terminal=False, args=args, rlimits=[])
    config["linux"]["resources"]["memory"] = {"limit": 256 << 20}
    config["linux"]["resources"]["pids"] = {"limit": 100}
    (at / "config.json").write_text(json.dumps(config))
    return at


def placed(at: Path, runtime: Runtime, name: str) -> None:
    """Name the control group that the next container gets."""
    config = json.loads((at / "config.json").read_text())
    config["linux"]["cgroupsPath"] = f"{CGROUP}/{runtime.name}-{name}"
    (at / "config.json").write_text(json.dumps(config))


def life(runtime: Runtime, at: Path, number: int) -> None:
    """Take one container from create to delete."""
    name, pid_file = f"b{number}", f"{runtime.root}.pid"
    placed(at, runtime, name)
    total = runtime("create", "create", "--bundle", str(at), "--pid-file", pid_file, name)
    pidfd = os.pidfd_open(int(Path(pid_file).read_text()))
    total += runtime("start", "start", name)
    os.waitid(os.P_PIDFD, pidfd, os.WEXITED)  # we are its sub-reaper
    os.close(pidfd)
    total += runtime("delete", "delete", name)
    runtime.took.setdefault("create+start+delete", []).append(total)


def subreaper() -> None:
    """Become the parent of containers whose runtime has ended (PR_SET_CHILD_SUBREAPER)."""
    import ctypes

    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)


def measure(rounds: int, programs: list[str], scratch: Path) -> list[Runtime]:
    """Return the runtimes with what their commands took."""
    runtimes = [Runtime(program, scratch) for program in programs]
    short, long = bundle(scratch, "short", ["/bin/true"]), bundle(scratch, "long", ["/bin/sleep", "1000"])
    process = scratch / "process.json"
    config = json.loads((long / "config.json").read_text())
    config["process"]["capabilities"].pop(
        "ambient", None
    )  # engines ask for none without the inheritable ones
    process.write_text(json.dumps({**config["process"], "args": ["/bin/true"]}))
    for one in runtimes:
        placed(long, one, "long")
        one("-", "run", "--detach", "--bundle", str(long), "long")
    try:
        for number in range(rounds):
            random.shuffle(runtimes)
            for one in runtimes:
                life(one, short, number)
                one("exec", "exec", "long", "/bin/true")
                one("exec -p", "exec", "--process", str(process), "long")
                one("state", "state", "long")
    finally:
        for one in runtimes:
            one("-", "delete", "--force", "long")
    return sorted(runtimes, key=lambda one: programs.index(one.program))


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(
        prog="oci.py", description="Compare redpak-oci with runc and crun, as root."
    )
    parser.add_argument(
        "rounds", nargs="?", type=int, default=30, help="how often each does everything (default: 30)"
    )
    parser.add_argument("runtimes", nargs="*", help="their programs (default: this checkout's, runc, crun)")
    asked = parser.parse_args()
    rounds = asked.rounds
    found = [shutil.which(name) for name in ("runc", "crun")]
    programs = asked.runtimes or [str(OURS), *(one for one in found if one)]
    subreaper()
    with tempfile.TemporaryDirectory(prefix="redpak-bench-") as folder:
        runtimes = measure(rounds, programs, Path(folder))
    for one in runtimes:
        cpu = [one.took[f"{what} cpu"] for what in ("create", "start", "delete")]
        one.took["create+start+delete cpu"] = [sum(three) for three in zip(*cpu, strict=True)]
    report(runtimes, rounds, " cpu")
    report(runtimes, rounds, "")


def report(runtimes: list[Runtime], rounds: int, what: str) -> None:
    """Print a table of processor time (" cpu": of a command and what it waited for), or of wall-clock time ("")."""
    kinds = [
        f"{kind}{what}"
        for kind in ("create", "start", "delete", "create+start+delete", "exec", "exec -p", "state")
    ]
    print(f"{f'ms, medians of {rounds}':24}" + "".join(f"{kind:>25}" for kind in kinds))
    first = next((one for one in runtimes if one.name == "runc"), runtimes[0])
    for one in runtimes:
        cells = (
            f"{one.median(kind):11.1f} ({one.median(kind) / first.median(kind):5.2f} x)" for kind in kinds
        )
        print(f"{one.name:24}" + "".join(f"{cell:>25}" for cell in cells))


def private() -> None:
    """Go on in a mount namespace of our own, without the second hierarchy that crun refuses beside the first."""
    if os.environ.get("REDPAK_BENCH_PRIVATE"):
        return
    os.environ["REDPAK_BENCH_PRIVATE"] = "1"
    hide = 'test -d /sys/fs/cgroup/unified && mount -t tmpfs none /sys/fs/cgroup/unified; exec "$@"'
    os.execvp(
        "unshare",
        ["unshare", "-m", "--propagation", "private", "sh", "-c", hide, "sh", sys.executable, *sys.argv],
    )


if __name__ == "__main__":
    private()
    try:
        main()
    finally:
        for top in Path("/sys/fs/cgroup").glob(f"*{CGROUP}"):
            for folder, _, _ in os.walk(top, topdown=False):
                try:
                    os.rmdir(folder)
                except OSError:
                    pass  # the memory file system that hides the second hierarchy: goes with the namespace
