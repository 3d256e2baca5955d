"""What authors of a child's configuration, and other users of the host, try: to get more than the ancestors allow."""

from __future__ import annotations

import os
import pty
import resource
import shlex
import socket
import subprocess
from pathlib import Path

import pytest

from tests.conftest import Program, Ran
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.needs("userns", "bwrap")

SYSTEM = """\
  - {mode: Restricted, mount: /usr, path: /usr}
  - {mode: Symlink, mount: /bin, path: usr/bin}
  - {mode: Symlink, mount: /lib, path: usr/lib}
  - {mode: Symlink, mount: /lib64, path: usr/lib64}
"""
STRANGER = 4711  # a user id that is neither root's nor ours
KEPT = ("Restricted", "PrivateRestricted")


def make(at: Path, entries: str, rest: str = "") -> Path:
    """Make a node."""
    (at / "etc").mkdir(parents=True)
    (at / ".rednode.yaml").write_text(f"realpath: {at}\ntimestamp: 1700000000000\nstate: Enable\n")
    (at / "etc/redpak.yaml").write_text(f"headers: {{alias: {at.name}}}\n{rest}exports:\n{entries}")
    return at


def family(pool: Path, ancestor: str, child: str) -> Path:
    """Return the child of a node that shows the host's programs."""
    make(pool / "top", SYSTEM + ancestor)
    return make(pool / "top/child", child)


def refused(ran: Ran, *words: str) -> None:
    """Check that a launch was refused with a fault that has these words in it."""
    assert ran.code == 2, ran
    assert "Traceback" not in ran.err
    for word in words:
        assert word in ran.err, ran


@pytest.fixture(params=["bwrap", "bwrap-no-helper", "native", "native-no-helper"])
def engine(request: pytest.FixtureRequest, redpak: Program) -> tuple[str, ...]:
    """Return options that choose the engine; what is refused before any of them is asked needs one alone."""
    name, *less = str(request.param).split("-", 1)
    if less:
        redpak.environ["REDPAK_NO_HELPER"] = "1"
    return ("--engine", name)


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """Return a host directory that an ancestor keeps read-only."""
    at = tmp_path / "kept"
    (at / "sub").mkdir(parents=True)
    (at / "file").write_text("kept")
    (at / "sub/file").write_text("kept")
    return at


@pytest.mark.parametrize("mode", KEPT)
@pytest.mark.parametrize("way", ["link", "link/sub", "link/$TODAY", "link/sub/../sub", "//link//", "link/."])
def test_a_link_on_the_host_does_not_open_what_an_ancestor_keeps(
    redpak: Program, pool: Path, tmp_path: Path, kept: Path, mode: str, way: str
) -> None:
    (tmp_path / "link").symlink_to(kept)
    child = family(
        pool,
        f"  - {{mode: {mode}, mount: /kept, path: {kept}}}\n",
        f"  - {{mode: Public, mount: /open, path: {tmp_path}/{way}}}\n",
    )
    refused(redpak("run", child, "sh", "-c", "echo stolen > /open/file"))
    assert (kept / "file").read_text() == "kept"


