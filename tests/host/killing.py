"""Kill package commands at any moment and see what they leave: the old state or the new one, never a mixture.

    python -m tests.host.killing random FOLDER ROUNDS SEED     at random moments
    python -m tests.host.killing points FOLDER STRIDE SEED     at every STRIDE-th system call from the commit on
    python -m tests.host.killing full FOLDER ROUNDS SEED       on a file system without room (its own mount namespace)
    python -m tests.host.killing readonly FOLDER 1 SEED        on one that turns read-only
    python -m tests.host.killing power FOLDER ROUNDS SEED      the power fails: what was written to the disk stays

Each prints one line of JSON.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.host.packages_rig import ACTS, EMPTY, LONELY, LONGEST_S, ONE, TWO, Act, Rig, load_everything
from tests.host.processes import Wrong, all_end, descendants, kill_all, waited

CALLS = (
    "rename", "renameat", "renameat2", "link", "linkat", "symlink", "symlinkat", "mkdir", "mkdirat", "unlink",
    "unlinkat", "rmdir", "write", "pwrite64", "copy_file_range", "fsync", "fdatasync", "syncfs", "ftruncate", "chmod",
    "fchmod", "fchmodat", "chown", "fchown", "lchown", "fchownat", "utimensat", "setxattr", "fsetxattr", "umount2",
)  # fmt: skip
WAY = (
    ACTS[EMPTY][0],
    ACTS[ONE][0],
    ACTS[TWO][0],
    ACTS[LONELY][0],
    ACTS[TWO][1],
    ACTS[ONE][1],
)  # through every state


def random_kills(folder: Path, rounds: int, seed: int) -> dict[str, object]:
    """Kill `rounds` commands at random moments; return what was hit. Raises Wrong."""
    rng = random.Random(seed)
    rig = Rig(folder)
    for act in (*WAY, WAY[0]):
        rig.do(act)
    rig.do(Act(("history", *rig.back_to(TWO).words), TWO))
    rig.do(rig.back_to(ONE))
    killed = done = 0
    hit: Counter[str] = Counter()
    for turn in range(4 * rounds):
        pace = 1.0  # the machine may have become faster or slower than it was when the commands were timed
        if turn >= rounds:
            if done and killed > rounds // 2:
                break
            pace = 0.5 if done else 4.0
        act = rng.choice(rig.choices())
        try:
            was_killed, arrived = rig.survive(act, rng, pace)
            if turn % 20 == 0:
                rig.check_launch()
            if not arrived and rng.random() < 0.3:
                rig.do(act)  # what was killed can be done again
        except Wrong as error:
            raise Wrong(f"seed {seed}, round {turn}, {' '.join(act.words)}: {error}") from None
        killed += was_killed
        done += arrived
        hit[act.name] += was_killed
    return {"rounds": rounds, "killed": killed, "arrived": done, "stuck": rig.stuck, "hit": hit}


# ---- at every system call of the commit ----


def stop_at_commit() -> None:
    """Make this process stop itself where it begins to commit."""
    from redpak.node import make_generation

    commit = make_generation.commit

    def stopping(*given: object) -> int:
        os.kill(os.getpid(), signal.SIGSTOP)
        return commit(*given)  # type: ignore[arg-type]

    make_generation.commit = stopping  # type: ignore[assignment]


def stopped(pid: int) -> int:
    """Wait until a descendant of a process has stopped, and return its pid."""
    end = time.monotonic() + LONGEST_S
    while time.monotonic() < end:
        for one in descendants(pid):
            try:
                with open(f"/proc/{one}/stat", encoding="utf-8") as file:
                    if file.read().rpartition(") ")[2].startswith("T"):
                        return one
            except (FileNotFoundError, ProcessLookupError):
                continue
        if waited(pid, 0.01):
            break
    raise Wrong("the command never came to its commit")


def traced(rig: Rig, act: Act, *options: str) -> None:
    """Run a command whose commit is watched by strace with `options`."""
    pid, _ = rig.start(*act.words, before=stop_at_commit)
    at = stopped(pid)
    strace = subprocess.Popen(["strace", "-f", "-p", str(at), *options], stderr=subprocess.PIPE)
    assert strace.stderr is not None
    try:
        while b"attached" not in strace.stderr.readline():
            if strace.poll() is not None:
                raise Wrong("strace could not attach")
        os.kill(at, signal.SIGCONT)
        if not waited(pid, LONGEST_S):
            raise Wrong(f"{act.words} hangs under strace")
    finally:
        kill_all(pid)
        strace.stderr.close()


def kill_points(folder: Path, stride: int, seed: int) -> dict[str, object]:
    """Kill commands at the system calls that change something, from the beginning of the commit on."""
    rng = random.Random(seed)
    rig = Rig(folder)
    for act in WAY[:2]:
        rig.do(act)
    rig.do(rig.back_to(ONE))
    points = 0
    for act in (ACTS[ONE][0], ACTS[ONE][1], Act(("rollback", ""), EMPTY)):
        log = folder / "calls"
        traced(rig, rig.filled(act), "-o", str(log), "-e", f"trace={','.join(CALLS)}")
        rig.arrived(rig.check(act.to))
        rig.do(rig.back_to(ONE))
        counts = Counter(re.findall(r"^\d+\s+(\w+)\(", log.read_text(errors="replace"), re.M))
        where = [(call, nth) for call, count in sorted(counts.items()) for nth in range(1, count + 1)]
        for call, nth in where[rng.randrange(stride) :: stride]:
            points += 1
            rule = f"inject={call}:signal=KILL:when={nth}"
            try:
                traced(rig, rig.filled(act), "-o", "/dev/null", "-e", f"trace={call}", "-e", rule)
                rig.check_raw(ONE, act.to)
                rig.cleaned_up(ONE, act.to)
            except Wrong as error:
                raise Wrong(f"{act.words} killed at {call} number {nth}: {error}") from None
            if rig.state != ONE:
                rig.do(rig.back_to(ONE))
    return {"points": points}


# ---- file systems that fail ----


def mounted(at: Path, *words: str) -> None:
    """Mount something in this process's own mount namespace."""
    at.mkdir(exist_ok=True)
    subprocess.run(["mount", *words, str(at)], check=True)


