"""Prepared trees: the same sandbox as a cold start, faster, private to each start, and never a stale one."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conftest import Program
from tests.patience import PATIENCE_S, eventually

pytestmark = pytest.mark.needs("bwrap", "userns", "cc")

PLATFORM = """\
headers: {alias: platform}
exports:
  - {mode: Restricted, mount: /usr, path: /usr}
  - {mode: Symlink, mount: /bin, path: usr/bin}
  - {mode: Symlink, mount: /lib, path: usr/lib}
  - {mode: Symlink, mount: /lib64, path: usr/lib64}
  - {mode: Procfs, mount: /proc}
  - {mode: Devfs, mount: /dev}
  - {mode: Mqueue, mount: /queues}
  - {mode: Tmpfs, mount: /tmp}
config: {path: /usr/bin, hostname: prepared}
"""
LEAF = """\
headers: {alias: leaf}
exports:
  - {mode: Private, mount: /leaf, path: $NODE_PATH/share}
  - {mode: RestrictedFile, mount: /etc/one, path: $NODE_PATH/one}
  - {mode: Execfd, mount: /etc/said, path: 'echo said'}
  - {mode: Anonymous, mount: /var}
environ:
  - {key: TERM, mode: Inherit}
  - {key: GREETING, value: "two  words"}
