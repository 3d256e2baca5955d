"""A node to start things in, and the commands for what runs, with a runtime directory of the test's own."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Program, Ran
from tests.host.conftest import ends
from tests.host.processes import descendants
from tests.patience import PATIENCE_S, eventually

CONFIG = """\
headers: {{alias: node}}
config: {{hostname: inside, {config}}}
exports:
  - {{mode: Restricted, mount: /usr, path: /usr}}
  - {{mode: Symlink, mount: /bin, path: usr/bin}}
  - {{mode: Symlink, mount: /lib, path: usr/lib}}
  - {{mode: Symlink, mount: /lib64, path: usr/lib64}}
  - {{mode: Procfs, mount: /proc}}
  - {{mode: Devfs, mount: /dev}}
  - {{mode: Tmpfs, mount: /tmp}}
environ:
  - {{key: SAID, value: "a 'b' c"}}
  - {{mode: Inherit, key: GIVEN}}
"""


class Life:
    """redpak with records of its own: `life("ps")`, `life.start("sleep", "9")`."""

    def __init__(self, redpak: Program, runtime: Path, node: Path) -> None:
        self.redpak = redpak
        self.runtime = runtime
        self.node = node
        self.engine: tuple[str, ...] = ()
        redpak.environ["REDPAK_RUNTIME_DIR"] = str(runtime)

    def __call__(self, *words: str | Path, **more: Any) -> Ran:
        return self.redpak(*words, **more)

    def by(self, way: str) -> None:
        """Launch by the helper, without it, or with the native engine from now on."""
        self.engine = ("--engine", "native") if way == "native" else ()
        if way == "no-helper":
            self.redpak.environ["REDPAK_NO_HELPER"] = "1"

    def start(self, *command: str, name: str = "", options: tuple[str, ...] = (), **more: Any) -> str:
        """Start something detached and return its id."""
        named = ("--name", name) if name else ()
        ran = self("run", "-d", *self.engine, *named, *options, self.node, "--", *command, **more)
        assert ran.code == 0, ran
        return ran.out.strip()

    def told(self, *words: str) -> Any:
        """Return what a command says with --json."""
        ran = self(*words, "--json")
        assert ran.code == 0, ran
        return json.loads(ran.out)

    def all(self) -> dict[str, dict[str, Any]]:
        """Return everything that `ps --all` knows of this test's node, by id. Others may use this host, too."""
        return {
            one["id"]: one
            for one in self.told("ps", "--all")
            if one["node"] in (str(self.node), "?") and one["engine"] != "redpak-oci"
        }

    def now(self) -> list[dict[str, Any]]:
        """Return what runs of this test's node."""
        return [one for one in self.told("ps") if one["node"] == str(self.node)]

    def foreground(self, *command: str, **more: Any) -> subprocess.Popen[bytes]:
        """Start something in the foreground, and come back when it has said its first line."""
        argv = [*self.redpak.argv, "run", *self.engine, str(self.node), "--", *command]
        child = subprocess.Popen(
            argv, env=self.redpak.environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=self.runtime.parent,
            **more,
        )  # fmt: skip
        assert child.stdout is not None
        assert select.select([child.stdout], [], [], PATIENCE_S)[0], "it never said a word"
        return child

    def follow(self, id_: str, line: str) -> None:
        """Wait until a log has a line."""
        argv = [*self.redpak.argv, "logs", "-f", id_]
        with subprocess.Popen(argv, env=self.redpak.environ, stdout=subprocess.PIPE) as follower:
            assert follower.stdout is not None
            assert any(got.strip() == line.encode() for got in follower.stdout), f"it ended without '{line}'"
            follower.kill()

    def runs(self, id_: str, *commands: tuple[str, ...]) -> list[int]:
        """Wait until these programs run in a sandbox, and return the pids of all that do."""
        wanted = set(commands)

        def missing() -> set[tuple[str, ...]]:
            return wanted - {tuple(one["command"]) for one in self.told("top", id_)}

        eventually(missing, set())
        return [one["pid"] for one in self.told("top", id_)]

    def stop_all(self) -> None:
        """End everything that this test started."""
        for at in (*self.runtime.glob("running/*"), *self.runtime.glob("starting/*")):
            try:
                record = json.loads((at / "record.json").read_text())
            except FileNotFoundError:
                continue
            for key in ("supervisor", "launcher", "init", "main"):
                if record[key]:
                    kill(record[key]["pid"])


def kill(pid: int) -> None:
    """Kill a process, if it is there."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def over(child: subprocess.Popen[bytes]) -> int:
    """End a foreground launch and return its code."""
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.close()
    code = child.wait(PATIENCE_S)
    child.stdout.close()  # not before: who still writes, or watches its reader, would notice
    return code


def gone(*pids: int) -> bool:
    """Wait for processes to be gone; those that came to us as orphans are collected."""
    end = time.monotonic() + PATIENCE_S
    for pid in pids:
        while os.path.exists(f"/proc/{pid}") and time.monotonic() < end:
            if pid in descendants(os.getpid()):
                ends(pid)
            else:
                wait_for(pid, end - time.monotonic())
    return not any(os.path.exists(f"/proc/{pid}") for pid in pids)


def wait_for(pid: int, most_s: float) -> None:
    """Wait until a process that may be anybody's child has ended."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        select.select([fd], [], [], max(0, most_s))
    finally:
        os.close(fd)


def waits(pid: int) -> bool:
    """Tell whether a command has found what it is to wait for: it holds that process open."""
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            if os.readlink(f"/proc/{pid}/fd/{fd}") == "anon_inode:[pidfd]":
                return True
        except FileNotFoundError:
            continue
    return False


def configure(node: Path, config: str = "") -> None:
    """Write a node's configuration; `config` are more settings, with a comma behind each."""
    (node / "etc").mkdir(parents=True, exist_ok=True)
    (node / ".rednode.yaml").write_text(f"realpath: {node}\ntimestamp: 1700000000000\nstate: Enable\n")
    (node / "etc/redpak.yaml").write_text(CONFIG.format(config=config))


@pytest.fixture
def life(redpak: Program, pool: Path, tmp_path: Path) -> Iterator[Life]:
    """Return the commands with a node of their own; whatever runs at the end is killed."""
    configure(pool / "node")
    one = Life(redpak, tmp_path / "runtime", pool / "node")
    yield one
    one.stop_all()