@pytest.mark.parametrize("mode", KEPT)
@pytest.mark.parametrize("source", ["alias", "around"])
def test_a_bind_mount_on_the_host_does_not_open_what_an_ancestor_keeps(
    redpak: Program, pool: Path, tmp_path: Path, kept: Path, mode: str, source: str
) -> None:
    alias = tmp_path / "around/alias"
    alias.mkdir(parents=True)
    child = family(
        pool,
        f"  - {{mode: {mode}, mount: /kept, path: {kept}}}\n",
        f"  - {{mode: Public, mount: /open, path: {alias if source == 'alias' else alias.parent}}}\n",
    )
    script = f"mount --bind {kept}/sub {alias} && exec {shlex.join([*redpak.argv, 'plan', str(child)])}"
    done = subprocess.run(
        ["unshare", "-Urm", "sh", "-c", script],
        env=redpak.environ,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 2, done
    assert "shows read-only" in done.stderr


def test_no_name_of_an_ancestors_configuration_makes_it_writable(
    redpak: Program, pool: Path, tmp_path: Path
) -> None:
    child = family(pool, "", f"  - {{mode: Public, mount: /open, path: {tmp_path}/link}}\n")
    (tmp_path / "link").symlink_to(pool / "top/etc")
    refused(redpak("run", child, "true"), "top/etc/redpak.yaml' writable")


def test_a_child_may_still_write_what_nobody_keeps(
    redpak: Program, pool: Path, tmp_path: Path, engine: tuple[str, ...]
) -> None:
    (tmp_path / "free").mkdir()
    child = family(
        pool,
        f"  - {{mode: Restricted, mount: /kept, path: {tmp_path}/pool/top/etc}}\n",
        f"  - {{mode: Public, mount: /open, path: {tmp_path}/free}}\n",
    )
    script = "echo said > /open/file; echo changed > /kept/redpak.yaml; echo changed > /kept/new; exit 7"
    ran = redpak("run", *engine, child, "sh", "-c", script)
    assert ran.code == 7, ran
    assert ran.err.lower().count("read-only file system") == 2, ran
    assert (tmp_path / "free/file").read_text() == "said\n"


@pytest.mark.parametrize("name", ["", "a/b", "/", "."])
def test_a_childs_name_does_not_lead_an_ancestors_path_elsewhere(
    redpak: Program, pool: Path, tmp_path: Path, name: str
) -> None:
    (tmp_path / "data/other").mkdir(parents=True)
    child = family(pool, f"  - {{mode: Public, mount: /data, path: {tmp_path}/data/$LEAF_NAME}}\n", "")
    config = child / "etc/redpak.yaml"
    config.write_text(f"headers: {{alias: child, name: '{name}'}}\n")
    refused(redpak("run", child, "true"), "$LEAF_NAME")


def test_a_command_can_neither_write_nor_reach_a_service(
    redpak: Program, pool: Path, tmp_path: Path, engine: tuple[str, ...]
) -> None:
    service = socket.socket(socket.AF_UNIX)
    service.bind(str(tmp_path / "service"))
    service.listen()
    service.setblocking(False)  # whoever connects waits in the queue
    tries = (
        f"touch {tmp_path}/written",
        f"/usr/bin/env python3 -c 'import socket; socket.socket(1).connect(\"{tmp_path}/service\")'",
        f"/usr/bin/env cat /proc/{os.getpid()}/environ",
        f"kill -0 {os.getpid()}",
    )
    for number, attempt in enumerate(tries):
        command = f"{attempt} && echo done".replace('"', '\\"').replace("/usr/bin/env ", "")
        node = make(
            pool / f"n{number}",
            SYSTEM,
            f'environ:\n  - {{mode: Execfd, key: SAID, value: "{command}; true"}}\n',
        )
        ran = redpak("run", *engine, node, "sh", "-c", 'echo "said $SAID"')
        assert ran.code == 0, ran
        assert "done" not in ran.out, attempt
    with service, pytest.raises(BlockingIOError):
        service.accept()
    assert not (tmp_path / "written").exists()


# --- another user of the host


def test_a_node_that_everybody_can_change_is_not_launched(
    redpak: Program, pool: Path, engine: tuple[str, ...]
) -> None:
    child = family(pool, "", "")
    assert redpak("run", *engine, child, "true").code == 0
    for part in ("", ".rednode.yaml", "etc", "etc/redpak.yaml"):
        at = pool / "top" / part
        mode = at.stat().st_mode
        at.chmod(mode | 0o002)
        ran = redpak("run", "--no-frozen", *engine, child, "true")
        assert ran.code == 3, ran
        assert "written by everybody" in ran.err
        at.chmod(mode)


@pytest.mark.needs("root")
@pytest.mark.parametrize("part", [".rednode.yaml", "etc", "etc/redpak.yaml"])
def test_a_strangers_file_in_a_public_directory_makes_no_ancestor(
    redpak: Program, pool: Path, part: str
) -> None:
    pool.chmod(0o1777)
    child = make(pool / "mine", SYSTEM)
    assert redpak("run", child, "true").code == 0
    (pool / "etc").mkdir()
    (pool / "etc/redpak.yaml").write_text("headers: {alias: evil}\nconfig: {profile: upstream-2.5}\n")
    (pool / ".rednode.yaml").write_text("realpath: /x\ntimestamp: 1700000000000\nstate: Enable\n")
    os.chown(pool / part, STRANGER, STRANGER)
    for options in ([], ["--no-frozen"]):  # the launcher of the first run notices as well
        ran = redpak("run", *options, child, "true")
        assert ran.code == 3, ran
        assert f"uid {STRANGER}" in ran.err


@pytest.mark.needs("root")
def test_who_owns_a_nodes_directory_may_own_its_files(redpak: Program, pool: Path) -> None:
    child = make(pool / "theirs", SYSTEM)
    for part in ("", ".rednode.yaml", "etc", "etc/redpak.yaml"):
        os.chown(child / part, STRANGER, STRANGER)
    assert redpak("run", child, "true").code == 0


def test_a_configuration_that_links_to_itself_is_a_clear_error(redpak: Program, pool: Path) -> None:
    node = make(pool / "loop", SYSTEM)
    (node / "etc/redpak.yaml").unlink()
    (node / "etc/redpak.yaml").symlink_to("redpak.yaml")
    ran = redpak("run", node, "true")
    assert ran.code == 125, ran
    assert "too many levels of symbolic links" in ran.err
    assert "unexpected" not in ran.err


READS_TERMINAL = "head -n 1 <&2 || echo nothing"


def typed_into(argv: list[str], env: dict[str, str]) -> str:
    """Run a launcher on a terminal into which a user types ahead; return what the terminal shows."""
    pid, master = pty.fork()
    if pid == 0:
        os.execve(argv[0], argv, env)
    os.write(master, b"typed-secret\n")
    said = b""
    while True:
        try:
            chunk = os.read(master, 4096)
        except OSError:
            break
        said += chunk
    os.close(master)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, said
    return said.decode(errors="replace")


@pytest.mark.parametrize("way", ["planned", "frozen", "native"])
def test_a_command_reads_nothing_from_the_callers_terminal(redpak: Program, pool: Path, way: str) -> None:
    value = f'environ: [{{key: X, mode: Execfd, value: "{READS_TERMINAL}"}}]\n'
    node = make(pool / "node", SYSTEM, value)
    argv = [*redpak.argv, "run", "--no-frozen", str(node), "--", "/bin/sh", "-c", "echo got $X"]
    if way == "native":
        argv[-6:-6] = ["--engine", "native"]
    if way == "frozen":
        launcher = pool / "launcher"
        assert redpak("freeze", str(node), "-o", str(launcher)).code == 0
        argv = [str(launcher), "/bin/sh", "-c", "echo got $X"]
    assert "got nothing" in typed_into(argv, redpak.environ)


def test_a_command_without_end_is_cut_off_in_a_frozen_launcher(
    redpak: Program, pool: Path, tmp_path: Path
) -> None:
    switch = tmp_path / "endless"
    command = f"if [ -e {switch} ]; then yes; else echo fine; fi"
    node = make(pool / "node", SYSTEM, f'environ: [{{key: X, mode: Execfd, value: "{command}"}}]\n')
    launcher = pool / "launcher"
    assert redpak("freeze", str(node), "-o", str(launcher)).code == 0
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    run = [str(launcher), "/bin/sh", "-c", "echo $X"]
    assert (
        subprocess.run(run, env=redpak.environ, capture_output=True, timeout=PATIENCE_S).stdout == b"fine\n"
    )
    switch.touch()
    done = subprocess.run(run, env=redpak.environ, capture_output=True, timeout=PATIENCE_S)
    assert done.returncode == 125
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < before + 100_000  # KiB
