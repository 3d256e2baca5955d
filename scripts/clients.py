"""Run client scripts that somebody put beside the checkout over a runtime, and see that every step of them passes.

`python -m scripts.clients DIRECTORY RUNTIME [NAME…]`, as root. The scripts end with a line 'TOTAL … N pass, M fail'.
They may add users and write to /home: an overlay in a mount namespace takes that. What they wait for may take thrice
as long as they say; REDPAK_CLIENTS_PATIENCE=9 makes that nine times, for slow machines.
"""

from __future__ import annotations

import os
import re
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import IO

from scripts import failures

# Name: (script, its words after the runtime, how many steps there are at least).
CLIENTS = {
    "podman": ("podman-smoke.sh", ["root"], 45),
    "podman-rootless": ("podman-smoke.sh", ["rootless"], 41),
    "ctr": ("ctr-smoke.sh", [], 24),
    "docker": ("docker-smoke.sh", [], 42),
}
# Steps that some kernels have no means for, whatever the runtime: what fails there, and why.
LACKING = {
    ("podman-rootless", "run-sysctl"): (
        ["unshare", "--user", "--map-root-user", "--net", "test", "-e", "/proc/sys/net/core/somaxconn"],
        "networks of ordinary users have no net.core.somaxconn in this kernel",
    ),
}
TIMEOUT_S = 300
PATIENCE = int(os.environ.get("REDPAK_CLIENTS_PATIENCE") or 3)
# Waits of the scripts, for machines that are slower than those that they were written on.
SLOWER = {
    "sleep": "#!/bin/sh\nexec /bin/sleep {repeated}\n",
    "timeout": '#!/bin/sh\nlimit=$1\nshift\nexec /usr/bin/timeout "$((limit * {patience}))" "$@"\n',
}
# $1: a scratch directory for the layers. A tmpfs would count as memory of the cgroup that is limited in tests.
APART = """
set -e
for place in /etc /home; do
    mkdir -p "$1$place/upper" "$1$place/work"
    mount -t overlay -o "lowerdir=$place,upperdir=$1$place/upper,workdir=$1$place/work" clients "$place"
done
shift
exec "$@"
"""


def lacking(name: str) -> dict[str, str]:
    """Return the steps of a client that this kernel has no means for, and why."""
    return {
        step: why
        for (client, step), (argv, why) in LACKING.items()
        if client == name and subprocess.run(argv, check=False, capture_output=True).returncode
    }


def slower(folder: Path, patience: int) -> str:
    """Put programs into a folder that wait longer than those that they stand for; return a PATH with it."""
    if patience > 1:
        folder.mkdir()
        for program, text in SLOWER.items():
            at = folder / program
            at.write_text(text.format(patience=patience, repeated=" ".join(['"$1"'] * patience)))
            at.chmod(0o755)
    return f"{folder}:{os.environ.get('PATH', os.defpath)}"


def lost(lines: Iterable[str]) -> dict[str, str]:
    """Return the steps that failed, each with the line that says so."""
    return {words[words.index("FAIL") + 1]: line for line in lines if "FAIL" in (words := line.split())[:3]}


def verdict(name: str, lines: list[str], code: int, excused: Collection[str]) -> str | None:
    """Return None if a client's script said that every step passed but those that are excused, else what did not."""
    total = re.search(r"TOTAL .*: (\d+) pass, (\d+) fail", "\n".join(lines[-5:]))
    if total is None:
        return f"{name} did not come to its end, exit code {code}"
    gone = set(lost(lines))
    passed, failed, expected = int(total[1]), int(total[2]), CLIENTS[name][2]
    well = failed == len(gone) and gone <= set(excused) and passed + failed >= expected
    if not well or code != (1 if gone else 0):
        return f"{name}: {passed} of {expected} steps passed, {failed} failed, exit code {code}"
    return None


def said(stream: IO[bytes], within_s: float) -> Iterator[str]:
    """Return the lines of a stream as they come. Raises TimeoutError when it has not ended in time."""
    deadline, rest = time.monotonic() + within_s, b""
    while select.select([stream], [], [], max(0, deadline - time.monotonic()))[0]:
        data = os.read(stream.fileno(), 65536)
        *whole, rest = (rest + data).split(b"\n")
        for line in whole if data else [rest] * bool(rest):
            yield line.decode(errors="replace").rstrip()
        if not data:
            return
    raise TimeoutError


def run(name: str, directory: Path, runtime: Path, scratch: Path) -> list[str]:
    """Run one client's script; return nothing if every step passed that can, else what did not."""
    script, words, _ = CLIENTS[name]
    layers = scratch / f"{name}-layers"
    layers.mkdir()
    yard = scratch / str(list(CLIENTS).index(name))  # short: podman takes paths of at most 50 bytes
    yard.mkdir()
    inner = [str(directory / script), str(runtime), *words]
    apart = ["unshare", "--mount", "--propagation", "private", "sh", "-c", APART, "clients", str(layers)]
    environ = {key: os.environ[key] for key in ("HOME", "LANG", "V", "HIDE_UNIFIED") if key in os.environ}
    environ |= {"PATH": slower(scratch / f"{name}-slower", PATIENCE), "YARD": str(yard), "TERM": "xterm"}
    lines: list[str] = []
    problem: str | None = None
    with subprocess.Popen(
        [*apart, *inner],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environ,
    ) as client:
        assert client.stdout is not None
        try:
            for line in said(client.stdout, TIMEOUT_S * PATIENCE):
                lines.append(line)
                print(f"{name}: {line}", flush=True)
        except TimeoutError:
            client.kill()
            problem = f"{name} took more than {TIMEOUT_S * PATIENCE} s, its last words were '{lines[-1:]}'"
    excused = lacking(name)
    for step, why in excused.items():
        print(f"{name}: not to be had: {step}: {why}", flush=True)
    problem = problem or verdict(name, lines, client.returncode, excused)
    return [problem, *(line for step, line in lost(lines).items() if step not in excused)] if problem else []


def main(words: list[str]) -> int:
    """Run the clients named, or all."""
    directory, runtime = Path(words[0]).resolve(), Path(words[1]).absolute()
    if not runtime.exists():
        print(f"clients: there is no '{runtime}': run './dev setup'", file=sys.stderr)
        return 1
    scratch = Path(tempfile.mkdtemp(prefix="rp-", dir="/var/tmp"))
    scratch.chmod(0o755)
    wrong: list[str] = []
    try:
        for name in words[2:] or CLIENTS:
            began = time.monotonic()
            problems = run(name, directory, runtime, scratch)
            ended = problems[0] if problems else "passed"
            print(f"clients: {name}: {ended} ({time.monotonic() - began:.0f} s)", flush=True)
            wrong += problems
    finally:
        mounted = Path("/proc/self/mountinfo").read_text()
        if str(scratch) in mounted:
            wrong.append(f"something is still mounted beneath '{scratch}': it is left alone")
        else:
            shutil.rmtree(scratch)
    for problem in wrong:
        print(f"clients: {problem}", file=sys.stderr)
    failures.note(*wrong)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
