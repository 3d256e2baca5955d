"""The commands against real namespaces: run, the line of `plan --bwrap`, and the cached launcher."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.conftest import Program
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.needs("userns", "bwrap")

CONFIG = """\
headers: {alias: node}
config: {hostname: inside}
exports:
  - {mode: Restricted, mount: /usr, path: /usr}
  - {mode: Symlink, mount: /bin, path: usr/bin}
  - {mode: Symlink, mount: /lib, path: usr/lib}
  - {mode: Symlink, mount: /lib64, path: usr/lib64}
  - {mode: Procfs, mount: /proc}
  - {mode: Devfs, mount: /dev}
  - {mode: Tmpfs, mount: /tmp}
  - {mode: Execfd, mount: /etc/motd, path: 'echo "it is"; echo made'}
environ:
  - {key: SAID, value: "a 'b' $(echo c)"}
  - {mode: Inherit, key: GIVEN}
"""
SHOW = 'echo "$SAID|$GIVEN"; cat /etc/motd; uname -n; ls /; touch /usr/x || exit 7'


@pytest.fixture
def node(pool: Path) -> Path:
    """Return a node that shows the host's /usr."""
    at = pool / "node"
    (at / "etc").mkdir(parents=True)
    (at / ".rednode.yaml").write_text(f"realpath: {at}\ntimestamp: 1700000000000\nstate: Enable\n")
    (at / "etc/redpak.yaml").write_text(CONFIG)
    return at


def expected() -> list[str]:
    tree = ["bin", "dev", "etc", "lib", "lib64", "proc", "tmp", "usr"]
    return ["a 'b' c|x y", "it is", "made", "inside", *tree]


def test_a_program_runs_in_the_node_and_its_code_comes_back(redpak: Program, node: Path) -> None:
    for _ in ("planned", "from the cache"):
        ran = redpak("run", node, "--", "sh", "-c", SHOW, env={"GIVEN": "x y"})
        assert ran.code == 7, ran
        assert ran.out.splitlines() == expected()


def test_the_second_run_starts_a_cached_launcher_until_something_changes(redpak: Program, node: Path) -> None:
    def uses_launcher() -> bool:
        ran = redpak("-vv", "run", node, "true")
        assert ran.code == 0, ran
        return "launchers/" in ran.err

    assert not uses_launcher()
    assert uses_launcher()
    config = node / "etc/redpak.yaml"
    config.write_text(config.read_text().replace("hostname: inside", "hostname: changed"))
    assert redpak("run", node, "uname", "-n").out == "changed\n"
    assert redpak("run", node, "--no-frozen", "uname", "-n").out == "changed\n"


def test_the_printed_line_does_what_the_launch_does(
    redpak: Program, node: Path, environment: dict[str, str]
) -> None:
    printed = redpak("plan", node, "--bwrap", "--", "sh", "-c", SHOW)
    assert printed.code == 0, printed
    done = subprocess.run(
        ["bash", "-c", printed.out],
        env={**environment, "GIVEN": "x y"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 7, done.stderr
    assert done.stdout.splitlines() == expected()


def test_a_program_that_is_not_there_is_127_each_time(redpak: Program, node: Path) -> None:
    assert redpak("run", node, "true").code == 0
    for options in ([], ["--no-frozen"]):
        ran = redpak("run", *options, node, "nosuch")
        assert ran.code == 127
        assert "'nosuch' is not in the sandbox" in ran.err
    assert redpak("run", node, "/usr").code == 126


def test_a_dry_run_makes_nothing_and_runs_no_command(
    redpak: Program, node: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    config = node / "etc/redpak.yaml"
    config.write_text(config.read_text().replace("echo made", f"touch {tmp_path}/RAN"))
    before = everything(tmp_path, Path(environment["HOME"]))
    for words in (["plan"], ["plan", "--json"], ["plan", "--bwrap"], ["explain", "/etc/motd"]):
        ran = redpak(words[0], node, *words[1:])
        assert ran.code == 0, ran
    assert everything(tmp_path, Path(environment["HOME"])) == before


def everything(*roots: Path) -> dict[str, int]:
    return {str(path): path.lstat().st_mtime_ns for root in roots for path in root.rglob("*")}
