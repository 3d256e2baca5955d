"""The known escapes against plans, under both engines: a node's own symlinks, what process 1 shows, what helpers load.

bubblewrap CVE-2026-87766 and CVE-2026-41163 (`oldroot`), flatpak CVE-2024-32462 and CVE-2024-42472, CVE-2026-34078.
Each attack succeeds on a stand-in: bubblewrap as a person would type it, or a launcher that joins strings.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from redpak.plan import wire
from redpak.plan.model import SetVar
from redpak.plan.ops import Dir, File, Symlink, Tmpfs
from redpak.text import text
from tests.host.engine_plans import HERE, REPOSITORY, START, bind, plan, shell
from tests.host.escape_rig import RACES
from tests.host.test_escapes_root import flipping
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.needs("userns", "bwrap")
ENGINES = ("bwrap", "native")
SECRET = "escape-secret-51c0"


class Engine:
    """Starts plans under one engine."""

    def __init__(self, name: str, folder: Path, env: dict[str, str]) -> None:
        self.name, self.file = name, folder / "plan.json"
        self.env = {**env, "PYTHONPATH": str(REPOSITORY), "TEST_ENGINE": name}

    def __call__(self, made: Any, env: dict[str, str] | None = None, **more: Any) -> tuple[int, str, str]:
        """Start a plan; return code, output and errors."""
        self.file.write_bytes(wire.canonical(made))
        done = subprocess.run(
            [sys.executable, "-c", START, str(self.file)],
            capture_output=True,
            timeout=PATIENCE_S,
            check=False,
            stdin=subprocess.DEVNULL,
            env={**self.env, **(env or {})},
            **more,
        )
        out, err = (part.decode(errors="replace") for part in (done.stdout, done.stderr))
        assert "Traceback" not in err, err
        return done.returncode, out, err


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest, tmp_path: Path, environment: dict[str, str]) -> Engine:
    """Return what starts plans, for each engine in turn."""
    return Engine(request.param, tmp_path, environment)


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """Return a directory of the host that nothing may change."""
    at = tmp_path / "victim"
    at.mkdir()
    (at / "file").write_text("the host's own")
    return at


def untouched(victim: Path) -> bool:
    """Tell whether the victim is as it was."""
    return sorted(os.listdir(victim)) == ["file"] and (victim / "file").read_text() == "the host's own"


KINDS = ("bind", "file-bind", "dir", "tmpfs", "file", "symlink")


def asked(kind: str, given: Path) -> Any:
    """Return the operation that the attack wants to see carried out on the host."""
    at = "/node/data/made"
    match kind:
        case "bind":
            return bind(at, given)
        case "file-bind":
            return bind(at, given / "file", kind="file")
        case "dir":
            return Dir(dst=at, because=HERE)
        case "tmpfs":
            return Tmpfs(dst=at, because=HERE)
        case "file":
            return File(dst=at, content=text("evil"), because=HERE)
        case _:
            return Symlink(dst=at, target="/etc", because=HERE)


@pytest.fixture
def node(tmp_path: Path) -> Path:
    """Return a node whose content the attacker owns, and something to mount."""
    (tmp_path / "node").mkdir()
    (tmp_path / "given").mkdir()
    (tmp_path / "given/file").write_text("given")
    return tmp_path / "node"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "target",
    [
        "../../oldroot{}",
        "../oldroot{}",
        "{}",
        "../../../../../../../..{}",
        "/proc/1/root{}",
        "/proc/self/cwd{}",
    ],
)
def test_a_nodes_symlink_makes_nothing_on_the_host(
    engine: Engine, node: Path, victim: Path, target: str, kind: str
) -> None:
    (node / "data").symlink_to(target.format(victim))
    made = shell("true", mounts=(bind("/node", node, readonly=False), asked(kind, node.parent / "given")))
    engine(made)
    assert untouched(victim)


@pytest.mark.parametrize("kind", ["dir", "file-bind", "symlink"])
def test_stand_in_a_plain_bwrap_makes_it_on_the_host(node: Path, victim: Path, kind: str) -> None:
    (node / "data").symlink_to(f"../../oldroot{victim}")
    words = {
        "dir": ["--dir", "/node/data/made"], "file-bind": ["--ro-bind", f"{node.parent}/given/file", "/node/data/made"],
        "symlink": ["--symlink", "/etc", "/node/data/made"],
    }[kind]  # fmt: skip
    root = ["--ro-bind", "/usr", "/usr", "--symlink", "usr/bin", "/bin", "--symlink", "usr/lib64", "/lib64",
            "--symlink", "usr/lib", "/lib"]  # fmt: skip
    done = subprocess.run(
        ["bwrap", *root, "--bind", str(node), "/node", *words, "true"],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    if untouched(victim) and "bubblewrap" not in done.stderr:
        pytest.skip(f"this bubblewrap does not follow it any more: {done.stderr}")
    assert not untouched(victim)


@pytest.mark.parametrize("kind", ["bind", "dir"])
def test_a_nodes_directory_that_is_swapped_meanwhile_leads_nowhere(
    engine: Engine, node: Path, victim: Path, kind: str
) -> None:
    (node / "data").mkdir()
    (node / "swap").symlink_to(f"../../oldroot{victim}")
    made = shell("true", mounts=(bind("/node", node, readonly=False), asked(kind, node.parent / "given")))
    with flipping(node / "data", node / "swap"):
        for _ in range(max(10, RACES // 6)):
            engine(made)
            assert untouched(victim)


# --- what can be seen from inside


def test_process_1_shows_nothing_of_the_caller(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "bait").write_text(SECRET)
    up = "../" * 30 + str(tmp_path)[1:] + "/bait"
    script = (
        f"for p in /proc/[0-9]*; do cat $p/environ; cat $p/cmdline; cat $p/root/{up} $p/cwd/{up}; "
        f"for n in 0 1 2 3 4 5 6 7 8 9 10 33; do cat $p/fd/$n/{up}; done; done 2>/dev/null | tr '\\0' '\\n'"
    )

    def careless() -> None:
        fd = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
        for target in (7, 33):
            os.dup2(fd, target)
            os.set_inheritable(target, True)

    made = shell(script.replace(SECRET, ""))
    code, out, err = engine(made, env={"CALLERS": SECRET}, preexec_fn=careless, close_fds=False)
    assert code == 0, err
    assert SECRET not in out


def test_stand_in_a_plain_bwrap_shows_the_callers_descriptors(tmp_path: Path) -> None:
    (tmp_path / "bait").write_text(SECRET)
    fd = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    os.set_inheritable(fd, True)
    try:
        done = subprocess.run(
            [
                "bwrap",
                "--ro-bind",
                "/usr",
                "/usr",
                "--symlink",
                "usr/bin",
                "/bin",
                "--symlink",
                "usr/lib64",
                "/lib64",
                "--symlink",
                "usr/lib",
                "/lib",
                "--proc",
                "/proc",
                "cat",
                f"/proc/self/fd/{fd}{tmp_path}/bait",
            ],
            capture_output=True,
            text=True,
            pass_fds=[fd],
            check=False,
            timeout=PATIENCE_S,
        )
    finally:
        os.close(fd)
    assert done.stdout == SECRET


# --- environment and words


@pytest.fixture
def preload(tmp_path: Path) -> Path:
    """Return a directory with a library that leaves a mark where it is loaded."""
    folder = tmp_path / "evil"
    folder.mkdir()
    (folder / "evil.c").write_text(
        "#include <fcntl.h>\n#include <unistd.h>\n__attribute__((constructor)) static void load(void) {\n"
        f'  int fd = open("{folder}/loaded", O_CREAT | O_WRONLY, 0666);\n  if (fd >= 0) close(fd);\n}}\n'
    )
    words = ["cc", "-shared", "-fPIC", "-o", f"{folder}/evil.so", f"{folder}/evil.c"]
    subprocess.run(words, check=True, timeout=PATIENCE_S)
    return folder


def variables(folder: Path) -> tuple[SetVar, ...]:
    """Return what makes a dynamic program or an interpreter load something of the attacker's."""
    (folder / "sitecustomize.py").write_text(f"open({str(folder / 'loaded')!r}, 'w').close()\n")
    pairs = {"LD_PRELOAD": f"{folder}/evil.so", "LD_AUDIT": f"{folder}/evil.so", "PYTHONPATH": str(folder),
             "PATH": "/usr/bin:/bin", "BASH_ENV": f"{folder}/x", "ENV": f"{folder}/x"}  # fmt: skip
    return tuple(SetVar(key=key, value=text(value), because=HERE) for key, value in pairs.items())


