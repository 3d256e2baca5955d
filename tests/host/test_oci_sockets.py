"""Sockets that a container's maker connects to, however long their paths are: consoles, readiness, system calls."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.doors import deep, listening
from tests.host.oci_site import Site
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.needs("userns", "program:busybox")
FOREVER = ("sleep", "1000")


@pytest.fixture
def oci(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    site.clean()


@pytest.mark.parametrize("far", [False, True], ids=["near", "far"])
def test_the_terminal_is_sent_to_the_console_socket(oci: Site, far: bool) -> None:
    path = deep(oci.scratch) / ("n" * 200) if far else oci.scratch / "console"
    bundle = oci.bundle("a", "sh", "-c", "tty; stty size; read x; echo got $x",
                        process={"terminal": True, "consoleSize": {"height": 33, "width": 77}})  # fmt: skip
    with listening(path) as listener:
        made = oci("create", "--bundle", bundle, "--console-socket", path, "a")
        assert made.code == 0, made
        end, _ = listener.accept()
        with end:
            _, (master,), _, _ = socket.recv_fds(end, 100, 1)
    try:
        assert oci("start", "a").code == 0
        os.write(master, b"word\n")
        said = b""
        while b"got word" not in said:
            said += os.read(master, 1000)
        assert b"/dev/pts/0" in said
        assert b"33 77" in said
    finally:
        os.close(master)


def test_the_program_gets_a_socket_of_its_own_to_say_that_it_is_ready(oci: Site) -> None:
    path = oci.scratch / "notify"
    oci_bundle = oci.bundle("a", "sh", "-c", "echo $NOTIFY_SOCKET; test -S $NOTIFY_SOCKET")
    with listening(path, socket.SOCK_DGRAM):
        done = oci("run", "--bundle", oci_bundle, "a", env={"NOTIFY_SOCKET": str(path)})
    assert (done.code, done.out) == (0, "/run/notify/notify.sock\n"), done


@pytest.mark.parametrize("far", [False, True], ids=["near", "far"])
def test_what_the_program_says_when_it_is_ready_is_passed_on(oci: Site, far: bool) -> None:
    path = deep(oci.scratch) / ("n" * 200) if far else oci.scratch / "notify"
    with listening(path, socket.SOCK_DGRAM) as listener:
        bundle = oci.bundle("a", *FOREVER)
        made = oci("create", "--bundle", bundle, "a", env={"NOTIFY_SOCKET": str(path)})
        assert made.code == 0, made
        pid = oci.state("a")["pid"]
        with oci.popen("start", "a") as started:
            inner = oci.root / "a" / "notify"
            while not (inner / "notify.sock").exists():
                assert started.poll() is None
            room = os.open(inner, os.O_PATH)
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as program:
                program.connect(f"/proc/self/fd/{room}/notify.sock")
                program.send(b"STATUS=soon")
                program.send(b"READY=1\nSTATUS=now")
            os.close(room)
            assert listener.recv(1000) == b"MAINPID=%d\nREADY=1\n" % pid
            assert started.wait(PATIENCE_S) == 0


@pytest.mark.parametrize("far", [False, True], ids=["near", "far"])
def test_who_listens_to_system_calls_is_found(oci: Site, far: bool) -> None:
    path = deep(oci.scratch) / ("n" * 200) if far else oci.scratch / "listener"
    seccomp = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "listenerPath": str(path),
        "syscalls": [{"names": ["sethostname"], "action": "SCMP_ACT_NOTIFY"}],
    }
    with listening(path) as listener:
        bundle = oci.bundle("a", "true", linux={"seccomp": seccomp})
        with oci.popen("run", "--bundle", bundle, "a") as ran:
            end, _ = listener.accept()
            with end:
                said, (fd,), _, _ = socket.recv_fds(end, 1 << 16, 1)
            assert json.loads(said)["state"]["id"] == "a"
            assert ran.wait(PATIENCE_S) == 0
            os.close(fd)


def test_the_gate_of_a_container_is_found_in_a_far_directory(tmp_path: Path) -> None:
    site = Site(deep(tmp_path))
    try:
        for name in ("a", "n" * 200):
            site.create(name, *FOREVER)
            assert site("start", name).code == 0
            assert site.state(name)["status"] == "running"
    finally:
        site.clean()
