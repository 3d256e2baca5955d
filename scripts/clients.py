"""Run client scripts that somebody put beside the checkout over a runtime, and see that every step of them passes.

`python -m scripts.clients DIRECTORY RUNTIME [NAME…]`, as root. The scripts end with a line 'TOTAL … N pass, M fail'.
They may add users and write to /home: an overlay in a mount namespace takes that.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# Name: (script, its words after the runtime, how many steps there are at least).
CLIENTS = {
    "podman": ("podman-smoke.sh", ["root"], 45),
    "podman-rootless": ("podman-smoke.sh", ["rootless"], 41),
    "ctr": ("ctr-smoke.sh", [], 24),
    "docker": ("docker-smoke.sh", [], 42),
}
TIMEOUT_S = 900
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


def run(name: str, directory: Path, runtime: Path, scratch: Path) -> str | None:
    """Run one client's script; return None if every step passed, else what did not."""
    script, words, expected = CLIENTS[name]
    layers = scratch / f"{name}-layers"
    layers.mkdir()
    yard = scratch / str(list(CLIENTS).index(name))  # short: podman takes paths of at most 50 bytes
    yard.mkdir()
    inner = [str(directory / script), str(runtime), *words]
    argv = [
        "unshare",
        "--mount",
        "--propagation",
        "private",
        "sh",
        "-c",
        APART,
        "clients",
        str(layers),
        *inner,
    ]
    environ = {
        key: os.environ[key] for key in ("PATH", "HOME", "LANG", "V", "HIDE_UNIFIED") if key in os.environ
    }
    environ |= {"YARD": str(yard), "TERM": "xterm"}
    lines: list[str] = []
    began = time.monotonic()
    with subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environ,
        errors="replace",
    ) as client:  # fmt: skip
        assert client.stdout is not None
        for line in client.stdout:
            lines.append(line.rstrip())
            if " PASS " not in line:
                print(f"{name}: {line.rstrip()}", flush=True)
            if time.monotonic() - began > TIMEOUT_S:
                client.kill()
                return f"{name} took more than {TIMEOUT_S} s"
    total = re.search(r"TOTAL .*: (\d+) pass, (\d+) fail", "\n".join(lines[-5:]))
    if total is None:
        return f"{name} did not come to its end"
    passed, lost = int(total[1]), int(total[2])
    if lost or passed < expected or client.returncode:
        return f"{name}: {passed} of {expected} steps passed, {lost} failed, exit code {client.returncode}"
    return None


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
            problem = run(name, directory, runtime, scratch)
            print(f"clients: {name}: {problem or 'passed'} ({time.monotonic() - began:.0f} s)", flush=True)
            if problem:
                wrong.append(problem)
    finally:
        mounted = Path("/proc/self/mountinfo").read_text()
        if str(scratch) in mounted:
            wrong.append(f"something is still mounted beneath '{scratch}': it is left alone")
        else:
            shutil.rmtree(scratch)
    for problem in wrong:
        print(f"clients: {problem}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