@pytest.mark.needs("cc")
def test_a_nodes_environment_is_the_programs_alone(engine: Engine, preload: Path) -> None:
    code, out, err = engine(plan("/bin/sh", "-c", "echo $LD_PRELOAD", environ=variables(preload)))
    assert code == 0, err
    assert out.strip() == f"{preload}/evil.so"
    assert not (preload / "loaded").exists()


@pytest.mark.needs("cc")
def test_stand_in_a_launcher_that_exports_it_loads_the_nodes_library(preload: Path) -> None:
    env = {"PATH": "/usr/bin:/bin", "LD_PRELOAD": f"{preload}/evil.so"}
    subprocess.run(
        ["bwrap", "--ro-bind", "/", "/", "true"],
        env=env,
        check=False,
        timeout=PATIENCE_S,
        capture_output=True,
    )
    assert (preload / "loaded").exists()


@pytest.mark.parametrize("word", ["--bind", "--", "-c", "--unshare-all", "--args=3", "--help"])
def test_a_programs_words_never_become_options(engine: Engine, word: str) -> None:
    code, out, err = engine(plan("/usr/bin/printf", "%s\\n", "--", word, "/", "/host"))
    assert code == 0, err
    assert word in out
    code, _, _ = engine(plan(word, "x"))
    assert code == 127  # it was looked for as a program


