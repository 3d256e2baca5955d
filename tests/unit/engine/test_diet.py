"""What a launch imports: each of these modules takes as long as a good part of bubblewrap's own start."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from redpak import paths
from tests.patience import PATIENCE_S

HEAVY = (
    "typing", "dataclasses", "enum", "re", "json", "subprocess", "pathlib", "argparse", "yaml", "ctypes", "hashlib",
    "signal", "functools", "collections", "contextlib", "redpak.engine.supervise", "redpak.engine.commands",
    "redpak.engine.frozen",
)  # fmt: skip
CONFIG = """\
headers: {alias: leaf}
exports:
  - {mode: Restricted, mount: /usr, path: /usr}
  - {mode: Procfs, mount: /proc}
  - {mode: Devfs, mount: /dev}
  - {mode: Private, mount: /mine, path: $NODE_PATH/etc}
environ:
  - {key: LANG, mode: Inherit}
  - {key: PLAIN, value: x}
config: {path: /usr/bin}
"""
# The last step of a launch, at which the helper would take this process's place.
RUN = """
import os, sys
before = set(sys.modules)
import redpak.config.cache
redpak.config.cache.RACY_S = -1e9  # a file that was written just now is remembered, too
def execve(program, argv, environ):
    print(os.path.basename(program), *sorted(set(sys.modules) - before))
    sys.stdout.flush()
    os._exit(0)
os.execve = execve
from redpak.cli.main import main
sys.exit(main(["run", "--no-frozen", sys.argv[1], "--", "/mine/tool"]))
"""


@pytest.mark.needs("bwrap", "cc")  # with a compiler there is a helper: ./dev setup builds it
def test_a_launch_imports_nothing_that_is_slow(tmp_path: Path) -> None:
    leaf = tmp_path.resolve() / "leaf"
    (leaf / "etc").mkdir(parents=True)
    (leaf / "etc" / "redpak.yaml").write_text(CONFIG)
    (leaf / "etc" / "tool").write_text("never started")
    (leaf / "etc" / "tool").chmod(0o755)
    (leaf / ".rednode.yaml").write_text(f"realpath: {leaf}\ntimestamp: 1\nstate: Enable\n")
    places = (
        os.path.dirname(paths.shipped()),
        os.path.dirname(os.path.dirname(yaml.__file__)),
    )  # -S finds neither
    environ = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(tmp_path),
        "PYTHONPATH": ":".join(places),
        "LANG": "C.UTF-8",
    }
    for _ in range(2):  # the first run fills the cache of parsed configurations
        done = subprocess.run(
            [sys.executable, "-S", "-c", RUN, str(leaf)],
            env=environ,
            capture_output=True,
            text=True,
            check=True,
            timeout=PATIENCE_S,
        )
    program, *modules = done.stdout.split()
    assert program == "redpak-launch", done
    assert "redpak.engine.run" in modules
    assert not [name for name in modules if name in HEAVY]
