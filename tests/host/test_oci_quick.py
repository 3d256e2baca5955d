"""`start` and `delete` without an interpreter: the same outcome, and everything unusual is left to Python untouched."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from redpak.engine import build_helper
from redpak.paths import shipped
from tests.conftest import REPOSITORY
from tests.host.oci_site import Site
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.needs("userns", "program:busybox", "cc")
SCRIPT = str(REPOSITORY / "scripts" / "redpak-oci")
FOREVER = ("sleep", "1000")


@pytest.fixture
def oci(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    site.clean()


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return redpak-quick, built from the source that is tested."""
    target = str(tmp_path_factory.mktemp("quick") / "redpak-quick")
    os.chmod(os.path.dirname(target), 0o755)
    assert build_helper.build(shipped("engine", "quick.c"), target) == ""
    return target


class Quick:
    """Calls redpak-quick: alone, where a call of the interpreter fails, or with it."""

    def __init__(self, program: str, oci: Site) -> None:
        self.program, self.oci = program, oci

    def run(self, python: str, *words: str) -> tuple[int, str]:
        with (self.oci.scratch / "said").open("w+") as said:
            argv = [self.program, python, SCRIPT, "--root", str(self.oci.root), *words]
            code = subprocess.run(
                argv, stdin=subprocess.DEVNULL, stdout=said, stderr=said, timeout=PATIENCE_S, check=False,
                env=self.oci.environ(),
            ).returncode  # fmt: skip
            said.seek(0)
            return code, said.read()

    def alone(self, *words: str) -> tuple[int, str]:
        return self.run("/nowhere/python", *words)

    def __call__(self, *words: str) -> tuple[int, str]:
        return self.run(sys.executable, *words)


@pytest.fixture
def quick(program: str, oci: Site) -> Quick:
    return Quick(program, oci)


def left_to_python(said: tuple[int, str]) -> bool:
    return said[0] == 1 and "cannot run '/nowhere/python'" in said[1]


def stopped(oci: Site, name: str) -> None:
    pid = oci.state(name)["pid"]
    assert oci("kill", name, "KILL").code == 0
    oci.ended(name, pid)


def groups(oci: Site, name: str) -> list[Path]:
    """Return the directories of a container's control group."""
    if not oci.cgroup:
        return []
    return [at for at in Path("/sys/fs/cgroup").glob(f"*{oci.cgroup}/{name}") if at.is_dir()]


def test_a_plain_container_is_started_and_deleted_without_an_interpreter(oci: Site, quick: Quick) -> None:
    oci.create("a", *FOREVER)
    assert bool(groups(oci, "a")) == bool(oci.cgroup)
    assert quick.alone("start", "a") == (0, "")
    assert oci.state("a")["status"] == "running"
    stopped(oci, "a")
    assert quick.alone("--log", str(oci.scratch / "log"), "--log-format=json", "delete", "a") == (0, "")
    assert os.listdir(oci.root) == []
    assert groups(oci, "a") == []
    assert not (oci.scratch / "log").exists()


def test_what_the_state_does_not_allow_changes_nothing_and_reads_as_ever(oci: Site, quick: Quick) -> None:
    oci.create("a", *FOREVER)
    for words in (("delete", "a"), ("start", "none"), ("delete", "none"), ("delete", "..")):
        assert left_to_python(quick.alone(*words)), words
        assert quick(*words) == (1, oci(*words).err)
    assert oci.state("a")["status"] == "created"
    assert quick("start", "a") == (0, "")
    for words in (("start", "a"), ("delete", "a")):
        assert left_to_python(quick.alone(*words)), words
        assert quick(*words) == (1, oci(*words).err)
    assert oci.state("a")["status"] == "running"
    stopped(oci, "a")
    assert left_to_python(quick.alone("start", "a"))
    code, said = quick("start", "a")
    assert (code, "has stopped" in said) == (1, True)


@pytest.mark.parametrize(
    "words",
    [
        ("delete", "--force", "a"), ("delete", "-f", "a"), ("--no-such", "start", "a"), ("start",), ("start", "a", "b"),
        ("state", "a"), ("start", "--help"), ("--root", "", "start", "a"), ("--log-format", "xml", "start", "a"),
    ],
)  # fmt: skip
def test_other_words_are_left_to_python(oci: Site, quick: Quick, words: tuple[str, ...]) -> None:
    oci.create("a", *FOREVER)
    assert left_to_python(quick.alone(*words))
    assert oci.state("a")["status"] == "created"