def full(folder: Path, rounds: int, seed: int) -> dict[str, object]:
    """Leave ever more room on the file system of the node: each command does all or nothing, and says why."""
    rng = random.Random(seed)
    pool = folder / "small"
    mounted(pool, "-t", "tmpfs", "-o", "size=24m,mode=755", "small")
    rig = Rig(folder, pool=pool, padding=300_000)
    rig.do(ACTS[EMPTY][0])
    filler = pool / "filler"
    failed = done = 0
    for turn in range(rounds):
        act = rng.choice(ACTS[rig.state])
        free = shutil.disk_usage(pool).free
        leave = turn * 1_600_000 // rounds + rng.randrange(4096)
        filler.write_bytes(b"x" * max(0, free - leave))
        old = rig.state
        code, said = rig.main(*act.words)
        filler.unlink()
        rig.check_raw(old, act.to)
        rig.cleaned_up(old, act.to)
        if (code == 0) != (rig.state == act.to):
            raise Wrong(f"{act.words} with {leave} bytes of room ended with {code} in {rig.state}: {said}")
        if code and "space" not in said:
            raise Wrong(f"{act.words} with {leave} bytes of room does not say why it failed: {said}")
        if "Traceback" in said or "unexpected" in said:
            raise Wrong(f"{act.words} with {leave} bytes of room broke: {said}")
        failed += code != 0
        done += code == 0
        rig.do(rng.choice(ACTS[rig.state]))
    return {"failed": failed, "done": done}


def readonly(folder: Path, _rounds: int, _seed: int) -> dict[str, object]:
    """Turn the file system of the node read-only: commands say so, launches work, and later all is well."""
    pool = folder / "small"
    mounted(pool, "-t", "tmpfs", "-o", "size=24m,mode=755", "small")
    rig = Rig(folder, pool=pool)
    rig.do(ACTS[EMPTY][0])
    subprocess.run(["mount", "-o", "remount,ro", str(pool)], check=True)
    messages = []
    for act in (*ACTS[ONE], Act(("install", "gamma"), ONE)):
        code, said = rig.main(*act.words)
        if code == 0 or "Traceback" in said or "unexpected" in said:
            raise Wrong(f"{act.words} on a read-only file system ended with {code}: {said}")
        messages.append(said.strip().splitlines()[-2:])
        rig.check(ONE)
    rig.check_launch()
    subprocess.run(["mount", "-o", "remount,rw", str(pool)], check=True)
    rig.do(ACTS[ONE][0])
    return {"messages": messages}


def power(folder: Path, rounds: int, seed: int) -> dict[str, object]:
    """Copy the node's disk while a command runs: the copy, mounted, has the old state or the new one."""
    rng = random.Random(seed)
    image, snapshot = folder / "disk", folder / "snapshot"
    with image.open("wb") as file:
        file.truncate(48 << 20)
    subprocess.run(["/sbin/mkfs.ext4", "-q", str(image)], check=True)
    pool = folder / "small"
    mounted(pool, "-o", "loop", str(image))
    rig = Rig(folder, pool=pool)
    for act in (*WAY, WAY[0]):
        rig.do(act)
    seen: Counter[str] = Counter()
    for _ in range(rounds):
        act = rng.choice(ACTS[rig.state])
        os.sync()
        pid, _log = rig.start(*act.words)
        times = sorted(rig.seen[act.name])
        waited(pid, rng.uniform(0.3, 1.3) * times[len(times) // 2])
        for one in (pid, *descendants(pid)):
            try:
                os.kill(one, signal.SIGSTOP)  # so that the copy is of one moment
            except ProcessLookupError:
                continue
        subprocess.run(["cp", "--sparse=always", str(image), str(snapshot)], check=True)
        kill_all(pid)
        subprocess.run(["umount", str(pool)], check=True)
        old = rig.state
        mounted(pool, "-o", "loop", str(snapshot))
        try:
            rig.check_raw(old, act.to)
            rig.cleaned_up(old, act.to)
            seen["new" if rig.state == act.to else "old"] += 1
        finally:
            subprocess.run(["umount", str(pool)], check=True)
        shutil.copyfile(snapshot, image)
        mounted(pool, "-o", "loop", str(image))
    subprocess.run(["umount", str(pool)], check=True)
    return dict(seen)


TRIALS = {"random": random_kills, "points": kill_points, "full": full, "readonly": readonly, "power": power}


def main(words: Sequence[str]) -> int:
    """Run one kind of trial; print what came of it."""
    kind, folder, rounds, seed = words
    load_everything()
    try:
        print(json.dumps(TRIALS[kind](Path(folder), int(rounds), int(seed))))
    except Wrong as error:
        print(json.dumps({"wrong": str(error)}))
        return 1
    finally:
        all_end()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