NUL = "a\0--bind\0/\0/host"


@pytest.mark.parametrize("place", ["args", "env", "dst", "src", "target"])
def test_a_zero_byte_makes_no_new_words(engine: Engine, node: Path, place: str) -> None:
    probe = "ls -d /host 2>/dev/null || echo none"
    here: Any = ()
    try:
        match place:
            case "args":
                made = plan("/bin/sh", "-c", probe, NUL)
            case "env":
                made = shell(probe, environ=(SetVar(key="X", value=text(NUL), because=HERE),))
            case "dst":
                made = shell(probe, mounts=(Dir(dst=f"/x{NUL}", because=HERE),))
            case "src":
                made = shell(probe, mounts=(bind("/x", f"{node}\0--bind\0/\0/host"),))
            case _:
                made = shell(probe, mounts=(Symlink(dst="/x", target=NUL, because=HERE),))
    except Exception as error:  # noqa: BLE001 - refused as early as that is right
        here = (type(error).__name__,)
    if not here:
        code, out, err = engine(made)
        assert code != 0, out
        assert "/host" not in out
        assert err.strip()


def test_stand_in_words_that_are_joined_by_zero_bytes_become_options() -> None:
    reader, writer = os.pipe()
    words = [
        "--ro-bind",
        "/usr",
        "/usr",
        "--symlink",
        "usr/bin",
        "/bin",
        "--symlink",
        "usr/lib64",
        "/lib64",
        "--symlink",
        "usr/lib",
        "/lib",
        "--setenv",
        "X",
        "a\0--ro-bind\0/etc\0/host",
    ]
    os.write(writer, "\0".join(words).encode() + b"\0")
    os.close(writer)
    try:
        done = subprocess.run(["bwrap", "--args", str(reader), "--", "ls", "-d", "/host"], pass_fds=[reader],
                              capture_output=True, text=True, check=False, timeout=PATIENCE_S)  # fmt: skip
    finally:
        os.close(reader)
    assert done.stdout == "/host\n"


@pytest.mark.parametrize("way", ["node", "link"])
def test_a_source_that_is_a_symlink_to_a_secret_is_not_shown(
    engine: Engine, node: Path, victim: Path, way: str
) -> None:
    (node / "link").symlink_to(victim / "file" if way == "link" else victim)
    source = node / "link" if way == "link" else node / "link/file"
    made = shell("cat /shown", mounts=(bind("/shown", source, beneath=str(node)),))
    code, out, _ = engine(made)
    assert code != 0
    assert "the host's own" not in out
