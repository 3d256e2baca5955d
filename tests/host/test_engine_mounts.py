"""Every export mode does what it says, and nothing is mounted through a link that a node ships."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from redpak.plan.ops import Dev, Dir, File, InheritFd, Lock, Mqueue, Proc, Symlink, Tmpfs
from redpak.text import Run, text
from tests.host.engine_plans import HERE, Launcher, bind, launcher, plan, shell  # noqa: F401 - the fixture `launch`

pytestmark = pytest.mark.needs("userns", "bwrap")


@pytest.fixture
def data(pool: Path) -> Path:
    """Return a directory of the launching user with a file in it."""
    at = pool / "data"
    at.mkdir(mode=0o755)
    (at / "file").write_text("old\n")
    return at


def test_a_public_directory_can_be_written(launch: Launcher, data: Path) -> None:
    code, _, err = launch(shell("echo new >/data/file", mounts=(bind("/data", data, readonly=False),)))
    assert (code, err) == (0, "")
    assert (data / "file").read_text() == "new\n"


def test_a_restricted_directory_can_be_read_only(launch: Launcher, data: Path) -> None:
    code, out, err = launch(shell("cat /data/file; echo new >/data/file", mounts=(bind("/data", data),)))
    assert code != 0
    assert out == "old\n"
    assert "Read-only" in err
    assert (data / "file").read_text() == "old\n"


def test_single_files_can_be_shown(launch: Launcher, data: Path) -> None:
    mounts = (
        bind("/etc/a", data / "file", kind="file"),
        bind("/b", data / "file", kind="file", readonly=False),
    )
    code, out, _ = launch(shell("cat /etc/a; echo new >/b; cat /etc/a; ! echo x >/etc/a", mounts=mounts))
    assert (code, out) == (0, "old\nnew\n")


def test_private_file_systems_are_empty_and_writable(launch: Launcher) -> None:
    mounts = (
        Dir(dst="/own", because=HERE),
        Tmpfs(dst="/mem/ory", because=HERE),
        Mqueue(dst="/mq", because=HERE),
    )
    script = "ls -A /own /mem/ory /mq; touch /own/x /mem/ory/x; stat -f -c %T /mem/ory /mq; stat -c %a /mem"
    code, out, err = launch(shell(script, mounts=mounts))
    assert (code, out, err) == (0, "/mem/ory:\n\n/mq:\n\n/own:\ntmpfs\nmqueue\n755\n", "")


def test_proc_and_dev_are_the_sandboxs_own(launch: Launcher) -> None:
    code, out, _ = launch(shell("ls /dev | tr '\\n' ' '; ls -d /proc/[0-9]* | wc -l; echo x >/dev/null"))
    assert code == 0
    assert "sda" not in out
    assert "null" in out
    assert int(out.split()[-1]) <= 5


def test_a_symlink_says_its_target(launch: Launcher) -> None:
    code, out, _ = launch(
        shell("readlink /a/link", mounts=(Symlink(dst="/a/link", target="../x", because=HERE),))
    )
    assert (code, out) == (0, "../x\n")


def test_the_output_of_a_command_becomes_a_file(launch: Launcher) -> None:
    mounts = (File(dst="/etc/passwd", content=text("# ", Run(command="echo one; id -u")), because=HERE),)
    code, out, _ = launch(shell("cat /etc/passwd; stat -c %a /etc/passwd /etc", mounts=mounts))
    assert (code, out) == (0, f"# one\n{os.getuid()}\n644\n755\n")


def test_a_command_can_change_nothing_on_the_host(launch: Launcher, data: Path) -> None:
    run = Run(command=f"bash -c 'echo new > {data}/file' 2>/dev/null; cat {data}/file")
    code, out, _ = launch(shell("cat /f", mounts=(File(dst="/f", content=text(run), because=HERE),)))
    assert (code, out) == (0, "old\n")
    assert (data / "file").read_text() == "old\n"


def test_a_failing_command_stops_the_launch_and_names_its_line(launch: Launcher) -> None:
    mounts = (File(dst="/f", content=text(Run(command="exit 3")), because=HERE),)
    code, out, err = launch(shell("echo started", mounts=mounts))
    assert (code, out) == (125, "")
    assert "etc/redpak.yaml:7: command 'exit 3' failed with code 3" in err


def test_a_large_file_comes_through_whole(launch: Launcher) -> None:
    run = Run(command="seq 100000")
    code, out, _ = launch(
        shell("tail -n 1 /f; wc -c </f", mounts=(File(dst="/f", content=text(run), because=HERE),))
    )
    assert (code, out) == (0, "100000\n588895\n")


def test_a_descriptor_of_the_caller_fills_a_file(launch: Launcher, tmp_path: Path) -> None:
    (tmp_path / "given").write_text("given")
    made = shell("cat /f; ls /proc/self/fd | wc -l", mounts=(InheritFd(dst="/f", fd=9, because=HERE),))
    code, out, _ = launch(made, wrapper=["/bin/sh", "-c", f'exec "$@" 9<{tmp_path}/given', "sh"])
    assert (code, out) == (0, "given4\n")


def test_a_descriptor_that_is_not_open_is_refused(launch: Launcher) -> None:
    code, out, err = launch(shell("echo started", mounts=(InheritFd(dst="/f", fd=7, because=HERE),)))
    assert (code, out) == (3, "")
    assert "descriptor 7 is not open" in err


def test_a_lock_is_held_while_the_sandbox_lives(launch: Launcher, data: Path) -> None:
    mounts = (bind("/data", data, readonly=False), Lock(dst="/data/file", because=HERE))
    program = (
        "import fcntl,struct;f=open('/data/file','r+');"
        "l=fcntl.fcntl(f,fcntl.F_GETLK,struct.pack('hhqqi',1,0,0,0,0));print(struct.unpack('hhqqi',l)[0])"
    )
    code, out, err = launch(plan("/usr/bin/python3", "-c", program, mounts=mounts))
    assert (code, out, err) == (0, "0\n", "")  # F_RDLCK: somebody holds a read lock


def test_a_missing_lock_file_is_refused(launch: Launcher) -> None:
    code, _, err = launch(shell("true", mounts=(Lock(dst="/tmp/none", because=HERE),)))
    assert code == 3
    assert "'/tmp/none'" in err


def test_a_source_that_a_command_names_is_mounted(launch: Launcher, data: Path) -> None:
    code, out, _ = launch(shell("cat /d/file", mounts=(bind("/d", text(Run(command=f"echo {data}"))),)))
    assert (code, out) == (0, "old\n")


def test_every_missing_source_is_refused_in_one_go(launch: Launcher, pool: Path) -> None:
    mounts = (bind("/a", pool / "none"), bind("/b", pool / "file", kind="file"))
    code, out, err = launch(shell("echo started", mounts=mounts))
    assert (code, out) == (3, "")
    assert f"'{pool}/none' of '/a' is missing" in err
    assert f"'{pool}/file' of '/b' is missing" in err
    assert not (pool / "none").exists()


def test_force_leaves_a_missing_source_out(launch: Launcher, pool: Path) -> None:
    code, out, err = launch(shell("ls /; echo started", mounts=(bind("/a", pool / "none"),)), "force")
    assert (code, out.split()[-1]) == (0, "started")
    assert "a" not in out.split()
    assert "leaving out" in err


def test_a_directory_is_made_where_the_plan_says_so(launch: Launcher, pool: Path) -> None:
    made = shell("touch /a/x", mounts=(bind("/a", pool / "x" / "y", readonly=False, missing="create"),))
    assert launch(made)[0] == 0
    assert (pool / "x" / "y" / "x").exists()


def test_a_link_inside_a_node_is_no_source(launch: Launcher, pool: Path) -> None:
    node = pool / "node"
    (node / "usr").mkdir(parents=True)
    os.symlink("/etc", node / "usr" / "share")
    code, out, err = launch(
        shell("cat /x/passwd", mounts=(bind("/x", node / "usr" / "share"),), node=str(node))
    )
    assert (code, out) == (3, "")
    assert f"'{node}/usr/share' is a symbolic link inside the node '{node}'" in err


def test_a_link_in_a_directory_that_others_write_to_is_no_source(launch: Launcher, pool: Path) -> None:
    os.symlink("/etc", pool / "link")
    os.chmod(pool, 0o777)
    code, _, err = launch(shell("true", mounts=(bind("/x", pool / "link"),)))
    assert code == 3
    assert "others may write to" in err


@pytest.mark.parametrize(
    "op",
    [
        Dir(dst="/n/data/d", because=HERE),
        Tmpfs(dst="/n/data/d", because=HERE),
        File(dst="/n/data/f", content=text("x"), because=HERE),
        Symlink(dst="/n/data/l", target="x", because=HERE),
        Proc(dst="/n/data/p", because=HERE),
        Dev(dst="/n/data/p", because=HERE),
        bind("/n/data/d", "/usr"),
    ],
    ids=lambda op: type(op).__name__,
)
def test_nothing_is_mounted_beneath_a_tree_that_a_node_owns(launch: Launcher, pool: Path, op: object) -> None:
    victim = pool / "victim"
    victim.mkdir()
    node = pool / "node"
    node.mkdir()
    os.symlink(f"../oldroot{victim}", node / "data")
    mounts = (bind("/n", node, readonly=False), op)
    code, out, err = launch(shell("echo started", mounts=mounts, node=str(node)))
    assert (code, out) == (3, "")
    assert "would lie in files of the node" in err
    assert list(victim.iterdir()) == []


def test_a_mount_point_in_the_hosts_own_directories_is_fine(launch: Launcher, data: Path) -> None:
    code, out, err = launch(shell("cat /usr/share/doc/file", mounts=(bind("/usr/share/doc", data),)))
    assert (code, out, err) == (0, "old\n", "")


def test_a_private_directory_over_the_hosts_is_empty(launch: Launcher) -> None:
    code, out, _ = launch(
        shell(
            "ls -A /usr/share/doc; touch /usr/share/doc/x", mounts=(Dir(dst="/usr/share/doc", because=HERE),)
        )
    )
    assert (code, out) == (0, "")


def test_a_command_talks_to_no_service_of_the_host(launch: Launcher, pool: Path) -> None:
    import socket

    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(pool / "s"))
        server.listen()
        script = f"import socket; socket.socket(socket.AF_UNIX).connect('{pool}/s'); print('reached')"
        run = Run(command=f'python3 -c "{script}" 2>&1 | tail -n 1')
        code, out, _ = launch(shell("cat /f", mounts=(File(dst="/f", content=text(run), because=HERE),)))
    assert (code, out) == (0, "PermissionError: [Errno 1] Operation not permitted\n")
