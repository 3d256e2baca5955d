"""A node whose package commands are interrupted, and what it must hold afterwards.

The command line runs in a fork of a process that has its modules already, so a round takes a fraction of a second.
What must be there is worked out from the packages' contents, not from what redpak says.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import pkgutil
import random
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.host.processes import Wrong, adopt_orphans, all_end, kill_all, waited
from tests.patience import PATIENCE_S
from tests.rpms import Config, Dir, Ghost, Maker

LONGEST_S = PATIENCE_S  # a command that takes longer hangs
State = tuple[str, ...]  # the packages that are installed, sorted
EMPTY: State = ()
ONE: State = ("alpha-1-1.noarch", "beta-1-1.noarch")
TWO: State = ("alpha-2-1.noarch", "beta-2-1.noarch")
LONELY: State = ("alpha-2-1.noarch",)
STATES = (EMPTY, ONE, TWO, LONELY)
DATA_FILES = 12
KINDS = ("install", "upgrade", "remove", "downgrade", "history", "rollback")
SCRIPT = "echo {version} >/var/lib/alpha/made"


class Act(NamedTuple):
    """One command and the state that it leads to."""

    words: tuple[str, ...]
    to: State

    @property
    def name(self) -> str:
        """What kind of command it is."""
        return " ".join(word for word in self.words[:2] if word in KINDS)


# What may be done in each state; roll-backs to earlier generations come in addition.
ACTS: dict[State, list[Act]] = {
    EMPTY: [Act(("install", "alpha-1", "beta-1"), ONE), Act(("install", "alpha", "beta"), TWO)],
    ONE: [Act(("upgrade",), TWO), Act(("remove", "alpha"), EMPTY)],
    TWO: [Act(("remove", "beta"), LONELY), Act(("downgrade", "alpha-1", "beta-1"), ONE)],
    LONELY: [Act(("install", "beta"), TWO), Act(("remove", "alpha"), EMPTY)],
}


def load_everything() -> None:
    """Import what the commands import, so that a fork of this process starts at once."""
    import redpak.cli.dnf
    import redpak.node
    import redpak.packages

    for package in (redpak.packages, redpak.node, redpak.cli.dnf):
        for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
            importlib.import_module(module.name)
    for name in ("solv", "pysequoia", "zstandard", "cryptography"):
        importlib.import_module(name)


class Rig:
    """A core system, a repository of two packages in two versions, and a node."""

    def __init__(self, folder: Path, *, pool: Path | None = None, padding: int = 0) -> None:
        """`pool`: where the node is made. `padding`: bytes that make each version of alpha larger."""
        adopt_orphans()
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
        self.folder = folder
        self.maker = Maker(folder / "maker")
        self.node = (pool or folder / "pool") / "node"
        self.node.parent.mkdir(exist_ok=True)
        self.seen: dict[str, list[float]] = {}  # durations by command, seconds
        core = self.maker.core(folder / "core")
        rpms = [path for version in ("1", "2") for path in self.packages(version, padding)]
        self.maker.repo("tiny", rpms)
        code, said = self.main("manager", "--create", "--alias", "node", "--no-system-node")
        if code:
            raise Wrong(f"the node could not be made: {said}")
        config = self.node / "etc/redpak.yaml"
        config.write_text(config.read_text().replace("\nconfig:\n", f"\nconfig:\n  core-os: {core}\n", 1))
        (self.node / "etc/yum.repos.d/tiny.repo").write_text(self.maker.repo_file("tiny"))
        self.state: State = EMPTY
        self.generation_of: dict[State, int] = {}
        self.stuck = 0  # processes that had to be killed after the command that started them

    def packages(self, version: str, padding: int) -> list[str]:
        """Make alpha and beta in one version."""
        other = {"1": "2", "2": "1"}[version]
        alpha = self.maker.rpm(
            "alpha", version, arch="noarch", scripts={"post": SCRIPT.format(version=version)},
            files={
                "/usr/bin/alpha": (f"#!/bin/sh\necho {version}\n", 0o755),
                "/usr/share/alpha": Dir(),
                "/usr/share/alpha/version": f"{version}\n",
                "/usr/share/alpha/same": "the same in both\n",
                "/usr/share/alpha/owned": ("by another user\n", 0o644, "svc"),
                f"/usr/share/alpha/only-{version}": version,
                "/usr/share/alpha/padding": random.Random(version).randbytes(padding),
                "/etc/alpha.conf": Config(f"version={version}\n"),
                "/var/lib/alpha": Dir(),
                "/var/lib/alpha/seed": f"seed {version}\n",
                f"/var/lib/alpha/only-{version}": version * int(other),
                "/var/lib/alpha/made": Ghost(),
            },
        )  # fmt: skip
        beta = self.maker.rpm(
            "beta", version, arch="noarch", requires=[f"alpha = {version}-1"],
            files={
                **{f"/usr/lib/beta/{number}": f"{number} of {version}\n" for number in range(DATA_FILES)},
                "/opt/beta/data": f"{version}\n",
            },
        )  # fmt: skip
        return [alpha, beta]

    # ---- what must be there ----

    def expected(self, state: State) -> dict[str, str]:
        """Return path → digest of every file that packages in a state bring, scriptlets' work included."""
        found: dict[str, str] = {}
        for path, contents in self.maker.contents.items():
            if Path(path).name.removesuffix(".rpm") not in state:
                continue
            for name, file in contents.items():
                if stat.S_ISDIR(file.st_mode):
                    continue
                data = file.data
                if file.ghost:
                    data = f"{Path(path).name.split('-')[1]}\n".encode()
                found[name] = hashlib.sha256(data).hexdigest()
        return found

    def found(self) -> tuple[State, dict[str, str]]:
        """Return what the node's database and its directories really hold."""
        database = self.node / ".redpak/current/rpmdb"
        if not database.exists():
            return EMPTY, self.files(self.node)
        said = subprocess.run(
            ["rpm", "--dbpath", str(database), "-qa"], capture_output=True, text=True, check=False
        )
        if said.returncode:
            raise Wrong(f"rpm cannot read the database: {said.stderr}")
        names = (line for line in said.stdout.split() if not line.startswith("gpg-pubkey"))
        return tuple(sorted(names)), self.files(database.parent / "tree") | self.files(self.node)

    @staticmethod
    def files(top: Path) -> dict[str, str]:
        """Return path → digest of all files of packages beneath a directory; the node's own are left out."""
        found: dict[str, str] = {}
        for folder, folders, names in os.walk(top):
            at = "/" + os.path.relpath(folder, top) if folder != str(top) else ""
            if at in ("/etc/yum.repos.d", "/etc/rpm", "/var/lib/rpm", "/private"):
                folders.clear()
                continue
            if not at:
                folders[:] = [name for name in folders if name != ".redpak"]
                continue  # the node's status, and links into the current generation
            for name in names:
                path = f"{at}/{name}"
                if not path.startswith("/etc/redpak"):
                    found[path] = hashlib.sha256(Path(folder, name).read_bytes()).hexdigest()
        return found

    def check(self, *allowed: State) -> State:
        """Return the state that the node is in. Raises Wrong when it is none of `allowed`, or not wholly."""
        state, files = self.found()
        if state not in allowed:
            raise Wrong(f"the database has {state}, which is none of {allowed}")
        wanted = self.expected(state)
        if files != wanted:
            lacks = sorted(wanted.keys() - files.keys())
            extra = sorted(files.keys() - wanted.keys())
            other = sorted(path for path in wanted.keys() & files.keys() if wanted[path] != files[path])
            raise Wrong(f"the database says {state}; missing {lacks}, not theirs {extra}, changed {other}")
        return state

    def check_raw(self, *allowed: State) -> None:
        """Check what can be asked before anybody has cleaned up: the current generation agrees with itself."""
        state, files = self.found()
        if state not in allowed:
            raise Wrong(f"before the clean-up, the database has {state}, which is none of {allowed}")
        of_state = ("/etc/", "/var/")  # may still be of either side
        mine = {path: digest for path, digest in files.items() if not path.startswith(of_state)}
        wanted = {
            path: digest for path, digest in self.expected(state).items() if not path.startswith(of_state)
        }
        if mine != wanted:
            differ = sorted({*mine.items()} ^ {*wanted.items()})
            raise Wrong(f"before the clean-up, the database says {state}, but the tree differs: {differ}")

    def check_clean(self) -> None:
        """Check that nothing unfinished is left."""
        work = self.node / ".redpak/work"
        if work.exists() and any(work.iterdir()):
            raise Wrong(f"left in work: {sorted(path.name for path in work.iterdir())}")
        link = os.readlink(self.node / ".redpak/current") if self.state or self.seen else ""
        if link and (self.node / ".redpak" / link / "pending").exists():
            raise Wrong("state files are still pending")

    # ---- commands ----

    def start(self, *words: str, before: Callable[[], None] | None = None) -> tuple[int, Path]:
        """Start a command in a fork, in a process group of its own; return its pid and the file of its output."""
        log = self.folder / "said"
        pid = os.fork()
        if pid:
            return pid, log
        code = 70
        try:
            os.setsid()
            out = os.open(log, os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
            null = os.open(os.devnull, os.O_RDONLY)
            for fd, at in ((null, 0), (out, 1), (out, 2)):
                os.dup2(fd, at)
            sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
            if before:
                before()
            code = self.run_in_process(words)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def run_in_process(self, words: Sequence[str]) -> int:
        """Run the command line in this process."""
        if words[0] in ("recover", "run"):
            from redpak.cli.main import main

            node = str(self.node)
            return main(
                ["node", "recover", node] if words[0] == "recover" else ["run", node, "--", *words[1:]]
            )
        from redpak.cli.compat.redwrap_dnf import main as dnf

        return dnf([f"--redpath={self.node}", "-y", *words])

    def main(self, *words: str) -> tuple[int, str]:
        """Run a command to its end; return its exit code and what it said."""
        pid, log = self.start(*words)
        if not waited(pid, LONGEST_S):
            kill_all(pid)
            raise Wrong(f"{words} hangs: {log.read_text(errors='replace')}")
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), log.read_text(errors="replace")

    def do(self, act: Act) -> None:
        """Run a command undisturbed; the node must be where it leads to."""
        begin = time.monotonic()
        code, said = self.main(*act.words)
        self.seen.setdefault(act.name, []).append(time.monotonic() - begin)
        if code:
            raise Wrong(f"{act.words} ended with {code}: {said}")
        self.arrived(self.check(act.to))

    def arrived(self, state: State) -> None:
        """Note where the node is."""
        self.state = state
        at = self.node / ".redpak/current"
        if at.is_symlink():
            self.generation_of[state] = int(os.readlink(at).rpartition("/")[2])

    def back_to(self, state: State) -> Act:
        """Return the roll-back to the latest generation that has a state, by its files."""
        return Act(("rollback", str(self.generation_of[state])), state)

    def filled(self, act: Act) -> Act:
        """Return the act with the generation's number, if it is a roll-back without one."""
        return self.back_to(act.to) if act.words[-1] == "" else act

    def choices(self) -> list[Act]:
        """Return what can be done now, a roll-back to a generation that is still kept in both ways included."""
        kept = (
            state for state, number in self.generation_of.items()
            if state != self.state and (self.node / f".redpak/generations/{number}").is_dir()
        )  # fmt: skip
        found = [self.back_to(state) for state in kept][:1]
        return [*ACTS[self.state], *found, *[Act(("history", *act.words), act.to) for act in found]]

    def kill(self, act: Act, rng: random.Random, pace: float) -> bool:
        """Start a command and kill it at a random moment. Tells whether it had no time to end.

        `pace`: how many times as long the command may take as it took until now.
        """
        times = self.seen[act.name]
        delay_s = rng.uniform(0, 1.05 * pace * sorted(times)[len(times) // 2])
        pid, _ = self.start(*act.words)
        in_time = not waited(pid, delay_s)
        if rng.random() < 0.5:
            os.kill(pid, signal.SIGKILL)  # the command alone: what it started must notice
            os.waitpid(pid, 0)
            self.stuck += all_end()
        else:
            kill_all(pid)
        return in_time

    def cleaned_up(self, *allowed: State) -> None:
        """Let the next command clean up; then all must agree."""
        code, said = self.main("recover")
        if code:
            raise Wrong(f"the next command could not clean up: {said}")
        self.arrived(self.check(*allowed))
        self.check_clean()

    def check_launch(self) -> None:
        """A program started in the node finds what is installed."""
        code, said = self.main("run", "cat", "/nodes/node/usr/share/alpha/version")
        version = self.state[0].split("-")[1] if self.state else ""
        if said.strip() != version and self.state:
            raise Wrong(f"a launch in {self.state} ended with {code}: {said}")

    def survive(self, act: Act, rng: random.Random, pace: float = 1.0) -> tuple[bool, bool]:
        """Kill a command and check what is left. Tells whether it was killed, and whether its work is there."""
        old = self.state
        killed = self.kill(act, rng, pace)
        self.check_raw(old, act.to)
        self.cleaned_up(old, act.to)
        return killed, self.state == act.to