"""
SHOW = r"""
id; ls -lan / /dev /etc /leaf /var | sed -E 's/ +[0-9]+ [A-Z][a-z]+ +[0-9]+ [0-9:]+ / /; / proc$/d'
cut -d' ' -f4-6 /proc/self/mountinfo | sort -u | grep -v ' /proc/'
sed -n 's/.* - //p' /proc/self/mountinfo | cut -d' ' -f1,2 | sort -u
env | sort; grep -E '^(Cap|NoNew|Secc|Uid|Gid|Groups|Umask|Sig[BIC])' /proc/self/status; cat /proc/self/limits
cat /proc/self/uid_map /proc/self/gid_map; pwd; hostname; cat /etc/said /etc/one; ls /proc/self/fd | wc -l
cat /proc/net/dev | wc -l; ps ax -o pid= | wc -l; unshare -U true 2>&1; echo $?
"""


@pytest.fixture(name="warm")
def warm_program(redpak: Program) -> Iterator[Program]:
    """Return redpak with a runtime directory of its own, near enough for these tests to connect to what is in there."""
    runtime = tempfile.mkdtemp(prefix="rp-", dir="/tmp")
    redpak.environ["REDPAK_RUNTIME_DIR"] = runtime
    yield redpak
    redpak("cool", "--all")
    left = os.listdir(Path(runtime, "warm")) if Path(runtime, "warm").exists() else []
    shutil.rmtree(runtime)
    assert not left


@pytest.fixture(name="leaf")
def leaf_of_two(pool: Path) -> Path:
    """Return the leaf of a family of two."""
    for path, said in ((pool / "platform", PLATFORM), (pool / "platform" / "leaf", LEAF)):
        (path / "etc").mkdir(parents=True)
        (path / "share").mkdir()
        (path / "one").write_text("one\n")
        (path / "etc" / "redpak.yaml").write_text(said)
        (path / ".rednode.yaml").write_text(f"realpath: {path}\ntimestamp: 1\nstate: Enable\n")
    return pool / "platform" / "leaf"


def joined(redpak: Program, leaf: Path) -> bool:
    """Tell whether the next start joins a prepared tree: process 1 says what it is."""
    ran = redpak("run", "--no-frozen", leaf, "--", "sh", "-c", "tr '\\0' ' ' </proc/1/cmdline")
    assert ran.code == 0, ran
    return "redpak-join" in ran.out


def kept(redpak: Program) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(redpak("warm", "--json").out)
    return found


def test_a_joined_sandbox_is_like_a_cold_one(
    warm: Program, leaf: Path, bwrap: str, helper: dict[str, str]
) -> None:
    cold = warm("run", "--no-frozen", "--bwrap", bwrap, leaf, "--", "sh", "-c", SHOW, env=helper)
    assert warm("warm", "--bwrap", bwrap, leaf).code == 0
    hot = warm("run", "--no-frozen", "--bwrap", bwrap, leaf, "--", "sh", "-c", SHOW)
    assert cold.code == hot.code == 0, (cold, hot)
    assert hot.out.splitlines() == cold.out.splitlines()


def test_only_what_was_prepared_is_joined(warm: Program, leaf: Path) -> None:
    assert not joined(warm, leaf)
    made = warm("-v", "warm", leaf)
    assert made.code == 0, made
    assert joined(warm, leaf)
    assert "was prepared before" in warm("-v", "warm", leaf).err
    assert warm("cool", leaf).code == 0
    assert not joined(warm, leaf)
    assert warm("cool", leaf).code == 4
    assert warm("cool").code == 2


def test_codes_and_signals_come_through(warm: Program, leaf: Path) -> None:
    assert warm("warm", leaf).code == 0
    (leaf / "share" / "text").write_text("no program\n")
    for words, code in (
        (("sh", "-c", "exit 7"), 7),
        (("sh", "-c", "kill -9 $$"), 137),
        (("sh", "-c", "exit 77"), 77),
        (("nothing-of-this-name",), 127),
        (("/leaf/text",), 126),
    ):
        for option in ("--no-frozen", "--"):  # the second way ends in a frozen launcher
            assert warm("run", option, leaf, *words).code == code, (words, option)
    assert warm("run", leaf, "cat", stdin=b"x" * 100_000).out == "x" * 100_000


def test_a_program_gets_the_signals_that_its_launcher_gets(warm: Program, leaf: Path) -> None:
    assert warm("warm", leaf).code == 0
    script = "trap 'echo got; exit 5' TERM; echo ready; while :; do sleep 0.1; done"
    with subprocess.Popen(
        [*warm.argv, "run", str(leaf), "--", "sh", "-c", script],
        env=warm.environ,
        stdout=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "ready\n"
        running.send_signal(signal.SIGTERM)
        assert running.stdout.read() == "got\n"
        assert running.wait() == 5


@pytest.mark.parametrize("way", ["", "1"], ids=["helper", "no-helper"])
def test_a_joined_sandbox_can_be_entered_and_stopped(warm: Program, leaf: Path, way: str) -> None:
    assert warm("warm", leaf).code == 0
    show = "grep -E '^(Cap|NoNew|Secc|Uid|Gid|Groups|Umask)' /proc/self/status; readlink /proc/self/ns/*; pwd"
    script = f"trap 'exit 3' TERM; {show}; echo END; while :; do sleep 0.1; done"
    with subprocess.Popen(
        [*warm.argv, "run", "--no-frozen", str(leaf), "--", "sh", "-c", script],
        env={**warm.environ, "REDPAK_NO_HELPER": way}, stdout=subprocess.PIPE, text=True,
    ) as running:  # fmt: skip
        assert running.stdout is not None
        first = "".join(iter(running.stdout.readline, "END\n"))
        (one,) = (one for one in json.loads(warm("ps", "--json").out) if one["node"] == str(leaf))
        try:
            assert warm("exec", one["id"], "--", "sh", "-c", show).out == first
            assert warm("stop", one["id"]).code == 0
            assert running.wait(PATIENCE_S) == 3  # it got the signal, and was not killed after that
        finally:
            running.kill()


def test_what_a_program_does_to_its_tree_is_its_own(warm: Program, leaf: Path) -> None:
    assert warm("warm", leaf).code == 0
    spoil = "echo x >/tmp/x; echo x >/x; mkdir /var/x; rm -f /bin; rm -f /dev/null; echo y >/etc/said; touch /leaf/kept"
    assert joined(warm, leaf)
    warm("run", "--no-frozen", leaf, "--", "/usr/bin/sh", "-c", spoil)
    seen = warm(
        "run",
        "--no-frozen",
        leaf,
        "--",
        "sh",
        "-c",
        "ls /tmp /var; ls -d /x; ls /leaf; cat /etc/said; ls /dev/null /bin/sh",
    )
    assert seen.out.split() == ["/tmp:", "/var:", "kept", "said", "/bin/sh", "/dev/null"]


def test_a_changed_configuration_drops_the_tree(warm: Program, leaf: Path) -> None:
    assert warm("warm", leaf).code == 0
    config = leaf / "etc" / "redpak.yaml"
    config.write_text(LEAF.replace("two  words", "changed"))
    assert warm("run", leaf, "printenv", "GREETING").out == "changed\n"
    eventually(lambda: kept(warm), [])
    assert not joined(warm, leaf)


def test_a_source_that_was_replaced_is_noticed_at_the_next_start(warm: Program, leaf: Path) -> None:
    assert warm("warm", leaf).code == 0
    assert warm("run", leaf, "ls", "/leaf").code == 0  # a launcher is frozen now
    (leaf / "share").rename(leaf / "old")
    (leaf / "share").mkdir()
    (leaf / "share" / "new").touch()
    assert warm("run", leaf, "ls", "/leaf").out == "new\n"
    assert warm("run", leaf, "ls", "/leaf").out == "new\n"
    eventually(lambda: kept(warm), [])


def test_a_keeper_that_was_killed_makes_no_start_fail(warm: Program, leaf: Path) -> None:
    assert warm("warm", leaf).code == 0
    assert warm("run", leaf, "true").code == 0
    pid = kept(warm)[0]["pid"]
    assert isinstance(pid, int)
    os.kill(pid, signal.SIGKILL)
    for option in ("--", "--no-frozen"):
        assert warm("run", option, leaf, "sh", "-c", "exit 9").code == 9
    assert warm("warm", leaf).code == 0
    assert joined(warm, leaf)


def test_a_frozen_launcher_joins_as_long_as_there_is_something_to_join(warm: Program, leaf: Path) -> None:
    launcher = leaf.parent.parent / "launcher"
    assert warm("freeze", "-o", launcher, leaf).code == 0
    show = [str(launcher), "sh", "-c", "tr '\\0' ' ' </proc/1/cmdline"]

    def ran() -> str:
        return subprocess.run(show, env=warm.environ, capture_output=True, text=True, check=True).stdout

    assert "bwrap" in ran()
    assert warm("warm", leaf).code == 0
    assert "redpak-join" in ran()
    assert "redpak-join" in launcher.read_text()
    assert warm("cool", leaf).code == 0
    assert "bwrap" in ran()


def test_a_program_that_runs_outlives_the_keeper(warm: Program, leaf: Path) -> None:
    assert warm("warm", leaf).code == 0
    with subprocess.Popen(
        [*warm.argv, "run", str(leaf), "--", "sh", "-c", "echo up; read x; ls /leaf /usr/bin/env"],
        env=warm.environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as running:  # fmt: skip
        assert running.stdout is not None
        assert running.stdout.readline() == "up\n"
        assert warm("cool", leaf).code == 0
        assert running.communicate("\n")[0].split() == ["/usr/bin/env", "/leaf:"]
        assert running.returncode == 0


def test_twenty_starts_at_once_are_twenty_sandboxes(warm: Program, leaf: Path) -> None:
    assert warm("warm", leaf).code == 0
    with ThreadPoolExecutor(20) as pool:
        made = list(
            pool.map(
                lambda n: warm("run", leaf, "sh", "-c", f"echo {n} >/tmp/n; cat /tmp/n; ls /tmp"), range(20)
            )
        )
    assert [one.out.split() for one in made] == [[str(n), "n"] for n in range(20)]


def test_what_cannot_be_prepared_says_why(warm: Program, leaf: Path) -> None:
    (leaf / "etc" / "redpak.yaml").write_text(LEAF + "config: {share_pid: Enabled}\n")
    refused = warm("warm", leaf)
    assert refused.code == 3
    assert "it shares the pid namespace" in refused.err
    assert warm("run", leaf, "true").code == 0
