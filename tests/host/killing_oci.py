"""Kill `redpak-oci create` at any moment, and delete what it leaves: then nothing is left, and nobody.

    python -m tests.host.killing_oci KIND FOLDER ROUNDS SEED

KIND says what of a container stands in the way: `groups` (it has control groups), `bare` (it has none, so that nobody
can be found by them), `shared` (no mount namespace of its own; call it in one that can be thrown away). Prints one line
of JSON.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.host.oci_site import NAMESPACES, Site
from tests.host.processes import Wrong, adopt_orphans, all_end

HOOK = [{"path": "/bin/true"}]


def mounts(site: Site) -> list[str]:
    """Return where something is mounted among the files of these containers."""
    points = (line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines())
    return [at for at in points if at.startswith(str(site.scratch))]


def bundle(site: Site, kind: str, name: str) -> Path:
    """Make a bundle whose `create` has much to do."""
    more: dict[str, Any] = {"hooks": {"createRuntime": HOOK, "createContainer": HOOK}}
    if kind == "shared":
        more["linux"] = {"namespaces": [{"type": one} for one in NAMESPACES if one != "mount"]}
        more["mounts"] = [{"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"}]
    return site.bundle(name, "sleep", "1000", **more)


def left(site: Site) -> str:
    """Return what there still is of any container, '' for nothing."""
    if os.path.exists(site.root) and os.listdir(site.root):
        return f"directories {[str(one) for one in site.root.rglob('*')]}"
    groups = [str(at) for top in site.groups() for at in top.iterdir() if at.is_dir()]
    if groups:
        return f"control groups {groups}"
    return f"mounts {at}" if (at := mounts(site)) else ""


def trial(kind: str, folder: Path, rounds: int, seed: int) -> dict[str, object]:
    """Kill `rounds` commands; return how far they had come. Raises Wrong."""
    site = Site(folder)
    if kind != "groups":
        site.argv += ["--cgroup-manager", "none"]
    try:
        return _killed(site, kind, rounds, seed)
    finally:
        site.clean()


def _killed(site: Site, kind: str, rounds: int, seed: int) -> dict[str, object]:
    rng = random.Random(seed)
    whole_s = float("inf")
    for _ in range(4):
        begin = time.monotonic()
        site("create", "--bundle", bundle(site, kind, "probe"), "probe")
        whole_s = min(whole_s, time.monotonic() - begin)
        site("delete", "--force", "probe")
    found: Counter[str] = Counter()
    for turn in range(rounds):
        name = f"a{turn}"
        with site.popen("create", "--bundle", bundle(site, kind, name), name) as one:
            moment_s = rng.uniform(0.2, 1.2) * whole_s
            time.sleep(moment_s)  # of the command's life, not a wait for anything
            one.kill()
        state = site("state", name)
        status = json.loads(state.out)["status"] if state.code == 0 else "nothing"
        found[status] += 1
        if status == "stopped" and rng.random() < 0.5:
            deleted = site("delete", name)
        else:
            deleted = site("delete", "--force", name)
        if deleted.code != 0:
            raise Wrong(f"seed {seed}, round {turn}, {status}: {deleted}")
        site("delete", "--force", name)
        try:
            all_end()
        except Wrong as error:
            raise Wrong(f"seed {seed}, round {turn}, {status}: {error}") from None
        if still := left(site):
            raise Wrong(f"seed {seed}, round {turn}, {status}: {still}")
    return {"rounds": rounds, "found": found}


def main(words: Sequence[str]) -> int:
    """Run one kind of trial; print what came of it."""
    kind, folder, rounds, seed = words
    adopt_orphans()
    try:
        print(json.dumps(trial(kind, Path(folder), int(rounds), int(seed))))
    except Wrong as error:
        print(json.dumps({"wrong": str(error)}))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