@pytest.mark.parametrize("phase", ["poststart", "poststop"])
def test_a_container_with_hooks_is_left_to_python(oci: Site, quick: Quick, phase: str) -> None:
    told = oci.scratch / "told"
    hook = {"path": "/bin/sh", "args": ["sh", "-c", f"echo {phase} >> {told}"]}
    oci.create("a", *FOREVER, hooks={phase: [hook]})
    assert left_to_python(quick.alone("start", "a"))
    assert quick("start", "a") == (0, "")
    stopped(oci, "a")
    assert left_to_python(quick.alone("delete", "a"))
    assert quick("delete", "a") == (0, "")
    assert told.read_text() == f"{phase}\n"


def test_what_the_gate_says_is_told_by_python(oci: Site, quick: Quick) -> None:
    hooks = {"startContainer": [{"path": "/bin/sh", "args": ["sh", "-c", "exit 3"]}]}
    said = []
    for name, start in (("a", quick), ("b", None)):
        oci.create(name, *FOREVER, hooks=hooks)
        if start is not None:
            said.append(start("start", name))
        else:
            plain = oci("start", name)
            said.append((plain.code, plain.err))
    assert said[0] == said[1]
    assert said[0][0] == 1 and "startContainer" in said[0][1]
    assert [oci.state(name)["status"] for name in "ab"] == ["stopped", "stopped"]


def test_a_directory_among_the_files_is_left_to_python(oci: Site, quick: Quick) -> None:
    oci.create("a", *FOREVER)
    assert quick("start", "a") == (0, "")
    stopped(oci, "a")
    (oci.root / "a" / "more").mkdir()
    before = sorted(os.listdir(oci.root / "a"))
    assert left_to_python(quick.alone("delete", "a"))
    assert sorted(os.listdir(oci.root / "a")) == before
    assert quick("delete", "a") == (0, "")
    assert os.listdir(oci.root) == []


@pytest.mark.needs("root")
def test_a_group_with_others_in_it_is_left_to_python(oci: Site, quick: Quick) -> None:
    oci.create("a", *FOREVER)
    assert quick("start", "a") == (0, "")
    stopped(oci, "a")
    (groups(oci, "a")[0] / "below").mkdir()
    assert left_to_python(quick.alone("delete", "a"))
    assert oci.state("a")["status"] == "stopped"
    assert quick("delete", "a") == (0, "")
    assert groups(oci, "a") == []


def test_a_state_that_is_cut_off_is_left_to_python(oci: Site, quick: Quick) -> None:
    oci.create("a", *FOREVER)
    at = oci.root / "a" / "quick"
    for text in ("", "redpak-quick 2\n1 1\n", "redpak-quick 1\n0 0\n", "redpak-quick 1\nx\n", "x" * 100_000):
        at.write_text(text)
        assert left_to_python(quick.alone("start", "a")), text[:20]
    assert oci.state("a")["status"] == "created"


def test_of_many_who_start_or_delete_a_container_one_does(oci: Site, quick: Quick) -> None:
    def many(*words: str) -> list[int]:
        argv = [quick.program, sys.executable, SCRIPT, "--root", str(oci.root), *words]
        null = subprocess.DEVNULL
        begun = [subprocess.Popen(argv, stdin=null, stdout=null, stderr=null) for _ in range(5)]
        begun.append(oci.popen(*words, stdin=null, stdout=null, stderr=null))  # Python locks the same
        return sorted(one.wait(PATIENCE_S) for one in begun)

    oci.create("a", *FOREVER)
    assert many("start", "a") == [0, 1, 1, 1, 1, 1]
    assert oci.state("a")["status"] == "running"
    stopped(oci, "a")
    assert many("delete", "a") == [0, 1, 1, 1, 1, 1]
    assert os.listdir(oci.root) == []
    assert groups(oci, "a") == []


@pytest.mark.needs("root")
def test_what_another_user_could_have_written_removes_nothing(
    program: str, oci: Site, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    planted = oci.root / "planted"
    planted.mkdir(parents=True, mode=0o700)
    (planted / "lock").touch()
    (planted / "quick").write_text(f"redpak-quick 1\n999999 1\n={victim}\n")
    os.chown(planted, 65534, 65534)
    code, _ = Quick(program, oci).alone("delete", "planted")
    assert code == 1
    assert victim.is_dir() and planted.is_dir()
    os.chown(planted, 0, 0)
    assert Quick(program, oci).alone("delete", "planted")[0] == 0  # the same file, when it is ours
    assert not victim.exists()
